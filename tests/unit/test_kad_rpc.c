#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/err.h"
#include "kad/krpc.h"
#include "kad/rpc.h"
#include "kad/table.h"

static struct rng_seeded seeded;
static struct rng rng;

static struct addr addr_of(unsigned n)
{
    return (struct addr){.family = 4, .ip = {10, 0, (uint8_t)(n >> 8), (uint8_t)n}, .port = 80};
}

static struct rpc_tx query(unsigned n)
{
    return (struct rpc_tx){.to = addr_of(n), .method = KRPC_PING, .soft_ms = 60, .hard_ms = 200};
}

static int setup(void **state)
{
    (void)state;
    rng = rng_seeded(&seeded, 5);
    return 0;
}

/* Of the same slot, one after another, and of another node's: none says anything about the next. */
static void ids_are_never_alike(void **state)
{
    (void)state;
    enum { N = 200 };
    static uint8_t seen[2 * N][RPC_TID_SIZE - 2];
    struct rpc r[2];
    for (int n = 0; n < 2; n++) {
        rpc_init(&r[n], &rng);
        for (int i = 0; i < N; i++) {
            struct rpc_tx tx = query(1), got;
            struct addr from = addr_of(1);
            assert_true(rpc_begin(&r[n], 1000, &tx));
            memcpy(seen[n * N + i], tx.tid + 2, sizeof seen[0]);
            assert_true(rpc_take(&r[n], span(tx.tid, RPC_TID_SIZE), &from, &got));
        }
        rpc_clear(&r[n]);
    }
    for (int i = 0; i < 2 * N; i++)
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(seen[i], seen[j], sizeof seen[0]);
}

static void answered_once_by_who_was_asked(void **state)
{
    (void)state;
    struct rpc r;
    rpc_init(&r, &rng);
    struct rpc_tx tx = query(1), got;
    assert_true(rpc_begin(&r, 1000, &tx));
    struct addr other = addr_of(2), right = addr_of(1);
    struct span tid = span(tx.tid, RPC_TID_SIZE);
    assert_false(rpc_take(&r, tid, &other, &got));
    uint8_t wrong[RPC_TID_SIZE];
    memcpy(wrong, tx.tid, sizeof wrong);
    wrong[5] ^= 1;
    assert_false(rpc_take(&r, span(wrong, sizeof wrong), &right, &got));
    wrong[0] = 0xff;
    assert_false(rpc_take(&r, span(wrong, sizeof wrong), &right, &got));
    assert_false(rpc_take(&r, span(tx.tid, 5), &right, &got));
    assert_true(rpc_is_asking(&r, &right));
    assert_true(rpc_take(&r, tid, &right, &got));
    assert_int_equal(got.sent_ms, 1000);
    assert_false(rpc_take(&r, tid, &right, &got));
    assert_int_equal(rpc_in_flight(&r), 0);
    assert_int_equal(rpc_deadline_ms(&r), NOW_NEVER);
    rpc_check(&r);
    rpc_clear(&r);
}

static void stalls_then_fails(void **state)
{
    (void)state;
    struct rpc r;
    bool failed;
    rpc_init(&r, &rng);
    struct rpc_tx tx = query(1), got;
    rpc_begin(&r, 1000, &tx);
    assert_int_equal(rpc_deadline_ms(&r), 1060);
    assert_false(rpc_next_due(&r, 1059, &got, &failed));
    assert_true(rpc_next_due(&r, 1060, &got, &failed));
    assert_false(failed);
    assert_true(got.stalled);
    rpc_resent(&r, 1060, &got);
    assert_false(rpc_next_due(&r, 1060, &got, &failed));
    assert_false(rpc_next_due(&r, 1125, &got, &failed));
    assert_true(rpc_next_due(&r, 1126, &got, &failed) && !failed); /* a third of 200 ms later */
    assert_int_equal(got.stalled, 2);
    rpc_resent(&r, 1126, &got);
    assert_false(rpc_next_due(&r, 1259, &got, &failed));
    assert_true(rpc_next_due(&r, 1260, &got, &failed)); /* the hard time-out from the second sending */
    assert_true(failed && got.resent == RPC_RETRIES);
    assert_false(rpc_next_due(&r, 1260, &got, &failed));
    assert_int_equal(rpc_in_flight(&r), 0);
    /* Not sent again: it fails after the hard time-out from its only sending. */
    tx = query(2);
    rpc_begin(&r, 2000, &tx);
    assert_true(rpc_next_due(&r, 2060, &got, &failed) && !failed);
    assert_false(rpc_next_due(&r, 2199, &got, &failed));
    assert_true(rpc_next_due(&r, 2200, &got, &failed) && failed);
    rpc_check(&r);
    rpc_clear(&r);
}

/* Round trips are mostly so long that soft and hard time-out are the same; such a query may be sent again too, and
 * fails at once when it is not. */
static void stalls_first_when_soft_is_hard(void **state)
{
    (void)state;
    struct rpc r;
    bool failed;
    struct rpc_tx slow = query(1), got;
    slow.soft_ms = slow.hard_ms = 300;
    rpc_init(&r, &rng);
    for (int again = 0; again <= RPC_RETRIES; again++) {
        struct rpc_tx tx = slow, other = query(2);
        rpc_begin(&r, 1000, &tx);
        rpc_begin(&r, 1000, &other);
        uint64_t due_ms = 1300;
        for (int i = 0; i < again; i++) {
            unsigned stalled = 0;
            while (rpc_next_due(&r, due_ms, &got, &failed)) {
                stalled += !failed && memcmp(got.tid, tx.tid, RPC_TID_SIZE) == 0;
                if (!failed && memcmp(got.tid, tx.tid, RPC_TID_SIZE) == 0)
                    rpc_resent(&r, due_ms, &got);
            }
            assert_int_equal(stalled, 1);
            rpc_check(&r);
            due_ms += i == 0 ? 100 : 200;
            assert_int_equal(rpc_deadline_ms(&r), due_ms);
        }
        unsigned fails = 0;
        while (rpc_next_due(&r, due_ms, &got, &failed))
            fails += failed && memcmp(got.tid, tx.tid, RPC_TID_SIZE) == 0;
        assert_int_equal(fails, 1);
        assert_int_equal(rpc_in_flight(&r), 0);
    }
    rpc_clear(&r);
}

static void many_at_once_up_to_the_bound(void **state)
{
    (void)state;
    struct rpc r;
    bool failed;
    unsigned stalled = 0, over = 0;
    rpc_init(&r, &rng);
    for (unsigned i = 0; i < RPC_TX_MAX; i++) {
        struct rpc_tx tx = query(i);
        assert_true(rpc_begin(&r, 1000 + i % 7, &tx));
    }
    struct rpc_tx tx = query(9), got;
    assert_false(rpc_begin(&r, 1000, &tx));
    rpc_check(&r);
    while (rpc_next_due(&r, 1100, &got, &failed))
        stalled += !failed;
    assert_int_equal(stalled, RPC_TX_MAX);
    while (rpc_next_due(&r, 1206, &got, &failed))
        over += failed;
    assert_int_equal(over, RPC_TX_MAX);
    assert_true(rpc_begin(&r, 3000, &tx));
    rpc_check(&r);
    rpc_clear(&r);
}

/* What a handler begins while due ones are being handed out is neither lost nor handed out too early. */
static void begun_while_scanning(void **state)
{
    (void)state;
    struct rpc r;
    bool failed;
    rpc_init(&r, &rng);
    for (unsigned i = 0; i < 20; i++) {
        struct rpc_tx tx = query(i);
        rpc_begin(&r, 1000, &tx);
    }
    struct rpc_tx got;
    unsigned n = 0;
    while (rpc_next_due(&r, 1199, &got, &failed)) {
        struct rpc_tx tx = query(100 + n++);
        assert_true(got.to.ip[3] < 100);
        rpc_begin(&r, 1199, &tx);
    }
    assert_int_equal(n, 20);
    assert_int_equal(rpc_in_flight(&r), 40);
    assert_int_equal(rpc_deadline_ms(&r), 1200);
    rpc_check(&r);
    n = 0;
    while (rpc_next_due(&r, 1260, &got, &failed))
        n++;
    assert_int_equal(n, 40);
    rpc_clear(&r);
}

static void patience_adapts(void **state)
{
    (void)state;
    struct rpc r;
    struct rpc_tx tx = {.method = KRPC_PING};
    rpc_init(&r, &rng);
    rpc_timeouts(&r, NULL, &tx);
    assert_int_equal(tx.hard_ms, 1000); /* nothing known at all */
    for (unsigned i = 0; i < 20; i++)
        rpc_measured(&r, 0);
    rpc_timeouts(&r, NULL, &tx);
    assert_int_equal(tx.soft_ms, RPC_SOFT_MIN_MS);
    assert_int_equal(tx.hard_ms, RPC_HARD_MIN_MS); /* on a local network a dead peer costs 200 ms, not a second */
    for (unsigned i = 0; i < 200; i++)
        rpc_measured(&r, i % 2 ? 80 : 120);
    rpc_timeouts(&r, NULL, &tx);
    assert_in_range(tx.soft_ms, 150, 230);
    assert_in_range(tx.hard_ms, 200, 230);
    struct table_contact c = {.fails = 0}; /* it has answered, but only what was sent twice */
    rpc_timeouts(&r, &c, &tx);
    assert_in_range(tx.soft_ms, 150, 230);
    c = (struct table_contact){.rtt_ms = 300, .dev_ms = 50};
    rpc_timeouts(&r, &c, &tx);
    assert_int_equal(tx.soft_ms, 500);
    assert_int_equal(tx.hard_ms, 500);
    c = (struct table_contact){.rtt_ms = 5000, .dev_ms = 200};
    rpc_timeouts(&r, &c, &tx);
    assert_int_equal(tx.hard_ms, 1000);
    rpc_clear(&r);
}

/* An answer that comes too late is no measurement, so patience grows without one. */
static void patience_grows_when_nobody_answers(void **state)
{
    (void)state;
    struct rpc r;
    struct table_contact c = {.rtt_ms = 20, .dev_ms = 1};
    struct rpc_tx tx = {.method = KRPC_PING};
    rpc_init(&r, &rng);
    rpc_timeouts(&r, &c, &tx);
    assert_int_equal(tx.hard_ms, RPC_HARD_MIN_MS);
    c.fails = 1;
    rpc_timeouts(&r, &c, &tx);
    assert_int_equal(tx.soft_ms, RPC_SOFT_MIN_MS);
    assert_int_equal(tx.hard_ms, 2 * RPC_HARD_MIN_MS);
    c.fails = 2;
    rpc_timeouts(&r, &c, &tx);
    assert_int_equal(tx.hard_ms, 4 * RPC_HARD_MIN_MS);
    rpc_measured(&r, 20);
    rpc_timeouts(&r, NULL, &tx);
    assert_int_equal(tx.hard_ms, RPC_HARD_MIN_MS);
    tx.tries = UINT8_MAX; /* a join address that has been asked for hours */
    rpc_timeouts(&r, NULL, &tx);
    assert_int_equal(tx.hard_ms, RPC_HARD_MAX_MS);
    rpc_clear(&r);
}

static void orphans_keep_their_slots(void **state)
{
    (void)state;
    struct rpc r;
    int request;
    rpc_init(&r, &rng);
    struct rpc_tx tx = query(1), got;
    tx.owner = RPC_OWNER_REQUEST;
    tx.request = &request;
    rpc_begin(&r, 1000, &tx);
    rpc_orphan(&r, &request);
    struct addr from = addr_of(1);
    assert_true(rpc_take(&r, span(tx.tid, RPC_TID_SIZE), &from, &got));
    assert_int_equal(got.owner, RPC_OWNER_NONE);
    assert_null(got.request);
    rpc_clear(&r);
}

static void queue_in_order(void **state)
{
    (void)state;
    struct rpc_queue q = {.buf = NULL};
    struct kad_datagram d;
    uint8_t buf[KAD_DATAGRAM_MAX];
    unsigned sent = 0, seen = 0;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 1 + round % 9; i++, sent++) {
            struct addr to = addr_of(sent);
            struct bytes_out out = bytes_out(buf, sizeof buf);
            for (unsigned n = 0; n <= sent % 300; n++)
                bytes_put_u32(&out, sent);
            assert_true(rpc_queue_push(&q, &to, out.buf, out.size));
        }
        for (unsigned i = 0; i < 1 + round % 7 && rpc_queue_next(&q, &d); i++, seen++) {
            struct addr to = addr_of(seen);
            assert_true(addr_equal(&d.to, &to));
            assert_int_equal(d.size, 4 * (seen % 300 + 1));
            assert_int_equal(be32(d.data + d.size - 4), seen);
        }
    }
    while (rpc_queue_next(&q, &d))
        assert_int_equal(be32(d.data), seen++);
    assert_int_equal(seen, sent);
    assert_null(q.buf); /* nothing waits: no memory */
    /* It does not grow for ever when nobody drains it. */
    for (unsigned i = 0; i < 10000; i++) {
        struct addr to = addr_of(i);
        struct bytes_out out = bytes_out(buf, sizeof buf);
        for (unsigned n = 0; n < 300; n++)
            bytes_put_u32(&out, i);
        bool kept = rpc_queue_push(&q, &to, out.buf, out.size);
        assert_int_equal(kept, q.lost == 0);
    }
    assert_true(q.cap <= RPC_QUEUE_MAX);
    assert_true(q.lost > 0);
    rpc_queue_clear(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ids_are_never_alike, setup),
        cmocka_unit_test_setup(answered_once_by_who_was_asked, setup),
        cmocka_unit_test_setup(stalls_then_fails, setup),
        cmocka_unit_test_setup(stalls_first_when_soft_is_hard, setup),
        cmocka_unit_test_setup(many_at_once_up_to_the_bound, setup),
        cmocka_unit_test_setup(begun_while_scanning, setup),
        cmocka_unit_test_setup(patience_adapts, setup),
        cmocka_unit_test_setup(patience_grows_when_nobody_answers, setup),
        cmocka_unit_test_setup(orphans_keep_their_slots, setup),
        cmocka_unit_test_setup(queue_in_order, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
