#include "kad/guard.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/map.h"

static_assert(KAD_GUARD_SECRET_SIZE == crypto_shorthash_KEYBYTES, "SipHash-2-4");
static_assert(KAD_TOKEN_SIZE == crypto_shorthash_BYTES, "SipHash-2-4");

#define NONE KAD_MAP_NONE

/* A bucket is a debt, in microseconds until it is full again: taking adds to it, time takes it away, and
 * touch() is where time does. `each_ns` is what one unit costs, `cap_us` how large the debt may be, that is,
 * how much the bucket holds. */
struct bucket_kind {
    uint32_t each_ns, cap_us;
};

#define NS_A_S 1000000000ull
#define US_A_S 1000000u

static const struct bucket_kind unproven_bytes = {60 * NS_A_S / KAD_GUARD_REFILL_BYTES,
                                                  60 * US_A_S / KAD_GUARD_REFILL_BYTES *
                                                      KAD_GUARD_BURST_BYTES};
static const struct bucket_kind proven_bytes = {NS_A_S / KAD_GUARD_PROVEN_BYTES_S, 4 * US_A_S};
static const struct bucket_kind datagrams = {NS_A_S / KAD_GUARD_DATAGRAMS_S, 2 * US_A_S};
static const struct bucket_kind stores = {NS_A_S / KAD_GUARD_STORES_S,
                                          KAD_GUARD_STORES_BURST / KAD_GUARD_STORES_S *US_A_S};

#define CLEAN_DATAGRAMS_US 10000 /* what is owed for fifty datagrams at once: nothing after 10 ms */

/* Whoever is unproven and owes nothing is as good as never seen, and soon forgotten:
 * most of those who ask are. */
enum list_kind { CLEAN, OWING, PROVEN, LISTS };

/* An address. Its hash alone stands for it: 64 bits under a secret key do not meet by chance. */
struct known {
    uint64_t hash;
    uint64_t seen_ms;
    uint32_t proven_ms;                         /* for so long after seen_ms it counts as proven */
    uint32_t bytes_us, datagrams_us, stores_us; /* buckets, as they were at seen_ms */
    uint32_t credit;                            /* unproven: bytes it sent that were not answered yet */
    uint32_t prev, next;                        /* in its list; the one seen last comes first */
    uint8_t list;
};

struct kad_guard {
    uint8_t secret[KAD_GUARD_SECRET_SIZE]; /* of tokens */
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct kad_map map;
    struct known *known; /* dense */
    uint32_t n, cap;
    uint32_t first[LISTS], last[LISTS], count[LISTS];
    bool disarmed;
    uint64_t tight_ms; /* until then new addresses start without their burst */
    struct addr last_addr; /* of the latest touch: one datagram causes several */
    uint32_t last_known;   /* NONE when it has moved since */
};

struct kad_guard *kad_guard_new(const struct rng *rng)
{
    struct kad_guard *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    rng_fill(rng, g->secret, sizeof g->secret);
    rng_fill(rng, g->hash_key, sizeof g->hash_key);
    for (int l = 0; l < LISTS; l++)
        g->first[l] = g->last[l] = NONE;
    g->last_known = NONE;
    return g;
}

void kad_guard_free(struct kad_guard *g)
{
    if (!g)
        return;
    kad_map_clear(&g->map);
    free(g->known);
    sodium_memzero(g, sizeof *g);
    free(g);
}

void kad_guard_disarm(struct kad_guard *g) { g->disarmed = true; }

void kad_guard_secret(const struct kad_guard *g, uint8_t ret_secret[KAD_GUARD_SECRET_SIZE])
{
    memcpy(ret_secret, g->secret, KAD_GUARD_SECRET_SIZE);
}

void kad_guard_set_secret(struct kad_guard *g, const uint8_t secret[KAD_GUARD_SECRET_SIZE])
{
    memcpy(g->secret, secret, KAD_GUARD_SECRET_SIZE);
}

/* ---- tokens ------------------------------------------------------------------------------------------- */

/*  offset size
 *     0     8  epoch: wall clock / 5 minutes
 *     8     1  family
 *     9    16  ip, zero-filled
 *    25     2  port in local ranges, else 0
 *  token = SipHash-2-4 of that under the secret */
static void token_make(const struct kad_guard *g, uint64_t epoch, const struct addr *addr,
                       uint8_t ret_token[KAD_TOKEN_SIZE])
{
    uint8_t buf[27] = {0};
    put_be64(buf, epoch);
    buf[8] = addr->family;
    memcpy(buf + 9, addr->ip, addr_ip_size(addr));
    if (addr_is_local(addr))
        put_be16(buf + 25, addr->port);
    crypto_shorthash(ret_token, buf, sizeof buf, g->secret);
}

void kad_guard_token(const struct kad_guard *g, struct now now, const struct addr *addr,
                     uint8_t ret_token[KAD_TOKEN_SIZE])
{
    token_make(g, now.wall_ms / KAD_TOKEN_EPOCH_MS, addr, ret_token);
}

bool kad_guard_token_ok(struct kad_guard *g, struct now now, const struct addr *addr, struct span token)
{
    uint64_t epoch = now.wall_ms / KAD_TOKEN_EPOCH_MS;
    uint8_t good[KAD_TOKEN_SIZE];
    if (token.size != KAD_TOKEN_SIZE)
        return false;
    for (uint64_t back = 0; back <= 1 && back <= epoch; back++) {
        token_make(g, epoch - back, addr, good);
        if (sodium_memcmp(good, token.data, KAD_TOKEN_SIZE) == 0) {
            kad_guard_prove(g, now, addr);
            return true;
        }
    }
    return false;
}

/* ---- the table of addresses --------------------------------------------------------------------------- */

static uint64_t addr_hash(const struct kad_guard *g, const struct addr *addr)
{
    uint8_t key[19] = {addr->family}, hash[8];
    bool local = addr_is_local(addr);
    size_t ip_size = addr_ip_size(addr);
    memcpy(key + 1, addr->ip, addr->family == 6 && !local ? 8 : ip_size);
    if (local)
        put_be16(key + 1 + ip_size, addr->port);
    crypto_shorthash(hash, key, 1 + ip_size + 2, g->hash_key);
    return be64(hash);
}

static void list_out(struct kad_guard *g, uint32_t i)
{
    struct known *k = &g->known[i];
    *(k->prev == NONE ? &g->first[k->list] : &g->known[k->prev].next) = k->next;
    *(k->next == NONE ? &g->last[k->list] : &g->known[k->next].prev) = k->prev;
    g->count[k->list]--;
}

static void list_in(struct kad_guard *g, uint32_t i, uint32_t list)
{
    struct known *k = &g->known[i];
    k->list = (uint8_t)list;
    k->prev = NONE;
    k->next = g->first[list];
    *(k->next == NONE ? &g->last[list] : &g->known[k->next].prev) = i;
    g->first[list] = i;
    g->count[list]++;
}

/* How many places to have for n, and some more: then none of the next n / 4 causes another move. */
static uint32_t room_for(uint32_t n)
{
    return n + n / 4 + 2;
}

static void forget(struct kad_guard *g, uint32_t i)
{
    list_out(g, i);
    kad_map_remove(&g->map, (uint32_t)g->known[i].hash, i);
    g->last_known = NONE;
    uint32_t last = --g->n;
    if (i != last) {
        struct known *k = &g->known[i];
        *k = g->known[last];
        *(k->prev == NONE ? &g->first[k->list] : &g->known[k->prev].next) = i;
        *(k->next == NONE ? &g->last[k->list] : &g->known[k->next].prev) = i;
        kad_map_change(&g->map, (uint32_t)k->hash, last, i);
    }
    struct known *smaller;
    if (g->n == 0) {
        free(g->known);
        g->known = NULL;
        g->cap = 0;
    } else if (g->n <= g->cap / 2 && (smaller = realloc(g->known, room_for(g->n) * sizeof *smaller))) {
        g->known = smaller;
        g->cap = room_for(g->n);
    }
}

/* Room for one more in a list that is full: the one seen longest ago goes. If that was so lately that its
 * bucket need not be full again, whoever sends from many made-up addresses could have it start afresh: then
 * for a minute nobody starts with a burst. */
static void list_make_room(struct kad_guard *g, struct now now, uint32_t list)
{
    if (g->count[list] < KAD_GUARD_ADDRESSES_MAX)
        return;
    uint32_t i = g->last[list];
    if (list == OWING && g->known[i].bytes_us > (now.mono_ms - g->known[i].seen_ms) * 1000)
        g->tight_ms = now.mono_ms + KAD_GUARD_IDLE_MS;
    forget(g, i);
}

static struct known *find(const struct kad_guard *g, uint64_t hash)
{
    uint32_t at;
    for (uint32_t i = kad_map_first(&g->map, (uint32_t)hash, &at); i != NONE;
         i = kad_map_next(&g->map, (uint32_t)hash, &at))
        if (g->known[i].hash == hash)
            return &g->known[i];
    return NULL;
}

static struct known *add(struct kad_guard *g, struct now now, uint64_t hash)
{
    uint32_t list = now.mono_ms < g->tight_ms ? OWING : CLEAN;
    list_make_room(g, now, list);
    if (g->n == g->cap) {
        struct known *larger = realloc(g->known, room_for(g->n) * sizeof *larger);
        if (!larger)
            return NULL;
        g->known = larger;
        g->cap = room_for(g->n);
    }
    if (kad_map_add(&g->map, (uint32_t)hash, g->n))
        return NULL;
    uint32_t i = g->n++;
    g->known[i] = (struct known){
        .hash = hash,
        .seen_ms = now.mono_ms,
        .bytes_us = list == OWING ? unproven_bytes.cap_us : 0,
    };
    list_in(g, i, list);
    return &g->known[i];
}

/* Puts an address first in the list it belongs to now. */
static struct known *move(struct kad_guard *g, struct now now, struct known *k, uint32_t list)
{
    uint64_t hash = k->hash;
    if (k->list != list && g->count[list] >= KAD_GUARD_ADDRESSES_MAX) {
        list_make_room(g, now, list);
        k = find(g, hash); /* forgetting another may have moved it */
    }
    uint32_t i = (uint32_t)(k - g->known);
    if (k->list == list && g->first[list] == i)
        return k;
    list_out(g, i);
    list_in(g, i, list);
    return k;
}

/* Whether an address is proven has changed. Its bytes start anew: the two sorts of bucket do not compare. */
static struct known *prove(struct kad_guard *g, struct now now, struct known *k, bool proven)
{
    k->bytes_us = 0;
    k->credit = 0;
    return move(g, now, k, proven ? PROVEN : CLEAN);
}

static void fade(uint32_t *what, uint64_t by) { *what = *what > by ? *what - (uint32_t)by : 0; }

/* An unproven address goes where its debts put it. */
static void settle(struct kad_guard *g, struct now now, struct known *k)
{
    bool owes = k->bytes_us > 0 || k->stores_us > 0 || k->datagrams_us > CLEAN_DATAGRAMS_US;
    if (k->list != PROVEN)
        move(g, now, k, owes ? OWING : CLEAN);
}

/* The address of the latest touch, once more; or NULL. */
static struct known *latest(const struct kad_guard *g, const struct addr *addr)
{
    return g->last_known != NONE && addr_equal(addr, &g->last_addr) ? &g->known[g->last_known] : NULL;
}

/* The address, as seen now. NULL only without memory. */
static struct known *touch(struct kad_guard *g, struct now now, const struct addr *addr)
{
    struct known *k = latest(g, addr);
    if (!k) {
        uint64_t hash = addr_hash(g, addr);
        k = find(g, hash);
        if (!k && !(k = add(g, now, hash)))
            return NULL;
    }
    uint64_t passed_ms = now.mono_ms - k->seen_ms;
    k->seen_ms = now.mono_ms;
    fade(&k->proven_ms, passed_ms);
    fade(&k->bytes_us, passed_ms * 1000);
    fade(&k->datagrams_us, passed_ms * 1000);
    fade(&k->stores_us, passed_ms * 1000);
    k = k->list == PROVEN && k->proven_ms == 0 ? prove(g, now, k, false) : move(g, now, k, k->list);
    g->last_addr = *addr;
    g->last_known = (uint32_t)(k - g->known);
    return k;
}

void kad_guard_tick(struct kad_guard *g, struct now now)
{
    static const uint32_t idle_ms[LISTS] = {KAD_GUARD_CLEAN_MS, KAD_GUARD_IDLE_MS, KAD_GUARD_IDLE_MS};
    for (uint32_t l = 0; l < LISTS; l++)
        while (g->last[l] != NONE) {
            const struct known *k = &g->known[g->last[l]];
            if (k->seen_ms + idle_ms[l] > now.mono_ms || k->seen_ms + k->proven_ms > now.mono_ms)
                break;
            forget(g, g->last[l]);
        }
}

/* ---- budgets ------------------------------------------------------------------------------------------ */

#define ENDLESS ((size_t)1 << 30)

static size_t bucket_left(const struct bucket_kind *kind, uint32_t debt_us)
{
    return debt_us >= kind->cap_us ? 0 : (size_t)((uint64_t)(kind->cap_us - debt_us) * 1000 / kind->each_ns);
}

static bool bucket_take(const struct bucket_kind *kind, uint32_t *debt_us, size_t units)
{
    if (units > bucket_left(kind, *debt_us))
        return false;
    *debt_us += (uint32_t)(((uint64_t)units * kind->each_ns + 999) / 1000);
    return true;
}

bool kad_guard_recv(struct kad_guard *g, struct now now, const struct addr *addr, size_t bytes)
{
    if (g->disarmed)
        return true;
    struct known *k = touch(g, now, addr);
    if (!k || !bucket_take(&datagrams, &k->datagrams_us, 1))
        return false;
    if (k->list != PROVEN)
        k->credit =
            bytes < KAD_GUARD_CREDIT_BYTES - k->credit ? k->credit + (uint32_t)bytes : KAD_GUARD_CREDIT_BYTES;
    settle(g, now, k);
    return true;
}

bool kad_guard_send(struct kad_guard *g, struct now now, const struct addr *addr, size_t bytes)
{
    if (g->disarmed)
        return true;
    struct known *k = touch(g, now, addr);
    if (!k)
        return false;
    if (k->list == PROVEN)
        return bucket_take(&proven_bytes, &k->bytes_us, bytes);
    size_t beyond = bytes > k->credit ? bytes - k->credit : 0;
    if (beyond && !bucket_take(&unproven_bytes, &k->bytes_us, beyond))
        return false;
    k->credit -= (uint32_t)(bytes - beyond);
    settle(g, now, k);
    return true;
}

size_t kad_guard_room(struct kad_guard *g, struct now now, const struct addr *addr)
{
    if (g->disarmed)
        return ENDLESS;
    const struct known *k = touch(g, now, addr);
    if (!k)
        return 0;
    return k->list == PROVEN ? bucket_left(&proven_bytes, k->bytes_us)
                             : k->credit + bucket_left(&unproven_bytes, k->bytes_us);
}

void kad_guard_prove(struct kad_guard *g, struct now now, const struct addr *addr)
{
    struct known *k = touch(g, now, addr);
    if (!k)
        return;
    if (k->list != PROVEN)
        k = prove(g, now, k, true);
    k->proven_ms = KAD_GUARD_PROVEN_MS;
}

bool kad_guard_is_proven(struct kad_guard *g, struct now now, const struct addr *addr)
{
    const struct known *k = latest(g, addr);
    if (!k)
        k = find(g, addr_hash(g, addr));
    return k && k->list == PROVEN && k->seen_ms + k->proven_ms > now.mono_ms;
}

bool kad_guard_store(struct kad_guard *g, struct now now, const struct addr *addr)
{
    if (g->disarmed)
        return true;
    struct known *k = touch(g, now, addr);
    if (!k || !bucket_take(&stores, &k->stores_us, 1))
        return false;
    settle(g, now, k);
    return true;
}

void kad_guard_bad_store(struct kad_guard *g, struct now now, const struct addr *addr)
{
    if (g->disarmed)
        return;
    struct known *k = touch(g, now, addr);
    if (!k)
        return;
    /* Beyond what the bucket holds: else whatever drips into an empty one would buy a whole verification. */
    uint32_t fine_us = (uint32_t)((uint64_t)KAD_GUARD_BAD_STORE * stores.each_ns / 1000);
    k->stores_us = k->stores_us < stores.cap_us ? k->stores_us + fine_us : stores.cap_us + fine_us;
    settle(g, now, k);
}

size_t kad_guard_addresses(const struct kad_guard *g) { return g->n; }

void kad_guard_check(const struct kad_guard *g)
{
    kad_map_check(&g->map);
    assert(g->map.used == g->n && g->n <= g->cap &&
           g->count[CLEAN] + g->count[OWING] + g->count[PROVEN] == g->n);
    for (uint32_t l = 0; l < LISTS; l++) {
        uint32_t n = 0, prev = NONE;
        for (uint32_t i = g->first[l]; i != NONE; prev = i, i = g->known[i].next, n++) {
            assert(i < g->n && g->known[i].list == l && g->known[i].prev == prev &&
                   find(g, g->known[i].hash) == &g->known[i]);
            assert(prev == NONE || g->known[prev].seen_ms >= g->known[i].seen_ms);
            assert(g->known[i].credit <= KAD_GUARD_CREDIT_BYTES);
            assert(l != CLEAN || (g->known[i].bytes_us == 0 && g->known[i].stores_us == 0));
        }
        assert(n == g->count[l] && g->last[l] == prev && n <= KAD_GUARD_ADDRESSES_MAX);
    }
}
