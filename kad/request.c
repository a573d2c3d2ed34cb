#include "kad/request.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

#define PART_LOOKUP 0           /* rpc_tx.part of the queries of a lookup; others are of the second phase */
#define SEEDS_MAX (LOOKUP_MAX / 2)

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

static void free_legs(struct request *r)
{
    for (unsigned i = 0; i < r->n_legs; i++)
        free(r->legs[i]);
    r->n_legs = 0;
}

static void free_one(struct request *r)
{
    free_legs(r);
    setwalk_free(r->set);
    free(r->value);
    free(r);
}

void request_discard(struct request *r)
{
    free_one(r);
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

/* ---- legs ---------------------------------------------------------------------------------------------- */

static struct lookup *add_leg(struct kad *k, struct request *r, uint8_t family, uint8_t wanted, uint8_t alpha)
{
    if (r->n_legs == REQUEST_LEGS_MAX)
        return NULL;
    struct lookup *l = malloc(sizeof *l);
    if (!l)
        return NULL;
    /* Before the first lookup has ended we know too little to call anything dense. */
    bool judge = k->booted && !r->fixed && !(k->without & KAD_WITHOUT_DENSITY);
    lookup_init(l, r->target, wanted, alpha, judge ? node_estimate(k) : 0);
    l->least = judge && wanted == k->k ? node_estimate_least(k) : 0;
    r->leg_family[r->n_legs] = family;
    r->legs[r->n_legs++] = l;
    return l;
}

/* No two paths of a request share a node. */
static bool in_other_leg(const struct request *r, uint8_t family, const struct lookup *leg, const uint8_t *id)
{
    for (unsigned i = 0; i < r->n_legs; i++)
        if (r->leg_family[i] == family && r->legs[i] != leg && lookup_find(r->legs[i], id) >= 0)
            return true;
    return false;
}

static int offer(struct kad *k, struct request *r, unsigned leg, const uint8_t *id, const struct addr *addr)
{
    struct lookup *l = r->legs[leg];

    if (r->n_legs > 1 && in_other_leg(r, r->leg_family[leg], l, id))
        return -1;
    return lookup_offer(l, id, addr, node_is_suspect(k, id, addr));
}

/* Spreads what the table knows over `paths` new legs of one family. */
static void seed_legs(struct kad *k, struct request *r, unsigned net, unsigned paths, uint8_t wanted, uint8_t alpha)
{
    const struct table_contact *found[SEEDS_MAX];
    const struct table *t = &k->net[net].table;
    unsigned first = r->n_legs;
    size_t max = paths * 2u * k->k, n = table_closest(t, r->target, found, max < SEEDS_MAX ? max : SEEDS_MAX, UINT8_MAX);

    for (unsigned i = 0; i < paths && i < n; i++)
        if (!add_leg(k, r, t->family, wanted, alpha))
            break;
    if (r->n_legs == first)
        return;
    for (size_t i = 0; i < n; i++) {
        struct addr addr = table_addr(t, found[i]);
        offer(k, r, first + (unsigned)(i % (r->n_legs - first)), found[i]->id, &addr);
    }
}

void request_look(struct kad *k, struct request *r, const uint8_t target[KAD_ID_SIZE])
{
    if (r->n_legs) {
        rpc_orphan(&k->rpc, r);
        free_legs(r);
        r->writing = 0;
    }
    if (target != r->target)
        memcpy(r->target, target, KAD_ID_SIZE);
    r->phase = PHASE_LOOKING;
    if (r->fixed) {
        struct lookup *l = add_leg(k, r, r->addr.family, 1, 1);
        if (l)
            lookup_offer(l, r->peer_id, &r->addr, false);
        return;
    }
    for (unsigned net = 0; net < 2; net++) {
        struct table *t = &k->net[net].table;
        if (!k->net[net].used || t->n == 0)
            continue;
        table_touch(t, k->now.mono_ms, r->target);
        bool many = r->kind == REQUEST_BOOT && t->n >= REQUEST_PATHS && !(k->without & KAD_WITHOUT_PATHS);
        /* Nobody waits for the first lookup of our own id: each of its paths asks one after another, so nobody
         * for nothing. */
        uint8_t alpha = r->kind == REQUEST_BOOT ? 1 : k->alpha;
        seed_legs(k, r, net, many ? REQUEST_PATHS : 1, k->k, alpha);
    }
}

/* A get that found nothing goes once more, over paths that avoid everybody asked so far. */
static bool try_paths(struct kad *k, struct request *r)
{
    unsigned before = r->n_legs;
    uint8_t wanted = k->k > 2 ? k->k / 2 : k->k;

    if (r->paths_tried || r->fixed || (k->without & KAD_WITHOUT_PATHS))
        return false;
    r->paths_tried = true;
    for (unsigned leg = 0; leg < before; leg++) {
        struct lookup *l = r->legs[leg];
        unsigned first = r->n_legs, given = 0, left = 0;
        for (unsigned i = 0; i < l->n; i++)
            left += l->nodes[l->order[i]].state == LOOKUP_NEW;
        for (unsigned i = 0; i < REQUEST_PATHS && i < left; i++)
            if (!add_leg(k, r, r->leg_family[leg], wanted, 2))
                break;
        if (r->n_legs == first)
            continue;
        for (unsigned i = 0; i < l->n; i++) {
            const struct lookup_node *node = &l->nodes[l->order[i]];
            if (node->state != LOOKUP_NEW)
                continue;
            lookup_offer(r->legs[first + given % (r->n_legs - first)], node->id, &node->addr, false);
            given++;
        }
    }
    return r->n_legs > before;
}

size_t request_closest(const struct request *r, uint8_t family, struct request_node *ret, size_t max)
{
    size_t n = 0;

    for (unsigned leg = 0; leg < r->n_legs; leg++) {
        uint8_t found[LOOKUP_MAX];
        if (r->leg_family[leg] != family)
            continue;
        size_t count = lookup_closest(r->legs[leg], found, LOOKUP_MAX);
        for (size_t i = 0; i < count; i++) {
            const uint8_t *id = r->legs[leg]->nodes[found[i]].id;
            size_t at = n;
            while (at > 0 && id_compare(r->target, id, r->legs[ret[at - 1].leg]->nodes[ret[at - 1].node].id) < 0)
                at--;
            if (at == max)
                break;
            if (n < max)
                n++;
            memmove(&ret[at + 1], &ret[at], (n - at - 1) * sizeof *ret);
            ret[at] = (struct request_node){(uint8_t)leg, found[i]};
        }
    }
    return n;
}

size_t request_width(const struct request *r, uint8_t family)
{
    size_t width = 0;

    for (unsigned leg = 0; leg < r->n_legs; leg++) {
        size_t one = r->leg_family[leg] == family ? lookup_width(r->legs[leg]) : 0;
        width = one > width ? one : width;
    }
    return width;
}

bool request_includes_self(struct kad *k, const struct request *r)
{
    struct request_node found[LOOKUP_MAX];

    if (k->read_only)
        return false;
    for (unsigned net = 0; net < 2; net++) {
        const struct table *t = &k->net[net].table;
        if (!k->net[net].used)
            continue;
        size_t width = request_width(r, t->family), n = request_closest(r, t->family, found, LOOKUP_MAX);
        if (width == 0)
            width = k->k;
        if (n < width)
            return true;
        const uint8_t *last = r->legs[found[width - 1].leg]->nodes[found[width - 1].node].id;
        if (id_compare(r->target, t->self, last) < 0)
            return true;
    }
    return false;
}

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

/* What the k closest say about how many nodes there are; an average over the lookups, each counting a quarter. */
static void note_estimate(struct kad *k, const struct request *r)
{
    const struct lookup *l = r->n_legs == 1 ? r->legs[0] : NULL;
    uint8_t found[LOOKUP_MAX];
    double num = 0, den = 0;

    /* What others chose to have looked up may be crowded by them; what we chose ourselves always counts, or an
     * estimate from when the network was small would call everything crowded ever after. */
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
            f = id_compare(r->target, request_node(r, found[1][at[1]])->id, request_node(r, found[0][at[0]])->id) < 0;
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
    if (!r->inner) {
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
    case REQUEST_SET_GET:
    case REQUEST_SET_PUT:
    case REQUEST_SHARD:
    case REQUEST_SHARD_HANDOVER:
        setwalk_looked_up(k, r);
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
    case REQUEST_SET_GET:
    case REQUEST_SET_PUT:
    case REQUEST_SHARD:
    case REQUEST_SHARD_HANDOVER:
        setwalk_query(r, q);
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
        if (r->kind == REQUEST_GET && !r->has_item && !nobody_answered(r) && try_paths(k, r))
            continue;
        looked_up(k, r);
        return;
    }
}

int request_send(struct kad *k, struct request *r, struct request_node at, struct krpc_msg *q, uint16_t part)
{
    struct lookup_node *node = request_node(r, at);
    struct rpc_tx tx = {.to = node->addr, .owner = RPC_OWNER_REQUEST, .leg = at.leg, .node = at.node, .part = part,
                        .request = r};

    assert(part != PART_LOOKUP);
    memcpy(tx.id, node->id, KAD_ID_SIZE);
    int err = node_query(k, &tx, q);
    if (!err)
        r->writing++;
    return err;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

#define PART_WRITE UINT16_MAX

static void write_family(struct kad *k, struct request *r, uint8_t family,
                         void (*fill)(const struct request *, const struct lookup_node *, struct krpc_msg *))
{
    struct request_node found[LOOKUP_MAX];
    size_t n = request_closest(r, family, found, LOOKUP_MAX), width = request_width(r, family), held = 0;

    for (size_t i = 0; i < n && held < width; i++) {
        struct lookup_node *node = request_node(r, found[i]);
        struct krpc_msg q = {.kind = KRPC_QUERY};
        if (node->refused)
            continue;
        held++;
        if (node->skip || node->written)
            continue;
        fill(r, node, &q);
        if (node->token_size == 0 || request_send(k, r, found[i], &q, PART_WRITE)) {
            node->refused = true;
            held--;
            continue;
        }
        node->written = true;
    }
}

void request_write_more(struct kad *k, struct request *r,
                        void (*fill)(const struct request *r, const struct lookup_node *node, struct krpc_msg *q))
{
    write_family(k, r, 4, fill);
    write_family(k, r, 6, fill);
}

bool request_note_write(struct request *r, struct lookup_node *node, const struct krpc_msg *m)
{
    if (m && m->kind == KRPC_REPLY)
        return true;
    if (m && (m->code == KAD_ERROR_CAS || m->code == KAD_ERROR_STALE)) {
        r->behind++;
        if (node->has_seq && node->seq > r->newer_seq)
            r->newer_seq = node->seq;
        return false;
    }
    if (m)
        r->refusal = m->code;
    node->refused = true;
    return false;
}

int request_write_status(const struct request *r)
{
    if (r->status)
        return r->status;
    /* One liar must not be able to call a good put stale: as many must say so as stored it. */
    if (r->behind > 0 && r->behind >= r->holders)
        return r->has_cas ? CAM_ECAS : CAM_ESTALE;
    if (r->holders > 0)
        return 0;
    return r->refusal ? kad_error_status(r->refusal) : CAM_ENET;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

/* A family that we have no leg in yet may be learned of from the other one (BEP 32). */
static int leg_for(struct kad *k, struct request *r, unsigned asked, uint8_t family)
{
    if (r->leg_family[asked] == family)
        return (int)asked;
    for (unsigned i = 0; i < r->n_legs; i++)
        if (r->leg_family[i] == family)
            return (int)i;
    if (r->kind == REQUEST_PING || !add_leg(k, r, family, k->k, k->alpha))
        return -1;
    return r->n_legs - 1;
}

/* Takes the nodes that an answer names. `hop`: where to note them for a trace, or NULL. */
static size_t learn(struct kad *k, struct request *r, unsigned asked, uint8_t family, struct span list,
                    struct kad_contact *hop, size_t max)
{
    uint8_t id[KAD_ID_SIZE];
    struct addr addr;
    struct node_net *net = &k->net[family == 6];
    size_t n = 0;

    if (!net->used || list.size == 0)
        return 0;
    int leg = leg_for(k, r, asked, family);
    if (leg < 0)
        return 0;
    for (unsigned i = 0; i < 2u * k->k && node_next_listed(k, &list, family, id, &addr); i++) {
        int node = offer(k, r, (unsigned)leg, id, &addr);
        bool fills = r->kind == REQUEST_BOOT || r->kind == REQUEST_REFRESH;
        if (fills && node >= 0 && !table_find(&net->table, id) && table_has_room(&net->table, id, &addr))
            table_offer(&net->table, id, &addr); /* pinged later, if the lookup does not ask it */
        if (hop && n < max) {
            memcpy(hop[n].id, id, KAD_ID_SIZE);
            hop[n].addr = addr;
            hop[n].rtt_ms = hop[n].age_s = 0;
            n++;
        }
    }
    return n;
}

#define HOP_CONTACTS_MAX (1 + 2 * KAD_K)

static void lookup_answer(struct kad *k, struct request *r, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct lookup *l = r->legs[tx->leg];
    struct lookup_node *node = &l->nodes[tx->node];
    struct kad_contact hop[HOP_CONTACTS_MAX];
    struct kad_event e = {.kind = KAD_EVENT_HOP, .tag = r->tag, .contacts = hop};
    struct kad_contact *learned = r->trace ? hop + 1 : NULL;

    if (!id_equal(node->id, m->id)) { /* somebody else lives there now */
        lookup_failed(l, tx->node);
        if (node_acceptable(k, m->id, &tx->to))
            offer(k, r, tx->leg, m->id, &tx->to);
        return;
    }
    lookup_answered(l, tx->node);
    node->rtt_ms = (uint16_t)(k->now.mono_ms - tx->sent_ms);
    if (m->token.data && m->token.size <= KRPC_TOKEN_MAX) {
        memcpy(node->token, m->token.data, m->token.size);
        node->token_size = (uint8_t)m->token.size;
    }
    if (!r->fixed) {
        size_t n = learn(k, r, tx->leg, 4, m->nodes, learned, KAD_K);
        n += learn(k, r, tx->leg, 6, m->nodes6, learned ? learned + n : NULL, KAD_K);
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
    struct request_node at = {tx->leg, tx->node};
    switch (r->kind) {
    case REQUEST_GET:
    case REQUEST_PUT:
    case REQUEST_REPLICATE:
    case REQUEST_HANDOVER:
        walk_value(k, r, &r->legs[tx->leg]->nodes[tx->node], m);
        break;
    case REQUEST_SET_GET:
    case REQUEST_SET_PUT:
    case REQUEST_SHARD:
    case REQUEST_SHARD_HANDOVER:
        setwalk_value(k, r, at, m);
        break;
    default:
        break;
    }
}

static void ping_ended(struct kad *k, struct request *r, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    struct kad_contact c = {.addr = tx->to};
    struct kad_event e = {.kind = KAD_EVENT_PING, .tag = r->tag, .last = true, .contacts = &c, .n_contacts = 1};

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
    if (reaches_out && k->net[0].table.n + k->net[1].table.n == 0 && join_pending(k)) {
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
    r->prev = k->last;
    r->next = NULL;
    if (k->last)
        k->last->next = r;
    else
        k->first = r;
    k->last = r;
    if (!r->inner)
        k->n_requests++;
    r->phase = PHASE_QUEUED;
    start(k, r);
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
        r->prev = k->last;
        if (k->last)
            k->last->next = r;
        else
            k->first = r;
        k->last = r;
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
        learn(k, r, (unsigned)leg, 4, m->nodes, NULL, 0);
        learn(k, r, (unsigned)leg, 6, m->nodes6, NULL, 0);
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

void request_tick(struct kad *k)
{
    if (k->now.mono_ms < k->request_next_ms)
        return;
    k->request_next_ms = NOW_NEVER;
    while (begin_waiting(k, false) || start_queued(k))
        ;
    for (const struct request *r = k->first; r; r = r->next)
        if (r->phase == PHASE_WAITING && r->wait_until_ms < k->request_next_ms)
            k->request_next_ms = r->wait_until_ms;
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
        assert(r->n_legs <= REQUEST_LEGS_MAX && r->prev == (r == k->first ? NULL : r->prev));
        for (unsigned i = 0; i < r->n_legs; i++) {
            const struct lookup *l = r->legs[i];
            lookup_check(l);
            for (unsigned j = 0; r->n_legs > 1 && j < l->n; j++)
                assert(!was_asked(&l->nodes[l->order[j]]) || !asked_elsewhere(r, i, l->nodes[l->order[j]].id));
        }
    }
    assert(n == k->n_requests && active == k->n_active && inner == k->n_inner);
    assert(n <= REQUEST_MAX && active <= REQUEST_ACTIVE_MAX && inner <= REQUEST_INNER_MAX + 1);
}
