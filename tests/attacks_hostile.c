#include "tests/attacks_hostile.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "kad/id.h"

/* ---- standing beside a target --------------------------------------------------------------------------- */

/* BEP 42 hashes 20 bits of the address and 3 of the id through CRC32-C, and binds 21 bits. A CRC is linear up to a
 * constant, so which of those 2^23 inputs gives a wanted prefix is a system of equations, solved once. */
#define INPUT_BITS 23
#define BOUND_BITS 21

/* Input bits 0-19 are the address's, low octet first, as the mask 03.0f.3f.ff leaves them; 20-22 are r. */
static uint32_t bound_bits(uint32_t input)
{
    uint8_t ip[4] = {(uint8_t)(input >> 18 & 3), (uint8_t)(input >> 14 & 0xf), (uint8_t)(input >> 8 & 0x3f), (uint8_t)input};

    ip[0] |= (uint8_t)(input >> 20 << 5);
    return hash_crc32c(ip, sizeof ip) >> (32 - BOUND_BITS);
}

static uint32_t input_of(const uint8_t ip[4], uint32_t r)
{
    return r << 20 | (ip[0] & 3u) << 18 | (ip[1] & 0xfu) << 14 | (ip[2] & 0x3fu) << 8 | ip[3];
}

static uint32_t solve(uint32_t wanted)
{
    static uint32_t row[BOUND_BITS], from[BOUND_BITS]; /* row b has b as its highest bit, made of inputs `from` */
    static bool ready;
    uint32_t zero = bound_bits(0), input = 0;

    for (uint32_t i = 0; i < INPUT_BITS && !ready; i++) {
        uint32_t v = bound_bits(1u << i) ^ zero, made_of = 1u << i;
        for (int b = BOUND_BITS - 1; b >= 0 && v; b--) {
            if (!(v >> b & 1))
                continue;
            if (!row[b]) {
                row[b] = v;
                from[b] = made_of;
                v = 0;
            } else {
                v ^= row[b];
                made_of ^= from[b];
            }
        }
    }
    ready = true;
    wanted ^= zero;
    for (int b = BOUND_BITS - 1; b >= 0; b--) {
        if (!(wanted >> b & 1))
            continue;
        assert(row[b]);
        wanted ^= row[b];
        input ^= from[b];
    }
    return input;
}

void hostile_place(const uint8_t target[KAD_ID_SIZE], uint32_t i, struct addr *ret_addr, uint8_t ret_id[KAD_ID_SIZE])
{
    /* Of the first octet six bits are free: what makes 76 to 99 and 104 to 119 is public and nobody's here. */
    static const uint8_t high[] = {19, 20, 21, 22, 23, 24, 26, 27, 28, 29};
    uint32_t input = solve(be32(target) >> (32 - BOUND_BITS));

    i %= HOSTILE_PLACES;
    *ret_addr = (struct addr){.family = 4, .port = (uint16_t)(6000 + i)};
    ret_addr->ip[0] = (uint8_t)(high[i % 10] << 2 | (input >> 18 & 3));
    ret_addr->ip[1] = (uint8_t)((i / 10 % 16) << 4 | (input >> 14 & 0xf));
    ret_addr->ip[2] = (uint8_t)((i / 160) << 6 | (input >> 8 & 0x3f));
    ret_addr->ip[3] = (uint8_t)input;
    memcpy(ret_id, target, KAD_ID_SIZE);
    put_be16(ret_id + 16, (uint16_t)(be16(ret_id + 16) ^ (i + 1)));
    ret_id[19] = (uint8_t)((ret_id[19] & ~7u) | (input >> 20));
    assert(id_fits_addr(ret_id, ret_addr));
}

void hostile_choose(const uint8_t target[KAD_ID_SIZE], uint32_t i, struct addr *ret_addr, uint8_t ret_id[KAD_ID_SIZE])
{
    uint32_t subnet = (uint32_t)scale_mix((uint64_t)be32(target) << 32 | i);
    unsigned best = 0;

    for (unsigned n = 0; n < 256 * 8; n++) {
        struct addr addr = {.family = 4, .port = 7000};
        uint8_t id[KAD_ID_SIZE], ip[4];
        put_be32(addr.ip, (76u << 24) + (subnet % (24u << 16) << 8) + n % 256); /* 76.0.0.0 to 99.255.255.0 */
        memcpy(ip, addr.ip, sizeof ip);
        memcpy(id, target, KAD_ID_SIZE);
        id[19] = (uint8_t)((id[19] & ~7u) | n / 256);
        uint32_t crc = bound_bits(input_of(ip, n / 256)) << (32 - BOUND_BITS);
        put_be32(id, crc | (be32(target) & ((1u << (32 - BOUND_BITS)) - 1)));
        unsigned common = id_common_bits(target, id) + 1;
        if (common <= best)
            continue;
        best = common;
        *ret_addr = addr;
        memcpy(ret_id, id, KAD_ID_SIZE);
    }
    put_be16(ret_id + 16, (uint16_t)(be16(ret_id + 16) ^ i));
    assert(id_fits_addr(ret_id, ret_addr));
}

/* ---- what they name ------------------------------------------------------------------------------------- */

static void free_id(const uint8_t target[KAD_ID_SIZE], uint32_t host, uint8_t ret[KAD_ID_SIZE])
{
    memcpy(ret, target, KAD_ID_SIZE);
    put_be16(ret + 17, (uint16_t)(be16(ret + 17) ^ (host + 1)));
}

static size_t put_contact(uint8_t *at, const uint8_t *id, const struct addr *addr)
{
    memcpy(at, id, KAD_ID_SIZE);
    return KAD_ID_SIZE + addr_compact(addr, at + KAD_ID_SIZE);
}

static size_t name_pals(const struct arena *a, const struct hostile_ring *ring, const uint8_t *target, uint8_t *ret)
{
    uint32_t best[KAD_K];
    size_t n = 0, size = 0;

    for (uint32_t i = 0; i < ring->n; i++) {
        size_t at = n < KAD_K ? n++ : KAD_K;
        const uint8_t *id = a->hosts[ring->hosts[i]].id;
        while (at > 0 && id_compare(target, id, a->hosts[best[at - 1]].id) < 0) {
            if (at < KAD_K)
                best[at] = best[at - 1];
            at--;
        }
        if (at < KAD_K)
            best[at] = ring->hosts[i];
    }
    for (size_t i = 0; i < n; i++)
        size += put_contact(ret + size, a->hosts[best[i]].id, &a->hosts[best[i]].addr);
    return size;
}

static size_t name_others(const struct arena *a, struct hostile_ring *ring, const uint8_t *target, uint8_t *ret)
{
    struct addr addr;
    uint8_t id[KAD_ID_SIZE];
    size_t size = 0;

    for (unsigned i = 0; i < KAD_K; i++) {
        uint32_t some = ring->hosts[scale_below(&ring->rand, ring->n)];
        if (ring->names == HOSTILE_FREE) {
            free_id(target, some, id);
            addr = a->hosts[some].addr;
        } else {
            hostile_place(target, scale_below(&ring->rand, HOSTILE_PLACES), &addr, id);
        }
        size += put_contact(ret + size, id, &addr);
    }
    return size;
}

/* ---- answers -------------------------------------------------------------------------------------------- */

static const uint8_t *network_mark(void)
{
    static uint8_t word[SHA1_SIZE];

    hash_sha1(word, "camellia", 8);
    return word;
}

static void heard(struct arena *a, uint32_t host, const struct addr *from, const struct krpc_msg *q)
{
    struct hostile_ring *ring = a->hosts[host].hostile->ctx;
    struct krpc_msg r = {.kind = KRPC_REPLY, .t = q->t, .id = a->hosts[host].id, .network = network_mark()};
    uint8_t nodes[KAD_K * KRPC_NODE4_SIZE], id[KAD_ID_SIZE], seen[ADDR_COMPACT_MAX], digest[KAD_ID_SIZE] = {1};
    uint8_t buf[KAD_DATAGRAM_MAX], empty[] = "le";
    struct addr there = *from;

    if (q->kind != KRPC_QUERY || q->method == KRPC_NONE)
        return;
    if (ring->lies_address)
        there.ip[3] ^= 0x55;
    r.ip = span(seen, addr_compact(&there, seen));
    if (q->target) {
        r.nodes.data = nodes;
        r.nodes.size = ring->names == HOSTILE_PALS ? name_pals(a, ring, q->target, nodes) : name_others(a, ring, q->target, nodes);
        if (ring->names == HOSTILE_FREE) {
            free_id(q->target, host, id);
            r.id = id;
        }
        r.token = span_str("token");
    }
    if (q->method == KRPC_GET && ring->old && id_equal(q->target, ring->old->target)) {
        r.k = ring->old->item.pk;
        r.sig = ring->old->item.sig;
        r.has_seq = true;
        r.seq = ring->old->item.seq;
        r.v = (struct ben){ring->old->item.v.data, ring->old->item.v.size};
    }
    if (q->method == KRPC_SGET) {
        r.digest = digest;
        r.has_held = true;
        r.split = ring->claims_split && scale_below(&ring->rand, ring->claims_split) == 0;
        r.held = r.split ? 512 : 0;
        r.entries = (struct ben){empty, 2};
    }
    struct bytes_out out = bytes_out(buf, sizeof buf);
    krpc_encode(&out, &r);
    assert(!out.err);
    arena_send(a, host, from, buf, out.size);
}

size_t hostile_query(const struct arena *a, uint32_t host, struct krpc_msg *q, uint8_t buf[KAD_DATAGRAM_MAX])
{
    struct bytes_out out = bytes_out(buf, KAD_DATAGRAM_MAX);

    q->kind = KRPC_QUERY;
    q->t = span_str("hostil");
    q->network = network_mark();
    if (!q->id)
        q->id = a->hosts[host].id;
    krpc_encode(&out, q);
    assert(!out.err);
    return out.size;
}

static void ask(struct arena *a, uint32_t host, uint32_t victim)
{
    struct krpc_msg q = {.method = KRPC_FIND_NODE, .target = a->hosts[host].id};
    uint8_t buf[KAD_DATAGRAM_MAX];

    arena_send(a, host, &a->hosts[victim].addr, buf, hostile_query(a, host, &q, buf));
}

static void woken(struct arena *a, uint32_t host)
{
    const struct hostile_ring *ring = a->hosts[host].hostile->ctx;

    if (!ring->wake_ms)
        return;
    ask(a, host, arena_some(a));
    arena_alarm(a, host, a->wheel.now_ms + ring->wake_ms);
}

/* ---- rings ---------------------------------------------------------------------------------------------- */

void hostile_ring_init(struct hostile_ring *ring, enum hostile_names names)
{
    *ring = (struct hostile_ring){.what = {heard, woken, ring}, .names = names, .rand = scale_rand(1, "ring")};
}

uint32_t hostile_join(struct arena *a, struct hostile_ring *ring, const struct addr *addr, const uint8_t *id)
{
    assert(ring->n < HOSTILE_MAX);
    return ring->hosts[ring->n++] = arena_add_hostile(a, addr, id, &ring->what);
}

void hostile_take_over(struct arena *a, struct hostile_ring *ring, uint32_t host)
{
    assert(ring->n < HOSTILE_MAX);
    arena_capture(a, host, &ring->what);
    ring->hosts[ring->n++] = host;
}

void hostile_greet(struct arena *a, const struct hostile_ring *ring)
{
    for (uint32_t v = 0; v < a->n; v++)
        for (uint32_t i = 0; i < ring->n && a->hosts[v].kad; i++)
            ask(a, ring->hosts[i], v);
}

void hostile_busy(struct arena *a, struct hostile_ring *ring, uint32_t wake_ms)
{
    ring->wake_ms = wake_ms;
    for (uint32_t i = 0; i < ring->n; i++)
        arena_alarm(a, ring->hosts[i], a->wheel.now_ms + 1 + scale_below(&ring->rand, wake_ms));
}

void hostile_leave(struct arena *a, struct hostile_ring *ring)
{
    for (uint32_t i = 0; i < ring->n; i++)
        arena_remove(a, ring->hosts[i]);
    ring->n = 0;
}
