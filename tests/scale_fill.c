/* The one file of the simulator that reaches into a `struct kad`: it leaves each as a node is that has been in the
 * network for hours, its times spread as they would be. Contacts go in by table_heard, the way every contact does. */
#include "tests/scale_fill.h"

#include <stdlib.h>
#include <string.h>

#include "kad/node.h"
#include "tests/scale_memory.h"

#define LIVENESS_MS 900000     /* what kad/upkeep.c does in this time has happened at a random moment of it */
#define REFRESH_MS 3600000
#define REFRESH_LOOK_MS 540000

struct order { /* all ids, ascending */
    const struct scale_net *net;
    uint32_t *slots;
    uint32_t n;
};

static int compare_slots(const void *a, const void *b, void *ctx)
{
    const struct scale_net *net = ctx;

    return memcmp(net->ids.id[*(const uint32_t *)a], net->ids.id[*(const uint32_t *)b], ID_SIZE);
}

/* The first place in the order whose id is not below `id`. */
static uint32_t place_of(const struct order *o, const uint8_t id[ID_SIZE])
{
    uint32_t low = 0, high = o->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (memcmp(o->net->ids.id[o->slots[mid]], id, ID_SIZE) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Those that share exactly `bits` bits with self: from `first` up to `end`. */
static void range_of(const struct order *o, const uint8_t self[ID_SIZE], unsigned bits, uint32_t *ret_first,
                     uint32_t *ret_end)
{
    uint8_t low[ID_SIZE], high[ID_SIZE];

    for (unsigned i = 0; i < ID_SIZE; i++) { /* self, the next bit turned, then zeros or ones */
        uint8_t keep = i < bits / 8 ? 0xff : i > bits / 8 ? 0 : (uint8_t)(0xff00u >> (bits % 8));
        uint8_t turn = i == bits / 8 ? (uint8_t)(0x80u >> (bits % 8)) : 0;
        low[i] = (uint8_t)((self[i] & keep) | (~self[i] & turn));
        high[i] = (uint8_t)(low[i] | (uint8_t)~(keep | turn));
    }
    *ret_first = place_of(o, low);
    *ret_end = place_of(o, high);
    if (*ret_end < o->n && memcmp(o->net->ids.id[o->slots[*ret_end]], high, ID_SIZE) == 0)
        ++*ret_end;
}

/* As many of a bucket as its table would hold: k, or everybody as long as there are fewer than k beyond it. */
static void fill_bucket(struct scale_net *net, const struct order *o, uint32_t slot, unsigned b, uint32_t first, uint32_t end,
                        uint32_t beyond, struct scale_rand *r)
{
    struct kad *kad = net->nodes[slot].kad;
    struct table *t = &kad->net[0].table;
    uint32_t number = scale_net_number(net, slot), room = beyond < t->k ? t->k * TABLE_NEAR : t->k;
    bool all = end - first <= room;
    for (uint32_t tries = 0; all ? first < end : t->count[b] < room && tries < 4 * room; tries++) {
        uint32_t other = o->slots[all ? first++ : first + scale_below(r, end - first)];
        struct addr addr = scale_net_addr(net, other);
        uint32_t rtt_ms = 2 * scale_net_latency_ms(net, number, scale_net_number(net, other));
        table_heard(t, net->wheel.now_ms - scale_below(r, LIVENESS_MS), net->ids.id[other], &addr, rtt_ms);
        rpc_measured(&kad->rpc, rtt_ms);
    }
}

/* Bucket after bucket, until nobody is left beyond. */
static void fill_table(struct scale_net *net, const struct order *o, uint32_t slot, struct scale_rand *r)
{
    uint32_t first, end, left = o->n - 1;

    for (unsigned b = 0; b < TABLE_BUCKETS && left > 0; b++) {
        range_of(o, net->ids.id[slot], b, &first, &end);
        left -= end - first;
        fill_bucket(net, o, slot, b, first, end, left, r);
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

void scale_fill(struct scale_net *net)
{
    struct order o = {.net = net, .slots = scale_alloc(net->config.slots, sizeof *o.slots), .n = net->config.slots};
    struct scale_rand r = scale_rand(net->config.seed, "fill");
    struct rng rng = {scale_rand_fill, &r};

    for (uint32_t i = 0; i < o.n; i++) {
        uint8_t id[ID_SIZE];
        scale_net_start(net, i, false);
        struct kad *k = net->nodes[i].kad;
        k->net[0].self = scale_net_addr(net, i);
        id_for_addr(&rng, &k->net[0].self, id);
        table_rename(&k->net[0].table, id);
        scale_net_list(net, i);
        o.slots[i] = i;
    }
    qsort_r(o.slots, o.n, sizeof *o.slots, compare_slots, net);
    for (uint32_t i = 0; i < o.n; i++) {
        fill_table(net, &o, i, &r);
        settle(net, i, &r);
        scale_net_turn(net, i);
    }
    free(o.slots);
}
