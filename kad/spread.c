/* Spreading what we know of a far bucket over the bucket's range. A lookup of our own id meets its far
 * contacts where the first of them happened to point, so they lie in a few places; and how far a step of a
 * later lookup leads is decided by the part of the range in which nobody is known. So after the first lookup,
 * and each hour, the empty parts are gone through once, one a step: the contacts closest to a random id in it
 * are asked who is there. Of all whom they name, the closest to that id in each empty part is challenged, and
 * enters when it answers, like everybody.
 *
 * One hop is enough. Of all we know in the bucket nobody is nearer to the empty part than the contact asked:
 * so that part, with the empty ones beside it, is one bucket to the contact, and has contacts of its own or
 * is full of them. (The Kademlia paper, section 4.2, gains b bits a step by keeping 2^b buckets where here is
 * one.) Two are asked, because a liar names its like: it must have nobody closer beside it who is honest.
 *
 *     (idle) --spread_begin, or an hour later--> next gap --none is left--> (idle)
 *                                                |     ^
 *                                       ask_next |     | SPREAD_STEP_MS
 *                                                v     |
 *                                       spread_answered: after the last, challenge the closest
 */
#include <stdlib.h>
#include <string.h>

#include "kad/node.h"

#define SPREAD_ASKED 2
#define SPREAD_STEP_MS 1500   /* longer than RPC_HARD_MAX_MS: the answers are there before the next step */
#define SPREAD_ROUND_S 3600

struct node_spread { /* whom those asked about one gap have named */
    uint8_t target[KAD_ID_SIZE];
    uint8_t waiting, n;
    struct spread_named {
        uint8_t id[KAD_ID_SIZE];
        struct addr addr;
    } named[SPREAD_ASKED * KAD_K]; /* closest first */
};

_Static_assert(SPREAD_STEP_MS > RPC_HARD_MAX_MS, "one gap at a time");

void spread_init(struct kad *k)
{
    k->spread_ms = NOW_NEVER;
}

void spread_clear(struct kad *k)
{
    for (unsigned net = 0; net < k->n_nets; net++) {
        free(k->spread[net]);
        k->spread[net] = NULL;
    }
}

void spread_begin(struct kad *k)
{
    k->gap[0] = k->gap[1] = (struct table_gap){0};
    k->spread_ms = k->now.mono_ms + SPREAD_STEP_MS;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

/* Asks who is in the next empty part; false: every far bucket has been gone through. */
static bool ask_next(struct kad *k, unsigned net)
{
    struct table *t = &k->net[net].table;
    const struct table_contact *near[SPREAD_ASKED];

    if (!table_next_gap(t, &k->gap[net]))
        return false;
    free(k->spread[net]);
    struct node_spread *s = k->spread[net] = calloc(1, sizeof *s);
    if (!s)
        return false;
    table_random_in_gap(t, &k->rng, k->gap[net], s->target);
    k->gap[net].part++;
    size_t n = table_closest(t, s->target, near, SPREAD_ASKED, 0);
    for (size_t i = 0; i < n; i++) {
        struct rpc_tx tx = {.to = table_addr(t, near[i]), .owner = RPC_OWNER_SPREAD};
        struct krpc_msg q = {.method = KRPC_FIND_NODE, .target = s->target};
        memcpy(tx.id, near[i]->id, KAD_ID_SIZE);
        s->waiting = (uint8_t)(s->waiting + (node_query(k, &tx, &q) == 0));
    }
    return true;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static void note_named(struct node_spread *s, const uint8_t *id, const struct addr *addr)
{
    const unsigned max = sizeof s->named / sizeof *s->named;
    unsigned at = s->n;

    while (at > 0 && id_compare(s->target, id, s->named[at - 1].id) < 0)
        at--;
    if (at == max || (at > 0 && id_equal(s->named[at - 1].id, id)))
        return;
    s->n = (uint8_t)(s->n + (s->n < max));
    memmove(&s->named[at + 1], &s->named[at], (s->n - at - 1) * sizeof *s->named);
    memcpy(s->named[at].id, id, KAD_ID_SIZE);
    s->named[at].addr = *addr;
}

/* Challenges one in each part that has none. */
static void fill(struct kad *k, const struct table *t, const struct node_spread *s)
{
    struct table_gap filled[SPREAD_ASKED * KAD_K];
    unsigned n = 0;

    for (unsigned i = 0; i < s->n; i++) {
        const struct spread_named *one = &s->named[i];
        struct table_gap gap = table_gap_of(t, one->id);
        if (!table_has_room(t, one->id, &one->addr) || table_gap_is_among(filled, n, gap) ||
            node_is_suspect(k, one->id, &one->addr))
            continue;
        node_challenge(k, &one->addr, one->id);
        filled[n++] = gap;
    }
}

void spread_answered(struct kad *k, const struct rpc_tx *tx, const struct krpc_msg *m)
{
    unsigned net = tx->to.family == 6;
    struct node_spread *s = k->spread[net];
    const struct table *t = &k->net[net].table;
    uint8_t id[KAD_ID_SIZE];
    struct addr addr;

    if (!s)
        return;
    struct span list = !m ? span(NULL, 0) : net ? m->nodes6 : m->nodes;
    for (unsigned i = 0; i < k->k && node_next_listed(k, &list, t->family, id, &addr); i++)
        note_named(s, id, &addr);
    if (--s->waiting > 0)
        return;
    fill(k, t, s);
    free(s);
    k->spread[net] = NULL;
}

void spread_tick(struct kad *k)
{
    bool asked = false;

    if (k->spread_ms > k->now.mono_ms)
        return;
    for (unsigned net = 0; net < k->n_nets; net++)
        asked = ask_next(k, net) || asked;
    if (asked) {
        k->spread_ms = k->now.mono_ms + SPREAD_STEP_MS;
        return;
    }
    spread_begin(k);
    k->spread_ms = k->now.mono_ms + SPREAD_ROUND_S * 500 + rng_below(&k->rng, SPREAD_ROUND_S * 1000);
}
