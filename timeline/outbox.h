/* Our posts on their way to our followers. What is owed to a follower is a number: everything in our feed
 * above what it has acknowledged. So the outbox costs one row a follower, whatever the number of posts, and
 * nothing is looked for post by post.
 *
 *                 a post, outbox_wake             outbox_tick: a run of posts leaves after the commit
 *     SETTLED --------------------------> OWED --------------------------------------------> WAITING
 *        ^                                 ^  ^                                                |  |
 *        |   outbox_ack: acked = head      |  +--- outbox_ack: acked < head --------------------+  |
 *        +---------------------------------|----------------------------------------------------+  |
 *                                          +--- no ACK in time, link lost: backoff, and the run ---+
 *                                               begins again above what was acknowledged
 *
 * (SETTLED: acked = head. OWED: sent < head and due. WAITING: sent > acked, due = when to try again.)
 * All followers are served side by side: a dead one has its own timer and delays nobody.
 */
#ifndef TIMELINE_OUTBOX_H
#define TIMELINE_OUTBOX_H
#include "timeline/follow.h"
#include "timeline/message.h"

#define OUTBOX_WINDOW_POSTS 4096     /* sent and not acknowledged, to one follower */
#define OUTBOX_TURN_POSTS 1024       /* to one follower in one turn */
#define OUTBOX_PROBE_POSTS 64        /* to one that did not answer the last time */
#define OUTBOX_TURN_FOLLOWERS 256    /* served in one turn; the rest in the next */
#define OUTBOX_RETRY_MAX_MS 900000   /* the longest wait for a dead follower; back, it says HELLO itself */
#define OUTBOX_WAITERS_MAX 64        /* commands waiting for their post to be received */
#define OUTBOX_LOOK_TRIES 2          /* after this many tries in vain: has it moved? */

struct timeline;
struct link;

struct waiter { /* `post --wait` */
    bool used;
    uint64_t client, id, seq, until_ms;
};

struct outbox {
    uint64_t due_ms;          /* the smallest due_ms of the followers, or earlier */
    bool posted;              /* in this turn */
    struct waiter waiters[OUTBOX_WAITERS_MAX];
};

void outbox_init(struct timeline *t);
/* New posts are there for everybody. */
void outbox_posted(struct timeline *t);
/* Something says that this follower is there, or elsewhere: try at once. */
void outbox_wake(struct timeline *t, struct follower *f);
/* 0, or CAM_EREFUSED: not asked. */
int outbox_ack(struct timeline *t, struct link *from, const struct message_ack *m);
void outbox_link_lost(struct timeline *t, const struct link_dest *dest);
void outbox_tick(struct timeline *t);
uint64_t outbox_deadline_ms(const struct timeline *t);

/* How far a post has come: of so many followers so many have it. */
void outbox_count(const struct timeline *t, uint64_t seq, uint32_t *ret_followers, uint32_t *ret_received);
uint64_t outbox_waiting_posts(const struct timeline *t); /* posts that somebody lacks */
/* Answers once everybody has it, or at the time-out. CAM_EFULL. */
int outbox_wait(struct timeline *t, uint64_t client, uint64_t id, uint64_t seq, uint32_t wait_ms);
void outbox_cancel(struct timeline *t, uint64_t client);
/* TL_OUTBOX: one row a post, newest first. */
void outbox_rows(struct timeline *t, uint64_t client, uint32_t limit);

#endif
