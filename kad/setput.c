/* Writing one entry of a signed set: to the shard at depth 0, and one level deeper for as long as its
 * holders say that it is split. An entry stays in the shallower shard where some took it; readers merge.
 *
 * Who has put into a deep set before need not come down from the root each time: a node remembers at which
 * depth its last put under a root ended, and begins at the shard above that one. Most of its holders must
 * say that it is split, as they did then; if not (the set was merged back), the put begins again at the
 * root. */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/setwalk.h"

void setput_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q)
{
    const struct setwalk *w = r->set;

    q->method = KRPC_SPUT;
    q->target = w->root;
    q->has_depth = true;
    q->depth = w->shard.depth;
    q->token = span(node->token, node->token_size);
    q->k = w->entry.pk;
    q->sig = w->entry.sig;
    q->has_seq = true;
    q->seq = w->entry.seq;
    q->v = (struct ben){w->entry.v.data, w->entry.v.size};
}

static void push_result(struct kad *k, const struct request *r)
{
    struct kad_event e = {.kind = KAD_EVENT_SET_PUT, .tag = r->tag, .last = true, .holders = r->holders,
                          .status = request_write_status(r)};

    memcpy(e.target, r->set->root, KAD_ID_SIZE);
    if (e.status == CAM_ESTALE)
        e.newer_seq = r->newer_seq > r->set->entry.seq ? r->newer_seq : r->set->entry.seq;
    event_push(k, &e);
}

static void go_deeper(struct kad *k, struct request *r)
{
    struct kad_shard_id next;
    uint8_t slot[KAD_SLOT_SIZE];

    kad_slot(r->set->entry.pk, slot);
    kad_shard_of(&next, r->set->root, (uint8_t)(r->set->shard.depth + 1), slot);
    setwalk_look(k, r, &next);
}

/* ---- the depth of sets --------------------------------------------------------------------------------- */

static struct setput_hint *hint_of(struct kad *k, const uint8_t root[KAD_ID_SIZE])
{
    return &k->set_hints[root[KAD_ID_SIZE - 1] % SETPUT_HINTS_MAX];
}

static uint8_t hint_get(struct kad *k, const uint8_t root[KAD_ID_SIZE])
{
    return k->set_hints && hint_of(k, root)->word == be64(root) ? hint_of(k, root)->depth : 0;
}

/* A set that is not split deeply costs nothing to come down to, so it is not remembered. */
static void hint_set(struct kad *k, const uint8_t root[KAD_ID_SIZE], uint8_t depth)
{
    if (depth < 2 && hint_get(k, root) == 0)
        return;
    if (!k->set_hints)
        k->set_hints = calloc(SETPUT_HINTS_MAX, sizeof *k->set_hints);
    if (k->set_hints)
        *hint_of(k, root) = (struct setput_hint){.word = be64(root), .depth = depth};
}

void setput_begin(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    uint8_t slot[KAD_SLOT_SIZE], depth = hint_get(k, w->root);
    struct kad_shard_id at;

    w->guessed = depth > 1;
    kad_slot(w->entry.pk, slot);
    kad_shard_of(&at, w->root, w->guessed ? depth - 1 : 0, slot);
    setwalk_look(k, r, &at);
}

/* ---- putting ------------------------------------------------------------------------------------------- */

/* Of the k closest, where readers look, as many called the shard split as took the entry, or more. Those
 * beyond them, who are put an entry too where the closest stand suspiciously close, may not have heard of the
 * split. */
static bool is_sent_down(const struct kad *k, struct request *r)
{
    struct request_node found[LOOKUP_MAX];
    unsigned split = r->set->here_split, took = 0;

    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t n = request_closest(r, family, found, LOOKUP_MAX);
        for (size_t i = 0; i < n && i < k->k; i++) {
            const struct lookup_node *node = request_node(r, found[i]);
            split += node->skip;
            took += node->written && !node->refused && !node->skip;
        }
    }
    return split > 0 && split >= took;
}

static void write_on(struct kad *k, struct request *r)
{
    const struct setwalk *w = r->set;

    if (!r->status)
        request_write_more(k, r, setput_query);
    if (r->writing)
        return;
    if (!r->status && w->shard.depth < KAD_SHARD_DEPTH_MAX && is_sent_down(k, r)) {
        r->holders = 0;
        go_deeper(k, r);
        return;
    }
    if (request_write_status(r) == 0)
        hint_set(k, w->root, w->shard.depth);
    push_result(k, r);
    request_finish(k, r);
}

/* Our own store is a holder like the others where we are among the k closest. */
static void store_here(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;

    if (!request_includes_self(k, r))
        return;
    int code = kad_store_set_put(k->store, k->now, w->root, w->shard.depth, &w->entry, NULL);
    if (code == KAD_STORE_SPLIT)
        w->here_split = true;
    else if (code == KAD_ERROR_STALE)
        r->status = CAM_ESTALE;
}

void setput_looked_up(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    /* Where not nearly all call it split the others are asked by putting it there:
     * readers might believe the others. */
    bool deeper = setwalk_is_split(w) && setwalk_is_sure(w);

    if (w->guessed && !deeper) {
        hint_set(k, w->root, 0);
        setput_begin(k, r);
        return;
    }
    w->guessed = false;
    if (deeper) {
        go_deeper(k, r);
        return;
    }
    store_here(k, r);
    write_on(k, r);
}

void setput_written(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m)
{
    if (request_note_write(r, request_node(r, at), m)) {
        request_node(r, at)->skip = m->split;
        r->holders += !m->split;
    }
    write_on(k, r);
}
