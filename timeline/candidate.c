/* Whom a chase may ask for posts: the author, and other followers, as remembered and as the network names
 * them. */
#include <string.h>

#include "timeline/state.h"

struct candidate *candidate_find(struct chase *c, const uint8_t key[LINK_KEY_SIZE])
{
    for (size_t i = 0; i < c->n_candidates; i++)
        if (memcmp(c->candidates[i].dest.key, key, LINK_KEY_SIZE) == 0)
            return &c->candidates[i];
    return NULL;
}

bool catchup_is_asked(const struct follow *f, const uint8_t key[LINK_KEY_SIZE])
{
    struct candidate *c = f->chase ? candidate_find(f->chase, key) : NULL;
    return c && c->state != CANDIDATE_FRESH;
}

struct candidate *candidate_add(struct timeline *t, struct chase *c, const struct link_dest *dest,
                                bool is_author)
{
    if (memcmp(dest->key, t->config.transport_pk, LINK_KEY_SIZE) == 0 || !addr_is_usable(&dest->addr))
        return NULL;
    struct candidate *at = candidate_find(c, dest->key);
    if (at) {
        if (!addr_equal(&at->dest.addr, &dest->addr)) { /* it moved: as good as not asked */
            at->dest.addr = dest->addr;
            if (at->state == CANDIDATE_FAILED)
                at->state = CANDIDATE_FRESH;
        }
        return at;
    }
    if (c->n_candidates < CHASE_CANDIDATES_MAX)
        at = &c->candidates[c->n_candidates++];
    for (size_t i = 0; !at && i < c->n_candidates; i++) /* full: one that was of no use gives way */
        if (c->candidates[i].state == CANDIDATE_FAILED && (int)i != c->source)
            at = &c->candidates[i];
    if (at)
        *at = (struct candidate){ .dest = *dest, .is_author = is_author };
    return at;
}

struct gather {
    struct timeline *t;
    struct chase *chase;
};

static int gather_edge(void *ctx, const struct store_edge *e)
{
    struct gather *g = ctx;
    if (!account_is(g->t, e->from) && e->has_dest)
        candidate_add(g->t, g->chase, &e->dest, false);
    return 0;
}

void candidate_gather(struct timeline *t, struct follow *f)
{
    const struct link_dest *best = person_dest(f->who);
    if (best)
        candidate_add(t, f->chase, best, true);
    for (size_t i = 0; i < f->who->n_peers; i++)
        candidate_add(t, f->chase, &f->who->peers[i].dest, true);
    struct gather g = { t, f->chase };
    store_edge_to(t->store, f->who->pk, CHASE_CANDIDATES_MAX - 1, gather_edge, &g);
}
