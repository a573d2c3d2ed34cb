#include "tests/attacks_arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kad/id.h"
#include "tests/scale_memory.h"

#define PORT 4000
#define JOIN_GAP_MS 200
#define SETTLE_MS 360000
#define OPERATION_MS 600000 /* a request that has not ended by then never will */
#define TABLE_SIZE (ARENA_HOSTS_MAX * 2)

enum arena_event_kind { ARENA_TIMER, ARENA_DATAGRAM };

struct datagram {
    struct wheel_event event;
    struct addr from, to;
    size_t size;
    uint8_t data[];
};

struct now arena_now(const struct arena *a)
{
    return (struct now){a->wheel.now_ms, a->wheel.now_ms - ARENA_START_MS + ARENA_WALL_MS};
}

/* ---- addresses ----------------------------------------------------------------------------------------- */

static uint32_t addr_hash(const struct addr *addr)
{
    return (uint32_t)scale_mix((uint64_t)be32(addr->ip) << 16 | addr->port);
}

uint32_t arena_find(const struct arena *a, const struct addr *addr)
{
    for (uint32_t at = addr_hash(addr) % TABLE_SIZE; a->by_addr[at] != ARENA_NONE; at = (at + 1) % TABLE_SIZE)
        if (addr_equal(&a->hosts[a->by_addr[at]].addr, addr))
            return a->by_addr[at];
    return ARENA_NONE;
}

/* A /24 of its own for each number, in 60.0.0.0/8 to 75.0.0.0/8. */
struct addr arena_honest_addr(uint32_t number)
{
    struct addr addr = {.family = 4, .port = PORT};
    uint32_t subnet = (number * 0x9e375u) & 0xfffff; /* odd: a permutation of 2^20 */

    put_be32(addr.ip, (60u << 24) + (subnet << 8) + (uint32_t)(scale_mix(number) % 250) + 1);
    return addr;
}

static uint32_t latency_ms(const struct arena *a, const struct addr *from, const struct addr *to)
{
    uint32_t f = arena_find(a, from), t = arena_find(a, to);
    bool near = (f != ARENA_NONE && a->hosts[f].hostile) || (t != ARENA_NONE && a->hosts[t].hostile);

    return near ? 2 : 10 + (addr_hash(from) ^ addr_hash(to)) % 61;
}

/* ---- hosts --------------------------------------------------------------------------------------------- */

static uint32_t add_host(struct arena *a, const struct addr *addr)
{
    assert(a->n < ARENA_HOSTS_MAX && arena_find(a, addr) == ARENA_NONE);
    uint32_t i = a->n++, at = addr_hash(addr) % TABLE_SIZE;
    while (a->by_addr[at] != ARENA_NONE)
        at = (at + 1) % TABLE_SIZE;
    a->by_addr[at] = i;
    a->hosts[i] = (struct arena_host){.addr = *addr, .timer = {.kind = ARENA_TIMER, .arg = i}};
    a->hosts[i].rand = scale_rand(a->config.seed, "host");
    a->hosts[i].rand.state += scale_mix(i);
    return i;
}

uint32_t arena_add_honest(struct arena *a, const struct addr *addr, const struct addr *join, size_t n_join)
{
    uint32_t i = add_host(a, addr);
    struct arena_host *h = &a->hosts[i];
    struct rng rng = {scale_rand_fill, &h->rand};
    struct kad_config config = {.network = "camellia", .use_v4 = true, .without = a->config.without,
                                .items_max = a->config.items_max, .entries_max = a->config.entries_max};

    h->kad = scale_have(kad_new(&config, &rng, arena_now(a)));
    for (size_t j = 0; j < n_join; j++)
        kad_join(h->kad, arena_now(a), &join[j]);
    arena_turn(a, i);
    return i;
}

uint32_t arena_add_hostile(struct arena *a, const struct addr *addr, const uint8_t *id, const struct hostile *what)
{
    uint32_t i = add_host(a, addr);

    if (id)
        memcpy(a->hosts[i].id, id, KAD_ID_SIZE);
    a->hosts[i].hostile = what;
    return i;
}

void arena_remove(struct arena *a, uint32_t host)
{
    struct arena_host *h = &a->hosts[host];

    wheel_remove(&a->wheel, &h->timer);
    kad_free(h->kad);
    h->kad = NULL;
    h->hostile = NULL;
}

void arena_capture(struct arena *a, uint32_t host, const struct hostile *what)
{
    memcpy(a->hosts[host].id, kad_node_id(a->hosts[host].kad), KAD_ID_SIZE);
    arena_remove(a, host);
    a->hosts[host].hostile = what;
}

uint32_t arena_some(struct arena *a)
{
    for (;;) {
        uint32_t i = scale_below(&a->rand, a->n);
        if (a->hosts[i].kad)
            return i;
    }
}

size_t arena_closest(const struct arena *a, const uint8_t target[KAD_ID_SIZE], uint32_t *ret, size_t max)
{
    size_t n = 0;

    for (uint32_t i = 0; i < a->n; i++) {
        if (!a->hosts[i].kad)
            continue;
        size_t at = n < max ? n++ : max;
        const uint8_t *id = kad_node_id(a->hosts[i].kad);
        while (at > 0 && id_compare(target, id, kad_node_id(a->hosts[ret[at - 1]].kad)) < 0) {
            if (at < max)
                ret[at] = ret[at - 1];
            at--;
        }
        if (at < max)
            ret[at] = i;
    }
    return n;
}

/* ---- datagrams and turns ------------------------------------------------------------------------------- */

static void carry(struct arena *a, const struct addr *from, const struct addr *to, const void *data, size_t size)
{
    a->datagrams++;
    if (arena_find(a, to) == ARENA_NONE)
        return;
    struct datagram *d = scale_alloc(1, sizeof *d + size);
    d->event.kind = ARENA_DATAGRAM;
    d->from = *from;
    d->to = *to;
    d->size = size;
    memcpy(d->data, data, size);
    wheel_add(&a->wheel, &d->event, a->wheel.now_ms + latency_ms(a, from, to));
}

void arena_send(struct arena *a, uint32_t host, const struct addr *to, const void *data, size_t size)
{
    a->hosts[host].out_bytes += size;
    carry(a, &a->hosts[host].addr, to, data, size);
}

void arena_alarm(struct arena *a, uint32_t host, uint64_t at_ms)
{
    wheel_remove(&a->wheel, &a->hosts[host].timer);
    wheel_add(&a->wheel, &a->hosts[host].timer, at_ms);
}

static void take_event(struct arena *a, const struct kad_event *e)
{
    struct arena_op *op = (struct arena_op *)(uintptr_t)e->tag; /* NOLINT: a tag is whatever the caller says */

    if (!op)
        return;
    if (e->kind == KAD_EVENT_FIRST && !op->first_ms)
        op->first_ms = a->wheel.now_ms;
    for (size_t i = 0; i < e->n_entries && e->kind == KAD_EVENT_SET; i++) {
        op->entries++;
        op->saw_wanted = op->saw_wanted || (op->wanted_pk && !memcmp(op->wanted_pk, e->entries[i].pk, KEY_SIZE));
    }
    if (!e->last)
        return;
    op->done = true;
    op->ended_ms = a->wheel.now_ms;
    op->status = e->status;
    op->holders = e->holders;
    op->found = e->kind == KAD_EVENT_GET && e->status == 0 && e->item;
    op->seq = op->found ? e->item->seq : 0;
    op->n_contacts = (uint32_t)(e->n_contacts < KAD_K ? e->n_contacts : KAD_K);
    if (op->n_contacts)
        memcpy(op->contacts, e->contacts, op->n_contacts * sizeof *op->contacts);
}

void arena_turn(struct arena *a, uint32_t host)
{
    struct arena_host *h = &a->hosts[host];
    struct kad_datagram out;
    struct kad_event event;
    struct kad_dirty dirty;

    while (kad_next_out(h->kad, &out))
        carry(a, &h->addr, &out.to, out.data, out.size);
    while (kad_next_event(h->kad, &event))
        take_event(a, &event);
    while (kad_next_dirty(h->kad, &dirty))
        ;
    uint64_t at_ms = kad_deadline_ms(h->kad);
    wheel_remove(&a->wheel, &h->timer);
    if (at_ms != NOW_NEVER)
        wheel_add(&a->wheel, &h->timer, at_ms > a->wheel.now_ms ? at_ms : a->wheel.now_ms + 1);
}

static void deliver(struct arena *a, struct datagram *d)
{
    uint32_t host = arena_find(a, &d->to);
    struct arena_host *h = &a->hosts[host];
    struct krpc_msg m;

    if (h->kad) {
        kad_recv(h->kad, arena_now(a), &d->from, d->data, d->size);
        arena_turn(a, host);
    } else if (h->hostile) {
        h->in_bytes += d->size;
        h->in_datagrams++;
        if (h->hostile->heard && krpc_decode(d->data, d->size, &m) == 0)
            h->hostile->heard(a, host, &d->from, &m);
    }
    free(d);
}

static void wake(struct arena *a, uint32_t host)
{
    struct arena_host *h = &a->hosts[host];

    if (h->kad) {
        kad_tick(h->kad, arena_now(a));
        arena_turn(a, host);
    } else if (h->hostile && h->hostile->woken) {
        h->hostile->woken(a, host);
    }
}

static void handle(struct arena *a, struct wheel_event *e)
{
    if (e->kind == ARENA_DATAGRAM)
        deliver(a, (struct datagram *)(void *)e);
    else
        wake(a, e->arg);
}

void arena_run(struct arena *a, uint64_t ms)
{
    uint64_t until_ms = a->wheel.now_ms + ms;
    struct wheel_event *e;

    while ((e = wheel_next(&a->wheel, until_ms)) != NULL)
        handle(a, e);
}

void arena_run_until(struct arena *a, const struct arena_op *ops, size_t n)
{
    uint64_t until_ms = a->wheel.now_ms + OPERATION_MS;
    struct wheel_event *e;
    size_t i = 0;

    while (i < n && ops[i].done)
        i++;
    while (i < n && (e = wheel_next(&a->wheel, until_ms)) != NULL) {
        handle(a, e);
        while (i < n && ops[i].done)
            i++;
    }
    assert(i == n);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

struct arena *arena_new(const struct arena_config *config)
{
    struct arena *a = scale_alloc(1, sizeof *a);

    a->config = *config;
    a->rand = scale_rand(config->seed, "arena");
    a->hosts = scale_alloc(ARENA_HOSTS_MAX, sizeof *a->hosts);
    a->by_addr = scale_alloc(TABLE_SIZE, sizeof *a->by_addr);
    memset(a->by_addr, 0xff, TABLE_SIZE * sizeof *a->by_addr);
    wheel_init(&a->wheel, ARENA_START_MS);
    for (uint32_t i = 0; i < config->honest; i++) {
        struct addr at = arena_honest_addr(i), join[3];
        size_t n = 0;
        for (; n < 3 && i > 0; n++)
            join[n] = a->hosts[scale_below(&a->rand, i)].addr;
        arena_add_honest(a, &at, join, n);
        arena_run(a, JOIN_GAP_MS);
    }
    arena_run(a, SETTLE_MS);
    return a;
}

void arena_free(struct arena *a)
{
    struct wheel_event *e;

    for (uint32_t i = 0; i < a->n; i++)
        arena_remove(a, i);
    while ((e = wheel_next(&a->wheel, a->wheel.now_ms + 60000)) != NULL)
        free((struct datagram *)(void *)e); /* the timers are all out: what is left is under way */
    free(a->hosts);
    free(a->by_addr);
    free(a);
}

/* ---- operations ---------------------------------------------------------------------------------------- */

static uint64_t begin(const struct arena *a, struct arena_op *op)
{
    const uint8_t *wanted = op->wanted_pk;

    *op = (struct arena_op){.started_ms = a->wheel.now_ms, .wanted_pk = wanted};
    return (uint64_t)(uintptr_t)op;
}

static void begun(struct arena *a, uint32_t host, struct arena_op *op, int err)
{
    if (err) {
        op->done = true;
        op->status = err;
    }
    arena_turn(a, host);
}

void arena_put(struct arena *a, uint32_t host, const struct kad_item *item, struct arena_op *op)
{
    uint64_t tag = begin(a, op);

    begun(a, host, op, kad_put(a->hosts[host].kad, arena_now(a), item, NULL, tag));
}

void arena_get(struct arena *a, uint32_t host, const struct kad_item *item, struct arena_op *op)
{
    uint64_t tag = begin(a, op);
    uint8_t target[KAD_ID_SIZE];

    kad_item_target(item, target);
    begun(a, host, op, kad_get(a->hosts[host].kad, arena_now(a), target, item->pk, item->salt, tag));
}

void arena_set_put(struct arena *a, uint32_t host, const uint8_t *root, const struct kad_entry *entry, struct arena_op *op)
{
    uint64_t tag = begin(a, op);

    begun(a, host, op, kad_set_put(a->hosts[host].kad, arena_now(a), root, entry, tag));
}

void arena_set_get(struct arena *a, uint32_t host, const uint8_t *root, struct arena_op *op)
{
    uint64_t tag = begin(a, op);

    begun(a, host, op, kad_set_get(a->hosts[host].kad, arena_now(a), root, false, 0, tag));
}

void arena_lookup(struct arena *a, uint32_t host, const uint8_t *target, struct arena_op *op)
{
    uint64_t tag = begin(a, op);

    begun(a, host, op, kad_find(a->hosts[host].kad, arena_now(a), target, false, tag));
}

/* ---- records ------------------------------------------------------------------------------------------- */

void arena_record_make(const struct arena *a, struct arena_record *r, uint64_t key, int64_t seq)
{
    uint8_t seed[KEY_SIZE] = {0};
    struct bytes_out out = bytes_out(r->v, sizeof r->v);

    put_be64(seed, scale_mix(key ^ scale_mix(a->config.seed)));
    r->who = scale_have(identity_from_seed(seed));
    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(arena_now(a)) + 86400 * 30);
    ben_put_key(&out, "n");
    ben_put_int(&out, seq);
    ben_put_end(&out);
    r->item = (struct kad_item){.is_mutable = true, .seq = seq, .salt = span_str("a"), .v = span(r->v, out.size)};
    if (kad_item_sign(&r->item, r->who))
        abort();
    kad_item_target(&r->item, r->target);
}

void arena_record_clear(struct arena_record *r)
{
    identity_free(r->who);
    r->who = NULL;
}
