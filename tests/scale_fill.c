/* The one file of the simulator that reaches into a `struct kad`: it gives each the contacts that it would have had
 * of joining, without a datagram, and leaves it as a node is some minutes after the network has come together.
 *
 * What filled tables stand for is that moment: everybody has joined, one after another, and has settled
 * (scale_life_join_all, then SCALE_SETTLE_MS), nobody has left, and no lookups but those of joining have been made.
 *
 * The steps are those of kad/join.c and kad/upkeep.c, at the virtual times when they would be taken, so that whoever
 * came early is known by more than who came late: the lookup of the own id, one in each far bucket that is sparse,
 * the second and third look around. A lookup is taken to ask those who are closest to its target of all who have
 * joined by then, and a few on the way. Who is asked hears of the asker too: at once where he is wanted, else as a
 * candidate, of which one is tried in a second. Contacts go in by table_heard, the way every contact does.
 */
#include "tests/scale_fill.h"

#include <stdlib.h>
#include <string.h>

#include "kad/node.h"
#include "tests/scale_life.h"
#include "tests/scale_memory.h"

#define LIVENESS_MS 900000     /* what kad/upkeep.c does in this time has happened at a random moment of it */
#define REFRESH_MS 3600000
#define REFRESH_LOOK_MS 540000

/* Seconds after a node has begun to join. */
#define FIRST_S 3.0            /* the lookup of its id has ended, and far buckets are gone through, one a second */
#define FILLS 24               /* so many at most */
#define LOOK_S 6.0             /* looks around, kad/upkeep.c */
#define LOOK_AGAIN_S 36.0

#define ASKED (KAD_K + 1)      /* by a lookup at its target; one of them may be the asker */
#define NAMED (2 * KAD_K + 1)  /* of whom it hears there */
#define WAY 3                  /* asked before it is at its target */

struct order { /* all ids, ascending; a slot is also the place in the order of joining */
    struct scale_net *net;
    uint32_t *slots;
    uint64_t *words;           /* by place: how its id begins */
    uint32_t n;
    float *tried_s;            /* by slot: when it last tried a candidate */
    uint8_t *next_bucket;      /* by slot: the next far bucket to be filled */
    struct scale_rand r;
    struct rng rng;            /* of r */
};

static int compare_slots(const void *a, const void *b, void *ctx)
{
    const struct scale_net *net = ctx;

    return memcmp(net->ids.id[*(const uint32_t *)a], net->ids.id[*(const uint32_t *)b], ID_SIZE);
}

/* The first place in the order whose id is not below `word`, the first 64 bits of one: enough to tell nodes apart. */
static uint32_t place_of(const struct order *o, uint64_t word)
{
    uint32_t low = 0, high = o->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (o->words[mid] < word)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Up to `max` nodes closest to target, closest first, of the first `joined`: they lie in the smallest subtree around
 * it that has so many. */
static uint32_t closest(const struct order *o, const uint8_t target[ID_SIZE], uint32_t joined, uint32_t *ret, uint32_t max)
{
    uint64_t word = be64(target), far[NAMED], near = 0; /* near: the distance to the nearest outside the subtree */
    uint32_t low = place_of(o, word), high = low, n = 0;

    for (;;) {
        uint64_t below = low > 0 ? o->words[low - 1] ^ word : UINT64_MAX;
        uint64_t above = high < o->n ? o->words[high] ^ word : UINT64_MAX;
        uint64_t next = below < above ? below : above;
        if ((low == 0 && high == o->n) || (n == max && __builtin_clzll(next | 1) < __builtin_clzll(near | 1)))
            return n;
        near = next > near ? next : near;
        uint32_t slot = next == below && low > 0 ? o->slots[--low] : o->slots[high++];
        if (slot >= joined)
            continue;
        uint32_t at = n;
        while (at > 0 && next < far[at - 1])
            at--;
        if (at == max)
            continue;
        n += n < max;
        memmove(&ret[at + 1], &ret[at], (n - at - 1) * sizeof *ret);
        memmove(&far[at + 1], &far[at], (n - at - 1) * sizeof *far);
        ret[at] = slot;
        far[at] = next;
    }
}

/* How many have joined by then (scale_life_join_all). */
static uint32_t joined_by(const struct order *o, double at_s)
{
    double n = at_s < 0 ? 0 : exp(at_s / SCALE_GROWTH_S);

    return n < o->n ? (uint32_t)n : o->n;
}

static struct table *table_of(const struct order *o, uint32_t slot)
{
    return &o->net->nodes[slot].kad->net[0].table;
}

static void hears(struct order *o, uint32_t slot, uint32_t other, uint32_t rtt_ms)
{
    struct scale_net *net = o->net;
    struct addr addr = scale_net_addr(net, other);

    table_heard(table_of(o, slot), net->wheel.now_ms - scale_below(&o->r, LIVENESS_MS), net->ids.id[other], &addr, rtt_ms);
}

/* One asks the other something and is answered; the other comes to know it, if it wants to (serve.c, greet). */
static void meet(struct order *o, uint32_t asker, uint32_t asked, double at_s)
{
    struct scale_net *net = o->net;
    struct table *t = table_of(o, asked);
    const uint8_t *id = net->ids.id[asker];

    if (asker == asked || table_find(table_of(o, asker), net->ids.id[asked]))
        return; /* they have met */
    uint32_t rtt_ms = 2 * scale_net_latency_ms(net, scale_net_number(net, asker), scale_net_number(net, asked));
    hears(o, asker, asked, rtt_ms);
    rpc_measured(&net->nodes[asker].kad->rpc, rtt_ms);
    bool may_try = at_s - (double)o->tried_s[asked] >= 1;
    bool wanted = t->count[table_bucket(t, id)] < t->k / 2 || table_is_near(t, id);
    if (!may_try && !wanted)
        return;
    struct addr addr = scale_net_addr(net, asker);
    if (table_find(t, id) || !table_has_room(t, id, &addr))
        return;
    if (!wanted)
        o->tried_s[asked] = (float)at_s;
    hears(o, asked, asker, rtt_ms);
}

/* Asks those closest to the target of all who have joined by then. Those beyond them have been named: up to `more` of
 * them are tried as candidates, if there is room. */
static void look_up(struct order *o, uint32_t slot, const uint8_t target[ID_SIZE], double at_s, uint32_t more)
{
    uint32_t found[NAMED], n = closest(o, target, joined_by(o, at_s), found, NAMED);
    struct table *t = table_of(o, slot);

    for (uint32_t i = n < ASKED ? n : ASKED; i-- > 0;) /* from afar to near, as a lookup goes */
        meet(o, slot, found[i], at_s);
    for (uint32_t i = ASKED; i < n && more > 0; i++) {
        struct addr addr = scale_net_addr(o->net, found[i]);
        const uint8_t *id = o->net->ids.id[found[i]];
        if (found[i] == slot || table_find(t, id) || !table_has_room(t, id, &addr))
            continue;
        meet(o, slot, found[i], at_s);
        more--;
    }
}

static void look_around(struct order *o, uint32_t slot, double at_s)
{
    look_up(o, slot, o->net->ids.id[slot], at_s, NAMED);
}

/* A lookup in the next far bucket that is sparse (kad/upkeep.c, is_sparse). */
static void fill_next(struct order *o, uint32_t slot, double at_s)
{
    struct table *t = table_of(o, slot);
    uint8_t target[ID_SIZE], other[ID_SIZE];
    uint32_t joined = joined_by(o, at_s), on_way;
    unsigned depth = table_depth(t), b = o->next_bucket[slot];

    for (; b < depth; b++)
        if (t->count[b] < t->k / 2 && ldexp(joined, -(int)b - 1) > 2.0 * t->count[b] + 1)
            break;
    o->next_bucket[slot] = (uint8_t)(b < depth ? b + 1 : b);
    if (b >= depth)
        return;
    id_random_in_bucket(&o->rng, o->net->ids.id[slot], b, target);
    for (unsigned i = 0; i < WAY; i++) { /* on the way to its target it asks those that others name first */
        id_random_in_bucket(&o->rng, o->net->ids.id[slot], b, other);
        if (closest(o, other, joined, &on_way, 1))
            meet(o, slot, on_way, at_s);
    }
    look_up(o, slot, target, at_s, KAD_K);
}

static void begin(struct order *o, uint32_t slot, double at_s)
{
    for (unsigned i = 0; i < SCALE_ENTRIES && slot > 0; i++)
        meet(o, slot, scale_below(&o->r, slot), at_s);
    look_around(o, slot, at_s);
}

/* Has all those act who joined from `after_s + 1` to `after_s` seconds before at_s. */
static void all_of(struct order *o, double at_s, double after_s, void (*act)(struct order *, uint32_t, double))
{
    uint32_t end = joined_by(o, at_s - after_s);

    for (uint32_t slot = joined_by(o, at_s - after_s - 1); slot < end; slot++)
        act(o, slot, at_s);
}

/* Room that is left in far buckets is filled in the end by those whom other lookups name or bring. */
static void settle_buckets(struct order *o, uint32_t slot)
{
    struct table *t = table_of(o, slot);
    unsigned depth = table_depth(t);
    uint8_t target[ID_SIZE];
    uint32_t other;

    for (unsigned b = 0; b < depth && ldexp(o->n, -(int)b - 1) > 1.5 * t->k; b++) {
        for (unsigned tries = 0; tries < 3u * t->k && t->count[b] < t->k; tries++) {
            id_random_in_bucket(&o->rng, o->net->ids.id[slot], b, target);
            if (closest(o, target, o->n, &other, 1))
                hears(o, slot, other, 2 * scale_net_latency_ms(o->net, scale_net_number(o->net, slot),
                                                               scale_net_number(o->net, other)));
        }
    }
}

static void join_all(struct order *o)
{
    double end_s = SCALE_GROWTH_S * log(o->n + 2) + LOOK_AGAIN_S + 1;

    for (double at_s = 0; at_s <= end_s; at_s += 1) {
        all_of(o, at_s, 0, begin);
        for (unsigned i = 0; i < FILLS; i++)
            all_of(o, at_s, FIRST_S + i, fill_next);
        all_of(o, at_s, LOOK_S, look_around);
        all_of(o, at_s, LOOK_AGAIN_S, look_around);
    }
}

static void settle(struct scale_net *net, uint32_t slot, struct scale_rand *r)
{
    struct kad *k = net->nodes[slot].kad;
    struct table *t = &k->net[0].table;
    uint64_t now_ms = net->wheel.now_ms;

    k->booted = true;
    join_liveness(k);
    k->heard_ms = now_ms;
    k->looks = 2;
    k->fill_bucket[0] = (uint8_t)table_depth(t);
    k->look_ms = now_ms + scale_below(r, REFRESH_MS);
    k->refresh_ms = now_ms + scale_below(r, REFRESH_LOOK_MS);
    k->liveness_ms = now_ms + scale_below(r, 30000);
    for (unsigned b = 0; b < TABLE_BUCKETS; b++)
        t->refreshed_s[b] = (uint16_t)((now_ms - scale_below(r, REFRESH_MS)) / 1000);
    k->self_dirty = k->table_changed = false;
}

void scale_fill(struct scale_net *net, const struct scale_ids *like)
{
    struct order o = {.net = net, .n = net->config.slots, .r = scale_rand(net->config.seed, "fill")};

    o.slots = scale_alloc(o.n, sizeof *o.slots);
    o.tried_s = scale_alloc(o.n, sizeof *o.tried_s);
    o.next_bucket = scale_alloc(o.n, sizeof *o.next_bucket);
    o.rng = (struct rng){scale_rand_fill, &o.r};
    for (uint32_t i = 0; i < o.n; i++) {
        uint8_t id[ID_SIZE];
        scale_net_start(net, i, false);
        struct kad *k = net->nodes[i].kad;
        k->net[0].self = scale_net_addr(net, i);
        id_for_addr(&o.rng, &k->net[0].self, id);
        if (like)
            memcpy(id, like->id[i], ID_SIZE);
        table_rename(&k->net[0].table, id);
        scale_net_list(net, i);
        o.slots[i] = i;
    }
    qsort_r(o.slots, o.n, sizeof *o.slots, compare_slots, net);
    o.words = scale_alloc(o.n, sizeof *o.words);
    for (uint32_t i = 0; i < o.n; i++)
        o.words[i] = be64(net->ids.id[o.slots[i]]);
    join_all(&o);
    for (uint32_t i = 0; i < o.n; i++) {
        settle_buckets(&o, i);
        settle(net, i, &o.r);
        scale_net_turn(net, i);
    }
    free(o.next_bucket);
    free(o.tried_s);
    free(o.words);
    free(o.slots);
}
