/* Our own queries on their way, the time to give each, and the queue of datagrams that wait to be sent.
 *
 * A transaction is found again by its id (a slot, and 32 bits of SipHash of a counter under a secret key: to
 * others as good as random, and no system call for each) and only if the reply comes from the address that
 * was asked. Its patience adapts to the contact: soft = RTT + 4 deviations, after which the walk it belongs
 * to may send it again or ask somebody else meanwhile, and hard = the same within [200 ms, 1 s], after which
 * it has failed. Who did not answer in time has twice the hard one the next time: round trips may have grown,
 * and an answer that comes too late is no measurement. What is sent again has its hard time-out from then,
 * and when a third of that is over it may be sent once more, at no cost in time: with one datagram in fifty
 * lost, one query in 600 would still be unanswered after two sendings, and one in 16,000 is after three. For
 * an address never heard before, all round trips together are the estimate.
 *
 *     struct rpc_tx tx = {.to = addr, .method = KRPC_PING, .owner = RPC_OWNER_TABLE};
 *     rpc_timeouts(&rpc, contact, &tx);
 *     if (rpc_begin(&rpc, now.mono_ms, &tx)) send(tx.tid);             // tid is filled in
 *     reply:  if (rpc_take(&rpc, msg.t, from, &tx)) handle(&tx);       // a copy; the slot is free again
 *     tick:   while (rpc_next_due(&rpc, now.mono_ms, &tx)) ...
 *
 *     (free) --rpc_begin--> waiting --rpc_next_due, soft--> stalled --rpc_next_due, hard--> (free: failed)
 *                              |                             |  ^
 *                              |                             +--+ rpc_resent, RPC_RETRIES times at most
 *                              +-------- rpc_take -----------+----> (free: answered)
 */
#ifndef KAD_RPC_H
#define KAD_RPC_H
#include "kad/kad.h"
#include "kad/table.h"

#define RPC_TID_SIZE 6
#define RPC_TID_KEY_SIZE 16
#define RPC_TX_MAX 4096        /* queries of ours in flight */
#define RPC_SOFT_MIN_MS 50
#define RPC_HARD_MIN_MS 200
#define RPC_HARD_MAX_MS 1000
#define RPC_DOUBLINGS 3        /* of the hard time-out: then it is at its longest */
#define RPC_RETRIES 2          /* how often a query may be sent again */
#define RPC_QUEUE_MAX (4 << 20) /* bytes of datagrams waiting in a queue; more are lost like on the wire */

enum rpc_owner {
    RPC_OWNER_NONE,    /* whoever asked is gone: the answer still tells that the contact lives */
    RPC_OWNER_TABLE,   /* is it alive? */
    RPC_OWNER_CHALLENGE, /* is it where it says it is? */
    RPC_OWNER_JOIN,    /* a join address or a remembered contact: find_node of our own id */
    RPC_OWNER_SPREAD,  /* who is in a part of a bucket where we know nobody? */
    RPC_OWNER_REQUEST,
};

struct rpc_tx {
    struct addr to;
    uint8_t id[KAD_ID_SIZE];   /* who should answer; all zero: whoever is there */
    uint8_t tid[RPC_TID_SIZE];
    uint8_t method;            /* enum krpc_method */
    uint8_t owner;
    uint8_t stalled, resent;   /* how often */
    uint8_t tries;             /* how often the same was asked in vain before */
    uint8_t leg, node;         /* of a request: which lookup, which of its nodes */
    uint16_t soft_ms, hard_ms;
    uint16_t part;             /* of a request: what else it needs to know */
    void *request;
    uint64_t sent_ms, due_ms;
};

struct rpc {
    uint8_t tid_key[RPC_TID_KEY_SIZE];
    uint64_t tids;             /* drawn so far */
    struct rpc_tx *tx;         /* a slot with owner and tid zero is free; see rpc.c */
    uint16_t *free;            /* stack of free slots */
    uint16_t cap, n_free;
    uint16_t scan;             /* where rpc_next_due goes on */
    uint64_t next_ms, scan_next_ms;
    uint32_t rtt8_ms, dev4_ms; /* over all contacts, times 8 and times 4 */
    bool has_rtt;
};

void rpc_init(struct rpc *r, const struct rng *rng);
void rpc_clear(struct rpc *r);
uint32_t rpc_in_flight(const struct rpc *r);

/* A measured round trip, of anyone. */
void rpc_measured(struct rpc *r, uint32_t rtt_ms);
/* Fills in the patience for a contact; NULL: for a stranger, who did not answer tx->tries times before. */
void rpc_timeouts(const struct rpc *r, const struct table_contact *contact, struct rpc_tx *tx);

/* Takes a copy of tx, whose tid and times it fills in. False when RPC_TX_MAX are in flight. */
bool rpc_begin(struct rpc *r, uint64_t mono_ms, struct rpc_tx *tx);
/* Finds the transaction that `from` answers, copies it out and frees it. */
bool rpc_take(struct rpc *r, struct span tid, const struct addr *from, struct rpc_tx *ret);
/* The next transaction whose patience is over: stalled (still waiting, and may be sent again now) or failed
 * (freed: ret_failed). None fails that has not stalled before. False: no more now. */
bool rpc_next_due(struct rpc *r, uint64_t mono_ms, struct rpc_tx *ret, bool *ret_failed);
/* The stalled transaction was sent once more. */
void rpc_resent(struct rpc *r, uint64_t mono_ms, const struct rpc_tx *tx);
/* The request is gone: its transactions have no owner any more. */
void rpc_orphan(struct rpc *r, const void *request);
bool rpc_is_asking(const struct rpc *r, const struct addr *to);
uint64_t rpc_deadline_ms(const struct rpc *r);
void rpc_trim(struct rpc *r); /* gives its memory back when nothing is in flight */
void rpc_check(const struct rpc *r);

/* ---- datagrams waiting to be sent ------------------------------------------------------------------- */

struct rpc_queue { /* has no memory while nothing waits */
    uint8_t *buf;
    size_t cap, head, tail;
    uint64_t lost;
};

void rpc_queue_clear(struct rpc_queue *q);
/* Takes a copy. False when RPC_QUEUE_MAX is reached, or without memory: then it is lost. */
bool rpc_queue_push(struct rpc_queue *q, const struct addr *to, const void *data, size_t bytes);
/* The next one; what it points to is valid until the next call for this queue. */
bool rpc_queue_next(struct rpc_queue *q, struct kad_datagram *ret);

#endif
