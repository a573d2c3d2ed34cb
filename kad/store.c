#include "kad/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/store_impl.h"

/* ---- life --------------------------------------------------------------------------------------------- */

struct kad_store *kad_store_new(const struct kad_store_config *config, const struct rng *rng,
                                struct kad_verified *verified)
{
    struct kad_store *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->rng = rng;
    s->verified = verified;
    s->persist = config->persist;
    s->no_shares = config->no_shares;
    s->no_splits = config->no_splits;
    rng_fill(rng, s->hash_key, sizeof s->hash_key);
    for (int h = 0; h < HEAP_KINDS; h++)
        s->heaps[h].first = STORE_NEVER;
    s->pools[POOL_ITEMS].max = config->items_max ? config->items_max : KAD_ITEMS_DEFAULT;
    s->pools[POOL_ENTRIES].max = config->entries_max ? config->entries_max : KAD_ENTRIES_DEFAULT;
    s->pools[POOL_PEERS].max = config->peers_max ? config->peers_max : KAD_PEERS_DEFAULT;
    return s;
}

/* Removes a record with all that is in it. */
static void record_clear(struct kad_store *s, struct store_record *r)
{
    switch ((enum store_kind)r->kind) {
    case STORE_ITEM:
        store_item_remove(s, (struct store_item *)r);
        break;
    case STORE_SHARD: {
        struct store_shard *shard = (struct store_shard *)r;
        while (shard->n > 0)
            store_entry_remove(s, shard->entries[shard->n - 1]);
        shard->split_s = 0;
        store_shard_settle(s, shard);
        break;
    }
    case STORE_PEERS:
        for (uint32_t n = ((struct store_peers *)r)->n; n > 0; n--)
            store_peer_remove(s, ((struct store_peers *)r)->peers[n - 1]); /* the last one frees the list */
        break;
    }
}

void kad_store_reset(struct kad_store *s)
{
    bool persist = s->persist;
    s->persist = false; /* what is forgotten here stays on disk */
    while (s->n_records > 0)
        record_clear(s, s->records[s->n_records - 1]);
    s->persist = persist;
    free(s->dirty);
    s->dirty = NULL;
    s->n_dirty = s->cap_dirty = s->dirty_at = 0;
    free(s->value);
    s->value = NULL;
}

void kad_store_free(struct kad_store *s)
{
    if (!s)
        return;
    kad_store_reset(s);
    kad_map_clear(&s->map);
    free(s->records);
    for (int h = 0; h < HEAP_KINDS; h++)
        free(s->heaps[h].at);
    for (int p = 0; p < POOL_KINDS; p++) {
        free(s->pools[p].all);
        kad_map_clear(&s->pools[p].sources);
        kad_map_clear(&s->pools[p].keys);
    }
    free(s);
}

/* ---- time --------------------------------------------------------------------------------------------- */

void kad_store_tick(struct kad_store *s, struct now now)
{
    struct store_heap *heap = &s->heaps[HEAP_EXPIRES];
    for (int i = 0; i < STORE_TICK_MAX && heap->n > 0 && heap->first <= now.wall_ms; i++) {
        struct store_record *r = heap->at[0];
        if (r->kind == STORE_ITEM)
            store_item_remove(s, (struct store_item *)r);
        else if (r->kind == STORE_SHARD)
            store_shard_expire(s, now, (struct store_shard *)r);
        else
            store_peers_expire(s, now, (struct store_peers *)r);
    }
}

uint64_t kad_store_deadline_ms(const struct kad_store *s, struct now now)
{
    uint64_t next_ms = s->heaps[HEAP_DUE].first, wall_ms = s->heaps[HEAP_EXPIRES].first;
    if (wall_ms != STORE_NEVER) {
        uint64_t in_ms = wall_ms > now.wall_ms ? wall_ms - now.wall_ms : 0;
        if (now.mono_ms + in_ms < next_ms)
            next_ms = now.mono_ms + in_ms;
    }
    return next_ms;
}

static void record_view(const struct store_record *r, struct kad_record *ret)
{
    *ret = (struct kad_record){.kind = (enum kad_record_kind)r->kind};
    memcpy(ret->target, r->target, KAD_ID_SIZE);
    if (r->kind == STORE_ITEM) {
        store_item_view((const struct store_item *)r, &ret->item);
    } else {
        const struct store_shard *shard = (const struct store_shard *)r;
        ret->shard = shard->at;
        ret->n = shard->n - shard->tombstones;
        ret->split = shard->split_s != 0;
    }
}

/* Shards that are on their way up or down are looked at every hour by each holder. */
static bool is_on_its_way(const struct store_shard *shard)
{
    return shard->split_s || shard->at.depth > 0;
}

/* May others see to it in this hour? Not for ever: nothing but their word says that they do. */
static bool may_be_left(struct now now, const struct store_record *r)
{
    const uint64_t most_ms = (KAD_REPLICATE_LEFT - 1) * KAD_REPLICATE_S * UINT64_C(1000);
    if (r->kind == STORE_SHARD && is_on_its_way((const struct store_shard *)r))
        return false;
    return r->kept_ms && now.mono_ms - r->kept_ms < most_ms;
}

void store_leave(struct kad_store *s, struct now now, struct store_record *r)
{
    if (r->pos[HEAP_DUE] != STORE_HEAP_NONE && may_be_left(now, r))
        store_schedule(s, r, HEAP_DUE, store_due_ms(s, now));
}

/* A whole shard was put by others within the hour: nothing to do until its longest unseen entry is due. */
static bool shard_was_seen(struct kad_store *s, struct now now, struct store_shard *shard)
{
    uint32_t seen_s = store_shard_seen_s(shard), now_s = store_now_s(now);
    if (!may_be_left(now, &shard->record) || seen_s == UINT32_MAX)
        return false;
    uint32_t ago_s = seen_s < now_s ? now_s - seen_s : 0;
    if (ago_s >= KAD_REPLICATE_S / 2)
        return false;
    store_schedule(s, &shard->record, HEAP_DUE, store_due_ms(s, now) - (uint64_t)ago_s * 1000);
    return true;
}

bool kad_store_due(struct kad_store *s, struct now now, struct kad_record *ret_record)
{
    struct store_heap *heap = &s->heaps[HEAP_DUE];
    for (int i = 0; i < STORE_TICK_MAX && heap->n > 0 && heap->first <= now.mono_ms; i++) {
        struct store_record *r = heap->at[0];
        store_schedule(s, r, HEAP_DUE, store_due_ms(s, now));
        bool expired = r->when[HEAP_EXPIRES] <= now.wall_ms;
        if (r->kind == STORE_ITEM ? expired : shard_was_seen(s, now, (struct store_shard *)r))
            continue;
        r->kept_ms = now.mono_ms;
        record_view(r, ret_record);
        return true;
    }
    return false;
}

void kad_store_seen(struct kad_store *s, struct now now, enum kad_record_kind kind,
                    const uint8_t target[KAD_ID_SIZE], const struct kad_shard_id *at)
{
    struct store_record *r = kind == KAD_RECORD_SHARD ? (struct store_record *)store_shard_find(s, at)
                                                      : store_find(s, STORE_ITEM, 0, target);
    if (r)
        store_leave(s, now, r);
}

void kad_store_far(struct kad_store *s, struct now now, const uint8_t target[KAD_ID_SIZE])
{
    struct store_record *r = store_find(s, STORE_ITEM, 0, target);
    uint64_t more_ms = (KAD_REPLICATE_FAR - 1) * KAD_REPLICATE_S * UINT64_C(1000);
    if (r && r->pos[HEAP_DUE] != STORE_HEAP_NONE)
        store_schedule(s, r, HEAP_DUE, store_due_ms(s, now) + more_ms);
}

/* Downwards over the dense vector: removing moves its last record, which was visited, into the hole; adding
 * puts the new one where the walk has been. */
bool kad_store_walk(struct kad_store *s, struct now now, uint32_t *cursor, struct kad_record *ret_record)
{
    if (*cursor > s->n_records)
        *cursor = s->n_records;
    while (*cursor > 0) {
        const struct store_record *r = s->records[--*cursor];
        bool lasting =
            r->kind == STORE_SHARD || (r->kind == STORE_ITEM && ((const struct store_item *)r)->has_exp &&
                                       r->when[HEAP_EXPIRES] > now.wall_ms);
        if (!lasting)
            continue;
        record_view(r, ret_record);
        return true;
    }
    return false;
}

/* ---- looking in --------------------------------------------------------------------------------------- */

void kad_store_stats(const struct kad_store *s, struct kad_store_stats *ret_stats) { *ret_stats = s->stats; }

static void check_shard(const struct kad_store *s, const struct store_shard *shard, uint32_t *live,
                        uint32_t *dead)
{
    uint8_t digest[KAD_ID_SIZE] = {0};
    uint32_t tombstones = 0;
    assert(shard->n <= KAD_SHARD_ENTRIES_MAX && shard->n <= shard->cap && (shard->n > 0 || shard->split_s));
    for (uint32_t i = 0; i < shard->n; i++) {
        const struct store_entry *e = shard->entries[i];
        struct kad_entry view;
        uint8_t slot[KAD_SLOT_SIZE];
        store_entry_view(e, (struct now){0}, &view);
        kad_slot(e->pk, slot);
        assert(memcmp(slot, e->slot, KAD_SLOT_SIZE) == 0 && kad_shard_contains(&shard->at, e->slot));
        assert(i == 0 || memcmp(shard->entries[i - 1]->slot, e->slot, KAD_SLOT_SIZE) < 0);
        assert(e->shard == shard && s->pools[POOL_ENTRIES].all[e->unit.index] == &e->unit);
        assert(kad_entry_check(&view) == 0 && e->tombstone == kad_entry_is_tombstone(&view));
        assert(shard->record.when[HEAP_EXPIRES] <= (uint64_t)e->exp_s * 1000);
        kad_entry_digest(&view, digest);
        tombstones += e->tombstone;
    }
    assert(tombstones == shard->tombstones && memcmp(digest, shard->digest, KAD_ID_SIZE) == 0);
    *live += shard->n - tombstones;
    *dead += tombstones;
}

void kad_store_check(const struct kad_store *s)
{
    uint32_t items = 0, live = 0, dead = 0, peers = 0, shards = 0;
    kad_map_check(&s->map);
    assert(s->map.used == s->n_records);
    for (uint32_t i = 0; i < s->n_records; i++) {
        const struct store_record *r = s->records[i];
        assert(r->index == i && store_find(s, r->kind, r->depth, r->target) == r);
        for (int h = 0; h < HEAP_KINDS; h++)
            assert(r->pos[h] == STORE_HEAP_NONE ? r->when[h] == STORE_NEVER : s->heaps[h].at[r->pos[h]] == r);
        if (r->kind == STORE_ITEM) {
            const struct store_item *item = (const struct store_item *)r;
            struct kad_item view;
            uint8_t target[KAD_ID_SIZE];
            store_item_view(item, &view);
            kad_item_target(&view, target);
            assert(memcmp(target, r->target, KAD_ID_SIZE) == 0 && kad_item_check(&view) == 0);
            assert(s->pools[POOL_ITEMS].all[item->unit.index] == &item->unit);
            items++;
        } else if (r->kind == STORE_SHARD) {
            check_shard(s, (const struct store_shard *)r, &live, &dead);
            shards++;
        } else {
            const struct store_peers *list = (const struct store_peers *)r;
            assert(list->n > 0 && list->n <= KAD_PEERS_PER_HASH_MAX && list->n <= list->cap);
            for (uint32_t p = 0; p < list->n; p++)
                assert(list->peers[p]->list == list &&
                       s->pools[POOL_PEERS].all[list->peers[p]->unit.index] == &list->peers[p]->unit);
            peers += list->n;
        }
    }
    for (int h = 0; h < HEAP_KINDS; h++) {
        const struct store_heap *heap = &s->heaps[h];
        assert(heap->first == (heap->n > 0 ? heap->at[0]->when[h] : STORE_NEVER));
        for (uint32_t i = 1; i < heap->n; i++)
            assert(heap->at[(i - 1) / 2]->when[h] <= heap->at[i]->when[h]);
    }
    const uint32_t held[POOL_KINDS] = {items, live + dead, peers};
    for (int p = 0; p < POOL_KINDS; p++) {
        const struct store_pool *pool = &s->pools[p];
        uint64_t counted = 0;
        kad_map_check(&pool->sources);
        kad_map_check(&pool->keys);
        for (uint32_t i = 0; i < pool->sources.cap; i++)
            counted += pool->sources.slots[i].value != KAD_MAP_NONE ? pool->sources.slots[i].value : 0;
        assert(pool->n == held[p] && pool->n <= pool->max && counted == pool->n);
    }
    assert(s->stats.items == items && s->stats.entries == live && s->stats.tombstones == dead);
    assert(s->stats.peers == peers && s->stats.shards == shards && (s->n_records > 0 || s->stats.bytes == 0));
}
