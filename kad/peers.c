#include "kad/peers.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"

#define FOUND_FIRST 16 /* found peers that there is room for at first; then twice as many each time */

static int peers_new(struct request *r)
{
    r->peers = calloc(1, sizeof *r->peers);
    return r->peers ? 0 : CAM_ESYS;
}

int peers_for_get(struct request *r)
{
    return peers_new(r);
}

int peers_for_announce(struct request *r, uint16_t port)
{
    if (peers_new(r))
        return CAM_ESYS;
    r->peers->implied = port == 0;
    r->peers->port[0] = r->peers->port[1] = port;
    return 0;
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    free(p->found[0]);
    free(p->found[1]);
    free(p);
}

/* ---- what is found ------------------------------------------------------------------------------------- */

static bool found_grow(struct peers *p, unsigned net)
{
    if (p->n[net] < p->cap[net])
        return true;
    uint16_t cap = (uint16_t)(p->cap[net] ? p->cap[net] * 2 : FOUND_FIRST);
    struct peers_found *more = realloc(p->found[net], cap * sizeof *more);
    if (!more)
        return false;
    p->found[net] = more;
    p->cap[net] = cap;
    return true;
}

/* True when it is new, and is kept. */
static bool found_add(struct peers *p, const struct addr *peer)
{
    unsigned net = peer->family == 6;

    for (unsigned i = 0; i < p->n[net]; i++)
        if (p->found[net][i].port == peer->port &&
            memcmp(p->found[net][i].ip, peer->ip, sizeof peer->ip) == 0)
            return false;
    if (p->n[net] >= PEERS_FOUND_MAX || !found_grow(p, net))
        return false;
    struct peers_found *one = &p->found[net][p->n[net]++];
    memcpy(one->ip, peer->ip, sizeof one->ip);
    one->port = peer->port;
    return true;
}

static void push_found(struct kad *k, const struct request *r, const struct addr *peers, size_t n)
{
    struct kad_event e = {.kind = KAD_EVENT_PEERS, .tag = r->tag, .peers = peers, .n_peers = n};

    memcpy(e.target, r->target, KAD_ID_SIZE);
    if (n)
        event_push(k, &e);
}

void peers_begin(struct kad *k, struct request *r)
{
    struct addr held[PEERS_ANSWER_MAX];

    if (r->kind != REQUEST_PEERS)
        return;
    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t n = kad_store_peers(k->store, k->now, r->target, family, held, PEERS_ANSWER_MAX), fresh = 0;
        for (size_t i = 0; i < n; i++)
            if (found_add(r->peers, &held[i]))
                held[fresh++] = held[i];
        push_found(k, r, held, fresh);
    }
}

/* One compact address that `from` names. Its own family alone: that is what it can have heard from others. */
static bool read_peer(struct ben value, const struct addr *from, struct addr *ret)
{
    struct span compact;

    return ben_str(value, &compact) == 0 && addr_from_compact(compact.data, compact.size, ret) == 0 &&
           ret->family == from->family && addr_is_usable(ret) && (addr_is_local(from) || !addr_is_local(ret));
}

void peers_value(struct kad *k, struct request *r, const struct addr *from, const struct krpc_msg *m)
{
    struct addr fresh[PEERS_ANSWER_MAX], peer;
    struct ben value;
    size_t named = 0, n = 0;

    if (r->kind != REQUEST_PEERS || !m->values.data)
        return;
    struct ben_iter it = ben_iter(m->values);
    while (named < PEERS_ANSWER_MAX && ben_next(&it, NULL, &value)) {
        if (!read_peer(value, from, &peer))
            continue;
        named++;
        if (found_add(r->peers, &peer))
            fresh[n++] = peer;
    }
    r->holders += named > 0;
    push_found(k, r, fresh, n);
}

bool peers_lacks(const struct request *r)
{
    return r->kind == REQUEST_PEERS && r->peers->n[0] + r->peers->n[1] == 0;
}

/* ---- what is asked ------------------------------------------------------------------------------------- */

void peers_query(const struct request *r, struct krpc_msg *q)
{
    q->method = KRPC_GET_PEERS;
    q->target = r->target;
}

void peers_announce_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q)
{
    q->method = KRPC_ANNOUNCE_PEER;
    q->target = r->target;
    q->token = span(node->token, node->token_size);
    q->implied_port = r->peers->implied;
    q->port = r->peers->port[node->addr.family == 6];
}

/* ---- what follows the lookup --------------------------------------------------------------------------- */

static void push_last(struct kad *k, const struct request *r, enum kad_event_kind kind, int status)
{
    struct kad_event e = {.kind = kind, .tag = r->tag, .last = true, .status = status, .holders = r->holders};

    memcpy(e.target, r->target, KAD_ID_SIZE);
    event_push(k, &e);
}

static void finish_get(struct kad *k, struct request *r)
{
    bool answered = false, none = peers_lacks(r);

    for (unsigned leg = 0; leg < r->n_legs; leg++)
        answered = answered || r->legs[leg]->answered;
    k->stats.lookups_failed += none;
    push_last(k, r, KAD_EVENT_PEERS, !none ? 0 : answered ? CAM_ENOENT : CAM_ENET);
    request_finish(k, r);
}

/* The address that others would keep for us, kept here as well. */
static void store_here(struct kad *k, const struct request *r)
{
    for (unsigned net = 0; net < k->n_nets; net++) {
        struct addr self = k->net[net].self;
        if (!r->peers->implied)
            self.port = r->peers->port[net];
        if (self.family && addr_is_usable(&self))
            kad_store_announce(k->store, k->now, r->target, &self, &self);
    }
}

static void write_on(struct kad *k, struct request *r)
{
    request_write_more(k, r, peers_announce_query);
    if (r->writing)
        return;
    push_last(k, r, KAD_EVENT_ANNOUNCE, request_write_status(r));
    request_finish(k, r);
}

void peers_looked_up(struct kad *k, struct request *r)
{
    if (r->kind == REQUEST_PEERS) {
        finish_get(k, r);
        return;
    }
    /* With `implied_port` the port beside it says nothing, but BEP 5 has it among the arguments. */
    for (unsigned net = 0; net < k->n_nets; net++)
        if (r->peers->implied)
            r->peers->port[net] = k->net[net].self.port ? k->net[net].self.port : 1;
    if (request_includes_self(k, r))
        store_here(k, r);
    write_on(k, r);
}

void peers_written(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m)
{
    if (request_note_write(r, request_node(r, at), m))
        r->holders++;
    write_on(k, r);
}
