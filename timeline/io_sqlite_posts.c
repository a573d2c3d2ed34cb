/* Posts and the timeline. */
#include "timeline/io_sqlite_posts.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"
#include "core/snowflake.h"

/* Unread lines are counted by the stretch of time they lie in */

static void unread_add(struct store *s, uint64_t id, int32_t change)
{
    struct sql_posts *p = s->posts;
    uint32_t stretch = (uint32_t)(id >> SQL_STRETCH_BITS);
    p->unread += (uint32_t)change;
    p->unread_in[stretch] += (uint32_t)change;
    for (uint32_t i = 0; i < p->n_changed && i < SQL_STRETCHES_CHANGED_MAX; i++)
        if (p->changed[i] == stretch)
            return;
    if (p->n_changed < SQL_STRETCHES_CHANGED_MAX)
        p->changed[p->n_changed] = stretch;
    p->n_changed++; /* past the maximum: more than are remembered */
}

int sql_unread_reload(struct store *s)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT stretch, lines FROM unread", &st);
    if (err)
        return err;
    int got;
    while ((got = sql_step(s, st)) == 1) {
        uint64_t stretch = sql_column_u64(st, 0);
        if (stretch >= SQL_STRETCHES) {
            got = CAM_EFORMAT;
            break;
        }
        s->posts->unread_in[stretch] = (uint32_t)sql_column_int(st, 1);
        s->posts->unread += s->posts->unread_in[stretch];
    }
    sql_done(st);
    return got < 0 ? got : 0;
}

static int unread_write(struct store *s, uint32_t stretch)
{
    uint32_t lines = s->posts->unread_in[stretch];
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, lines ? "INSERT OR REPLACE INTO unread VALUES (?, ?)"
                                          : "DELETE FROM unread WHERE stretch = ?", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, stretch);
    if (lines)
        sql_bind_u64(st, 2, lines);
    return sql_write(s, st);
}

int sql_unread_flush(struct store *s)
{
    struct sql_posts *p = s->posts;
    bool all = p->n_changed > SQL_STRETCHES_CHANGED_MAX;
    uint32_t n = all ? SQL_STRETCHES : p->n_changed;
    for (uint32_t i = 0; i < n; i++) {
        int err = unread_write(s, all ? i : p->changed[i]);
        if (err)
            return err;
    }
    p->n_changed = 0;
    return 0;
}

/* Lines */

int sql_line_add(struct store *s, const struct sql_feed *feed, int64_t key, uint64_t id, bool unread)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "INSERT INTO line VALUES (?, ?, ?, ?)", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, id);
    sql_bind_u64(st, 2, feed->tie);
    sql_bind_int(st, 3, key);
    sql_bind_int(st, 4, unread);
    err = sql_write(s, st);
    if (err)
        return err;
    if (unread)
        unread_add(s, id, 1);
    if (id < s->posts->oldest_id)
        s->posts->oldest_id = id;
    return 0;
}

static int line_read(struct store *s, uint32_t tie, int64_t key, uint64_t id)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(
        s, "UPDATE line SET unread = 0 WHERE id = ? AND tie = ? AND post = ? AND unread = 1", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, id);
    sql_bind_u64(st, 2, tie);
    sql_bind_int(st, 3, key);
    err = sql_write(s, st);
    if (!err && sql_changes(s) > 0)
        unread_add(s, id, -1);
    return err;
}

int sql_line_remove(struct store *s, uint32_t tie, int64_t key, uint64_t id)
{
    sqlite3_stmt *st;
    int err = line_read(s, tie, key, id);
    if (!err)
        err = sql_prepare_cached(s, "DELETE FROM line WHERE id = ? AND tie = ? AND post = ?", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, id);
    sql_bind_u64(st, 2, tie);
    sql_bind_int(st, 3, key);
    return sql_write(s, st);
}

/* Bodies come and go */

/* When a body with a lifespan of its author's expires, rounded up: never early. */
static bool due_at(const struct post_header *h, uint64_t *ret_s)
{
    uint64_t at_ms = post_expires_ms(h, 0);
    *ret_s = (at_ms / 1000) + (at_ms % 1000 != 0);
    return at_ms != NOW_NEVER;
}

static int due_write(struct store *s, const char *text, const struct post_header *h, int64_t key)
{
    uint64_t at_s;
    sqlite3_stmt *st;
    if (!due_at(h, &at_s))
        return 0;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, at_s);
    sql_bind_int(st, 2, key);
    return sql_write(s, st);
}

static void count_bytes(struct store *s, int64_t change)
{
    s->posts->body_bytes += (uint64_t)change;
    s->posts->body_bytes_changed = true;
}

int sql_body_added(struct store *s, const struct sql_feed *feed, int64_t key, const struct post_header *h,
                   size_t body_bytes, bool shown)
{
    struct sql_feed f = *feed; /* the cache may turn over below */
    if (f.role != STORE_OWN) {
        count_bytes(s, (int64_t)body_bytes);
        int err = due_write(s, "INSERT INTO due VALUES (?, ?)", h, key);
        if (err)
            return err;
        if (h->seq <= f.collected_seq) { /* the collector is past it already: let it look again */
            struct sql_feed *cached;
            err = sql_feed(s, f.key, &cached);
            if (!err)
                err = sql_feed_collected(s, cached, h->seq - 1);
            if (err)
                return err;
        }
    }
    return shown && f.role != STORE_HIDDEN ? sql_line_add(s, &f, key, h->id, f.role == STORE_FOLLOWED) : 0;
}

int sql_body_remove(struct store *s, const struct sql_feed *feed, int64_t key, const struct post_header *h,
                    size_t body_bytes)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "UPDATE post SET state = 1, body = NULL WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, key);
    err = sql_write(s, st);
    if (!err)
        err = due_write(s, "DELETE FROM due WHERE at_s = ? AND post = ?", h, key);
    if (!err)
        err = sql_line_remove(s, feed->tie, key, h->id);
    if (!err)
        count_bytes(s, -(int64_t)body_bytes);
    return err;
}

/* Writing posts */

uint64_t store_post_key(const struct feed *feed, uint64_t seq)
{
    return (uint64_t)sql_post_key(feed->store_key, seq);
}

int sql_post_put(struct store *s, uint32_t feed, const struct feed_item *item, uint64_t received_ms,
                 const uint8_t *via)
{
    assert(feed && item->header.size == POST_HEADER_SIZE);
    int64_t key = sql_post_key(feed, item->h.seq);
    bool held = item->state == POST_HELD;
    struct sql_feed *f;
    uint32_t relay = 0;
    int err = sql_feed(s, feed, &f);
    if (!err && via)
        err = sql_author(s, via, true, &relay);
    if (err)
        return err;

    sqlite3_stmt *st;
    err = sql_prepare_cached(s, "INSERT INTO post VALUES (?, ?, ?, ?, ?, ?, ?)", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, key);
    sql_bind_int(st, 2, item->state);
    sql_bind_int(st, 3, held && item->is_shown);
    sql_bind_u64(st, 4, received_ms);
    if (via)
        sql_bind_u64(st, 5, relay);
    sql_bind_span(st, 6, item->header);
    if (held)
        sql_bind_span(st, 7, item->body);
    err = sql_write(s, st);
    return err || !held ? err : sql_body_added(s, f, key, &item->h, item->body.size, item->is_shown);
}

int store_post_put(struct store *s, const struct feed *feed, const struct feed_item *item,
                   uint64_t received_ms, const uint8_t *via)
{
    return sql_post_put(s, feed->store_key, item, received_ms, via);
}

int store_post_fill(struct store *s, struct feed *feed, const struct feed_item *item, bool *ret_filled)
{
    int64_t key = sql_post_key(feed->store_key, item->h.seq);
    bool held = item->state == POST_HELD;
    sqlite3_stmt *st;
    struct sql_feed *f;
    *ret_filled = false;
    int err = sql_prepare_cached(s, "SELECT state, header FROM post WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, key);
    int got = sql_step(s, st);
    /* Another header at this seq is a fork's: its body belongs to it, not to the one held. */
    bool lacking = got == 1 && sql_column_int(st, 0) == POST_MISSING &&
                   span_equal(sql_column_span(st, 1), item->header);
    sql_done(st);
    if (got != 1)
        return got ? got : CAM_ENOENT;
    if (!lacking || item->state == POST_MISSING)
        return 0;

    err = sql_feed(s, feed->store_key, &f);
    if (!err)
        err = sql_prepare_cached(s, "UPDATE post SET state = ?, shown = ?, body = ? WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, item->state);
    sql_bind_int(st, 2, held && item->is_shown);
    if (held)
        sql_bind_span(st, 3, item->body);
    sql_bind_int(st, 4, key);
    err = sql_write(s, st);
    if (!err && held)
        err = sql_body_added(s, f, key, &item->h, item->body.size, item->is_shown);
    if (err)
        return err;
    if (feed->bodies_missing > 0)
        feed->bodies_missing--;
    *ret_filled = true;
    return 0;
}

#define MISSING_EXPIRE_MAX 1000 /* in one call */

/* The oldest post whose body is missing and not needed any more. 1, 0: there is none, or an error. */
static int missing_expired(struct store *s, const struct feed *feed, uint32_t lifespan_s, struct now now,
                           int64_t *ret_key)
{
    sqlite3_stmt *st;
    struct post_header h;
    int err = sql_prepare_cached(s, "SELECT key, header FROM post INDEXED BY post_missing WHERE state = 3"
                                    " AND key BETWEEN ? AND ? ORDER BY key LIMIT 1", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, sql_post_key(feed->store_key, 0));
    sql_bind_int(st, 2, sql_post_key(feed->store_key, POST_SEQ_MAX));
    int got = sql_step(s, st);
    bool is_expired = got == 1 && post_header_decode(sql_column_span(st, 1), &h) == 0 &&
                      post_expires_ms(&h, lifespan_s) <= now.wall_ms;
    if (is_expired)
        *ret_key = sql_column_int(st, 0);
    sql_done(st);
    return got < 0 ? got : is_expired;
}

int store_post_missing_expire(struct store *s, struct feed *feed, uint32_t lifespan_s, struct now now)
{
    int got = 0;
    for (int i = 0; lifespan_s && feed->bodies_missing > 0 && i < MISSING_EXPIRE_MAX; i++) {
        int64_t key = 0;
        sqlite3_stmt *st;
        got = missing_expired(s, feed, lifespan_s, now, &key);
        if (got != 1)
            break;
        int err = sql_prepare_cached(s, "UPDATE post SET state = 1 WHERE key = ?", &st);
        if (err)
            return err;
        sql_bind_int(st, 1, key);
        err = sql_write(s, st);
        if (err)
            return err;
        feed->bodies_missing--;
    }
    return got < 0 ? got : 0;
}
static_assert(POST_EXPIRED == 1, "the statement says so");

int store_post_missing(struct store *s, const struct feed *feed, uint64_t *ret_from, uint64_t *ret_to)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT key FROM post INDEXED BY post_missing WHERE state = 3"
                                    " AND key BETWEEN ? AND ? ORDER BY key DESC", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, sql_post_key(feed->store_key, 0));
    sql_bind_int(st, 2, sql_post_key(feed->store_key, POST_SEQ_MAX));
    uint64_t from = 0, to = 0;
    int got;
    while ((got = sql_step(s, st)) == 1) {
        uint64_t seq = sql_key_seq(sql_column_int(st, 0));
        if (to == 0)
            to = seq;
        else if (seq + 1 != from)
            break;
        from = seq;
        if (to - from + 1 == FEED_RUN_MAX)
            break;
    }
    sql_done(st);
    if (got < 0)
        return got;
    if (to == 0)
        return CAM_ENOENT;
    *ret_from = from;
    *ret_to = to;
    return 0;
}

/* Reading posts */

#define POST_COLUMNS "p.key, p.state, p.shown, p.received_ms, v.pk, p.header, p.body"
#define POST_JOINS " LEFT JOIN author v ON v.key = p.via"

static int post_row(sqlite3_stmt *st, struct store_post *ret)
{
    *ret = (struct store_post){ .key = sql_column_u64(st, 0), .state = (enum post_state)sql_column_int(st, 1),
                                .shown = sql_column_int(st, 2) != 0, .received_ms = sql_column_u64(st, 3),
                                .header = sql_column_span(st, 5), .body = sql_column_span(st, 6) };
    ret->has_via = !sql_column_is_null(st, 4);
    if (ret->header.size != POST_HEADER_SIZE || (ret->has_via && sql_column_fixed(st, 4, ret->via, KEY_SIZE)))
        return CAM_EFORMAT;
    return 0;
}

int store_post_run(struct store *s, const struct feed *feed, uint64_t from, uint64_t to,
                   int (*each)(void *ctx, const struct store_post *post), void *ctx)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT " POST_COLUMNS " FROM post p" POST_JOINS
                                    " WHERE p.key BETWEEN ? AND ? ORDER BY p.key DESC", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, sql_post_key(feed->store_key, from));
    sql_bind_int(st, 2, sql_post_key(feed->store_key, to < POST_SEQ_MAX ? to : POST_SEQ_MAX));
    int got;
    while ((got = sql_step(s, st)) == 1) {
        struct store_post post;
        err = post_row(st, &post);
        if (!err)
            err = each(ctx, &post);
        if (err)
            break;
    }
    sql_done(st);
    return err ? err : got < 0 ? got : 0;
}

int sql_post_hash(struct store *s, int64_t key, uint8_t ret[HASH_SIZE])
{
    uint8_t header[POST_HEADER_SIZE];
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT header FROM post WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, key);
    int got = sql_step(s, st);
    if (got == 1)
        err = sql_column_fixed(st, 0, header, sizeof header);
    sql_done(st);
    if (got != 1)
        return got ? got : CAM_ENOENT;
    if (!err)
        post_hash(header, ret);
    return err;
}

int store_post_hash(void *store, const struct feed *feed, uint64_t seq, uint8_t ret[HASH_SIZE])
{
    return sql_post_hash(store, sql_post_key(feed->store_key, seq), ret);
}

/* Ids rise with seq, so the post of an id is found by halving; no index is spent on it. */
static int seq_of_id(struct store *s, const struct feed *feed, uint64_t id, uint64_t *ret_seq)
{
    uint64_t lo = 1, hi = feed_head_seq(feed);
    while (lo <= hi) {
        sqlite3_stmt *st;
        struct post_header h;
        uint64_t middle = lo + (hi - lo) / 2;
        int err = sql_prepare_cached(
            s, "SELECT header FROM post WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1", &st);
        if (err)
            return err;
        sql_bind_int(st, 1, sql_post_key(feed->store_key, lo));
        sql_bind_int(st, 2, sql_post_key(feed->store_key, middle));
        int got = sql_step(s, st);
        if (got == 1)
            err = post_header_decode(sql_column_span(st, 0), &h);
        sql_done(st);
        if (got < 0 || err)
            return got < 0 ? got : err;
        if (got == 0 || h.id < id) {
            lo = middle + 1;
        } else if (h.id > id) {
            hi = h.seq - 1;
        } else {
            *ret_seq = h.seq;
            return 0;
        }
    }
    return CAM_ENOENT;
}

int store_post_find(struct store *s, const uint8_t author[KEY_SIZE], uint64_t id,
                    int (*each)(void *ctx, const struct store_post *post), void *ctx)
{
    struct feed feed;
    uint64_t seq;
    int err = store_feed_load(s, author, (uint16_t)snowflake_device(id), &feed);
    if (!err)
        err = seq_of_id(s, &feed, id, &seq);
    return err ? err : store_post_run(s, &feed, seq, seq, each, ctx);
}

/* The timeline */

struct place { /* between two lines */
    uint64_t id;
    int64_t tie; /* -1: below all of that id */
};

/* Lines below `before` whose id is at least down_to. *given counts up to limit. */
static int stretch_read(struct store *s, struct place before, uint64_t down_to, bool unread_only,
                        uint32_t limit, uint32_t *given,
                        int (*each)(void *ctx, const struct store_post *post), void *ctx)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s,
                                 "SELECT " POST_COLUMNS
                                 ", l.unread FROM line l CROSS JOIN post p ON p.key = l.post" POST_JOINS
                                 " WHERE (l.id, l.tie) < (?, ?) AND l.id >= ? AND l.unread >= ?"
                                 " ORDER BY l.id DESC, l.tie DESC, l.post DESC",
                                 &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, before.id);
    sql_bind_int(st, 2, before.tie);
    sql_bind_u64(st, 3, down_to);
    sql_bind_int(st, 4, unread_only);
    int got = 0;
    while (*given < limit && (got = sql_step(s, st)) == 1) {
        struct store_post post;
        struct sql_feed *feed;
        err = post_row(st, &post);
        if (!err)
            err = sql_feed(s, sql_key_feed((int64_t)post.key), &feed);
        if (err)
            break;
        if (feed->role == STORE_HIDDEN)
            continue; /* just unfollowed; its lines are still being removed */
        post.unread = sql_column_int(st, 7) != 0;
        ++*given;
        struct sql_feed f = *feed; /* the cache may turn over below */
        err = sql_is_forked(s, &f, sql_key_seq((int64_t)post.key), &post.fork);
        if (!err)
            err = each(ctx, &post);
        if (err)
            break;
    }
    sql_done(st);
    return err ? err : got < 0 ? got : 0;
}

int store_timeline(struct store *s, const struct store_cursor *before, bool unread_only, uint32_t limit,
                   int (*each)(void *ctx, const struct store_post *post), void *ctx)
{
    bool top = !before || before->id == 0;
    struct place at = { .id = top || before->id > INT64_MAX ? INT64_MAX : before->id,
                        .tie = top || !before->has_author ? -1 : (int64_t)sql_tie(before->author) };
    uint32_t given = 0;
    if (!unread_only)
        return stretch_read(s, at, 0, false, limit, &given, each, ctx);

    /* Stretch by stretch, and only those with something unread in them. */
    for (int64_t stretch = (int64_t)(at.id >> SQL_STRETCH_BITS); stretch >= 0 && given < limit; stretch--) {
        uint64_t down_to = (uint64_t)stretch << SQL_STRETCH_BITS;
        if (s->posts->unread_in[stretch] > 0) {
            int err = stretch_read(s, at, down_to, true, limit, &given, each, ctx);
            if (err)
                return err;
        }
        at = (struct place){ .id = down_to, .tie = -1 };
    }
    return 0;
}

int store_timeline_count(struct store *s, uint64_t *ret_lines)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT count(*) FROM line", &st);
    if (err)
        return err;
    int got = sql_step(s, st);
    if (got == 1)
        *ret_lines = sql_column_u64(st, 0);
    sql_done(st);
    return got < 0 ? got : 0;
}

uint32_t store_unread(const struct store *s) { return s->posts->unread; }

int store_mark_read(struct store *s, const struct store_post *post)
{
    struct post_header h;
    if (post_header_decode(post->header, &h))
        return CAM_EFORMAT;
    return line_read(s, sql_tie(h.author), (int64_t)post->key, h.id);
}

uint64_t store_body_bytes(const struct store *s) { return s->posts->body_bytes; }
