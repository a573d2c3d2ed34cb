/* The database itself: opening and checking it, its schema, the turn's transaction, cached statements, and
 * the two plain tables (meta, kad). What is stored of posts and people is in io_sqlite_*.c. */
#include "timeline/io_sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"

static const struct sql_part part_base = {
    .name = "base",
    .create = "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
              "CREATE TABLE kad (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
};
static const struct sql_part *const parts[] = { &part_base, &sql_part_posts, &sql_part_people };
#define N_PARTS (sizeof parts / sizeof parts[0])

/* migrations[n] turns a database of version n + 1 into one of version n + 2. */
static const char *const migrations[] = { NULL };
static_assert(sizeof migrations / sizeof migrations[0] == SQL_SCHEMA_VERSION,
              "one step a version, and the NULL");

#define BUSY_WAIT_MS 500               /* a node that is just ending may hold the lock a moment longer */
#define QUICK_CHECK_BYTES (8 << 20)    /* up to this size every page is looked at when opening: some 10 ms */
#define CACHE_KIB "6000"
#define CHECKPOINT_PAGES "4000"        /* 16 MiB of WAL between copying it into the database */
#define WAL_KEPT_BYTES "33554432"

int sql_error(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK: case SQLITE_DONE: case SQLITE_ROW: return 0;
    case SQLITE_NOMEM: return CAM_ESYS;
    case SQLITE_CORRUPT: case SQLITE_NOTADB: case SQLITE_FORMAT: case SQLITE_ERROR: case SQLITE_SCHEMA:
        return CAM_EFORMAT; /* our SQL is constant: what does not compile meets another schema */
    case SQLITE_CONSTRAINT: return CAM_EDUP;
    default: return CAM_EIO;
    }
}

/* Statements */

int sql_prepare_cached(struct store *s, const char *text, sqlite3_stmt **ret)
{
    size_t i = ((uintptr_t)text >> 3) * 0x9E3779B1u % SQL_STATEMENTS_MAX;
    while (s->statements[i].text && s->statements[i].text != text)
        i = (i + 1) % SQL_STATEMENTS_MAX;
    if (!s->statements[i].text) {
        assert(s->n_statements < SQL_STATEMENTS_MAX / 2);
        sqlite3_stmt *st;
        int rc = sqlite3_prepare_v3(s->db, text, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);
        if (rc != SQLITE_OK)
            return sql_error(rc);
        s->statements[i].text = text;
        s->statements[i].st = st;
        s->n_statements++;
    }
    sqlite3_reset(s->statements[i].st);
    sqlite3_clear_bindings(s->statements[i].st);
    *ret = s->statements[i].st;
    return 0;
}

/* Binding fails only for a bad index or want of memory for a copy, and nothing is copied here. */
void sql_bind_int(sqlite3_stmt *st, int index, int64_t v)
{
    int rc = sqlite3_bind_int64(st, index, v);
    assert(rc == SQLITE_OK);
    (void)rc;
}

void sql_bind_u64(sqlite3_stmt *st, int index, uint64_t v)
{
    assert(v <= INT64_MAX);
    sql_bind_int(st, index, (int64_t)v);
}

void sql_bind_span(sqlite3_stmt *st, int index, struct span bytes)
{
    /* A null pointer would be NULL in the database, not an empty value. */
    const void *data = bytes.size ? (const void *)bytes.data : "";
    int rc = sqlite3_bind_blob64(st, index, data, bytes.size, SQLITE_STATIC);
    assert(rc == SQLITE_OK);
    (void)rc;
}

void sql_bind_text(sqlite3_stmt *st, int index, const char *text)
{
    int rc = sqlite3_bind_text(st, index, text, -1, SQLITE_STATIC);
    assert(rc == SQLITE_OK);
    (void)rc;
}

void sql_bind_null(sqlite3_stmt *st, int index)
{
    int rc = sqlite3_bind_null(st, index);
    assert(rc == SQLITE_OK);
    (void)rc;
}

int sql_step(struct store *s, sqlite3_stmt *st)
{
    (void)s;
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    sqlite3_reset(st);
    return sql_error(rc);
}

void sql_done(sqlite3_stmt *st) { sqlite3_reset(st); }

/* Runs a statement that gives no rows. */
static int run(struct store *s, const char *text)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return sql_error(rc);
}

int sql_write(struct store *s, sqlite3_stmt *st)
{
    int err = s->failed;
    if (!err && !s->writing) {
        err = run(s, "BEGIN IMMEDIATE");
        s->writing = !err;
    }
    if (!err) {
        int rc;
        do
            rc = sqlite3_step(st);
        while (rc == SQLITE_ROW);
        err = sql_error(rc);
    }
    sqlite3_reset(st);
    if (err && err != CAM_EDUP)
        s->failed = err; /* SQLite may have rolled back on its own: a further write would stand alone */
    return err;
}

int64_t sql_last_rowid(struct store *s) { return sqlite3_last_insert_rowid(s->db); }

int64_t sql_changes(struct store *s) { return sqlite3_changes64(s->db); }

int64_t sql_column_int(sqlite3_stmt *st, int column) { return sqlite3_column_int64(st, column); }

uint64_t sql_column_u64(sqlite3_stmt *st, int column) { return (uint64_t)sqlite3_column_int64(st, column); }

struct span sql_column_span(sqlite3_stmt *st, int column)
{
    const void *data = sqlite3_column_blob(st, column); /* before the size: it may convert the value */
    return span(data, (size_t)sqlite3_column_bytes(st, column));
}

int sql_column_fixed(sqlite3_stmt *st, int column, void *ret, size_t size)
{
    struct span value = sql_column_span(st, column);
    if (value.size != size)
        return CAM_EFORMAT;
    memcpy(ret, value.data, size);
    return 0;
}

bool sql_column_is_null(sqlite3_stmt *st, int column)
{
    return sqlite3_column_type(st, column) == SQLITE_NULL;
}

/* The turn's transaction */

static int reload(struct store *s)
{
    int err = 0;
    for (size_t i = 0; i < N_PARTS && !err; i++)
        if (parts[i]->reload)
            err = parts[i]->reload(s);
    return err;
}

void store_rollback(struct store *s)
{
    if (!sqlite3_get_autocommit(s->db))
        run(s, "ROLLBACK"); /* cannot fail in a way that matters: the transaction ends with the connection */
    bool was_dirty = s->writing || s->failed;
    s->writing = false;
    s->failed = 0;
    if (was_dirty)
        s->failed = reload(s); /* when even reading fails, no write may build on what memory holds */
}

int store_commit(struct store *s)
{
    int err = s->failed;
    if (!err && !s->writing)
        return 0;
    for (size_t i = 0; i < N_PARTS && !err; i++)
        if (parts[i]->flush)
            err = parts[i]->flush(s);
    if (!err)
        err = run(s, "COMMIT");
    if (err) {
        store_rollback(s);
        return err == CAM_EFORMAT ? CAM_EFORMAT : CAM_EIO;
    }
    s->writing = false;
    return 0;
}

bool store_is_dirty(const struct store *s) { return s->writing || s->failed; }

/* Opening */

/* The single integer or text that a PRAGMA gives. */
static int pragma_int(struct store *s, const char *text, int64_t *ret)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    int got = sql_step(s, st);
    if (got == 1)
        *ret = sql_column_int(st, 0);
    sql_done(st);
    return got == 1 ? 0 : got < 0 ? got : CAM_EFORMAT;
}

static int pragma_is(struct store *s, const char *text, const char *expected)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, text, &st);
    if (err)
        return err;
    int got = sql_step(s, st);
    if (got == 1 && !span_equal(sql_column_span(st, 0), span_str(expected)))
        got = CAM_EFORMAT;
    sql_done(st);
    return got == 1 ? 0 : got < 0 ? got : CAM_EFORMAT;
}

static int exec(struct store *s, const char *text)
{
    return sql_error(sqlite3_exec(s->db, text, NULL, NULL, NULL));
}

static int create_schema(struct store *s)
{
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id=%d;PRAGMA user_version=%d;", SQL_APPLICATION_ID,
             SQL_SCHEMA_VERSION);
    int err = exec(s, "BEGIN IMMEDIATE");
    for (size_t i = 0; i < N_PARTS && !err; i++)
        err = exec(s, parts[i]->create);
    if (!err)
        err = exec(s, mark);
    if (!err)
        err = exec(s, "COMMIT");
    if (err)
        exec(s, "ROLLBACK");
    return err;
}

/* A step and its version number are one transaction, so an interrupted migration is taken up where it
 * stopped. */
static int migrate(struct store *s, int64_t version)
{
    int err = 0;
    for (; version < SQL_SCHEMA_VERSION && !err; version++) {
        char mark[48];
        snprintf(mark, sizeof mark, "PRAGMA user_version=%d;COMMIT", (int)version + 1);
        err = exec(s, "BEGIN IMMEDIATE");
        if (!err)
            err = exec(s, migrations[version - 1]);
        if (!err)
            err = exec(s, mark);
        if (err)
            exec(s, "ROLLBACK");
    }
    return err;
}

/* Not "log in again without it": the key would sign other posts under the numbers of its first ones. */
#define RESTORE \
    "put the newest copy of it back; without one register anew in another --home, as this key would " \
    "number its posts from 1 again"

static const char *why(int err)
{
    switch (err) {
    case CAM_EFORMAT: return "is damaged; " RESTORE;
    case CAM_ESYS: return "cannot be opened: out of memory";
    default: return "cannot be read or written; check that the disk is not full and that the file is yours";
    }
}

/* Fills in *ret_why (a static text) when it has more to say than `why`. */
static int set_up(struct store *s, bool in_memory, uint64_t file_bytes, const char **ret_why)
{
    int64_t application_id, version, tables, page_bytes;
    int err = exec(s, "PRAGMA locking_mode=EXCLUSIVE;PRAGMA trusted_schema=OFF;PRAGMA cell_size_check=ON;"
                      "PRAGMA temp_store=MEMORY;PRAGMA cache_size=-" CACHE_KIB ";");
    if (!err)
        err = pragma_int(s, "SELECT count(*) FROM sqlite_master", &tables);
    if (!err)
        err = pragma_int(s, "PRAGMA application_id", &application_id);
    if (!err)
        err = pragma_int(s, "PRAGMA user_version", &version);
    if (err)
        return err;

    bool is_new = tables == 0 && application_id == 0 && version == 0;
    if (!is_new && (application_id != SQL_APPLICATION_ID || version < 1)) {
        *ret_why = "is a database of another program; move it away, or choose another --home";
        return CAM_EFORMAT;
    }
    if (version > SQL_SCHEMA_VERSION) {
        *ret_why = "was written by a newer version of camellia; install that version, or use another --home";
        return CAM_EFORMAT;
    }
    if (!is_new && file_bytes <= QUICK_CHECK_BYTES &&
        (err = pragma_is(s, "PRAGMA quick_check(1)", "ok")) != 0)
        return err;
    err = pragma_is(s, "PRAGMA journal_mode=WAL", in_memory ? "memory" : "wal");
    if (!err)
        err = exec(s, "PRAGMA synchronous=FULL;PRAGMA wal_autocheckpoint=" CHECKPOINT_PAGES
                      ";PRAGMA journal_size_limit=" WAL_KEPT_BYTES ";BEGIN EXCLUSIVE;COMMIT");
    if (!err)
        err = is_new ? create_schema(s) : migrate(s, version);
    if (!err)
        err = pragma_int(s, "PRAGMA page_size", &page_bytes);
    if (!err) {
        s->page_bytes = (uint32_t)page_bytes;
        err = reload(s);
    }
    return err;
}

/* SQLite would create it readable to all, and says less about why it cannot. */
static int touch(const char *path, uint64_t *ret_bytes, char ret_message[STORE_MESSAGE_SIZE])
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(ret_message, STORE_MESSAGE_SIZE,
                 "cannot open the store %s: %s; check that the file and its folder are yours and writable",
                 path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return CAM_EIO;
    }
    close(fd);
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

int store_open(const char *path, struct store **ret_store, char ret_message[STORE_MESSAGE_SIZE])
{
    bool in_memory = strcmp(path, ":memory:") == 0;
    uint64_t file_bytes = 0;
    const char *more = NULL;
    int err = in_memory ? 0 : touch(path, &file_bytes, ret_message);
    if (err)
        return err;

    struct store *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(ret_message, STORE_MESSAGE_SIZE, "the store %s %s", path, why(CAM_ESYS));
        return CAM_ESYS;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    err = sql_error(sqlite3_open_v2(path, &s->db, flags, NULL));
    if (!err) {
        sqlite3_extended_result_codes(s->db, 1);
        sqlite3_busy_timeout(s->db, BUSY_WAIT_MS);
        err = set_up(s, in_memory, file_bytes, &more);
    }
    if (err) {
        if (s->db && (sqlite3_errcode(s->db) & 0xff) == SQLITE_BUSY) {
            more = "is in use by another process; stop that node first (camellia logout)";
            err = CAM_ESYS;
        }
        if (err == CAM_EFORMAT && s->db && (sqlite3_errcode(s->db) & 0xff) == SQLITE_NOTADB)
            more = "is not a database; " RESTORE;
        snprintf(ret_message, STORE_MESSAGE_SIZE, "the store %s %s", path, more ? more : why(err));
        store_close(s);
        return err;
    }
    *ret_store = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < SQL_STATEMENTS_MAX; i++)
        sqlite3_finalize(s->statements[i].st);
    for (size_t i = 0; i < N_PARTS; i++)
        if (parts[i]->clear)
            parts[i]->clear(s);
    sqlite3_close(s->db); /* rolls back what is open */
    free(s);
}

uint64_t store_bytes(struct store *s)
{
    int64_t pages = 0;
    return pragma_int(s, "PRAGMA page_count", &pages) ? 0 : (uint64_t)pages * s->page_bytes;
}

int store_check(struct store *s, char ret_message[STORE_MESSAGE_SIZE])
{
    int err = pragma_is(s, "PRAGMA integrity_check(1)", "ok");
    if (err)
        snprintf(ret_message, STORE_MESSAGE_SIZE, "the store %s %s", sqlite3_db_filename(s->db, "main"),
                 why(err));
    return err;
}

/* meta */

static int meta_select(struct store *s, const char *key, sqlite3_stmt **ret_st)
{
    int err = sql_prepare_cached(s, "SELECT value FROM meta WHERE key = ?", ret_st);
    if (err)
        return err;
    sql_bind_text(*ret_st, 1, key);
    int got = sql_step(s, *ret_st);
    return got == 1 ? 0 : got == 0 ? CAM_ENOENT : got;
}

int store_meta_get(struct store *s, const char *key, void *ret, size_t cap, size_t *ret_size)
{
    sqlite3_stmt *st;
    int err = meta_select(s, key, &st);
    if (err)
        return err;
    struct span value = sql_column_span(st, 0);
    if (value.size > cap) {
        err = CAM_ENOSPC;
    } else {
        if (value.size > 0)
            memcpy(ret, value.data, value.size);
        *ret_size = value.size;
    }
    sql_done(st);
    return err;
}

int store_meta_get_int(struct store *s, const char *key, int64_t *ret)
{
    sqlite3_stmt *st;
    int err = meta_select(s, key, &st);
    if (err)
        return err;
    if (sqlite3_column_type(st, 0) == SQLITE_INTEGER)
        *ret = sql_column_int(st, 0);
    else
        err = CAM_EFORMAT;
    sql_done(st);
    return err;
}

static const char meta_put[] =
    "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value";

int store_meta_put(struct store *s, const char *key, struct span value)
{
    assert(strlen(key) <= STORE_META_KEY_MAX);
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, value.size ? meta_put : "DELETE FROM meta WHERE key = ?", &st);
    if (err)
        return err;
    sql_bind_text(st, 1, key);
    if (value.size)
        sql_bind_span(st, 2, value);
    return sql_write(s, st);
}

int store_meta_put_int(struct store *s, const char *key, int64_t value)
{
    assert(strlen(key) <= STORE_META_KEY_MAX);
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, meta_put, &st);
    if (err)
        return err;
    sql_bind_text(st, 1, key);
    sql_bind_int(st, 2, value);
    return sql_write(s, st);
}

/* kad */

int store_kad_put(struct store *s, struct span key, struct span value)
{
    assert(key.size <= STORE_KAD_KEY_MAX);
    sqlite3_stmt *st;
    int err = sql_prepare_cached(
        s,
        value.size ? "INSERT INTO kad VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
                   : "DELETE FROM kad WHERE key = ?",
        &st);
    if (err)
        return err;
    sql_bind_span(st, 1, key);
    if (value.size)
        sql_bind_span(st, 2, value);
    return sql_write(s, st);
}

int store_kad_each(struct store *s, int (*each)(void *ctx, struct span key, struct span value), void *ctx)
{
    sqlite3_stmt *st;
    int err = sql_prepare_cached(s, "SELECT key, value FROM kad", &st);
    if (err)
        return err;
    int got;
    while ((got = sql_step(s, st)) == 1) {
        err = each(ctx, sql_column_span(st, 0), sql_column_span(st, 1));
        if (err)
            break;
    }
    sql_done(st);
    return err ? err : got < 0 ? got : 0;
}
