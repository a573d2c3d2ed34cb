/* The SNTP client against simulated servers in virtual time: honest, wrong, lying, silent, hostile. */
#include "core/sntp.h"
#include "core/err.h"
#include "core/sntp_clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MINUTE 60000
#define HOUR 3600000
#define UNIX0_US INT64_C(1714564800000000) /* true time at virtual 0: 2024-05-01 12:00 */

struct fake { /* one server */
    int64_t wrong_us;       /* its clock minus the true one */
    int64_t there_us, back_us, work_us; /* the trip's parts */
    bool silent;
    const char *kiss;
    void (*bend)(struct sntp_packet *answer, int64_t true_us); /* spoils the answer */
    int asked;
    uint64_t asked_at_ms[4096];
};

struct world {
    struct sntp *s;
    struct rng_seeded seeded;
    struct rng rng;
    int count;
    struct fake fake[SNTP_SERVERS_MAX];
    uint64_t mono_us;       /* virtual */
    int64_t wall_wrong_us;  /* our system clock minus the true one */
    int64_t drift_ppm;      /* our monotonic clock against true time */
    int last_err;
};

static int64_t true_us(const struct world *w, uint64_t mono_us)
{
    return UNIX0_US + (int64_t)mono_us + (int64_t)mono_us / 1000000 * w->drift_ppm;
}

static struct now now_of(const struct world *w)
{
    return (struct now){ w->mono_us / 1000, (uint64_t)(true_us(w, w->mono_us) + w->wall_wrong_us) / 1000 };
}

static struct world *world_new(int count)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->rng = rng_seeded(&w->seeded, 11);
    w->count = count;
    w->mono_us = 5000000;
    for (int i = 0; i < count; i++)
        w->fake[i] = (struct fake){ .there_us = 10000 + 1000 * i, .back_us = 10000 + 1500 * i, .work_us = 50 };
    w->s = sntp_new(count, &w->rng, NULL, now_of(w));
    assert_non_null(w->s);
    for (int i = 0; i < count; i++)
        sntp_set_up(w->s, i, true, now_of(w));
    return w;
}

static void world_free(struct world *w)
{
    sntp_free(w->s);
    free(w);
}

static struct sntp_status status(const struct world *w)
{
    struct sntp_status st;
    sntp_status(w->s, now_of(w), &st);
    return st;
}

/* Our id clock minus the true time. */
static int64_t off_ms(const struct world *w)
{
    return (int64_t)sntp_wall_ms(w->s, now_of(w)) - true_us(w, w->mono_us) / 1000;
}

static void answer(struct world *w, const struct sntp_query *q, uint64_t t1_us)
{
    struct fake *f = &w->fake[q->server];
    struct sntp_packet query, a;
    uint8_t wire[SNTP_PACKET_SIZE];
    assert_int_equal(sntp_decode(q->packet, sizeof q->packet, &query), 0);
    assert_true(query.mode == 3 && query.version == 4 && query.transmit != 0);
    if (f->asked < 4096)
        f->asked_at_ms[f->asked] = t1_us / 1000;
    f->asked++;
    if (f->silent)
        return;
    int64_t arrives = true_us(w, t1_us) + f->there_us + f->wrong_us;
    a = (struct sntp_packet){ .version = 4, .mode = 4, .stratum = 2, .poll = 6, .precision = -20, .root_delay = 0x200,
                              .root_dispersion = 0x80, .refid = { 1, 2, 3, 4 },
                              .reference = sntp_from_unix_us(arrives - 30000000), .origin = query.transmit,
                              .receive = sntp_from_unix_us(arrives), .transmit = sntp_from_unix_us(arrives + f->work_us) };
    if (f->kiss) {
        a.stratum = 0, a.leap = 3;
        memcpy(a.refid, f->kiss, 4);
    }
    if (f->bend)
        f->bend(&a, arrives);
    sntp_encode(&a, wire);
    uint64_t t4 = t1_us + (uint64_t)(f->there_us + f->work_us + f->back_us);
    if (t4 > w->mono_us)
        w->mono_us = t4;
    w->last_err = sntp_recv(w->s, now_of(w), q->server, wire, sizeof wire, t4);
}

/* Runs to a virtual instant. Queries of one turn leave together; their answers come one after the other. */
static void run(struct world *w, uint64_t ms)
{
    uint64_t until = w->mono_us / 1000 + ms;
    for (int turns = 0;; turns++) {
        assert_true(turns < 200000);
        struct now now = now_of(w);
        sntp_tick(w->s, now);
        struct sntp_query q[16];
        int n = 0;
        uint64_t t1 = w->mono_us;
        while (sntp_next_out(w->s, &q[n])) {
            sntp_sent(w->s, q[n].server, t1);
            assert_true(++n < 16);
        }
        for (int i = 0; i < n; i++)
            answer(w, &q[i], t1);
        uint64_t at = sntp_deadline_ms(w->s), ms_now = w->mono_us / 1000;
        assert_true(at == NOW_NEVER || n > 0 || at > now.mono_ms); /* a deadline never stands still */
        if (at > until)
            break;
        if (at > ms_now)
            w->mono_us = at * 1000;
    }
    if (w->mono_us < until * 1000)
        w->mono_us = until * 1000;
}

/* The wire */

static void test_packet(void **state)
{
    (void)state;
    struct sntp_packet p = { .leap = 2, .version = 3, .mode = 4, .stratum = 15, .poll = -6, .precision = -128,
        .root_delay = 0x01020304, .root_dispersion = 0x05060708, .refid = { 'a', 'b', 'c', 'd' }, .reference = 0x1112131415161718,
        .origin = 0x2122232425262728, .receive = 0x3132333435363738, .transmit = 0x4142434445464748 }, got;
    static const uint8_t want[SNTP_PACKET_SIZE] = { 0x9c, 15, 0xfa, 0x80, 1, 2, 3, 4, 5, 6, 7, 8, 'a', 'b', 'c', 'd',
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
        0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48 };
    uint8_t wire[SNTP_PACKET_SIZE + 1] = { 0 };
    sntp_encode(&p, wire);
    assert_memory_equal(wire, want, sizeof want);
    assert_int_equal(sntp_decode(wire, SNTP_PACKET_SIZE, &got), 0);
    uint8_t again[SNTP_PACKET_SIZE];
    sntp_encode(&got, again);
    assert_memory_equal(again, want, sizeof want);
    for (size_t size = 0; size <= SNTP_PACKET_SIZE + 1; size++)
        assert_int_equal(sntp_decode(wire, size, &got), size == SNTP_PACKET_SIZE ? 0 : CAM_EFORMAT);
}

static void test_timestamps(void **state)
{
    (void)state;
    /* 2020-01-01, where what looks older is of the next era; the last second of era 0 and the first of era 1. */
    assert_true(sntp_from_unix_us(INT64_C(1577836800000000)) == UINT64_C(3786825600) << 32);
    assert_true(sntp_to_unix_us(UINT64_C(3786825600) << 32) == INT64_C(1577836800000000));
    assert_true(sntp_to_unix_us(UINT64_C(0xffffffff) << 32) == INT64_C(2085978495000000));
    assert_true(sntp_to_unix_us(0) == INT64_C(2085978496000000)); /* 2036-02-07T06:28:16Z */
    assert_true(sntp_to_unix_us(UINT64_C(0x80000000)) == INT64_C(2085978496500000));
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 5);
    for (int i = 0; i < 10000; i++) {
        int64_t us = INT64_C(1577836800000000) + (int64_t)(rng_u64(&rng) % UINT64_C(4000000000000000));
        assert_true(sntp_to_unix_us(sntp_from_unix_us(us)) == us);
    }
}

/* Agreement */

static struct sntp_opinion ms(int64_t offset, int64_t error)
{
    return (struct sntp_opinion){ offset * 1000, error * 1000 };
}

static void test_agree(void **state)
{
    (void)state;
    struct sntp_opinion got = { 7, 7 };
    assert_int_equal(sntp_agree(NULL, 0, 4, &got), 0);
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(5, 10) }, 1, 1, &got), 1);
    assert_true(got.offset_us == 5000 && got.error_us == 10000);
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(5, 10) }, 1, 2, &got), 1);
    got = (struct sntp_opinion){ 7, 7 };
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(5, 10) }, 1, 3, &got), 0); /* a lone voice */
    /* two against two; one against one */
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(0, 5), ms(1, 5), ms(100, 5), ms(101, 5) }, 4, 4, &got), 0);
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(0, 5), ms(100, 5) }, 2, 2, &got), 0);
    assert_true(got.offset_us == 7 && got.error_us == 7);
    /* three against one; the liar moves nothing */
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(0, 5), ms(2, 5), ms(30000, 1), ms(1, 5) }, 4, 4, &got), 3);
    assert_true(got.offset_us >= -3000 && got.offset_us <= 5000 && got.offset_us - got.error_us <= -3000 + 1000);
    /* a liar with a huge error bound reaches into the span but cannot pull out of it */
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(0, 5), ms(2, 5), ms(1400, 1400), ms(1, 5) }, 4, 4, &got), 4);
    assert_true(got.offset_us >= 0 && got.offset_us <= 5000);
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(0, 5), ms(9, 5), ms(100, 96) }, 3, 3, &got), 3);
    assert_int_equal(got.offset_us, 5000);
    /* touching ends agree, a microsecond apart they do not */
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ { 0, 5 }, { 10, 5 } }, 2, 2, &got), 2);
    assert_int_equal(got.offset_us, 5);
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ { 0, 5 }, { 11, 5 } }, 2, 2, &got), 0);
    /* agreement in two places: the span holds both and the error says so */
    assert_int_equal(sntp_agree((struct sntp_opinion[]){ ms(0, 100), ms(-90, 5), ms(90, 5) }, 3, 3, &got), 2);
    assert_true(got.error_us >= 85000);
}

/* The truth is inside the result whenever a majority has it inside theirs, and nothing depends on the order. */
static void test_agree_property(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 9);
    int agreed = 0;
    for (int i = 0; i < 50000; i++) {
        int count = 1 + (int)rng_below(&rng, SNTP_SERVERS_MAX), honest = 0;
        struct sntp_opinion list[SNTP_SERVERS_MAX], other[SNTP_SERVERS_MAX], got, got2;
        for (int j = 0; j < count; j++) {
            int64_t error = 1000 + (int64_t)rng_below(&rng, 50000);
            bool lies = rng_below(&rng, 3) == 0;
            int64_t offset = lies ? (int64_t)rng_below(&rng, 400000) - 200000
                                  : (int64_t)rng_below(&rng, (uint32_t)(2 * error + 1)) - error;
            honest += offset >= -error && offset <= error;
            list[j] = (struct sntp_opinion){ offset, error };
        }
        for (int j = 0; j < count; j++)
            other[j] = list[(j + 3) % count];
        int n = sntp_agree(list, count, count, &got);
        assert_int_equal(sntp_agree(other, count, count, &got2), n);
        if (honest * 2 > count && (count < 3 || honest > 1))
            assert_true(n >= honest);
        if (n) {
            agreed++;
            assert_true(n * 2 > count && got.error_us >= SNTP_ERROR_MIN_US);
            assert_in_range(got.offset_us - got2.offset_us + 2, 0, 4); /* rounding of a sum in another order */
            if (n == honest) /* the largest clique is the honest one: the truth, 0, is in the span */
                assert_true(got.offset_us - got.error_us <= 0 && got.offset_us + got.error_us >= 0);
        }
    }
    assert_true(agreed > 10000);
}

/* The clock */

static void test_clock(void **state)
{
    (void)state;
    struct sntp_clock c = { 0 };
    uint64_t t = 1000000;
    assert_int_equal(sntp_clock_take(&c, t, ms(5000000, 3)), SNTP_TAKEN); /* the first: any step */
    assert_true(sntp_clock_offset_us(&c, t) == 5000000000);
    /* 128 ms: a slew of 500 ppm either way, never a jump, and monotonic */
    for (int sign = -1; sign <= 1; sign += 2) {
        int64_t from = sntp_clock_offset_us(&c, t);
        struct sntp_opinion want = { from + sign * SNTP_STEP_US, 3000 };
        assert_int_equal(sntp_clock_take(&c, t, want), SNTP_TAKEN);
        assert_true(sntp_clock_offset_us(&c, t) == from);
        assert_true(sntp_clock_error_us(&c, t) == 3000 + SNTP_STEP_US);
        int64_t before = from;
        for (uint64_t us = 0; us <= 256000000; us += 10000) {
            int64_t at = sntp_clock_offset_us(&c, t + us), moved = (at - before) * sign;
            assert_true(moved >= 0 && moved <= 5); /* of 10,000 */
            before = at;
        }
        t += 256000000;
        assert_true(sntp_clock_offset_us(&c, t) == want.offset_us);
        assert_true(sntp_clock_error_us(&c, t) == 3000 + 256 * SNTP_DRIFT_PPM);
        assert_true(sntp_clock_offset_us(&c, UINT64_MAX) == want.offset_us);
    }
    /* beyond: the third time in a row; a good one between starts the count again */
    int64_t from = sntp_clock_offset_us(&c, t);
    struct sntp_opinion far = { from + SNTP_STEP_US + 1, 3000 }, near = { from, 3000 };
    assert_int_equal(sntp_clock_take(&c, t, far), SNTP_FAR);
    assert_int_equal(sntp_clock_take(&c, t, far), SNTP_FAR);
    assert_int_equal(sntp_clock_take(&c, t, near), SNTP_TAKEN);
    assert_int_equal(sntp_clock_take(&c, t, far), SNTP_FAR);
    assert_int_equal(sntp_clock_take(&c, t, far), SNTP_FAR);
    assert_true(sntp_clock_offset_us(&c, t) == from);
    assert_int_equal(sntp_clock_take(&c, t, far), SNTP_TAKEN);
    assert_true(sntp_clock_offset_us(&c, t) == far.offset_us);
    /* beyond 1000 s: never, and it does not count towards the three */
    from = far.offset_us;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(sntp_clock_take(&c, t, (struct sntp_opinion){ from - SNTP_PANIC_US - 1, 1000 }), SNTP_REFUSED);
        assert_true(sntp_clock_offset_us(&c, t) == from);
    }
    assert_int_equal(sntp_clock_take(&c, t, (struct sntp_opinion){ from - SNTP_PANIC_US, 1000 }), SNTP_FAR);
    /* a new correction in the middle of a slew goes on from where the clock is */
    struct sntp_clock d = { 0 };
    assert_int_equal(sntp_clock_take(&d, t, (struct sntp_opinion){ 0, 1000 }), SNTP_TAKEN);
    assert_int_equal(sntp_clock_take(&d, t, (struct sntp_opinion){ 100000, 1000 }), SNTP_TAKEN);
    t += 100000000;
    assert_true(sntp_clock_offset_us(&d, t) == 50000);
    assert_int_equal(sntp_clock_take(&d, t, (struct sntp_opinion){ 20000, 1000 }), SNTP_TAKEN);
    assert_true(sntp_clock_offset_us(&d, t) == 50000);
    assert_true(sntp_clock_offset_us(&d, t + 60000000) == 20000);
}

/* The machine */

static void test_first_sync_is_quick(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    w->wall_wrong_us = -INT64_C(40) * 365 * 86400 * 1000000; /* a machine without a battery */
    struct sntp_status st = status(w);
    assert_false(st.synced);
    assert_true(st.error_ms == UINT64_MAX && st.synced_age_ms == UINT64_MAX && st.offset_ms == 0);
    assert_true(sntp_wall_ms(w->s, now_of(w)) == now_of(w).wall_ms);
    run(w, 100); /* one trip */
    st = status(w);
    assert_true(st.synced);
    assert_int_equal(st.answering, 4);
    assert_int_equal(st.agreeing, 4);
    assert_in_range(off_ms(w) + 5, 0, 10);
    assert_true(st.offset_ms > INT64_C(40) * 365 * 86400 * 1000 - 20);
    assert_in_range(st.error_ms, 1, 40);
    assert_true(st.servers == 4 && st.up == 4 && st.bad == 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(w->fake[i].asked, 1);
    run(w, 20000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(w->fake[i].asked, SNTP_SAMPLES);
    world_free(w);
}

static void test_schedule(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    static const uint64_t want_s[] = { 64, 128, 256, 512, 1024, 3600, 3600, 3600 };
    run(w, 4 * HOUR);
    struct fake *f = &w->fake[0];
    for (int round = 0; round + 1 < f->asked / SNTP_SAMPLES && round < 8; round++) {
        uint64_t *at = &f->asked_at_ms[round * SNTP_SAMPLES];
        for (int i = 1; i < SNTP_SAMPLES; i++)
            assert_in_range(at[i] - at[i - 1], 2000, 2100);
        uint64_t gap_s = (at[SNTP_SAMPLES] - at[SNTP_SAMPLES - 1]) / 1000;
        assert_in_range(gap_s, want_s[round], want_s[round] + want_s[round] / 16 + 2);
    }
    assert_in_range(f->asked, 7 * SNTP_SAMPLES, 9 * SNTP_SAMPLES);
    assert_in_range(off_ms(w) + 10, 0, 20);
    world_free(w);
}

static void test_the_best_sample_counts(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    struct fake *f = &w->fake[0];
    f->there_us = 500000, f->back_us = 1000; /* asymmetric: wrong by 250 ms, and the error bound says so */
    run(w, 600);
    assert_in_range(off_ms(w), 240, 260);
    assert_true(status(w).error_ms >= 250);
    run(w, 3000);
    f->there_us = 1000; /* the queue is gone for the last samples */
    run(w, 8000);
    assert_in_range(status(w).error_ms, 1, 300);
    run(w, 50 * MINUTE); /* later rounds are short trips: three are far off, then it steps */
    assert_in_range(off_ms(w) + 3, 0, 6);
    world_free(w);

    /* The first of a round is the short one; the three behind it, each wrong by 100 ms, change nothing. */
    w = world_new(1);
    run(w, 2 * MINUTE);
    uint64_t at;
    while ((at = sntp_deadline_ms(w->s)) > w->mono_us / 1000 + 3000)
        run(w, at - w->mono_us / 1000 - 2000);
    run(w, 3000);
    assert_int_equal(w->fake[0].asked % SNTP_SAMPLES, 1);
    w->fake[0].there_us = 201000;
    run(w, 100000); /* and before the next round */
    assert_int_equal(w->fake[0].asked % SNTP_SAMPLES, 0);
    assert_in_range(off_ms(w) + 5, 0, 10);
    world_free(w);
}

static void test_one_liar_among_four(void **state)
{
    (void)state;
    static const int64_t lies_us[] = { 200000, -200000, 30000000, -30000000, INT64_C(86400000000), -INT64_C(86400000000) };
    for (size_t i = 0; i < sizeof lies_us / sizeof *lies_us; i++) {
        for (int liar = 0; liar < 4; liar++) {
            struct world *w = world_new(4);
            w->fake[liar].wrong_us = lies_us[i];
            run(w, HOUR);
            struct sntp_status st = status(w);
            assert_true(st.synced);
            assert_int_equal(st.agreeing, 3);
            assert_in_range(off_ms(w) + 10, 0, 20);
            assert_in_range(st.error_ms, 1, 70);
            world_free(w);
        }
    }
}

static void test_a_liar_and_a_silent_one(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    w->fake[0].silent = true;
    w->fake[1].wrong_us = 5000000;
    w->fake[1].there_us = w->fake[1].back_us = 100; /* and it is the quickest */
    run(w, HOUR);
    assert_true(status(w).synced);
    assert_int_equal(status(w).answering, 3);
    assert_int_equal(status(w).agreeing, 2);
    assert_in_range(off_ms(w) + 10, 0, 20);
    world_free(w);
}

static void test_no_majority(void **state)
{
    (void)state;
    /* Two and two: unsynchronized, our own clock. */
    struct world *w = world_new(4);
    w->fake[0].wrong_us = w->fake[1].wrong_us = 30000000;
    run(w, HOUR);
    assert_false(status(w).synced);
    assert_int_equal(status(w).agreeing, 0);
    assert_true(sntp_wall_ms(w->s, now_of(w)) == now_of(w).wall_ms);
    world_free(w);

    /* A lone voice of four is not believed, be it right or wrong. */
    w = world_new(4);
    w->fake[1].silent = w->fake[2].silent = w->fake[3].silent = true;
    run(w, HOUR);
    assert_false(status(w).synced);
    assert_int_equal(status(w).answering, 1);
    /* The others come back: so does the agreement, at the latest after the longest wait. */
    w->fake[1].silent = w->fake[2].silent = false;
    run(w, 20 * MINUTE);
    assert_true(status(w).synced);
    /* Synchronized, then alone with a liar: we keep what we had and know it less and less well. */
    uint64_t error = status(w).error_ms;
    w->fake[0].silent = w->fake[1].silent = true;
    w->fake[2].wrong_us = 60000000;
    run(w, 24 * HOUR);
    assert_true(status(w).synced);
    assert_int_equal(status(w).agreeing, 0);
    assert_in_range(off_ms(w) + 15, 0, 30);
    assert_in_range(status(w).error_ms - error, 23 * 54, 26 * 54 + 30); /* 15 ppm of an hour is 54 ms */
    assert_true(status(w).synced_age_ms >= 23 * (uint64_t)HOUR);
    world_free(w);
}

static void test_all_silent(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    for (int i = 0; i < 4; i++)
        w->fake[i].silent = true;
    run(w, 6 * HOUR);
    assert_false(status(w).synced);
    assert_int_equal(status(w).answering, 0);
    /* 64, 128 .. 1024 seconds between rounds: not hammered, not given up. */
    assert_in_range(w->fake[0].asked, 20 * SNTP_SAMPLES, 28 * SNTP_SAMPLES);
    world_free(w);
}

static void test_one_or_two_servers(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    w->fake[0].wrong_us = 30000000; /* with one there is nobody to doubt it */
    run(w, MINUTE);
    assert_true(status(w).synced);
    assert_in_range(off_ms(w), 29990, 30010);
    world_free(w);
    w = world_new(2);
    w->fake[0].silent = true;
    run(w, MINUTE);
    assert_true(status(w).synced);
    assert_int_equal(status(w).agreeing, 1);
    world_free(w);
}

static void test_slew_step_and_panic(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    run(w, MINUTE);
    assert_in_range(off_ms(w) + 10, 0, 20);
    /* All servers move by 100 ms: it slews, at no time by more than 500 ppm. */
    for (int i = 0; i < 4; i++)
        w->fake[i].wrong_us = 100000;
    uint64_t before = sntp_wall_ms(w->s, now_of(w));
    for (int i = 0; i < 2000; i++) {
        run(w, 1000);
        uint64_t after = sntp_wall_ms(w->s, now_of(w));
        assert_in_range(after - before, 998, 1100);
        before = after;
    }
    assert_in_range(off_ms(w), 90, 110);
    /* By 10 s: only after three rounds, which then come soon. */
    uint64_t asked = (uint64_t)w->fake[0].asked;
    for (int i = 0; i < 4; i++)
        w->fake[i].wrong_us = 10000000;
    uint64_t waited = 0;
    for (; off_ms(w) < 1000 && waited < 3 * HOUR; waited += 1000)
        run(w, 1000);
    assert_in_range(off_ms(w), 9990, 10010);
    assert_in_range((uint64_t)w->fake[0].asked - asked, 3 * SNTP_SAMPLES, 3 * SNTP_SAMPLES);
    assert_true(waited < HOUR + 5 * MINUTE);
    /* By 1001 s: never. */
    for (int i = 0; i < 4; i++)
        w->fake[i].wrong_us = 10000000 + 1001000000;
    run(w, 12 * HOUR);
    assert_in_range(off_ms(w), 9000, 11000);
    assert_true(status(w).refused > 10);
    assert_true(status(w).synced);
    world_free(w);
}

/* After a long silence, too, a large correction is asked about again soon. */
static void test_far_after_silence(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    run(w, MINUTE);
    w->fake[0].silent = true;
    run(w, 12 * HOUR);
    w->fake[0].silent = false;
    w->fake[0].wrong_us = 5000000;
    int asked = w->fake[0].asked;
    while (w->fake[0].asked == asked)
        run(w, 1000);
    run(w, 4 * MINUTE);
    assert_in_range(off_ms(w), 4990, 5010);
    world_free(w);
}

static void test_system_clock_steps_are_not_seen(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    run(w, MINUTE);
    uint64_t before = sntp_wall_ms(w->s, now_of(w));
    w->wall_wrong_us = -INT64_C(7200000000);
    assert_true(sntp_wall_ms(w->s, now_of(w)) == before);
    assert_in_range(status(w).offset_ms, 7199900, 7200100);
    world_free(w);
}

static void test_drifting_machine(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    w->drift_ppm = 12;
    run(w, MINUTE);
    for (int i = 0; i < 48; i++) {
        run(w, 30 * MINUTE);
        int64_t off = off_ms(w);
        assert_true((uint64_t)(off < 0 ? -off : off) <= status(w).error_ms); /* the bound holds */
    }
    world_free(w);
}

/* Kisses of death */

static void bend_poll_12(struct sntp_packet *a, int64_t t)
{
    (void)t;
    a->poll = 12;
}

static void test_kod(void **state)
{
    (void)state;
    static const char *const deny[] = { "DENY", "RSTR" };
    for (int i = 0; i < 2; i++) {
        struct world *w = world_new(4);
        w->fake[2].kiss = deny[i];
        run(w, 12 * HOUR);
        assert_int_equal(w->fake[2].asked, 1); /* never again */
        assert_true(sntp_is_denied(w->s, 2) && !sntp_is_denied(w->s, 1));
        assert_true(status(w).synced && status(w).up == 3 && status(w).kod == 1);
        assert_int_equal(w->last_err, 0);
        sntp_set_up(w->s, 2, false, now_of(w));
        sntp_set_up(w->s, 2, true, now_of(w));
        run(w, 2 * HOUR);
        assert_int_equal(w->fake[2].asked, 1);
        world_free(w);
    }
    struct world *w = world_new(4);
    w->fake[1].kiss = "RATE";
    run(w, 12 * HOUR);
    assert_in_range(w->fake[1].asked, 2, 8); /* one query at a time, twice as long between them each time */
    for (int i = 2; i < w->fake[1].asked; i++)
        assert_true(w->fake[1].asked_at_ms[i] - w->fake[1].asked_at_ms[i - 1] >=
                    (w->fake[1].asked_at_ms[i - 1] - w->fake[1].asked_at_ms[i - 2]) * 3 / 2 || i > 6);
    assert_true(w->fake[1].asked_at_ms[1] - w->fake[1].asked_at_ms[0] >= 128000);
    assert_true(status(w).synced && !sntp_is_denied(w->s, 1));
    /* It is content again, and is used, but stays rarely asked. */
    w->fake[1].kiss = NULL;
    int before = w->fake[1].asked;
    run(w, 24 * 60 * (uint64_t)HOUR);
    assert_true(w->fake[1].asked > before);
    world_free(w);

    /* All say RATE: nobody to ask until the first may be asked again, and no busy deadline meanwhile. */
    w = world_new(2);
    w->fake[0].kiss = w->fake[1].kiss = "RATE";
    run(w, 2 * HOUR);
    assert_in_range(w->fake[0].asked, 2, 7);
    w->fake[0].kiss = w->fake[1].kiss = NULL;
    run(w, 6 * HOUR);
    assert_true(status(w).synced);
    world_free(w);

    /* All deny: silence for ever. */
    w = world_new(2);
    w->fake[0].kiss = w->fake[1].kiss = "DENY";
    run(w, 12 * HOUR);
    assert_int_equal(w->fake[0].asked + w->fake[1].asked, 2);
    assert_true(sntp_deadline_ms(w->s) == NOW_NEVER);
    assert_int_equal(status(w).up, 0);
    world_free(w);

    /* INIT and unknown kisses: no time, but nobody to stay away from. */
    w = world_new(1);
    w->fake[0].kiss = "INIT";
    run(w, MINUTE);
    assert_false(status(w).synced);
    assert_int_equal(w->fake[0].asked, SNTP_SAMPLES);
    assert_int_equal(w->last_err, CAM_EFORMAT);
    world_free(w);

    /* The interval that the kiss itself asks for: 2^12 s. */
    w = world_new(1);
    w->fake[0].kiss = "RATE";
    w->fake[0].bend = bend_poll_12;
    run(w, 4095000);
    assert_int_equal(w->fake[0].asked, 1);
    w->fake[0].kiss = NULL;
    run(w, 2 * MINUTE);
    assert_true(status(w).synced);
    world_free(w);
}

/* Each field of an answer, wrong */

#define BEND(name, statement) \
    static void bend_##name(struct sntp_packet *a, int64_t t) { (void)t; statement; }
BEND(mode_client, a->mode = 3)
BEND(mode_broadcast, a->mode = 5)
BEND(mode_zero, a->mode = 0)
BEND(version_2, a->version = 2)
BEND(version_5, a->version = 5)
BEND(leap, a->leap = 3)
BEND(stratum_16, a->stratum = 16)
BEND(stratum_255, a->stratum = 255)
BEND(precision, a->precision = 1)
BEND(root_delay, a->root_delay = 0x30001)
BEND(root_dispersion, a->root_dispersion = 0x18001)
BEND(root_both, (a->root_delay = 0x18000, a->root_dispersion = 0xc001))
BEND(root_max, a->root_delay = a->root_dispersion = UINT32_MAX)
BEND(no_receive, a->receive = 0)
BEND(no_transmit, a->transmit = 0)
BEND(no_times, a->receive = a->transmit = 0)
BEND(back_in_time, a->transmit = sntp_from_unix_us(t - 1))
BEND(longer_than_the_trip, a->transmit = sntp_from_unix_us(t + 40000))
BEND(reference_ahead, a->reference = sntp_from_unix_us(t + 5000000))
BEND(origin_zero, a->origin = 0)
BEND(origin_other, a->origin ^= 1)
BEND(origin_high, a->origin ^= UINT64_C(1) << 63)
BEND(fine_v3, a->version = 3)
BEND(fine_stratum_1, a->stratum = 1)
BEND(fine_stratum_15, a->stratum = 15)
BEND(fine_leap_1, a->leap = 1)
BEND(fine_no_reference, a->reference = 0)
BEND(fine_root, (a->root_delay = 0x10000, a->root_dispersion = 0xffff))
BEND(fine_precision, a->precision = -128)
BEND(fine_coarse, a->precision = -6)

static void test_every_field(void **state)
{
    (void)state;
    static const struct { void (*bend)(struct sntp_packet *, int64_t); int err; } cases[] = {
        { bend_mode_client, CAM_EFORMAT }, { bend_mode_broadcast, CAM_EFORMAT }, { bend_mode_zero, CAM_EFORMAT },
        { bend_version_2, CAM_EFORMAT }, { bend_version_5, CAM_EFORMAT }, { bend_leap, CAM_EFORMAT },
        { bend_stratum_16, CAM_EFORMAT }, { bend_stratum_255, CAM_EFORMAT }, { bend_precision, CAM_EFORMAT },
        { bend_root_delay, CAM_EFORMAT }, { bend_root_dispersion, CAM_EFORMAT }, { bend_root_both, CAM_EFORMAT },
        { bend_root_max, CAM_EFORMAT }, { bend_no_receive, CAM_EFORMAT }, { bend_no_transmit, CAM_EFORMAT },
        { bend_no_times, CAM_EFORMAT }, { bend_back_in_time, CAM_EFORMAT }, { bend_longer_than_the_trip, CAM_EFORMAT },
        { bend_reference_ahead, CAM_EFORMAT }, { bend_origin_zero, CAM_EAUTH }, { bend_origin_other, CAM_EAUTH },
        { bend_origin_high, CAM_EAUTH },
        { bend_fine_v3, 0 }, { bend_fine_stratum_1, 0 }, { bend_fine_stratum_15, 0 }, { bend_fine_leap_1, 0 },
        { bend_fine_no_reference, 0 }, { bend_fine_root, 0 }, { bend_fine_precision, 0 }, { bend_fine_coarse, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_new(1);
        w->fake[0].bend = cases[i].bend;
        run(w, 30000);
        if (w->last_err != cases[i].err)
            fail_msg("case %zu: %d, not %d", i, w->last_err, cases[i].err);
        assert_int_equal(status(w).synced, cases[i].err == 0);
        assert_int_equal(status(w).bad, cases[i].err ? SNTP_SAMPLES : 0);
        if (cases[i].bend == bend_fine_coarse)
            assert_in_range(status(w).error_ms, 15, 60); /* 2^-6 s of grain */
        if (cases[i].bend == bend_fine_root)
            assert_in_range(status(w).error_ms, 1499, 1550);
        world_free(w);
    }
}

static void test_trip_too_long(void **state)
{
    (void)state;
    struct world *w = world_new(1);
    w->fake[0].there_us = 600000, w->fake[0].back_us = 399000;
    run(w, 5000);
    assert_int_equal(w->last_err, 0);
    world_free(w);
    w = world_new(1);
    w->fake[0].there_us = 600000, w->fake[0].back_us = 400001;
    run(w, 20000);
    assert_int_not_equal(w->last_err, 0);
    assert_false(status(w).synced);
    world_free(w);
}

/* Answers that are not to be: before the query left, twice, after the time-out, to another server, of all sizes. */
static void test_out_of_place(void **state)
{
    (void)state;
    struct world *w = world_new(2);
    struct sntp_query q, other;
    uint8_t wire[SNTP_PACKET_SIZE + 8] = { 0 };
    sntp_tick(w->s, now_of(w));
    assert_true(sntp_next_out(w->s, &q));
    assert_true(sntp_next_out(w->s, &other));
    assert_false(sntp_next_out(w->s, &other));
    assert_memory_not_equal(q.packet + 40, other.packet + 40, 8);
    struct sntp_packet query, a;
    assert_int_equal(sntp_decode(q.packet, sizeof q.packet, &query), 0);
    int64_t t = true_us(w, w->mono_us);
    a = (struct sntp_packet){ .version = 4, .mode = 4, .stratum = 1, .precision = -20, .origin = query.transmit,
                              .receive = sntp_from_unix_us(t + 100), .transmit = sntp_from_unix_us(t + 100) };
    sntp_encode(&a, wire);
    uint64_t t4 = w->mono_us + 200;
    assert_int_equal(sntp_recv(w->s, now_of(w), q.server, wire, SNTP_PACKET_SIZE, t4), CAM_EAUTH); /* never sent */
    sntp_sent(w->s, q.server, w->mono_us);
    sntp_sent(w->s, other.server, w->mono_us);
    for (size_t size = 0; size <= sizeof wire; size++)
        if (size != SNTP_PACKET_SIZE)
            assert_int_equal(sntp_recv(w->s, now_of(w), q.server, wire, size, t4), CAM_EFORMAT);
    assert_int_equal(sntp_recv(w->s, now_of(w), other.server, wire, SNTP_PACKET_SIZE, t4), CAM_EAUTH);
    /* The query itself sent back: a mirror */
    assert_int_equal(sntp_recv(w->s, now_of(w), q.server, q.packet, SNTP_PACKET_SIZE, t4), CAM_EFORMAT);
    assert_int_equal(sntp_recv(w->s, now_of(w), q.server, wire, SNTP_PACKET_SIZE, t4), 0); /* none of it spoiled the true one */
    assert_int_equal(sntp_recv(w->s, now_of(w), q.server, wire, SNTP_PACKET_SIZE, t4), CAM_EAUTH); /* again */

    assert_int_equal(sntp_decode(other.packet, sizeof other.packet, &query), 0);
    a.origin = query.transmit;
    sntp_encode(&a, wire);
    w->mono_us += 1001000;
    sntp_tick(w->s, now_of(w));
    assert_int_equal(sntp_recv(w->s, now_of(w), other.server, wire, SNTP_PACKET_SIZE, w->mono_us), CAM_EAUTH); /* late */
    world_free(w);
}

/* Sockets that cannot send: no waiting for time-outs, and no storm. */
static void test_failed_sends(void **state)
{
    (void)state;
    struct world *w = world_new(3);
    int tries = 0;
    uint64_t until = w->mono_us / 1000 + 2 * HOUR;
    while (w->mono_us / 1000 < until) {
        struct sntp_query q;
        sntp_tick(w->s, now_of(w));
        while (sntp_next_out(w->s, &q)) {
            sntp_failed(w->s, now_of(w), q.server);
            assert_true(++tries < 1000);
        }
        uint64_t at = sntp_deadline_ms(w->s);
        w->mono_us = (at > w->mono_us / 1000 ? at : w->mono_us / 1000 + 1) * 1000;
    }
    assert_false(status(w).synced);
    assert_in_range(tries, 3 * SNTP_SAMPLES * 8, 3 * SNTP_SAMPLES * 14);
    world_free(w);
}

/* Names are resolved one after the other. */
static void test_servers_come_up_late(void **state)
{
    (void)state;
    struct world *w = world_new(4);
    for (int i = 0; i < 4; i++)
        sntp_set_up(w->s, i, false, now_of(w));
    run(w, 5 * MINUTE);
    assert_true(sntp_deadline_ms(w->s) == NOW_NEVER);
    assert_int_equal(status(w).up, 0);
    for (int i = 0; i < 4; i++) {
        sntp_set_up(w->s, i, true, now_of(w));
        run(w, 700);
        assert_int_equal(status(w).synced, i >= 1); /* two that agree */
    }
    sntp_set_up(w->s, 0, false, now_of(w));
    sntp_set_up(w->s, 0, false, now_of(w));
    run(w, HOUR);
    assert_true(status(w).synced && status(w).up == 3);
    assert_int_equal(status(w).answering, 3);
    /* The last goes while it is being waited for: the round ends all the same. */
    struct world *x = world_new(1);
    x->fake[0].silent = true;
    run(x, 100);
    sntp_set_up(x->s, 0, false, now_of(x));
    run(x, HOUR);
    assert_true(sntp_deadline_ms(x->s) == NOW_NEVER);
    world_free(x);
    world_free(w);
}

/* Random weather and random bytes for weeks: the machine keeps its promises. */
static void test_storm(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = world_new(4);
        struct rng_seeded seeded;
        struct rng rng = rng_seeded(&seeded, seed);
        uint64_t before = 0;
        bool was = false;
        for (int i = 0; i < 400; i++) {
            for (int j = 0; j < 3; j++) { /* three honest ones: slow, lossy, but not wrong */
                w->fake[j].there_us = (int64_t)rng_below(&rng, 300000);
                w->fake[j].back_us = (int64_t)rng_below(&rng, 300000);
                w->fake[j].silent = rng_below(&rng, 4) == 0;
            }
            w->fake[3].wrong_us = (int64_t)(rng_u64(&rng) % UINT64_C(4000000000000)) - 2000000000000;
            uint8_t noise[64];
            rng_fill(&rng, noise, sizeof noise);
            noise[0] = 0x24; /* version 4, mode 4: so that some of it is looked at */
            assert_int_not_equal(sntp_recv(w->s, now_of(w), (int)rng_below(&rng, 4), noise, SNTP_PACKET_SIZE, w->mono_us), 0);
            run(w, rng_below(&rng, HOUR));
            struct sntp_status st = status(w);
            if (!st.synced)
                continue;
            int64_t off = off_ms(w);
            assert_true((uint64_t)(off < 0 ? -off : off) <= st.error_ms + 1);
            uint64_t wall = sntp_wall_ms(w->s, now_of(w));
            assert_true(!was || wall + 300 > before);
            before = wall, was = true;
        }
        assert_true(was);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packet),
        cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_agree),
        cmocka_unit_test(test_agree_property),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_first_sync_is_quick),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_the_best_sample_counts),
        cmocka_unit_test(test_one_liar_among_four),
        cmocka_unit_test(test_a_liar_and_a_silent_one),
        cmocka_unit_test(test_no_majority),
        cmocka_unit_test(test_all_silent),
        cmocka_unit_test(test_one_or_two_servers),
        cmocka_unit_test(test_slew_step_and_panic),
        cmocka_unit_test(test_far_after_silence),
        cmocka_unit_test(test_system_clock_steps_are_not_seen),
        cmocka_unit_test(test_drifting_machine),
        cmocka_unit_test(test_kod),
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_trip_too_long),
        cmocka_unit_test(test_out_of_place),
        cmocka_unit_test(test_failed_sends),
        cmocka_unit_test(test_servers_come_up_late),
        cmocka_unit_test(test_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
