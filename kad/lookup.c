#include "kad/lookup.h"

#include <assert.h>
#include <math.h>
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
    l->n_namers = 0;
    l->trusting = false;
    l->doubted = l->told = 0;
}

int lookup_find(const struct lookup *l, const uint8_t id[ID_SIZE])
{
    for (unsigned i = 0; i < l->n; i++)
        if (id_equal(l->nodes[l->order[i]].id, id))
            return l->order[i];
    return -1;
}

/* ---- who names whom --------------------------------------------------------------------------------- */

static bool is_silent(uint8_t state)
{
    return state == LOOKUP_STALLED || state == LOOKUP_FAILED;
}

static bool is_held(const struct lookup *l, const struct lookup_node *node)
{
    return l->doubted && !node->vouched && node->state != LOOKUP_ANSWERED &&
           (node->named_by & ~l->doubted) == 0;
}

bool lookup_is_held(const struct lookup *l, int node)
{
    return is_held(l, &l->nodes[node]);
}

static void set_doubt(struct lookup *l, unsigned namer, bool doubted)
{
    uint64_t bit = UINT64_C(1) << namer;

    l->doubted = doubted && !l->trusting ? l->doubted | bit : l->doubted & ~bit;
}

/* What becomes of a node speaks for or against everybody who named it. */
static void judge(struct lookup *l, uint64_t namers, uint8_t was, uint8_t is)
{
    for (; namers; namers &= namers - 1) {
        unsigned who = (unsigned)__builtin_ctzll(namers);
        l->named[who].silent = (uint8_t)(l->named[who].silent - is_silent(was) + is_silent(is));
        l->named[who].live = (uint8_t)(l->named[who].live - (was == LOOKUP_ANSWERED) +
                                       (is == LOOKUP_ANSWERED));
        unsigned silent = l->named[who].silent, live = l->named[who].live;
        bool told = l->told >> who & 1;
        set_doubt(l, who, told ? silent >= live : silent >= LOOKUP_LIES && silent > live);
    }
}

static void note_namer(struct lookup *l, struct lookup_node *node, int by)
{
    const struct lookup_node *namer = by >= 0 ? &l->nodes[by] : NULL;

    if (by == LOOKUP_STRANGER)
        return; /* nobody to blame: as soon as anybody is doubted, it is held back */
    if (!namer || namer->namer == 0) {
        node->vouched = true;
        return;
    }
    uint64_t bit = UINT64_C(1) << (namer->namer - 1);
    if (node->vouched || (node->named_by & bit))
        return;
    node->named_by |= bit;
    judge(l, bit, LOOKUP_NEW, node->state);
}

void lookup_doubt(struct lookup *l, int node)
{
    unsigned namer = l->nodes[node].namer;

    if (namer == 0)
        return;
    l->told |= UINT64_C(1) << (namer - 1);
    set_doubt(l, namer - 1, true);
}

int lookup_lies(const struct lookup *l, int node)
{
    unsigned namer = l->nodes[node].namer;

    if (namer == 0)
        return 0;
    unsigned silent = l->named[namer - 1].silent, live = l->named[namer - 1].live;
    if (silent >= LOOKUP_LIES && silent > 2 * live)
        return 1;
    return (l->told >> (namer - 1) & 1) && live > silent ? -1 : 0;
}

static void set_state(struct lookup *l, int node, enum lookup_state state)
{
    struct lookup_node *n = &l->nodes[node];
    uint8_t was = n->state;

    l->asked = (uint8_t)(l->asked - (was == LOOKUP_ASKED) + (state == LOOKUP_ASKED));
    l->stalled = (uint8_t)(l->stalled - (was == LOOKUP_STALLED) + (state == LOOKUP_STALLED));
    l->answered = (uint8_t)(l->answered - (was == LOOKUP_ANSWERED) + (state == LOOKUP_ANSWERED));
    n->state = (uint8_t)state;
    if (n->named_by)
        judge(l, n->named_by, was, n->state);
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

/* The place of a node that may be given up for a closer one: the farthest that is held back, or else that was
 * not asked or has failed. One that we knew does not give way to one that somebody names, or few liars, each
 * naming nodes beside the target, would crowd out everybody else before they are asked. */
static int place_to_free(const struct lookup *l, bool named)
{
    for (int i = l->n - 1; i >= 0 && l->doubted; i--) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        if (is_held(l, node) && node->state != LOOKUP_ASKED && node->state != LOOKUP_STALLED)
            return i;
    }
    for (int i = l->n - 1; i >= 0; i--) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        bool unasked = node->state == LOOKUP_NEW || node->state == LOOKUP_SUSPECT;
        if (node->state == LOOKUP_FAILED || (unasked && !(named && node->vouched)))
            return i;
    }
    return -1;
}

int lookup_offer(struct lookup *l, const uint8_t id[ID_SIZE], const struct addr *addr, bool suspect)
{
    return lookup_named(l, LOOKUP_OURS, id, addr, suspect);
}

/* Its first address has been judged, with all who named that. */
static void readdress(struct lookup *l, int node, const struct addr *addr, int by)
{
    struct lookup_node *n = &l->nodes[node];

    n->addr = *addr;
    n->other.family = 0;
    n->reoffers++;
    n->named_by = 0;
    n->vouched = false;
    set_state(l, node, LOOKUP_NEW);
    note_namer(l, n, by);
}

/* One id at two addresses: a node that came back elsewhere, or somebody lies. The first is believed until it
 * fails, and only those who named the other answer for that. */
static int named_elsewhere(struct lookup *l, int node, const struct addr *addr, int by)
{
    struct lookup_node *n = &l->nodes[node];

    if (n->reoffers == LOOKUP_REOFFERS)
        return -1;
    if (n->state == LOOKUP_FAILED || n->state == LOOKUP_SUSPECT) {
        readdress(l, node, addr, by);
        return node;
    }
    if (n->other.family == 0) {
        n->other = *addr;
        n->other_by = (int8_t)by;
    }
    return -1;
}

int lookup_named(struct lookup *l, int by, const uint8_t id[ID_SIZE], const struct addr *addr, bool suspect)
{
    unsigned at = 0, end = l->n, slot = l->n;

    while (at < end) {
        unsigned middle = (at + end) / 2;
        int order = id_compare(l->target, id, l->nodes[l->order[middle]].id);
        if (order == 0) {
            at = middle;
            goto known;
        }
        if (order < 0)
            end = middle;
        else
            at = middle + 1;
    }
    if (l->n == LOOKUP_MAX) {
        int last = place_to_free(l, by != LOOKUP_OURS);
        if (last < 0 || ((unsigned)last < at && !is_held(l, &l->nodes[l->order[last]])))
            return -1;
        at -= (unsigned)last < at;
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
    note_namer(l, node, by);
    return (int)slot;

known:;
    struct lookup_node *was = &l->nodes[l->order[at]];
    if (!addr_equal(&was->addr, addr))
        return suspect ? -1 : named_elsewhere(l, l->order[at], addr, by);
    note_namer(l, was, by);
    return -1;
}

/* Does it count among the closest, for how far to go on? That is one question, wherever it is asked: what
 * follows looks at nodes until `width` have counted. */
static bool counts(const struct lookup *l, const struct lookup_node *node)
{
    return node->state != LOOKUP_FAILED && node->state != LOOKUP_SUSPECT &&
           !(node->plain && node->state == LOOKUP_ANSWERED) && !is_held(l, node);
}

/* How many nodes lie within a distance is a Poisson number, k at that of the k-th: others were kept from us
 * where the network's size lets one expect many deviations more. */
static bool is_sparse(const struct lookup *l, double distance_of_kth)
{
    return distance_of_kth * l->least > l->k + LOOKUP_SPARSE * sqrt(l->k);
}

/* Called for every answer, so the usual case looks at one distance only: that of the k-th node. */
size_t lookup_width(const struct lookup *l)
{
    size_t n = 0, dense = 0;

    if (l->estimate <= 0)
        return l->k;
    for (unsigned i = 0; i < l->n; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        if (!counts(l, node) || ++n < l->k)
            continue;
        double distance = id_distance(l->target, node->id);
        if (distance * LOOKUP_DENSE * l->estimate < (double)n)
            dense = n;
        else if (n == l->k)
            return is_sparse(l, distance) ? LOOKUP_WIDER * (size_t)l->k : l->k;
    }
    return l->k + dense;
}

/* Of those who are not held back; -1: nobody, or enough are under way. */
static int next_in_line(const struct lookup *l, size_t width, unsigned asked)
{
    size_t before = 0;

    if (asked >= l->alpha || (asked >= LOOKUP_FIRST && l->answered == 0))
        return -1;
    for (unsigned i = 0; i < l->n && before < width; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        if (is_held(l, node))
            continue;
        if (node->state == LOOKUP_NEW)
            return l->order[i];
        /* One that has stalled is likely dead: the next in line is asked before that is certain. */
        before += counts(l, node) && node->state != LOOKUP_STALLED;
    }
    return -1;
}

/* When all others have been asked, those held back that are close enough to matter. */
static int next_held(const struct lookup *l, size_t width, unsigned held_asked)
{
    size_t before = 0;
    int next = -1;

    for (unsigned i = 0; i < l->n && before < width; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        bool held = is_held(l, node);
        if (!held &&
            (node->state == LOOKUP_ASKED || node->state == LOOKUP_STALLED || node->state == LOOKUP_NEW))
            return -1;
        if (held && node->state == LOOKUP_NEW && next < 0)
            next = l->order[i];
        before += counts(l, node);
    }
    return held_asked < LOOKUP_HELD_MAX ? next : -1;
}

static unsigned count_held_asked(const struct lookup *l)
{
    unsigned n = 0;

    for (unsigned i = 0; i < l->n && l->doubted; i++) {
        const struct lookup_node *node = &l->nodes[l->order[i]];
        n += node->state == LOOKUP_ASKED && is_held(l, node);
    }
    return n;
}

int lookup_next(const struct lookup *l)
{
    size_t width = lookup_width(l) + l->witnesses;
    unsigned held_asked = count_held_asked(l);
    int next = next_in_line(l, width, l->asked - held_asked);

    if (next < 0 && l->doubted)
        next = next_held(l, width, held_asked);
    if (next >= 0 || l->answered > 0 || l->asked > 0 || l->stalled > 0)
        return next;
    for (unsigned i = 0; i < l->n; i++)
        if (l->nodes[l->order[i]].state == LOOKUP_SUSPECT)
            return l->order[i];
    return -1;
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
    if (l->nodes[node].namer == 0 && l->n_namers < LOOKUP_NAMERS_MAX) {
        l->named[l->n_namers].silent = l->named[l->n_namers].live = 0;
        l->nodes[node].namer = ++l->n_namers;
    }
}

void lookup_failed(struct lookup *l, int node)
{
    struct addr other = l->nodes[node].other;

    set_state(l, node, LOOKUP_FAILED);
    if (other.family && l->nodes[node].reoffers < LOOKUP_REOFFERS)
        readdress(l, node, &other, l->nodes[node].other_by);
}

void lookup_plain(struct lookup *l, int node)
{
    l->nodes[node].plain = true;
    set_state(l, node, LOOKUP_NEW);
}

bool lookup_is_close(const struct lookup *l, int node)
{
    size_t width = lookup_width(l), before = 0;

    if (is_held(l, &l->nodes[node]))
        return false;
    for (unsigned i = 0; i < l->n && before < width; i++) {
        if (l->order[i] == node)
            return true;
        before += counts(l, &l->nodes[l->order[i]]);
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
        /* Nobody waits longer than a soft time-out for one that is held back. */
        if (node->state == LOOKUP_NEW || node->state == LOOKUP_ASKED ||
            (node->state == LOOKUP_STALLED && !is_held(l, node)))
            return false;
        before += counts(l, node);
    }
    return true;
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
