#include "kad/rpc.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "kad/table.h"

static_assert(RPC_TID_KEY_SIZE == crypto_shorthash_KEYBYTES, "SipHash-2-4");

#define TX_FIRST 1 /* slots allocated at first, enough for an idle node; then twice as many each time */

/* A free slot has method 0; a used one always has a method. */

void rpc_init(struct rpc *r, const struct rng *rng)
{
    *r = (struct rpc){.next_ms = NOW_NEVER};
    rng_fill(rng, r->tid_key, sizeof r->tid_key);
}

void rpc_clear(struct rpc *r)
{
    free(r->tx);
    free(r->free);
    r->tx = NULL;
    r->free = NULL;
    r->cap = r->n_free = 0;
    r->next_ms = NOW_NEVER;
}

uint32_t rpc_in_flight(const struct rpc *r)
{
    return (uint32_t)(r->cap - r->n_free);
}

/* ---- time-outs ---------------------------------------------------------------------------------------- */

/* RFC 6298 section 2, with whole milliseconds and the usual scaling: no fraction is lost. */
void rpc_measured(struct rpc *r, uint32_t rtt_ms)
{
    if (rtt_ms > 60000)
        rtt_ms = 60000;
    if (!r->has_rtt) {
        r->rtt8_ms = rtt_ms * 8;
        r->dev4_ms = rtt_ms * 2;
        r->has_rtt = true;
        return;
    }
    int64_t off = (int64_t)rtt_ms - r->rtt8_ms / 8;
    r->rtt8_ms = (uint32_t)(r->rtt8_ms + off);
    r->dev4_ms = (uint32_t)(r->dev4_ms + ((off < 0 ? -off : off) - r->dev4_ms / 4));
}

void rpc_timeouts(const struct rpc *r, const struct table_contact *contact, struct rpc_tx *tx)
{
    uint32_t patience = RPC_HARD_MAX_MS, hard = RPC_HARD_MIN_MS;
    unsigned fails = contact ? contact->fails : tx->tries;

    if (contact && table_is_measured(contact))
        patience = contact->rtt_ms + 4u * contact->dev_ms;
    else if (r->has_rtt)
        patience = r->rtt8_ms / 8 + r->dev4_ms;
    if (patience > RPC_HARD_MAX_MS)
        patience = RPC_HARD_MAX_MS;
    hard = (patience > hard ? patience : hard) << (fails < RPC_DOUBLINGS ? fails : RPC_DOUBLINGS);
    tx->soft_ms = (uint16_t)(patience > RPC_SOFT_MIN_MS ? patience : RPC_SOFT_MIN_MS);
    tx->hard_ms = (uint16_t)(hard < RPC_HARD_MAX_MS ? hard : RPC_HARD_MAX_MS);
}

/* ---- transactions ------------------------------------------------------------------------------------- */

static bool grow(struct rpc *r)
{
    uint32_t cap = r->cap ? r->cap * 2u : TX_FIRST;

    if (cap > RPC_TX_MAX)
        return false;
    struct rpc_tx *tx = realloc(r->tx, cap * sizeof *tx);
    if (!tx)
        return false;
    r->tx = tx;
    uint16_t *slots = realloc(r->free, cap * sizeof *slots);
    if (!slots)
        return false;
    r->free = slots;
    for (uint32_t i = cap; i-- > r->cap;) {
        r->tx[i] = (struct rpc_tx){.method = 0};
        r->free[r->n_free++] = (uint16_t)i;
    }
    r->cap = (uint16_t)cap;
    return true;
}

static void release(struct rpc *r, uint16_t slot)
{
    r->tx[slot].method = 0;
    r->free[r->n_free++] = slot;
}

/* What no stranger can guess: it stands for having been asked. */
static void draw_tid(struct rpc *r, uint16_t slot, uint8_t ret[RPC_TID_SIZE])
{
    uint8_t count[8], hash[crypto_shorthash_BYTES];

    put_be64(count, r->tids++);
    crypto_shorthash(hash, count, sizeof count, r->tid_key);
    put_be16(ret, slot);
    memcpy(ret + 2, hash, RPC_TID_SIZE - 2);
}

bool rpc_begin(struct rpc *r, uint64_t mono_ms, struct rpc_tx *tx)
{
    assert(tx->method != 0 && tx->soft_ms <= tx->hard_ms);
    if (r->n_free == 0 && !grow(r))
        return false;
    uint16_t slot = r->free[--r->n_free];
    draw_tid(r, slot, tx->tid);
    tx->sent_ms = mono_ms;
    tx->due_ms = mono_ms + tx->soft_ms;
    tx->stalled = tx->resent = 0;
    r->tx[slot] = *tx;
    if (tx->due_ms < r->next_ms)
        r->next_ms = tx->due_ms;
    if (tx->due_ms < r->scan_next_ms)
        r->scan_next_ms = tx->due_ms;
    return true;
}

bool rpc_take(struct rpc *r, struct span tid, const struct addr *from, struct rpc_tx *ret)
{
    if (tid.size != RPC_TID_SIZE)
        return false;
    uint16_t slot = be16(tid.data);
    if (slot >= r->cap || r->tx[slot].method == 0)
        return false;
    const struct rpc_tx *tx = &r->tx[slot];
    if (memcmp(tx->tid, tid.data, RPC_TID_SIZE) != 0 || !addr_equal(&tx->to, from))
        return false;
    *ret = *tx;
    release(r, slot);
    return true;
}

/* One pass over the slots is spread over the calls until it returns false, so that what a caller begins or
 * takes in between does no harm; next_ms is renewed by the pass. */
bool rpc_next_due(struct rpc *r, uint64_t mono_ms, struct rpc_tx *ret, bool *ret_failed)
{
    if (r->scan == 0) {
        if (r->next_ms > mono_ms)
            return false;
        r->scan_next_ms = NOW_NEVER;
    }
    while (r->scan < r->cap) {
        uint16_t slot = r->scan++;
        struct rpc_tx *tx = &r->tx[slot];
        if (tx->method == 0)
            continue;
        if (tx->due_ms > mono_ms) {
            if (tx->due_ms < r->scan_next_ms)
                r->scan_next_ms = tx->due_ms;
            continue;
        }
        *ret_failed = tx->stalled > tx->resent || tx->stalled == RPC_RETRIES;
        if (*ret_failed) {
            *ret = *tx;
            release(r, slot);
            return true;
        }
        if (tx->stalled++ == 0)
            tx->due_ms = tx->sent_ms + tx->hard_ms;
        if (tx->due_ms <= mono_ms)
            r->scan = slot; /* looked at again at once: has it not been sent again by then, it failed */
        else if (tx->due_ms < r->scan_next_ms)
            r->scan_next_ms = tx->due_ms;
        *ret = *tx;
        return true;
    }
    r->scan = 0;
    r->next_ms = r->scan_next_ms;
    return false;
}

void rpc_resent(struct rpc *r, uint64_t mono_ms, const struct rpc_tx *tx)
{
    uint16_t slot = be16(tx->tid);

    if (slot >= r->cap || r->tx[slot].method == 0 || memcmp(r->tx[slot].tid, tx->tid, RPC_TID_SIZE) != 0)
        return;
    uint32_t soon = tx->hard_ms / 3;
    uint64_t due_ms = mono_ms + (++r->tx[slot].resent < RPC_RETRIES ? soon : tx->hard_ms - soon);
    r->tx[slot].due_ms = due_ms;
    if (due_ms < r->next_ms)
        r->next_ms = due_ms;
    if (due_ms < r->scan_next_ms)
        r->scan_next_ms = due_ms;
}

void rpc_orphan(struct rpc *r, const void *request)
{
    for (uint16_t i = 0; i < r->cap; i++) {
        if (r->tx[i].method != 0 && r->tx[i].request == request) {
            r->tx[i].request = NULL;
            r->tx[i].owner = RPC_OWNER_NONE;
        }
    }
}

bool rpc_is_asking(const struct rpc *r, const struct addr *to)
{
    for (uint16_t i = 0; i < r->cap; i++)
        if (r->tx[i].method != 0 && addr_equal(&r->tx[i].to, to))
            return true;
    return false;
}

uint64_t rpc_deadline_ms(const struct rpc *r)
{
    return rpc_in_flight(r) ? r->next_ms : NOW_NEVER;
}

void rpc_trim(struct rpc *r)
{
    if (r->cap > 0 && rpc_in_flight(r) == 0 && r->scan == 0)
        rpc_clear(r);
}

void rpc_check(const struct rpc *r)
{
    uint32_t used = 0;

    assert(r->cap <= RPC_TX_MAX && r->n_free <= r->cap);
    for (uint16_t i = 0; i < r->cap; i++) {
        const struct rpc_tx *tx = &r->tx[i];
        if (tx->method == 0)
            continue;
        used++;
        assert(be16(tx->tid) == i && tx->due_ms >= r->next_ms);
        assert((tx->owner == RPC_OWNER_REQUEST) == (tx->request != NULL));
    }
    assert(used == rpc_in_flight(r));
}

/* ---- the queue ---------------------------------------------------------------------------------------- */

/* In memory only, one after another:
 *
 *     offset  size
 *          0     2   bytes of the datagram
 *          2    18   struct addr of the destination, as its fields lie
 *          .     .   the datagram
 */
#define QUEUE_HEAD (sizeof(uint16_t) + sizeof(struct addr))

void rpc_queue_clear(struct rpc_queue *q)
{
    free(q->buf);
    *q = (struct rpc_queue){.lost = q->lost};
}

/* Just as large as it has to be, for most turns send one datagram. */
static bool queue_reserve(struct rpc_queue *q, size_t need)
{
    if (q->tail + need <= q->cap)
        return true;
    if (q->head > 0) {
        memmove(q->buf, q->buf + q->head, q->tail - q->head);
        q->tail -= q->head;
        q->head = 0;
        if (q->tail + need <= q->cap)
            return true;
    }
    size_t cap = q->cap * 2 > q->tail + need ? q->cap * 2 : q->tail + need;
    uint8_t *buf = cap <= RPC_QUEUE_MAX ? realloc(q->buf, cap) : NULL;
    if (!buf)
        return false;
    q->buf = buf;
    q->cap = cap;
    return true;
}

bool rpc_queue_push(struct rpc_queue *q, const struct addr *to, const void *data, size_t bytes)
{
    assert(bytes <= UINT16_MAX);
    uint16_t size = (uint16_t)bytes;
    if (!queue_reserve(q, QUEUE_HEAD + bytes)) {
        q->lost++;
        return false;
    }
    memcpy(q->buf + q->tail, &size, sizeof size);
    memcpy(q->buf + q->tail + sizeof size, to, sizeof *to);
    memcpy(q->buf + q->tail + QUEUE_HEAD, data, bytes);
    q->tail += QUEUE_HEAD + bytes;
    return true;
}

bool rpc_queue_next(struct rpc_queue *q, struct kad_datagram *ret)
{
    uint16_t size;

    if (q->head == q->tail) {
        rpc_queue_clear(q);
        return false;
    }
    memcpy(&size, q->buf + q->head, sizeof size);
    memcpy(&ret->to, q->buf + q->head + sizeof size, sizeof ret->to);
    ret->data = q->buf + q->head + QUEUE_HEAD;
    ret->size = size;
    q->head += QUEUE_HEAD + size;
    return true;
}
