/* Items: get, put, repair, replication and hand-over are one walk. The lookup asks with `get`, so values and
 * write tokens come along; then those of the k closest that lack the best version are sent a `put`:
 *
 *     get         the best version found; those behind it, or lacking it, are repaired afterwards
 *     put         ours, to all k closest
 *     replicate   what our store has, to those that lack it
 *     hand-over   the same, to one node
 */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"
#include "kad/request.h"

int walk_set_item(struct request *r, const struct kad_item *item)
{
    if (item->v.size > KAD_VALUE_MAX || item->salt.size > KAD_SALT_MAX)
        return CAM_ETOOBIG;
    if (!r->value)
        r->value = malloc(KAD_VALUE_MAX);
    if (!r->value)
        return CAM_ESYS;
    if (item->salt.size)
        memmove(r->salt, item->salt.data, item->salt.size);
    memmove(r->value, item->v.data, item->v.size);
    r->item = *item;
    r->item.salt = span(r->salt, item->salt.size);
    r->item.v = span(r->value, item->v.size);
    r->has_item = true;
    return 0;
}

/* ---- the lookup ---------------------------------------------------------------------------------------- */

static void push_first(struct kad *k, const struct request *r)
{
    struct kad_event e = {.kind = KAD_EVENT_FIRST, .tag = r->tag, .item = &r->item};

    if (r->kind != REQUEST_GET)
        return;
    memcpy(e.target, r->target, KAD_ID_SIZE);
    event_push(k, &e);
}

/* May this be what was asked for? Its signature is not looked at. */
static bool is_wanted(const struct request *r, const struct kad_item *item)
{
    uint8_t target[KAD_ID_SIZE];

    if (r->has_pk && (!item->is_mutable || memcmp(item->pk, r->item.pk, KEY_SIZE) != 0))
        return false;
    kad_item_target(item, target);
    return id_equal(target, r->target);
}

void walk_begin(struct kad *k, struct request *r)
{
    struct kad_item item;

    if (r->kind != REQUEST_GET || kad_store_get(k->store, k->now, r->target, &item) || !is_wanted(r, &item))
        return;
    if (walk_set_item(r, &item))
        return;
    r->own_copy = true;
    r->version = 1;
    push_first(k, r);
}

void walk_query(const struct request *r, struct krpc_msg *q)
{
    q->method = KRPC_GET;
    q->target = r->target;
    /* Who has no newer version need not send it, and a holder learns that another sees to its hour's work. */
    q->has_seq = r->kind == REQUEST_REPLICATE || r->kind == REQUEST_HANDOVER ||
                 (r->kind == REQUEST_PUT && r->item.is_mutable);
    q->seq = r->item.seq;
}

static bool is_over(const struct kad *k, const struct kad_item *item)
{
    int64_t exp_s = kad_value_expires_s(item->v);

    return exp_s != 0 && exp_s <= now_unix_s(k->now);
}

/* A verified version from somewhere else than our own hands. */
static void take_version(struct kad *k, struct request *r, struct lookup_node *node,
                         const struct kad_item *item)
{
    int order = r->has_item ? kad_version_compare(item->seq, item->v, r->item.seq, r->item.v) : 1;

    if (r->kind == REQUEST_PUT) {
        if (item->is_mutable && order > 0) {
            r->status = r->has_cas ? CAM_ECAS : CAM_ESTALE;
            if (item->seq > r->newer_seq)
                r->newer_seq = item->seq;
        }
        return;
    }
    if (order == 0)
        node->version = r->version;
    if (order <= 0)
        return;
    bool first = !r->has_item;
    if (walk_set_item(r, item))
        return;
    if (++r->version == 0)
        r->version = 1;
    node->version = r->version;
    r->own_copy = false;
    if (first)
        push_first(k, r);
}

void walk_value(struct kad *k, struct request *r, struct lookup_node *node, const struct krpc_msg *m)
{
    struct kad_item item = {.is_mutable = m->k && m->sig && m->has_seq, .v = {m->v.data, m->v.size}};

    node->has_seq = m->has_seq;
    node->seq = m->seq;
    if (!m->v.data) {
        /* It says it has our version (or a later one, and would then have sent it). */
        if (m->has_seq && r->has_item && m->seq == r->item.seq && r->kind != REQUEST_GET)
            node->version = r->version;
        return;
    }
    if (item.is_mutable) {
        memcpy(item.pk, m->k, KEY_SIZE);
        memcpy(item.sig, m->sig, SIG_SIZE);
        item.seq = m->seq;
        item.salt = r->item.salt;
    }
    bool same = r->has_item && item.is_mutable == r->item.is_mutable && item.seq == r->item.seq &&
                span_equal(item.v, r->item.v) && memcmp(item.sig, r->item.sig, SIG_SIZE) == 0 &&
                memcmp(item.pk, r->item.pk, KEY_SIZE) == 0;
    if (same) { /* the bytes that were verified already */
        node->version = r->version;
        return;
    }
    if (item.v.size > KAD_VALUE_MAX || !is_wanted(r, &item) || kad_verified_item(&k->verified, &item)) {
        k->stats.refused_signature++;
        return;
    }
    if (is_over(k, &item)) /* holders drop what has expired; who serves it is no holder */
        return;
    take_version(k, r, node, &item);
}

/* ---- what follows it ----------------------------------------------------------------------------------- */

void walk_put_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q)
{
    q->method = KRPC_PUT;
    q->token = span(node->token, node->token_size);
    q->v = (struct ben){r->item.v.data, r->item.v.size};
    if (!r->item.is_mutable)
        return;
    q->k = r->item.pk;
    q->sig = r->item.sig;
    q->has_seq = true;
    q->seq = r->item.seq;
    q->salt = r->item.salt;
    /* A holder that is merely behind what we read is not another writer: it gets the new version plainly. */
    q->has_cas = r->has_cas && node->has_seq && node->seq >= r->cas;
    q->cas = r->cas;
}

static void push_put(struct kad *k, struct request *r)
{
    struct kad_event e = {.kind = KAD_EVENT_PUT, .tag = r->tag, .last = true, .holders = r->holders,
                          .status = request_write_status(r)};

    memcpy(e.target, r->target, KAD_ID_SIZE);
    e.newer_seq = r->newer_seq;
    if ((e.status == CAM_ECAS || e.status == CAM_ESTALE) && e.newer_seq < r->item.seq)
        e.newer_seq = r->item.seq; /* another value of the same seq */
    event_push(k, &e);
    r->answered_tag = true;
}

/* r is gone afterwards, unless writes are under way. */
static void finish_written(struct kad *k, struct request *r)
{
    if (r->writing)
        return;
    if (r->kind == REQUEST_PUT)
        push_put(k, r);
    if (r->kind == REQUEST_REPLICATE && r->holders >= k->k && !request_includes_self(k, r))
        kad_store_far(k->store, k->now, r->target);
    request_finish(k, r);
}

static void write_on(struct kad *k, struct request *r)
{
    if (!r->status)
        request_write_more(k, r, walk_put_query);
    finish_written(k, r);
}

/* Counts who has the best version, and marks whom there is nothing to send. */
static void mark_holders(struct request *r)
{
    for (unsigned leg = 0; leg < r->n_legs; leg++) {
        for (unsigned i = 0; i < r->legs[leg]->n; i++) {
            struct lookup_node *node = &r->legs[leg]->nodes[r->legs[leg]->order[i]];
            bool has = node->state == LOOKUP_ANSWERED && node->version && node->version == r->version;
            r->holders += has;
            /* Lacking it altogether is mended only for values with a signed life: to put one that has none
             * would lengthen it. */
            node->skip = has || (!node->has_seq && !r->missing_too);
        }
    }
}

static void push_get(struct kad *k, struct request *r)
{
    struct kad_event e = {.kind = KAD_EVENT_GET, .tag = r->tag, .last = true, .holders = r->holders};
    bool answered = false;

    for (unsigned leg = 0; leg < r->n_legs; leg++)
        answered = answered || r->legs[leg]->answered;
    memcpy(e.target, r->target, KAD_ID_SIZE);
    e.status = r->has_item ? 0 : answered ? CAM_ENOENT : CAM_ENET;
    e.item = r->has_item ? &r->item : NULL;
    k->stats.lookups_failed += !r->has_item;
    event_push(k, &e);
    r->answered_tag = true;
}

/* Our own copy, when we are among the k closest or already hold an older one. */
static void store_here(struct kad *k, struct request *r)
{
    struct kad_item held;
    bool have = kad_store_get(k->store, k->now, r->target, &held) == 0;

    if (r->own_copy || k->read_only || (!have && !request_includes_self(k, r)))
        return;
    int code = kad_store_put(k->store, k->now, &r->item,
                             r->has_cas && have && held.seq >= r->cas ? &r->cas : NULL, NULL);
    if (r->kind != REQUEST_PUT || (code != KAD_ERROR_CAS && code != KAD_ERROR_STALE))
        return;
    r->status = kad_error_status(code);
    if (have && held.seq > r->newer_seq)
        r->newer_seq = held.seq;
}

void walk_looked_up(struct kad *k, struct request *r)
{
    if (r->kind == REQUEST_PUT) {
        if (!r->status)
            store_here(k, r);
        write_on(k, r);
        return;
    }
    r->missing_too = r->has_item && (r->kind != REQUEST_GET || kad_value_expires_s(r->item.v) != 0);
    mark_holders(r);
    if (r->kind == REQUEST_GET)
        push_get(k, r);
    if (!r->has_item || (r->kind == REQUEST_GET && (k->without & KAD_WITHOUT_NEWEST))) {
        request_finish(k, r);
        return;
    }
    if (r->missing_too || r->item.is_mutable)
        store_here(k, r);
    write_on(k, r);
}

void walk_written(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m)
{
    struct lookup_node *node = request_node(r, at);

    if (request_note_write(r, node, m))
        r->holders++;
    if (node->refused)
        write_on(k, r); /* another takes its place */
    else
        finish_written(k, r);
}
