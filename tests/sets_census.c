#include "tests/sets_census.h"

#include <stdlib.h>
#include <string.h>

#include "kad/node.h"
#include "tests/scale_memory.h"
#include "tests/scale_rand.h"

struct shard { /* one shard of the set, over all its holders */
    uint64_t word; /* of its target; 0: free */
    uint8_t depth;
    bool split;
    uint32_t holders, entries; /* holders with entries in it; entries at the one with most */
};

struct count {
    struct sets *s;
    struct sets_census *census;
    struct shard *shards;
    uint32_t cap;
    uint16_t *copies; /* by key: newest version or not */
};

static struct shard *shard_of(struct count *c, const struct kad_record *record)
{
    uint64_t word = (be64(record->target) ^ record->shard.depth) | 1;
    uint32_t at = (uint32_t)scale_mix(word) & (c->cap - 1);

    while (c->shards[at].word && c->shards[at].word != word)
        at = (at + 1) & (c->cap - 1);
    c->shards[at].word = word;
    c->shards[at].depth = record->shard.depth;
    return &c->shards[at];
}

static void take_shard(struct count *c, struct kad *k, const struct kad_record *record)
{
    struct shard *shard = shard_of(c, record);
    struct kad_shard_id at = record->shard;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];
    bool split = record->split, any = false;
    uint32_t n = 0;

    while (kad_store_entry_next(k->store, k->now, &at, any ? slot : NULL, 0, &entry, slot)) {
        uint32_t i = sets_key_index(c->s->keys, entry.pk);
        any = true;
        n++;
        c->census->copies++;
        c->census->dead += kad_entry_is_tombstone(&entry);
        c->census->above += split;
        if (i != SETS_NOBODY && !kad_entry_is_tombstone(&entry))
            c->copies[i]++;
    }
    shard->split = shard->split || split;
    shard->holders += n > 0;
    if (n > shard->entries)
        shard->entries = n;
}

static void sum_up(struct count *c)
{
    struct sets_census *ret = c->census;
    uint32_t leaves = 0, live = 0;
    uint64_t entries = 0, copies = 0;
    unsigned k = c->s->net->config.k ? c->s->net->config.k : KAD_K;

    ret->smallest = UINT32_MAX;
    for (uint32_t i = 0; i < c->cap; i++) {
        const struct shard *shard = &c->shards[i];
        if (!shard->word)
            continue;
        if (shard->split) {
            ret->split[shard->depth]++;
            ret->splits_made++;
            continue;
        }
        ret->shards[shard->depth]++;
        leaves++;
        entries += shard->entries;
        ret->smallest = shard->entries < ret->smallest ? shard->entries : ret->smallest;
        ret->largest = shard->entries > ret->largest ? shard->entries : ret->largest;
    }
    ret->mean = leaves ? (double)entries / leaves : 0;
    for (uint32_t i = 0; i < c->s->keys->n; i++) {
        if (c->s->state[i] != SETS_LIVE || c->s->exp_s[i] <= sets_now_s(c->s))
            continue;
        live++;
        copies += c->copies[i];
        ret->lost += c->copies[i] == 0;
        ret->few += c->copies[i] * 2u < k;
    }
    ret->holders = live ? (double)copies / live : 0;
}

void sets_census_take(struct sets *s, struct sets_census *ret)
{
    struct count c = {.s = s, .census = ret, .cap = 1 << 17};
    struct kad_record record;

    *ret = (struct sets_census){0};
    c.shards = scale_alloc(c.cap, sizeof *c.shards);
    c.copies = scale_alloc(s->keys->n, sizeof *c.copies);
    for (uint32_t i = 0; i < s->net->config.slots; i++) {
        struct kad *k = s->net->nodes[i].kad;
        struct kad_store_stats stats;
        uint32_t cursor = KAD_WALK_START;
        if (!k)
            continue;
        k->now = scale_net_now(s->net);
        kad_store_stats(k->store, &stats);
        ret->store_bytes += stats.bytes;
        while (kad_store_walk(k->store, k->now, &cursor, &record))
            if (record.kind == KAD_RECORD_SHARD && memcmp(record.shard.root, s->keys->root, KAD_ID_SIZE) == 0)
                take_shard(&c, k, &record);
    }
    ret->store_bytes /= s->net->up ? s->net->up : 1;
    sum_up(&c);
    free(c.shards);
    free(c.copies);
}
