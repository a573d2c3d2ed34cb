/* Attacks on routing: getting into tables, around newcomers, beside a key, into everybody's lookups. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kad/id.h"
#include "tests/attacks.h"
#include "tests/attacks_hostile.h"
#include "tests/scale_memory.h"
#include "timeline/operation.h"

#define SOON_MS 50 /* between two operations of a batch */

double attack_percent(uint32_t good, uint32_t all)
{
    return all ? 100.0 * good / all : 0;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* How long the operations took: of n, the one at `percent`. */
static double took_s(const struct arena_op *ops, uint32_t n, unsigned percent)
{
    uint64_t *ms = scale_alloc(n, sizeof *ms);

    for (uint32_t i = 0; i < n; i++)
        ms[i] = ops[i].ended_ms - ops[i].started_ms;
    qsort(ms, n, sizeof *ms, by_size);
    double s = (double)ms[(uint64_t)n * percent / 100] / 1000;
    free(ms);
    return s;
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
#define ECLIPSE_RING 64         /* beside 300 honest nodes */
#define ECLIPSE_RING_QUICK 17   /* beside 80 */

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
    for (uint32_t i = 0; i < (t->quick ? ECLIPSE_RING_QUICK : ECLIPSE_RING); i++) {
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

#define SYBIL_SUBNETS 256

static void sybils_stand(struct arena *a, struct hostile_ring *ring, const uint8_t *target, uint32_t n, bool chosen)
{
    for (uint32_t i = 0; i < n; i++) {
        struct addr addr;
        uint8_t id[KAD_ID_SIZE];
        if (chosen)
            hostile_choose(target, i, &addr, id);
        else
            hostile_place(target, i, &addr, id);
        hostile_join(a, ring, &addr, id);
    }
}

static void sybils_come(struct arena *a, struct hostile_ring *ring, const uint8_t *target, const uint8_t *reader)
{
    sybils_stand(a, ring, target, SYBILS, false);
    if (reader)
        sybils_stand(a, ring, reader, SYBILS, false);
    for (unsigned round = 0; round < 3; round++) {
        hostile_greet(a, ring);
        arena_run(a, 20000);
    }
}

static void subnets_come(struct arena *a, struct hostile_ring *ring, const uint8_t *target)
{
    sybils_stand(a, ring, target, SYBIL_SUBNETS, true);
    for (unsigned round = 0; round < 3; round++) {
        hostile_greet(a, ring);
        arena_run(a, 20000);
    }
}

void attack_sybil(const struct trial *t, struct verdict *ret)
{
    bool many = t->variant == SYBIL_SUBNETS_CHOSEN; /* they take their time, so less of the rest */
    struct arena *a = arena_for(t, t->quick ? many ? 120 : 250 : 500);
    uint32_t keys = t->quick ? many ? 1 : 3 : many ? 5 : 20, good = 0, holders = 0;
    struct arena_op put, ops[SYBIL_GETS];
    struct hostile_ring ring;

    hostile_ring_init(&ring, HOSTILE_PALS);
    for (uint32_t key = 0; key < keys; key++) {
        struct arena_record record;
        arena_record_make(a, &record, key, 1);
        uint32_t reader = arena_some(a);
        if (t->variant == SYBIL_BEFORE)
            sybils_come(a, &ring, record.target, NULL);
        if (t->variant == SYBIL_READER)
            sybils_come(a, &ring, record.target, kad_node_id(a->hosts[reader].kad));
        if (t->variant == SYBIL_SUBNETS_CHOSEN)
            subnets_come(a, &ring, record.target);
        arena_put(a, arena_some(a), &record.item, &put);
        arena_run_until(a, &put, 1);
        if (t->variant == SYBIL_AFTER)
            sybils_come(a, &ring, record.target, NULL);
        for (unsigned i = 0; i < SYBIL_GETS; i++)
            arena_get(a, t->variant == SYBIL_READER ? reader : arena_some(a), &record.item, &ops[i]);
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
    uint64_t before = a->datagrams;
    for (uint32_t i = 0; i < keys * each; i++) {
        arena_get(a, arena_some(a), &records[i % keys].item, &ops[i]);
        arena_run(a, SOON_MS);
    }
    arena_run_until(a, ops, keys * each);
    double datagrams = (double)(a->datagrams - before) / (keys * each);
    for (uint32_t i = 0; i < keys * each; i++) {
        good += ops[i].found;
        first_ms += ops[i].found && ops[i].first_ms ? (uint32_t)(ops[i].first_ms - ops[i].started_ms) : 0;
    }
    ret->value = attack_percent(good, keys * each);
    snprintf(ret->note, sizeof ret->note,
             "%u of %u lie, %u gets of %.0f datagrams; first value after %.2f s on average, end after %.2f s, p99 %.2f s",
             n / 5, n, keys * each, datagrams, first_ms / 1000.0 / (good ? good : 1), took_s(ops, keys * each, 50),
             took_s(ops, keys * each, 99));
    for (uint32_t i = 0; i < keys; i++)
        arena_record_clear(&records[i]);
    free(records);
    free(ops);
    arena_free(a);
}

/* ---- few honest nodes, and liars beside what they look for ---------------------------------------------- */

#define FEW_HONEST 6
#define FEW_LIARS 5
#define FEW_SPLITS 5            /* one answer in so many calls a set split */
#define FEW_KEY 7000

/* What a `follow` does: who has the name (a set), our entry in another set, and the author's record; each has the time
 * that the command gives it (timeline/operation.h). All stand in a network so small that every honest node knows every other. */
void attack_few(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_for(t, FEW_HONEST);
    uint32_t rounds = t->quick ? 12 : 100, good = 0;
    struct arena_op *ops = scale_alloc(3 * rounds, sizeof *ops), made;
    struct made_entry *entries = scale_alloc(rounds, sizeof *entries);
    struct arena_record record;
    struct hostile_ring ring;
    uint8_t root[KAD_ID_SIZE];

    arena_record_make(a, &record, FEW_KEY, 1);
    arena_put(a, 0, &record.item, &made);
    arena_run_until(a, &made, 1);
    memcpy(root, record.target, KAD_ID_SIZE);
    hostile_ring_init(&ring, HOSTILE_FORGED);
    ring.claims_split = FEW_SPLITS;
    sybils_stand(a, &ring, record.target, FEW_LIARS, false);
    for (unsigned round = 0; round < 3; round++) {
        hostile_greet(a, &ring);
        arena_run(a, 20000);
    }
    uint64_t before = a->datagrams;
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t who = arena_some(a), reader = arena_some(a);
        attack_entry_make(a, &entries[i], root, i, -1);
        arena_set_put(a, who, root, &entries[i].entry, &ops[3 * i]);
        arena_run_until(a, &ops[3 * i], 1);
        ops[3 * i + 1].wanted_pk = entries[i].entry.pk;
        arena_set_get(a, reader, root, &ops[3 * i + 1]);
        arena_get(a, who, &record.item, &ops[3 * i + 2]);
        arena_run_until(a, &ops[3 * i + 1], 2);
        arena_run(a, 30000);
        good += ops[3 * i].status == 0 && ops[3 * i].ended_ms - ops[3 * i].started_ms <= OP_PUT_MS;
        good += ops[3 * i + 1].saw_wanted && ops[3 * i + 1].ended_ms - ops[3 * i + 1].started_ms <= OP_CLAIMS_MS;
        good += ops[3 * i + 2].found && ops[3 * i + 2].ended_ms - ops[3 * i + 2].started_ms <= OP_RECORDS_MS;
    }
    double slowest_s = took_s(ops, 3 * rounds, 99);
    ret->value = t->variant == FEW_SLOWEST ? slowest_s : attack_percent(good, 3 * rounds);
    snprintf(ret->note, sizeof ret->note,
             "%u honest, %u liars; %u operations, p50 %.2f s, p99 %.2f s, %.0f datagrams, upkeep included", FEW_HONEST,
             FEW_LIARS, 3 * rounds, took_s(ops, 3 * rounds, 50), slowest_s,
             (double)(a->datagrams - before) / (3 * rounds));
    for (uint32_t i = 0; i < rounds; i++)
        identity_free(entries[i].who);
    arena_record_clear(&record);
    free(entries);
    free(ops);
    arena_free(a);
}
