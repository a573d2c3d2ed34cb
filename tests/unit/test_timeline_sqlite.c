/* The store: what it keeps and gives back, commit and rollback, disk full, damage, killed in the middle; the
 * timeline's order, unread posts, roles; everything on a real file, reopened. */
#include "timeline/store.h"
#include "core/err.h"
#include "core/rng.h"
#include "tests/unit/made_posts.h"
#include "timeline/io_sqlite.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static struct identity *me, *ana, *bob;
static char folder[] = "/tmp/camellia-store-XXXXXX", path[64], why[STORE_MESSAGE_SIZE];
static struct store *s;

static int setup(void **state)
{
    (void)state;
    me = made_author(1);
    ana = made_author(2);
    bob = made_author(3);
    if (!me || !ana || !bob || !mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    return 0;
}

static void remove_files(void)
{
    static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
    for (size_t i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static int teardown(void **state)
{
    (void)state;
    remove_files();
    rmdir(folder);
    identity_free(me);
    identity_free(ana);
    identity_free(bob);
    return 0;
}

static int open_fresh(void **state)
{
    (void)state;
    remove_files();
    int err = store_open(path, &s, why);
    if (err)
        fprintf(stderr, "%s\n", why);
    return err;
}

static int close_it(void **state)
{
    (void)state;
    store_close(s);
    s = NULL;
    remove_files();
    return 0;
}

static void reopen(void)
{
    store_close(s);
    s = NULL;
    assert_int_equal(store_open(path, &s, why), 0);
}

/* Stores posts from..to of a chain as the state machine does. */
static struct feed_item items[FEED_RUN_MAX];
static size_t n_beside; /* posts that contradict held ones and were kept */

static void put_run(const struct made_post *posts, uint64_t from, uint64_t to, const uint8_t *via)
{
    struct feed feed;
    struct feed_verdict v;
    struct feed_rules rules = { .hash_at = store_post_hash, .ctx = s };
    const struct post_header *h = &posts[0].h;
    int err = store_feed_load(s, h->author, h->device, &feed);
    if (err == CAM_ENOENT)
        feed_init(&feed, h->author, h->device);
    else
        assert_int_equal(err, 0);
    size_t n = made_run(items, posts, from, to);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, made_now(MADE_T0 + 100000000), &v), 0);
    feed_apply_run(&feed, items, n, &v);
    assert_int_equal(store_feed_save(s, &feed), 0);
    n_beside = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t key = 0;
        if (items[i].is_new)
            assert_int_equal(store_post_put(s, &feed, &items[i], 42, via), 0);
        if (items[i].is_fork)
            assert_int_equal(store_fork_post_put(s, &feed, &items[i], 42, via, &key), 0);
        n_beside += key != 0;
    }
    if (v.forked)
        assert_int_equal(store_fork_put(s, &feed, v.fork_seq, span(v.fork_header, POST_HEADER_SIZE),
                                        span(v.fork_other, v.fork_has_other ? POST_HEADER_SIZE : 0)), 0);
}

/* ---- meta, kad, transactions */

static void test_meta(void **state)
{
    (void)state;
    char buf[8];
    size_t size = 99;
    int64_t n;
    assert_int_equal(store_meta_get(s, "name", buf, sizeof buf, &size), CAM_ENOENT);
    assert_int_equal(store_meta_put(s, "name", span_str("ana")), 0);
    assert_int_equal(store_meta_put(s, "name", span_str("ana2")), 0);
    assert_int_equal(store_meta_put_int(s, "seq", -5), 0);
    assert_int_equal(store_meta_get(s, "name", buf, sizeof buf, &size), 0);
    assert_true(size == 4 && memcmp(buf, "ana2", 4) == 0);
    assert_int_equal(store_meta_get(s, "name", buf, 3, &size), CAM_ENOSPC);
    assert_int_equal(store_meta_get_int(s, "seq", &n), 0);
    assert_int_equal(n, -5);
    assert_int_equal(store_meta_get_int(s, "name", &n), CAM_EFORMAT);
    assert_true(store_is_dirty(s));
    assert_int_equal(store_commit(s), 0);
    assert_false(store_is_dirty(s));
    assert_int_equal(store_meta_put(s, "name", span(NULL, 0)), 0);
    assert_int_equal(store_meta_get(s, "name", buf, sizeof buf, &size), CAM_ENOENT);
    store_rollback(s);
    assert_false(store_is_dirty(s));
    reopen();
    assert_int_equal(store_meta_get(s, "name", buf, sizeof buf, &size), 0);
    assert_int_equal(store_commit(s), 0); /* nothing to commit is fine */
    assert_int_equal(store_meta_put_int(s, "seq", 7), 0);
    reopen(); /* closed without a commit */
    assert_int_equal(store_meta_get_int(s, "seq", &n), 0);
    assert_int_equal(n, -5);
}

static int sum_kad(void *ctx, struct span key, struct span value)
{
    *(size_t *)ctx += key.size * 100 + value.size;
    return 0;
}

static int stop_kad(void *ctx, struct span key, struct span value)
{
    (void)key;
    (void)value;
    return ++*(int *)ctx == 2 ? CAM_EINTR : 0;
}

static void test_kad(void **state)
{
    (void)state;
    static uint8_t big[5000];
    size_t sum = 0;
    int calls = 0;
    assert_int_equal(store_kad_put(s, span("k1", 2), span(big, sizeof big)), 0);
    assert_int_equal(store_kad_put(s, span("k\0\xff", 3), span("v", 1)), 0);
    assert_int_equal(store_kad_put(s, span("k1", 2), span(big, 10)), 0);
    assert_int_equal(store_kad_put(s, span("gone", 4), span("v", 1)), 0);
    assert_int_equal(store_kad_put(s, span("gone", 4), span(NULL, 0)), 0);
    assert_int_equal(store_kad_put(s, span("never", 5), span(NULL, 0)), 0);
    assert_int_equal(store_commit(s), 0);
    reopen();
    assert_int_equal(store_kad_each(s, sum_kad, &sum), 0);
    assert_int_equal(sum, 200 + 10 + 300 + 1);
    assert_int_equal(store_kad_each(s, stop_kad, &calls), CAM_EINTR);
    assert_int_equal(calls, 2);
    assert_int_equal(store_kad_put(s, span("k1", 2), span("x", 1)), 0); /* stopping blocks nothing */
    assert_int_equal(store_commit(s), 0);
}

/* ---- feeds and posts */

static void test_feed_state_comes_back(void **state)
{
    (void)state;
    struct made_post *posts = made_chain(ana, 50);
    struct feed feed, again;
    assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), CAM_ENOENT);
    put_run(posts, 1, 10, NULL);
    put_run(posts, 31, 50, NULL);
    assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), 0);
    assert_int_equal(store_feed_load(s, ana->pk, 1, &again), CAM_ENOENT);
    feed.as_of_ms = 12345;
    feed.forks = feed.forked_seq = 3;
    feed.bodies_missing = 9;
    assert_int_equal(store_feed_save(s, &feed), 0);
    assert_int_equal(store_commit(s), 0);
    reopen();
    assert_int_equal(store_feed_load(s, ana->pk, 0, &again), 0);
    feed_check(&again);
    assert_memory_equal(&again, &feed, sizeof feed); /* padding is zero in both: initialised whole */
    uint64_t count = 0;
    assert_int_equal(store_post_count(s, ana->pk, &count), 0);
    assert_int_equal(count, 30);
    assert_int_equal(store_post_count(s, bob->pk, &count), 0);
    assert_int_equal(count, 0);
    free(posts);
}

struct seen {
    size_t n;
    uint64_t ids[256], seqs[256];
    uint8_t authors[256], unread[256], forks[256];
    struct post_header h;
    char text[64];
    bool has_via;
    uint8_t via[KEY_SIZE];
    enum post_state states[256];
};

static int see(void *ctx, const struct store_post *post)
{
    struct seen *seen = ctx;
    struct post_body body;
    assert_int_equal(post_header_decode(post->header, &seen->h), 0);
    assert_int_equal(post_header_verify(post->header.data), 0);
    assert_true(seen->n < 256);
    seen->ids[seen->n] = seen->h.id;
    seen->seqs[seen->n] = seen->h.seq;
    seen->authors[seen->n] = seen->h.author[0];
    seen->unread[seen->n] = post->unread;
    seen->forks[seen->n] = post->fork;
    seen->states[seen->n] = post->state;
    seen->has_via = post->has_via;
    memcpy(seen->via, post->via, KEY_SIZE);
    assert_int_equal(post->state == POST_HELD, post->body.size > 0);
    if (post->state == POST_HELD) {
        assert_int_equal(post_body_check(&seen->h, post->body), 0);
        assert_int_equal(post_body_decode(post->body, &body), 0);
        snprintf(seen->text, sizeof seen->text, "%.*s", (int)body.text.size, (const char *)body.text.data);
    }
    seen->n++;
    return 0;
}

static void test_posts_come_back(void **state)
{
    (void)state;
    struct made_post *posts = made_chain(ana, 50);
    struct seen seen = { .n = 0 };
    struct feed feed;
    uint8_t hash[HASH_SIZE];
    put_run(posts, 20, 40, NULL);
    put_run(posts, 5, 19, bob->pk);
    put_run(posts, 45, 45, NULL);
    assert_int_equal(store_commit(s), 0);
    reopen();
    assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), 0);
    assert_int_equal(store_post_run(s, &feed, 1, UINT64_MAX, see, &seen), 0);
    assert_int_equal(seen.n, 37);
    assert_true(seen.seqs[0] == 45 && seen.seqs[1] == 40 && seen.seqs[36] == 5 && seen.has_via);
    assert_memory_equal(seen.via, bob->pk, KEY_SIZE);
    seen.n = 0;
    assert_int_equal(store_post_run(s, &feed, 18, 22, see, &seen), 0);
    assert_true(seen.n == 5 && seen.seqs[0] == 22 && seen.seqs[4] == 18);
    assert_int_equal(store_post_hash(s, &feed, 45, hash), 0);
    assert_memory_equal(hash, posts[44].hash, HASH_SIZE);
    assert_int_equal(store_post_hash(s, &feed, 46, hash), CAM_ENOENT);
    for (uint64_t seq = 1; seq <= 50; seq++) { /* by id */
        seen.n = 0;
        bool held = (seq >= 5 && seq <= 40) || seq == 45;
        assert_int_equal(store_post_find(s, ana->pk, posts[seq - 1].h.id, see, &seen), held ? 0 : CAM_ENOENT);
        assert_int_equal(seen.n, held);
        if (held)
            assert_true(seen.seqs[0] == seq);
    }
    assert_int_equal(store_post_find(s, bob->pk, posts[4].h.id, see, &seen), CAM_ENOENT);
    /* Twice is refused by the table itself, whatever the caller thinks. */
    size_t n = made_run(items, posts, 20, 20);
    items[0].h = posts[19].h;
    assert_int_equal(n, 1);
    assert_int_equal(store_post_put(s, &feed, &items[0], 1, NULL), CAM_EDUP);
    assert_int_equal(store_meta_put_int(s, "still", 1), 0); /* and the turn goes on */
    assert_int_equal(store_commit(s), 0);
    free(posts);
}

static void test_missing_bodies(void **state)
{
    (void)state;
    struct made_post *posts = made_chain(ana, 20);
    struct feed feed;
    struct feed_verdict v;
    struct seen seen = { .n = 0 };
    struct feed_rules rules = { 0 };
    uint64_t from, to;
    bool filled;
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    feed_init(&feed, ana->pk, 0);
    size_t n = made_run(items, posts, 1, 20);
    for (size_t i = 0; i < n; i++)
        if (posts[19 - i].h.seq == 7 || (posts[19 - i].h.seq >= 10 && posts[19 - i].h.seq <= 12))
            items[i].state = POST_MISSING;
    assert_int_equal(feed_check_run(&feed, items, n, &rules, made_now(MADE_T0 + 100000), &v), 0);
    feed_apply_run(&feed, items, n, &v);
    assert_int_equal(feed.bodies_missing, 4);
    assert_int_equal(store_feed_save(s, &feed), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(store_post_put(s, &feed, &items[i], 1, NULL), 0);
    assert_int_equal(store_timeline(s, NULL, false, 100, see, &seen), 0);
    assert_int_equal(seen.n, 16);
    assert_int_equal(store_post_missing(s, &feed, &from, &to), 0);
    assert_true(from == 10 && to == 12);
    n = made_run(items, posts, 8, 12);
    assert_int_equal(feed_check_run(&feed, items, n, &rules, made_now(MADE_T0 + 100000), &v), 0);
    assert_true(v.n_new == 0 && v.n_fill == 5);
    uint32_t n_filled = 0;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(store_post_fill(s, &feed, &items[i], &filled), 0);
        n_filled += filled;
    }
    assert_true(n_filled == 3 && feed.bodies_missing == 1);
    assert_int_equal(store_post_missing(s, &feed, &from, &to), 0);
    assert_true(from == 7 && to == 7);
    struct made_post *other = made_chain_from(ana, &posts[5], 1, 0, "another"); /* a fork's #7 */
    n = made_run(items, other, 7, 7);
    items[0].h = other[0].h;
    assert_int_equal(store_post_fill(s, &feed, &items[0], &filled), 0);
    assert_true(!filled && feed.bodies_missing == 1); /* its body is not that of the #7 that is held */
    free(other);
    n = made_run(items, posts, 7, 7);
    items[0].h = posts[6].h;
    items[0].state = POST_EXPIRED; /* nobody has it any more */
    assert_int_equal(store_post_fill(s, &feed, &items[0], &filled), 0);
    assert_true(filled && feed.bodies_missing == 0);
    assert_int_equal(store_post_missing(s, &feed, &from, &to), CAM_ENOENT);
    seen.n = 0;
    assert_int_equal(store_timeline(s, NULL, false, 100, see, &seen), 0);
    assert_int_equal(seen.n, 19);
    items[0].h.seq = 21;
    assert_int_equal(store_post_fill(s, &feed, &items[0], &filled), CAM_ENOENT);
    free(posts);
}

static int see_fork(void *ctx, uint64_t seq, struct span header, struct span other)
{
    struct post_header a, b;
    assert_true(post_header_decode(header, &a) == 0 && post_header_decode(other, &b) == 0);
    assert_true(post_header_verify(header.data) == 0 && post_header_verify(other.data) == 0);
    assert_true(a.seq == seq && b.seq == seq && memcmp(header.data, other.data, POST_HEADER_SIZE) != 0);
    ++*(int *)ctx;
    return 0;
}

static void test_forks(void **state)
{
    (void)state;
    struct made_post *posts = made_chain(ana, 30);
    struct feed feed;
    int n = 0;
    put_run(posts, 1, 30, NULL);
    for (int i = 0; i < 20; i++) { /* twenty other posts after #10: proofs are kept of some */
        char text[24];
        snprintf(text, sizeof text, "fork %d", i);
        struct made_post *other = made_chain_from(ana, &posts[9], 1, 0, text);
        put_run(other, 11, 11, NULL);
        free(other);
    }
    assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), 0);
    assert_true(feed.forks == 20 && feed.forked_seq == 11 && feed_complete_to(&feed) == 30);
    assert_int_equal(store_fork_each(s, &feed, see_fork, &n), 0);
    assert_int_equal(n, STORE_FORKS_MAX);
    uint64_t count = 0;
    assert_int_equal(store_fork_count(s, &feed, &count), 0);
    assert_int_equal(count, 1);
    free(posts);
}

/* The lines of #11 and #12 are marked, and no others. */
static void assert_forks_shown(const struct seen *seen, size_t n_lines, size_t n_marked)
{
    size_t marked = 0;
    assert_int_equal(seen->n, n_lines);
    for (size_t i = 0; i < seen->n; i++) {
        assert_int_equal(seen->forks[i], seen->seqs[i] == 11 || seen->seqs[i] == 12);
        marked += seen->forks[i];
    }
    assert_int_equal(marked, n_marked);
}

/* The posts of another branch are listed, marked, read and removed as any other; the feed is as it was. */
static void test_fork_posts(void **state)
{
    (void)state;
    struct made_post *posts = made_chain(ana, 20);
    struct seen seen = { .n = 0 };
    struct feed feed;
    uint64_t lines, count;
    bool more = true;
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    put_run(posts, 1, 20, NULL);
    uint64_t bytes = store_body_bytes(s);
    for (int i = 0; i < 2 * STORE_FORK_POSTS_MAX; i++) { /* at most so many beside one */
        char text[24];
        snprintf(text, sizeof text, "fork %d", i);
        struct made_post *other = made_chain_from(ana, &posts[9], 2, 0, text);
        put_run(other, 11, 12, bob->pk);
        assert_int_equal(n_beside, i < STORE_FORK_POSTS_MAX ? 2 : 0);
        put_run(other, 11, 12, bob->pk); /* the same again */
        assert_int_equal(n_beside, 0);
        free(other);
    }
    assert_int_equal(store_commit(s), 0);
    const size_t beside = 2 * STORE_FORK_POSTS_MAX;
    for (int round = 0; round < 2; round++) {
        seen.n = 0;
        assert_int_equal(store_timeline(s, NULL, false, 100, see, &seen), 0);
        assert_forks_shown(&seen, 20 + beside, 2 + beside);
        assert_int_equal(store_unread(s), 20 + beside);
        assert_true(store_body_bytes(s) > bytes);
        /* Neither served nor counted, and no feed of its own. */
        assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), 0);
        seen.n = 0;
        assert_int_equal(store_post_run(s, &feed, 1, UINT64_MAX, see, &seen), 0);
        assert_int_equal(seen.n, 20);
        assert_int_equal(store_post_count(s, ana->pk, &count), 0);
        assert_int_equal(count, 20);
        reopen();
    }
    assert_int_equal(store_author_role(s, ana->pk, STORE_HIDDEN), 0);
    while (more)
        assert_int_equal(store_role_slice(s, 7, &more), 0);
    assert_int_equal(store_timeline_count(s, &lines), 0);
    assert_int_equal(lines, 0);
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    for (more = true; more;)
        assert_int_equal(store_role_slice(s, 7, &more), 0);
    assert_int_equal(store_timeline_count(s, &lines), 0);
    assert_int_equal(lines, 20 + beside);
    uint32_t removed = 0;
    struct now now = made_now(MADE_T0 + 1000000);
    assert_int_equal(store_collect_expired(s, now, 10, 1000, &removed, &more), 0);
    assert_true(removed == 20 + beside && store_body_bytes(s) == 0 && store_unread(s) == 0);
    struct made_post *other = made_chain_from(ana, &posts[9], 2, 0, "fork 0");
    put_run(other, 11, 12, NULL); /* and does not come back */
    assert_true(n_beside == 0 && store_body_bytes(s) == 0);
    free(other);
    free(posts);
}

/* A header that contradicts a post, without its body: there is only one to show, and it is marked. */
static void test_fork_without_a_body(void **state)
{
    (void)state;
    struct made_post *posts = made_chain(ana, 20), *other = made_chain_from(ana, &posts[11], 2, 0, "other");
    struct seen seen = { .n = 0 };
    struct feed feed;
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    put_run(posts, 1, 20, NULL);
    assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), 0);
    for (uint64_t seq = 11; seq <= 12; seq++) {
        const uint8_t *header = seq == 11 ? posts[12].header : other[0].header; /* only the seq counts */
        assert_int_equal(store_fork_put(s, &feed, seq, span(header, POST_HEADER_SIZE), span(NULL, 0)), 0);
    }
    for (int round = 0; round < 2; round++) {
        seen.n = 0;
        assert_int_equal(store_timeline(s, NULL, false, 100, see, &seen), 0);
        assert_forks_shown(&seen, 20, 2);
        assert_int_equal(store_commit(s), 0);
        reopen();
    }
    free(other);
    free(posts);
}

/* ---- the timeline */

static void test_timeline_order_and_pages(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 40), *b = made_chain(bob, 40), *mine = made_chain(me, 5);
    struct seen all = { .n = 0 };
    assert_int_equal(store_author_role(s, me->pk, STORE_OWN), 0);
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    assert_int_equal(store_author_role(s, bob->pk, STORE_FOLLOWED), 0);
    put_run(a, 21, 40, NULL); /* out of order: the page is by id all the same */
    put_run(b, 1, 40, NULL);
    put_run(mine, 1, 5, NULL);
    put_run(a, 1, 20, NULL);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_unread(s), 80); /* ours is read */
    assert_int_equal(store_timeline(s, NULL, false, 200, see, &all), 0);
    assert_int_equal(all.n, 85);
    for (size_t i = 1; i < all.n; i++) {
        assert_true(all.ids[i] <= all.ids[i - 1]);
        if (all.ids[i] == all.ids[i - 1]) /* both wrote in the same millisecond: ties by author */
            assert_true(all.authors[i] < all.authors[i - 1]);
    }
    /* In pages of every size, each post once. */
    for (uint32_t size = 1; size < 90; size += 7) {
        struct seen paged = { .n = 0 };
        struct store_cursor at = { .id = 0 };
        size_t before;
        do {
            before = paged.n;
            assert_int_equal(store_timeline(s, &at, false, size, see, &paged), 0);
            at.id = paged.h.id;
            at.has_author = true;
            memcpy(at.author, paged.h.author, KEY_SIZE);
        } while (paged.n > before);
        assert_int_equal(paged.n, all.n);
        assert_memory_equal(paged.ids, all.ids, all.n * sizeof all.ids[0]);
        assert_memory_equal(paged.authors, all.authors, all.n);
    }
    struct seen below = { .n = 0 };
    assert_int_equal(store_timeline(s, &(struct store_cursor){ .id = a[2].h.id }, false, 99, see, &below), 0);
    assert_int_equal(below.n, 6); /* #2 and #1 of three */
    uint64_t lines;
    assert_int_equal(store_timeline_count(s, &lines), 0);
    assert_int_equal(lines, 85);
    free(a);
    free(b);
    free(mine);
}

static int see_and_mark(void *ctx, const struct store_post *post) /* remembers what to mark: writing waits */
{
    struct made_post *keep = ctx;
    keep->h.id = post->key; /* the key and the header are what store_mark_read needs */
    memcpy(keep->header, post->header.data, POST_HEADER_SIZE);
    return 0;
}

static void test_unread(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 10), kept;
    struct seen seen = { .n = 0 };
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    put_run(a, 1, 10, NULL);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(
        store_timeline(s, &(struct store_cursor){ .id = a[5].h.id }, false, 1, see_and_mark, &kept), 0);
    struct store_post post = { .key = kept.h.id, .header = span(kept.header, POST_HEADER_SIZE) };
    assert_int_equal(store_mark_read(s, &post), 0);
    assert_int_equal(store_mark_read(s, &post), 0); /* again is fine */
    assert_int_equal(store_unread(s), 9);
    store_rollback(s);
    assert_int_equal(store_unread(s), 10);
    assert_int_equal(store_mark_read(s, &post), 0);
    assert_int_equal(store_commit(s), 0);
    reopen();
    assert_int_equal(store_unread(s), 9);
    assert_int_equal(store_timeline(s, NULL, true, 100, see, &seen), 0);
    assert_int_equal(seen.n, 9);
    for (size_t i = 0; i < seen.n; i++)
        assert_true(seen.unread[i] && seen.seqs[i] != 5);
    free(a);
}

static size_t page_size(bool unread_only)
{
    struct seen seen = { .n = 0 };
    assert_int_equal(store_timeline(s, NULL, unread_only, 250, see, &seen), 0);
    return seen.n;
}

static void slice_all(uint32_t max_posts)
{
    bool more = true;
    for (int i = 0; more; i++) {
        assert_true(i < 200);
        assert_int_equal(store_role_slice(s, max_posts, &more), 0);
    }
}

static void test_roles(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 40), *b = made_chain(bob, 40);
    struct made_post two = { .h.device = 2 };
    uint64_t lines;
    bool more;
    assert_int_equal(store_author_role_of(s, ana->pk), STORE_HIDDEN);
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    assert_int_equal(store_author_role_of(s, ana->pk), STORE_FOLLOWED);
    put_run(a, 1, 40, NULL);
    put_run(b, 1, 40, NULL); /* nobody we follow: held, in no timeline */
    made_sign(&two, ana, NULL, MADE_T0, &(struct post_body){ .text = span_str("other device") });
    put_run(&two, 1, 1, NULL);
    assert_int_equal(store_timeline_count(s, &lines), 0);
    assert_true(lines == 41 && store_unread(s) == 41);
    slice_all(7);
    assert_int_equal(page_size(false), 41);
    assert_int_equal(store_author_role(s, ana->pk, STORE_HIDDEN), 0); /* unfollow: gone at once */
    assert_int_equal(page_size(false), 0);
    assert_int_equal(store_author_role(s, bob->pk, STORE_FOLLOWED), 0);
    assert_int_equal(store_role_slice(s, 10, &more), 0);
    assert_true(more);
    assert_int_equal(store_commit(s), 0);
    reopen(); /* the moving goes on after a restart */
    slice_all(7);
    assert_int_equal(page_size(false), 40);
    assert_int_equal(page_size(true), 0); /* what comes back is no news */
    assert_int_equal(store_unread(s), 0);
    assert_int_equal(store_timeline_count(s, &lines), 0);
    assert_int_equal(lines, 40);
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    assert_int_equal(store_role_slice(s, 5, &more), 0);
    assert_int_equal(store_author_role(s, ana->pk, STORE_HIDDEN), 0); /* turned round half way */
    assert_int_equal(store_role_slice(s, 3, &more), 0);
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    slice_all(1);
    assert_int_equal(page_size(false), 81);
    free(a);
    free(b);
}

/* ---- failure */

/* As if the disk were full: no page more than there are. */
static void fill_disk(bool full)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%llu",
             full ? (unsigned long long)(store_bytes(s) / 4096) : 1000000000ULL);
    assert_int_equal(sqlite3_exec(s->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void test_disk_full(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 200);
    struct feed feed;
    static uint8_t big[3000];
    int64_t n = 0;
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    put_run(a, 1, 10, NULL);
    assert_int_equal(store_commit(s), 0);
    fill_disk(true);
    assert_int_equal(store_meta_put_int(s, "first of the turn", 1), 0);
    int err = 0;
    for (int i = 0; i < 100 && !err; i++)
        err = store_kad_put(s, span(&i, sizeof i), span(big, sizeof big));
    assert_int_equal(err, CAM_EIO);
    assert_int_equal(store_meta_put_int(s, "late", 1), CAM_EIO); /* nothing more this turn */
    assert_true(store_is_dirty(s));
    assert_int_equal(store_commit(s), CAM_EIO);
    assert_false(store_is_dirty(s));
    assert_int_equal(store_meta_get_int(s, "first of the turn", &n), CAM_ENOENT); /* all or nothing */
    assert_int_equal(page_size(false), 10);
    fill_disk(false);
    put_run(a, 11, 200, NULL); /* usable again, and its counters are right */
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(store_unread(s), 200);
    assert_int_equal(store_feed_load(s, ana->pk, 0, &feed), 0);
    assert_true(feed_complete_to(&feed) == 200);
    assert_int_equal(store_check(s, why), 0);
    free(a);
}

/* The disk refuses while committing: every write of the turn was accepted, and none may be kept. */
static void test_commit_fails(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 100);
    struct rlimit before, small = { 0, 0 };
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    put_run(a, 1, 10, NULL);
    assert_int_equal(store_commit(s), 0);
    put_run(a, 11, 100, NULL);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max; /* no file may grow, from here on */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int err = store_commit(s);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, CAM_EIO);
    assert_true(!store_is_dirty(s) && store_unread(s) == 10);
    assert_int_equal(page_size(false), 10);
    put_run(a, 11, 100, NULL); /* and the store goes on */
    assert_int_equal(store_commit(s), 0);
    reopen();
    assert_int_equal(page_size(false), 100);
    assert_int_equal(store_check(s, why), 0);
    free(a);
}

static void test_rollback_leaves_no_trace(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 30), *b = made_chain(bob, 30);
    struct feed feed;
    uint64_t bytes;
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    put_run(a, 1, 10, NULL);
    assert_int_equal(store_commit(s), 0);
    bytes = store_body_bytes(s);
    put_run(a, 11, 30, NULL);
    put_run(b, 1, 30, NULL);
    assert_int_equal(store_author_role(s, ana->pk, STORE_HIDDEN), 0);
    assert_true(store_body_bytes(s) > bytes);
    store_rollback(s);
    assert_true(store_body_bytes(s) == bytes && store_unread(s) == 10);
    assert_int_equal(store_feed_load(s, bob->pk, 0, &feed), CAM_ENOENT);
    assert_int_equal(store_author_role_of(s, ana->pk), STORE_FOLLOWED);
    put_run(b, 1, 30, NULL); /* the same numbers are given out anew */
    put_run(a, 11, 30, NULL);
    assert_int_equal(store_commit(s), 0);
    assert_int_equal(page_size(false), 30);
    free(a);
    free(b);
}

/* Killed between commits, over and over: what was committed is there, what was not is not. */
static void test_killed(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 60);
    store_close(s);
    s = NULL;
    for (uint64_t round = 0; round < 5; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (store_open(path, &s, why))
                _exit(1);
            store_author_role(s, ana->pk, STORE_FOLLOWED);
            put_run(a, round * 10 + 1, round * 10 + 5, NULL);
            if (store_commit(s))
                _exit(2);
            put_run(a, round * 10 + 6, round * 10 + 10, NULL); /* never committed */
            kill(getpid(), SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(store_open(path, &s, why), 0);
        assert_int_equal(page_size(false), (round + 1) * 10 - 5);
        put_run(a, round * 10 + 6, round * 10 + 10, NULL);
        assert_int_equal(store_commit(s), 0);
        store_close(s);
        s = NULL;
    }
    assert_int_equal(store_open(path, &s, why), 0);
    assert_int_equal(page_size(false), 50);
    assert_int_equal(store_check(s, why), 0);
    free(a);
}

/* ---- opening */

static void write_file(const char *bytes, size_t size, off_t at)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, at), size);
    close(fd);
}

static void assert_refused(int err, const char *word)
{
    struct store *other = NULL;
    why[0] = '\0';
    assert_int_equal(store_open(path, &other, why), err);
    assert_null(other);
    if (!strstr(why, path) || !strstr(why, word))
        fail_msg("the message names neither the file nor \"%s\": %s", word, why);
}

static void test_opening_what_is_none(void **state)
{
    (void)state;
    static char noise[20000];
    memset(noise, 'x', sizeof noise);
    store_close(s);
    s = NULL;
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    remove_files();
    write_file(noise, sizeof noise, 0);
    assert_refused(CAM_EFORMAT, "not a database");
    remove_files();
    write_file("SQLite format 3", 16, 0);
    write_file(noise, sizeof noise, 16);
    assert_refused(CAM_EFORMAT, "put the newest copy of it back");

    remove_files();
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE theirs (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_refused(CAM_EFORMAT, "another program");

    remove_files();
    assert_int_equal(store_open(path, &s, why), 0);
    assert_int_equal(sqlite3_exec(s->db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    store_close(s);
    s = NULL;
    assert_refused(CAM_EFORMAT, "newer version");

    remove_files();
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(CAM_EIO, "cannot open");
    rmdir(path);
    struct store *other;
    assert_int_equal(store_open("/nowhere/store.db", &other, why), CAM_EIO);
    assert_non_null(strstr(why, "/nowhere/store.db"));
}

static void test_opening_what_is_damaged(void **state)
{
    (void)state;
    struct made_post *a = made_chain(ana, 200);
    static char noise[3000];
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 3);
    put_run(a, 1, 200, NULL);
    assert_int_equal(store_commit(s), 0);
    store_close(s); /* copies the WAL into the file */
    s = NULL;
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    char *whole = malloc((size_t)st.st_size);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, whole, (size_t)st.st_size), st.st_size);
    close(fd);
    for (off_t at = 4096; at + 4096 <= st.st_size; at += 4096 * 3) { /* a page in ruins */
        remove_files();
        write_file(whole, (size_t)st.st_size, 0);
        rng_fill(&rng, noise, sizeof noise);
        write_file(noise, sizeof noise, at);
        assert_refused(CAM_EFORMAT, "damaged");
    }
    remove_files();
    write_file(whole, (size_t)st.st_size / 2, 0); /* cut off */
    assert_refused(CAM_EFORMAT, "damaged");
    remove_files();
    write_file(whole, (size_t)st.st_size, 0);
    assert_int_equal(store_open(path, &s, why), 0); /* and whole it opens */
    free(whole);
    free(a);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    struct store *other;
    assert_int_equal(store_open(path, &other, why), CAM_ESYS);
    assert_non_null(strstr(why, "in use"));
}

static void test_in_memory(void **state)
{
    (void)state;
    struct store *m;
    struct made_post *a = made_chain(ana, 5);
    assert_int_equal(store_open(":memory:", &m, why), 0);
    struct store *file = s;
    s = m;
    assert_int_equal(store_author_role(s, ana->pk, STORE_FOLLOWED), 0);
    put_run(a, 1, 3, NULL);
    assert_int_equal(store_commit(s), 0);
    put_run(a, 4, 5, NULL);
    store_rollback(s); /* the simulator's crash */
    assert_int_equal(page_size(false), 3);
    assert_true(store_bytes(s) > 0);
    s = file;
    store_close(m);
    free(a);
}

/* Whom one follows; and everybody with an address in turn, as on a ring. */
static int count_edge(void *ctx, const struct store_edge *e)
{
    assert_memory_equal(e->from, bob->pk, KEY_SIZE);
    ++*(int *)ctx;
    return 0;
}

static void test_edges(void **state)
{
    (void)state;
    uint8_t who[KEY_SIZE] = { 0 }, keys[3] = { 10, 20, 200 };
    assert_int_equal(store_edge_next(s, who, who), CAM_ENOENT);
    for (int i = 0; i < 3; i++) {
        struct store_edge e = { .seq = i, .has_dest = i != 1, .dest.addr = { .family = 4, .port = 7 } };
        e.from[0] = keys[i];
        memcpy(e.to, ana->pk, KEY_SIZE);
        assert_int_equal(store_edge_put(s, &e), 0);
    }
    int first[] = { 10, 200, 10 }; /* nobody knows where 20 is */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(store_edge_next(s, who, who), 0);
        assert_int_equal(who[0], first[i]);
    }
    int n = 0;
    for (int i = 0; i < 3; i++) {
        struct store_edge e = { .seq = 1 };
        memcpy(e.from, bob->pk, KEY_SIZE);
        e.to[0] = keys[i];
        assert_int_equal(store_edge_put(s, &e), 0);
    }
    assert_int_equal(store_edge_from(s, bob->pk, count_edge, &n), 0);
    assert_int_equal(n, 3);
}

#define FRESH(test) cmocka_unit_test_setup_teardown(test, open_fresh, close_it)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(test_meta),
        FRESH(test_kad),
        FRESH(test_feed_state_comes_back),
        FRESH(test_posts_come_back),
        FRESH(test_missing_bodies),
        FRESH(test_forks),
        FRESH(test_fork_posts),
        FRESH(test_fork_without_a_body),
        FRESH(test_timeline_order_and_pages),
        FRESH(test_unread),
        FRESH(test_roles),
        FRESH(test_disk_full),
        FRESH(test_commit_fails),
        FRESH(test_rollback_leaves_no_trace),
        FRESH(test_killed),
        FRESH(test_opening_what_is_none),
        FRESH(test_opening_what_is_damaged),
        FRESH(test_one_at_a_time),
        FRESH(test_in_memory),
        FRESH(test_edges),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
