/* A request under way: asking, what the answers bring, and where the lookup ends. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/err.h"
#include "kad/peers.h"
#include "kad/request_impl.h"

/* ---- the end of a lookup ------------------------------------------------------------------------------- */

/* Four classes an octave: the class of 10 ms is 13, the last begins at about a minute. */
static unsigned latency_class(uint64_t ms)
{
    double c = 4 * log2((double)ms + 1);

    return c < 63 ? (unsigned)c : 63;
}

static void note_latency(struct kad *k, const struct request *r)
{
    unsigned c = latency_class(k->now.mono_ms - r->started_ms);

    if (++k->latency[c] == UINT16_MAX)
        for (unsigned i = 0; i < 64; i++)
            k->latency[i] /= 2;
}

/* What the k closest say about how many nodes there are; an average over the lookups,
 * each counting a quarter. */
static void note_estimate(struct kad *k, const struct request *r)
{
    const struct lookup *l = r->n_legs == 1 ? r->legs[0] : NULL;
    uint8_t found[LOOKUP_MAX];
    double num = 0, den = 0;

    /* What others chose to have looked up may be crowded by them; what we chose ourselves always counts, or
     * an estimate from when the network was small would call everything crowded ever after. */
    if (!l || r->fixed || (lookup_width(l) != l->k && r->kind != REQUEST_REFRESH) ||
        lookup_closest(l, found, k->k) < k->k)
        return;
    for (unsigned i = 0; i < k->k; i++) {
        double rank = i + 1;
        num += rank * rank;
        den += rank * id_distance(r->target, l->nodes[found[i]].id);
    }
    if (den > 0)
        k->estimate = k->estimate > 0 ? exp(0.75 * log(k->estimate) + 0.25 * log(num / den)) : num / den;
}

static void finish_find(struct kad *k, struct request *r)
{
    struct kad_contact contacts[LOOKUP_MAX];
    struct kad_event e = {.kind = KAD_EVENT_FIND, .tag = r->tag, .last = true, .contacts = contacts};
    size_t at[2] = {0, 0}, n[2];
    struct request_node found[2][LOOKUP_MAX];

    memcpy(e.target, r->target, KAD_ID_SIZE);
    n[0] = request_closest(r, 4, found[0], LOOKUP_MAX);
    n[1] = request_closest(r, 6, found[1], LOOKUP_MAX);
    while (e.n_contacts < k->k && (at[0] < n[0] || at[1] < n[1])) {
        unsigned f = at[0] == n[0];
        if (!f && at[1] < n[1])
            f = id_compare(r->target, request_node(r, found[1][at[1]])->id,
                           request_node(r, found[0][at[0]])->id) < 0;
        const struct lookup_node *node = request_node(r, found[f][at[f]++]);
        struct kad_contact *c = &contacts[e.n_contacts++];
        memcpy(c->id, node->id, KAD_ID_SIZE);
        c->addr = node->addr;
        c->rtt_ms = node->rtt_ms;
        c->age_s = 0;
    }
    e.status = e.n_contacts ? 0 : CAM_ENET;
    k->stats.lookups_failed += e.n_contacts == 0;
    event_push(k, &e);
}

static bool nobody_answered(const struct request *r)
{
    for (unsigned i = 0; i < r->n_legs; i++)
        if (r->legs[i]->answered)
            return false;
    return true;
}

/* r may be gone afterwards. */
static void looked_up(struct kad *k, struct request *r)
{
    if (!r->inner || r->kind == REQUEST_SET_PART) {
        k->stats.lookups_done++;
        note_latency(k, r);
    }
    r->phase = PHASE_WRITING;
    switch (r->kind) {
    case REQUEST_FIND:
        finish_find(k, r);
        request_finish(k, r);
        break;
    case REQUEST_BOOT:
    case REQUEST_REFRESH:
        request_finish(k, r);
        break;
    case REQUEST_SET_PART:
    case REQUEST_SET_PUT:
    case REQUEST_SHARD:
    case REQUEST_SHARD_HANDOVER:
        setwalk_looked_up(k, r);
        break;
    case REQUEST_PEERS:
    case REQUEST_ANNOUNCE:
        peers_looked_up(k, r);
        break;
    default:
        walk_looked_up(k, r);
        break;
    }
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static void lookup_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q)
{
    q->method = KRPC_FIND_NODE;
    q->target = r->target;
    if (node->plain)
        return;
    switch (r->kind) {
    case REQUEST_GET:
    case REQUEST_PUT:
    case REQUEST_REPLICATE:
    case REQUEST_HANDOVER:
        walk_query(r, q);
        break;
    case REQUEST_SET_PART:
    case REQUEST_SET_PUT:
    case REQUEST_SHARD:
    case REQUEST_SHARD_HANDOVER:
        setwalk_query(r, q);
        break;
    case REQUEST_PEERS:
    case REQUEST_ANNOUNCE:
        peers_query(r, q);
        break;
    default:
        break;
    }
}

static void ask(struct kad *k, struct request *r, unsigned leg, int i)
{
    struct lookup_node *node = &r->legs[leg]->nodes[i];
    struct rpc_tx tx = {.to = node->addr, .owner = RPC_OWNER_REQUEST, .leg = (uint8_t)leg, .node = (uint8_t)i,
                        .part = PART_LOOKUP, .request = r};
    struct krpc_msg q = {.kind = KRPC_QUERY};

    memcpy(tx.id, node->id, KAD_ID_SIZE);
    lookup_query(r, node, &q);
    if (node_query(k, &tx, &q))
        lookup_failed(r->legs[leg], i);
    else
        lookup_sent(r->legs[leg], i);
}

void request_pump(struct kad *k, struct request *r)
{
    for (;;) {
        bool done = true;
        if (r->kind == REQUEST_GET && r->has_item && (k->without & KAD_WITHOUT_NEWEST)) {
            looked_up(k, r);
            return;
        }
        for (unsigned leg = 0; leg < r->n_legs; leg++) {
            struct lookup *l = r->legs[leg];
            int i;
            while ((i = lookup_next(l)) >= 0)
                ask(k, r, leg, i);
            done = done && lookup_done(l);
        }
        if (!done)
            return;
        note_estimate(k, r);
        request_note_liars(k, r);
        bool lacks = (r->kind == REQUEST_GET && !r->has_item) || peers_lacks(r);
        if (lacks && !nobody_answered(r) && request_try_paths(k, r))
            continue;
        looked_up(k, r);
        return;
    }
}

int request_send(struct kad *k, struct request *r, struct request_node at, struct krpc_msg *q, uint16_t part)
{
    struct lookup_node *node = request_node(r, at);
    struct rpc_tx tx = {.to = node->addr, .owner = RPC_OWNER_REQUEST, .leg = at.leg, .node = at.node,
                        .part = part, .request = r};

    assert(part != PART_LOOKUP);
    memcpy(tx.id, node->id, KAD_ID_SIZE);
    int err = node_query(k, &tx, q);
    if (!err)
        r->writing++;
    return err;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

#define HOP_CONTACTS_MAX (1 + 2 * KAD_K)

static void lookup_answer(struct kad *k, struct request *r, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct lookup *l = r->legs[tx->leg];
    struct lookup_node *node = &l->nodes[tx->node];
    struct kad_contact hop[HOP_CONTACTS_MAX];
    struct kad_event e = {.kind = KAD_EVENT_HOP, .tag = r->tag, .contacts = hop};
    struct kad_contact *learned = r->trace ? hop + 1 : NULL;
    struct request_node at = {tx->leg, tx->node};

    if (!id_equal(node->id, m->id)) { /* somebody else lives there now */
        lookup_failed(l, tx->node);
        if (node_acceptable(k, m->id, &tx->to))
            request_offer(k, r, tx->leg, -1, m->id, &tx->to);
        return;
    }
    lookup_answered(l, tx->node);
    if (node_is_liar(k, &tx->to))
        lookup_doubt(l, tx->node);
    node->rtt_ms = (uint16_t)(k->now.mono_ms - tx->sent_ms);
    if (m->token.data && m->token.size <= KRPC_TOKEN_MAX) {
        memcpy(node->token, m->token.data, m->token.size);
        node->token_size = (uint8_t)m->token.size;
    }
    if (!r->fixed) {
        size_t n = request_learn(k, r, at, 4, m->nodes, learned, KAD_K);
        n += request_learn(k, r, at, 6, m->nodes6, learned ? learned + n : NULL, KAD_K);
        e.n_contacts = n + 1;
    }
    if (r->trace) {
        memcpy(e.target, r->target, KAD_ID_SIZE);
        memcpy(hop[0].id, m->id, KAD_ID_SIZE);
        hop[0].addr = tx->to;
        hop[0].rtt_ms = node->rtt_ms;
        hop[0].age_s = 0;
        event_push(k, &e);
    }
    switch (r->kind) {
    case REQUEST_GET:
    case REQUEST_PUT:
    case REQUEST_REPLICATE:
    case REQUEST_HANDOVER:
        walk_value(k, r, &r->legs[tx->leg]->nodes[tx->node], m);
        break;
    case REQUEST_SET_PART:
    case REQUEST_SET_PUT:
    case REQUEST_SHARD:
    case REQUEST_SHARD_HANDOVER:
        setwalk_value(k, r, at, m);
        break;
    case REQUEST_PEERS:
    case REQUEST_ANNOUNCE:
        peers_value(k, r, &tx->to, m);
        break;
    default:
        break;
    }
}

static void ping_ended(struct kad *k, struct request *r, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct kad_contact c = {.addr = tx->to};
    struct kad_event e = {.kind = KAD_EVENT_PING, .tag = r->tag, .last = true, .contacts = &c,
                          .n_contacts = 1};

    e.status = m ? 0 : CAM_ETIMEOUT;
    c.rtt_ms = (uint32_t)(k->now.mono_ms - tx->sent_ms);
    if (m && m->id)
        memcpy(c.id, m->id, KAD_ID_SIZE);
    event_push(k, &e);
    request_finish(k, r);
}

static void second_phase(struct kad *k, struct request *r, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct request_node at = {tx->leg, tx->node};

    r->writing--;
    if (r->set)
        setwalk_written(k, r, at, tx->part, m);
    else if (r->peers)
        peers_written(k, r, at, m);
    else
        walk_written(k, r, at, m);
}

void request_answered(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct request *r = tx->request;

    if (r->kind == REQUEST_PING) {
        ping_ended(k, r, tx, m);
        return;
    }
    if (tx->part != PART_LOOKUP) {
        second_phase(k, r, tx, m);
        return;
    }
    struct lookup *l = r->legs[tx->leg];
    if (r->phase != PHASE_LOOKING)
        lookup_failed(l, tx->node); /* too late: the closest have been chosen */
    else if (m->kind == KRPC_REPLY)
        lookup_answer(k, r, tx, m);
    else if (m->code == KAD_ERROR_METHOD && tx->method != KRPC_FIND_NODE)
        lookup_plain(l, tx->node);
    else
        lookup_failed(l, tx->node);
    if (r->phase == PHASE_LOOKING)
        request_pump(k, r);
}

void request_failed(struct kad *k, const struct rpc_tx *tx)
{
    struct request *r = tx->request;

    if (r->kind == REQUEST_PING) {
        ping_ended(k, r, tx, NULL);
        return;
    }
    if (tx->part != PART_LOOKUP) {
        second_phase(k, r, tx, NULL);
        return;
    }
    lookup_failed(r->legs[tx->leg], tx->node);
    if (r->phase == PHASE_LOOKING)
        request_pump(k, r);
}

void request_stalled(struct kad *k, const struct rpc_tx *tx)
{
    struct request *r = tx->request;
    struct krpc_msg q = {.kind = KRPC_QUERY};
    struct request_node at = {tx->leg, tx->node};

    if (r->kind == REQUEST_PING) {
        q.method = KRPC_PING;
        node_query_again(k, tx, &q);
        return;
    }
    if (tx->part != PART_LOOKUP) {
        bool again = true;
        if (r->set)
            again = setwalk_again(k, r, at, tx->part, &q);
        else if (r->peers)
            peers_announce_query(r, request_node(r, at), &q);
        else
            walk_put_query(r, request_node(r, at), &q);
        if (again)
            node_query_again(k, tx, &q);
        return;
    }
    struct lookup *l = r->legs[tx->leg];
    lookup_stalled(l, tx->node);
    if (r->phase != PHASE_LOOKING)
        return;
    if (lookup_is_close(l, tx->node)) {
        lookup_query(r, &l->nodes[tx->node], &q);
        node_query_again(k, tx, &q);
    }
    request_pump(k, r);
}
