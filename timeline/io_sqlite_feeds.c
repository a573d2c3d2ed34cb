/* Authors and their roles, feeds and their state. */
#include "timeline/io_sqlite_posts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

static const char create[] =
    "CREATE TABLE author (key INTEGER PRIMARY KEY, pk BLOB NOT NULL UNIQUE, role INTEGER NOT NULL,"
    " moving INTEGER);" /* being listed or unlisted: posts up to this key are done; else NULL */
    "CREATE INDEX author_moving ON author (key) WHERE moving IS NOT NULL;"
    "CREATE TABLE feed (key INTEGER PRIMARY KEY, author INTEGER NOT NULL, device INTEGER NOT NULL,"
    " collected_seq INTEGER NOT NULL, state BLOB NOT NULL, UNIQUE (author, device));"
    "CREATE INDEX feed_author ON feed (author);" /* in the order of their keys, as posts are */
    "CREATE TABLE post (key INTEGER PRIMARY KEY, state INTEGER NOT NULL, shown INTEGER NOT NULL,"
    " received_ms INTEGER NOT NULL, via INTEGER, header BLOB NOT NULL, body BLOB);"
    "CREATE INDEX post_missing ON post (key) WHERE state = 3;"
    "CREATE TABLE line (id INTEGER, tie INTEGER, post INTEGER, unread INTEGER NOT NULL,"
    " PRIMARY KEY (id, tie, post)) WITHOUT ROWID;"
    "CREATE TABLE unread (stretch INTEGER PRIMARY KEY, lines INTEGER NOT NULL);"
    "CREATE TABLE due (at_s INTEGER, post INTEGER, PRIMARY KEY (at_s, post)) WITHOUT ROWID;"
    "CREATE TABLE fork (feed INTEGER, seq INTEGER, header BLOB, other BLOB NOT NULL,"
    " PRIMARY KEY (feed, seq, header)) WITHOUT ROWID;";
static_assert(POST_MISSING == 3, "the index post_missing says so");

/* What is kept in memory */

static const char body_bytes_key[] = "others' body bytes";

static int reload(struct store *s)
{
    free(s->posts);
    s->posts = calloc(1, sizeof *s->posts); /* most of it is never touched, and then no memory */
    if (!s->posts)
        return CAM_ESYS;
    int64_t bytes = 0;
    int err = sql_unread_reload(s);
    if (!err)
        err = store_meta_get_int(s, body_bytes_key, &bytes);
    if (err && err != CAM_ENOENT)
        return err;
    s->posts->body_bytes = (uint64_t)bytes;
    return 0;
}

static int flush(struct store *s)
{
    int err = sql_unread_flush(s);
    if (err || !s->posts->body_bytes_changed)
        return err;
    s->posts->body_bytes_changed = false;
    return store_meta_put_int(s, body_bytes_key, (int64_t)s->posts->body_bytes);
}

static void clear(struct store *s) { free(s->posts); }

const struct sql_part sql_part_posts = {
    .name = "posts", .create = create, .reload = reload, .flush = flush, .clear = clear
};

int sql_feed(struct store *s, uint32_t key, struct sql_feed **ret)
{
    struct sql_feed *slot = &s->posts->feeds[key % SQL_FEEDS_CACHED];
    if (slot->key == key) {
        *ret = slot;
        return 0;
    }
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT f.author, a.role, a.pk, f.collected_seq, f.device,"
                                    " EXISTS (SELECT 1 FROM fork WHERE feed = f.key)"
                                    " FROM feed f JOIN author a ON a.key = f.author WHERE f.key = ?", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, key);
    int got = sql_step(s, st);
    if (got != 1)
        return got ? got : CAM_ENOENT;
    uint8_t pk[KEY_SIZE];
    struct sql_feed feed = { .key = key,
                             .author = (uint32_t)sql_column_int(st, 0),
                             .role = (enum store_role)sql_column_int(st, 1),
                             .collected_seq = sql_column_u64(st, 3),
                             .device = (uint32_t)sql_column_int(st, 4),
                             .has_forks = sql_column_int(st, 5) != 0 };
    err = sql_column_fixed(st, 2, pk, sizeof pk);
    sql_done(st);
    if (err)
        return err;
    feed.tie = sql_tie(pk);
    *slot = feed;
    *ret = slot;
    return 0;
}

void sql_feeds_forget(struct store *s) { memset(s->posts->feeds, 0, sizeof s->posts->feeds); }

int sql_feed_collected(struct store *s, struct sql_feed *feed, uint64_t seq)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "UPDATE feed SET collected_seq = ? WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, seq);
    sql_bind_u64(st, 2, feed->key);
    err = sql_write(s, st);
    if (!err)
        feed->collected_seq = seq;
    return err;
}

/* Authors */

static int author_find(struct store *s, const uint8_t pk[KEY_SIZE], uint32_t *ret_author,
                       enum store_role *ret_role)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT key, role FROM author WHERE pk = ?", &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(pk, KEY_SIZE));
    int got = sql_step(s, st);
    if (got == 1) {
        *ret_author = (uint32_t)sql_column_int(st, 0);
        *ret_role = (enum store_role)sql_column_int(st, 1);
    }
    sql_done(st);
    return got == 1 ? 0 : got == 0 ? CAM_ENOENT : got;
}

int sql_author(struct store *s, const uint8_t pk[KEY_SIZE], bool make, uint32_t *ret_author)
{
    enum store_role role;
    int err = author_find(s, pk, ret_author, &role);
    if (err != CAM_ENOENT || !make)
        return err;
    sqlite3_stmt *st;
    err = sql_prepare_cached(s, "INSERT INTO author (pk, role) VALUES (?, ?)", &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(pk, KEY_SIZE));
    sql_bind_int(st, 2, STORE_HIDDEN);
    err = sql_write(s, st);
    if (!err)
        *ret_author = (uint32_t)sql_last_rowid(s);
    return err;
}

enum store_role store_author_role_of(struct store *s, const uint8_t pk[KEY_SIZE])
{
    uint32_t author;
    enum store_role role;
    return author_find(s, pk, &author, &role) ? STORE_HIDDEN : role;
}

int store_author_role(struct store *s, const uint8_t pk[KEY_SIZE], enum store_role role)
{
    uint32_t author;
    int err = sql_author(s, pk, true, &author);
    if (err)
        return err;
    if (store_author_role_of(s, pk) == role)
        return 0;
    sqlite3_stmt *st;
    err = sql_prepare_cached(s, "UPDATE author SET role = ?, moving = 0 WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_int(st, 1, role);
    sql_bind_u64(st, 2, author);
    err = sql_write(s, st);
    sql_feeds_forget(s);
    return err;
}

/* One post of an author whose role has changed: into the timeline or out of it. */
static int move_line(struct store *s, const struct sql_feed *feed, int64_t key, struct span header)
{
    struct post_header h;
    if (post_header_decode(header, &h))
        return CAM_EFORMAT;
    if (feed->role == STORE_HIDDEN)
        return sql_line_remove(s, feed->tie, key, h.id);
    int err = sql_line_add(s, feed, key, h.id, false); /* what was seen before does not become news again */
    return err == CAM_EDUP ? 0 : err;
}

/* The next posts of a moving author above `from`, at most max_posts. *ret_done: no more. */
static int move_some(struct store *s, uint32_t author, int64_t from, uint32_t max_posts, int64_t *ret_to,
                     bool *ret_done)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(
        s,
        "SELECT p.key, p.header FROM feed f INDEXED BY feed_author CROSS JOIN post p"
        " ON p.key BETWEEN max(f.key << 40, ?2 + 1) AND (f.key << 40) + 1099511627775"
        " WHERE f.author = ?1 AND f.key >= ?2 >> 40 AND p.shown AND p.state = 0"
        " ORDER BY f.key, p.key LIMIT ?3",
        &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, author);
    sql_bind_int(st, 2, from);
    sql_bind_int(st, 3, max_posts);
    uint32_t moved = 0;
    int got;
    while ((got = sql_step(s, st)) == 1) {
        int64_t key = sql_column_int(st, 0);
        struct sql_feed *feed;
        err = sql_feed(s, sql_key_feed(key), &feed);
        if (!err)
            err = move_line(s, feed, key, sql_column_span(st, 1));
        if (err)
            break;
        *ret_to = key;
        moved++;
    }
    sql_done(st);
    *ret_done = moved < max_posts;
    return err ? err : got < 0 ? got : 0;
}

int store_role_slice(struct store *s, uint32_t max_posts, bool *ret_more)
{
    sqlite3_stmt *st;
    *ret_more = false;
    int err = sql_prepare_cached(s, "SELECT key, moving FROM author WHERE moving IS NOT NULL LIMIT 1", &st);
    if (err)
        return err;
    int got = sql_step(s, st);
    if (got != 1)
        return got;
    uint32_t author = (uint32_t)sql_column_int(st, 0);
    int64_t at = sql_column_int(st, 1);
    sql_done(st);

    bool done;
    err = move_some(s, author, at, max_posts, &at, &done);
    if (!err)
        err = sql_prepare_cached(s, "UPDATE author SET moving = ? WHERE key = ?", &st);
    if (err)
        return err;
    if (done)
        sql_bind_null(st, 1);
    else
        sql_bind_int(st, 1, at);
    sql_bind_u64(st, 2, author);
    err = sql_write(s, st);
    if (!err)
        *ret_more = true; /* this author's rest, or perhaps another's: the next call will know */
    return err;
}

/* The state of a feed as a blob; integers are big-endian.
 *
 *     offset size                              offset size
 *        0     1  version = 1                     45     4  bodies missing
 *        1     4  ranges                          49   188  newest known header (absent when known seq is 0)
 *        5     8  floor                            ..    96  each range: lo, hi, lo id, hi id (8 each),
 *       13     8  as of                                      lo's prev, hi's hash (32 each)
 *       21     8  forks
 *       29     8  forked seq
 *       37     8  known seq
 */
#define STATE_VERSION 1
#define STATE_MAX (49 + POST_HEADER_SIZE + 96 * FEED_RANGES_MAX)

static size_t state_encode(const struct feed *feed, uint8_t ret[STATE_MAX])
{
    struct bytes_out out = bytes_out(ret, STATE_MAX);
    bytes_put_u8(&out, STATE_VERSION);
    bytes_put_u32(&out, feed->n_ranges);
    bytes_put_u64(&out, feed->floor_seq);
    bytes_put_u64(&out, feed->as_of_ms);
    bytes_put_u64(&out, feed->forks);
    bytes_put_u64(&out, feed->forked_seq);
    bytes_put_u64(&out, feed->known_seq);
    bytes_put_u32(&out, feed->bodies_missing);
    if (feed->known_seq > 0)
        bytes_put(&out, feed->known_header, POST_HEADER_SIZE);
    for (uint32_t i = 0; i < feed->n_ranges; i++) {
        const struct feed_range *r = &feed->ranges[i];
        bytes_put_u64(&out, r->lo);
        bytes_put_u64(&out, r->hi);
        bytes_put_u64(&out, r->lo_id);
        bytes_put_u64(&out, r->hi_id);
        bytes_put(&out, r->lo_prev, HASH_SIZE);
        bytes_put(&out, r->hi_hash, HASH_SIZE);
    }
    assert(!out.err);
    return out.size;
}

/* Fills in all but author, device and store_key. CAM_EFORMAT: the database is damaged. */
static int state_decode(struct span state, struct feed *ret)
{
    struct bytes_in in = bytes_in(state.data, state.size);
    uint8_t version = bytes_get_u8(&in);
    ret->n_ranges = bytes_get_u32(&in);
    ret->floor_seq = bytes_get_u64(&in);
    ret->as_of_ms = bytes_get_u64(&in);
    ret->forks = bytes_get_u64(&in);
    ret->forked_seq = bytes_get_u64(&in);
    ret->known_seq = bytes_get_u64(&in);
    ret->bodies_missing = bytes_get_u32(&in);
    if (version != STATE_VERSION || ret->n_ranges > FEED_RANGES_MAX)
        return CAM_EFORMAT;
    if (ret->known_seq > 0) {
        struct post_header h;
        bytes_copy(&in, ret->known_header, POST_HEADER_SIZE);
        if (in.err || post_header_decode(span(ret->known_header, POST_HEADER_SIZE), &h) ||
            h.seq != ret->known_seq)
            return CAM_EFORMAT;
        ret->known_id = h.id;
        post_hash(ret->known_header, ret->known_hash);
    }
    for (uint32_t i = 0; i < ret->n_ranges; i++) {
        struct feed_range *r = &ret->ranges[i];
        r->lo = bytes_get_u64(&in);
        r->hi = bytes_get_u64(&in);
        r->lo_id = bytes_get_u64(&in);
        r->hi_id = bytes_get_u64(&in);
        bytes_copy(&in, r->lo_prev, HASH_SIZE);
        bytes_copy(&in, r->hi_hash, HASH_SIZE);
        uint64_t below = i ? r[-1].hi + 1 : ret->floor_seq;
        if (r->lo <= below || r->hi < r->lo || r->hi > ret->known_seq)
            return CAM_EFORMAT;
    }
    return bytes_end(&in);
}

/* A row of SELECT f.key, a.pk, f.device, f.state. */
static int feed_row(sqlite3_stmt *st, struct feed *ret)
{
    struct feed feed = { .store_key = (uint32_t)sql_column_int(st, 0),
                         .device = (uint16_t)sql_column_int(st, 2) };
    int err = sql_column_fixed(st, 1, feed.author, KEY_SIZE);
    if (!err)
        err = state_decode(sql_column_span(st, 3), &feed);
    if (!err)
        *ret = feed;
    return err;
}

int store_feed_load(struct store *s, const uint8_t author[KEY_SIZE], uint16_t device, struct feed *ret_feed)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(
        s,
        "SELECT f.key, a.pk, f.device, f.state FROM author a JOIN feed f ON f.author = a.key"
        " WHERE a.pk = ? AND f.device = ?",
        &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(author, KEY_SIZE));
    sql_bind_int(st, 2, device);
    int got = sql_step(s, st);
    if (got == 1)
        err = feed_row(st, ret_feed);
    sql_done(st);
    return got == 1 ? err : got == 0 ? CAM_ENOENT : got;
}

int sql_feed_insert(struct store *s, const struct feed *feed, uint32_t device, uint32_t *ret_key)
{
    uint8_t state[STATE_MAX];
    uint32_t author;
    sqlite3_stmt *st;
    int err = sql_author(s, feed->author, true, &author);
    if (!err)
        err = sql_prepare_cached(
            s, "INSERT INTO feed (author, device, collected_seq, state) VALUES (?, ?, 0, ?)", &st);
    if (err)
        return err;
    sql_bind_u64(st, 1, author);
    sql_bind_u64(st, 2, device);
    sql_bind_span(st, 3, span(state, state_encode(feed, state)));
    err = sql_write(s, st);
    if (err)
        return err;
    if (sql_last_rowid(s) > SQL_FEED_MAX)
        return CAM_EFULL;
    *ret_key = (uint32_t)sql_last_rowid(s);
    return 0;
}

int store_feed_save(struct store *s, struct feed *feed)
{
    if (feed->store_key == 0)
        return sql_feed_insert(s, feed, feed->device, &feed->store_key);
    uint8_t state[STATE_MAX];
    struct span bytes = span(state, state_encode(feed, state));
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "UPDATE feed SET state = ? WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_span(st, 1, bytes);
    sql_bind_u64(st, 2, feed->store_key);
    err = sql_write(s, st);
    return err ? err : sql_changes(s) == 1 ? 0 : CAM_ENOENT;
}

int store_feed_each(struct store *s, const uint8_t *author, int (*each)(void *ctx, const struct feed *feed),
                    void *ctx)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, author ? "SELECT f.key, a.pk, f.device, f.state FROM author a JOIN feed f"
                                             " ON f.author = a.key WHERE a.pk = ? AND " SQL_IS_DEVICE
                                             " ORDER BY f.device"
                                           : "SELECT f.key, a.pk, f.device, f.state FROM feed f JOIN author a"
                                             " ON a.key = f.author WHERE " SQL_IS_DEVICE
                                             " ORDER BY f.key", &st);
    if (err)
        return err;
    if (author)
        sql_bind_span(st, 1, span(author, KEY_SIZE));
    int got;
    while ((got = sql_step(s, st)) == 1) {
        struct feed feed;
        err = feed_row(st, &feed);
        if (!err)
            err = each(ctx, &feed);
        if (err)
            break;
    }
    sql_done(st);
    return err ? err : got < 0 ? got : 0;
}

static int count_posts(void *ctx, const struct feed *feed)
{
    for (uint32_t i = 0; i < feed->n_ranges; i++)
        *(uint64_t *)ctx += feed->ranges[i].hi - feed->ranges[i].lo + 1;
    return 0;
}

int store_post_count(struct store *s, const uint8_t author[KEY_SIZE], uint64_t *ret_count)
{
    uint64_t count = 0;
    int err = store_feed_each(s, author, count_posts, &count);
    if (!err)
        *ret_count = count;
    return err;
}
