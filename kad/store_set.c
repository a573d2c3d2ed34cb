#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/store_impl.h"

/* ---- shards ------------------------------------------------------------------------------------------- */

static size_t shard_size(uint32_t cap)
{
    return sizeof(struct store_shard) + cap * sizeof(struct store_entry *);
}

struct store_shard *store_shard_find(struct kad_store *s, const struct kad_shard_id *at)
{
    uint8_t target[KAD_ID_SIZE];
    kad_shard_target(at, target);
    return (struct store_shard *)store_find(s, STORE_SHARD, at->depth, target);
}

struct store_shard *store_shard_make(struct kad_store *s, struct now now, const struct kad_shard_id *at)
{
    struct store_shard *shard = store_shard_find(s, at);
    if (shard)
        return shard;
    if (store_reserve(s, POOL_ENTRIES) || !(shard = calloc(1, sizeof *shard)))
        return NULL;
    shard->record.kind = STORE_SHARD;
    shard->record.depth = at->depth;
    kad_shard_target(at, shard->record.target);
    shard->at = *at;
    shard->created_s = store_now_s(now);
    store_record_add(s, &shard->record);
    store_schedule(s, &shard->record, HEAP_DUE, store_due_ms(s, now));
    s->stats.shards++;
    s->stats.bytes += shard_size(0);
    return shard;
}

/* A shard without entries is kept only for its split mark, and that only until it lapses. */
void store_shard_settle(struct kad_store *s, struct store_shard *shard)
{
    if (shard->n == 0 && !shard->split_s) {
        store_record_remove(s, &shard->record);
        s->stats.shards--;
        s->stats.bytes -= shard_size(shard->cap);
        free(shard->entries);
        free(shard);
        return;
    }
    uint64_t first_s = shard->split_s ? (uint64_t)shard->split_s + STORE_SPLIT_LIFE_S : STORE_NEVER / 1000;
    for (uint32_t i = 0; i < shard->n; i++)
        if (shard->entries[i]->exp_s < first_s)
            first_s = shard->entries[i]->exp_s;
    store_schedule(s, &shard->record, HEAP_EXPIRES, first_s * 1000);
}

void store_shard_expire(struct kad_store *s, struct now now, struct store_shard *shard)
{
    if (shard->record.when[HEAP_EXPIRES] > now.wall_ms)
        return;
    for (uint32_t i = shard->n; i-- > 0;)
        if ((uint64_t)shard->entries[i]->exp_s * 1000 <= now.wall_ms)
            store_entry_remove(s, shard->entries[i]);
    if (shard->split_s && ((uint64_t)shard->split_s + STORE_SPLIT_LIFE_S) * 1000 <= now.wall_ms) {
        shard->split_s = 0;
        store_mark_split(s, shard);
    }
    store_shard_settle(s, shard);
}

/* The shard without what has expired, or NULL. */
static struct store_shard *shard_now(struct kad_store *s, struct now now, const struct kad_shard_id *at)
{
    struct store_shard *shard = store_shard_find(s, at);
    if (!shard || shard->record.when[HEAP_EXPIRES] > now.wall_ms)
        return shard;
    store_shard_expire(s, now, shard);
    return store_shard_find(s, at);
}

uint32_t store_shard_seen_s(const struct store_shard *shard)
{
    uint32_t seen_s = UINT32_MAX;
    for (uint32_t i = 0; i < shard->n; i++)
        if (shard->entries[i]->seen_s < seen_s)
            seen_s = shard->entries[i]->seen_s;
    return seen_s;
}

static void shard_split(struct kad_store *s, struct now now, struct store_shard *shard)
{
    if (!shard->split_s) /* hand down soon, but not all holders at once */
        store_schedule(s, &shard->record, HEAP_DUE,
                       now.mono_ms + rng_below(s->rng, KAD_REPLICATE_S * 1000 / 6));
    shard->split_s = store_now_s(now);
    store_mark_split(s, shard);
    store_shard_settle(s, shard);
}

/* ---- entries ------------------------------------------------------------------------------------------ */

struct store_entry *store_entry_find(const struct store_shard *shard, const uint8_t slot[KAD_SLOT_SIZE],
                                     uint32_t *ret_at)
{
    uint32_t low = 0, high = shard->n; /* the first entry that is not below slot lies in low..high */
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (memcmp(shard->entries[mid]->slot, slot, KAD_SLOT_SIZE) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_at = low;
    if (low < shard->n && memcmp(shard->entries[low]->slot, slot, KAD_SLOT_SIZE) == 0)
        return shard->entries[low];
    return NULL;
}

static uint32_t ago_s(struct now now, uint32_t then_s)
{
    uint32_t now_s = store_now_s(now);
    return then_s < now_s ? now_s - then_s : 0; /* the clock may have gone back */
}

static uint32_t before_s(struct now now, uint32_t ago)
{
    uint32_t now_s = store_now_s(now);
    return ago < now_s ? now_s - ago : 0;
}

void store_entry_view(const struct store_entry *e, struct now now, struct kad_entry *ret)
{
    *ret = (struct kad_entry){
        .seq = e->seq,
        .v = span(e->v, e->v_size),
        .age_s = ago_s(now, e->refreshed_s),
        .since_s = ago_s(now, e->since_s),
    };
    memcpy(ret->pk, e->pk, KEY_SIZE);
    memcpy(ret->sig, e->sig, SIG_SIZE);
}

static void digest_flip(struct store_shard *shard, const struct store_entry *e)
{
    struct kad_entry view;
    store_entry_view(e, (struct now){0}, &view);
    kad_entry_digest(&view, shard->digest);
}

static size_t entry_size(size_t v_size) { return sizeof(struct store_entry) + v_size; }

void store_entry_remove(struct kad_store *s, struct store_entry *e)
{
    struct store_shard *shard = e->shard;
    uint32_t at;
    struct store_entry *found = store_entry_find(shard, e->slot, &at);
    assert(found == e);
    (void)found;
    memmove(&shard->entries[at], &shard->entries[at + 1], (shard->n - at - 1) * sizeof(struct store_entry *));
    shard->n--;
    shard->tombstones -= e->tombstone;
    s->stats.tombstones -= e->tombstone;
    s->stats.entries -= !e->tombstone;
    s->stats.bytes -= entry_size(e->v_size);
    digest_flip(shard, e);
    store_mark_entry(s, e);
    store_unit_remove(s, &e->unit, e->pk);
    free(e);
}

/* Adds an entry that was checked, or replaces the version held. Its times are the caller's to set. */
struct store_entry *store_entry_set(struct kad_store *s, struct store_shard *shard, struct store_entry *old,
                                    const struct kad_entry *in, uint32_t exp_s, uint64_t source)
{
    uint8_t slot[KAD_SLOT_SIZE];
    uint32_t at;
    kad_slot(in->pk, slot);
    if (!old && store_reserve(s, POOL_ENTRIES))
        return NULL;
    if (!old && shard->n == shard->cap) {
        uint32_t cap = shard->cap ? shard->cap * 2 : 1;
        struct store_entry **larger = realloc(shard->entries, cap * sizeof(struct store_entry *));
        if (!larger)
            return NULL;
        s->stats.bytes += shard_size(cap) - shard_size(shard->cap);
        shard->entries = larger;
        shard->cap = cap;
    }
    struct store_entry *found = store_entry_find(shard, slot, &at);
    assert(found == old);
    (void)found;
    if (old) {
        digest_flip(shard, old);
        shard->tombstones -= old->tombstone;
        s->stats.tombstones -= old->tombstone;
        s->stats.entries -= !old->tombstone;
        s->stats.bytes -= entry_size(old->v_size);
    }
    struct store_entry *e = realloc(old, entry_size(in->v.size));
    if (e) {
        if (old) {
            shard->entries[at] = e;
            store_unit_moved(s, &e->unit);
        } else {
            memset(e, 0, sizeof *e);
            e->shard = shard;
            memcpy(e->slot, slot, KAD_SLOT_SIZE);
            memcpy(e->pk, in->pk, KEY_SIZE);
            memmove(&shard->entries[at + 1], &shard->entries[at],
                    (shard->n - at) * sizeof(struct store_entry *));
            shard->entries[at] = e;
            shard->n++;
            store_unit_add(s, &e->unit, POOL_ENTRIES, source, e->pk);
        }
        e->seq = in->seq;
        e->exp_s = exp_s;
        e->v_size = (uint16_t)in->v.size;
        memcpy(e->sig, in->sig, SIG_SIZE);
        memcpy(e->v, in->v.data, in->v.size);
        e->tombstone = kad_entry_is_tombstone(in);
    } else if (!(e = old)) {
        return NULL;
    }
    digest_flip(shard, e);
    shard->tombstones += e->tombstone;
    s->stats.tombstones += e->tombstone;
    s->stats.entries += !e->tombstone;
    s->stats.bytes += entry_size(e->v_size);
    uint64_t expires_ms = (uint64_t)e->exp_s * 1000;
    if (shard->record.pos[HEAP_EXPIRES] == STORE_HEAP_NONE || expires_ms < shard->record.when[HEAP_EXPIRES])
        store_schedule(s, &shard->record, HEAP_EXPIRES, expires_ms);
    return e;
}

/* ---- putting ------------------------------------------------------------------------------------------ */

/* What an entry must be before anything held is looked at. */
static int entry_form(struct now now, int64_t depth, const struct kad_entry *in, int64_t *ret_exp_s)
{
    if (depth < 0 || depth > KAD_SHARD_DEPTH_MAX)
        return KAD_ERROR_PROTOCOL;
    int code = kad_entry_check(in);
    if (code)
        return code;
    int64_t now_s = now_unix_s(now), exp_s = kad_value_expires_s(in->v);
    if (exp_s <= now_s || exp_s > now_s + KAD_LIFE_MAX_S + KAD_LIFE_SLACK_S)
        return KAD_ERROR_PROTOCOL;
    *ret_exp_s = exp_s;
    return 0;
}

int kad_store_set_put(struct kad_store *s, struct now now, const uint8_t root[KAD_ID_SIZE], int64_t depth,
                      const struct kad_entry *in, const struct addr *from)
{
    int64_t exp_s = 0;
    int code = entry_form(now, depth, in, &exp_s);
    if (code) {
        s->stats.refused_form++;
        return code;
    }
    uint8_t slot[KAD_SLOT_SIZE];
    struct kad_shard_id at;
    kad_slot(in->pk, slot);
    kad_shard_of(&at, root, (uint8_t)depth, slot);

    struct store_shard *shard = shard_now(s, now, &at);
    if (shard && shard->split_s)
        return KAD_STORE_SPLIT;
    uint32_t place;
    struct store_entry *old = shard ? store_entry_find(shard, slot, &place) : NULL;
    int newer = 1;
    if (old) {
        newer = kad_version_compare(in->seq, in->v, old->seq, span(old->v, old->v_size));
        if (newer < 0) {
            s->stats.refused_stale++;
            return KAD_ERROR_STALE;
        }
        if (newer == 0 && memcmp(in->sig, old->sig, SIG_SIZE) == 0) {
            old->seen_s = store_now_s(now);
            return 0;
        }
    }

    uint64_t source = store_source(from);
    bool full = !old && shard && shard->n >= KAD_SHARD_ENTRIES_MAX;
    struct store_unit *victim = NULL;
    if (full && (depth == KAD_SHARD_DEPTH_MAX || s->no_splits))
        code = KAD_ERROR_FULL;
    else if (!old && !full)
        code = store_room(s, POOL_ENTRIES, source, in->pk, KAD_KEY_ENTRIES_MAX, &victim);
    if (code) {
        s->stats.refused_full++;
        return code;
    }
    code = store_verify_status(kad_verified_entry(s->verified, in, root));
    if (code) {
        s->stats.refused_signature++;
        return code;
    }
    if (full) { /* only a good signature can make a shard split */
        shard_split(s, now, shard);
        return KAD_STORE_SPLIT;
    }
    if (newer == 0) {
        old->seen_s = store_now_s(now);
        return 0;
    }
    uint8_t v[KAD_SET_VALUE_MAX];
    struct kad_entry copy = *in;
    if (victim) { /* what goes may be what `in` borrows from, and take its shard with it, which may be ours */
        memcpy(v, in->v.data, in->v.size);
        copy.v.data = v;
        store_displace(s, victim);
    }
    shard = store_shard_make(s, now, &at);
    if (!shard)
        return KAD_ERROR_FULL;
    bool reborn = !old || (old->tombstone && !kad_entry_is_tombstone(in));
    uint32_t refreshed_s = old ? old->refreshed_s : 0;
    struct store_entry *e = store_entry_set(s, shard, old, &copy, (uint32_t)exp_s, source);
    if (!e) {
        store_shard_settle(s, shard);
        return KAD_ERROR_FULL;
    }
    e->seen_s = store_now_s(now);
    e->refreshed_s = before_s(now, in->age_s);
    if (e->refreshed_s < refreshed_s) /* a newer version is no older than the one it replaces */
        e->refreshed_s = refreshed_s;
    if (reborn)
        e->since_s = store_now_s(now);
    store_mark_entry(s, e);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static void page_add(struct kad_set_page *page, const struct kad_set_query *query, size_t *bytes,
                     const struct store_entry *e, struct now now)
{
    size_t max = query->max && query->max < KAD_SET_PAGE_MAX ? query->max : KAD_SET_PAGE_MAX;
    struct kad_entry view;
    store_entry_view(e, now, &view);
    size_t size = kad_entry_wire_size(&view);
    bool fits = !query->max_bytes || *bytes + size <= query->max_bytes || page->n_entries == 0;
    if (page->n_entries >= max || !fits) {
        page->more = true;
        return;
    }
    *bytes += size;
    page->entries[page->n_entries++] = view;
}

/* The live entries of entries[first..end) that were refreshed last, newest first. */
static void page_fresh(struct kad_set_page *page, const struct kad_set_query *query,
                       const struct store_shard *shard, uint32_t first, uint32_t end, struct now now)
{
    const struct store_entry *best[KAD_SET_PAGE_MAX + 1];
    size_t n = 0, bytes = 0;
    for (uint32_t i = first; i < end; i++) {
        const struct store_entry *e = shard->entries[i];
        if (e->tombstone)
            continue;
        size_t at = n;
        while (at > 0 && best[at - 1]->refreshed_s < e->refreshed_s)
            at--;
        if (at == KAD_SET_PAGE_MAX + 1)
            continue;
        n = n < KAD_SET_PAGE_MAX + 1 ? n + 1 : n; /* one more than fits, so that `more` is known */
        memmove(&best[at + 1], &best[at], (n - at - 1) * sizeof *best);
        best[at] = e;
    }
    for (size_t i = 0; i < n && !page->more; i++)
        page_add(page, query, &bytes, best[i], now);
}

void kad_store_set_get(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                       const struct kad_set_query *query, struct kad_set_page *ret_page)
{
    struct store_shard *shard = shard_now(s, now, at);
    *ret_page = (struct kad_set_page){0};
    if (!shard)
        return;
    ret_page->n = shard->n - shard->tombstones;
    ret_page->split = shard->split_s != 0;
    memcpy(ret_page->digest, shard->digest, KAD_ID_SIZE);

    uint32_t first = 0, end = shard->n;
    if (query->after && store_entry_find(shard, query->after, &first))
        first++;
    if (query->upto && store_entry_find(shard, query->upto, &end))
        end++;
    size_t bytes = 0;
    if (query->fresh)
        page_fresh(ret_page, query, shard, first, end, now);
    else
        for (uint32_t i = first; i < end && !ret_page->more; i++)
            page_add(ret_page, query, &bytes, shard->entries[i], now);
}

bool kad_store_entry_next(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                          const uint8_t *after, uint32_t unseen_s, struct kad_entry *ret_entry,
                          uint8_t ret_slot[KAD_SLOT_SIZE])
{
    struct store_shard *shard = shard_now(s, now, at);
    uint32_t i = 0;
    if (!shard)
        return false;
    if (after && store_entry_find(shard, after, &i))
        i++;
    while (i < shard->n && ago_s(now, shard->entries[i]->seen_s) < unseen_s)
        i++;
    if (i >= shard->n)
        return false;
    store_entry_view(shard->entries[i], now, ret_entry);
    memcpy(ret_slot, shard->entries[i]->slot,
           KAD_SLOT_SIZE); /* `after` may be the same memory: read before */
    return true;
}

static struct store_entry *entry_of(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                                    const uint8_t pk[KEY_SIZE])
{
    struct store_shard *shard = shard_now(s, now, at);
    uint8_t slot[KAD_SLOT_SIZE];
    uint32_t place;
    kad_slot(pk, slot);
    return shard ? store_entry_find(shard, slot, &place) : NULL;
}

int kad_store_entry_get(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                        const uint8_t pk[KEY_SIZE], struct kad_entry *ret_entry)
{
    const struct store_entry *e = entry_of(s, now, at, pk);
    if (!e)
        return CAM_ENOENT;
    store_entry_view(e, now, ret_entry);
    return 0;
}

/* ---- what the caller learned from the other holders --------------------------------------------------- */

void kad_store_set_times(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                         const struct kad_entry *entry)
{
    struct store_entry *e = entry_of(s, now, at, entry->pk);
    if (!e)
        return;
    uint32_t since_s = before_s(now, entry->since_s);
    uint32_t refreshed_s = e->seq == entry->seq ? before_s(now, entry->age_s) : e->refreshed_s;
    if (e->since_s == since_s && e->refreshed_s == refreshed_s)
        return;
    e->since_s = since_s;
    e->refreshed_s = refreshed_s;
    store_mark_entry(s, e);
}

bool kad_store_shard_is_new(struct kad_store *s, struct now now, const struct kad_shard_id *at)
{
    const struct store_shard *shard = shard_now(s, now, at);
    return shard && shard->created_s && ago_s(now, shard->created_s) < STORE_SHARD_NEW_S;
}

void kad_store_handed(struct kad_store *s, struct now now, const struct kad_shard_id *at,
                      const uint8_t pk[KEY_SIZE], int64_t seq)
{
    struct store_entry *e = entry_of(s, now, at, pk);
    if (!e || e->seq > seq)
        return;
    struct store_shard *shard = e->shard;
    if (shard->split_s && shard->n == 1)
        return; /* by it others hear of a shard that is split */
    store_entry_remove(s, e);
    store_shard_settle(s, shard);
}

void kad_store_split(struct kad_store *s, struct now now, const struct kad_shard_id *at)
{
    struct store_shard *shard = shard_now(s, now, at);
    if (shard && at->depth < KAD_SHARD_DEPTH_MAX)
        shard_split(s, now, shard);
}

void kad_store_reopen(struct kad_store *s, struct now now, const struct kad_shard_id *at)
{
    struct store_shard *shard = shard_now(s, now, at);
    if (!shard || !shard->split_s)
        return;
    shard->split_s = 0;
    store_mark_split(s, shard);
    store_shard_settle(s, shard);
}
