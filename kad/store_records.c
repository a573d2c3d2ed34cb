/* Records and units: where they stand, in what order they fall due, and who gives way when there is no room.
 * */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"
#include "kad/store_impl.h"

#define ROOM_SAMPLE                                                                                          \
    16 /* units drawn to find whose sender has most; a flooder with half the store hides with 2^-16 */

static_assert(sizeof((struct kad_store *)0)->hash_key == crypto_shorthash_KEYBYTES, "SipHash");

static uint32_t hash32(const struct kad_store *s, const void *data, size_t size)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, data, size, s->hash_key);
    return be32(hash);
}

/* Doubles a vector when it is full. */
static int vector_reserve(void *at, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap)
        return 0;
    uint32_t larger = *cap ? *cap * 2 : 4;
    void *old, *new;
    memcpy(&old, at, sizeof old);
    new = realloc(old, larger * size);
    if (!new)
        return CAM_ESYS;
    memcpy(at, &new, sizeof new);
    *cap = larger;
    return 0;
}

/* Gives memory back when three quarters lie idle, all of it when nothing is left. */
static void vector_shrink(void *at, uint32_t n, uint32_t *cap, size_t size)
{
    void *old, *new;
    memcpy(&old, at, sizeof old);
    if (n == 0) {
        free(old);
        new = NULL;
        *cap = 0;
    } else if (*cap > 4 && n <= *cap / 4 && (new = realloc(old, *cap / 2 * size)) != NULL) {
        *cap /= 2;
    } else {
        return;
    }
    memcpy(at, &new, sizeof new);
}

/* ---- the map ------------------------------------------------------------------------------------------ */

uint32_t store_hash(const struct kad_store *s, uint8_t kind, uint8_t depth, const uint8_t target[KAD_ID_SIZE])
{
    uint8_t key[2 + KAD_ID_SIZE] = {kind, depth};
    memcpy(key + 2, target, KAD_ID_SIZE);
    return hash32(s, key, sizeof key);
}

struct store_record *store_find(const struct kad_store *s, uint8_t kind, uint8_t depth,
                                const uint8_t target[KAD_ID_SIZE])
{
    uint32_t hash = store_hash(s, kind, depth, target), at;
    for (uint32_t i = kad_map_first(&s->map, hash, &at); i != KAD_MAP_NONE;
         i = kad_map_next(&s->map, hash, &at)) {
        struct store_record *r = s->records[i];
        if (r->kind == kind && r->depth == depth && memcmp(r->target, target, KAD_ID_SIZE) == 0)
            return r;
    }
    return NULL;
}

int store_reserve(struct kad_store *s, enum store_pool_kind pool)
{
    struct store_pool *p = &s->pools[pool];
    int err = kad_map_reserve(&s->map);
    err = err ? err : vector_reserve(&s->records, s->n_records, &s->cap_records, sizeof *s->records);
    for (int h = 0; h < HEAP_KINDS; h++) /* a heap holds no more than all records */
        err = err ? err
                  : vector_reserve(&s->heaps[h].at, s->heaps[h].n, &s->heaps[h].cap, sizeof *s->heaps[h].at);
    err = err ? err : vector_reserve(&p->all, p->n, &p->cap, sizeof *p->all);
    err = err ? err : kad_map_reserve(&p->sources);
    err = err ? err : kad_map_reserve(&p->keys);
    return err;
}

void store_record_add(struct kad_store *s, struct store_record *r)
{
    r->hash = store_hash(s, r->kind, r->depth, r->target);
    r->index = s->n_records;
    for (int h = 0; h < HEAP_KINDS; h++) {
        r->pos[h] = STORE_HEAP_NONE;
        r->when[h] = STORE_NEVER;
    }
    int err = kad_map_add(&s->map, r->hash, r->index);
    assert(!err);
    (void)err;
    s->records[s->n_records++] = r;
}

void store_record_remove(struct kad_store *s, struct store_record *r)
{
    for (int h = 0; h < HEAP_KINDS; h++)
        store_schedule(s, r, h, STORE_NEVER);
    kad_map_remove(&s->map, r->hash, r->index);
    struct store_record *last = s->records[--s->n_records];
    if (last != r) {
        kad_map_change(&s->map, last->hash, last->index, r->index);
        last->index = r->index;
        s->records[r->index] = last;
    }
    vector_shrink(&s->records, s->n_records, &s->cap_records, sizeof *s->records);
}

void store_record_moved(struct kad_store *s, struct store_record *r)
{
    s->records[r->index] = r;
    for (int h = 0; h < HEAP_KINDS; h++)
        if (r->pos[h] != STORE_HEAP_NONE)
            s->heaps[h].at[r->pos[h]] = r;
}

/* ---- the heaps: the earliest is at [0] ---------------------------------------------------------------- */

static void heap_set(struct store_heap *heap, enum store_heap_kind h, uint32_t i, struct store_record *r)
{
    heap->at[i] = r;
    r->pos[h] = i;
}

/* Finds the place of r, going up or down from i, which is free. */
static void heap_sift(struct store_heap *heap, enum store_heap_kind h, uint32_t i, struct store_record *r)
{
    while (i > 0 && r->when[h] < heap->at[(i - 1) / 2]->when[h]) {
        heap_set(heap, h, i, heap->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child + 1 < heap->n && heap->at[child + 1]->when[h] < heap->at[child]->when[h])
            child++;
        if (child >= heap->n || r->when[h] <= heap->at[child]->when[h])
            break;
        heap_set(heap, h, i, heap->at[child]);
        i = child;
    }
    heap_set(heap, h, i, r);
}

void store_schedule(struct kad_store *s, struct store_record *r, enum store_heap_kind h, uint64_t when)
{
    struct store_heap *heap = &s->heaps[h];
    uint32_t i = r->pos[h];
    r->when[h] = when;
    if (when != STORE_NEVER) {
        if (i == STORE_HEAP_NONE) {
            if (vector_reserve(&heap->at, heap->n, &heap->cap, sizeof *heap->at)) {
                r->when[h] = STORE_NEVER; /* no memory: it stays until it is put or read again */
                return;
            }
            i = heap->n++;
        }
        heap_sift(heap, h, i, r);
    } else if (i != STORE_HEAP_NONE) {
        r->pos[h] = STORE_HEAP_NONE;
        struct store_record *last = heap->at[--heap->n];
        if (last != r)
            heap_sift(heap, h, i, last);
        vector_shrink(&heap->at, heap->n, &heap->cap, sizeof *heap->at);
    }
    heap->first = heap->n > 0 ? heap->at[0]->when[h] : STORE_NEVER;
}

uint64_t store_due_ms(struct kad_store *s, struct now now)
{
    const uint32_t spread_ms = KAD_REPLICATE_S * 1000 / 5;
    return now.mono_ms + KAD_REPLICATE_S * 1000 - spread_ms / 2 + rng_below(s->rng, spread_ms);
}

/* ---- room --------------------------------------------------------------------------------------------- */

uint64_t store_source(const struct addr *from)
{
    if (!from)
        return 0;
    const uint8_t *ip = from->ip;
    if (from->family == 4)
        return addr_is_local(from) ? (uint64_t)5 << 56 | (uint64_t)be32(ip) << 16 | from->port
                                   : (uint64_t)4 << 56 | be32(ip) >> 8;
    return addr_is_local(from) ? (uint64_t)7 << 56 | (uint64_t)hash_crc32c(ip, 16) << 16 | from->port
                               : (uint64_t)6 << 56 | be64(ip) >> 16;
}

static uint32_t source_hash(const struct kad_store *s, uint64_t source)
{
    return hash32(s, &source, sizeof source);
}

static struct store_unit *draw_victim(struct kad_store *s, const struct store_pool *p, uint32_t least)
{
    struct store_unit *victim = NULL;
    for (int i = 0; i < ROOM_SAMPLE; i++) {
        struct store_unit *u = p->all[rng_below(s->rng, p->n)];
        uint32_t count = u->source ? kad_map_count(&p->sources, source_hash(s, u->source)) : 0;
        if (count > least) {
            least = count;
            victim = u;
        }
    }
    return victim;
}

int store_room(struct kad_store *s, enum store_pool_kind pool, uint64_t source, const uint8_t *key,
               uint32_t key_max, struct store_unit **ret_victim)
{
    struct store_pool *p = &s->pools[pool];
    *ret_victim = NULL;
    if (source && key && kad_map_count(&p->keys, hash32(s, key, KEY_SIZE)) >= key_max)
        return KAD_ERROR_FULL;
    if (p->n < p->max)
        return 0;
    if (s->no_shares)
        return KAD_ERROR_FULL;
    /* One more of the newcomer's must still be fewer than what the other is left with; else two would swap
     * for ever. Ourselves count as nobody's competitor. */
    uint32_t least = source ? kad_map_count(&p->sources, source_hash(s, source)) + 1 : 0;
    *ret_victim = draw_victim(s, p, least);
    return *ret_victim ? 0 : KAD_ERROR_FULL;
}

void store_unit_add(struct kad_store *s, struct store_unit *u, enum store_pool_kind pool, uint64_t source,
                    const uint8_t *key)
{
    struct store_pool *p = &s->pools[pool];
    u->source = source;
    u->index = p->n;
    u->pool = pool;
    u->dirty = false;
    p->all[p->n++] = u;
    int err = kad_map_count_up(&p->sources, source_hash(s, source));
    if (key)
        err |= kad_map_count_up(&p->keys, hash32(s, key, KEY_SIZE));
    assert(!err);
    (void)err;
}

void store_unit_remove(struct kad_store *s, struct store_unit *u, const uint8_t *key)
{
    struct store_pool *p = &s->pools[u->pool];
    kad_map_count_down(&p->sources, source_hash(s, u->source));
    if (key)
        kad_map_count_down(&p->keys, hash32(s, key, KEY_SIZE));
    struct store_unit *last = p->all[--p->n];
    last->index = u->index;
    p->all[u->index] = last;
    vector_shrink(&p->all, p->n, &p->cap, sizeof *p->all);
}

void store_unit_moved(struct kad_store *s, struct store_unit *u) { s->pools[u->pool].all[u->index] = u; }

#define CONTAINER(type, u) ((struct type *)(void *)((uint8_t *)(u)-offsetof(struct type, unit)))

void store_displace(struct kad_store *s, struct store_unit *u)
{
    s->stats.displaced++;
    switch ((enum store_pool_kind)u->pool) {
    case POOL_ITEMS:
        store_item_remove(s, CONTAINER(store_item, u));
        break;
    case POOL_ENTRIES: {
        struct store_entry *e = CONTAINER(store_entry, u);
        struct store_shard *shard = e->shard;
        store_entry_remove(s, e);
        store_shard_settle(s, shard);
        break;
    }
    case POOL_PEERS:
        store_peer_remove(s, CONTAINER(store_peer, u));
        break;
    case POOL_KINDS:
        assert(false);
    }
}

/* ---- dirty marks -------------------------------------------------------------------------------------- */

void store_mark(struct kad_store *s, struct span key, bool *dirty)
{
    assert(key.size <= KAD_STORE_KEY_MAX);
    if (!s->persist || *dirty || vector_reserve(&s->dirty, s->n_dirty, &s->cap_dirty, sizeof *s->dirty))
        return;
    struct store_dirty *d = &s->dirty[s->n_dirty++];
    d->size = (uint8_t)key.size;
    memcpy(d->key, key.data, key.size);
    *dirty = true;
}

int store_verify_status(int err)
{
    switch (err) {
    case 0:
        return 0;
    case CAM_EAUTH:
        return KAD_ERROR_SIGNATURE;
    case CAM_ETOOBIG:
        return KAD_ERROR_TOOBIG;
    default:
        return KAD_ERROR_PROTOCOL;
    }
}
