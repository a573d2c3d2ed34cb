/* Forks: the proofs that an author signed two posts under one seq, and the posts that had no place in the
 * chain. */
#include "timeline/io_sqlite_posts.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"

/* Proofs */

/* The held header that a new one contradicts: of the same seq, or the one above, which named another hash. */
static int fork_other(struct store *s, const struct feed *feed, uint64_t seq, uint8_t ret[POST_HEADER_SIZE])
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(
        s, "SELECT header FROM post WHERE key BETWEEN ?1 AND ?1 + 1 ORDER BY key LIMIT 1", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, sql_post_key(feed->store_key, seq));
    int got = sql_step(s, st);
    if (got == 1)
        err = sql_column_fixed(st, 0, ret, POST_HEADER_SIZE);
    sql_done(st);
    return got == 1 ? err : got == 0 ? CAM_ENOENT : got;
}

int store_fork_put(struct store *s, const struct feed *feed, uint64_t seq, struct span header,
                   struct span other)
{
    assert(feed->store_key && header.size == POST_HEADER_SIZE);
    uint8_t held[POST_HEADER_SIZE];
    sqlite3_stmt *st;
    int err = 0;
    if (other.size == 0) {
        err = fork_other(s, feed, seq, held);
        other = span(held, sizeof held);
    }
    if (!err)
        err = sql_prepare_cached(s, "INSERT OR IGNORE INTO fork SELECT ?1, ?2, ?3, ?4"
                                    " WHERE (SELECT count(*) FROM fork WHERE feed = ?1) < ?5", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, feed->store_key);
    sql_bind_u64(st, 2, seq);
    sql_bind_span(st, 3, header);
    sql_bind_span(st, 4, other);
    sql_bind_int(st, 5, STORE_FORKS_MAX);
    err = sql_write(s, st);
    struct sql_feed *f;
    if (!err)
        err = sql_feed(s, feed->store_key, &f);
    if (!err)
        f->has_forks = true;
    return err;
}

int store_fork_each(struct store *s, const struct feed *feed,
                    int (*each)(void *ctx, uint64_t seq, struct span header, struct span other), void *ctx)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT seq, header, other FROM fork WHERE feed = ? ORDER BY seq", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, feed->store_key);
    int got;
    while ((got = sql_step(s, st)) == 1) {
        err = each(ctx, sql_column_u64(st, 0), sql_column_span(st, 1), sql_column_span(st, 2));
        if (err)
            break;
    }
    sql_done(st);
    return err ? err : got < 0 ? got : 0;
}

int store_fork_count(struct store *s, const struct feed *feed, uint64_t *ret_count)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT count(DISTINCT seq) FROM fork WHERE feed = ?", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, feed->store_key);
    int got = sql_step(s, st);
    if (got == 1)
        *ret_count = sql_column_u64(st, 0);
    sql_done(st);
    return got == 1 ? 0 : got;
}

/* Posts beside the one held */

/* The n-th branch of a feed. CAM_ENOENT. */
static int branch_find(struct store *s, const struct sql_feed *feed, uint32_t n, uint32_t *ret_key)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT key FROM feed WHERE author = ? AND device = ?", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, feed->author);
    sql_bind_u64(st, 2, feed->device | n << SQL_BRANCH_BIT);
    int got = sql_step(s, st);
    if (got == 1)
        *ret_key = (uint32_t)sql_column_int(st, 0);
    sql_done(st);
    return got == 1 ? 0 : got == 0 ? CAM_ENOENT : got;
}

static int branch_make(struct store *s, const struct feed *feed, uint32_t n, uint32_t *ret_key)
{
    struct feed branch;
    feed_init(&branch, feed->author, feed->device);
    return sql_feed_insert(s, &branch, feed->device | n << SQL_BRANCH_BIT, ret_key);
}

int store_fork_post_put(struct store *s, const struct feed *feed, const struct feed_item *item,
                        uint64_t received_ms, const uint8_t *via, uint64_t *ret_key)
{
    assert(feed->store_key && item->state == POST_HELD);
    *ret_key = 0;
    for (uint32_t n = 1; n <= STORE_FORK_POSTS_MAX; n++) {
        struct sql_feed *f;
        uint8_t held[HASH_SIZE];
        uint32_t branch;
        int err = sql_feed(s, feed->store_key, &f);
        if (!err)
            err = branch_find(s, f, n, &branch);
        if (err == CAM_ENOENT)
            err = branch_make(s, feed, n, &branch);
        if (err)
            return err;
        int64_t key = sql_post_key(branch, item->h.seq);
        err = sql_post_hash(s, key, held);
        if (err == CAM_ENOENT) { /* nothing there: its place */
            err = sql_post_put(s, branch, item, received_ms, via);
            if (!err)
                *ret_key = (uint64_t)key;
            return err;
        }
        if (err || memcmp(held, item->hash, HASH_SIZE) == 0)
            return err;
    }
    return 0;
}

int sql_is_forked(struct store *s, const struct sql_feed *feed, uint64_t seq, bool *ret)
{
    *ret = feed->device >> SQL_BRANCH_BIT != 0;
    if (*ret || !feed->has_forks)
        return 0;
    uint32_t branch; /* the first has a post wherever any has */
    uint8_t hash[HASH_SIZE];
    int err = branch_find(s, feed, 1, &branch);
    if (!err)
        err = sql_post_hash(s, sql_post_key(branch, seq), hash);
    if (err != CAM_ENOENT) {
        *ret = !err;
        return err;
    }
    sqlite3_stmt *st; /* or there is a proof and no more */
    err = sql_prepare_cached(s, "SELECT 1 FROM fork WHERE feed = ? AND seq = ?", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, feed->key);
    sql_bind_u64(st, 2, seq);
    int got = sql_step(s, st);
    sql_done(st);
    *ret = got == 1;
    return got < 0 ? got : 0;
}
