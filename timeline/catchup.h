/* Catching up: what we lack of those we follow, and what others lack that we have.
 *
 * A chase is one followed author being caught up with. It asks the author and one other follower at the same
 * time, from remembered addresses, while the network is asked for fresh ones; whoever does not answer in
 * 250 ms is not waited for:
 *
 *              catchup_start               a BATCH or HAVE that leaves something missing
 *     (rest) --------------> ASKING ---------------------------------------------> PULLING --+
 *        ^                   |    ^    catchup_batch, catchup_heard                 |   ^    | BATCH: WANT the
 *        |     250 ms passed,|    |                                                 |   +----+ rest, same source
 *        |     link lost: ask|    |   250 ms without a page, link lost: the next    |
 *        |     two more      +----+<------------------------------------------------+
 *        |                                    candidate takes over
 *        |
 *        +--- nothing missing and the author answered; or nobody is left to ask, and then again later (finish)
 *
 * Beside that, every five minutes HAVE is compared with two others, so that a lost push is found out; of those
 * of whom neither spoke, a few are asked themselves (catchup_check).
 */
#ifndef TIMELINE_CATCHUP_H
#define TIMELINE_CATCHUP_H
#include "timeline/follow.h"
#include "timeline/message.h"

#define CHASES_MAX 64                /* authors being caught up with at a time; the others wait their turn */
#define CHASE_CANDIDATES_MAX 16      /* sources of one chase */
#define CHASE_RETRY_MS 2000          /* after a chase that left something missing ... */
#define CHASE_RETRY_MAX_MS 300000    /* ... doubling up to this */
#define CHASE_ANSWERS_ENOUGH 3       /* where the author does not answer and nothing is known to be missing */
#define CHASE_IDLE_MAX 3             /* a source that brings nothing so often in a row is of no use */
#define CHASE_ASK_WIDTH 2            /* asked at a time */
#define CHASE_BYTES (512 * 1024)     /* asked for in one WANT */
#define CATCHUP_COMPARE_MS 300000    /* between two comparisons with random others */
#define CATCHUP_COMPARE_PEERS 2
#define CATCHUP_COMPARE_WAIT_MS 3000 /* then authors of whom nobody spoke are asked themselves */
#define CATCHUP_AUTHORS_MAX 3        /* of those, in one comparison: fifty in an hour and a half */
#define CATCHUP_FORK_MS 10000        /* between two questions for the other post of a fork, of one feed */
#define CATCHUP_SERVE_BYTES_MAX (1024 * 1024) /* sent for one WANT */

struct timeline;
struct link;
struct kad_event;

enum candidate_state { CANDIDATE_FRESH, CANDIDATE_ASKED, CANDIDATE_EMPTY, CANDIDATE_FAILED };

struct candidate {
    struct link_dest dest;
    bool is_author;
    bool has_answered;
    enum candidate_state state;
    uint32_t bodies_missing; /* how many we lacked when it was asked for bodies; 0: it was not */
    int64_t credit;          /* bytes it may still send for the last WANT, counted as the server counts */
    uint64_t asked_ms;       /* mono */
};

struct chase {
    struct candidate candidates[CHASE_CANDIDATES_MAX];
    size_t n_candidates;
    int source;             /* PULLING: whom from; -1 while ASKING */
    uint32_t n_idle;        /* answers in a row that brought nothing new */
    uint64_t due_ms;        /* mono: look at it again */
    bool is_check;          /* nothing is known to be missing */
    enum { LOOKED_NOWHERE, LOOKED_AT_HEAD, LOOKED } looked; /* in the network */
    bool author_answered;
    uint32_t n_answered;
    uint32_t n_lookups;     /* kad requests that may bring more candidates */
    uint32_t number;        /* in tags */
};

struct catchup {
    uint32_t n_chases, next_number;
    uint64_t due_ms;         /* the smallest due_ms of chases and follows, or earlier */
    uint64_t compare_ms;     /* mono: the next comparison */
    uint64_t compare_end_ms; /* mono: when the running one is counted; NOW_NEVER */
    uint64_t compare_began_ms;
    uint8_t compare_keys[CATCHUP_COMPARE_PEERS][LINK_KEY_SIZE]; /* who was asked: only their answers count */
};

void catchup_init(struct timeline *t);
void catchup_start(struct timeline *t, struct follow *f);
/* Is anything missing? The author is asked first, then another follower; if neither answers the network,
 * for the author's head; and only if there is more, for whoever may have it. */
void catchup_check(struct timeline *t, struct follow *f);
void catchup_all(struct timeline *t); /* at login and start */
void catchup_end(struct timeline *t, struct follow *f); /* not followed any more */
/* Posts of theirs that are known to exist and not here, or here without their bodies; those that would have
 * been collected by now are not missed. */
uint64_t catchup_missing(struct timeline *t, struct follow *f);
/* The author was found at an address that was not known. */
void catchup_moved(struct timeline *t, struct follow *f, const struct link_dest *dest);
/* A page of this author's posts came and was taken up: err as intake had it. */
void catchup_batch(struct timeline *t, struct follow *f, struct link *from, const struct message_batch *m,
                   size_t bytes, int err, uint32_t n_new);
/* A post came whose predecessors are missing, or of which more is known to exist. */
void catchup_gap(struct timeline *t, struct follow *f, struct link *from);
/* Somebody spoke of this feed: `seq` is the newest it holds (0: nothing). */
void catchup_heard(struct timeline *t, struct follow *f, struct link *from, uint64_t seq);
/* A header that its sender calls the newest it holds. 0, or why it is not believed. */
int catchup_learn_header(struct timeline *t, struct follow *f, struct link *from, struct span header);
/* Somebody holds another post at this seq than we do, and did not send it: both are to be shown. */
void catchup_want_fork(struct timeline *t, struct follow *f, struct link *from, uint64_t seq);
int catchup_have(struct timeline *t, struct link *from, const struct message_have *m);
int catchup_want(struct timeline *t, struct link *from, const struct message_want *m);
/* The candidates of a chase (candidate.c). */
struct candidate *candidate_find(struct chase *c, const uint8_t key[LINK_KEY_SIZE]);
/* NULL: ourselves, or no room. One that is there already may have moved. */
struct candidate *candidate_add(struct timeline *t, struct chase *c, const struct link_dest *dest,
                                bool is_author);
void candidate_gather(struct timeline *t, struct follow *f); /* all that are remembered */

/* Did we ask this key for posts of that author? Then its pages cost it nothing. */
bool catchup_is_asked(const struct follow *f, const uint8_t key[LINK_KEY_SIZE]);
/* The author's head record in the network says how far its feed goes. */
void catchup_learn_head(struct timeline *t, struct follow *f, const struct record_head *head);
/* The network is there (again): chases that found nobody begin anew. */
void catchup_ready(struct timeline *t);
void catchup_link_lost(struct timeline *t, const struct link_dest *dest);
void catchup_event(struct timeline *t, const struct kad_event *e);
/* HAVE of our own head, to one follower: here I am again, and this is how far I am. */
void catchup_tell_head(struct timeline *t, const struct link_dest *to);
void compare_tick(struct timeline *t); /* compare.c */
void catchup_tick(struct timeline *t);
uint64_t catchup_deadline_ms(const struct timeline *t);

#endif
