/* A network of whole kad nodes in one process, for tests: datagrams go through a queue with virtual time, latency
 * and loss; nodes die, return, and are cut off; what a node saves is kept as its disk would.
 *
 *     struct net *net = net_new(50, &(struct net_options){.seed = 1});
 *     net_start_all(net);                          // node 0 alone, the others join through it
 *     struct result *r = net_put(net, 3, &item, NULL);
 *     net_run_until(net, r);                       // to its final event
 *     assert_int_equal(r->status, 0);
 *     net_free(net);
 *
 * Included by one test program each, so everything is static.
 */
#ifndef TESTS_KAD_NET_H
#define TESTS_KAD_NET_H
#include <assert.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bencode.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/identity.h"
#include "kad/id.h"
#include "kad/kad.h"

#pragma GCC diagnostic ignored "-Wunused-function"

#define NET_RESULTS_MAX 4096
#define NET_ENTRIES_MAX 2048
#define NET_PEERS_MAX 2100

struct net_options {
    uint64_t seed;
    uint8_t k;              /* 0 = default */
    uint32_t latency_ms;    /* one way; 0 = at once */
    double loss;
    const char *network;    /* NULL = "camellia" */
    bool v6, dual;          /* addresses; dual: every third node has both */
    bool public_addrs;      /* routable addresses, so BEP 42 binds */
};

struct result {
    bool done;
    int status;
    uint32_t holders;
    int64_t newer_seq;
    unsigned firsts, hops;
    size_t n_value;
    uint8_t value[KAD_VALUE_MAX];
    int64_t seq;
    size_t n_contacts;
    struct kad_contact contacts[64];
    size_t n_peers;
    struct addr peers[NET_PEERS_MAX];
    size_t n_entries;
    struct { uint8_t pk[KEY_SIZE]; int64_t seq; bool tombstone; uint32_t since_s, age_s; } *entries;
    uint64_t count, spread;
    uint32_t shards;
    uint64_t started_ms, first_ms, done_ms;
    uint64_t datagrams_at_start, datagrams_at_first, datagrams_at_end;
};

struct net_record {
    struct net_record *next;
    size_t key_size, value_size;
    uint8_t bytes[];
};

struct net_node {
    struct kad *k;
    struct addr addr, addr6;
    bool up;
    bool read_only;
    int group;              /* datagrams pass within a group only */
    const char *network;
    unsigned ready, alone, addressed;
    struct rng_seeded seeded;
    struct rng rng;
    struct net_record *disk;
};

struct net_datagram {
    uint64_t at_ms, order;
    struct addr from, to;
    uint16_t size;
    uint8_t data[KAD_DATAGRAM_MAX];
};

struct net {
    struct net_options options;
    struct rng_seeded seeded;
    struct rng rng;
    struct now now;
    size_t n;
    struct net_node *nodes;
    struct net_datagram **heap;
    size_t n_heap, cap_heap;
    uint64_t order, datagrams, bytes, largest;
    struct result *results[NET_RESULTS_MAX];
    size_t n_results;
    /* What a test wants to do to a datagram on its way: true to drop it. */
    bool (*tamper)(struct net *net, struct net_datagram *d);
    void *tamper_ctx;
};

/* ---- queue ---------------------------------------------------------------------------------------------- */

static bool net_before(const struct net_datagram *a, const struct net_datagram *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void net_heap_push(struct net *net, struct net_datagram *d)
{
    if (net->n_heap == net->cap_heap) {
        net->cap_heap = net->cap_heap ? net->cap_heap * 2 : 256;
        net->heap = realloc(net->heap, net->cap_heap * sizeof *net->heap);
    }
    size_t i = net->n_heap++;
    while (i > 0 && net_before(d, net->heap[(i - 1) / 2])) {
        net->heap[i] = net->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    net->heap[i] = d;
}

static struct net_datagram *net_heap_pop(struct net *net)
{
    struct net_datagram *top = net->heap[0], *last = net->heap[--net->n_heap];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= net->n_heap)
            break;
        if (c + 1 < net->n_heap && net_before(net->heap[c + 1], net->heap[c]))
            c++;
        if (!net_before(net->heap[c], last))
            break;
        net->heap[i] = net->heap[c];
        i = c;
    }
    if (net->n_heap)
        net->heap[i] = last;
    return top;
}

static struct net_node *net_at(struct net *net, const struct addr *addr)
{
    for (size_t i = 0; i < net->n; i++)
        if (addr_equal(&net->nodes[i].addr, addr) || addr_equal(&net->nodes[i].addr6, addr))
            return &net->nodes[i];
    return NULL;
}

static void net_send(struct net *net, const struct addr *from, const struct addr *to, const void *data, size_t size)
{
    net->datagrams++;
    net->bytes += size;
    if (size > net->largest)
        net->largest = size;
    if (net->options.loss > 0 && rng_u32(&net->rng) < net->options.loss * 4294967295.0)
        return;
    struct net_datagram *d = malloc(sizeof *d);
    d->at_ms = net->now.mono_ms + net->options.latency_ms;
    d->order = net->order++;
    d->from = *from;
    d->to = *to;
    d->size = (uint16_t)size;
    memcpy(d->data, data, size);
    net_heap_push(net, d);
}

/* ---- draining a node ------------------------------------------------------------------------------------- */

static void net_save(struct net_node *node, const struct kad_dirty *dirty)
{
    struct net_record **at = &node->disk;
    while (*at && !((*at)->key_size == dirty->key.size && memcmp((*at)->bytes, dirty->key.data, dirty->key.size) == 0))
        at = &(*at)->next;
    struct net_record *old = *at;
    if (old) {
        *at = old->next;
        free(old);
    }
    if (dirty->value.size == 0)
        return;
    struct net_record *one = malloc(sizeof *one + dirty->key.size + dirty->value.size);
    one->key_size = dirty->key.size;
    one->value_size = dirty->value.size;
    memcpy(one->bytes, dirty->key.data, dirty->key.size);
    memcpy(one->bytes + dirty->key.size, dirty->value.data, dirty->value.size);
    one->next = node->disk;
    node->disk = one;
}

static void net_event(struct net *net, struct net_node *node, const struct kad_event *e)
{
    switch (e->kind) {
    case KAD_EVENT_READY: node->ready++; return;
    case KAD_EVENT_ALONE: node->alone++; return;
    case KAD_EVENT_ADDRESS: node->addressed++; return;
    default: break;
    }
    assert_true(e->tag < net->n_results);
    struct result *r = net->results[e->tag];
    assert_false(r->done); /* one final event, and nothing after it */
    if (e->kind == KAD_EVENT_FIRST && r->firsts++ == 0) {
        r->first_ms = net->now.mono_ms;
        r->datagrams_at_first = net->datagrams;
    }
    if (e->kind == KAD_EVENT_HOP)
        r->hops++;
    r->holders = e->holders;
    r->newer_seq = e->newer_seq;
    r->status = e->status;
    r->count = e->count;
    r->spread = e->spread;
    r->shards = e->shards;
    if (e->item) {
        memcpy(r->value, e->item->v.data, e->item->v.size);
        r->n_value = e->item->v.size;
        r->seq = e->item->seq;
    }
    if (e->kind == KAD_EVENT_FIND || e->kind == KAD_EVENT_PING) {
        r->n_contacts = e->n_contacts < 64 ? e->n_contacts : 64;
        if (r->n_contacts)
            memcpy(r->contacts, e->contacts, r->n_contacts * sizeof *e->contacts);
    }
    for (size_t i = 0; i < e->n_peers; i++) {
        assert_true(r->n_peers < NET_PEERS_MAX);
        r->peers[r->n_peers++] = e->peers[i];
    }
    for (size_t i = 0; i < e->n_entries && r->n_entries < NET_ENTRIES_MAX; i++) {
        if (!r->entries)
            r->entries = calloc(NET_ENTRIES_MAX, sizeof *r->entries);
        memcpy(r->entries[r->n_entries].pk, e->entries[i].pk, KEY_SIZE);
        r->entries[r->n_entries].seq = e->entries[i].seq;
        r->entries[r->n_entries].since_s = e->entries[i].since_s;
        r->entries[r->n_entries].age_s = e->entries[i].age_s;
        r->entries[r->n_entries++].tombstone = kad_entry_is_tombstone(&e->entries[i]);
    }
    if (e->last) {
        r->done = true;
        r->done_ms = net->now.mono_ms;
        r->datagrams_at_end = net->datagrams;
    }
}

static void net_drain(struct net *net, struct net_node *node)
{
    struct kad_datagram d;
    struct kad_event e;
    struct kad_dirty dirty;

    while (kad_next_out(node->k, &d)) {
        assert_true(d.size <= KAD_DATAGRAM_MAX);
        net_send(net, d.to.family == 6 ? &node->addr6 : &node->addr, &d.to, d.data, d.size);
    }
    while (kad_next_event(node->k, &e))
        net_event(net, node, &e);
    while (kad_next_dirty(node->k, &dirty))
        net_save(node, &dirty);
}

/* ---- life ------------------------------------------------------------------------------------------------ */

static struct addr net_addr(const struct net_options *o, size_t i, bool v6)
{
    struct addr a = {.family = v6 ? 6 : 4, .port = (uint16_t)(7000 + i)};
    if (v6) {
        a.ip[0] = o->public_addrs ? 0x20 : 0xfd;
        a.ip[1] = 0x01;
        a.ip[5] = (uint8_t)(i >> 8), a.ip[6] = (uint8_t)i;
        a.ip[15] = 1;
    } else if (o->public_addrs) {
        a.ip[0] = (uint8_t)(20 + i % 90);
        a.ip[1] = (uint8_t)(i * 37);
        a.ip[2] = (uint8_t)(i * 101 + i / 256);
        a.ip[3] = (uint8_t)(1 + i % 250);
    } else {
        a.ip[0] = 127;
        a.ip[3] = 1;
    }
    return a;
}

static struct net *net_new(size_t n, const struct net_options *options)
{
    struct net *net = calloc(1, sizeof *net);
    net->options = *options;
    net->rng = rng_seeded(&net->seeded, options->seed);
    net->now = (struct now){.mono_ms = 1000000, .wall_ms = UINT64_C(1800000000000)};
    net->n = n;
    net->nodes = calloc(n, sizeof *net->nodes);
    for (size_t i = 0; i < n; i++) {
        struct net_node *node = &net->nodes[i];
        node->network = options->network ? options->network : "camellia";
        if (!options->v6)
            node->addr = net_addr(options, i, false);
        if (options->v6 || (options->dual && i % 3 == 0))
            node->addr6 = net_addr(options, i, true);
    }
    return net;
}

static void net_up(struct net *net, size_t i)
{
    struct net_node *node = &net->nodes[i];
    struct kad_config config = {.network = node->network, .k = net->options.k, .read_only = node->read_only,
                                .use_v4 = node->addr.family != 0, .use_v6 = node->addr6.family != 0};
    node->rng = rng_seeded(&node->seeded, rng_u64(&net->rng));
    node->k = kad_new(&config, &node->rng, net->now);
    assert_non_null(node->k);
    for (const struct net_record *one = node->disk; one; one = one->next)
        kad_load(node->k, net->now, span(one->bytes, one->key_size), span(one->bytes + one->key_size, one->value_size));
    node->up = true;
    kad_tick(node->k, net->now);
    net_drain(net, node);
}

/* As SIGKILL: what was not drained is gone, the disk stays. */
static void net_kill(struct net *net, size_t i)
{
    kad_free(net->nodes[i].k);
    net->nodes[i].k = NULL;
    net->nodes[i].up = false;
}

static void net_forget(struct net_node *node) /* its disk is lost */
{
    while (node->disk) {
        struct net_record *one = node->disk;
        node->disk = one->next;
        free(one);
    }
}

static void net_free(struct net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        if (net->nodes[i].up)
            net_kill(net, i);
        net_forget(&net->nodes[i]);
    }
    while (net->n_heap)
        free(net_heap_pop(net));
    for (size_t i = 0; i < net->n_results; i++) {
        free(net->results[i]->entries);
        free(net->results[i]);
    }
    free(net->heap);
    free(net->nodes);
    free(net);
}

/* One step: the next datagram or tick, if it comes before `until_ms`. */
static bool net_step(struct net *net, uint64_t until_ms)
{
    uint64_t next = until_ms;
    struct net_node *ticks = NULL;

    for (size_t i = 0; i < net->n; i++) {
        uint64_t at = net->nodes[i].up ? kad_deadline_ms(net->nodes[i].k) : NOW_NEVER;
        if (at < next) {
            next = at;
            ticks = &net->nodes[i];
        }
    }
    if (net->n_heap && net->heap[0]->at_ms <= next && net->heap[0]->at_ms < until_ms) {
        struct net_datagram *d = net_heap_pop(net);
        if (d->at_ms > net->now.mono_ms) {
            net->now.wall_ms += d->at_ms - net->now.mono_ms;
            net->now.mono_ms = d->at_ms;
        }
        struct net_node *to = net_at(net, &d->to), *from = net_at(net, &d->from);
        bool cut = from && to && from->group != to->group;
        if (to && to->up && !cut && !(net->tamper && net->tamper(net, d))) {
            kad_recv(to->k, net->now, &d->from, d->data, d->size);
            net_drain(net, to);
        }
        free(d);
        return true;
    }
    if (!ticks) {
        net->now.wall_ms += until_ms - net->now.mono_ms;
        net->now.mono_ms = until_ms;
        return false;
    }
    if (next > net->now.mono_ms) {
        net->now.wall_ms += next - net->now.mono_ms;
        net->now.mono_ms = next;
    }
    kad_tick(ticks->k, net->now);
    net_drain(net, ticks);
    return true;
}

static void net_run(struct net *net, uint64_t ms)
{
    uint64_t until = net->now.mono_ms + ms;
    while (net_step(net, until))
        ;
}

static void net_run_until(struct net *net, const struct result *r)
{
    uint64_t until = net->now.mono_ms + 60000;
    while (!r->done && net_step(net, until))
        ;
    assert_true(r->done);
}

static void net_check(struct net *net)
{
    for (size_t i = 0; i < net->n; i++)
        if (net->nodes[i].up)
            kad_check(net->nodes[i].k);
}

static void net_join(struct net *net, size_t i, size_t via)
{
    const struct addr *addr = net->nodes[i].addr.family && net->nodes[via].addr.family ? &net->nodes[via].addr
                                                                                         : &net->nodes[via].addr6;
    assert_int_equal(kad_join(net->nodes[i].k, net->now, addr), 0);
    net_drain(net, &net->nodes[i]);
}

static void net_start_all(struct net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        net_up(net, i);
        if (i > 0)
            net_join(net, i, 0);
        net_run(net, 20);
    }
    net_run(net, 3000);
    net_check(net);
}

/* ---- requests -------------------------------------------------------------------------------------------- */

static struct result *net_result(struct net *net)
{
    assert_true(net->n_results < NET_RESULTS_MAX);
    struct result *r = calloc(1, sizeof *r);
    r->started_ms = net->now.mono_ms;
    r->datagrams_at_start = net->datagrams;
    net->results[net->n_results++] = r;
    return r;
}

static struct result *net_put(struct net *net, size_t at, const struct kad_item *item, const int64_t *cas)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_put(net->nodes[at].k, net->now, item, cas, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_get(struct net *net, size_t at, const struct kad_item *item)
{
    struct result *r = net_result(net);
    uint8_t target[KAD_ID_SIZE];
    kad_item_target(item, target);
    assert_int_equal(kad_get(net->nodes[at].k, net->now, target, item->is_mutable ? item->pk : NULL, item->salt,
                             net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_find(struct net *net, size_t at, const uint8_t *target, bool trace)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_find(net->nodes[at].k, net->now, target, trace, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_ping(struct net *net, size_t at, const struct addr *addr)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_ping(net->nodes[at].k, net->now, addr, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_set_put(struct net *net, size_t at, const uint8_t *root, const struct kad_entry *entry)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_set_put(net->nodes[at].k, net->now, root, entry, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_set_get(struct net *net, size_t at, const uint8_t *root, bool fresh, uint32_t max)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_set_get(net->nodes[at].k, net->now, root, fresh, max, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_get_peers(struct net *net, size_t at, const uint8_t *info_hash)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_get_peers(net->nodes[at].k, net->now, info_hash, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_announce(struct net *net, size_t at, const uint8_t *info_hash, uint16_t port)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_announce(net->nodes[at].k, net->now, info_hash, port, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

static struct result *net_set_count(struct net *net, size_t at, const uint8_t *root, bool exact)
{
    struct result *r = net_result(net);
    assert_int_equal(kad_set_count(net->nodes[at].k, net->now, root, exact, net->n_results - 1), 0);
    net_drain(net, &net->nodes[at]);
    return r;
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static struct identity *net_identity(uint8_t n)
{
    uint8_t seed[KEY_SIZE] = {0xca, 0x3e, n};
    return identity_from_seed(seed);
}

/* {"exp": in ten days, "x": text} */
static struct span net_value(struct net *net, uint8_t *buf, size_t size, const char *text)
{
    struct bytes_out out = bytes_out(buf, size);
    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, now_unix_s(net->now) + 10 * 86400);
    ben_put_key(&out, "x");
    ben_put_text(&out, text);
    ben_put_end(&out);
    assert_int_equal(out.err, 0);
    return span(buf, out.size);
}

static struct kad_item net_item(const struct identity *id, const char *salt, int64_t seq, struct span v)
{
    struct kad_item item = {.is_mutable = true, .salt = span_str(salt), .seq = seq, .v = v};
    assert_int_equal(kad_item_sign(&item, id), 0);
    return item;
}

#endif
