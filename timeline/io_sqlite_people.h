/* What the files about people in the store share: columns that hold names, addresses and keys. */
#ifndef TIMELINE_IO_SQLITE_PEOPLE_H
#define TIMELINE_IO_SQLITE_PEOPLE_H
#include "timeline/io_sqlite.h"

/* A text column as a C string, cut to `cap` with the terminator. */
void sql_column_text(sqlite3_stmt *st, int column, char *ret, size_t cap);
/* An address in BEP 5's compact form; `buf` lives as long as the binding. */
void sql_bind_addr(sqlite3_stmt *st, int index, const struct addr *a, uint8_t buf[ADDR_COMPACT_MAX]);
/* An address and a transport key in two columns side by side. CAM_EFORMAT. */
int sql_column_dest(sqlite3_stmt *st, int column, struct link_dest *ret);
/* Runs a statement whose only parameters are one or two keys (b may be NULL). */
int sql_write_keys(struct store *s, const char *text, const uint8_t *a, const uint8_t *b);

#endif
