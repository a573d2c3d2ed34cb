/* The timeline as it is read: a page from the store, gaps named, and rows that keep coming to whoever asked
 * for a live one.
 */
#ifndef TIMELINE_READING_H
#define TIMELINE_READING_H
#include "timeline/feed.h"
#include "timeline/timeline.h"

#define READING_LIVE_MAX 32       /* live readers */
#define READING_DEFAULT 20        /* rows, where the command names no limit */
#define READING_LIMIT_MAX 4096
#define READING_GAPS_MAX 64       /* gap rows of one answer */

struct reading {
    struct {
        bool used;
        uint64_t client;
    } live[READING_LIVE_MAX];
    size_t n_live;
};

void reading_command(struct timeline *t, const struct timeline_command *c);
void reading_cancel(struct timeline *t, uint64_t client);
/* A post was kept under this number of the store's: live readers see it. via: NULL when from its author. */
void reading_new_post(struct timeline *t, uint64_t key, const struct feed_item *item, const uint8_t *via);

#endif
