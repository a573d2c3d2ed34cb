/* Attacks on routing: getting into tables, around newcomers, beside a key, into everybody's lookups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kad/id.h"
#include "tests/attacks.h"
#include "tests/attacks_hostile.h"
#include "tests/scale_memory.h"

#define SOON_MS 50 /* between two operations of a batch */

double attack_percent(uint32_t good, uint32_t all)
{
    return all ? 100.0 * good / all : 0;
}

static struct arena *arena_for(const struct trial *t, uint32_t honest)
{
    return arena_new(&(struct arena_config){.honest = honest, .seed = t->seed, .without = t->without});
}

/* ---- table poisoning ------------------------------------------------------------------------------------ */

#define POISON_SUBNETS 3

static bool is_poison(const struct addr *addr)
{
    return addr->ip[0] == 120 && addr->ip[1] == 1 && addr->ip[2] < POISON_SUBNETS;
}

void attack_poison(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_for(t, t->quick ? 80 : 300);
    uint32_t each = t->quick ? 60 : 254, worst = 0, worst_bucket = 0, all = 0, bad = 0;
    struct hostile_ring ring;

    hostile_ring_init(&ring, HOSTILE_PALS);
    struct rng rng = {scale_rand_fill, &ring.rand};
    for (uint32_t i = 0; i < POISON_SUBNETS * each; i++) {
        struct addr addr = {.family = 4, .ip = {120, 1, (uint8_t)(i % POISON_SUBNETS), (uint8_t)(1 + i / POISON_SUBNETS)},
                            .port = 7000};
        uint8_t id[KAD_ID_SIZE];
        id_for_addr(&rng, &addr, id);
        hostile_join(a, &ring, &addr, id);
    }
    hostile_busy(a, &ring, t->quick ? 4000 : 8000);
    arena_run(a, t->quick ? 600000 : 3600000);
    for (uint32_t i = 0; i < a->config.honest; i++) {
        uint32_t mine = 0, bucket[161] = {0};
        struct kad_contact c;
        for (size_t j = 0; kad_contact_at(a->hosts[i].kad, arena_now(a), j, &c); j++) {
            all++;
            if (!is_poison(&c.addr))
                continue;
            mine++;
            unsigned b = id_common_bits(kad_node_id(a->hosts[i].kad), c.id);
            worst_bucket = ++bucket[b] > worst_bucket ? bucket[b] : worst_bucket;
        }
        bad += mine;
        worst = mine > worst ? mine : worst;
    }
    ret->value = worst;
    snprintf(ret->note, sizeof ret->note, "%u attackers, %u honest; worst bucket %u; %.0f %% of all contacts", ring.n,
             a->config.honest, worst_bucket, attack_percent(bad, all));
    arena_free(a);
}

/* ---- eclipse at bootstrap ------------------------------------------------------------------------------- */

#define ECLIPSE_TRIALS 20
#define ECLIPSE_KEYS 5
#define ECLIPSE_RING 64

void attack_eclipse(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_for(t, t->quick ? 80 : 300);
    struct arena_record records[ECLIPSE_KEYS];
    struct arena_op ops[ECLIPSE_KEYS];
    struct hostile_ring ring;
    uint32_t routes = 0, gets = 0, honest_contacts = 0, contacts = 0;

    for (unsigned i = 0; i < ECLIPSE_KEYS; i++) {
        arena_record_make(a, &records[i], i, 1);
        arena_put(a, arena_some(a), &records[i].item, &ops[i]);
    }
    arena_run_until(a, ops, ECLIPSE_KEYS);
    hostile_ring_init(&ring, t->without & KAD_WITHOUT_ADDRESS_IDS ? HOSTILE_FREE : HOSTILE_PALS);
    ring.lies_address = true;
    struct rng rng = {scale_rand_fill, &ring.rand};
    for (uint32_t i = 0; i < ECLIPSE_RING; i++) {
        struct addr addr = {.family = 4, .ip = {121, (uint8_t)i, 7, 9}, .port = 7000};
        uint8_t id[KAD_ID_SIZE];
        id_for_addr(&rng, &addr, id);
        hostile_join(a, &ring, &addr, id);
    }
    for (uint32_t i = 0; i < ECLIPSE_TRIALS; i++) {
        /* Three of the four addresses that the newcomer was told are the attacker's, and answer sooner. */
        struct addr self = arena_honest_addr(5000 + i), join[4] = {a->hosts[arena_some(a)].addr};
        for (unsigned j = 1; j < 4; j++)
            join[j] = a->hosts[ring.hosts[scale_below(&ring.rand, ring.n)]].addr;
        uint32_t host = arena_add_honest(a, &self, join, 4);
        struct kad_contact c;
        bool honest = false;
        arena_run(a, 20000);
        for (size_t j = 0; kad_contact_at(a->hosts[host].kad, arena_now(a), j, &c); j++) {
            uint32_t other = arena_find(a, &c.addr);
            bool one = other != ARENA_NONE && a->hosts[other].kad;
            contacts++;
            honest_contacts += one;
            honest = honest || one;
        }
        for (unsigned j = 0; j < ECLIPSE_KEYS; j++)
            arena_get(a, host, &records[j].item, &ops[j]);
        arena_run_until(a, ops, ECLIPSE_KEYS);
        uint32_t found = 0;
        for (unsigned j = 0; j < ECLIPSE_KEYS; j++)
            found += ops[j].found;
        gets += found;
        routes += honest && found > 0;
        arena_remove(a, host);
    }
    ret->value = routes;
    snprintf(ret->note, sizeof ret->note, "%.0f %% of their gets; %.0f %% of their contacts are honest",
             attack_percent(gets, ECLIPSE_TRIALS * ECLIPSE_KEYS), attack_percent(honest_contacts, contacts));
    for (unsigned i = 0; i < ECLIPSE_KEYS; i++)
        arena_record_clear(&records[i]);
    arena_free(a);
}

/* ---- Sybils beside a key -------------------------------------------------------------------------------- */

#define SYBILS 32
#define SYBIL_GETS 10

static void sybils_come(struct arena *a, struct hostile_ring *ring, const uint8_t *target)
{
    for (uint32_t i = 0; i < SYBILS; i++) {
        struct addr addr;
        uint8_t id[KAD_ID_SIZE];
        hostile_place(target, i, &addr, id);
        hostile_join(a, ring, &addr, id);
    }
    for (unsigned round = 0; round < 3; round++) {
        hostile_greet(a, ring);
        arena_run(a, 20000);
    }
}

void attack_sybil(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_for(t, t->quick ? 250 : 500);
    uint32_t keys = t->quick ? 3 : 20, good = 0, holders = 0;
    struct arena_op put, ops[SYBIL_GETS];
    struct hostile_ring ring;

    hostile_ring_init(&ring, HOSTILE_PALS);
    for (uint32_t key = 0; key < keys; key++) {
        struct arena_record record;
        arena_record_make(a, &record, key, 1);
        if (t->variant == 0)
            sybils_come(a, &ring, record.target);
        arena_put(a, arena_some(a), &record.item, &put);
        arena_run_until(a, &put, 1);
        if (t->variant == 1)
            sybils_come(a, &ring, record.target);
        for (unsigned i = 0; i < SYBIL_GETS; i++)
            arena_get(a, arena_some(a), &record.item, &ops[i]);
        arena_run_until(a, ops, SYBIL_GETS);
        for (unsigned i = 0; i < SYBIL_GETS; i++) {
            good += ops[i].found;
            holders += ops[i].holders;
        }
        hostile_leave(a, &ring);
        arena_run(a, 120000);
        arena_record_clear(&record);
    }
    ret->value = attack_percent(good, keys * SYBIL_GETS);
    snprintf(ret->note, sizeof ret->note, "%u keys, %u gets, %u honest; holders found a get: %.1f", keys, keys * SYBIL_GETS,
             a->config.honest, (double)holders / (keys * SYBIL_GETS));
    arena_free(a);
}

/* ---- a fifth of the nodes lie --------------------------------------------------------------------------- */

void attack_liars(const struct trial *t, struct verdict *ret)
{
    uint32_t n = t->quick ? 100 : 500, keys = t->quick ? 40 : 200, each = t->quick ? 2 : 4, good = 0, first_ms = 0;
    uint64_t ms = 0;
    struct arena *a = arena_for(t, n);
    struct arena_record *records = scale_alloc(keys, sizeof *records);
    struct arena_op *ops = scale_alloc(keys * each, sizeof *ops);
    struct hostile_ring ring;

    hostile_ring_init(&ring, (enum hostile_names)t->variant);
    for (uint32_t i = 0; i < n / 5; i++)
        hostile_take_over(a, &ring, arena_some(a));
    for (uint32_t i = 0; i < keys; i++) {
        arena_record_make(a, &records[i], i, 1);
        arena_put(a, arena_some(a), &records[i].item, &ops[i]);
        arena_run(a, SOON_MS);
    }
    arena_run_until(a, ops, keys);
    for (uint32_t i = 0; i < keys * each; i++) {
        arena_get(a, arena_some(a), &records[i % keys].item, &ops[i]);
        arena_run(a, SOON_MS);
    }
    arena_run_until(a, ops, keys * each);
    for (uint32_t i = 0; i < keys * each; i++) {
        good += ops[i].found;
        ms += ops[i].ended_ms - ops[i].started_ms;
        first_ms += ops[i].found && ops[i].first_ms ? (uint32_t)(ops[i].first_ms - ops[i].started_ms) : 0;
    }
    ret->value = attack_percent(good, keys * each);
    snprintf(ret->note, sizeof ret->note, "%u of %u lie, %u gets; first value after %.2f s, end after %.2f s on average",
             n / 5, n, keys * each, first_ms / 1000.0 / (good ? good : 1), (double)ms / 1000 / (keys * each));
    for (uint32_t i = 0; i < keys; i++)
        arena_record_clear(&records[i]);
    free(records);
    free(ops);
    arena_free(a);
}
