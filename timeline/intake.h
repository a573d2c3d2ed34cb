/* Others' posts coming in: checked, kept, acknowledged after the commit, shown to whoever reads along.
 *
 * Posts from the near future are held back here until their time; what does not fit is asked for again later.
 */
#ifndef TIMELINE_INTAKE_H
#define TIMELINE_INTAKE_H
#include "timeline/follow.h"
#include "timeline/message.h"

#define INTAKE_HELD_MAX 64            /* messages held back for posts from the near future */
#define INTAKE_HELD_BYTES_MAX (1024 * 1024)

struct timeline;
struct link;
struct buf;

struct held {
    struct buf *bytes;
    uint8_t from_key[LINK_KEY_SIZE];
    uint64_t until_ms; /* Unix */
};

struct intake {
    struct held held[INTAKE_HELD_MAX];
    size_t n_held, held_bytes;
    struct feed_item items[FEED_RUN_MAX]; /* of the run being looked at */
};

void intake_clear(struct timeline *t);
/* 0, or why it was refused. `bytes` is the whole message, for holding it back. */
int intake_post(struct timeline *t, struct link *from, const struct message_post *m, struct span bytes);
int intake_batch(struct timeline *t, struct link *from, const struct message_batch *m, struct span bytes);
/* Sends this turn's acknowledgements, feeds what was held back and is due. */
void intake_tick(struct timeline *t);
uint64_t intake_deadline_ms(const struct timeline *t);

#endif
