/* Attacks on what the network holds: old versions, floods, crowded sets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "kad/id.h"
#include "kad/set.h"
#include "tests/attacks.h"
#include "tests/attacks_hostile.h"
#include "tests/scale_memory.h"

#define SOON_MS 50

/* ---- rollback ------------------------------------------------------------------------------------------- */

#define ROLLBACK_GETS 5
#define ROLLBACK_PAUSE_MS 1200000   /* tables have noticed who is gone (liveness), or the next key would meet the dead too */

/* One node's store is handed the record as if somebody had put it there alone. */
static void hold(struct arena *a, uint32_t host, const struct arena_record *r)
{
    struct now now = arena_now(a);
    struct addr from = arena_honest_addr(9000);
    struct krpc_msg get = {.method = KRPC_GET, .target = r->target, .id = r->target}, m;
    struct kad_datagram out;
    uint8_t buf[KAD_DATAGRAM_MAX], token[KRPC_TOKEN_MAX];
    size_t size = hostile_query(a, 0, &get, buf);

    arena_turn(a, host);
    kad_recv(a->hosts[host].kad, now, &from, buf, size);
    struct krpc_msg put = {.method = KRPC_PUT, .id = r->target, .k = r->item.pk, .sig = r->item.sig, .has_seq = true,
                           .seq = r->item.seq, .salt = r->item.salt, .v = {r->item.v.data, r->item.v.size}};
    while (kad_next_out(a->hosts[host].kad, &out)) {
        if (!addr_equal(&out.to, &from) || krpc_decode(out.data, out.size, &m) || m.kind != KRPC_REPLY || !m.token.data)
            continue;
        memcpy(token, m.token.data, m.token.size);
        put.token = span(token, m.token.size);
    }
    if (!put.token.data)
        abort(); /* whoever asks is given a token */
    size = hostile_query(a, 0, &put, buf);
    kad_recv(a->hosts[host].kad, now, &from, buf, size);
    arena_turn(a, host);
}

/* How many of the k closest hold that seq now, asked one by one in their own stores. */
static uint32_t holding(struct arena *a, const uint32_t *hosts, size_t n, const struct arena_record *r)
{
    struct addr from = arena_honest_addr(9001);
    uint8_t buf[KAD_DATAGRAM_MAX];
    uint32_t have = 0;

    for (size_t i = 0; i < n; i++) {
        struct krpc_msg get = {.method = KRPC_GET, .target = r->target, .id = r->target}, m;
        struct kad_datagram out;
        if (!a->hosts[hosts[i]].kad)
            continue;
        arena_turn(a, hosts[i]);
        kad_recv(a->hosts[hosts[i]].kad, arena_now(a), &from, buf, hostile_query(a, 0, &get, buf));
        while (kad_next_out(a->hosts[hosts[i]].kad, &out))
            have += addr_equal(&out.to, &from) && krpc_decode(out.data, out.size, &m) == 0 && m.has_seq &&
                    m.seq == r->item.seq;
        arena_turn(a, hosts[i]);
    }
    return have;
}

/* Of the 16 nodes closest to a key one holds the new version, 15 the old: stale ones that missed the update, or hostile
 * ones that serve what once was, signed and all. */
void attack_rollback(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_new(&(struct arena_config){.honest = t->quick ? 150 : 500, .seed = t->seed, .without = t->without});
    uint32_t keys = t->quick ? 3 : 20, newest = 0, repaired = 0, could = 0, all = 0;
    struct arena_op ops[ROLLBACK_GETS];

    for (uint32_t key = 0; key < keys; key++) {
        struct arena_record was, now;
        struct hostile_ring ring;
        uint32_t hosts[KAD_K];
        arena_record_make(a, &was, key, 1);
        arena_record_make(a, &now, key, 2);
        size_t n = arena_closest(a, was.target, hosts, KAD_K);
        uint32_t fresh = scale_below(&a->rand, (uint32_t)n);
        hostile_ring_init(&ring, HOSTILE_PALS);
        ring.old = &was;
        for (uint32_t i = 0; i < n; i++) {
            if (i == fresh)
                hold(a, hosts[i], &now);
            else if (t->variant == 0)
                hostile_take_over(a, &ring, hosts[i]);
            else
                hold(a, hosts[i], &was);
        }
        arena_run(a, 10000);
        for (unsigned i = 0; i < ROLLBACK_GETS; i++, all++) {
            uint32_t who;
            do
                who = arena_some(a);
            while (id_common_bits(kad_node_id(a->hosts[who].kad), was.target) > 5); /* a holder reads its own store */
            arena_get(a, who, &now.item, &ops[i]);
            arena_run_until(a, &ops[i], 1);
            newest += ops[i].found && ops[i].seq == 2;
        }
        arena_run(a, 10000);
        if (t->variant == 1) {
            repaired += holding(a, hosts, n, &now);
            could += (uint32_t)n;
        }
        arena_run(a, 60000);
        while (ring.n > 0) { /* each is honest again, a newcomer */
            struct addr at = arena_honest_addr(10000 + key * KAD_K + ring.n), join[2] = {a->hosts[arena_some(a)].addr,
                                                                                       a->hosts[arena_some(a)].addr};
            arena_remove(a, ring.hosts[--ring.n]);
            arena_add_honest(a, &at, join, 2);
        }
        arena_run(a, ROLLBACK_PAUSE_MS);
        arena_record_clear(&was);
        arena_record_clear(&now);
    }
    ret->value = attack_percent(newest, all);
    if (t->variant == 1)
        snprintf(ret->note, sizeof ret->note, "%u gets; afterwards %.0f %% of the holders have the newest", all,
                 attack_percent(repaired, could));
    else
        snprintf(ret->note, sizeof ret->note, "%u gets of %u keys", all, keys);
    arena_free(a);
}

/* ---- floods --------------------------------------------------------------------------------------------- */

#define FLOOD_VICTIMS_MAX 128
#define FLOOD_STEP_MS 1000

struct flood {
    struct hostile what;
    uint32_t first_host, n_hosts, victims;
    uint32_t per_step;            /* records each host puts each second, at one victim after another */
    uint64_t counter, stop_ms, accepted, refused;
    const uint8_t *root;          /* entries of this set, instead of items */
    uint32_t *victim_hosts;
    struct arena_record *entries; /* of the set: signed beforehand */
    uint8_t token[512][FLOOD_VICTIMS_MAX][8];
    uint16_t at[512];
};

static void flood_heard(struct arena *a, uint32_t host, const struct addr *from, const struct krpc_msg *m)
{
    struct flood *f = a->hosts[host].hostile->ctx;
    uint32_t who = arena_find(a, from);

    f->refused += m->kind == KRPC_ERROR;
    if (m->kind == KRPC_REPLY && !m->token.data)
        f->accepted++;
    if (m->kind != KRPC_REPLY || m->token.size != 8)
        return;
    for (uint32_t v = 0; v < f->victims; v++)
        if (f->victim_hosts[v] == who)
            memcpy(f->token[host - f->first_host][v], m->token.data, 8);
}

static void flood_put(struct arena *a, uint32_t host, struct flood *f, uint32_t v)
{
    uint8_t value[128], buf[KAD_DATAGRAM_MAX];
    struct bytes_out out = bytes_out(value, sizeof value);
    struct krpc_msg q = {.method = KRPC_PUT, .token = span(f->token[host - f->first_host][v], 8)};

    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(arena_now(a)) + 300 * 86400);
    ben_put_key(&out, "n");
    ben_put_int(&out, (int64_t)f->counter++);
    ben_put_end(&out);
    q.v = (struct ben){value, out.size};
    arena_send(a, host, &a->hosts[f->victim_hosts[v]].addr, buf, hostile_query(a, host, &q, buf));
}

/* A second of one host's work: a fresh token from the next victim, and puts at the one whose token has just come. */
static void flood_woken(struct arena *a, uint32_t host)
{
    struct flood *f = a->hosts[host].hostile->ctx;
    uint32_t i = host - f->first_host, v = f->at[i], next = (v + 1) % f->victims;
    uint8_t buf[KAD_DATAGRAM_MAX];
    struct krpc_msg q = {.method = KRPC_GET, .target = a->hosts[f->victim_hosts[next]].id};

    if (a->wheel.now_ms >= f->stop_ms)
        return;
    for (uint32_t n = 0; n < f->per_step && be64(f->token[i][v]); n++)
        flood_put(a, host, f, v);
    arena_send(a, host, &a->hosts[f->victim_hosts[next]].addr, buf, hostile_query(a, host, &q, buf));
    f->at[i] = (uint16_t)next;
    arena_alarm(a, host, a->wheel.now_ms + FLOOD_STEP_MS);
}

/* Every node's store holds `room` records; the attackers put several times as many at each. Then honest users put
 * theirs, and others read them, at once and after the hour in which holders have passed on what they hold. */
void attack_flood(const struct trial *t, struct verdict *ret)
{
    uint32_t honest = t->quick ? 30 : 80, room = t->quick ? 256 : 1024, keys = t->quick ? 40 : 200, good = 0, later = 0;
    uint32_t subnets = t->quick && t->variant > 64 ? 64 : t->variant;
    struct arena *a = arena_new(&(struct arena_config){.honest = honest, .seed = t->seed, .without = t->without, .items_max = room});
    struct arena_record *records = scale_alloc(keys, sizeof *records);
    struct arena_op *ops = scale_alloc(keys, sizeof *ops);
    struct flood *f = scale_alloc(1, sizeof *f);
    uint32_t victims[FLOOD_VICTIMS_MAX];
    uint64_t held = 0;

    for (uint32_t i = 0; i < honest; i++)
        victims[i] = i;
    *f = (struct flood){.what = {flood_heard, flood_woken, f}, .first_host = a->n, .n_hosts = subnets, .victims = honest,
                        .victim_hosts = victims};
    /* One address may put 64 a second; it comes back to a victim each `honest` seconds, with what has gathered. */
    f->per_step = subnets == 1 ? 256 : 3 * room / subnets;
    uint64_t rounds = (uint64_t)(3 * room + f->per_step * subnets - 1) / (f->per_step * subnets) + 1;
    f->stop_ms = a->wheel.now_ms + rounds * honest * FLOOD_STEP_MS;
    for (uint32_t i = 0; i < subnets; i++) {
        struct addr addr = {.family = 4, .ip = {122, (uint8_t)(i >> 8), (uint8_t)i, 3}, .port = 7000};
        uint8_t id[KAD_ID_SIZE];
        struct rng rng = {scale_rand_fill, &a->rand};
        id_for_addr(&rng, &addr, id);
        f->at[i] = (uint16_t)(i % honest);
        arena_alarm(a, arena_add_hostile(a, &addr, id, &f->what), a->wheel.now_ms + 1 + i);
    }
    arena_run(a, rounds * honest * FLOOD_STEP_MS + 5000);
    for (uint32_t i = 0; i < honest; i++) {
        struct kad_stats s;
        kad_stats(a->hosts[i].kad, &s);
        held += s.items;
    }
    for (uint32_t i = 0; i < keys; i++) {
        arena_record_make(a, &records[i], i, 1);
        arena_put(a, arena_some(a), &records[i].item, &ops[i]);
        arena_run(a, SOON_MS);
    }
    arena_run_until(a, ops, keys);
    for (unsigned pass = 0; pass < (t->quick ? 1 : 2); pass++) {
        for (uint32_t i = 0; i < keys; i++) {
            arena_get(a, arena_some(a), &records[i].item, &ops[i]);
            arena_run(a, SOON_MS);
        }
        arena_run_until(a, ops, keys);
        for (uint32_t i = 0; i < keys; i++)
            *(pass ? &later : &good) += ops[i].found;
        if (pass == 0 && !t->quick)
            arena_run(a, 4200000);
    }
    ret->value = attack_percent(good, keys);
    int n = snprintf(ret->note, sizeof ret->note, "%u nodes of %u records, %.0f %% full; %llu put, %llu taken", honest, room,
                     100.0 * (double)held / (honest * room), (unsigned long long)f->counter, (unsigned long long)f->accepted);
    if (!t->quick)
        snprintf(ret->note + n, sizeof ret->note - (size_t)n, "; %.4g %% an hour later", attack_percent(later, keys));
    for (uint32_t i = 0; i < keys; i++)
        arena_record_clear(&records[i]);
    free(records);
    free(ops);
    free(f);
    arena_free(a);
}

/* ---- crowded sets --------------------------------------------------------------------------------------- */

#define SET_FLOODERS 16

void attack_entry_make(const struct arena *a, struct made_entry *m, const uint8_t *root, uint64_t key, int digit)
{
    uint8_t seed[KEY_SIZE] = {7}, slot[KAD_SLOT_SIZE];
    struct bytes_out out = bytes_out(m->v, sizeof m->v);

    for (uint64_t i = 0;; i++) {
        put_be64(seed + 8, scale_mix(key ^ scale_mix(a->config.seed)));
        put_be64(seed + 16, i);
        m->who = scale_have(identity_from_seed(seed));
        kad_slot(m->who->pk, slot);
        if (digit < 0 || slot[0] >> 4 == digit)
            break;
        identity_free(m->who);
    }
    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(arena_now(a)) + 86400 * 20);
    ben_put_end(&out);
    m->entry = (struct kad_entry){.seq = 1, .v = span(m->v, out.size)};
    memcpy(m->entry.pk, m->who->pk, KEY_SIZE);
    if (kad_entry_sign(&m->entry, root, m->who))
        abort();
}

/* Variant 0: strangers put thousands of entries of their own under one root, most into one branch of it, before and
 * while honest keys put theirs. Variant 1: four Sybils beside the root call it split, always. */
void attack_set(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_new(&(struct arena_config){.honest = t->quick ? 60 : 200, .seed = t->seed, .without = t->without});
    uint32_t n_flood = t->variant == 0 ? t->quick ? 600 : 3000 : 0, n_honest = t->quick ? 8 : 40, good = 0, most = 0;
    struct made_entry *flood = scale_alloc(n_flood, sizeof *flood), *honest = scale_alloc(n_honest, sizeof *honest);
    struct arena_op *ops = scale_alloc(n_flood + n_honest, sizeof *ops);
    struct hostile_ring ring;
    uint8_t root[KAD_ID_SIZE];
    uint64_t before;

    hash_sha1(root, "crowd", 5);
    hostile_ring_init(&ring, HOSTILE_PALS);
    ring.claims_split = 1;
    for (uint32_t i = 0; i < 4 && t->variant == 1; i++) {
        struct addr addr;
        uint8_t id[KAD_ID_SIZE];
        hostile_place(root, i, &addr, id);
        hostile_join(a, &ring, &addr, id);
    }
    hostile_greet(a, &ring);
    arena_run(a, 20000);
    for (uint32_t i = 0; i < n_flood; i++) { /* through a few nodes of theirs, which are like any other */
        attack_entry_make(a, &flood[i], root, 1000 + i, i % 4 ? 5 : -1);
        arena_set_put(a, i % SET_FLOODERS, root, &flood[i].entry, &ops[i]);
        arena_run(a, SOON_MS);
        if (i >= n_flood / 2 && (i - n_flood / 2) % (n_flood / 2 / n_honest) == 0 && good < n_honest) {
            attack_entry_make(a, &honest[good], root, good, -1);
            arena_set_put(a, arena_some(a), root, &honest[good].entry, &ops[n_flood + good]);
            good++;
        }
    }
    for (; good < n_honest; good++) {
        attack_entry_make(a, &honest[good], root, good, -1);
        arena_set_put(a, arena_some(a), root, &honest[good].entry, &ops[n_flood + good]);
        arena_run(a, SOON_MS);
    }
    arena_run_until(a, ops, n_flood + n_honest);
    arena_run(a, n_flood ? 4200000 : 10000); /* shards that are full have handed down what they held */
    good = 0;
    before = a->datagrams;
    for (uint32_t i = 0; i < n_honest; i++) {
        ops[i].wanted_pk = honest[i].entry.pk;
        arena_set_get(a, arena_some(a), root, &ops[i]);
        arena_run_until(a, &ops[i], 1);
        good += ops[i].saw_wanted;
        most = ops[i].entries > most ? ops[i].entries : most;
    }
    ret->value = attack_percent(good, n_honest);
    snprintf(ret->note, sizeof ret->note, "%u entries of strangers, %u of honest keys; a reader saw up to %u, for %.0f datagrams",
             n_flood, n_honest, most, (double)(a->datagrams - before) / n_honest);
    for (uint32_t i = 0; i < n_flood; i++)
        identity_free(flood[i].who);
    for (uint32_t i = 0; i < n_honest; i++)
        identity_free(honest[i].who);
    free(flood);
    free(honest);
    free(ops);
    arena_free(a);
}
