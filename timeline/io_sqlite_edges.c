/* Who follows whom, cached: for suggestions, and to know whom else to ask for posts. */
#include <string.h>

#include "core/err.h"
#include "timeline/io_sqlite_people.h"

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
        sql_bind_addr(st, 5, &e->dest.addr, compact);
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
    return sql_write_keys(s, text, from, to);
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
    return sql_write_keys(s, text, from, NULL);
}

/* to_pk, from_pk, seq, name, addr, tkey */
static int edge_of(sqlite3_stmt *st, struct store_edge *ret)
{
    int err = sql_column_fixed(st, 0, ret->to, KEY_SIZE);
    if (!err)
        err = sql_column_fixed(st, 1, ret->from, KEY_SIZE);
    ret->seq = sql_column_int(st, 2);
    sql_column_text(st, 3, ret->name, sizeof ret->name);
    ret->has_dest = !sql_column_is_null(st, 4);
    if (!err && ret->has_dest)
        err = sql_column_dest(st, 4, &ret->dest);
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

int store_edge_from(struct store *s, const uint8_t from[KEY_SIZE],
                    int (*each)(void *ctx, const struct store_edge *e), void *ctx)
{
    static const char text[] = "SELECT to_pk, from_pk, seq, name, addr, tkey FROM edge WHERE from_pk = ?";
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    sql_bind_span(st, 1, span(from, KEY_SIZE));
    return edges(s, st, each, ctx);
}

int store_edge_next(struct store *s, const uint8_t after[KEY_SIZE], uint8_t ret[KEY_SIZE])
{
    static const char text[] = "SELECT from_pk FROM edge WHERE from_pk > ? AND addr IS NOT NULL"
                               " ORDER BY from_pk LIMIT 1";
    static const uint8_t zero[KEY_SIZE];
    const uint8_t *const begin[] = { after, zero };
    int got = 0, err = 0;
    for (int i = 0; i < 2 && got == 0; i++) {
        sqlite3_stmt *st;
        err = sql_prepare_cached(s, text, &st);
        if (err)
            return err;
        sql_bind_span(st, 1, span(begin[i], KEY_SIZE));
        got = sql_step(s, st);
        if (got == 1)
            err = sql_column_fixed(st, 0, ret, KEY_SIZE);
        sql_done(st);
    }
    return got == 1 ? err : got == 0 ? CAM_ENOENT : got;
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
        sql_column_text(st, 0, ret_name, NAME_SIZE);
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
