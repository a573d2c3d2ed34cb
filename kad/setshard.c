/* Keeping a shard that we hold the same at all its holders, once an hour for what nobody refreshed meanwhile, and
 * at once with a new contact that should hold it. Holders are compared by digest; with those that differ, entries
 * go both ways.
 *
 *                        same digest everywhere
 *     COMPARE ---------------------------------------------------------------+
 *        |  pages of each other digest                                       v
 *        +---------------> take what is new to us, PUSH what is new to them  (end)
 *        |
 *        | our shard is split: each child in turn          COMPARE the child's holders, MOVE our entries of it
 *        | our shard's parent is not split (any more)      COMPARE the parent's holders, MOVE all our entries
 *        v
 *       MOVE: one entry after another to all k closest; when half of them took it, it is dropped here
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/setwalk.h"

#define PART_PUSH (1 + SETWALK_RANGES_MAX) /* after the parts of ranges */
#define PUSH_WINDOW 16                     /* sputs in flight */

enum stage { STAGE_PARENT, STAGE_COMPARE, STAGE_CHILDREN };

static void look_stage(struct kad *k, struct request *r);
static void stage_ended(struct kad *k, struct request *r);

static void entry_query(const struct setwalk *w, const struct lookup_node *node, const struct kad_entry *entry,
                        struct krpc_msg *q)
{
    q->method = KRPC_SPUT;
    q->target = w->root;
    q->has_depth = true;
    q->depth = w->shard.depth;
    q->token = span(node->token, node->token_size);
    q->k = entry->pk;
    q->sig = entry->sig;
    q->has_seq = true;
    q->seq = entry->seq;
    q->age_s = entry->age_s;
    q->since_s = entry->since_s;
    q->v = (struct ben){entry->v.data, entry->v.size};
}

/* ---- PUSH: our entries to those who lack them ---------------------------------------------------------- */

static const struct setwalk_holder *holder_at(const struct setwalk *w, struct request_node at)
{
    for (unsigned i = 0; i < w->n_holders; i++)
        if (w->holders[i].at.leg == at.leg && w->holders[i].at.node == at.node)
            return &w->holders[i];
    return NULL;
}

static bool lacks(const struct setwalk *w, const struct setwalk_holder *h, const struct kad_entry *entry,
                  const uint8_t *slot)
{
    if (!h)
        return true;
    if (memcmp(h->digest, w->own_digest, KAD_ID_SIZE) == 0)
        return false;
    if (h->held == 0)
        return true;
    const struct setwalk_found *f = setwalk_find(w, slot);
    return !f || !(f->groups & UINT32_C(1) << h->group) ||
           kad_version_compare(entry->seq, entry->v, f->entry.seq, f->entry.v) > 0;
}

/* One entry to all that lack it; returns how many were sent. */
static unsigned send_entry(struct kad *k, struct request *r, const struct kad_entry *entry, const uint8_t *slot,
                           bool to_all)
{
    struct request_node found[LOOKUP_MAX];
    unsigned sent = 0;

    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t n = request_closest(r, family, found, LOOKUP_MAX), width = request_width(r, family);
        for (size_t i = 0; i < n && i < width; i++) {
            struct lookup_node *node = request_node(r, found[i]);
            struct krpc_msg q = {.kind = KRPC_QUERY};
            if (node->refused || node->token_size == 0)
                continue;
            if (!to_all && !lacks(r->set, holder_at(r->set, found[i]), entry, slot))
                continue;
            entry_query(r->set, node, entry, &q);
            sent += request_send(k, r, found[i], &q, PART_PUSH) == 0;
        }
    }
    return sent;
}

static void push_on(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    while (w->pushing && r->writing < PUSH_WINDOW) {
        if (!kad_store_entry_next(k->store, k->now, &w->own, w->has_cursor ? w->cursor : NULL, 0, &entry, slot)) {
            w->pushing = false;
            break;
        }
        memcpy(w->cursor, slot, KAD_SLOT_SIZE);
        w->has_cursor = true;
        send_entry(k, r, &entry, slot, false);
    }
    if (r->writing == 0 && !w->pushing)
        stage_ended(k, r);
}

static void start_push(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    bool differs = false;

    for (unsigned i = 0; i < w->n_holders; i++)
        differs = differs || memcmp(w->holders[i].digest, w->own_digest, KAD_ID_SIZE) != 0;
    w->pushing = differs;
    w->has_cursor = false;
    push_on(k, r);
}

/* Who gave us an entry: it counts against the room of that one, not of ourselves. NULL: it is our own. */
static const struct addr *giver(struct request *r, const struct setwalk_found *f)
{
    for (unsigned i = 0; i < r->set->n_holders; i++)
        if (f->groups & UINT32_C(1) << r->set->holders[i].group)
            return &request_node(r, r->set->holders[i].at)->addr;
    return NULL;
}

/* What the others have and we lack; and since when they know of it, while the shard is new to us. */
static void take_theirs(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    bool is_new = kad_store_shard_is_new(k->store, k->now, &w->own);
    bool ours = r->fixed || request_includes_self(k, r);

    for (uint32_t i = 0; i < w->n_found; i++) {
        const struct setwalk_found *f = w->found[i];
        struct kad_entry held;
        bool have = kad_store_entry_get(k->store, k->now, &w->own, f->entry.pk, &held) == 0;
        if (ours && (!have || kad_version_compare(f->entry.seq, f->entry.v, held.seq, held.v) > 0))
            have = kad_store_set_put(k->store, k->now, w->root, w->own.depth, &f->entry, giver(r, f)) == 0;
        if (have && is_new)
            kad_store_set_since(k->store, k->now, &w->own, f->entry.pk, setwalk_since(f));
    }
}

/* ---- MOVE: our entries to another level ---------------------------------------------------------------- */

static void move_on(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    while (r->writing == 0) {
        if (w->has_cursor && w->asked > 0 && w->acks * 2 >= w->asked)
            kad_store_handed(k->store, k->now, &w->own, w->push_pk, w->push_seq);
        w->acks = w->asked = 0;
        do {
            if (!kad_store_entry_next(k->store, k->now, &w->own, w->has_cursor ? w->cursor : NULL, 0, &entry, slot)) {
                stage_ended(k, r);
                return;
            }
            memcpy(w->cursor, slot, KAD_SLOT_SIZE);
            w->has_cursor = true;
        } while (w->stage == STAGE_CHILDREN && !kad_shard_contains(&w->shard, slot));
        memcpy(w->push_pk, entry.pk, KEY_SIZE);
        w->push_seq = entry.seq;
        if (request_includes_self(k, r) &&
            kad_store_set_put(k->store, k->now, w->root, w->shard.depth, &entry, NULL) == 0)
            w->acks++, w->asked++;
        /* The store may have moved under us: read it again before it is sent. */
        if (kad_store_entry_get(k->store, k->now, &w->own, w->push_pk, &entry) == 0)
            w->asked += send_entry(k, r, &entry, slot, true);
    }
}

/* ---- TEACH: a parent's holders that do not know of its split ------------------------------------------- */

/* An empty shard has nothing that could be handed to a new holder, so who comes after those that saw the parent
 * split would never hear of it. One entry of ours is enough: it makes them holders, and in their next hour they
 * compare and learn. False: nobody needs it. */
static bool teach_parent(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct request_node found[LOOKUP_MAX];
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    if (!setwalk_is_split(w) || !kad_store_entry_next(k->store, k->now, &w->own, NULL, 0, &entry, slot))
        return false;
    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t n = request_closest(r, family, found, LOOKUP_MAX), width = request_width(r, family);
        for (size_t i = 0; i < n && i < width; i++) {
            const struct setwalk_holder *h = holder_at(r->set, found[i]);
            const struct lookup_node *node = request_node(r, found[i]);
            struct krpc_msg q = {.kind = KRPC_QUERY};
            if (!h || h->split || h->held > 0 || node->token_size == 0)
                continue;
            entry_query(w, node, &entry, &q);
            w->teaching = request_send(k, r, found[i], &q, PART_PUSH) == 0 || w->teaching;
        }
    }
    return w->teaching;
}

/* ---- stages -------------------------------------------------------------------------------------------- */

static void look_stage(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct kad_shard_id at = w->own;

    if (w->stage == STAGE_PARENT)
        kad_shard_parent(&at, &w->own);
    else if (w->stage == STAGE_CHILDREN)
        kad_shard_child(&at, &w->own, w->digit);
    setwalk_forget(w);
    w->has_cursor = false;
    w->asked = w->acks = 0;
    setwalk_look(k, r, &at);
}

void setshard_begin(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct kad_set_query query = {.max = 1};
    struct kad_set_page page;

    kad_store_set_get(k->store, k->now, &w->own, &query, &page);
    memcpy(w->own_digest, page.digest, KAD_ID_SIZE);
    w->own_split = page.split;
    w->stage = w->own.depth > 0 && !r->fixed ? STAGE_PARENT : STAGE_COMPARE;
    look_stage(k, r);
}

void setshard_looked_up(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;

    switch (w->stage) {
    case STAGE_PARENT: {
        unsigned holding = 0;
        for (unsigned i = 0; i < w->n_holders; i++)
            holding += w->holders[i].held > 0 || w->holders[i].split;
        /* Up again only where somebody keeps the parent and nobody calls it split. */
        bool split = false;
        for (unsigned i = 0; i < w->n_holders; i++)
            split = split || w->holders[i].split;
        if (holding > 0 && !split)
            move_on(k, r);
        else if (!teach_parent(k, r))
            stage_ended(k, r);
        break;
    }
    case STAGE_COMPARE: {
        if (setwalk_is_split(w) && !w->own_split && !r->fixed)
            kad_store_split(k->store, k->now, &w->own);
        /* What a new holder was handed says nothing of since when: that the others are asked for. */
        bool is_new = kad_store_shard_is_new(k->store, k->now, &w->own);
        if (!setwalk_start_ranges(k, r, is_new ? NULL : w->own_digest)) {
            take_theirs(k, r);
            start_push(k, r);
        }
        break;
    }
    default: {
        uint32_t most = 0;
        for (unsigned i = 0; i < w->n_holders; i++)
            most = w->holders[i].held > most ? w->holders[i].held : most;
        w->child_held += setwalk_is_split(w) ? KAD_SHARD_ENTRIES_MAX : most;
        move_on(k, r);
        break;
    }
    }
}

void setshard_answer(struct kad *k, struct request *r, struct request_node at, uint16_t part, const struct krpc_msg *m)
{
    struct setwalk *w = r->set;

    if (part != PART_PUSH) {
        setwalk_range_answer(k, r, part, m);
        if (r->writing == 0) {
            take_theirs(k, r);
            start_push(k, r);
        }
        return;
    }
    bool took = m && m->kind == KRPC_REPLY && !m->split;
    /* One that has a newer version holds the key's entry, which is all that is wanted of it. */
    took = took || (m && m->kind == KRPC_ERROR && m->code == KAD_ERROR_STALE);
    if (!m || (m->kind == KRPC_ERROR && m->code != KAD_ERROR_STALE))
        request_node(r, at)->refused = !m || m->code == KAD_ERROR_PROTOCOL || m->code == KAD_ERROR_FULL;
    w->acks += took;
    if (w->teaching) {
        w->teaching = r->writing > 0;
        if (!w->teaching)
            stage_ended(k, r);
    } else if (w->stage == STAGE_COMPARE) {
        push_on(k, r);
    } else {
        move_on(k, r);
    }
}

static void stage_ended(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    switch (w->stage) {
    case STAGE_PARENT:
        w->stage = STAGE_COMPARE;
        if (!kad_store_entry_next(k->store, k->now, &w->own, NULL, 0, &entry, slot))
            break; /* all has gone up */
        look_stage(k, r);
        return;
    case STAGE_COMPARE:
        if (!w->own_split || r->fixed || w->own.depth >= KAD_SHARD_DEPTH_MAX)
            break;
        w->stage = STAGE_CHILDREN;
        w->digit = 0;
        look_stage(k, r);
        return;
    default:
        if (++w->digit < 16) {
            look_stage(k, r);
            return;
        }
        if (w->child_held < KAD_SHARD_MERGE_MAX)
            kad_store_reopen(k->store, k->now, &w->own);
        else
            kad_store_split(k->store, k->now, &w->own); /* still needed: the mark has another week */
        break;
    }
    request_finish(k, r);
}
