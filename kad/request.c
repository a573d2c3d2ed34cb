#include "kad/request_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/peers.h"
#include "kad/setread.h"

/* ---- the list ------------------------------------------------------------------------------------------ */

struct request *request_new(struct kad *k, enum request_kind kind, const uint8_t *target, uint64_t tag)
{
    bool inner = kind >= REQUEST_BOOT;

    if (!inner && k->n_requests >= REQUEST_MAX)
        return NULL;
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->kind = (uint8_t)kind;
    r->inner = inner;
    r->tag = tag;
    r->started_ms = k->now.mono_ms;
    if (target)
        memcpy(r->target, target, KAD_ID_SIZE);
    return r;
}

static void free_one(struct request *r)
{
    request_free_legs(r);
    setwalk_free(r->set);
    peers_free(r->peers);
    setread_free(r->read);
    free(r->value);
    free(r);
}

void request_discard(struct request *r)
{
    free_one(r);
}

static void link_one(struct kad *k, struct request *r)
{
    r->prev = k->last;
    r->next = NULL;
    if (k->last)
        k->last->next = r;
    else
        k->first = r;
    k->last = r;
    if (!r->inner)
        k->n_requests++;
}

static void unlink_one(struct kad *k, struct request *r)
{
    if (r->prev)
        r->prev->next = r->next;
    else
        k->first = r->next;
    if (r->next)
        r->next->prev = r->prev;
    else
        k->last = r->prev;
    if (!r->inner)
        k->n_requests--;
}

void request_free_all(struct kad *k)
{
    while (k->first) {
        struct request *r = k->first;
        unlink_one(k, r);
        free_one(r);
    }
}

static bool has_place(const struct kad *k, const struct request *r)
{
    return r->inner ? k->n_inner < REQUEST_INNER_MAX : k->n_active < REQUEST_ACTIVE_MAX;
}

void request_finish(struct kad *k, struct request *r)
{
    rpc_orphan(&k->rpc, r);
    if (r->counted && r->inner)
        k->n_inner--;
    else if (r->counted)
        k->n_active--;
    unlink_one(k, r);
    if (r->kind == REQUEST_BOOT)
        join_booted(k);
    free_one(r);
    k->request_next_ms = 0; /* a place is free: look at the queue in this turn's tick */
}

/* ---- starting ------------------------------------------------------------------------------------------ */

static void begin_ping(struct kad *k, struct request *r)
{
    struct rpc_tx tx = {.to = r->addr, .owner = RPC_OWNER_REQUEST, .request = r};
    struct krpc_msg q = {.method = KRPC_PING};
    struct kad_event e = {.kind = KAD_EVENT_PING, .tag = r->tag, .last = true, .status = CAM_ENET};

    r->phase = PHASE_WRITING;
    if (node_query(k, &tx, &q) == 0)
        return;
    event_push(k, &e);
    request_finish(k, r);
}

static void begin(struct kad *k, struct request *r)
{
    switch (r->kind) {
    case REQUEST_PING:
        begin_ping(k, r);
        return;
    case REQUEST_SET_GET:
        setread_begin(k, r);
        return;
    case REQUEST_SET_PART:
    case REQUEST_SET_PUT:
    case REQUEST_SHARD:
    case REQUEST_SHARD_HANDOVER:
        setwalk_begin(k, r);
        return;
    case REQUEST_GET:
    case REQUEST_PUT:
    case REQUEST_REPLICATE:
    case REQUEST_HANDOVER:
        walk_begin(k, r);
        break;
    case REQUEST_PEERS:
    case REQUEST_ANNOUNCE:
        peers_begin(k, r);
        break;
    default:
        break;
    }
    request_look(k, r, r->target);
    request_pump(k, r);
}

/* Gives r a place if there is one; it may be gone afterwards. */
static bool start(struct kad *k, struct request *r)
{
    if (!has_place(k, r))
        return false;
    r->counted = true;
    if (r->inner)
        k->n_inner++;
    else
        k->n_active++;
    bool reaches_out = r->kind != REQUEST_PING && !r->inner;
    if (reaches_out && node_contacts(k) == 0 && join_pending(k)) {
        r->phase = PHASE_WAITING;
        r->wait_until_ms = k->now.mono_ms + REQUEST_WAIT_MS;
        if (r->wait_until_ms < k->request_next_ms)
            k->request_next_ms = r->wait_until_ms;
        return true;
    }
    begin(k, r);
    return true;
}

void request_submit(struct kad *k, struct request *r)
{
    link_one(k, r);
    r->phase = PHASE_QUEUED;
    start(k, r);
}

void request_run_part(struct kad *k, struct request *r)
{
    link_one(k, r);
    begin(k, r);
}

void request_boot(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct request *r;

    for (r = k->first; r && r->kind != REQUEST_BOOT; r = r->next)
        ;
    if (!r) {
        r = request_new(k, REQUEST_BOOT, k->net[k->net[0].used ? 0 : 1].table.self, 0);
        if (!r)
            return;
        /* It takes its place by hand: there must be one, and the first answer is to be used before asking. */
        link_one(k, r);
        r->counted = true;
        k->n_inner++;
        request_look(k, r, r->target);
    }
    int leg = -1, node = -1;
    for (unsigned i = 0; m && i < r->n_legs && node < 0; i++) {
        if (r->leg_family[i] != tx->to.family)
            continue;
        leg = (int)i;
        node = lookup_find(r->legs[i], m->id);
    }
    if (leg >= 0 && node < 0 && node_acceptable(k, m->id, &tx->to))
        node = lookup_offer(r->legs[leg], m->id, &tx->to, false);
    if (node >= 0) {
        uint8_t state = r->legs[leg]->nodes[node].state;
        if (state == LOOKUP_NEW || state == LOOKUP_SUSPECT)
            lookup_answered(r->legs[leg], node);
        struct request_node at = {(uint8_t)leg, (uint8_t)node};
        request_learn(k, r, at, 4, m->nodes, NULL, 0);
        request_learn(k, r, at, 6, m->nodes6, NULL, 0);
    }
    request_pump(k, r);
}

/* Beginning one request may end it, or others: so the list is gone through from its start each time. */
static bool begin_waiting(struct kad *k, bool all)
{
    for (struct request *r = k->first; r; r = r->next) {
        if (r->phase != PHASE_WAITING || (!all && r->wait_until_ms > k->now.mono_ms))
            continue;
        begin(k, r);
        return true;
    }
    return false;
}

static bool start_queued(struct kad *k)
{
    for (struct request *r = k->first; r; r = r->next)
        if (r->phase == PHASE_QUEUED && has_place(k, r))
            return start(k, r);
    return false;
}

void request_wake(struct kad *k)
{
    while (begin_waiting(k, true))
        ;
}

void request_give_up_at(struct kad *k, struct request *r, uint64_t mono_ms)
{
    r->give_up_ms = mono_ms;
    if (mono_ms < k->request_next_ms)
        k->request_next_ms = mono_ms;
}

/* One at a time: others may be gone with it. */
static bool give_one_up(struct kad *k)
{
    for (struct request *r = k->first; r; r = r->next) {
        if (r->give_up_ms == 0 || r->give_up_ms > k->now.mono_ms)
            continue;
        setread_part_ended(k, r);
        return true;
    }
    return false;
}

void request_tick(struct kad *k)
{
    if (k->now.mono_ms < k->request_next_ms)
        return;
    k->request_next_ms = NOW_NEVER;
    while (begin_waiting(k, false) || start_queued(k) || give_one_up(k))
        ;
    for (const struct request *r = k->first; r; r = r->next) {
        uint64_t at_ms = r->phase == PHASE_WAITING ? r->wait_until_ms : r->give_up_ms;
        if (at_ms != 0 && at_ms < k->request_next_ms)
            k->request_next_ms = at_ms;
    }
}

uint64_t request_deadline_ms(const struct kad *k)
{
    return k->first ? k->request_next_ms : NOW_NEVER;
}

static bool was_asked(const struct lookup_node *node)
{
    return node->state != LOOKUP_NEW && node->state != LOOKUP_SUSPECT;
}

static bool asked_elsewhere(const struct request *r, unsigned leg, const uint8_t *id)
{
    for (unsigned i = 0; i < r->n_legs; i++) {
        int node = i != leg && r->leg_family[i] == r->leg_family[leg] ? lookup_find(r->legs[i], id) : -1;
        if (node >= 0 && was_asked(&r->legs[i]->nodes[node]))
            return true;
    }
    return false;
}

void request_check(const struct kad *k)
{
    uint32_t n = 0, active = 0, inner = 0;

    for (const struct request *r = k->first; r; r = r->next) {
        n += !r->inner;
        active += r->counted && !r->inner;
        inner += r->counted && r->inner;
        assert(!r->peers || (r->peers->n[0] <= PEERS_FOUND_MAX && r->peers->n[1] <= PEERS_FOUND_MAX));
        assert(r->n_legs <= REQUEST_LEGS_MAX && r->prev == (r == k->first ? NULL : r->prev));
        for (unsigned i = 0; i < r->n_legs; i++) {
            const struct lookup *l = r->legs[i];
            lookup_check(l);
            for (unsigned j = 0; r->n_legs > 1 && j < l->n; j++)
                assert(!was_asked(&l->nodes[l->order[j]]) ||
                       !asked_elsewhere(r, i, l->nodes[l->order[j]].id));
        }
    }
    assert(n == k->n_requests && active == k->n_active && inner == k->n_inner);
    assert(n <= REQUEST_MAX && active <= REQUEST_ACTIVE_MAX && inner <= REQUEST_INNER_MAX + 1);
}
