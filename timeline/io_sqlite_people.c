/* People in the store: the account, persons and their machines, pins, who follows whom, and our own records.
 */
#include <string.h>

#include "core/err.h"
#include "timeline/io_sqlite_people.h"

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

void sql_column_text(sqlite3_stmt *st, int column, char *ret, size_t cap)
{
    struct span s = sql_column_span(st, column);
    size_t size = s.size < cap - 1 ? s.size : cap - 1;
    if (size)
        memcpy(ret, s.data, size);
    ret[size] = '\0';
}

void sql_bind_addr(sqlite3_stmt *st, int index, const struct addr *a, uint8_t buf[ADDR_COMPACT_MAX])
{
    sql_bind_span(st, index, span(buf, addr_compact(a, buf)));
}

/* An address and a transport key in two columns. */
int sql_column_dest(sqlite3_stmt *st, int column, struct link_dest *ret)
{
    struct span compact = sql_column_span(st, column);
    if (addr_from_compact(compact.data, compact.size, &ret->addr))
        return CAM_EFORMAT;
    return sql_column_fixed(st, column + 1, ret->key, LINK_KEY_SIZE);
}

/* Runs a statement whose only parameters are keys. */
int sql_write_keys(struct store *s, const char *text, const uint8_t *a, const uint8_t *b)
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

/* ---- persons ------------------------------------------------------------------------------------------- */

#define PERSON_COLUMNS "pk, name, bio, profile_seq, profile_ms, posts, followers, following"

static int person_of(sqlite3_stmt *st, struct store_person *ret)
{
    int err = sql_column_fixed(st, 0, ret->pk, KEY_SIZE);
    sql_column_text(st, 1, ret->name, sizeof ret->name);
    sql_column_text(st, 2, ret->bio, sizeof ret->bio);
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

int store_person_forget(struct store *s, const uint8_t pk[KEY_SIZE])
{
    int err = sql_write_keys(s, "DELETE FROM peer WHERE pk = ?", pk, NULL);
    return err ? err
               : sql_write_keys(s, "DELETE FROM person WHERE pk = ?1 AND profile_seq = 0"
                                   " AND NOT EXISTS (SELECT 1 FROM pin WHERE pk = ?1)", pk, NULL);
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
    sql_bind_addr(st, 5, &p->dest.addr, compact);
    sql_bind_span(st, 6, span(p->dest.key, LINK_KEY_SIZE));
    return sql_write(s, st);
}

int store_peer_drop(struct store *s, const uint8_t pk[KEY_SIZE], uint16_t device)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "DELETE FROM peer WHERE pk = ? AND device = ?", &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(pk, KEY_SIZE));
    sql_bind_int(st, 2, device);
    return sql_write(s, st);
}

int store_peer_each(struct store *s, const uint8_t pk[KEY_SIZE],
                    int (*each)(void *ctx, const struct store_peer *p), void *ctx)
{
    static const char text[] =
        "SELECT device, seq, proved, addr, tkey FROM peer WHERE pk = ? ORDER BY seq DESC";
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
        err = got < 0 ? got : sql_column_dest(st, 3, &p.dest);
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
        sql_column_text(st, 0, ret_name, NAME_SIZE);
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
    return sql_write_keys(s, text, pk, NULL);
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
    return sql_write_keys(s, text, pk, NULL);
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
