/* Where the attacks are fought: some hundred unmodified `kad/` nodes under virtual time, and among them hosts that say
 * whatever an attacker wants. It carries datagrams and gives each node its turn; what the attackers say is in
 * attacks_hostile.h, who attacks what in attacks_route.c, attacks_records.c and attacks_load.c.
 *
 * - Every honest node has a public address in a /24 of its own, so BEP 42 and the limits by subnet hold.
 * - A pair's round trip is 20 to 140 ms, a hash of both addresses; attackers answer within 4 ms.
 * - One seed is one run: nothing here reads a clock.
 *
 *     struct arena *a = arena_new(&(struct arena_config){.honest = 300, .seed = 1});
 *     struct arena_op get = {0};
 *     arena_get(a, host, &item, &get);
 *     arena_run_until(a, &get, 1);
 *     if (get.found) ...
 *     arena_free(a);
 */
#ifndef TESTS_ATTACKS_ARENA_H
#define TESTS_ATTACKS_ARENA_H
#include "kad/kad.h"
#include "kad/krpc.h"
#include "tests/scale_rand.h"
#include "tests/scale_wheel.h"

#define ARENA_START_MS 1000000u
#define ARENA_WALL_MS UINT64_C(1750000000000)
#define ARENA_HOSTS_MAX 16384
#define ARENA_NONE UINT32_MAX

struct arena;

/* What a host that is not honest does with a datagram. `m` is decoded, and borrowed. */
struct hostile {
    void (*heard)(struct arena *a, uint32_t host, const struct addr *from, const struct krpc_msg *m);
    void (*woken)(struct arena *a, uint32_t host); /* its alarm, arena_alarm; may be NULL */
    void *ctx;
};

struct arena_config {
    uint32_t honest;
    uint64_t seed;
    uint16_t without;                   /* enum kad_without */
    uint32_t items_max, entries_max;
};

struct arena_host {
    struct wheel_event timer;
    struct addr addr;
    uint8_t id[KAD_ID_SIZE];
    struct kad *kad;                    /* an honest node ... */
    const struct hostile *hostile;      /* ... or an attacker; neither: it is gone */
    struct scale_rand rand;
    uint64_t in_bytes, in_datagrams, out_bytes; /* of a hostile host; sent in its name counts as its own */
};

struct arena {
    struct arena_config config;
    struct wheel wheel;
    struct arena_host *hosts;
    uint32_t n;                         /* the honest ones come first */
    uint32_t *by_addr;                  /* a hash table, ARENA_HOSTS_MAX * 2 */
    struct scale_rand rand;             /* who does what next */
    uint64_t datagrams;
};

/* An operation of an honest node, and what became of it. */
struct arena_op {
    bool done;
    bool found;             /* get: it ended with a value */
    int status;
    int64_t seq;
    uint32_t holders;
    uint64_t started_ms, ended_ms, first_ms; /* first: of a get, the first value (0: none) */
    /* set get */
    uint32_t entries;
    const uint8_t *wanted_pk; /* is this key's entry among them? */
    bool saw_wanted;
    /* find */
    uint32_t n_contacts;
    struct kad_contact contacts[KAD_K];
};

/* The honest nodes join one after another, then the network settles for some minutes. */
struct arena *arena_new(const struct arena_config *config);
void arena_free(struct arena *a);
struct now arena_now(const struct arena *a);

/* A further honest node at `addr` that knows these; or an attacker under an id of its choice. Returns its index. */
uint32_t arena_add_honest(struct arena *a, const struct addr *addr, const struct addr *join, size_t n_join);
uint32_t arena_add_hostile(struct arena *a, const struct addr *addr, const uint8_t *id, const struct hostile *what);
/* An honest node falls into an attacker's hands: same address, same id, what it held is gone. */
void arena_capture(struct arena *a, uint32_t host, const struct hostile *what);
void arena_remove(struct arena *a, uint32_t host);
struct addr arena_honest_addr(uint32_t number);
uint32_t arena_find(const struct arena *a, const struct addr *addr); /* ARENA_NONE */
/* A random node that is honest and up. */
uint32_t arena_some(struct arena *a);
/* The hosts (honest and up) closest to target, closest first. */
size_t arena_closest(const struct arena *a, const uint8_t target[KAD_ID_SIZE], uint32_t *ret, size_t max);

void arena_send(struct arena *a, uint32_t host, const struct addr *to, const void *data, size_t size);
void arena_alarm(struct arena *a, uint32_t host, uint64_t at_ms);
/* After calling into a node's kad. */
void arena_turn(struct arena *a, uint32_t host);
void arena_run(struct arena *a, uint64_t ms);
/* Until the operations have ended, which every request does. */
void arena_run_until(struct arena *a, const struct arena_op *ops, size_t n);

void arena_put(struct arena *a, uint32_t host, const struct kad_item *item, struct arena_op *op);
void arena_get(struct arena *a, uint32_t host, const struct kad_item *item, struct arena_op *op);
void arena_set_put(struct arena *a, uint32_t host, const uint8_t *root, const struct kad_entry *entry, struct arena_op *op);
void arena_set_get(struct arena *a, uint32_t host, const uint8_t *root, struct arena_op *op);
void arena_lookup(struct arena *a, uint32_t host, const uint8_t *target, struct arena_op *op);

/* ---- records ------------------------------------------------------------------------------------------- */

struct arena_record {       /* a mutable item of key number i; item.v points into it */
    struct identity *who;
    uint8_t v[64];
    struct kad_item item;
    uint8_t target[KAD_ID_SIZE];
};

void arena_record_make(const struct arena *a, struct arena_record *r, uint64_t key, int64_t seq);
void arena_record_clear(struct arena_record *r);

#endif
