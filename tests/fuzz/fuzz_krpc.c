/* A whole kad under a schedule: the input is a script of steps that pass time, start requests, and deliver datagrams.
 * So that what lies behind the checks of a datagram's origin is reached too, a step may have its transaction id, its
 * sender's id and its token put right before it is delivered; all else is as the input says.
 *
 *     step     offset  size
 *                   0     1   what, modulo 8:
 *                               0 pass time    1 the byte, squared, times 4 ms
 *                               1 request      1 which   1 of what
 *                               2 datagram     1 from whom   2 size   . bytes as they are
 *                               3 reply        1 to which query of ours   2 size   . bytes, put right
 *                               4 query        1 from whom   2 size   . bytes, put right
 *                               5 saved record 1 which key   2 size   . bytes (before the first tick)
 *                               6 pass time to the next deadline
 *                               7 tick
 */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/kad.h"

#define PENDING 32
#define PEERS 16
#define STEPS_MAX 400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct pending { /* a query of the kad that may be answered */
    struct addr to;
    uint8_t tid[6];
};

static struct kad *k;
static struct now now;
static struct pending pending[PENDING];
static unsigned n_pending;
static uint8_t tokens[PEERS][8];

static void check(bool ok)
{
    if (!ok)
        abort();
}

static struct addr peer_addr(unsigned n)
{
    struct addr a = {.family = n % PEERS < 12 ? 4 : 6, .port = (uint16_t)(4000 + n % PEERS)};

    a.ip[0] = a.family == 4 ? 10 : 0xfd;
    a.ip[a.family == 4 ? 3 : 15] = (uint8_t)(1 + n % PEERS);
    return a;
}

static void peer_id(unsigned n, uint8_t id[KAD_ID_SIZE])
{
    memset(id, (int)(16 * (n % PEERS) + 1), KAD_ID_SIZE);
}

static uint8_t *find(uint8_t *in, size_t size, const char *what)
{
    size_t n = strlen(what);

    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(in + i, what, n) == 0)
            return in + i + n;
    return NULL;
}

/* Overwrites what follows `what` wherever the datagram has it. */
static void put_right(uint8_t *in, size_t size, const char *what, const uint8_t *with, size_t n)
{
    uint8_t *at = find(in, size, what);

    if (at && at + n <= in + size)
        memcpy(at, with, n);
}

static void drain(void)
{
    struct kad_datagram d;
    struct kad_event e;
    struct kad_dirty dirty;

    while (kad_next_out(k, &d)) {
        uint8_t copy[KAD_DATAGRAM_MAX];
        check(d.size > 0 && d.size <= KAD_DATAGRAM_MAX);
        memcpy(copy, d.data, d.size);
        const uint8_t *tid = find(copy, d.size, "1:t6:"), *token = find(copy, d.size, "5:token8:");
        if (tid && find(copy, d.size, "1:y1:q")) {
            struct pending *p = &pending[n_pending++ % PENDING];
            p->to = d.to;
            memcpy(p->tid, tid, sizeof p->tid);
        } else if (token) {
            memcpy(tokens[(d.to.port - 4000u) % PEERS], token, 8);
        }
    }
    while (kad_next_event(k, &e)) {
        check(e.tag == 7 || e.kind == KAD_EVENT_READY || e.kind == KAD_EVENT_ALONE || e.kind == KAD_EVENT_ADDRESS);
        if (e.item)
            check(e.item->v.size <= KAD_VALUE_MAX && kad_item_verify(e.item) == 0);
        for (size_t i = 0; i < e.n_peers; i++)
            check(addr_is_usable(&e.peers[i]));
    }
    while (kad_next_dirty(k, &dirty))
        check(dirty.key.size > 0 && dirty.key.size <= 64);
}

static void pass(uint64_t ms)
{
    now.mono_ms += ms;
    now.wall_ms += ms;
}

static void request(unsigned what, unsigned of)
{
    uint8_t target[KAD_ID_SIZE], salt = (uint8_t)of;
    struct addr addr = peer_addr(of);
    struct kad_item item = {.v = span_str(of % 2 ? "4:spam" : "d3:expi2000000000ee")};
    struct kad_entry entry = {.seq = (int64_t)of, .v = span_str("d3:expi2000000000ee")};
    static struct identity *me;
    static const uint8_t seed[KEY_SIZE] = {1};

    if (!me)
        me = identity_from_seed(seed);
    memset(target, (int)of, sizeof target);
    switch (what % 10) {
    case 0:
        if (of < 128)
            kad_join(k, now, &addr);
        else
            kad_hint(k, now, &addr);
        break;
    case 1: kad_ping(k, now, &addr, 7); break;
    case 2: kad_find(k, now, target, of % 2, 7); break;
    case 3:
        kad_mutable_target(me->pk, span(&salt, 1), target);
        kad_get(k, now, target, me->pk, span(&salt, 1), 7);
        break;
    case 4:
        item.is_mutable = of % 4 < 2;
        item.seq = (int64_t)of;
        item.salt = span(&salt, 1);
        if (item.is_mutable)
            kad_item_sign(&item, me);
        else
            item.salt.size = 0;
        kad_put(k, now, &item, of % 8 == 1 ? &item.seq : NULL, 7);
        break;
    case 5: kad_set_get(k, now, target, of % 2, of / 2, 7); break;
    case 6:
        kad_entry_sign(&entry, target, me);
        kad_set_put(k, now, target, &entry, 7);
        break;
    case 7: kad_get(k, now, target, NULL, span(NULL, 0), 7); break;
    case 8: kad_get_peers(k, now, target, 7); break;
    default: kad_announce(k, now, target, (uint16_t)(of / 2), 7); break;
    }
}

static void deliver(unsigned what, unsigned who, const uint8_t *bytes, size_t size)
{
    struct addr from = peer_addr(who);
    uint8_t id[KAD_ID_SIZE];
    uint8_t *copy = malloc(size ? size : 1); /* of just that size, so that reading past it shows */

    check(copy != NULL);
    if (size)
        memcpy(copy, bytes, size);
    if (what == 3 && n_pending) {
        const struct pending *p = &pending[who % (n_pending < PENDING ? n_pending : PENDING)];
        from = p->to;
        put_right(copy, size, "1:t6:", p->tid, sizeof p->tid);
    }
    if (what != 2) {
        unsigned n = (from.port - 4000u) % PEERS;
        peer_id(n, id);
        put_right(copy, size, "2:id20:", id, sizeof id);
        put_right(copy, size, "5:token8:", tokens[n], 8);
    }
    kad_recv(k, now, &from, copy, size);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"node", "table", "i0123456789abcdefghij", "e", "s", "p", "x", ""};
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    struct kad_config config = {.network = "fuzz", .k = 4, .use_v4 = true, .use_v6 = true, .items_max = 64,
                                .entries_max = 64, .peers_max = 64};
    struct bytes_in in = bytes_in(data, size);
    bool ticked = false;

    now = (struct now){.mono_ms = 100000, .wall_ms = UINT64_C(1800000000000)};
    n_pending = 0;
    memset(tokens, 0, sizeof tokens);
    k = kad_new(&config, &rng, now);
    check(k != NULL);
    for (unsigned step = 0; step < STEPS_MAX && bytes_left(&in) > 0 && !in.err; step++) {
        unsigned what = bytes_get_u8(&in) % 8, arg = what < 6 ? bytes_get_u8(&in) : 0;
        if (what >= 2 && what <= 5) {
            size_t n = bytes_get_u16(&in);
            if (n > bytes_left(&in))
                n = bytes_left(&in);
            const uint8_t *bytes = bytes_get(&in, n);
            if (what == 5 && !ticked)
                kad_load(k, now, span_str(keys[arg % 8]), span(bytes, n));
            else if (what != 5)
                deliver(what, arg, bytes, n);
        } else if (what == 1) {
            request(arg, bytes_get_u8(&in));
        } else {
            uint64_t next = kad_deadline_ms(k);
            if (what == 0)
                pass((uint64_t)arg * arg * 4);
            else if (what == 6 && next != NOW_NEVER && next > now.mono_ms)
                pass(next - now.mono_ms);
            kad_tick(k, now);
            ticked = true;
        }
        drain();
        if (step % 8 == 0)
            kad_check(k);
    }
    kad_check(k);
    kad_free(k);
    return 0;
}
