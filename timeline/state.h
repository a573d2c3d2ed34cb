/* What the parts of a timeline share: one struct, in which each part has its own. Private to timeline/.
 *
 * Every verb of timeline.h sets `now` first, so no part is handed the time. Parts call each other freely but
 * only downward in time: what has to wait is a table entry with a deadline, never a blocked call.
 *
 *   account   who we are, our own feed, the name claim            account.h
 *   people    everybody we know something about                   person.h
 *   links     transport keys: whose, where, how much they may     links.h
 *   follows   whom we follow, who follows us                      follow.h
 *   ops       commands that take several steps                    operation.h
 *   publish   our own records in the network                      publish.h
 *   outbox    our posts on their way to our followers             outbox.h
 *   intake    others' posts coming in                             intake.h
 *   catchup   what we lack, and what others lack                  catchup.h
 *   reading   the timeline as it is shown, live too               reading.h
 *   suggest   follows of others, cached                           edges.h
 */
#ifndef TIMELINE_STATE_H
#define TIMELINE_STATE_H
#include "timeline/account.h"
#include "timeline/catchup.h"
#include "timeline/collector.h"
#include "timeline/edges.h"
#include "timeline/follow.h"
#include "timeline/intake.h"
#include "timeline/links.h"
#include "timeline/message.h"
#include "timeline/operation.h"
#include "timeline/outbox.h"
#include "timeline/person.h"
#include "timeline/publish.h"
#include "timeline/queue.h"
#include "timeline/reading.h"
#include "timeline/timeline.h"

/* Who asked kad: the upper half of a request's tag; the lower half is the asker's own. */
enum request_kind {
    REQUEST_OPERATION = 1, /* operation.c */
    REQUEST_PUBLISH,       /* publish.c */
    REQUEST_LOOK,          /* person.c: a connection record */
    REQUEST_CHASE,         /* catchup.c */
    REQUEST_MIRROR,        /* follow.c: our own follower set */
    REQUEST_EDGES,         /* edges.c */
    REQUEST_CLAIM,         /* account.c: who else claims our name */
};

#define DELAYED_POSTS_MAX 64 /* posts that wait for the clock's first sync */

struct delayed_post {
    uint64_t client;
    uint32_t wait_ms;
    struct buf *text;
};

struct timeline {
    struct timeline_config config;
    struct kad *kad;
    struct store *store;
    struct rng rng;
    struct now now;   /* of the verb that is running */
    struct now born;  /* of timeline_new */
    bool ready;       /* kad has a contact */

    struct account account;
    struct people people;
    struct links links;
    struct follows follows;
    struct operations ops;
    struct publish publish;
    struct outbox outbox;
    struct intake intake;
    struct catchup catchup;
    struct reading reading;
    struct edges edges;
    struct collector collector;
    uint64_t quiet_ms; /* mono: after a commit that failed nothing is begun in the network before ... */
    uint32_t quiet_wait_ms; /* ... nor for so long after another */
    bool roles_lag;   /* store_role_slice has more to do */
    size_t greeted;   /* of our followers, then of those we follow: so many were told that we are here */
    uint64_t greet_ms; /* mono: when the next are told; NOW_NEVER when all are */
    struct delayed_post delayed[DELAYED_POSTS_MAX];
    size_t n_delayed;

    struct out_queue out[2]; /* [1] promises something: only after the commit */
    struct answer_queue answers;
    uint64_t refused;  /* messages refused: forged, stale, strangers' */
    uint8_t scratch[LINK_MESSAGE_MAX]; /* for one message being written */
};

static inline uint64_t request_tag(enum request_kind kind, uint64_t low)
{
    return (uint64_t)kind << 48 | (low & UINT64_C(0xffffffffffff));
}

/* Is the wall clock to be believed? Where no server sets it, it is the only one there is. */
static inline bool clock_is_set(const struct timeline *t)
{
    return t->account.clock_synced || !t->config.synced_clock_expected;
}

/* Has a turn just not been written? What asks the network by itself waits: it would begin anew each time. */
static inline bool is_quiet(const struct timeline *t) { return t->now.mono_ms < t->quiet_ms; }

static inline uint64_t deadline_max(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline uint64_t deadline_min(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- answers (answer.c) ---- */
/* The last answer of a command: status and a sentence for a person. */
void answer_done(struct timeline *t, uint64_t client, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void answer_row(struct timeline *t, uint64_t client, const struct timeline_row *row);
void answer_user(struct timeline *t, struct timeline_row *row,
                 const uint8_t pk[KEY_SIZE]); /* fills row->user */

/* ---- commands (command.c) ---- */
void command_run(struct timeline *t, const struct timeline_command *c);
void command_delayed_posts(struct timeline *t); /* those that waited for the clock, once it is set */
void command_cancel(struct timeline *t, uint64_t client);

/* Tells everybody who has to know that we are here (again, or elsewhere). */
void timeline_greet(struct timeline *t);

#endif
