/* How the io_sqlite_*.c files share one database: prepared statements, binding, stepping, the turn's
 * transaction, and the schema that each of them contributes.
 *
 * Rules: a write goes through sql_write (it begins the turn's transaction and remembers a failure); a read
 * ends with sql_done, also when it stops early. One statement text is one cached statement: do not start a
 * text again while it is being stepped. Values are bound, never pasted into SQL.
 *
 *     static const char get[] = "SELECT name FROM person WHERE pk = ?";
 *     sqlite3_stmt *st;
 *     int err = sql_prepare_cached(s, get, &st);
 *     if (err) return err;
 *     sql_bind_span(st, 1, span(pk, KEY_SIZE));
 *     int got = sql_step(s, st);                      // 1 a row, 0 no more, or CAM_E...
 *     if (got == 1) name = sql_column_span(st, 0);    // borrowed until the next step
 *     sql_done(st);
 *
 *     err = sql_prepare_cached(s, "DELETE FROM person WHERE pk = ?", &st);
 *     sql_bind_span(st, 1, ...);
 *     return sql_write(s, st);                        // runs it to its end and resets it
 */
#ifndef TIMELINE_IO_SQLITE_H
#define TIMELINE_IO_SQLITE_H
#include <sqlite3.h>

#include "timeline/store.h"

#define SQL_APPLICATION_ID 0x43616d65 /* "Came": PRAGMA application_id of our files */
#define SQL_SCHEMA_VERSION 1          /* PRAGMA user_version; a step of migration for every one above 1 */

/* What one area contributes. All parts are listed at the top of io_sqlite.c; a new one is a row there. */
struct sql_part {
    const char *name;
    const char *create; /* CREATE TABLE / INDEX statements, run once in an empty database; may be "" */
    /* Reads what is kept in memory beside the database; after opening and after every rollback. May be NULL.
     */
    int (*reload)(struct store *s);
    /* Writes it back, at the end of every transaction that wrote. May be NULL. */
    int (*flush)(struct store *s);
    /* Frees it, at closing. May be NULL. */
    void (*clear)(struct store *s);
};
extern const struct sql_part sql_part_posts;  /* io_sqlite_feeds.c: authors, feeds, posts, the timeline */
extern const struct sql_part sql_part_people; /* io_sqlite_people.c */

#define SQL_STATEMENTS_MAX 256 /* statement texts; a power of two, at most half of it in use */

struct sql_posts; /* io_sqlite_posts.h */

struct store {
    sqlite3 *db;
    bool writing;            /* the turn's transaction is open */
    int failed;              /* a write failed: nothing more until the turn is rolled back */
    struct {
        const char *text;
        sqlite3_stmt *st;
    } statements[SQL_STATEMENTS_MAX];
    size_t n_statements;
    uint32_t page_bytes;
    struct sql_posts *posts; /* what the posts part keeps in memory */
};

/* The cached statement of this text, reset and with no bindings. `text` must be a constant that outlives the
 * store: the cache knows it by its address. CAM_EIO, CAM_EFORMAT. */
int sql_prepare_cached(struct store *s, const char *text, sqlite3_stmt **ret);

void sql_bind_int(sqlite3_stmt *st, int index, int64_t v);
void sql_bind_u64(sqlite3_stmt *st, int index, uint64_t v);        /* at most INT64_MAX (asserted) */
void sql_bind_span(sqlite3_stmt *st, int index,
                   struct span bytes); /* a blob; borrowed until sql_done / sql_write */
void sql_bind_text(sqlite3_stmt *st, int index, const char *text);  /* likewise */
void sql_bind_null(sqlite3_stmt *st, int index);

int sql_error(int rc); /* an SQLite result code as CAM_E... */
int sql_step(struct store *s, sqlite3_stmt *st);  /* a read: 1, 0 or CAM_E... */
void sql_done(sqlite3_stmt *st);                  /* ends a read */
int sql_write(struct store *s, sqlite3_stmt *st); /* a write; CAM_EDUP: a unique key is there already */
int64_t sql_last_rowid(struct store *s);
int64_t sql_changes(struct store *s);             /* rows changed by the last write */

int64_t sql_column_int(sqlite3_stmt *st, int column);
uint64_t sql_column_u64(sqlite3_stmt *st, int column);
struct span sql_column_span(sqlite3_stmt *st, int column);                 /* borrowed until the next step */
int sql_column_fixed(sqlite3_stmt *st, int column, void *ret,
                     size_t size); /* CAM_EFORMAT unless exactly that long */
bool sql_column_is_null(sqlite3_stmt *st, int column);

#endif
