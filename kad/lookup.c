#include "kad/lookup.h"

#include <assert.h>
#include <string.h>

void lookup_init(struct lookup *l, const uint8_t target[ID_SIZE], uint8_t k, uint8_t alpha, double estimate)
{
    /* Not the nodes: they are written when they are taken into use. */
    memcpy(l->target, target, ID_SIZE);
    l->k = k;
    l->alpha = alpha;
    l->n = l->asked = l->stalled = l->answered = 0;
    l->estimate = estimate;
    l->least = 0;
    l->witnesses = 0;
}

int lookup_find(const struct lookup *l, const uint8_t id[ID_SIZE])
{
    for (unsigned i = 0; i < l->n; i++)
        if (id_equal(l->nodes[l->order[i]].id, id))
            return l->order[i];
    return -1;
}

/* The place of a node that may be given up for a closer one: the farthest that was not asked or has failed. */
static int place_to_free(const struct lookup *l)
{
    for (int i = l->n - 1; i >= 0; i--) {
        uint8_t state = l->nodes[l->order[i]].state;
        if (state == LOOKUP_NEW || state == LOOKUP_SUSPECT || state == LOOKUP_FAILED)
            return i;
    }
    return -1;
}

int lookup_offer(struct lookup *l, const uint8_t id[ID_SIZE], const struct addr *addr, bool suspect)
{
    unsigned at = 0, slot = l->n;

    /* Order is total, so a binary search would do; but most offers lie near the front. */
    while (at < l->n) {
        const struct lookup_node *other = &l->nodes[l->order[at]];
        int order = id_compare(l->target, id, other->id);
        if (order < 0)
            break;
        if (order == 0)
            goto known;
        at++;
    }
    if (l->n == LOOKUP_MAX) {
        int last = place_to_free(l);
        if (last < 0 || (unsigned)last < at)
            return -1;
        slot = l->order[last];
        memmove(&l->order[last], &l->order[last + 1], (size_t)(l->n - last - 1));
        l->n--;
    }
    memmove(&l->order[at + 1], &l->order[at], l->n - at);
    l->order[at] = (uint8_t)slot;
    l->n++;
    struct lookup_node *node = &l->nodes[slot];
    memset(node, 0, offsetof(struct lookup_node, token));
    memcpy(node->id, id, ID_SIZE);
    node->addr = *addr;
    node->state = suspect ? LOOKUP_SUSPECT : LOOKUP_NEW;
    return (int)slot;

known:;
    /* One id at two addresses: a node that came back elsewhere. The first address is believed until it fails. */
    struct lookup_node *was = &l->nodes[l->order[at]];
    bool dead = was->state == LOOKUP_FAILED || was->state == LOOKUP_SUSPECT;
    if (!dead || suspect || addr_equal(&was->addr, addr) || was->reoffers == LOOKUP_REOFFERS)
        return -1;
    was->reoffers++;
    was->addr = *addr;
    was->state = LOOKUP_NEW;
    return l->order[at];
}

static bool counts(const struct lookup_node *node)
{
    return node->state != LOOKUP_FAILED && node->state != LOOKUP_SUSPECT &&
           !(node->plain && node->state == LOOKUP_ANSWERED);
}

/* Called for every answer, so the usual case looks at one distance only: that of the k-th node. */
size_t lookup_width(const struct lookup *l)
{
    size_t n = 0, dense = 0;

    if (l->estimate <= 0)
        return l->k;
    for (unsigned i = 0; i < l->n; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        if (!counts(node) || ++n < l->k)
            continue;
        double distance = id_distance(l->target, node->id);
        if (distance * LOOKUP_DENSE * l->estimate < (double)n)
            dense = n;
        else if (n == l->k)
            return distance * l->least > LOOKUP_SPARSE * l->k ? LOOKUP_SPARSE * (size_t)l->k : l->k;
    }
    return l->k + dense;
}

int lookup_next(const struct lookup *l)
{
    size_t width = lookup_width(l) + l->witnesses, before = 0;

    if (l->asked >= l->alpha || (l->asked >= LOOKUP_FIRST && l->answered == 0))
        return -1;
    for (unsigned i = 0; i < l->n && before < width; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        if (node->state == LOOKUP_NEW)
            return l->order[i];
        /* One that has stalled is likely dead: the next in line is asked before that is certain. */
        before += counts(node) && node->state != LOOKUP_STALLED;
    }
    if (l->answered > 0 || l->asked > 0 || l->stalled > 0)
        return -1;
    for (unsigned i = 0; i < l->n; i++)
        if (l->nodes[l->order[i]].state == LOOKUP_SUSPECT)
            return l->order[i];
    return -1;
}

static void set_state(struct lookup *l, int node, enum lookup_state state)
{
    struct lookup_node *n = &l->nodes[node];

    l->asked = (uint8_t)(l->asked - (n->state == LOOKUP_ASKED) + (state == LOOKUP_ASKED));
    l->stalled = (uint8_t)(l->stalled - (n->state == LOOKUP_STALLED) + (state == LOOKUP_STALLED));
    l->answered = (uint8_t)(l->answered - (n->state == LOOKUP_ANSWERED) + (state == LOOKUP_ANSWERED));
    n->state = (uint8_t)state;
}

void lookup_sent(struct lookup *l, int node)
{
    set_state(l, node, LOOKUP_ASKED);
}

void lookup_stalled(struct lookup *l, int node)
{
    set_state(l, node, LOOKUP_STALLED);
}

void lookup_answered(struct lookup *l, int node)
{
    set_state(l, node, LOOKUP_ANSWERED);
}

void lookup_failed(struct lookup *l, int node)
{
    set_state(l, node, LOOKUP_FAILED);
}

void lookup_plain(struct lookup *l, int node)
{
    l->nodes[node].plain = true;
    set_state(l, node, LOOKUP_NEW);
}

bool lookup_is_close(const struct lookup *l, int node)
{
    size_t width = lookup_width(l), before = 0;

    for (unsigned i = 0; i < l->n && before < width; i++) {
        if (l->order[i] == node)
            return true;
        before += counts(&l->nodes[l->order[i]]);
    }
    return false;
}

bool lookup_done(const struct lookup *l)
{
    size_t width = lookup_width(l) + l->witnesses, before = 0;

    if (l->asked == 0 && l->stalled == 0)
        return lookup_next(l) < 0;
    for (unsigned i = 0; i < l->n && before < width; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        if (node->state == LOOKUP_NEW || node->state == LOOKUP_ASKED || node->state == LOOKUP_STALLED)
            return false;
        before += counts(node);
    }
    return before >= width;
}

size_t lookup_closest(const struct lookup *l, uint8_t ret[LOOKUP_MAX], size_t max)
{
    size_t n = 0;

    for (unsigned i = 0; i < l->n && n < max; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        if (node->state == LOOKUP_ANSWERED && !node->plain)
            ret[n++] = l->order[i];
    }
    return n;
}

void lookup_check(const struct lookup *l)
{
    unsigned asked = 0, stalled = 0, answered = 0;

    assert(l->n <= LOOKUP_MAX);
    for (unsigned i = 0; i < l->n; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        asked += node->state == LOOKUP_ASKED;
        stalled += node->state == LOOKUP_STALLED;
        answered += node->state == LOOKUP_ANSWERED;
        if (i > 0)
            assert(id_compare(l->target, l->nodes[l->order[i - 1]].id, node->id) < 0);
    }
    assert(asked == l->asked && stalled == l->stalled && answered == l->answered);
}
