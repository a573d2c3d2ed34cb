#include "tests/sets_fill.h"

#include <stdlib.h>

#include "kad/node.h"
#include "kad/set.h"
#include "tests/scale_memory.h"

struct fill {
    struct sets *s;
    size_t k;
    struct shard_place { bool known; uint32_t *slots; } *places[KAD_SHARD_DEPTH_MAX + 1]; /* by depth, by digits */
};

static uint32_t digits_of(const struct kad_shard_id *at)
{
    return at->depth ? (uint32_t)strtoul(at->prefix, NULL, 16) : 0;
}

/* The nodes that hold a shard. */
static struct shard_place *place_of(struct fill *f, const struct kad_shard_id *at)
{
    struct shard_place *place = &f->places[at->depth][digits_of(at)];
    uint8_t target[KAD_ID_SIZE];

    if (place->slots)
        return place;
    kad_shard_target(at, target);
    place->slots = scale_alloc(f->k, sizeof *place->slots);
    scale_ids_closest(&f->s->net->ids, target, place->slots, f->k);
    return place;
}

static void lay(struct fill *f, const struct kad_shard_id *at, const struct kad_entry *entry, bool split)
{
    struct shard_place *place = place_of(f, at);
    struct now now = scale_net_now(f->s->net);

    if (split && place->known)
        return;
    place->known = true;
    for (size_t i = 0; i < f->k; i++) {
        struct kad_store *store = f->s->net->nodes[place->slots[i]].kad->store;
        int code = kad_store_set_put(store, now, at->root, at->depth, entry, NULL);
        if (code && !(split && code == KAD_STORE_SPLIT)) {
            fprintf(stderr, "sets: a leaf is full, fill fewer: %d\n", code);
            exit(2);
        }
        if (split)
            kad_store_split(store, now, at);
    }
}

void sets_fill(struct sets *s, uint32_t first, uint32_t n, uint32_t all, const struct sets_version *version)
{
    struct fill f = {.s = s, .k = s->net->config.k ? s->net->config.k : KAD_K};
    uint8_t leaf = 0;

    for (uint64_t leaves = 1; all / leaves > SETS_FILL_LEAF && leaf < KAD_SHARD_DEPTH_MAX; leaves *= 16)
        leaf++;
    for (uint8_t d = 0; d <= leaf; d++)
        f.places[d] = scale_alloc((size_t)1 << 4 * d, sizeof *f.places[d]);
    for (uint32_t i = first; i < first + n; i++) {
        uint8_t slot[KAD_SLOT_SIZE];
        struct sets_entry e;
        struct kad_shard_id at;
        sets_entry_make(s->keys, i, version, &e);
        kad_slot(e.entry.pk, slot);
        for (uint8_t d = 0; d <= leaf; d++) {
            kad_shard_of(&at, s->keys->root, d, slot);
            lay(&f, &at, &e.entry, d < leaf);
        }
        s->state[i] = SETS_LIVE;
        s->exp_s[i] = version->exp_s;
    }
    for (uint8_t d = 0; d <= leaf; d++) {
        for (size_t i = 0; i < (size_t)1 << 4 * d; i++)
            free(f.places[d][i].slots);
        free(f.places[d]);
    }
    for (uint32_t i = 0; i < s->net->config.slots; i++)
        scale_net_turn(s->net, i);
}
