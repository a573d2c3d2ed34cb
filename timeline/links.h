/* Links: what is known of each transport key, whose it is, where it answers, and how much it may make us do.
 *
 * Every link begins with HELLO, our signed connection record, so that the other side knows whom its words
 * come from and where answers go. What arrives is credited to the key that ZAP proved. A key whose HELLO has
 * not come yet can say nothing else.
 *
 *     links_send(t, person_dest(p), buf, true);       // puts HELLO before it where that is due
 *     struct link *l = links_heard(t, event->from_key);  // NULL: no room for one more stranger
 *     if (!links_spend(t, l, 1)) return CAM_EREFUSED;
 */
#ifndef TIMELINE_LINKS_H
#define TIMELINE_LINKS_H
#include "timeline/keymap.h"
#include "timeline/message.h"
#include "timeline/person.h"
#include "timeline/queue.h"

#define LINKS_MAX 21504          /* transport keys remembered: one for each follower, follow and stranger */
#define LINKS_STRANGERS_MAX 1024 /* of which nobody we follow or who follows us */
#define LINKS_QUIET_MS 50000 /* after this long without a send the link may have been closed: HELLO again */
#define LINKS_RTT_FIRST_MS 80    /* before anything was measured */

/* Budgets: a bucket of messages and one of bytes that we send back. A friend is followed by us or follows us.
 */
#define LINKS_STRANGER_BURST 40
#define LINKS_STRANGER_PER_S 10
#define LINKS_STRANGER_BYTES_BURST (1024 * 1024)
#define LINKS_STRANGER_BYTES_PER_S (256 * 1024)
#define LINKS_FRIEND_BURST 40000
#define LINKS_FRIEND_PER_S 20000
#define LINKS_FRIEND_BYTES_BURST (256 * 1024 * 1024)
#define LINKS_FRIEND_BYTES_PER_S (64 * 1024 * 1024)
#define LINKS_SERVED_BURST (32 * 1024 * 1024) /* bytes of posts given to all who ask, together ... */
#define LINKS_SERVED_PER_S \
    (64 * 1024 * 1024)            /* ... and in a second: who asks and does not read fills our memory */
#define LINKS_STRANGER_DIALS_BURST 100 /* strangers dialled to answer; a dead one holds a link for seconds */
#define LINKS_STRANGER_DIALS_PER_S 50
#define LINKS_FRIEND_DIALS_BURST 400   /* friends too: anybody may become one */
#define LINKS_FRIEND_DIALS_PER_S 400
#define LINKS_FINE 200            /* messages' worth that a friend loses for a forged or malformed one ... */
#define LINKS_STRANGER_FINE 5     /* ... and a stranger; checking it cost us more than taking it in */
#define LINKS_OWNER_MS 300000     /* so long a key is whose it was proved to be: names cost nothing */
#define LINKS_FOLLOWERS_BURST 500 /* new followers taken at once over all links ... */
#define LINKS_FOLLOWERS_PER_S 10  /* ... and in a second; more are found where the set is read */
#define LINKS_HELLO_BURST 200    /* signatures checked for all strangers together: HELLO, FOLLOW */
#define LINKS_HELLO_PER_S 100

struct bucket {
    double tokens;
    uint64_t at_ms; /* 0: not used yet, so full */
};

struct link {
    uint8_t key[LINK_KEY_SIZE];
    struct person *owner;   /* whose HELLO proved it; NULL: nobody's yet */
    uint64_t owned_ms;      /* mono: since when; meaningless without an owner */
    uint16_t device;
    struct addr addr;       /* where it was last sent to; family 0: never */
    int64_t hello_seq;      /* our record's seq that it was last told; 0: none since the link went down */
    bool is_up, is_dialling;
    bool is_friend;         /* the owner is followed or a follower; as counted in n_strangers */
    uint64_t sent_ms, heard_ms, used_ms; /* mono; 0 = never */
    uint32_t rtt_ms;
    struct bucket messages, bytes;
};

struct links {
    struct keymap by_key;
    size_t n_strangers;
    struct bucket hellos, served, followers;
    struct bucket dials[2]; /* of strangers, of friends */
};

void links_init(struct timeline *t);
void links_clear(struct timeline *t);

struct link *links_find(struct timeline *t, const uint8_t key[LINK_KEY_SIZE]);
struct link *links_take(struct timeline *t, const uint8_t key[LINK_KEY_SIZE]);
uint32_t link_timeout_ms(const struct link *l); /* max(250 ms, 3 RTT); l may be NULL */
void link_measured(struct link *l, uint64_t rtt_ms);
/* May this key make us do n messages' work? Takes it from its budget if so. */
bool links_spend(struct timeline *t, struct link *l, uint32_t n);
/* Has neither it nor everybody together used up the bytes that are sent for the asking? They are counted when
 * sent, so the last page may take a budget below zero: it waits the longer. False too when it would have to
 * be dialled and too many are: a crowd that cannot be reached waits its turn. */
bool links_may_serve(struct timeline *t, struct link *l);
void links_served(struct timeline *t, struct link *l, size_t bytes);

/* May this key make us check a signature? Strangers share one budget, as new keys cost nothing. */
bool links_trust(struct timeline *t, struct link *l);
/* May one more follower be taken up? All links share one budget: a table that fills keeps others out. */
bool links_may_follow(struct timeline *t);
/* What it sent was forged or malformed. */
void links_fine(struct timeline *t, struct link *l);

/* Queue a message, HELLO first where due. Drops it silently when the queue is full: repair is above. */
void links_send(struct timeline *t, const struct link_dest *to, struct buf *b, bool promises);
/* Encodes and queues; CAM_ENOSPC when it does not fit in one message. */
int links_send_message(struct timeline *t, const struct link_dest *to, const struct message *m,
                       bool promises);
/* HELLO by itself: here I am. */
void links_greet(struct timeline *t, const struct link_dest *to);

/* What was sent to this key was not answered: perhaps it is HELLO that got lost, with which all that came
 * after it was refused. HELLO is said again before the next message, and FOLLOW at their next HELLO. */
void links_doubt(struct timeline *t, const uint8_t key[LINK_KEY_SIZE]);

/* The other side's HELLO. 0 or why it is refused. */
int links_hello(struct timeline *t, struct link *l, const struct message_hello *hello);
/* UP, DOWN, UNSENT. */
void links_event(struct timeline *t, const struct link_event *e);
/* Where to answer a key that said HELLO; NULL while it has not. */
const struct link_dest *link_answer_dest(const struct link *l);
/* This key was proved to be that person's machine. */
void links_own(struct timeline *t, const uint8_t key[LINK_KEY_SIZE], struct person *p, uint16_t device);
/* That person's machine has another key now: whoever holds the old one is a stranger. */
void links_leave(struct timeline *t, const uint8_t key[LINK_KEY_SIZE], const struct person *p);
/* Forgets whose keys these are, before a person goes. */
void links_disown(struct timeline *t, struct person *p);
/* A person became a friend or stopped being one: keeps the strangers counted. */
void links_settle(struct timeline *t, struct person *p);

void links_tick(struct timeline *t); /* keeps room for newcomers */

#endif
