/* What publish.c (signing and putting) sees of the table of own records (publish_table.c). Private to them.
 */
#ifndef TIMELINE_PUBLISH_TABLE_H
#define TIMELINE_PUBLISH_TABLE_H
#include "timeline/publish.h"

/* Walks every record there is: the fixed ones, the pages, the follow entries. Start from zero. */
struct publish_walk {
    size_t fixed, in_map;
};
struct own_record *publish_walk_next(struct publish *p, struct publish_walk *w);

struct own_record *publish_find(struct publish *p, enum publish_kind kind, uint16_t page, const uint8_t *pk);
/* Found or made; NULL: no room. */
struct own_record *publish_take(struct timeline *t, enum publish_kind kind, uint16_t page, const uint8_t *pk);
void publish_due(struct timeline *t, struct own_record *r, uint64_t at_ms);
void publish_save(struct timeline *t, const struct own_record *r);

/* The record as kad wants it; borrows from r. */
struct kad_item publish_item_of(const struct timeline *t, const struct own_record *r);
struct kad_entry publish_entry_of(const struct timeline *t, const struct own_record *r);

#endif
