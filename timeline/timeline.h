/* People, posts and their delivery, as a pure state machine above kad: the same five verbs, a store, and
 * commands from the local user. It reaches the network by calling down into kad (results come back through
 * timeline_kad_event) and by link messages that the loop carries.
 *
 * Invariants: nothing that promises "stored" leaves before the store's commit; a command is answered by
 * zero or more rows and exactly one last answer; what a peer sends is checked before anything is kept.
 *
 *     struct timeline *t = timeline_new(&config, kad, store, &rng, now);
 *     loop: timeline_recv(t, now, &link_event)      timeline_command(t, now, &command)
 *           timeline_tick(t, now)                   timeline_kad_event(t, now, &kad_event)
 *           while (timeline_next_out(t, false, &s))    send now: it promises nothing
 *           store_commit(store)
 *           timeline_committed(t, now, err)
 *           while (timeline_next_out(t, true, &s))     send what promises
 *           while (timeline_next_answer(t, &a))        answer the local user
 */
#ifndef TIMELINE_TIMELINE_H
#define TIMELINE_TIMELINE_H
#include "core/addr.h"
#include "core/identity.h"
#include "core/now.h"
#include "core/rng.h"
#include "kad/kad.h"
#include "timeline/link.h"
#include "timeline/store.h"

#define TIMELINE_TEXT_MAX 4000  /* bytes of a post's text; the body with its dict stays within 4,096 */
#define TIMELINE_MESSAGE_MAX 256 /* bytes of an answer's message to a person */

struct timeline;

struct timeline_config {
    struct addr listen;             /* what we are reachable at; 0.0.0.0 or :: = ask kad what others see */
    uint8_t transport_pk[LINK_KEY_SIZE];
    uint32_t lifespan_s;            /* of others' posts here; 0 = the collector is off (ACTIVE = 0) */
    uint64_t store_bytes_max;       /* 0 = no budget */
    bool synced_clock_expected;     /* a clock source is configured: ids wait up to 2 s for the first sync */
};

enum timeline_verb {
    TL_NAME_CHECK, /* is `name` free? ETAKEN with who has it, or 0, or ENET (nobody to ask) */
    TL_REGISTER,   /* identity + name: claim the name, publish the records; EPENDING without network */
    TL_LOGIN,      /* identity + name: unlock signing, catch up */
    TL_LOGOUT,     /* tell the followers' nodes nothing, forget the key */
    TL_WHOAMI,
    TL_POST,       /* text; wait_ms: answer when received by all or at the time-out (EPENDING) */
    TL_READ,       /* the timeline: limit, before_id, unread_only, live */
    TL_FOLLOW, TL_UNFOLLOW, /* who */
    TL_FOLLOWERS, TL_FOLLOWING, TL_PROFILE, /* who, or "" = oneself */
    TL_SUGGEST,    /* limit */
    TL_STATUS, TL_OUTBOX,
    TL_CANCEL,     /* the client with this tag is gone: stop its live reading, forget its waiting */
};

struct timeline_command {
    enum timeline_verb verb;
    uint64_t client;                 /* echoed in every answer */
    const char *name;                /* NUL-terminated, borrowed; may be NULL */
    const char *who;                 /* as typed: name, name#tag or id */
    struct span text;
    const struct identity *identity; /* borrowed; copied into locked memory */
    uint16_t device;
    uint32_t limit;                  /* 0 = the verb's default */
    uint64_t before_id;              /* 0 = from the newest */
    bool unread_only, live, private_follow;
    uint32_t wait_ms;
};

enum timeline_row_kind {
    TL_ROW_NONE,
    TL_ROW_ACCOUNT,  /* register, login, whoami */
    TL_ROW_POSTED,   /* post */
    TL_ROW_POST,     /* timeline: one per post, newest first (live: oldest first as they come) */
    TL_ROW_FOLLOW,   /* follow, unfollow */
    TL_ROW_USER,     /* followers, following; candidates of an ambiguous name */
    TL_ROW_PROFILE,
    TL_ROW_SUGGEST,
    TL_ROW_STATUS,
    TL_ROW_OUTBOX,
    TL_ROW_GAP,      /* timeline: an author with posts missing */
};

struct timeline_user {
    uint8_t pk[KEY_SIZE];
    char name[NAME_SIZE]; /* what they call themselves, or our petname; may be empty when unknown */
};

struct timeline_row {
    enum timeline_row_kind kind;
    struct timeline_user user;      /* ACCOUNT FOLLOW USER PROFILE SUGGEST GAP; POST POSTED: the author */
    uint16_t device;
    struct addr address;            /* ACCOUNT: ours */
    bool locked;                    /* ACCOUNT, STATUS: no key in memory */
    bool name_pending;              /* ACCOUNT: the claim has not reached enough holders yet */
    uint64_t id, seq;               /* POST POSTED OUTBOX */
    uint64_t time_ms;               /* POST: Unix ms; PROFILE: "as of", 0 = never */
    struct span text;               /* POST; PROFILE: bio */
    uint8_t post_kind;              /* POST: 0 post, 1 reply, ... as on the wire */
    bool has_via, unread, key_changed; /* POST: via another follower; another key uses a pinned name */
    bool fork;                      /* POST: its author signed another post under the same seq */
    uint8_t via[KEY_SIZE];
    char via_name[NAME_SIZE];       /* POST: of whom it came through; "" while not known */
    bool following, pending;        /* FOLLOW */
    uint32_t followers, following_count, received, waiting; /* POSTED OUTBOX PROFILE */
    bool is_about;                  /* PROFILE: followers is an estimate */
    uint64_t posts, complete_to, gaps; /* PROFILE, GAP */
    uint64_t forks;                 /* PROFILE: under how many numbers two signed posts were seen */
    uint32_t next_try_s;            /* OUTBOX */
    double score;                   /* SUGGEST */
    char reason[128];               /* SUGGEST */
    uint32_t outbox, unread_count;  /* STATUS */
    uint64_t store_bytes;           /* STATUS */
    uint64_t refused;               /* STATUS: messages refused: forged, stale, strangers' */
};

struct timeline_answer {
    uint64_t client;
    bool last;
    int status;                          /* of the last answer */
    char message[TIMELINE_MESSAGE_MAX];  /* for a person; names the next step on an error; may be empty */
    struct timeline_row row;             /* kind NONE when there is none */
};

/* ---- life. `kad` and `store` are borrowed and outlive the timeline. NULL: no memory, or the store is
 * damaged. What the store holds (account, follows, outbox, own records) is taken up again at once. */
struct timeline *timeline_new(const struct timeline_config *config, struct kad *kad, struct store *store,
                              const struct rng *rng, struct now now);
void timeline_free(struct timeline *t);

/* ---- verbs */
int timeline_recv(struct timeline *t, struct now now, const struct link_event *event); /* 0 or why refused */
void timeline_kad_event(struct timeline *t, struct now now, const struct kad_event *event);
void timeline_tick(struct timeline *t, struct now now);
uint64_t timeline_deadline_ms(const struct timeline *t);
void timeline_command(struct timeline *t, struct now now, const struct timeline_command *command);
/* Messages to send. promises = false: may leave before the commit; true: only after it. */
bool timeline_next_out(struct timeline *t, bool promises, struct link_send *ret_send);
/* How the turn's commit ended. On an error: what was held back is dropped, its callers are told CAM_EIO, and
 * memory is read back from the store. */
void timeline_committed(struct timeline *t, struct now now, int err);
bool timeline_next_answer(struct timeline *t, struct timeline_answer *ret_answer); /* after the commit */

/* Should this transport key be let in (asked in the ZAP handshake)? Strangers may connect, within limits. */
bool timeline_admits(const struct timeline *t, const uint8_t transport_key[LINK_KEY_SIZE]);

/* The key that signs, while unlocked, for what the local user puts into the network by hand (`dht put
 * --salt`); NULL while locked. Borrowed until the next call into t. */
const struct identity *timeline_identity(const struct timeline *t);

/* The clock that now.wall_ms comes from was set by a server for the first time: ids need not wait any longer,
 * and what has expired by it may go. */
void timeline_clock_synced(struct timeline *t, struct now now);

/* Tags of kad requests made by timeline have the top bit clear; the loop's own have it set. */
#define TIMELINE_TAG_FOREIGN (UINT64_C(1) << 63)

void timeline_check(const struct timeline *t); /* asserts its invariants */

#endif
