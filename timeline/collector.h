/* The garbage collector: removes the bodies of other people's posts past their lifespan, and when they take
 * more than a budget of bytes, the oldest. Headers stay, so chains still verify. Our own posts are kept.
 *
 * The lifespan of a post is the smaller of its author's (in the header) and ours ([MESSAGE_LIFESPAN]); with
 * ACTIVE = 0 ours is 0 here and nothing is ever collected, whatever the author wished or the budget says. The
 * same rule (post_expires_ms, in feed_check_run) is applied on the way in, so what was collected does not
 * come back.
 *
 *     struct collector c;
 *     collector_init(&c, config.lifespan_s, config.store_bytes_max);
 *     c.is_clock_unset = true;                                    // until then, where a server is to set it
 *     collector_start(&c, now);                                   // at login: a round at once
 *     in a tick: err = collector_run(&c, store, now);             // does nothing when nothing is due
 *     deadline = min(deadline, collector_deadline_ms(&c));
 */
#ifndef TIMELINE_COLLECTOR_H
#define TIMELINE_COLLECTOR_H
#include "core/now.h"
#include "timeline/post.h"
#include "timeline/store.h"

#define COLLECTOR_ROUND_MS (60 * 1000)
#define COLLECTOR_SHORT_MS 1000   /* where our lifespan is shorter than a round */
#define COLLECTOR_SLICE_POSTS 500 /* bodies in one turn: a few milliseconds */

struct collector {
    uint32_t lifespan_s; /* 0 = off */
    uint64_t bytes_max;  /* 0 = no budget */
    bool is_clock_unset; /* the wall clock is still to be set: no body is called too old by it */
    uint64_t due_ms;     /* mono: the next slice */
    uint64_t round_ms;   /* mono: when the current or next round begins */
    uint64_t removed;    /* bodies, since init */
};

/* Is this body past its lifespan at `now`? own: the post is ours. */
bool collector_is_expired(const struct post_header *h, bool own, uint32_t lifespan_s, struct now now);

void collector_init(struct collector *c, uint32_t lifespan_s, uint64_t bytes_max);
void collector_start(struct collector *c, struct now now); /* a round is due at once */
/* One slice when one is due. Writes to the store's transaction. CAM_EIO, CAM_EFORMAT. */
int collector_run(struct collector *c, struct store *store, struct now now);
uint64_t collector_deadline_ms(const struct collector *c); /* mono; NOW_NEVER when off */

#endif
