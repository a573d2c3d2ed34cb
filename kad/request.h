/* A request from its start to its final event: one or more lookups ("legs"), then perhaps writes.
 *
 *                 request_new
 *     (none) ------------------> QUEUED ---- a place is free ---> WAITING ---- a contact is there ---+
 *                                                                    | REQUEST_WAIT_MS: CAM_ENET     |
 *                                                                    v                               v
 *     (freed) <--request_finish-- WRITING <--walk_looked_up, setwalk_looked_up-- LOOKING <--request_begin
 *                                    ^ puts to holders, pages of sets                | all legs done, nothing
 *                                    |                                               | found: once more over
 *                                    +---- setwalk: the next shard ---- LOOKING <----+ four disjoint paths
 *
 *     A SET_GET looks nothing up itself: it stays WRITING while its parts, a request for each shard,
 *     go this way.
 *
 * Every node that a request asks belongs to exactly one leg, so legs of one family are disjoint paths.
 */
#ifndef KAD_REQUEST_H
#define KAD_REQUEST_H
#include "kad/node.h"

enum request_kind {
    REQUEST_PING,
    REQUEST_FIND,
    REQUEST_GET,
    REQUEST_PUT,
    REQUEST_SET_GET,
    REQUEST_SET_PUT,
    REQUEST_PEERS,
    REQUEST_ANNOUNCE,
    /* for ourselves: no events */
    REQUEST_BOOT,       /* lookup of our own id */
    REQUEST_REFRESH,    /* lookup of a random id in a bucket */
    REQUEST_REPLICATE,  /* an item that we hold: to those of the k closest who lack it */
    REQUEST_HANDOVER,   /* the same, to one new contact */
    REQUEST_SHARD,      /* a shard that we hold: compare with its other holders, both ways */
    REQUEST_SHARD_HANDOVER,
    REQUEST_SET_PART,   /* one shard of a SET_GET, which has the place and the event */
};

enum request_phase { PHASE_QUEUED, PHASE_WAITING, PHASE_LOOKING, PHASE_WRITING };

struct setwalk;
struct peers;
struct setread;

struct request {
    struct request *next, *prev;
    uint64_t tag, started_ms, wait_until_ms;
    uint64_t give_up_ms;   /* SET_PART: ends then with what it has; 0: takes the time it takes */
    uint8_t kind, phase;
    uint8_t n_legs;
    bool inner;            /* for ourselves */
    bool counted;          /* in n_active or n_inner */
    bool trace;
    bool answered_tag;     /* the final event is out; what follows is repair */
    bool paths_tried;      /* the disjoint paths of a failed get */
    bool fixed;            /* asks only the nodes it began with */
    uint8_t target[KAD_ID_SIZE];
    struct lookup *legs[REQUEST_LEGS_MAX];
    uint8_t leg_family[REQUEST_LEGS_MAX];
    uint16_t writing;      /* writes and pages in flight */
    uint32_t holders, behind; /* behind us, says the holder: 301, 302 */
    int32_t refusal;       /* the last other error code */
    int status;
    int64_t newer_seq;
    struct addr addr;      /* PING, HANDOVER */
    uint8_t peer_id[KAD_ID_SIZE];

    /* items: what is put, or the best found so far */
    bool has_item, has_pk, has_cas, own_copy;
    bool missing_too;      /* repair those that lack it, not only those that are behind */
    uint8_t version;       /* the number of the best version found */
    int64_t cas;
    struct kad_item item;  /* salt and v point below */
    uint8_t salt[KAD_SALT_MAX];
    uint8_t *value;        /* KAD_VALUE_MAX bytes, allocated when there is one */

    struct setwalk *set;   /* SET_PART, SET_PUT, SHARD */
    struct setread *read;  /* SET_GET */
    struct peers *peers;   /* PEERS, ANNOUNCE */
};

/* A request that will run when there is a place for it. NULL: REQUEST_MAX, or no memory. */
struct request *request_new(struct kad *k, enum request_kind kind, const uint8_t *target, uint64_t tag);
/* It is filled in: it may start. */
void request_submit(struct kad *k, struct request *r);
/* Ends a SET_PART then with what it has found, unless it has ended before. */
void request_give_up_at(struct kad *k, struct request *r, uint64_t mono_ms);
/* Begins at once: it is part of one that has a place. r may be gone afterwards. */
void request_run_part(struct kad *k, struct request *r);
void request_discard(struct request *r); /* never submitted */
void request_free_all(struct kad *k);
/* The final event has been pushed, or never will be: frees it. */
void request_finish(struct kad *k, struct request *r);
/* A lookup of `target` from what the table knows, in place of the legs there were. */
void request_look(struct kad *k, struct request *r, const uint8_t target[KAD_ID_SIZE]);

/* Asks whom there is to ask, and ends the lookup when that is nobody. r may be gone afterwards. */
void request_pump(struct kad *k, struct request *r);

/* The lookup of our own id, which begins where the answer of a join address leaves off. */
void request_boot(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m);
void request_answered(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m);
void request_failed(struct kad *k, const struct rpc_tx *tx);
void request_stalled(struct kad *k, const struct rpc_tx *tx);
void request_tick(struct kad *k);
void request_wake(struct kad *k); /* there is a contact now */
uint64_t request_deadline_ms(const struct kad *k);
void request_check(const struct kad *k);

/* One node of one leg. */
struct request_node { uint8_t leg, node; };

/* The nodes of one family that answered and can hold things, over all legs, closest first. */
size_t request_closest(const struct request *r, uint8_t family, struct request_node *ret, size_t max);
size_t request_width(const struct request *r, uint8_t family); /* how many of them should hold a record */
/* Are we ourselves among the `width` closest to the request's target? */
bool request_includes_self(struct kad *k, const struct request *r);
static inline struct lookup_node *request_node(struct request *r, struct request_node at)
{
    return &r->legs[at.leg]->nodes[at.node];
}
/* Sends a write or another query of the second phase to a node; counted in r->writing. */
int request_send(struct kad *k, struct request *r, struct request_node at, struct krpc_msg *q, uint16_t part);

/* The k closest that are to hold a record are sent a put each;
 * those that refused are replaced by the next. */
void request_write_more(struct kad *k, struct request *r,
                        void (*fill)(const struct request *r, const struct lookup_node *node,
                                     struct krpc_msg *q));
/* Takes note of what became of one put: true when the node took it. m NULL: no answer. */
bool request_note_write(struct request *r, struct lookup_node *node, const struct krpc_msg *m);
int request_write_status(const struct request *r); /* of the final event of a put */

/* ---- walk.c: items ---------------------------------------------------------------------------------- */

void walk_begin(struct kad *k, struct request *r);            /* our own store is a source too */
void walk_query(const struct request *r, struct krpc_msg *q); /* the arguments of its get */
void walk_value(struct kad *k, struct request *r, struct lookup_node *node, const struct krpc_msg *m);
void walk_looked_up(struct kad *k, struct request *r);
/* m NULL: no answer. */
void walk_written(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m);
int walk_set_item(struct request *r, const struct kad_item *item);
void walk_put_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q);

/* ---- setwalk.c: signed sets ------------------------------------------------------------------------- */

int setwalk_for_part(struct request *r, struct request *reader, const struct kad_shard_id *at, bool fresh);
int setwalk_for_put(struct request *r, const uint8_t root[KAD_ID_SIZE], const struct kad_entry *entry);
int setwalk_for_shard(struct request *r, const struct kad_record *record);
void setwalk_free(struct setwalk *w);
void setwalk_begin(struct kad *k, struct request *r);
void setwalk_query(const struct request *r, struct krpc_msg *q);
void setwalk_value(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m);
void setwalk_looked_up(struct kad *k, struct request *r);
void setwalk_written(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                     const struct krpc_msg *m);
/* The second-phase query that `part` stood for, to be sent again. */
bool setwalk_again(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                   struct krpc_msg *q);

#endif
