/* Whom we follow and who follows us: two tables in memory, mirrored in the store.
 *
 * A follow is our own signed entry at SHA1(their key + "followers") in the network, told to them directly as
 * well (FOLLOW), so that they know at once. Their mirror of us, and ours of those who follow us, is made of
 * both: an entry counts once whichever way it came, the higher seq wins, a tombstone ends it.
 */
#ifndef TIMELINE_FOLLOW_H
#define TIMELINE_FOLLOW_H
#include "timeline/feed.h"
#include "timeline/message.h"
#include "timeline/person.h"

#define FOLLOWS_MAX 4096
#define FOLLOWERS_MAX 16384        /* mirrored and served directly; the rest find posts through them */
#define MIRROR_MS 3600000          /* between two readings of our own follower set */
#define MIRROR_RETRY_MS 10000

struct timeline;
struct chase;

struct follow {
    struct person *who;
    bool is_private;
    uint64_t since_ms;       /* Unix */
    struct feed feed;        /* device 0's; more devices are more feeds, of a later day */
    bool feed_dirty;         /* to be saved in this turn */
    uint64_t ack_seq; /* the highest that the author itself sent in this turn; 0: nothing to acknowledge */
    uint8_t ack_key[LINK_KEY_SIZE]; /* ... and the link it came on */
    uint64_t ack_from;       /* not 0: ack_seq is kept beside the chain, with all down to here ... */
    uint8_t ack_hash[HASH_SIZE];    /* ... and this is its hash */
    uint64_t fork_asked_ms;  /* mono: a post that contradicts one of ours was asked for */
    struct follow *next_touched; /* in follows.touched, while is_touched */
    bool is_touched;
    struct chase *chase;     /* catching up; NULL at rest */
    bool wants_chase;        /* as soon as there is room for one more */
    uint64_t chase_after_ms; /* mono: the next one by itself */
    uint32_t chase_wait_ms;
    uint64_t checked_ms;     /* mono: somebody compared this feed with us, or it was asked for */
    uint64_t head_claim;     /* the newest seq that the author's head record in the network names */
    bool is_new;             /* followed since we started: told twice, as one FOLLOW may be lost alone */
    uint64_t told_seq;       /* of our entry, as the followed was told it on a link since we started */
    size_t at;               /* its place in follows.list */
};

struct follower {
    struct person *who;
    int64_t seq;             /* of their entry */
    int64_t expires_s;
    uint64_t since_ms;       /* Unix */
    uint64_t start_seq, acked_seq; /* as store_follower */
    uint64_t sent_seq;       /* sent on this link so far; acked_seq <= sent_seq */
    uint64_t sent_ms;        /* mono: when the oldest of those was sent */
    uint64_t due_ms;         /* mono: look at it again; NOW_NEVER when nothing is owed */
    uint32_t tries;          /* without an answer */
    struct follower
        *next_touched; /* in follows.touched_followers, while is_touched: to be saved in this turn */
    bool is_touched;
    size_t at;               /* its place in follows.followers */
};

struct follows {
    struct follow **list;
    size_t n, cap;
    struct follower **followers;
    size_t n_followers, cap_followers;
    struct follow *touched;              /* this turn changed them */
    struct follower *touched_followers;
    uint64_t mirror_ms;      /* mono: the next reading of our follower set */
    bool mirror_running;
};

void follows_init(struct timeline *t);
void follows_clear(struct timeline *t);
int follows_load(struct timeline *t);

struct follow *follow_find(struct timeline *t, const uint8_t pk[KEY_SIZE]);
/* 0 also when we do already. CAM_ELOCKED, CAM_EFULL, CAM_EINVAL (oneself). */
int follow_add(struct timeline *t, const uint8_t pk[KEY_SIZE], bool is_private);
int follow_drop(struct timeline *t, const uint8_t pk[KEY_SIZE]); /* CAM_ENOENT, CAM_ELOCKED */
/* Tells the followed of our entry, where we know a way and it was not told yet. */
void follow_tell(struct timeline *t, struct follow *f);
void follow_touched(struct timeline *t, struct follow *f, bool feed_dirty); /* look at it at the turn's end */

/* Somebody's signed entry in our follower set, already verified. 0, CAM_ESTALE, CAM_EFORMAT, CAM_EFULL. */
int follower_learn(struct timeline *t, const struct kad_entry *entry);
/* The same from a link: checked first. */
int follower_message(struct timeline *t, const struct message_follow *m);
void follower_touched(struct timeline *t, struct follower *f);

void follows_mirror_event(struct timeline *t, const struct kad_event *e);
void follows_tick(struct timeline *t); /* also writes what this turn changed */
uint64_t follows_deadline_ms(const struct timeline *t);

#endif
