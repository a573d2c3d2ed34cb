/* People in the store: the account, persons and their machines, pins, who follows whom, and our own records.
 */
#include <string.h>

#include "core/err.h"
#include "timeline/io_sqlite.h"

static const char create[] =
    "CREATE TABLE account (one INTEGER PRIMARY KEY CHECK (one = 1), pk BLOB NOT NULL, name TEXT NOT NULL,"
    " device INTEGER NOT NULL, instance INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " name_state INTEGER NOT NULL, taken_by BLOB NOT NULL);"
    "CREATE TABLE person (pk BLOB PRIMARY KEY, name TEXT NOT NULL, bio TEXT NOT NULL, profile_seq INTEGER "
    "NOT NULL,"
    " profile_ms INTEGER NOT NULL, posts INTEGER NOT NULL, followers INTEGER NOT NULL,"
    " following INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX person_name ON person (name);"
    "CREATE TABLE peer (pk BLOB NOT NULL, device INTEGER NOT NULL, seq INTEGER NOT NULL, proved INTEGER NOT "
    "NULL,"
    " addr BLOB NOT NULL, tkey BLOB NOT NULL, PRIMARY KEY (pk, device)) WITHOUT ROWID;"
    "CREATE TABLE pin (name TEXT PRIMARY KEY, pk BLOB NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX pin_pk ON pin (pk);"
    "CREATE TABLE follow (pk BLOB PRIMARY KEY, private INTEGER NOT NULL, since_ms INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE follower (pk BLOB PRIMARY KEY, seq INTEGER NOT NULL, expires_s INTEGER NOT NULL,"
    " since_ms INTEGER NOT NULL, start_seq INTEGER NOT NULL, acked_seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE edge (to_pk BLOB NOT NULL, from_pk BLOB NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL,"
    " addr BLOB, tkey BLOB, PRIMARY KEY (to_pk, from_pk)) WITHOUT ROWID;"
    "CREATE INDEX edge_fresh ON edge (to_pk, seq);"
    "CREATE INDEX edge_from ON edge (from_pk);"
    "CREATE TABLE own (kind INTEGER NOT NULL, page INTEGER NOT NULL, pk BLOB NOT NULL, seq INTEGER NOT NULL,"
    " sig BLOB NOT NULL, value BLOB NOT NULL, made_s INTEGER NOT NULL, put_s INTEGER NOT NULL,"
    " holders INTEGER NOT NULL, PRIMARY KEY (kind, page, pk)) WITHOUT ROWID;";

const struct sql_part sql_part_people = { .name = "people", .create = create };

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void column_text(sqlite3_stmt *st, int column, char *ret, size_t cap)
{
    struct span s = sql_column_span(st, column);
    size_t size = s.size < cap - 1 ? s.size : cap - 1;
    if (size)
        memcpy(ret, s.data, size);
    ret[size] = '\0';
}

static void bind_addr(sqlite3_stmt *st, int index, const struct addr *a, uint8_t buf[ADDR_COMPACT_MAX])
{
    sql_bind_span(st, index, span(buf, addr_compact(a, buf)));
}

/* An address and a transport key in two columns. */
static int column_dest(sqlite3_stmt *st, int column, struct link_dest *ret)
{
    struct span compact = sql_column_span(st, column);
    if (addr_from_compact(compact.data, compact.size, &ret->addr))
        return CAM_EFORMAT;
    return sql_column_fixed(st, column + 1, ret->key, LINK_KEY_SIZE);
}

/* Runs a statement whose only parameters are keys. */
static int write_keys(struct store *s, const char *text, const uint8_t *a, const uint8_t *b)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(a, KEY_SIZE));
    if (b)
        sql_bind_span(st, 2, span(b, KEY_SIZE));
    return sql_write(s, st);
}

/* ---- account ------------------------------------------------------------------------------------------- */

int store_account_get(struct store *s, struct store_account *ret)
{
    static const char text[] =
        "SELECT pk, name, device, instance, created_ms, name_state, taken_by FROM account";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    struct store_account a;
    int got = sql_step(s, st);
    err = got < 0 ? got : got == 0 ? CAM_ENOENT : 0;
    if (!err) {
        err = sql_column_fixed(st, 0, a.pk, KEY_SIZE);
        column_text(st, 1, a.name, sizeof a.name);
        a.device = (uint16_t)sql_column_int(st, 2);
        a.instance = sql_column_u64(st, 3);
        a.created_ms = sql_column_u64(st, 4);
        a.name_state = sql_column_int(st, 5);
        if (!err)
            err = sql_column_fixed(st, 6, a.taken_by, KEY_SIZE);
    }
    sql_done(st);
    if (!err)
        *ret = a;
    return err;
}

int store_account_put(struct store *s, const struct store_account *a)
{
    static const char text[] = "INSERT OR REPLACE INTO account VALUES (1, ?, ?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(a->pk, KEY_SIZE));
    sql_bind_text(st, 2, a->name);
    sql_bind_int(st, 3, a->device);
    sql_bind_u64(st, 4, a->instance);
    sql_bind_u64(st, 5, a->created_ms);
    sql_bind_int(st, 6, a->name_state);
    sql_bind_span(st, 7, span(a->taken_by, KEY_SIZE));
    return sql_write(s, st);
}

/* ---- persons ------------------------------------------------------------------------------------------- */

#define PERSON_COLUMNS "pk, name, bio, profile_seq, profile_ms, posts, followers, following"

static int person_of(sqlite3_stmt *st, struct store_person *ret)
{
    int err = sql_column_fixed(st, 0, ret->pk, KEY_SIZE);
    column_text(st, 1, ret->name, sizeof ret->name);
    column_text(st, 2, ret->bio, sizeof ret->bio);
    ret->profile_seq = sql_column_int(st, 3);
    ret->profile_ms = sql_column_u64(st, 4);
    ret->posts = sql_column_u64(st, 5);
    ret->followers = (uint32_t)sql_column_int(st, 6);
    ret->following = (uint32_t)sql_column_int(st, 7);
    return err;
}

int store_person_get(struct store *s, const uint8_t pk[KEY_SIZE], struct store_person *ret)
{
    static const char text[] = "SELECT " PERSON_COLUMNS " FROM person WHERE pk = ?";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(pk, KEY_SIZE));
    struct store_person p;
    int got = sql_step(s, st);
    err = got < 0 ? got : got == 0 ? CAM_ENOENT : person_of(st, &p);
    sql_done(st);
    if (!err)
        *ret = p;
    return err;
}

int store_person_put(struct store *s, const struct store_person *p)
{
    static const char text[] =
        "INSERT OR REPLACE INTO person (" PERSON_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(p->pk, KEY_SIZE));
    sql_bind_text(st, 2, p->name);
    sql_bind_text(st, 3, p->bio);
    sql_bind_int(st, 4, p->profile_seq);
    sql_bind_u64(st, 5, p->profile_ms);
    sql_bind_u64(st, 6, p->posts);
    sql_bind_int(st, 7, p->followers);
    sql_bind_int(st, 8, p->following);
    return sql_write(s, st);
}

int store_person_named(struct store *s, const char *name,
                       int (*each)(void *ctx, const struct store_person *p), void *ctx)
{
    static const char text[] = "SELECT " PERSON_COLUMNS " FROM person WHERE name = ?";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_text(st, 1, name);
    int got;
    while (!err && (got = sql_step(s, st)) != 0) {
        struct store_person p;
        err = got < 0 ? got : person_of(st, &p);
        if (!err)
            err = each(ctx, &p);
    }
    sql_done(st);
    return err;
}

/* ---- machines ------------------------------------------------------------------------------------------ */

int store_peer_put(struct store *s, const struct store_peer *p)
{
    static const char text[] = "INSERT OR REPLACE INTO peer (pk, device, seq, proved, addr, tkey)"
                               " VALUES (?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *st;
    uint8_t compact[ADDR_COMPACT_MAX];
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(p->pk, KEY_SIZE));
    sql_bind_int(st, 2, p->device);
    sql_bind_int(st, 3, p->seq);
    sql_bind_int(st, 4, p->proved);
    bind_addr(st, 5, &p->dest.addr, compact);
    sql_bind_span(st, 6, span(p->dest.key, LINK_KEY_SIZE));
    return sql_write(s, st);
}

int store_peer_each(struct store *s, const uint8_t pk[KEY_SIZE],
                    int (*each)(void *ctx, const struct store_peer *p), void *ctx)
{
    static const char text[] = "SELECT device, seq, proved, addr, tkey FROM peer WHERE pk = ? ORDER BY seq";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(pk, KEY_SIZE));
    int got;
    while (!err && (got = sql_step(s, st)) != 0) {
        struct store_peer p;
        memcpy(p.pk, pk, KEY_SIZE);
        p.device = (uint16_t)sql_column_int(st, 0);
        p.seq = sql_column_int(st, 1);
        p.proved = sql_column_int(st, 2) != 0;
        err = got < 0 ? got : column_dest(st, 3, &p.dest);
        if (!err)
            err = each(ctx, &p);
    }
    sql_done(st);
    return err;
}

/* ---- pins ---------------------------------------------------------------------------------------------- */

int store_pin_get(struct store *s, const char *name, uint8_t ret_pk[KEY_SIZE])
{
    static const char text[] = "SELECT pk FROM pin WHERE name = ?";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_text(st, 1, name);
    int got = sql_step(s, st);
    err = got < 0 ? got : got == 0 ? CAM_ENOENT : sql_column_fixed(st, 0, ret_pk, KEY_SIZE);
    sql_done(st);
    return err;
}

int store_pin_put(struct store *s, const char *name, const uint8_t pk[KEY_SIZE], uint64_t at_ms)
{
    static const char text[] = "INSERT OR IGNORE INTO pin VALUES (?, ?, ?)";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_text(st, 1, name);
    sql_bind_span(st, 2, span(pk, KEY_SIZE));
    sql_bind_u64(st, 3, at_ms);
    err = sql_write(s, st);
    return err ? err : sql_changes(s) ? 0 : CAM_EDUP;
}

int store_pin_of(struct store *s, const uint8_t pk[KEY_SIZE], char ret_name[NAME_SIZE])
{
    static const char text[] = "SELECT name FROM pin WHERE pk = ? ORDER BY at_ms LIMIT 1";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(pk, KEY_SIZE));
    int got = sql_step(s, st);
    err = got < 0 ? got : got == 0 ? CAM_ENOENT : 0;
    if (!err)
        column_text(st, 0, ret_name, NAME_SIZE);
    sql_done(st);
    return err;
}

/* ---- follows ------------------------------------------------------------------------------------------- */

int store_follow_put(struct store *s, const struct store_follow *f)
{
    static const char text[] = "INSERT OR REPLACE INTO follow VALUES (?, ?, ?)";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(f->pk, KEY_SIZE));
    sql_bind_int(st, 2, f->is_private);
    sql_bind_u64(st, 3, f->since_ms);
    return sql_write(s, st);
}

int store_follow_remove(struct store *s, const uint8_t pk[KEY_SIZE])
{
    static const char text[] = "DELETE FROM follow WHERE pk = ?";
    return write_keys(s, text, pk, NULL);
}

int store_follow_each(struct store *s, int (*each)(void *ctx, const struct store_follow *f), void *ctx)
{
    static const char text[] = "SELECT pk, private, since_ms FROM follow ORDER BY since_ms, pk";
    sqlite3_stmt *st;
    int got, err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    while (!err && (got = sql_step(s, st)) != 0) {
        struct store_follow f;
        err = got < 0 ? got : sql_column_fixed(st, 0, f.pk, KEY_SIZE);
        f.is_private = sql_column_int(st, 1) != 0;
        f.since_ms = sql_column_u64(st, 2);
        if (!err)
            err = each(ctx, &f);
    }
    sql_done(st);
    return err;
}

/* ---- followers ----------------------------------------------------------------------------------------- */

int store_follower_put(struct store *s, const struct store_follower *f)
{
    static const char text[] = "INSERT OR REPLACE INTO follower VALUES (?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(f->pk, KEY_SIZE));
    sql_bind_int(st, 2, f->seq);
    sql_bind_int(st, 3, f->expires_s);
    sql_bind_u64(st, 4, f->since_ms);
    sql_bind_u64(st, 5, f->start_seq);
    sql_bind_u64(st, 6, f->acked_seq);
    return sql_write(s, st);
}

int store_follower_remove(struct store *s, const uint8_t pk[KEY_SIZE])
{
    static const char text[] = "DELETE FROM follower WHERE pk = ?";
    return write_keys(s, text, pk, NULL);
}

int store_follower_each(struct store *s, int (*each)(void *ctx, const struct store_follower *f), void *ctx)
{
    static const char text[] = "SELECT pk, seq, expires_s, since_ms, start_seq, acked_seq FROM follower"
                               " ORDER BY since_ms, pk";
    sqlite3_stmt *st;
    int got, err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    while (!err && (got = sql_step(s, st)) != 0) {
        struct store_follower f;
        err = got < 0 ? got : sql_column_fixed(st, 0, f.pk, KEY_SIZE);
        f.seq = sql_column_int(st, 1);
        f.expires_s = sql_column_int(st, 2);
        f.since_ms = sql_column_u64(st, 3);
        f.start_seq = sql_column_u64(st, 4);
        f.acked_seq = sql_column_u64(st, 5);
        if (!err)
            err = each(ctx, &f);
    }
    sql_done(st);
    return err;
}

/* ---- edges --------------------------------------------------------------------------------------------- */

int store_edge_put(struct store *s, const struct store_edge *e)
{
    /* An entry with an address says more than a page that only names the key: it is not overwritten by one.
     */
    static const char text[] =
        "INSERT INTO edge (to_pk, from_pk, seq, name, addr, tkey) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        " ON CONFLICT (to_pk, from_pk) DO UPDATE SET seq = ?3, name = ?4, addr = ?5, tkey = ?6"
        " WHERE ?5 IS NOT NULL OR addr IS NULL";
    sqlite3_stmt *st;
    uint8_t compact[ADDR_COMPACT_MAX];
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(e->to, KEY_SIZE));
    sql_bind_span(st, 2, span(e->from, KEY_SIZE));
    sql_bind_int(st, 3, e->seq);
    sql_bind_text(st, 4, e->name);
    if (e->has_dest) {
        bind_addr(st, 5, &e->dest.addr, compact);
        sql_bind_span(st, 6, span(e->dest.key, LINK_KEY_SIZE));
    } else {
        sql_bind_null(st, 5);
        sql_bind_null(st, 6);
    }
    return sql_write(s, st);
}

int store_edge_remove(struct store *s, const uint8_t from[KEY_SIZE], const uint8_t to[KEY_SIZE])
{
    static const char text[] = "DELETE FROM edge WHERE from_pk = ? AND to_pk = ?";
    return write_keys(s, text, from, to);
}

int store_edge_trim(struct store *s, const uint8_t to[KEY_SIZE], uint32_t keep)
{
    static const char text[] = "DELETE FROM edge WHERE to_pk = ?1 AND seq <"
                               " (SELECT seq FROM edge WHERE to_pk = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(to, KEY_SIZE));
    sql_bind_int(st, 2, keep);
    return sql_write(s, st);
}

int store_edge_forget_from(struct store *s, const uint8_t from[KEY_SIZE])
{
    static const char text[] = "DELETE FROM edge WHERE from_pk = ? AND addr IS NULL";
    return write_keys(s, text, from, NULL);
}

/* to_pk, from_pk, seq, name, addr, tkey */
static int edge_of(sqlite3_stmt *st, struct store_edge *ret)
{
    int err = sql_column_fixed(st, 0, ret->to, KEY_SIZE);
    if (!err)
        err = sql_column_fixed(st, 1, ret->from, KEY_SIZE);
    ret->seq = sql_column_int(st, 2);
    column_text(st, 3, ret->name, sizeof ret->name);
    ret->has_dest = !sql_column_is_null(st, 4);
    if (!err && ret->has_dest)
        err = column_dest(st, 4, &ret->dest);
    return err;
}

static int edges(struct store *s, sqlite3_stmt *st, int (*each)(void *ctx, const struct store_edge *e),
                 void *ctx)
{
    int got, err = 0;
    while (!err && (got = sql_step(s, st)) != 0) {
        struct store_edge e;
        err = got < 0 ? got : edge_of(st, &e);
        if (!err)
            err = each(ctx, &e);
    }
    sql_done(st);
    return err;
}

int store_edge_to(struct store *s, const uint8_t to[KEY_SIZE], uint32_t limit,
                  int (*each)(void *ctx, const struct store_edge *e), void *ctx)
{
    static const char text[] = "SELECT to_pk, from_pk, seq, name, addr, tkey FROM edge"
                               " WHERE to_pk = ? AND addr IS NOT NULL ORDER BY seq DESC LIMIT ?";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(to, KEY_SIZE));
    sql_bind_int(st, 2, limit);
    return edges(s, st, each, ctx);
}

int store_edge_each(struct store *s, uint32_t limit, int (*each)(void *ctx, const struct store_edge *e),
                    void *ctx)
{
    static const char text[] = "SELECT to_pk, from_pk, seq, name, addr, tkey FROM edge LIMIT ?";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_int(st, 1, limit);
    return edges(s, st, each, ctx);
}

int store_edge_name(struct store *s, const uint8_t from[KEY_SIZE], char ret_name[NAME_SIZE])
{
    static const char text[] =
        "SELECT name FROM edge WHERE from_pk = ? AND name <> '' ORDER BY seq DESC LIMIT 1";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(from, KEY_SIZE));
    int got = sql_step(s, st);
    err = got < 0 ? got : got == 0 ? CAM_ENOENT : 0;
    if (!err)
        column_text(st, 0, ret_name, NAME_SIZE);
    sql_done(st);
    return err;
}

int store_edge_count(struct store *s, uint64_t *ret_count)
{
    static const char text[] = "SELECT count(*) FROM edge";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    int got = sql_step(s, st);
    if (got == 1)
        *ret_count = sql_column_u64(st, 0);
    sql_done(st);
    return got < 0 ? got : 0;
}

/* ---- own records --------------------------------------------------------------------------------------- */

int store_own_put(struct store *s, const struct store_own *o)
{
    static const char text[] = "INSERT OR REPLACE INTO own VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_int(st, 1, o->kind);
    sql_bind_int(st, 2, o->page);
    sql_bind_span(st, 3, span(o->pk, KEY_SIZE));
    sql_bind_int(st, 4, o->seq);
    sql_bind_span(st, 5, span(o->sig, SIG_SIZE));
    sql_bind_span(st, 6, o->value);
    sql_bind_int(st, 7, o->made_s);
    sql_bind_int(st, 8, o->put_s);
    sql_bind_int(st, 9, o->holders);
    return sql_write(s, st);
}

int store_own_remove(struct store *s, uint8_t kind, uint16_t page, const uint8_t pk[KEY_SIZE])
{
    static const char text[] = "DELETE FROM own WHERE kind = ? AND page = ? AND pk = ?";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_int(st, 1, kind);
    sql_bind_int(st, 2, page);
    sql_bind_span(st, 3, span(pk, KEY_SIZE));
    return sql_write(s, st);
}

int store_own_each(struct store *s, int (*each)(void *ctx, const struct store_own *o), void *ctx)
{
    static const char text[] = "SELECT kind, page, pk, seq, sig, value, made_s, put_s, holders FROM own";
    sqlite3_stmt *st;
    int got, err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    while (!err && (got = sql_step(s, st)) != 0) {
        struct store_own o;
        err = got < 0 ? got : sql_column_fixed(st, 2, o.pk, KEY_SIZE);
        if (!err)
            err = sql_column_fixed(st, 4, o.sig, SIG_SIZE);
        o.kind = (uint8_t)sql_column_int(st, 0);
        o.page = (uint16_t)sql_column_int(st, 1);
        o.seq = sql_column_int(st, 3);
        o.value = sql_column_span(st, 5);
        o.made_s = sql_column_int(st, 6);
        o.put_s = sql_column_int(st, 7);
        o.holders = (uint32_t)sql_column_int(st, 8);
        if (!err)
            err = each(ctx, &o);
    }
    sql_done(st);
    return err;
}
