/* Feeds: runs that are let in and runs that are not, gaps and how they close, forks, the time window, states
 * of bodies; and a feed filled by random runs in random order against a plain bitmap. */
#include "timeline/feed.h"
#include "core/err.h"
#include "core/rng.h"
#include "tests/unit/made_posts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define N 60
static struct identity *ana, *eve;
static struct made_post *posts; /* N by ana */
static struct feed_item items[FEED_RUN_MAX];
static struct feed feed;
static struct feed_verdict verdict;
static struct now now;

static int setup(void **state)
{
    (void)state;
    ana = made_author(1);
    eve = made_author(66);
    posts = made_chain(ana, N);
    return ana && eve && posts ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(posts);
    identity_free(ana);
    identity_free(eve);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    feed_init(&feed, ana->pk, 0);
    now = made_now(MADE_T0 + N * 1000);
    return 0;
}

static const struct feed_rules no_rules;

static int check_n(size_t n)
{
    int err = feed_check_run(&feed, items, n, &no_rules, now, &verdict);
    feed_check(&feed);
    return err;
}

static int take_items(size_t n)
{
    int err = check_n(n);
    if (!err)
        feed_apply_run(&feed, items, n, &verdict);
    feed_check(&feed);
    return err;
}

static int take(uint64_t from, uint64_t to) { return take_items(made_run(items, posts, from, to)); }

static void assert_gap(uint64_t from, uint64_t to)
{
    uint64_t f = 0, t = 0;
    assert_true(feed_gap(&feed, &f, &t));
    assert_int_equal(f, from);
    assert_int_equal(t, to);
}

static void test_in_order(void **state)
{
    (void)state;
    assert_true(feed_head_seq(&feed) == 0 && feed_complete_to(&feed) == 0 && feed_missing(&feed) == 0);
    for (uint64_t seq = 1; seq <= N; seq++) {
        assert_int_equal(take(seq, seq), 0);
        assert_true(verdict.n_new == 1 && verdict.signature_checked && verdict.extends_head);
        assert_true(feed_complete_to(&feed) == seq && feed.n_ranges == 1);
        assert_int_equal(take(seq, seq), CAM_EDUP);
    }
    assert_memory_equal(feed.known_header, posts[N - 1].header, POST_HEADER_SIZE);
    uint64_t f, t;
    assert_false(feed_gap(&feed, &f, &t));
}

static void test_one_signature_a_run(void **state)
{
    (void)state;
    assert_int_equal(take(41, 60), 0);
    assert_true(verdict.signature_checked && verdict.n_new == 20);
    assert_gap(1, 40);
    assert_int_equal(feed_missing(&feed), 40);
    assert_int_equal(feed_complete_to(&feed), 0);
    assert_int_equal(take(21, 40), 0); /* continues below: the hash vouches */
    assert_false(verdict.signature_checked);
    assert_false(verdict.extends_head);
    assert_int_equal(take(1, 20), 0);
    assert_false(verdict.signature_checked);
    assert_true(feed.n_ranges == 1 && feed_complete_to(&feed) == N && feed_missing(&feed) == 0);
}

/* The chain vouches only for what it names: a bent signature below a verified header is found by its hash. */
static void test_signature_bytes_are_in_the_hash(void **state)
{
    (void)state;
    assert_int_equal(take(41, 60), 0);
    size_t n = made_run(items, posts, 31, 40);
    uint8_t bent[POST_HEADER_SIZE];
    memcpy(bent, posts[39].header, sizeof bent);
    bent[POST_HEADER_SIZE - 1] ^= 1;
    items[0].header = span(bent, sizeof bent);
    assert_int_equal(check_n(n), CAM_EAUTH);
}

static void test_tampered(void **state)
{
    (void)state;
    static uint8_t bent[POST_BODY_MAX];
    for (size_t victim = 0; victim < 5; victim++) { /* anywhere in a run of five */
        for (size_t at = 0; at < POST_HEADER_SIZE; at += 7) {
            size_t n = made_run(items, posts, 11, 15);
            memcpy(bent, items[victim].header.data, POST_HEADER_SIZE);
            bent[at] ^= 0x10;
            items[victim].header = span(bent, POST_HEADER_SIZE);
            int err = take_items(n);
            assert_true(err == CAM_EAUTH || err == CAM_EFORMAT || err == CAM_EREFUSED || err == CAM_EFUTURE);
        }
        size_t n = made_run(items, posts, 11, 15);
        memcpy(bent, items[victim].body.data, items[victim].body.size);
        bent[5] ^= 1;
        items[victim].body.data = bent;
        assert_int_equal(take_items(n), CAM_EAUTH);
        n = made_run(items, posts, 11, 15);
        items[victim].body.size--;
        assert_int_equal(take_items(n), CAM_EAUTH);
    }
    assert_true(feed.n_ranges == 0 && feed.known_seq == 0);
}

static void test_holes_order_and_strangers(void **state)
{
    (void)state;
    size_t n = made_run(items, posts, 11, 15);
    items[2] = items[3]; /* 15 14 12 12 11 */
    assert_int_equal(take_items(n), CAM_EFORMAT);
    n = made_run(items, posts, 11, 15);
    items[2] = items[3];
    items[3] = items[4]; /* 15 14 12 11: a post missing in the middle */
    assert_int_equal(take_items(n - 1), CAM_EFORMAT);
    n = made_run(items, posts, 11, 15);
    struct feed_item swap = items[0];
    items[0] = items[4];
    items[4] = swap; /* oldest first */
    assert_int_equal(take_items(n), CAM_EFORMAT);
    assert_int_equal(take_items(0), CAM_EFORMAT);
    assert_int_equal(feed_check_run(&feed, items, FEED_RUN_MAX + 1, &no_rules, now, &verdict), CAM_ETOOBIG);

    struct made_post *theirs = made_chain(eve, 2);
    n = made_run(items, theirs, 1, 2);
    assert_int_equal(take_items(n), CAM_EREFUSED);
    /* Eve's post under ana's key: her signature is none of ana's. */
    memcpy(theirs[0].header + 24, ana->pk, KEY_SIZE);
    n = made_run(items, theirs, 1, 1);
    assert_int_equal(take_items(n), CAM_EAUTH);
    free(theirs);
    struct made_post other_device = { .h.device = 4 };
    made_sign(&other_device, ana, NULL, MADE_T0, &(struct post_body){ .text = span_str("x") });
    n = made_run(items, &other_device, 1, 1);
    assert_int_equal(take_items(n), CAM_EREFUSED);
    assert_int_equal(feed.n_ranges, 0);
}

/* Re-dated by its author: signed, and its id does not rise. */
static void test_ids_rise(void **state)
{
    (void)state;
    assert_int_equal(take(1, 10), 0);
    struct made_post p = { .h.kind = 0 };
    made_sign(&p, ana, &posts[9], MADE_T0 + 9000,
              &(struct post_body){ .text = span_str("late") }); /* the id of #10 */
    assert_int_equal(take_items(made_run(items, &p, 11, 11)), CAM_EFORMAT);
    made_sign(&p, ana, &posts[19], MADE_T0 + 5000,
              &(struct post_body){ .text = span_str("late") }); /* above a gap */
    assert_int_equal(take_items(made_run(items, &p, 21, 21)), CAM_EFORMAT);
    assert_int_equal(take(30, 40), 0);
    made_sign(&p, ana, &posts[19], MADE_T0 + 50000,
              &(struct post_body){ .text = span_str("early") }); /* below one */
    assert_int_equal(take_items(made_run(items, &p, 21, 21)), CAM_EFORMAT);
    assert_int_equal(feed.n_ranges, 2);

    struct made_post pair[2] = { { .h.kind = 0 }, { .h.kind = 0 } }; /* within one run */
    made_sign(&pair[0], ana, &posts[49], MADE_T0 + 55000, &(struct post_body){ .text = span_str("51") });
    made_sign(&pair[1], ana, &pair[0], MADE_T0 + 55000, &(struct post_body){ .text = span_str("52") });
    assert_int_equal(take_items(made_run(items, pair, 51, 52)), CAM_EFORMAT);
}

static void test_gaps(void **state)
{
    (void)state;
    uint64_t f, t;
    assert_int_equal(take(1, 10), 0);
    assert_int_equal(take(21, 30), 0);
    assert_int_equal(take(41, 50), 0);
    assert_int_equal(feed.n_ranges, 3);
    assert_int_equal(feed_learn_head(&feed, span(posts[54].header, POST_HEADER_SIZE), now, NULL), 0);
    assert_gap(51, 55);
    assert_int_equal(feed_missing(&feed), 25);
    assert_true(feed_gap_below(&feed, 51, &f, &t) && f == 31 && t == 40);
    assert_true(feed_gap_below(&feed, 36, &f, &t) && f == 31 && t == 35);
    assert_true(feed_gap_below(&feed, 31, &f, &t) && f == 11 && t == 20);
    assert_false(feed_gap_below(&feed, 11, &f, &t));
    assert_true(feed_complete_to(&feed) == 10 && feed_head_seq(&feed) == 50);
    assert_true(feed_holds(&feed, 21) && feed_holds(&feed, 30) && !feed_holds(&feed, 31) &&
                !feed_holds(&feed, 20));

    assert_int_equal(take(5, 33), 0); /* over two ranges and both their edges */
    assert_true(verdict.n_new == 10 + 3 && feed.n_ranges == 2);
    assert_true(items[0].is_new && !items[3].is_new && items[13].is_new && !items[23].is_new);
    assert_int_equal(take(51, 55), 0);
    assert_false(verdict.signature_checked); /* the head that was learnt vouches */
    assert_gap(34, 40);
    assert_int_equal(take(34, 40), 0);
    assert_true(feed.n_ranges == 1 && feed_complete_to(&feed) == 55);
}

static void test_floor(void **state)
{
    (void)state;
    uint64_t f, t;
    assert_false(feed_raise_floor(&feed, 5)); /* nothing held yet: nothing to stand on */
    assert_int_equal(take(41, 60), 0);
    assert_true(feed_raise_floor(&feed, 30));
    assert_false(feed_raise_floor(&feed, 20)); /* never down */
    assert_gap(31, 40);
    assert_int_equal(take(25, 40), 0); /* what is below it is left out */
    assert_int_equal(verdict.n_new, 10);
    assert_true(feed.ranges[0].lo == 31 && feed_complete_to(&feed) == 60 && !feed_gap(&feed, &f, &t));
    assert_memory_equal(feed.ranges[0].lo_prev, posts[29].hash, HASH_SIZE);
    assert_int_equal(take(10, 20), CAM_EDUP);
    assert_false(feed_raise_floor(&feed, 50)); /* not above what is held */
    assert_int_equal(feed.floor_seq, 30);
}

static void test_too_many_holes(void **state)
{
    (void)state;
    struct made_post *many = made_chain(ana, 2 * FEED_RANGES_MAX + 4);
    now = made_now(MADE_T0 + 1000000);
    for (uint64_t i = 0; i < FEED_RANGES_MAX; i++)
        assert_int_equal(take_items(made_run(items, many, 2 * i + 1, 2 * i + 1)), 0);
    assert_int_equal(feed.n_ranges, FEED_RANGES_MAX);
    size_t n = made_run(items, many, 2 * FEED_RANGES_MAX + 3, 2 * FEED_RANGES_MAX + 3);
    assert_int_equal(take_items(n), CAM_EAGAIN);
    assert_int_equal(verdict.wait_until_ms, 0);
    assert_int_equal(feed_learn_head(&feed, items[0].header, now, NULL), 0); /* but known to be there */
    assert_int_equal(take_items(made_run(items, many, 2, 2)), 0);            /* filling one makes room */
    n = made_run(items, many, 2 * FEED_RANGES_MAX + 3, 2 * FEED_RANGES_MAX + 3);
    assert_int_equal(take_items(n), 0);
    free(many);
}

static void test_time_window(void **state)
{
    (void)state;
    static const struct {
        int64_t ahead_ms;
        int err;
    } cases[] = {
        { -1000000, 0 },
        { 0, 0 },
        { 5000, 0 },
        { 5001, CAM_EAGAIN },
        { 60000, CAM_EAGAIN },
        { 60001, CAM_EFUTURE },
        { 3600000, CAM_EFUTURE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        now = made_now(MADE_T0 + (uint64_t)(2000000 - cases[i].ahead_ms));
        struct made_post p = { .h.kind = 0 };
        made_sign(&p, ana, NULL, MADE_T0 + 2000000, &(struct post_body){ .text = span_str("soon") });
        size_t n = made_run(items, &p, 1, 1);
        assert_int_equal(check_n(n), cases[i].err);
        if (cases[i].err == CAM_EAGAIN)
            assert_true(verdict.wait_until_ms == MADE_T0 + 2000000);
        assert_int_equal(feed_learn_head(&feed, items[0].header, now, NULL),
                         cases[i].err);
        fresh(NULL);
    }
}

static void test_learn_head(void **state)
{
    (void)state;
    uint8_t bent[POST_HEADER_SIZE];
    assert_int_equal(feed_learn_head(&feed, span(posts[9].header, 187), now, NULL), CAM_EFORMAT);
    memcpy(bent, posts[9].header, sizeof bent);
    bent[60] ^= 1;
    assert_int_equal(feed_learn_head(&feed, span(bent, sizeof bent), now, NULL), CAM_EAUTH);
    assert_int_equal(feed.known_seq, 0);
    assert_int_equal(feed_learn_head(&feed, span(posts[9].header, POST_HEADER_SIZE), now, &verdict), 0);
    assert_true(feed.known_seq == 10 && !verdict.forked);
    assert_gap(1, 10);
    assert_int_equal(feed_learn_head(&feed, span(posts[9].header, POST_HEADER_SIZE), now, NULL), CAM_EDUP);
    assert_int_equal(feed_learn_head(&feed, span(posts[3].header, POST_HEADER_SIZE), now, NULL), CAM_EDUP);
    assert_int_equal(feed_learn_head(&feed, span(posts[10].header, POST_HEADER_SIZE), now, &verdict), 0);
    assert_false(verdict.forked);
    feed_confirm_head(&feed, 11, 500);
    feed_confirm_head(&feed, 10, 900); /* not the newest */
    feed_confirm_head(&feed, 11, 400); /* not later */
    assert_int_equal(feed.as_of_ms, 500);
    struct made_post theirs = { .h.kind = 0 };
    made_sign(&theirs, eve, NULL, MADE_T0, &(struct post_body){ .text = span_str("x") });
    assert_int_equal(feed_learn_head(&feed, span(theirs.header, POST_HEADER_SIZE), now, NULL), CAM_EREFUSED);
}

/* ---- forks: ana signs another 21.. after 20, or other posts from 15 on */

static int hash_of_made(void *ctx, const struct feed *f, uint64_t seq, uint8_t ret[HASH_SIZE])
{
    (void)f;
    memcpy(ret, ((struct made_post *)ctx)[seq - 1].hash, HASH_SIZE);
    return 0;
}

static void test_fork_at_the_head(void **state)
{
    (void)state;
    struct made_post *other = made_chain_from(ana, &posts[19], 5, 0, "another"); /* 21'..25' */
    assert_int_equal(take(1, 21), 0);
    size_t n = made_run(items, other, 21, 21);
    assert_int_equal(take_items(n), 0); /* the same seq, another post: proof, and no more */
    assert_true(verdict.forked && verdict.fork_seq == 21 && verdict.n_new == 0);
    assert_memory_equal(verdict.fork_header, other[0].header, POST_HEADER_SIZE);
    assert_true(feed.forks == 1 && feed.forked_seq == 21 && feed_head_seq(&feed) == 21);
    assert_memory_equal(feed.ranges[0].hi_hash, posts[20].hash, HASH_SIZE); /* first come stays */
    n = made_run(items, other, 22, 25);
    assert_int_equal(take_items(n), 0); /* the feed goes on along the higher head */
    assert_true(verdict.forked && verdict.fork_seq == 21 && verdict.n_new == 4);
    assert_true(feed_complete_to(&feed) == 25 && feed.n_ranges == 1);
    assert_int_equal(take(26, 26), 0); /* and back on the first branch, whose head is higher now */
    assert_true(verdict.forked && feed_complete_to(&feed) == 26);
    free(other);
}

static void test_fork_inside_and_below(void **state)
{
    (void)state;
    struct made_post *other = made_chain_from(ana, &posts[13], 10, 0, "another"); /* 15'..24' */
    assert_int_equal(take(1, 20), 0);
    size_t n = made_run(items, other, 16, 16);
    struct feed_rules rules = { .hash_at = hash_of_made, .ctx = posts };
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), 0); /* seen inside */
    assert_true(verdict.forked && verdict.fork_seq == 16 && verdict.n_new == 0);
    assert_int_equal(check_n(n), CAM_EDUP); /* not seen without the store: still nothing new */
    n = made_run(items, posts, 5, 5);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), CAM_EDUP);
    n = made_run(items, other, 18, 24); /* across the head */
    assert_int_equal(take_items(n), 0);
    assert_true(verdict.forked && verdict.fork_seq == 20 && verdict.n_new == 4 &&
                feed_complete_to(&feed) == 24);
    /* A fork that eve invents is no fork. */
    struct made_post *forged = made_chain_from(eve, &posts[19], 1, 0, "forged");
    memcpy(forged[0].header + 24, ana->pk, KEY_SIZE);
    fresh(NULL);
    assert_int_equal(take(1, 21), 0);
    n = made_run(items, forged, 21, 21);
    assert_int_equal(take_items(n), CAM_EAUTH);
    assert_int_equal(feed.forks, 0);
    free(forged);
    free(other);
}

/* All posts of a run that contradict held ones are found, with the bodies that came. */
static void test_fork_bodies(void **state)
{
    (void)state;
    struct made_post *other = made_chain_from(ana, &posts[13], 10, 100, "another"); /* 15'..24', for 100 s */
    struct feed_rules rules = { .hash_at = hash_of_made, .ctx = posts };
    assert_int_equal(take(1, 20), 0);
    size_t n = made_run(items, other, 15, 24);
    items[n++] = (struct feed_item){ .header = span(posts[13].header, POST_HEADER_SIZE), .state = POST_HELD,
                                     .body = span(posts[13].body, posts[13].body_size) }; /* 14 */
    items[24 - 17].state = POST_MISSING;
    items[24 - 17].body = span(NULL, 0);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), 0);
    assert_true(verdict.forked && verdict.fork_seq == 20 && verdict.n_new == 4);
    for (uint64_t seq = 14; seq <= 24; seq++) {
        const struct feed_item *it = &items[24 - seq];
        assert_int_equal(it->is_new, seq > 20);
        assert_int_equal(it->is_fork, seq >= 15 && seq <= 20 && seq != 17);
        assert_int_equal(it->is_shown, seq != 14 && seq != 17);
    }
    /* Its body must be its own. */
    n = made_run(items, other, 15, 16);
    items[1].body = span(posts[14].body, items[1].body.size);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), CAM_EAUTH);
    /* What would be collected is not kept. */
    n = made_run(items, other, 15, 16);
    now.wall_ms += 200 * 1000;
    rules.lifespan_s = 1000;
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), 0);
    assert_true(items[0].is_fork && items[0].state == POST_EXPIRED && !items[0].is_shown);
    /* Another's do not come so far. */
    struct made_post *forged = made_chain_from(eve, &posts[14], 1, 0, "forged");
    memcpy(forged[0].header + 24, ana->pk, KEY_SIZE);
    n = made_run(items, forged, 16, 16);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), CAM_EAUTH);
    free(forged);
    free(other);
}

static void test_fork_against_known_and_backfill(void **state)
{
    (void)state;
    struct made_post *other = made_chain_from(ana, &posts[19], 5, 0, "another"); /* 21'..25' */
    assert_int_equal(feed_learn_head(&feed, span(other[0].header, POST_HEADER_SIZE), now, NULL), 0); /* 21' */
    assert_int_equal(feed_learn_head(&feed, span(posts[20].header, POST_HEADER_SIZE), now, &verdict),
                     CAM_EDUP);
    assert_true(verdict.forked && verdict.fork_seq == 21 && verdict.fork_has_other && feed.forks == 1);
    assert_memory_equal(verdict.fork_other, other[0].header, POST_HEADER_SIZE);
    assert_int_equal(feed_learn_head(&feed, span(posts[21].header, POST_HEADER_SIZE), now, &verdict), 0);
    assert_true(verdict.forked && feed.known_seq == 22);

    fresh(NULL);
    assert_int_equal(feed_learn_head(&feed, span(other[0].header, POST_HEADER_SIZE), now, NULL), 0);
    assert_int_equal(take(15, 25), 0); /* a run through the known seq, on the other branch */
    assert_true(verdict.forked && verdict.fork_seq == 21 && verdict.fork_has_other && verdict.n_new == 11);

    fresh(NULL); /* backfill below 22' that is signed but not what 22' names: 21, where 21' is meant */
    size_t n = made_run(items, other, 22, 25);
    assert_int_equal(take_items(n), 0);
    assert_int_equal(take(10, 21), 0);
    assert_true(verdict.forked && verdict.fork_seq == 21 && !verdict.fork_has_other &&
                verdict.signature_checked);
    assert_true(feed.n_ranges == 1 && feed.ranges[0].lo == 10 && feed.ranges[0].hi == 25);
    free(other);
}

/* ---- bodies */

static void test_states(void **state)
{
    (void)state;
    struct made_post *brief = made_chain_from(ana, NULL, 10, 5, "brief"); /* lifespans of 5 s */
    struct made_post undo = { .h.kind = POST_KIND_DELETE }, wrong = { .h.kind = POST_KIND_DELETE };
    struct post_body body = { .has_target = true, .target_id = brief[7].h.id };
    memcpy(body.target_author, ana->pk, KEY_SIZE);
    made_sign(&undo, ana, &brief[9], MADE_T0 + 10000, &body);
    body.target_id = brief[6].h.id;
    made_sign(&wrong, ana, &brief[9], MADE_T0 + 10000, &body);

    now = made_now(MADE_T0 + 9000); /* #1..#5 have just expired */
    size_t n = made_run(items, brief, 1, 10);
    items[9].state = POST_EXPIRED; /* #1: true */
    items[8].state = POST_MISSING; /* #2: but expired anyway */
    items[7].state = POST_HELD;    /* #3 comes with its body, too late */
    items[4].state = POST_EXPIRED; /* #6: a lie, or its sender keeps posts for less long */
    items[3].state = POST_MISSING; /* #7 */
    items[2].state = POST_DELETED; /* #8, with proof */
    items[2].proof_header = span(undo.header, POST_HEADER_SIZE);
    items[2].proof_body = span(undo.body, undo.body_size);
    items[1].state = POST_DELETED; /* #9, without */
    struct feed_rules rules = { .lifespan_s = 30 * 86400 };
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), 0);
    static const enum post_state expected[] = { POST_HELD,    POST_MISSING, POST_DELETED, POST_MISSING,
                                                POST_MISSING, POST_EXPIRED, POST_EXPIRED, POST_EXPIRED,
                                                POST_EXPIRED, POST_EXPIRED };
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(items[i].state, expected[i]);
        assert_int_equal(items[i].is_shown, expected[i] == POST_HELD);
        assert_true(items[i].is_new);
    }
    feed_apply_run(&feed, items, n, &verdict);
    assert_int_equal(feed.bodies_missing, 3);

    /* They come later: the run is not all duplicate while bodies are missing. */
    n = made_run(items, brief, 6, 10);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), 0);
    assert_true(verdict.n_new == 0 && verdict.n_fill == 5 && items[4].state == POST_HELD &&
                items[4].is_shown);

    static uint8_t bent[POST_BODY_MAX]; /* but not with other bytes */
    n = made_run(items, brief, 6, 10);
    memcpy(bent, items[4].body.data, items[4].body.size);
    bent[6] ^= 1;
    items[4].body.data = bent;
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), CAM_EAUTH);

    n = made_run(items, brief, 6, 10);
    items[2].state = POST_DELETED; /* a delete of another post proves nothing */
    items[2].proof_header = span(wrong.header, POST_HEADER_SIZE);
    items[2].proof_body = span(wrong.body, wrong.body_size);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), CAM_EAUTH);
    undo.header[POST_HEADER_SIZE - 1] ^= 1;
    items[2].proof_header = span(undo.header, POST_HEADER_SIZE);
    items[2].proof_body = span(undo.body, undo.body_size);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, now, &verdict), CAM_EAUTH);
    free(brief);
}

static void test_lifespans_on_the_way_in(void **state)
{
    (void)state;
    static const struct { uint32_t author_s, ours_s; bool own; enum post_state state; } cases[] = {
        { 0, 0, false, POST_HELD }, { 0, 5, false, POST_EXPIRED }, { 0, 11, false, POST_HELD },
        { 5, 11, false, POST_EXPIRED }, { 5, 0, false, POST_HELD }, /* ACTIVE = 0 keeps everything */
        { 11, 5, false, POST_EXPIRED }, { 11, 11, false, POST_HELD }, { 10, 11, false, POST_EXPIRED },
        { 5, 5, true, POST_HELD },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made_post p = { .h.lifespan_s = cases[i].author_s };
        made_sign(&p, ana, NULL, MADE_T0, &(struct post_body){ .text = span_str("old") });
        struct feed_rules rules = { .lifespan_s = cases[i].ours_s, .own = cases[i].own };
        size_t n = made_run(items, &p, 1, 1);
        assert_int_equal(feed_check_run(&feed, items, n, &rules, made_now(MADE_T0 + 10000), &verdict), 0);
        assert_int_equal(items[0].state, cases[i].state);
    }
}

static void test_own_post_without_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t n = made_run(items, posts, i + 1, i + 1);
        items[0].h = posts[i].h;
        items[0].is_new = true;
        memcpy(items[0].hash, posts[i].hash, HASH_SIZE);
        feed_apply_run(&feed, items, n, NULL);
        feed_check(&feed);
    }
    assert_true(feed_complete_to(&feed) == 3 && feed.known_seq == 3);
    assert_int_equal(take(4, 4), 0);
    assert_int_equal(feed.n_ranges, 1);
}

/* ---- random runs in random order against a bitmap */

static void test_model(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 11);
    for (int round = 0; round < 60; round++) {
        bool held[N + 2] = { false };
        uint64_t known = 0;
        fresh(NULL);
        for (int step = 0; step < 40; step++) {
            uint64_t from = 1 + rng_below(&rng, N), to = from + rng_below(&rng, 8), n_new = 0;
            if (to > N)
                to = N;
            for (uint64_t seq = from; seq <= to; seq++)
                n_new += !held[seq];
            int err = take(from, to);
            assert_int_equal(err, n_new ? 0 : CAM_EDUP);
            if (!err)
                assert_int_equal(verdict.n_new, n_new);
            for (uint64_t seq = from; seq <= to; seq++)
                held[seq] = true;
            known = to > known ? to : known;
            assert_true(feed.known_seq == known);
            uint64_t missing = 0, gap_to = 0, gap_from = 0, f = 0, t = 0, complete = 0;
            while (complete < N && held[complete + 1])
                complete++;
            for (uint64_t seq = known; seq >= 1; seq--) {
                assert_int_equal(feed_holds(&feed, seq), held[seq]);
                missing += !held[seq];
                if (!held[seq] && gap_to == 0)
                    gap_to = seq;
                if (!held[seq] && gap_to && (gap_from == 0 || seq + 1 == gap_from))
                    gap_from = seq;
            }
            assert_true(feed_missing(&feed) == missing && feed_complete_to(&feed) == complete);
            assert_int_equal(feed_gap(&feed, &f, &t), missing > 0);
            assert_true(f == gap_from && t == gap_to);
        }
    }
}

#define FRESH(test) cmocka_unit_test_setup(test, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(test_in_order),
        FRESH(test_one_signature_a_run),
        FRESH(test_signature_bytes_are_in_the_hash),
        FRESH(test_tampered),
        FRESH(test_holes_order_and_strangers),
        FRESH(test_ids_rise),
        FRESH(test_gaps),
        FRESH(test_floor),
        FRESH(test_too_many_holes),
        FRESH(test_time_window),
        FRESH(test_learn_head),
        FRESH(test_fork_at_the_head),
        FRESH(test_fork_inside_and_below),
        FRESH(test_fork_bodies),
        FRESH(test_fork_against_known_and_backfill),
        FRESH(test_states),
        FRESH(test_lifespans_on_the_way_in),
        FRESH(test_own_post_without_verdict),
        FRESH(test_model),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
