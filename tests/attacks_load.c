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

/* One node's queue: datagrams arrive at their times, and each takes as long as it takes to deal with, and what the
 * kernel needs to hand it over; the socket's buffer holds so many and loses the rest. How long each takes is measured
 * in several rounds of the same datagrams, and the least of them counts: whatever else the machine does in between, its
 * ticks among it, only ever adds. What a datagram costs for its place in the row, it costs in every round. */
#define LINE_MBIT_S 100
#define LINE_QUICK_MBIT_S 80    /* with sanitizers on */
#define FRAME_BYTES 66          /* Ethernet with preamble and gap, IPv4, UDP */
#define KERNEL_S 1e-6           /* of a datagram that comes in through recvmmsg */
#define BUFFER_DATAGRAMS 256    /* in the 208 KiB that a socket has by default */
#define HONEST_PER_S 500.0
#define ROUNDS 5
#define LOST_S 1.0              /* what a lost query costs its asker */

struct arrival {
    double at_s;                /* since the row began */
    float took_s;
    bool honest;
};

struct row {
    struct arrival *at;
    uint32_t n, cap;
};

struct target {
    struct arena *a;
    uint32_t node;
    struct arena_record record;
    uint8_t token[KAD_TOKEN_SIZE];
};

static double clock_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts); /* no system call, unlike the processor time of a thread */
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* How long a datagram that arrives at_s after the beginning takes. */
static double deal_with(struct target *to, double at_s, const struct addr *from, const uint8_t *buf, size_t size)
{
    struct kad *k = to->a->hosts[to->node].kad;
    struct now now = arena_now(to->a);
    struct kad_datagram out;
    struct kad_event e;
    struct kad_dirty d;

    now.mono_ms += (uint64_t)(at_s * 1000);
    now.wall_ms += (uint64_t)(at_s * 1000);
    double from_s = clock_s();
    kad_recv(k, now, from, buf, size);
    if (kad_deadline_ms(k) <= now.mono_ms)
        kad_tick(k, now);
    while (kad_next_out(k, &out))
        ;
    while (kad_next_event(k, &e))
        ;
    while (kad_next_dirty(k, &d))
        ;
    return clock_s() - from_s + KERNEL_S;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Four sorts of junk in turn: noise, a query with some bytes changed, queries in made-up names, and puts under a live
 * token with a signature that is none, which costs most to find out. */
static size_t junk(struct target *to, struct addr *ret_from, uint8_t *buf)
{
    struct scale_rand *r = &to->a->rand;
    struct addr made_up = {.family = 4, .port = 1234};
    uint8_t id[KAD_ID_SIZE] = {1}, sig[SIG_SIZE];
    uint32_t sort = scale_below(r, 4);
    struct krpc_msg m = {.method = KRPC_GET, .target = to->record.target, .id = id};

    put_be32(made_up.ip, (124u << 24) + scale_below(r, 1u << 24));
    *ret_from = made_up;
    if (sort == 0) {
        size_t size = 32 + scale_below(r, 200);
        scale_rand_fill(r, buf, size);
        return size;
    }
    if (sort == 3) {
        memcpy(sig, to->record.item.sig, sizeof sig); /* of another value: only the whole verification tells */
        m = (struct krpc_msg){.method = KRPC_PUT, .id = id, .k = to->record.item.pk, .sig = sig, .has_seq = true,
                              .seq = (int64_t)(2 + scale_below(r, 1u << 30)), .salt = to->record.item.salt,
                              .v = {to->record.item.v.data, to->record.item.v.size}, .token = span(to->token, KAD_TOKEN_SIZE)};
        *ret_from = (struct addr){.family = 4, .ip = {125, 1, 1, 1}, .port = 1234};
    }
    size_t size = hostile_query(to->a, to->node, &m, buf);
    for (unsigned i = 0; i < 4 && sort == 1; i++)
        buf[scale_below(r, (uint32_t)size)] ^= (uint8_t)(1 + scale_below(r, 255));
    return size;
}

static void take_token(struct target *to)
{
    struct addr from = {.family = 4, .ip = {125, 1, 1, 1}, .port = 1234};
    uint8_t buf[KAD_DATAGRAM_MAX], id[KAD_ID_SIZE] = {1};
    struct krpc_msg get = {.method = KRPC_GET, .target = to->record.target, .id = id}, m;
    struct kad_datagram out;

    arena_turn(to->a, to->node);
    kad_recv(to->a->hosts[to->node].kad, arena_now(to->a), &from, buf, hostile_query(to->a, to->node, &get, buf));
    while (kad_next_out(to->a->hosts[to->node].kad, &out))
        if (krpc_decode(out.data, out.size, &m) == 0 && m.token.size == KAD_TOKEN_SIZE)
            memcpy(to->token, m.token.data, KAD_TOKEN_SIZE);
}

static void note_arrival(struct row *row, uint32_t i, double at_s, double took_s, bool honest)
{
    if (i == row->cap) {
        row->cap = row->cap ? 2 * row->cap : 4096;
        row->at = scale_realloc(row->at, row->cap * sizeof *row->at);
    }
    if (i == row->n)
        row->at[row->n++] = (struct arrival){at_s, (float)took_s, honest};
    else if (took_s < row->at[i].took_s)
        row->at[i].took_s = (float)took_s;
}

/* One round. Returns how many signatures were verified for nothing. */
static uint64_t play(const struct trial *t, bool with_junk, struct row *row)
{
    double line_bit_s = 1e6 * (t->quick ? LINE_QUICK_MBIT_S : LINE_MBIT_S), end_s = t->quick ? 0.5 : 4;
    struct arena *a = arena_new(&(struct arena_config){.honest = t->quick ? 30 : 60, .seed = t->seed, .without = t->without});
    struct target to = {.a = a};
    struct kad_stats before, after;
    uint8_t buf[KAD_DATAGRAM_MAX];
    struct arena_op op;

    arena_record_make(a, &to.record, 1, 1);
    arena_put(a, 0, &to.record.item, &op);
    arena_run_until(a, &op, 1);
    arena_closest(a, to.record.target, &to.node, 1);
    take_token(&to);
    kad_stats(a->hosts[to.node].kad, &before);
    double honest_s = 0, junk_s = with_junk ? 0 : INFINITY;
    for (uint32_t i = 0; honest_s < end_s || junk_s < end_s; i++) {
        struct addr from;
        if (junk_s < honest_s) {
            size_t size = junk(&to, &from, buf);
            note_arrival(row, i, junk_s, deal_with(&to, junk_s, &from, buf, size), false);
            junk_s += (double)(size + FRAME_BYTES) * 8 / line_bit_s;
            continue;
        }
        uint32_t who = (to.node + 1 + scale_below(&a->rand, a->config.honest - 1)) % a->config.honest;
        struct krpc_msg m = {.method = KRPC_GET, .target = to.record.target, .id = kad_node_id(a->hosts[who].kad)};
        size_t size = hostile_query(a, who, &m, buf);
        note_arrival(row, i, honest_s, deal_with(&to, honest_s, &a->hosts[who].addr, buf, size), true);
        honest_s -= log(scale_unit(&a->rand)) / HONEST_PER_S;
    }
    kad_stats(a->hosts[to.node].kad, &after);
    arena_record_clear(&to.record);
    arena_free(a);
    return after.refused_signature - before.refused_signature;
}

struct waiting {
    double p99_s, lost, busy, per_s; /* of honest queries; shares of datagrams and of time; datagrams */
};

/* What the row makes its honest queries wait. */
static struct waiting queue(const struct row *row)
{
    double *took = scale_alloc(row->n, sizeof *took), ends_s[BUFFER_DATAGRAMS] = {0}, free_s = 0, busy_s = 0;
    uint32_t n = 0, served = 0;

    for (uint32_t i = 0; i < row->n; i++) {
        const struct arrival *at = &row->at[i];
        double *oldest = &ends_s[served % BUFFER_DATAGRAMS], through_s = LOST_S;
        if (*oldest <= at->at_s) {
            free_s = fmax(free_s, at->at_s) + (double)at->took_s;
            busy_s += (double)at->took_s;
            through_s = free_s - at->at_s;
            *oldest = free_s;
            served++;
        }
        if (at->honest)
            took[n++] = through_s;
    }
    qsort(took, n, sizeof *took, compare);
    double all_s = row->at[row->n - 1].at_s;
    struct waiting w = {took[n * 99 / 100], 1 - (double)served / row->n, busy_s / all_s, row->n / all_s};
    free(took);
    return w;
}

void attack_junk(const struct trial *t, struct verdict *ret)
{
    struct row calm = {0}, storm = {0};

    if (t->quick) { /* what costs most, counted: times are not to be had beside other tests */
        ret->value = (double)play(t, true, &storm);
        snprintf(ret->note, sizeof ret->note, "%u Mbit/s for half a second, %.0f datagrams a second, a quarter of them puts",
                 LINE_QUICK_MBIT_S, queue(&storm).per_s);
        free(storm.at);
        return;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        play(t, false, &calm);
        play(t, true, &storm);
    }
    struct waiting without = queue(&calm), with = queue(&storm);
    ret->value = with.p99_s / without.p99_s;
    snprintf(ret->note, sizeof ret->note, "%u Mbit/s, %.0f datagrams a second; p99 %.1f us, without %.1f us; %.1f %% lost, %.0f %% busy",
             LINE_MBIT_S, with.per_s, with.p99_s * 1e6, without.p99_s * 1e6, 100 * with.lost, 100 * with.busy);
    free(calm.at);
    free(storm.at);
}
