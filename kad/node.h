/* The inside of `struct kad`, shared by the files of kad/ that act on it; nobody else includes this.
 *
 *     kad.c      the façade: life, what is saved, looking in
 *     node.c     a datagram comes in, queries and replies go out, contacts are learned
 *     serve.c    answers the queries of others
 *     join.c     gets in touch: join addresses, remembered contacts, being alone, our own address
 *     upkeep.c   stays in touch: liveness, refresh, replication, hand-over to newcomers
 *     spread.c   knows somebody in every part of a far bucket
 *     request*.c a request from its start to its final event: lookups, find, ping
 *     walk.c     get, put, repair and replication of items
 *     set*.c     reading, counting, writing and keeping signed sets, shard by shard
 *     peers.c    peers of an info-hash: asking for them, announcing ourselves
 *     event.c    what rises to the caller
 *
 *     datagram -> kad_recv -> query: serve_query -> reply
 *                          -> reply: rpc_take -> node_heard (table)
 *                                    -> by owner: join_answered, request_answered
 *     kad_tick  -> rpc_next_due -> node_failed (table) -> by owner: join_failed, request_failed
 *               -> store, join_tick, upkeep_tick, request_tick
 */
#ifndef KAD_NODE_H
#define KAD_NODE_H
#include "kad/guard.h"
#include "kad/kad.h"
#include "kad/krpc.h"
#include "kad/lookup.h"
#include "kad/rpc.h"
#include "kad/set.h"
#include "kad/store.h"
#include "kad/table.h"
#include "kad/verified.h"

#define NODE_ASKING_MAX 8           /* join addresses and remembered contacts asked at a time */
#define NODE_JOIN_MAX 16            /* addresses given to kad_join */
#define NODE_REMEMBER_MAX 256       /* contacts remembered from disk */
#define NODE_HINTS_MAX 64           /* addresses given to kad_hint */
#define NODE_LOST_MAX 16            /* contacts that died, remembered to be tried again */
#define NODE_DEAD_MAX 24            /* addresses that did not answer lately: lookups ask them last */
#define NODE_DEAD_MS 30000
#define NODE_LIARS_MAX 16           /* addresses that named the dead lately: whom they name is asked last */
#define NODE_LIARS_MS 120000
#define NODE_VOTES_MAX 20           /* what others say our address is */
#define NODE_VOTES_NEEDED 3
#define NODE_GREET_BURST 16         /* pings to nodes that asked us something, at once ... */
#define NODE_GREET_PER_S 4          /* ... and a second */
#define NODE_CHALLENGES_MAX 64      /* pings in flight to addresses that are to prove themselves */
#define NODE_PING_BYTES 90          /* of a ping, at most */
#define NODE_NEWCOMERS_MAX 16       /* new contacts whose share of our records is yet to be handed over */
#define REQUEST_MAX 1024            /* accepted and not yet answered */
#define REQUEST_ACTIVE_MAX 64       /* of those, running */
#define REQUEST_INNER_MAX 8         /* running for ourselves: refresh, replication, hand-over */
#define REQUEST_LEGS_MAX 10         /* lookups of one request: 1 a family, and 4 disjoint ones a family */
#define REQUEST_WITNESSES 2         /* nodes beyond the k closest that a get of a mutable item asks too */
#define REQUEST_PATHS 4             /* DESIGN section 4: disjoint paths */
#define SETPUT_HINTS_MAX 64         /* deep sets whose depth is remembered */
#define REQUEST_WAIT_MS 5000        /* with no contact but somebody left to ask */

/* ---- what a node is ------------------------------------------------------------------------------------ */

struct node_vote {
    uint32_t seen;             /* node_mark of our address as the voter sees it */
    uint16_t voter;
    uint8_t quarter;           /* of an hour, of mono_ms, modulo 2^8 */
};

struct node_net { /* one address family */
    bool used;
    uint8_t n_votes;
    struct table table;
    struct addr self;          /* as others see us; family 0 while unknown */
    struct node_vote votes[NODE_VOTES_MAX];
    uint32_t estimate_s;       /* when `estimate` was made: seconds of mono_ms, plus 1 */
    float estimate;            /* of table_estimate, for a second */
};

struct node_known { /* somebody to try when contacts are few */
    struct addr addr;
    uint8_t id[KAD_ID_SIZE];   /* zero: unknown */
    uint8_t tries;
    bool join;                 /* given by the user: never forgotten */
    bool hint;                 /* hearsay: forgotten after a few tries, never saved */
    bool asking;
    uint64_t next_ms;
};

struct node_event {
    struct node_event *next;
    struct kad_event e;
};

struct node_newcomer {
    uint8_t id[KAD_ID_SIZE];
    struct addr addr;
};

struct setput_hint { /* a set that is split, and how deep our last put in it went */
    uint64_t word;             /* the first bytes of its root */
    uint8_t depth;
};

struct request;

struct kad {
    struct rng rng;
    struct now now;            /* of the call that runs */
    uint8_t k, alpha, n_nets;
    bool read_only;
    uint16_t without;          /* enum kad_without */
    bool has_network;          /* ours is a network of its own: n must match, BEP 42 is enforced */
    uint8_t network[KRPC_NETWORK_SIZE];
    uint16_t datagram_max;

    struct rpc rpc;
    struct rpc_queue out;      /* promises nothing */
    struct rpc_queue stored;   /* replies that say "stored": they wait for the commit */
    struct kad_guard *guard;
    struct kad_store *store;
    struct kad_verified verified;

    /* request.c */
    struct request *first, *last;
    uint32_t n_requests, n_active, n_inner;
    uint64_t request_next_ms;
    double estimate;           /* nodes in the network, from finished lookups; 0: none yet */

    struct setput_hint *set_hints; /* setput.c; NULL until one is needed */

    /* event.c */
    struct node_event *events, *events_last, *delivered;

    /* join.c */
    bool ready;                /* a contact answers */
    bool booted;               /* the first lookup of our own id has ended */
    struct node_known *known;
    uint16_t n_known, cap_known, asking;
    uint64_t join_next_ms, boot_ms;
    uint64_t heard_ms;         /* the last answer of anyone */
    struct node_mark { uint32_t addr, at_s; } dead[NODE_DEAD_MAX];
    uint64_t dead_until_ms;    /* beyond this none of them counts any more */
    uint8_t next_dead;

    /* node.c */
    uint8_t next_liar;
    struct node_mark *liars;   /* NODE_LIARS_MAX; NULL: nobody lately */

    /* upkeep.c */
    uint8_t alone_tries;
    uint8_t n_newcomers;
    uint16_t challenges;       /* in flight */
    uint16_t greet_credit;     /* in thousandths of a ping */
    uint8_t looks;             /* how often we have looked around us since the first lookup */
    uint64_t greet_ms;
    /* When next. */
    uint64_t doubt_ms, candidate_ms, liveness_ms, refresh_ms, handover_ms, replicate_ms, look_ms;
    struct node_newcomer *newcomers;
    uint32_t walk_cursor;

    /* spread.c */
    struct table_gap gap[2];   /* looked at next */
    struct node_spread *spread[2]; /* while answers are awaited */
    uint64_t spread_ms;

    /* kad.c: what is to be saved */
    bool self_dirty, table_dirty, table_changed;
    uint8_t dirty_at;
    uint64_t saved_ms;
    uint8_t *dirty_buf;

    struct kad_stats stats;
    uint16_t latency[64];      /* finished lookups by duration, four classes an octave */

    struct node_net net[];     /* n_nets: [0] IPv4, and [1] IPv6 if it is used */
};

/* NULL: a family that we do not use. */
static inline struct node_net *node_net_of(struct kad *k, const struct addr *a)
{
    unsigned net = a->family == 6;

    return (a->family == 4 || net) && net < k->n_nets && k->net[net].used ? &k->net[net] : NULL;
}

/* Contacts, and those of them that answered the last query, of all families. */
size_t node_contacts(const struct kad *k);
size_t node_good(const struct kad *k);

/* ---- node.c -------------------------------------------------------------------------------------------- */

/* Sends a query of ours. tx: to, id, owner and its fields, filled by the caller; q: method and arguments.
 * CAM_EFULL when nothing could be sent. */
int node_query(struct kad *k, struct rpc_tx *tx, struct krpc_msg *q);
/* The same query once more, under the id it has. */
void node_query_again(struct kad *k, const struct rpc_tx *tx, struct krpc_msg *q);
/* How large a reply may go there now. */
size_t node_room(struct kad *k, const struct addr *to);
/* Has this address proven that it is where it says it is: to the guard, or as a contact that answers? */
bool node_is_proven(struct kad *k, const struct addr *addr);
/* Sends a reply or error if the address's budget allows; `nodes` give way before the rest. `promises`: it
 * says that something is stored, and leaves after the commit. */
void node_reply(struct kad *k, const struct addr *to, struct krpc_msg *r, bool promises);
bool node_network_ok(const struct kad *k, const struct krpc_msg *m);
/* May a node with this id and address be a contact at all? Neither we ourselves, nor against BEP 42. */
bool node_acceptable(struct kad *k, const uint8_t *id, const struct addr *addr);
/* The next node of a `nodes` or `nodes6` string, skipping what is not acceptable. */
bool node_next_listed(struct kad *k, struct span *list, uint8_t family, uint8_t ret_id[KAD_ID_SIZE],
                      struct addr *ret);
/* A short name for something, never 0, by a key of our own: nobody else can make two things alike. */
uint32_t node_mark(const struct kad *k, const void *data, size_t size);
int node_ping(struct kad *k, const struct addr *to, const uint8_t *id);
void node_challenge(struct kad *k, const struct addr *to, const uint8_t *id);
/* It did not answer lately, or fails in the table. */
bool node_is_suspect(struct kad *k, const uint8_t *id, const struct addr *addr);
/* Nodes that it named did not answer, or those that it named lately do. */
void node_note_liar(struct kad *k, const struct addr *addr, bool lies);
bool node_is_liar(struct kad *k, const struct addr *addr);
/* How many nodes the network has: at most, by the larger of what our surroundings and finished lookups say,
 * and at least, by the smaller. */
double node_estimate(struct kad *k);
double node_estimate_least(struct kad *k);
double node_net_estimate(const struct kad *k, struct node_net *net); /* what our surroundings say */

/* ---- serve.c ------------------------------------------------------------------------------------------- */

void serve_query(struct kad *k, const struct addr *from, const struct krpc_msg *q);

/* ---- join.c -------------------------------------------------------------------------------------------- */

void join_init(struct kad *k);
void join_clear(struct kad *k);
int join_add(struct kad *k, const struct addr *addr);                                     /* kad_join */
int join_hint(struct kad *k, const struct addr *addr);                                    /* kad_hint */
int join_remember(struct kad *k, const uint8_t id[KAD_ID_SIZE], const struct addr *addr); /* from disk */
void join_lost(struct kad *k, const uint8_t *id, const struct addr *addr); /* dropped from the table */
bool join_pending(const struct kad *k);     /* somebody is left to ask */
void join_answered(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m);
void join_failed(struct kad *k, const struct rpc_tx *tx);
void join_booted(struct kad *k);            /* the lookup of our own id has ended */
void join_elsewhere(struct kad *k);         /* we have another id: look around there */
void join_liveness(struct kad *k);          /* READY, ALONE */
void join_tick(struct kad *k);
uint64_t join_deadline_ms(const struct kad *k);

/* ---- vote.c -------------------------------------------------------------------------------------------- */

/* A reply says where its sender sees us: `ip`, compact. */
void vote_heard(struct kad *k, const struct addr *voter, struct span ip);

/* ---- upkeep.c ------------------------------------------------------------------------------------------ */

void upkeep_init(struct kad *k);
void upkeep_clear(struct kad *k);
void upkeep_newcomer(struct kad *k, const uint8_t *id, const struct addr *addr); /* new in the table */
void upkeep_booted(struct kad *k);    /* the first lookup of our own id has ended */
void upkeep_doubt(struct kad *k);     /* a contact did not answer: look again soon */
void upkeep_again(struct kad *k);     /* somebody answers again: ask all who were in doubt */
void upkeep_candidate(struct kad *k); /* the table has a candidate to be tried */
void upkeep_tick(struct kad *k);
uint64_t upkeep_deadline_ms(const struct kad *k);

/* ---- spread.c ------------------------------------------------------------------------------------------ */

void spread_init(struct kad *k);
void spread_clear(struct kad *k);
void spread_begin(struct kad *k);     /* the first lookup of our own id has ended */
/* m: NULL when whoever was asked did not answer. */
void spread_answered(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m);
void spread_tick(struct kad *k);

/* ---- event.c ------------------------------------------------------------------------------------------- */

/* Queues a copy of the event with all that it points to. */
void event_push(struct kad *k, const struct kad_event *e);
void event_clear(struct kad *k);

#endif
