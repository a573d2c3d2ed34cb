#include "kad/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct table_contact) == 32, "a contact is 32 bytes");

#define GROW_CONTACTS 4
#define IP6_FREE 0xffff

static uint16_t seconds(uint64_t mono_ms)
{
    return (uint16_t)(mono_ms / 1000);
}

void table_init(struct table *t, uint8_t family, uint8_t k, const uint8_t self[ID_SIZE])
{
    assert((family == 4 || family == 6) && k > 0 && k * TABLE_NEAR <= UINT8_MAX);
    *t = (struct table){.family = family, .k = k};
    memcpy(t->self, self, ID_SIZE);
}

void table_clear(struct table *t)
{
    free(t->contacts);
    free(t->cache);
    free(t->ip6);
    table_init(t, t->family, t->k, t->self);
}

unsigned table_bucket(const struct table *t, const uint8_t id[ID_SIZE])
{
    unsigned bits = id_common_bits(t->self, id);

    return bits < TABLE_BUCKETS ? bits : TABLE_BUCKETS - 1;
}

unsigned table_depth(const struct table *t)
{
    unsigned depth = TABLE_BUCKETS;

    while (depth > 0 && t->count[depth - 1] == 0)
        depth--;
    return depth;
}

unsigned table_bucket_start(const struct table *t, unsigned b)
{
    unsigned start = 0;

    for (unsigned i = 0; i < b; i++)
        start += t->count[i];
    return start;
}

/* ---- addresses: four bytes in the contact, IPv6 ones in a pool beside it ------------------------------ */

static bool set_addr(struct table *t, struct table_contact *c, const struct addr *addr)
{
    put_be16(c->port, addr->port);
    if (t->family == 4) {
        memcpy(c->ip, addr->ip, 4);
        return true;
    }
    if (!t->free_ip6) {
        if (t->n_ip6 == t->cap_ip6) {
            uint16_t cap = (uint16_t)(t->cap_ip6 + GROW_CONTACTS);
            void *more = realloc(t->ip6, cap * sizeof *t->ip6);
            if (!more)
                return false;
            t->ip6 = more;
            t->cap_ip6 = cap;
        }
        memset(t->ip6[t->n_ip6], 0, 16);
        t->free_ip6 = ++t->n_ip6;
    }
    unsigned place = t->free_ip6 - 1u;
    t->free_ip6 = be16(t->ip6[place]);
    memcpy(t->ip6[place], addr->ip, 16);
    put_be32(c->ip, place);
    return true;
}

static void drop_addr(struct table *t, const struct table_contact *c)
{
    if (t->family == 4)
        return;
    unsigned place = be32(c->ip);
    memset(t->ip6[place], 0, 16);
    put_be16(t->ip6[place], t->free_ip6);
    t->free_ip6 = (uint16_t)(place + 1);
}

struct addr table_addr(const struct table *t, const struct table_contact *c)
{
    struct addr a = {.family = t->family, .port = be16(c->port)};

    if (t->family == 4)
        memcpy(a.ip, c->ip, 4);
    else
        memcpy(a.ip, t->ip6[be32(c->ip)], 16);
    return a;
}

static bool same_subnet(const struct table *t, const struct table_contact *c, const struct addr *addr)
{
    if (t->family == 4)
        return memcmp(c->ip, addr->ip, 3) == 0;
    return memcmp(t->ip6[be32(c->ip)], addr->ip, 8) == 0;
}

/* One machine room must not fill a bucket or the table. `b` is where the newcomer would go. */
static bool subnet_allows(const struct table *t, unsigned b, const struct addr *addr)
{
    unsigned in_bucket = 0, in_table = 0, start = table_bucket_start(t, b), end = start + t->count[b];

    if (addr_is_local(addr) || t->any_subnet)
        return true;
    for (unsigned i = 0; i < t->n; i++) {
        if (!same_subnet(t, &t->contacts[i], addr))
            continue;
        in_table++;
        in_bucket += i >= start && i < end;
    }
    return in_bucket < TABLE_SUBNET_BUCKET_MAX && in_table < TABLE_SUBNET_MAX;
}

/* ---- the array ---------------------------------------------------------------------------------------- */

/* How many contacts bucket b may hold: k, or more while the subtree beyond it has fewer
 * than k (paper 2.4). */
static unsigned bucket_room(const struct table *t, unsigned b)
{
    unsigned beyond = t->n - table_bucket_start(t, b) - t->count[b];

    return beyond < t->k ? t->k * TABLE_NEAR : t->k;
}

static bool reserve(struct table *t)
{
    if (t->n < t->cap)
        return true;
    uint16_t cap = (uint16_t)(t->cap + GROW_CONTACTS);
    void *more = realloc(t->contacts, cap * sizeof *t->contacts);
    if (!more)
        return false;
    t->contacts = more;
    t->cap = cap;
    return true;
}

static struct table_contact *insert(struct table *t, unsigned b, const uint8_t id[ID_SIZE],
                                    const struct addr *addr)
{
    struct table_contact c = {.fails = 0};

    if (!reserve(t))
        return NULL;
    memcpy(c.id, id, ID_SIZE);
    if (!set_addr(t, &c, addr))
        return NULL;
    unsigned at = table_bucket_start(t, b) + t->count[b];
    memmove(&t->contacts[at + 1], &t->contacts[at], (t->n - at) * sizeof c);
    t->contacts[at] = c;
    t->count[b]++;
    t->n++;
    return &t->contacts[at];
}

static void remove_at(struct table *t, unsigned b, unsigned at)
{
    drop_addr(t, &t->contacts[at]);
    t->failing = (uint16_t)(t->failing - (t->contacts[at].fails > 0));
    memmove(&t->contacts[at], &t->contacts[at + 1], (t->n - at - 1u) * sizeof *t->contacts);
    t->count[b]--;
    t->n--;
    if (t->cap - t->n >= 2 * GROW_CONTACTS && t->n > 0) {
        uint16_t cap = (uint16_t)(t->n + GROW_CONTACTS);
        void *less = realloc(t->contacts, cap * sizeof *t->contacts);
        if (less) {
            t->contacts = less;
            t->cap = cap;
        }
    }
}

struct table_contact *table_find(const struct table *t, const uint8_t id[ID_SIZE])
{
    unsigned b = table_bucket(t, id), start = table_bucket_start(t, b);

    for (unsigned i = start; i < start + t->count[b]; i++)
        if (id_equal(t->contacts[i].id, id))
            return &t->contacts[i];
    return NULL;
}

/* ---- candidates: one short list for all buckets ------------------------------------------------------- */

static void cache_remove(struct table *t, unsigned at)
{
    drop_addr(t, &t->cache[at]);
    memmove(&t->cache[at], &t->cache[at + 1], (t->n_cache - at - 1u) * sizeof *t->cache);
    if (--t->n_cache > 0)
        return;
    free(t->cache);
    t->cache = NULL;
    t->cap_cache = 0;
}

static void cache_forget(struct table *t, const uint8_t id[ID_SIZE])
{
    for (unsigned i = t->n_cache; i-- > 0;)
        if (id_equal(t->cache[i].id, id))
            cache_remove(t, i);
}

void table_offer(struct table *t, const uint8_t id[ID_SIZE], const struct addr *addr)
{
    struct table_contact c = {.fails = 0};

    if (addr->family != t->family || id_equal(id, t->self))
        return;
    cache_forget(t, id);
    if (t->n_cache == TABLE_CACHE_MAX)
        cache_remove(t, 0);
    if (t->n_cache == t->cap_cache) {
        uint8_t cap = (uint8_t)(t->cap_cache + 4);
        void *more = realloc(t->cache, cap * sizeof *t->cache);
        if (!more)
            return;
        t->cache = more;
        t->cap_cache = cap;
    }
    memcpy(c.id, id, ID_SIZE);
    if (set_addr(t, &c, addr))
        t->cache[t->n_cache++] = c;
}

bool table_take_candidate(struct table *t, uint8_t ret_id[ID_SIZE], struct addr *ret_addr)
{
    for (unsigned i = t->n_cache; i-- > 0;) {
        struct addr addr = table_addr(t, &t->cache[i]);
        if (!table_has_room(t, t->cache[i].id, &addr))
            continue;
        memcpy(ret_id, t->cache[i].id, ID_SIZE);
        *ret_addr = addr;
        cache_remove(t, i);
        return true;
    }
    return false;
}

/* ---- contacts come and go ----------------------------------------------------------------------------- */

/* A bucket's range has a power of two of parts, at most k. */
static unsigned part_bits(const struct table *t)
{
    return 31u - (unsigned)__builtin_clz(t->k);
}

/* The part of its bucket's range that an id lies in, by the bits that follow the one in which it
 * differs from ours. */
static unsigned part_of(const struct table *t, unsigned b, const uint8_t id[ID_SIZE])
{
    unsigned bits = part_bits(t), first = b + 1; /* b < TABLE_BUCKETS: there are far more bits than that */
    uint32_t word = be32(id + first / 8) << first % 8;

    return bits ? word >> (32 - bits) : 0;
}

/* The contact of a bucket to give up first: most failures; without any, one of the fullest part of the range;
 * of several the youngest (who has been here long will likely stay: paper, section 4.1). -1: all answer, and
 * no part holds two. */
static int worst_of(const struct table *t, unsigned b)
{
    unsigned start = table_bucket_start(t, b), end = start + t->count[b], most = 1;
    uint8_t in_part[UINT8_MAX] = {0};
    int worst = -1;

    for (unsigned i = start; i < end; i++)
        if (t->contacts[i].fails > 0 && (worst < 0 || t->contacts[i].fails >= t->contacts[worst].fails))
            worst = (int)i;
    if (worst >= 0)
        return worst;
    for (unsigned i = start; i < end; i++) {
        unsigned n = ++in_part[part_of(t, b, t->contacts[i].id)];
        if (n >= most && n > 1) {
            most = n;
            worst = (int)i;
        }
    }
    return worst;
}

/* Who would give way to a newcomer in a full bucket, or -1. One that answers does only in a far bucket, and
 * only for a newcomer from a part of the range in which we know nobody: contacts spread over the range of
 * their bucket make lookups shorter, and those that a single lookup finds lie all in one place. */
static int gives_way(const struct table *t, unsigned b, const uint8_t id[ID_SIZE])
{
    unsigned start = table_bucket_start(t, b), end = start + t->count[b], part = part_of(t, b, id);
    bool fails = false, fills = !table_bucket_is_near(t, b);

    for (unsigned i = start; i < end; i++) {
        fails = fails || t->contacts[i].fails > 0;
        fills = fills && part_of(t, b, t->contacts[i].id) != part;
    }
    return fails || fills ? worst_of(t, b) : -1;
}

/* Of a bucket that holds too many: the worst, or the youngest. */
static unsigned give_up(const struct table *t, unsigned b)
{
    int worst = worst_of(t, b);

    return worst >= 0 ? (unsigned)worst : table_bucket_start(t, b) + t->count[b] - 1u;
}

/* The network has grown, and buckets that were part of the smallest subtree of k nodes no longer are. */
static void shrink_beyond(struct table *t, unsigned b)
{
    unsigned beyond = t->n - table_bucket_start(t, b);

    for (unsigned i = b; i-- > 0; beyond += t->count[i])
        while (t->count[i] > (beyond < t->k ? t->k * TABLE_NEAR : t->k))
            remove_at(t, i, give_up(t, i));
}

bool table_has_room(const struct table *t, const uint8_t id[ID_SIZE], const struct addr *addr)
{
    unsigned b = table_bucket(t, id);
    const struct table_contact *known = table_find(t, id);

    if (addr->family != t->family || id_equal(id, t->self))
        return false;
    if (known) {
        struct addr at = table_addr(t, known);
        return known->fails > 0 && !addr_equal(&at, addr);
    }
    return (t->count[b] < bucket_room(t, b) || gives_way(t, b, id) >= 0) && subnet_allows(t, b, addr);
}

bool table_bucket_is_near(const struct table *t, unsigned bucket)
{
    return bucket_room(t, bucket) > t->k;
}

bool table_is_near(const struct table *t, const uint8_t id[ID_SIZE])
{
    return table_bucket_is_near(t, table_bucket(t, id));
}

bool table_is_wanted(const struct table *t, const uint8_t id[ID_SIZE])
{
    unsigned b = table_bucket(t, id);

    return table_is_near(t, id) || t->count[b] < t->k / 2 || table_find(t, id);
}

bool table_is_measured(const struct table_contact *c)
{
    return c->rtt_ms || c->dev_ms;
}

/* RFC 6298's smoothing, in whole milliseconds, for one contact. */
static void measure(struct table_contact *c, uint32_t rtt_ms, bool first)
{
    if (rtt_ms == TABLE_RTT_UNKNOWN)
        return;
    first = first || !table_is_measured(c);
    int rtt = rtt_ms < 60000 ? (int)rtt_ms : 60000;
    int dev = first ? rtt / 2 : c->dev_ms + (abs(rtt - c->rtt_ms) - c->dev_ms) / 4;
    int mean = first ? rtt : c->rtt_ms + (rtt - c->rtt_ms) / 8;

    c->rtt_ms = (uint16_t)mean;
    c->dev_ms = (uint8_t)(dev < 255 ? dev : 255);
}

enum table_result table_heard(struct table *t, uint64_t mono_ms, const uint8_t id[ID_SIZE],
                              const struct addr *addr, uint32_t rtt_ms)
{
    unsigned b = table_bucket(t, id);
    struct table_contact *c = table_find(t, id);

    if (addr->family != t->family || id_equal(id, t->self))
        return TABLE_REFUSED;
    if (c) {
        struct addr at = table_addr(t, c);
        bool moved = !addr_equal(&at, addr);
        if (moved && c->fails == 0)
            return TABLE_MOVED;
        if (moved) { /* it returned at another address, and the old one does not answer */
            drop_addr(t, c);
            set_addr(t, c, addr); /* cannot fail: a place has just become free */
        }
        c->seen_s = seconds(mono_ms);
        t->failing = (uint16_t)(t->failing - (c->fails > 0));
        c->fails = 0;
        measure(c, rtt_ms, moved);
        return TABLE_KNOWN;
    }
    if (!subnet_allows(t, b, addr))
        return TABLE_REFUSED;
    if (t->count[b] >= bucket_room(t, b)) {
        int worst = gives_way(t, b, id);
        if (worst < 0) {
            table_offer(t, id, addr);
            return TABLE_FULL;
        }
        remove_at(t, b, (unsigned)worst);
    }
    cache_forget(t, id);
    c = insert(t, b, id, addr);
    if (!c)
        return TABLE_REFUSED;
    c->seen_s = seconds(mono_ms);
    measure(c, rtt_ms, true);
    shrink_beyond(t, b);
    return TABLE_ADDED;
}

bool table_failed(struct table *t, const uint8_t id[ID_SIZE], const struct addr *addr)
{
    struct table_contact *c = table_find(t, id);

    if (!c)
        return false;
    struct addr at = table_addr(t, c);
    if (!addr_equal(&at, addr))
        return false;
    t->failing = (uint16_t)(t->failing + (c->fails == 0));
    if (++c->fails < TABLE_FAILS_MAX)
        return false;
    remove_at(t, table_bucket(t, id), (unsigned)(c - t->contacts));
    return true;
}

void table_rename(struct table *t, const uint8_t self[ID_SIZE])
{
    struct table old = *t;

    table_init(t, old.family, old.k, self);
    t->any_subnet = old.any_subnet;
    memcpy(t->refreshed_s, old.refreshed_s, sizeof t->refreshed_s); /* zero would be long ago */
    for (unsigned i = 0; i < old.n; i++) {
        struct table_contact *from = &old.contacts[i], *c;
        struct addr addr = table_addr(&old, from);
        unsigned b = table_bucket(t, from->id);
        if (id_equal(from->id, self) || t->count[b] >= bucket_room(t, b) || !subnet_allows(t, b, &addr))
            continue;
        c = insert(t, b, from->id, &addr);
        if (!c)
            continue;
        c->seen_s = from->seen_s;
        c->rtt_ms = from->rtt_ms;
        c->dev_ms = from->dev_ms;
        c->fails = from->fails;
        t->failing = (uint16_t)(t->failing + (c->fails > 0));
    }
    shrink_beyond(t, TABLE_BUCKETS - 1);
    table_clear(&old);
}

/* ---- looking in --------------------------------------------------------------------------------------- */

uint32_t table_age_s(const struct table_contact *c, uint64_t mono_ms)
{
    return (uint16_t)(seconds(mono_ms) - c->seen_s);
}

/* Merges contacts [from, to) into the sorted list `ret` of `n`,
 * of which the first `fixed` are closer anyway. */
static size_t merge_range(const struct table *t, const uint8_t target[ID_SIZE], unsigned from, unsigned to,
                          const struct table_contact **ret, size_t n, size_t max, unsigned fails_max)
{
    size_t fixed = n;

    for (unsigned i = from; i < to; i++) {
        const struct table_contact *c = &t->contacts[i];
        if (c->fails > fails_max ||
            (n == max && (n == fixed || id_compare(target, c->id, ret[n - 1]->id) > 0)))
            continue;
        size_t at = n < max ? n++ : n - 1;
        while (at > fixed && id_compare(target, c->id, ret[at - 1]->id) < 0) {
            ret[at] = ret[at - 1];
            at--;
        }
        ret[at] = c;
    }
    return n;
}

size_t table_closest(const struct table *t, const uint8_t target[ID_SIZE], const struct table_contact **ret,
                     size_t max, unsigned fails_max)
{
    unsigned b = table_bucket(t, target), start = table_bucket_start(t, b);
    size_t n = 0;

    /* With b the bucket of the target: b itself shares more bits with it than all others; those beyond b
     * share exactly b bits; then b - 1, b - 2 ... each shares one less. So groups need no comparing with each
     * other. */
    n = merge_range(t, target, start, start + t->count[b], ret, n, max, fails_max);
    if (n < max)
        n = merge_range(t, target, start + t->count[b], t->n, ret, n, max, fails_max);
    while (n < max && b > 0) {
        b--;
        n = merge_range(t, target, start - t->count[b], start, ret, n, max, fails_max);
        start -= t->count[b];
    }
    return n;
}

size_t table_good(const struct table *t)
{
    return (size_t)(t->n - t->failing);
}

struct table_gap table_gap_of(const struct table *t, const uint8_t id[ID_SIZE])
{
    unsigned b = table_bucket(t, id);

    return (struct table_gap){(uint8_t)b, (uint8_t)part_of(t, b, id)};
}

bool table_gap_is_among(const struct table_gap *gaps, unsigned n, struct table_gap gap)
{
    while (n > 0 && (gaps[n - 1].bucket != gap.bucket || gaps[n - 1].part != gap.part))
        n--;
    return n > 0;
}

bool table_next_gap(const struct table *t, struct table_gap *at)
{
    unsigned depth = table_depth(t), parts = 1u << part_bits(t);

    for (; at->bucket < depth; *at = (struct table_gap){(uint8_t)(at->bucket + 1), 0}) {
        unsigned b = at->bucket, start = table_bucket_start(t, b);
        uint64_t known[4] = {0}; /* k < 256 */
        if (table_bucket_is_near(t, b))
            return false; /* and so is what lies beyond */
        for (unsigned i = start; i < start + t->count[b]; i++) {
            unsigned part = part_of(t, b, t->contacts[i].id);
            known[part / 64] |= UINT64_C(1) << part % 64;
        }
        for (; at->part < parts; at->part++)
            if (!(known[at->part / 64] >> at->part % 64 & 1))
                return true;
    }
    return false;
}

void table_random_in_gap(const struct table *t, const struct rng *rng, struct table_gap gap,
                         uint8_t ret[ID_SIZE])
{
    unsigned bits = part_bits(t);

    id_random_in_bucket(rng, t->self, gap.bucket, ret);
    for (unsigned i = 0; i < bits; i++) {
        unsigned at = gap.bucket + 1u + i;
        uint8_t mask = (uint8_t)(0x80 >> at % 8);
        ret[at / 8] = (uint8_t)((ret[at / 8] & ~mask) | (gap.part >> (bits - 1 - i) & 1 ? mask : 0));
    }
}

void table_touch(struct table *t, uint64_t mono_ms, const uint8_t target[ID_SIZE])
{
    t->refreshed_s[table_bucket(t, target)] = seconds(mono_ms);
}

double table_estimate(const struct table *t)
{
    const struct table_contact *near[UINT8_MAX];
    size_t n = table_closest(t, t->self, near, t->k, 0);

    if (n < t->k)
        return (double)n + 1;
    /* The i-th closest of N uniform points lies at i / N on average;
     * N is the slope that fits all of them best. */
    double num = 0, den = 0;
    for (size_t i = 0; i < n; i++) {
        double rank = (double)(i + 1);
        num += rank * rank;
        den += rank * id_distance(t->self, near[i]->id);
    }
    return den > 0 ? num / den : (double)n;
}

void table_check(const struct table *t)
{
    unsigned at = 0, failing = 0;

    assert(t->n <= t->cap && t->n_cache <= TABLE_CACHE_MAX && t->n_cache <= t->cap_cache);
    for (unsigned b = 0; b < TABLE_BUCKETS; b++) {
        assert(t->count[b] <= t->k * TABLE_NEAR);
        assert(t->count[b] <= t->k || bucket_room(t, b) > t->k);
        for (unsigned i = 0; i < t->count[b]; i++, at++) {
            const struct table_contact *c = &t->contacts[at];
            struct addr addr = table_addr(t, c);
            assert(table_bucket(t, c->id) == b && !id_equal(c->id, t->self));
            assert(c->fails < TABLE_FAILS_MAX && addr.port != 0);
            failing += c->fails > 0;
            for (unsigned j = at + 1; j < t->n; j++)
                assert(!id_equal(c->id, t->contacts[j].id));
        }
    }
    assert(at == t->n && failing == t->failing);
}
