/* What the garbage collector does to the store: bodies go, headers stay. The rule itself, when a body has
 * expired, is post_expires_ms. */
#include "timeline/io_sqlite_posts.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"
#include "core/snowflake.h"

#define FEEDS_A_SLICE 1000 /* feeds looked at in one call, each one or two rows when nothing has expired */

/* Which bodies of a feed go. */
struct rule {
    uint64_t now_ms;     /* expired by then ... */
    uint32_t lifespan_s; /* ... with our lifespan */
    bool all;            /* or every one, to save bytes */
    uint64_t bytes_max;  /* all: until others' bodies take no more than this */
};

/* A post's row, copied out: the statement is used again while it is worked on. */
struct victim {
    int64_t key;
    struct post_header h;
    size_t body_bytes;
    bool held;
};

static int victim_row(sqlite3_stmt *st, struct victim *ret)
{
    ret->key = sql_column_int(st, 0);
    ret->held = sql_column_int(st, 1) == POST_HELD;
    ret->body_bytes = (size_t)sql_column_int(st, 2);
    return post_header_decode(sql_column_span(st, 3), &ret->h);
}

static bool keeps_body(const struct post_header *h)
{
    const struct post_kind *kind = post_kind_find(h->kind);
    return kind && kind->keeps_body;
}

/* Walks a feed upwards from where the collector left it, removes what the rule says, and stops at the first
 * body that stays: ids rise with seq, so ours is the first that is not yet due. *budget counts down with the
 * rows. */
static int collect_feed(struct store *s, uint32_t key, const struct rule *rule, uint32_t *budget,
                        uint32_t *ret_removed)
{
    struct sql_feed feed, *cached;
    sqlite3_stmt *st;
    int err = sql_feed(s, key, &cached);
    if (err)
        return err;
    feed = *cached;
    uint64_t seq = feed.collected_seq;
    while (*budget > 0) {
        struct victim v;
        if (rule->all && s->posts->body_bytes <= rule->bytes_max)
            break;
        err = sql_prepare_cached(s,
                                 "SELECT key, state, length(body), header FROM post WHERE key BETWEEN ? AND ?"
                                 " ORDER BY key LIMIT 1",
                                 &st);
        if (err)
            return err;
        sql_bind_int(st, 1, sql_post_key(key, seq + 1));
        sql_bind_int(st, 2, sql_post_key(key, POST_SEQ_MAX));
        int got = sql_step(s, st);
        if (got == 1)
            err = victim_row(st, &v);
        sql_done(st);
        if (got < 0 || err)
            return got < 0 ? got : err;
        if (got == 0)
            break;
        if (v.held && !keeps_body(&v.h)) {
            if (!rule->all && post_expires_ms(&v.h, rule->lifespan_s) > rule->now_ms)
                break;
            err = sql_body_remove(s, &feed, v.key, &v.h, v.body_bytes);
            if (err)
                return err;
            ++*ret_removed;
        }
        seq = v.h.seq;
        --*budget;
    }
    if (seq == feed.collected_seq)
        return 0;
    err = sql_feed(s, key, &cached);
    return err ? err : sql_feed_collected(s, cached, seq);
}

/* The next feed above `after` that is not ours and whose author is hidden, or any. 0 at the end. */
static int next_feed(struct store *s, uint32_t after, bool hidden_only, uint32_t *ret_key)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT f.key FROM feed f CROSS JOIN author a ON a.key = f.author"
                                    " WHERE f.key > ? AND a.role <= ? ORDER BY f.key LIMIT 1", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, after);
    sql_bind_int(st, 2, hidden_only ? STORE_HIDDEN : STORE_FOLLOWED);
    int got = sql_step(s, st);
    *ret_key = got == 1 ? (uint32_t)sql_column_int(st, 0) : 0;
    sql_done(st);
    return got < 0 ? got : 0;
}
static_assert(STORE_HIDDEN < STORE_FOLLOWED && STORE_FOLLOWED < STORE_OWN, "next_feed compares roles");

/* One post of the table that a statement found, by its key alone. */
static int collect_post(struct store *s, int64_t key)
{
    struct sql_feed *cached;
    struct victim v;
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT key, state, length(body), header FROM post WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, key);
    int got = sql_step(s, st);
    if (got == 1)
        err = victim_row(st, &v);
    sql_done(st);
    if (got != 1 || err || !v.held)
        return got < 0 ? got : err ? err : CAM_EFORMAT; /* a line or a due row without its body */
    err = sql_feed(s, sql_key_feed(key), &cached);
    if (err)
        return err;
    struct sql_feed feed = *cached;
    return sql_body_remove(s, &feed, key, &v.h, v.body_bytes);
}

/* By the authors' lifespans. */
static int collect_due(struct store *s, struct now now, uint32_t max_posts, uint32_t *ret_removed)
{
    while (*ret_removed < max_posts) {
        sqlite3_stmt *st;
        int err = sql_prepare_cached(s, "SELECT post FROM due WHERE at_s <= ? ORDER BY at_s LIMIT 1", &st);
        if (err)
            return err;
        sql_bind_u64(st, 1, now.wall_ms / 1000);
        int got = sql_step(s, st);
        int64_t key = got == 1 ? sql_column_int(st, 0) : 0;
        sql_done(st);
        if (got != 1)
            return got;
        err = collect_post(s, key);
        if (err)
            return err;
        ++*ret_removed;
    }
    return 0;
}

int store_collect_expired(struct store *s, struct now now, uint32_t lifespan_s, uint32_t max_posts,
                          uint32_t *ret_removed, bool *ret_more)
{
    struct rule rule = { .now_ms = now.wall_ms, .lifespan_s = lifespan_s };
    uint32_t removed = 0;
    int err = collect_due(s, now, max_posts, &removed);
    if (err)
        return err;
    uint32_t budget = max_posts - removed;
    bool more = budget == 0;
    if (lifespan_s > 0 && !more) {
        uint32_t key = s->posts->collect_feed;
        more = true;
        for (int i = 0; i < FEEDS_A_SLICE && budget > 0; i++) {
            err = next_feed(s, key, false, &key);
            if (err)
                return err;
            if (key == 0) {
                more = false; /* all feeds were seen; the next call begins anew */
                break;
            }
            err = collect_feed(s, key, &rule, &budget, &removed);
            if (err)
                return err;
        }
        /* A feed that used up the budget is not finished. */
        s->posts->collect_feed = key && budget == 0 ? key - 1 : key;
    }
    *ret_removed = removed;
    *ret_more = more;
    return 0;
}

/* Every body of a kind of feeds, until it is few enough. */
static int collect_feeds(struct store *s, const struct rule *rule, bool hidden_only, uint32_t *budget,
                         uint32_t *ret_removed)
{
    uint32_t key = 0;
    while (*budget > 0 && s->posts->body_bytes > rule->bytes_max) {
        int err = next_feed(s, key, hidden_only, &key);
        if (err || key == 0)
            return err;
        err = collect_feed(s, key, rule, budget, ret_removed);
        if (err)
            return err;
    }
    return 0;
}

/* From the bottom of the timeline. */
static int collect_lines(struct store *s, uint64_t bytes_max, uint32_t *budget, uint32_t *ret_removed)
{
    while (*budget > 0 && s->posts->body_bytes > bytes_max) {
        sqlite3_stmt *st;
        int err = sql_prepare_cached(
            s,
            "SELECT l.id, l.post FROM line l CROSS JOIN feed f ON f.key = l.post >> 40"
            " CROSS JOIN author a ON a.key = f.author WHERE l.id >= ? AND a.role < ?"
            " ORDER BY l.id, l.tie, l.post LIMIT 1",
            &st);
        if (err)
            return err;
        sql_bind_u64(st, 1, s->posts->oldest_id);
        sql_bind_int(st, 2, STORE_OWN);
        int got = sql_step(s, st);
        int64_t key = 0;
        if (got == 1) {
            s->posts->oldest_id = sql_column_u64(st, 0);
            key = sql_column_int(st, 1);
        }
        sql_done(st);
        if (got != 1)
            return got;
        err = collect_post(s, key);
        if (err)
            return err;
        --*budget;
        ++*ret_removed;
    }
    return 0;
}

int store_collect_bytes(struct store *s, uint64_t bytes_max, uint32_t max_posts, uint32_t *ret_removed,
                        bool *ret_more)
{
    struct rule rule = { .all = true, .bytes_max = bytes_max };
    uint32_t removed = 0, budget = max_posts;
    int err = collect_feeds(s, &rule, true, &budget, &removed);
    if (!err)
        err = collect_lines(s, bytes_max, &budget, &removed);
    if (!err) /* what has no line: kinds not known here */
        err = collect_feeds(s, &rule, false, &budget, &removed);
    if (err)
        return err;
    *ret_removed = removed;
    *ret_more = budget == 0 && s->posts->body_bytes > bytes_max;
    return 0;
}
