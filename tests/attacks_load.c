/* Attacks by sheer traffic: in somebody else's name, and as much as a line carries. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kad/guard.h"
#include "kad/id.h"
#include "tests/attacks.h"
#include "tests/attacks_hostile.h"
#include "tests/scale_memory.h"

/* ---- spoofed sources ------------------------------------------------------------------------------------ */

#define SPOOF_VICTIMS 200
#define SPOOF_MINUTES 4
#define SPOOF_PER_S 100

static const struct hostile silent;

static size_t spoofed_query(struct arena *a, uint32_t victim, const uint8_t *target, const uint8_t *id, uint8_t *buf)
{
    static const enum krpc_method methods[] = {KRPC_GET, KRPC_FIND_NODE, KRPC_PING, KRPC_GET_PEERS, KRPC_SGET};
    struct krpc_msg q = {.method = methods[scale_below(&a->rand, 5)], .id = id, .target = target, .has_depth = true,
                         .prefix = span_str("")};

    return hostile_query(a, victim, &q, buf);
}

#define CONTACTS 3
#define CONTACT_PER_S 5000 /* queries: as many as a node reads from one address */

/* The same in the names of nodes that we know and that answer us, of as many bytes as they would have to send. */
static void spoof_contacts(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_new(&(struct arena_config){.honest = 100, .seed = t->seed, .without = t->without});
    struct hostile_ring ring;
    struct arena_record record;
    struct arena_op op;
    uint32_t seconds = t->quick ? 20 : 60;

    arena_record_make(a, &record, 1, 1);
    arena_put(a, 0, &record.item, &op);
    arena_run_until(a, &op, 1);
    hostile_ring_init(&ring, HOSTILE_PALS);
    for (uint32_t i = 0; i < CONTACTS; i++) {
        struct addr addr;
        uint8_t id[KAD_ID_SIZE];
        hostile_place(kad_node_id(a->hosts[0].kad), i, &addr, id);
        hostile_join(a, &ring, &addr, id);
    }
    for (unsigned round = 0; round < 3; round++) {
        hostile_greet(a, &ring);
        arena_run(a, 20000);
    }
    uint32_t victim = ring.hosts[0];
    uint64_t in = a->hosts[victim].in_bytes, out = a->hosts[victim].out_bytes;
    for (uint32_t i = 0; i < seconds * CONTACT_PER_S; i++) {
        uint8_t buf[KAD_DATAGRAM_MAX];
        size_t size = spoofed_query(a, victim, record.target, a->hosts[victim].id, buf);
        arena_send(a, victim, &a->hosts[0].addr, buf, size);
        if (i % (CONTACT_PER_S / 1000) == 0)
            arena_run(a, 1);
    }
    in = a->hosts[victim].in_bytes - in;
    out = a->hosts[victim].out_bytes - out;
    /* What it may have at once apart. */
    ret->value = ((double)in - 4.0 * KAD_GUARD_PROVEN_BYTES_S) / seconds;
    snprintf(ret->note, sizeof ret->note, "%u s, %u queries a second: %.1f MB in its name brought it %.1f MB, %.2f to 1",
             seconds, CONTACT_PER_S, (double)out / 1e6, (double)in / 1e6, (double)in / (double)out);
    arena_record_clear(&record);
    arena_free(a);
}

/* Queries in the name of victims that know of nothing: half of them in the name of one, the rest of many. What
 * each gets is compared with what was sent in its name, minute by minute. */
void attack_spoof(const struct trial *t, struct verdict *ret)
{
    struct arena *a = arena_new(&(struct arena_config){.honest = 100, .seed = t->seed, .without = t->without});
    struct arena_record record;
    struct arena_op op;
    uint32_t victims[SPOOF_VICTIMS];
    uint64_t in[SPOOF_VICTIMS] = {0}, out[SPOOF_VICTIMS] = {0}, sum_in = 0, sum_out = 0;
    double worst = 0;

    if (t->variant == SPOOF_CONTACTS) {
        arena_free(a);
        spoof_contacts(t, ret);
        return;
    }
    arena_record_make(a, &record, 1, 1);
    arena_put(a, 0, &record.item, &op);
    arena_run_until(a, &op, 1);
    for (uint32_t i = 0; i < SPOOF_VICTIMS; i++) {
        struct addr addr = {.family = 4, .ip = {123, (uint8_t)i, 3, 4}, .port = 7000};
        victims[i] = arena_add_hostile(a, &addr, NULL, &silent);
    }
    for (uint32_t s = 0; s < (t->quick ? 2 : SPOOF_MINUTES) * 60; s++) {
        for (uint32_t i = 0; i < SPOOF_PER_S; i++) {
            uint8_t buf[KAD_DATAGRAM_MAX], id[KAD_ID_SIZE];
            uint32_t victim = victims[i % 2 ? scale_below(&a->rand, SPOOF_VICTIMS) : 0];
            struct rng rng = {scale_rand_fill, &a->rand};
            id_for_addr(&rng, &a->hosts[victim].addr, id); /* a new one each time: worth a greeting, it seems */
            arena_send(a, victim, &a->hosts[0].addr, buf, spoofed_query(a, victim, record.target, id, buf));
            arena_run(a, 1000 / SPOOF_PER_S);
        }
        for (uint32_t i = 0; i < SPOOF_VICTIMS && s % 60 == 59; i++) {
            const struct arena_host *h = &a->hosts[victims[i]];
            double beyond = (double)(h->in_bytes - in[i]) - (double)(h->out_bytes - out[i]);
            worst = beyond > worst ? beyond : worst;
            sum_in += h->in_bytes - in[i];
            sum_out += h->out_bytes - out[i];
            in[i] = h->in_bytes;
            out[i] = h->out_bytes;
        }
    }
    ret->value = worst;
    snprintf(ret->note, sizeof ret->note, "%u victims, %u queries a second: %llu bytes in their names brought them %llu, %.2f to 1",
             SPOOF_VICTIMS, SPOOF_PER_S, (unsigned long long)sum_out, (unsigned long long)sum_in,
             (double)sum_in / (double)sum_out);
    arena_record_clear(&record);
    arena_free(a);
}

/* ---- junk at line rate ---------------------------------------------------------------------------------- */

/* One node's queue: datagrams arrive at their times, and each takes as long as it takes, in processor time that this
 * thread used for it and what the kernel needs to hand it over; the socket's buffer holds so many and loses the rest. */
#define LINE_MBIT_S 100
#define LINE_QUICK_MBIT_S 80    /* with sanitizers on */
#define FRAME_BYTES 66          /* Ethernet with preamble and gap, IPv4, UDP */
#define KERNEL_S 1e-6           /* of a datagram that comes in through recvmmsg */
#define BUFFER_DATAGRAMS 256    /* in the 208 KiB that a socket has by default */
#define HONEST_PER_S 500.0
#define HONEST_MAX 8192
#define ROUNDS 5
#define LOST_S 1.0              /* what a lost query costs its asker */

struct queue {
    struct arena *a;
    uint32_t node;
    struct arena_record record;
    double now_s, free_s, start_s;
    double ends_s[BUFFER_DATAGRAMS]; /* when the last ones were through, round and round */
    uint64_t n, lost;
    double busy_s;
    bool endless; /* nothing is lost: what is counted must not depend on how fast we are */
};

static double cpu_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A datagram arrives now. Returns how long until it was dealt with, or LOST_S. */
static double arrive(struct queue *q, const struct addr *from, const uint8_t *buf, size_t size)
{
    struct kad *k = q->a->hosts[q->node].kad;
    struct kad_datagram out;
    struct kad_event e;
    struct kad_dirty d;
    struct now now = arena_now(q->a);
    uint64_t passed_ms = (uint64_t)((q->now_s - q->start_s) * 1000);

    now.mono_ms += passed_ms;
    now.wall_ms += passed_ms;
    if (!q->endless && q->n >= BUFFER_DATAGRAMS && q->ends_s[q->n % BUFFER_DATAGRAMS] > q->now_s) {
        q->lost++;
        return LOST_S;
    }
    double from_s = cpu_s();
    kad_recv(k, now, from, buf, size);
    if (kad_deadline_ms(k) <= now.mono_ms)
        kad_tick(k, now);
    while (kad_next_out(k, &out))
        ;
    while (kad_next_event(k, &e))
        ;
    while (kad_next_dirty(k, &d))
        ;
    double took_s = cpu_s() - from_s + KERNEL_S;
    q->free_s = (q->free_s > q->now_s ? q->free_s : q->now_s) + took_s;
    q->busy_s += took_s;
    q->ends_s[q->n++ % BUFFER_DATAGRAMS] = q->free_s;
    return q->free_s - q->now_s;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Four sorts of junk in turn: noise, a query with some bytes changed, queries in made-up names, and puts under a live
 * token with a signature that is none, which costs most to find out. */
static size_t junk(struct queue *q, const uint8_t *token, struct addr *ret_from, uint8_t *buf)
{
    struct scale_rand *r = &q->a->rand;
    struct addr made_up = {.family = 4, .port = 1234};
    uint8_t id[KAD_ID_SIZE] = {1}, sig[SIG_SIZE];
    uint32_t sort = scale_below(r, 4);
    struct krpc_msg m = {.method = KRPC_GET, .target = q->record.target, .id = id};

    put_be32(made_up.ip, (124u << 24) + scale_below(r, 1u << 24));
    *ret_from = made_up;
    if (sort == 0) {
        size_t size = 32 + scale_below(r, 200);
        scale_rand_fill(r, buf, size);
        return size;
    }
    if (sort == 3) {
        memcpy(sig, q->record.item.sig, sizeof sig); /* of another value: only the whole verification tells */
        m = (struct krpc_msg){.method = KRPC_PUT, .id = id, .k = q->record.item.pk, .sig = sig, .has_seq = true,
                              .seq = (int64_t)(2 + scale_below(r, 1u << 30)), .salt = q->record.item.salt,
                              .v = {q->record.item.v.data, q->record.item.v.size}, .token = span(token, KAD_TOKEN_SIZE)};
        *ret_from = (struct addr){.family = 4, .ip = {125, 1, 1, 1}, .port = 1234};
    }
    size_t size = hostile_query(q->a, q->node, &m, buf);
    for (unsigned i = 0; i < 4 && sort == 1; i++)
        buf[scale_below(r, (uint32_t)size)] ^= (uint8_t)(1 + scale_below(r, 255));
    return size;
}

static void take_token(struct queue *q, uint8_t *ret_token)
{
    struct addr from = {.family = 4, .ip = {125, 1, 1, 1}, .port = 1234};
    uint8_t buf[KAD_DATAGRAM_MAX], id[KAD_ID_SIZE] = {1};
    struct krpc_msg get = {.method = KRPC_GET, .target = q->record.target, .id = id}, m;
    struct kad_datagram out;

    arena_turn(q->a, q->node);
    kad_recv(q->a->hosts[q->node].kad, arena_now(q->a), &from, buf, hostile_query(q->a, q->node, &get, buf));
    while (kad_next_out(q->a->hosts[q->node].kad, &out))
        if (krpc_decode(out.data, out.size, &m) == 0 && m.token.size == KAD_TOKEN_SIZE)
            memcpy(ret_token, m.token.data, KAD_TOKEN_SIZE);
}

static double p99_s(const struct trial *t, bool with_junk, double *ret_lost, double *ret_busy, double *ret_per_s,
                    uint64_t *ret_verified)
{
    double line_bit_s = 1e6 * (t->quick ? LINE_QUICK_MBIT_S : LINE_MBIT_S), seconds = t->quick ? 0.5 : 4;
    struct arena *a = arena_new(&(struct arena_config){.honest = t->quick ? 30 : 60, .seed = t->seed, .without = t->without});
    struct queue q = {.a = a, .endless = t->quick};
    struct kad_stats stats;
    double *took = scale_alloc(HONEST_MAX, sizeof *took);
    uint8_t buf[KAD_DATAGRAM_MAX], token[KAD_TOKEN_SIZE] = {0};
    uint32_t n = 0;
    struct arena_op op;

    arena_record_make(a, &q.record, 1, 1);
    arena_put(a, 0, &q.record.item, &op);
    arena_run_until(a, &op, 1);
    arena_closest(a, q.record.target, &q.node, 1);
    take_token(&q, token);
    kad_stats(a->hosts[q.node].kad, &stats);
    uint64_t verified = stats.refused_signature;
    q.now_s = q.free_s = q.start_s = (double)a->wheel.now_ms / 1000;
    double honest_s = q.now_s, junk_s = with_junk ? q.now_s : INFINITY;
    while (n < HONEST_MAX && q.now_s < q.start_s + seconds) {
        struct addr from;
        if (junk_s < honest_s) {
            q.now_s = junk_s;
            size_t size = junk(&q, token, &from, buf);
            arrive(&q, &from, buf, size);
            junk_s += (double)(size + FRAME_BYTES) * 8 / line_bit_s;
            continue;
        }
        uint32_t who = (q.node + 1 + scale_below(&a->rand, a->config.honest - 1)) % a->config.honest;
        struct krpc_msg m = {.method = KRPC_GET, .target = q.record.target, .id = kad_node_id(a->hosts[who].kad)};
        q.now_s = honest_s;
        took[n++] = arrive(&q, &a->hosts[who].addr, buf, hostile_query(a, who, &m, buf));
        honest_s -= log(scale_unit(&a->rand)) / HONEST_PER_S;
    }
    qsort(took, n, sizeof *took, compare);
    double p99 = took[n * 99 / 100];
    *ret_lost = 100.0 * (double)q.lost / (double)(q.n + q.lost);
    *ret_busy = 100 * q.busy_s / seconds;
    *ret_per_s = (double)(q.n + q.lost) / seconds;
    kad_stats(a->hosts[q.node].kad, &stats);
    *ret_verified = stats.refused_signature - verified;
    free(took);
    arena_record_clear(&q.record);
    arena_free(a);
    return p99;
}

void attack_junk(const struct trial *t, struct verdict *ret)
{
    double lost, busy, per_s, calm[ROUNDS], storm[ROUNDS];
    uint64_t verified = 0;

    if (t->quick) { /* what costs most, counted: times are not to be had beside other tests */
        p99_s(t, true, &lost, &busy, &per_s, &verified);
        ret->value = (double)verified;
        snprintf(ret->note, sizeof ret->note, "%u Mbit/s for half a second, %.0f datagrams a second, a quarter of them puts",
                 LINE_QUICK_MBIT_S, per_s);
        return;
    }

    /* Processor time is steadier than the clock, but caches are shared with whatever else runs, which only ever adds:
     * the best round of each. */
    for (unsigned i = 0; i < ROUNDS; i++) {
        calm[i] = p99_s(t, false, &lost, &busy, &per_s, &verified);
        storm[i] = p99_s(t, true, &lost, &busy, &per_s, &verified);
    }
    qsort(calm, ROUNDS, sizeof *calm, compare);
    qsort(storm, ROUNDS, sizeof *storm, compare);
    double calm_s = calm[0], storm_s = storm[0];
    ret->value = storm_s / calm_s;
    snprintf(ret->note, sizeof ret->note, "%u Mbit/s, %.0f datagrams a second; p99 %.0f us, without %.0f us; %.1f %% lost, %.0f %% busy",
             LINE_MBIT_S, per_s, storm_s * 1e6, calm_s * 1e6, lost, busy);
}
