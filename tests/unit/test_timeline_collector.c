/* The garbage collector over a real store: nothing early, everything in time, own posts and deletes kept, off
 * means off, a budget of bytes, slices; and what was collected does not come back. */
#include "timeline/collector.h"
#include "core/err.h"
#include "core/rng.h"
#include "tests/unit/made_posts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct identity *me, *ana, *bob;
static struct store *s;
static struct feed_item items[FEED_RUN_MAX];
static uint32_t ours_s; /* our lifespan, as the way in has it */
static struct now now;

static int setup(void **state)
{
    (void)state;
    me = made_author(1);
    ana = made_author(2);
    bob = made_author(3);
    return me && ana && bob ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    identity_free(me);
    identity_free(ana);
    identity_free(bob);
    return 0;
}

static int open_store(void **state)
{
    (void)state;
    char why[STORE_MESSAGE_SIZE];
    ours_s = 0;
    now = made_now(MADE_T0);
    int err = store_open(":memory:", &s, why);
    if (!err)
        err = store_author_role(s, me->pk, STORE_OWN);
    if (!err)
        err = store_author_role(s, ana->pk, STORE_FOLLOWED);
    if (!err)
        err = store_author_role(s, bob->pk, STORE_FOLLOWED);
    return err;
}

static int close_store(void **state)
{
    (void)state;
    store_close(s);
    return 0;
}

static uint32_t put_run(const struct made_post *posts, uint64_t from, uint64_t to)
{
    struct feed feed;
    struct feed_verdict v;
    const struct post_header *h = &posts[0].h;
    struct feed_rules rules = { .lifespan_s = ours_s, .own = memcmp(h->author, me->pk, KEY_SIZE) == 0 };
    if (store_feed_load(s, h->author, h->device, &feed) == CAM_ENOENT)
        feed_init(&feed, h->author, h->device);
    size_t n = made_run(items, posts, from, to);
    uint32_t bodies = 0;
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &v), 0);
    feed_apply_run(&feed, items, n, &v);
    assert_int_equal(store_feed_save(s, &feed), 0);
    for (size_t i = 0; i < n; i++)
        if (items[i].is_new) {
            assert_int_equal(store_post_put(s, &feed, &items[i], 1, NULL), 0);
            bodies += items[i].state == POST_HELD;
        }
    return bodies;
}

struct tally {
    uint32_t lines, bodies, headers;
    uint64_t bytes;
    uint64_t lowest; /* seq of the oldest body of the feed that was walked */
};

static int count_line(void *ctx, const struct store_post *post)
{
    assert_true(post->state == POST_HELD && post->body.size > 0);
    ((struct tally *)ctx)->lines++;
    return 0;
}

static int count_post(void *ctx, const struct store_post *post)
{
    struct tally *t = ctx;
    struct post_header h;
    assert_int_equal(post_header_decode(post->header, &h), 0);
    assert_int_equal(post->state == POST_HELD, post->body.size > 0);
    t->headers++;
    t->bodies += post->state == POST_HELD;
    t->bytes += post->body.size;
    if (post->state == POST_HELD)
        t->lowest = h.seq; /* newest first */
    return 0;
}

static struct tally tally(const struct identity *author)
{
    struct tally t = { 0 };
    struct feed feed;
    assert_int_equal(store_timeline(s, NULL, false, 10000, count_line, &t), 0);
    if (store_feed_load(s, author->pk, 0, &feed) == 0)
        assert_int_equal(store_post_run(s, &feed, 1, UINT64_MAX, count_post, &t), 0);
    return t;
}

/* Runs slices until the collector wants to sleep; how many there were. */
static uint32_t run_round(struct collector *c)
{
    uint32_t slices = 0;
    do {
        assert_int_equal(collector_run(c, s, now), 0);
        assert_true(++slices < 100);
    } while (collector_deadline_ms(c) <= now.mono_ms);
    return slices;
}

static void at(uint64_t wall_ms) { now = made_now(wall_ms); }

static void test_rule(void **state)
{
    (void)state;
    static const struct {
        uint32_t author_s, ours_s;
        uint64_t after_ms;
        bool own, expired;
    } cases[] = {
        { 0, 5, 4999, false, false }, { 0, 5, 5000, false, true },   { 3, 5, 3000, false, true },
        { 3, 5, 2999, false, false }, { 9, 5, 5000, false, true },   { 3, 0, 99999, false, false },
        { 3, 5, 99999, true, false }, { 0, 0, 99999, false, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct post_header h = { .id = made_id(MADE_T0), .lifespan_s = cases[i].author_s };
        assert_int_equal(
            collector_is_expired(&h, cases[i].own, cases[i].ours_s, made_now(MADE_T0 + cases[i].after_ms)),
            cases[i].expired);
    }
}

static void test_ours_never_early(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 20), *mine = made_chain(me, 20);
    struct collector c;
    ours_s = 5;
    at(MADE_T0 + 4000);
    for (uint64_t seq = 1; seq <= 20; seq++) { /* live: each as it is written */
        at(MADE_T0 + (seq - 1) * 1000);
        put_run(a, seq, seq);
        put_run(mine, seq, seq);
    }
    collector_init(&c, ours_s, 0);
    assert_true(collector_deadline_ms(&c) == NOW_NEVER);
    for (uint64_t ms = 0; ms < 30000; ms += 500) { /* #n expires at (n - 1) s + 5 s */
        at(MADE_T0 + ms);
        collector_start(&c, now);
        run_round(&c);
        uint32_t expired = ms < 5000 ? 0 : (uint32_t)((ms - 5000) / 1000 + 1);
        expired = expired > 20 ? 20 : expired;
        struct tally t = tally(ana);
        assert_int_equal(t.bodies, 20 - expired);
        assert_int_equal(t.headers, 20); /* the chain stays whole */
        assert_int_equal(t.lines, 20 - expired + 20);
        assert_true(t.bodies == 0 || t.lowest == expired + 1);
        assert_int_equal(c.removed, expired);
        assert_int_equal(tally(me).bodies, 20);
    }
    assert_true(store_body_bytes(s) == 0 && store_unread(s) == 0);
    free(a);
    free(mine);
}

static void test_authors_lifespan(void **state)
{
    (void)state;
    struct made_post *brief = made_chain_from(ana, NULL, 10, 5, "brief");
    struct collector c;
    ours_s = 3600;
    at(MADE_T0);
    for (uint64_t seq = 1; seq <= 10; seq++) {
        at(MADE_T0 + (seq - 1) * 1000);
        put_run(brief, seq, seq);
    }
    collector_init(&c, ours_s, 0);
    at(MADE_T0 + 9000 + 4999);
    collector_start(&c, now);
    run_round(&c);
    assert_int_equal(tally(ana).bodies, 1); /* the last one has a millisecond to go */
    at(MADE_T0 + 9000 + 5000);
    collector_start(&c, now);
    run_round(&c);
    assert_int_equal(tally(ana).bodies, 0);
    assert_int_equal(store_body_bytes(s), 0);
    /* Due times are kept in whole seconds: rounded up, so never early. */
    struct made_post odd = { .h.lifespan_s = 5 };
    made_sign(&odd, bob, NULL, MADE_T0 + 20500, &(struct post_body){ .text = span_str("half past") });
    at(MADE_T0 + 20500);
    put_run(&odd, 1, 1);
    at(MADE_T0 + 25499);
    collector_start(&c, now);
    run_round(&c);
    assert_int_equal(tally(bob).bodies, 1);
    at(MADE_T0 + 26000);
    collector_start(&c, now);
    run_round(&c);
    assert_int_equal(tally(bob).bodies, 0);
    free(brief);
}

static void test_off(void **state)
{
    (void)state;
    struct made_post *brief = made_chain_from(ana, NULL, 10, 1, "brief");
    struct collector c;
    at(MADE_T0 + 1000000000);
    assert_int_equal(put_run(brief, 1, 10), 10);
    collector_init(&c, 0, 1); /* a budget does not switch it on either */
    collector_start(&c, now);
    assert_true(collector_deadline_ms(&c) == NOW_NEVER);
    assert_int_equal(collector_run(&c, s, now), 0);
    assert_int_equal(tally(ana).bodies, 10);
    free(brief);
}

static void test_does_not_come_back(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 20);
    struct collector c;
    ours_s = 5;
    at(MADE_T0 + 10000);
    assert_int_equal(put_run(a, 6, 10), 4); /* #6 (at 5 s) has just expired on the way in */
    collector_init(&c, ours_s, 0);
    collector_start(&c, now);
    run_round(&c);
    at(MADE_T0 + 13000);
    collector_start(&c, now);
    run_round(&c);
    assert_int_equal(tally(ana).bodies, 1); /* #10 */
    assert_int_equal(put_run(a, 1, 5), 0);  /* backfill: headers alone */
    struct feed feed;
    struct feed_verdict v;
    struct feed_rules rules = { .lifespan_s = ours_s };
    assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), 0);
    size_t n = made_run(items, a, 1, 10);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &v),
                     CAM_EDUP); /* catch-up offers it all again */
    assert_int_equal(tally(ana).bodies, 1);
    assert_int_equal(tally(ana).headers, 10);
    free(a);
}

/* The lifespan grew: old posts may come in again, below where the collector already went, and still expire.
 */
static void test_looks_again_below(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 20);
    struct collector c;
    ours_s = 5;
    at(MADE_T0 + 100000);
    put_run(a, 11, 20);
    collector_init(&c, ours_s, 0);
    collector_start(&c, now);
    run_round(&c);
    ours_s = 200;
    assert_int_equal(put_run(a, 1, 10), 10);
    assert_int_equal(tally(ana).bodies, 10);
    collector_init(&c, ours_s, 0);
    at(MADE_T0 + 204500); /* #1..#5 */
    collector_start(&c, now);
    run_round(&c);
    assert_true(tally(ana).bodies == 5 && tally(ana).lowest == 6);
    free(a);
}

static void test_deletes_stay(void **state)
{
    (void)state;
    struct made_post p[3] = { { .h.kind = POST_KIND_POST },
                              { .h.kind = POST_KIND_DELETE },
                              { .h = { .kind = 77 } } };
    struct post_body undo = { .has_target = true, .target_id = 5 };
    struct collector c;
    made_sign(&p[0], ana, NULL, MADE_T0, &(struct post_body){ .text = span_str("one") });
    made_sign(&p[1], ana, &p[0], MADE_T0 + 1, &undo);
    made_sign(&p[2], ana, &p[1], MADE_T0 + 2, &(struct post_body){ .text = span_str("unknown") });
    assert_int_equal(put_run(p, 1, 3), 3);
    assert_int_equal(tally(ana).lines, 1);
    collector_init(&c, 5, 0);
    at(MADE_T0 + 100000);
    collector_start(&c, now);
    run_round(&c);
    assert_true(tally(ana).bodies == 1 && tally(ana).lowest == 2 && tally(ana).lines == 0);
}

static void test_budget(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 50), *b = made_chain(bob, 50), *mine = made_chain(me, 10);
    struct collector c;
    at(MADE_T0 + 60000);
    put_run(a, 26, 50); /* not in the order of their age */
    put_run(b, 1, 50);
    put_run(mine, 1, 10);
    put_run(a, 1, 25);
    uint64_t bytes = store_body_bytes(s);
    assert_true(bytes == tally(ana).bytes + tally(bob).bytes);
    collector_init(&c, 365 * 86400, bytes / 2);
    collector_start(&c, now);
    run_round(&c);
    struct tally ta = tally(ana), tb = tally(bob);
    assert_true(store_body_bytes(s) <= bytes / 2 && store_body_bytes(s) > bytes / 2 - 100);
    assert_true(store_body_bytes(s) == ta.bytes + tb.bytes);
    assert_true(ta.lowest >= 24 && ta.lowest <= 28 && tb.lowest >= 24 &&
                tb.lowest <= 28); /* the oldest of both */
    assert_int_equal(tally(me).bodies, 10);
    /* An older one that comes later goes first. */
    uint64_t removed = c.removed;
    struct made_post old = { .h.device = 3 };
    made_sign(&old, ana, NULL, MADE_T0 - 5000,
              &(struct post_body){ .text = span_str("from before all of these") });
    put_run(&old, 1, 1);
    at(now.wall_ms + COLLECTOR_ROUND_MS);
    run_round(&c);
    assert_true(c.removed >= removed + 1);
    struct feed feed;
    struct tally t = { 0 };
    assert_int_equal(store_feed_load(s, ana->pk, 3, &feed), 0);
    assert_int_equal(store_post_run(s, &feed, 1, 1, count_post, &t), 0);
    assert_true(t.headers == 1 && t.bodies == 0);
    /* Whoever is not followed any more goes before all others. */
    assert_int_equal(store_author_role(s, bob->pk, STORE_HIDDEN), 0);
    uint64_t left = tally(ana).bytes;
    collector_init(&c, 365 * 86400, left);
    collector_start(&c, now);
    run_round(&c);
    assert_true(tally(bob).bodies == 0 && tally(ana).bytes == left);
    /* Kinds not known here are in no timeline, and still count. */
    struct made_post unknown = { .h = { .kind = 200, .device = 4 } };
    made_sign(&unknown, ana, NULL, MADE_T0 + 70000, &(struct post_body){ .text = span_str("of the future") });
    put_run(&unknown, 1, 1);
    assert_true(store_body_bytes(s) > left);
    collector_init(&c, 365 * 86400, 1);
    collector_start(&c, now);
    run_round(&c);
    assert_true(store_body_bytes(s) == 0 && tally(me).bodies == 10);
    free(a);
    free(b);
    free(mine);
}

static void test_slices_and_rounds(void **state)
{
    (void)state;
    enum { MANY = 3 * COLLECTOR_SLICE_POSTS };
    struct made_post *a = made_chain_from(ana, NULL, MANY, 0, "a"),
                     *b = made_chain_from(bob, NULL, MANY, 7, "b");
    struct collector c;
    at(MADE_T0 + MANY * 1000);
    for (uint64_t from = 1; from < MANY; from += 500) {
        put_run(a, from, from + 499);
        put_run(b, from, from + 499);
    }
    collector_init(&c, 60, 0);
    collector_start(&c, now);
    uint64_t before = 2 * MANY, slices = 0;
    while (collector_deadline_ms(&c) <= now.mono_ms) {
        assert_int_equal(collector_run(&c, s, now), 0);
        uint64_t bodies = tally(ana).bodies + (uint64_t)tally(bob).bodies;
        assert_true(before - bodies <= COLLECTOR_SLICE_POSTS); /* a turn is never held up */
        before = bodies;
        slices++;
    }
    assert_true(slices >= 6 && slices < 20);
    assert_int_equal(tally(ana).bodies, 59); /* #n at (n - 1) s stays while (n - 1) + 60 > MANY */
    assert_int_equal(tally(bob).bodies, 6);
    assert_true(collector_deadline_ms(&c) == now.mono_ms + COLLECTOR_ROUND_MS);
    uint64_t removed = c.removed;
    assert_int_equal(collector_run(&c, s, now), 0); /* not before a minute is over */
    assert_int_equal(c.removed, removed);
    free(a);
    free(b);
}

/* Random lifespans, random times: the bodies that are left are the ones the rule leaves, always. */
static void test_model(void **state)
{
    (void)state;
    enum { POSTS = 60 };
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 9);
    struct made_post *p = calloc(POSTS, sizeof *p);
    struct collector c;
    ours_s = 40;
    for (size_t i = 0; i < POSTS; i++) {
        p[i].h.lifespan_s = rng_below(&rng, 3) ? rng_below(&rng, 80) : 0;
        made_sign(&p[i], ana, i ? &p[i - 1] : NULL, MADE_T0 + i * 1000,
                  &(struct post_body){ .text = span_str("x") });
    }
    bool held[POSTS] = { false }, known[POSTS] = { false };
    collector_init(&c, ours_s, 0);
    for (uint64_t ms = 0; ms < 200000; ms += 700 + rng_below(&rng, 3000)) {
        at(MADE_T0 + ms);
        size_t i = rng_below(&rng, POSTS);
        if (!known[i] && p[i].h.id <= made_id(now.wall_ms)) {
            put_run(p, i + 1, i + 1);
            known[i] = true;
            held[i] = !collector_is_expired(&p[i].h, false, ours_s, now);
        }
        collector_start(&c, now);
        run_round(&c);
        uint32_t expected = 0;
        for (size_t k = 0; k < POSTS; k++) {
            held[k] = held[k] && !collector_is_expired(&p[k].h, false, ours_s, now);
            expected += held[k];
        }
        assert_int_equal(tally(ana).bodies, expected);
        assert_int_equal(tally(ana).lines, expected);
    }
    free(p);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(test_rule),
        FRESH(test_ours_never_early),
        FRESH(test_authors_lifespan),
        FRESH(test_off),
        FRESH(test_does_not_come_back),
        FRESH(test_looks_again_below),
        FRESH(test_deletes_stay),
        FRESH(test_budget),
        FRESH(test_slices_and_rounds),
        FRESH(test_model),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
