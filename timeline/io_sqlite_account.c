/* The user of this home in the store, and what it last signed for the network. */
#include <string.h>

#include "core/err.h"
#include "timeline/io_sqlite_people.h"

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
        sql_column_text(st, 1, a.name, sizeof a.name);
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
