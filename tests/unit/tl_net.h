/* Whole timelines over real kads in one process, for tests: virtual time, queues in the place of sockets, and
 * a store for each node that outlives its crashes.
 *
 *     struct net *net = net_new(3, 42);                     // three nodes, not started
 *     net_start(net, 0, 0); net_start(net, 1, 0);           // port 0: its usual one; joins node 0
 *     struct said *said = net_register(net, 0, "ana");
 *     assert_int_equal(said->status, 0);
 *     net_run(net, 1000);                                   // a second passes
 *     net_kill(net, 1);                                     // as SIGKILL: what was not committed is gone
 *     net_free(net);
 *
 * Links are as weak as the contract in link.h allows: in order for one connection, lost without a word when
 * the receiver dies; a destination that is not there gives LINK_UNSENT and LINK_DOWN after a while. */
#ifndef TESTS_TL_NET_H
#define TESTS_TL_NET_H
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/err.h"
#include "core/hash.h"
#include "timeline/message.h"
#include "timeline/store.h"
#include "timeline/timeline.h"

#define NET_NODES_MAX 24
#define NET_UDP_MS 2
#define NET_LINK_MS 3
#define NET_REFUSED_MS 1     /* a port where nobody listens says so at once */
#define NET_SILENT_MS 3000   /* a machine that is gone does not */
#define NET_ROWS_MAX 4096
#define NET_EPOCH_MS UINT64_C(1700000000000)
#define NET_TURNS_MAX 20000  /* of one node in one millisecond: more is a busy loop */

struct net_event {
    uint64_t at_ms, order;
    int to;              /* node */
    bool is_link;
    uint32_t life;       /* of the receiver when it was sent: a restarted one does not get it */
    struct addr from;    /* a datagram */
    struct link_event link;
    uint8_t *data;
    size_t size;
};

struct said { /* what a command was answered */
    bool done;
    int status;
    char message[TIMELINE_MESSAGE_MAX];
    struct timeline_row rows[NET_ROWS_MAX];
    char texts[NET_ROWS_MAX][64]; /* the beginning of each row's text */
    size_t n;
};

struct net_node {
    bool running;
    bool silent;            /* dead without a word: nobody refuses connections in its place */
    bool partitioned;       /* neither hears nor is heard */
    uint32_t life;
    struct kad *kad;
    struct timeline *t;
    struct store *store;
    struct identity *identity;
    char name[NAME_SIZE];
    struct link_dest dest;  /* its address (UDP and TCP) and transport key */
    struct rng_seeded seeded;
    struct rng rng;
    struct timeline_config config;
    struct { uint8_t key[LINK_KEY_SIZE]; struct addr addr; bool up; } conns[256];
    size_t n_conns;
    uint64_t turns_ms, turns, all_turns;
    uint64_t sent_messages[MESSAGE_KINDS], sent_bytes;
    int commit_error;       /* the next commit fails with this */
};

struct net {
    struct net_node nodes[NET_NODES_MAX];
    int n;
    struct now now;
    struct net_event *events; /* a heap by time, then order */
    size_t n_events, cap_events;
    uint64_t order, next_client;
    struct said said;         /* of the running command */
    uint64_t said_client;
    int said_node;
    struct said live;         /* of live reading (net_live) */
    uint64_t live_client;
    struct rng_seeded seeded;
    struct rng rng;
    uint32_t loss_percent;    /* of datagrams and link messages */
    /* May change or drop (return false) a link message on its way. */
    bool (*tamper)(struct net *net, int from, int to, uint8_t *data, size_t size);
    uint32_t clock_skew_ms;
    /* Takes (returns true) an event of a node's kad before its timeline does. */
    bool (*tap)(struct net *net, const struct kad_event *e);
};

/* ---- the heap ---- */
static inline bool net_before(const struct net_event *a, const struct net_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static inline void net_push(struct net *net, struct net_event e)
{
    if (net->n_events == net->cap_events) {
        net->cap_events = net->cap_events ? net->cap_events * 2 : 256;
        net->events = realloc(net->events, net->cap_events * sizeof *net->events);
        assert_non_null(net->events);
    }
    e.order = net->order++;
    size_t i = net->n_events++;
    for (; i > 0 && net_before(&e, &net->events[(i - 1) / 2]); i = (i - 1) / 2)
        net->events[i] = net->events[(i - 1) / 2];
    net->events[i] = e;
}

static inline struct net_event net_pop(struct net *net)
{
    struct net_event top = net->events[0], last = net->events[--net->n_events];
    size_t i = 0;
    for (;;) {
        size_t child = i * 2 + 1;
        if (child >= net->n_events)
            break;
        if (child + 1 < net->n_events && net_before(&net->events[child + 1], &net->events[child]))
            child++;
        if (!net_before(&net->events[child], &last))
            break;
        net->events[i] = net->events[child];
        i = child;
    }
    net->events[i] = last;
    return top;
}

static inline uint8_t *net_copy(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    return copy;
}

static inline int net_find_addr(const struct net *net, const struct addr *a)
{
    for (int i = 0; i < net->n; i++)
        if (addr_equal(&net->nodes[i].dest.addr, a))
            return i;
    return -1;
}

/* ---- sending ---- */
static inline void net_send_udp(struct net *net, int from, const struct kad_datagram *d)
{
    int to = net_find_addr(net, &d->to);
    if (to < 0 || !net->nodes[to].running || net->nodes[to].partitioned || net->nodes[from].partitioned ||
        (net->loss_percent && rng_below(&net->rng, 100) < net->loss_percent))
        return;
    net_push(net, (struct net_event){ .at_ms = net->now.mono_ms + NET_UDP_MS,
                                      .to = to,
                                      .life = net->nodes[to].life,
                                      .from = net->nodes[from].dest.addr,
                                      .data = net_copy(d->data, d->size),
                                      .size = d->size });
}

static inline bool *net_conn(struct net_node *node, const struct link_dest *to)
{
    for (size_t i = 0; i < node->n_conns; i++)
        if (memcmp(node->conns[i].key, to->key, LINK_KEY_SIZE) == 0 &&
            addr_equal(&node->conns[i].addr, &to->addr))
            return &node->conns[i].up;
    if (node->n_conns == sizeof node->conns / sizeof node->conns[0])
        node->n_conns = 0;
    size_t i = node->n_conns++;
    memcpy(node->conns[i].key, to->key, LINK_KEY_SIZE);
    node->conns[i].addr = to->addr;
    node->conns[i].up = false;
    return &node->conns[i].up;
}

static inline void net_send_link(struct net *net, int from, const struct link_send *s)
{
    struct net_node *me = &net->nodes[from];
    int to = net_find_addr(net, &s->to.addr);
    bool *up = net_conn(me, &s->to);
    struct message m;
    me->sent_bytes += s->bytes.size;
    if (message_decode(s->bytes, &m) == 0)
        me->sent_messages[m.kind]++;
    struct net_event e = { .at_ms = net->now.mono_ms + NET_LINK_MS, .is_link = true, .life = me->life };
    bool is_there = to >= 0 && net->nodes[to].running && !net->nodes[to].partitioned && !me->partitioned &&
                    memcmp(net->nodes[to].dest.key, s->to.key, LINK_KEY_SIZE) == 0 &&
                    timeline_admits(net->nodes[to].t, me->dest.key);
    if (!is_there) {
        bool silent = to >= 0 && (net->nodes[to].silent || net->nodes[to].partitioned || me->partitioned);
        e.at_ms = net->now.mono_ms + (silent ? NET_SILENT_MS : NET_REFUSED_MS);
        e.to = from;
        e.link = (struct link_event){ .kind = LINK_UNSENT, .dest = s->to };
        e.data = net_copy(s->bytes.data, s->bytes.size);
        e.size = s->bytes.size;
        net_push(net, e);
        e.link.kind = LINK_DOWN;
        e.data = NULL;
        e.size = 0;
        net_push(net, e);
        *up = false;
        return;
    }
    if (!*up) {
        struct net_event up_event = { .at_ms = e.at_ms, .is_link = true, .to = from, .life = me->life };
        up_event.link = (struct link_event){ .kind = LINK_UP, .dest = s->to };
        net_push(net, up_event);
        *up = true;
    }
    if (net->loss_percent && rng_below(&net->rng, 100) < net->loss_percent)
        return;
    uint8_t *data = net_copy(s->bytes.data, s->bytes.size);
    if (net->tamper && !net->tamper(net, from, to, data, s->bytes.size)) {
        free(data);
        return;
    }
    e.to = to;
    e.life = net->nodes[to].life;
    e.link = (struct link_event){ .kind = LINK_RECEIVED };
    memcpy(e.link.from_key, me->dest.key, LINK_KEY_SIZE);
    e.data = data;
    e.size = s->bytes.size;
    net_push(net, e);
}

/* ---- turns ---- */
static inline void net_take_answers(struct net *net, int i)
{
    struct timeline_answer a;
    while (timeline_next_answer(net->nodes[i].t, &a)) {
        struct said *s = a.client == net->said_client && i == net->said_node ? &net->said
                       : a.client == net->live_client ? &net->live : NULL;
        if (!s)
            continue;
        if (a.row.kind != TL_ROW_NONE && s->n < NET_ROWS_MAX) {
            s->rows[s->n] = a.row;
            size_t size = a.row.text.size < 63 ? a.row.text.size : 63;
            if (size)
                memcpy(s->texts[s->n], a.row.text.data, size);
            s->texts[s->n][size] = '\0';
            s->n++;
        }
        if (a.last) {
            assert_false(s->done); /* exactly one last answer */
            s->done = true;
            s->status = a.status;
            memcpy(s->message, a.message, sizeof s->message);
        }
    }
}

static inline void net_turn(struct net *net, int i)
{
    struct net_node *n = &net->nodes[i];
    struct kad_event e;
    struct kad_datagram d;
    struct kad_dirty dirty;
    struct link_send s;
    struct now now = net->now;
    if (n->turns_ms != now.mono_ms) {
        n->turns_ms = now.mono_ms;
        n->turns = 0;
    }
    n->all_turns++;
    if (++n->turns > NET_TURNS_MAX)
        fail_msg("node %d turns without end at %llu ms", i, (unsigned long long)now.mono_ms);
    kad_tick(n->kad, now);
    timeline_tick(n->t, now);
    while (kad_next_event(n->kad, &e))
        if (!net->tap || !net->tap(net, &e))
            timeline_kad_event(n->t, now, &e);
    while (kad_next_out(n->kad, &d))
        net_send_udp(net, i, &d);
    while (timeline_next_out(n->t, false, &s))
        net_send_link(net, i, &s);
    while (kad_next_dirty(n->kad, &dirty))
        store_kad_put(n->store, dirty.key, dirty.value);
    int err = n->commit_error;
    n->commit_error = 0;
    if (err)
        store_rollback(n->store);
    else
        err = store_commit(n->store);
    timeline_committed(n->t, now, err);
    while (timeline_next_out(n->t, true, &s))
        net_send_link(net, i, &s);
    net_take_answers(net, i);
    timeline_check(n->t);
}

/* Lets virtual time pass until `until_ms` or until `stop` is set. */
static inline void net_run_until(struct net *net, uint64_t until_ms, const bool *stop)
{
    while (!stop || !*stop) {
        uint64_t next_ms = until_ms;
        if (net->n_events && net->events[0].at_ms < next_ms)
            next_ms = net->events[0].at_ms;
        for (int i = 0; i < net->n; i++) {
            struct net_node *n = &net->nodes[i];
            if (!n->running)
                continue;
            uint64_t at_ms = kad_deadline_ms(n->kad), tl_ms = timeline_deadline_ms(n->t);
            at_ms = at_ms < tl_ms ? at_ms : tl_ms;
            next_ms = at_ms < next_ms ? at_ms : next_ms;
        }
        if (next_ms > net->now.mono_ms) {
            net->now.wall_ms += next_ms - net->now.mono_ms;
            net->now.mono_ms = next_ms;
        }
        bool due[NET_NODES_MAX] = { false };
        while (net->n_events && net->events[0].at_ms <= net->now.mono_ms) {
            struct net_event e = net_pop(net);
            struct net_node *n = &net->nodes[e.to];
            if (n->running && n->life == e.life) {
                due[e.to] = true;
                if (e.is_link) {
                    e.link.bytes = span(e.data, e.size);
                    timeline_recv(n->t, net->now, &e.link);
                } else {
                    kad_recv(n->kad, net->now, &e.from, e.data, e.size);
                }
            }
            free(e.data);
        }
        for (int i = 0; i < net->n; i++) {
            struct net_node *n = &net->nodes[i];
            if (n->running && (due[i] || kad_deadline_ms(n->kad) <= net->now.mono_ms ||
                               timeline_deadline_ms(n->t) <= net->now.mono_ms))
                net_turn(net, i);
        }
        if (net->now.mono_ms >= until_ms)
            break;
    }
}

static inline void net_run(struct net *net, uint64_t ms) { net_run_until(net, net->now.mono_ms + ms, NULL); }

/* ---- nodes ---- */
static inline void net_set_port(struct net *net, int i, uint16_t port)
{
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    assert_int_equal(addr_parse(text, &net->nodes[i].dest.addr), 0);
}

static inline struct net *net_new(int n, uint64_t seed)
{
    struct net *net = calloc(1, sizeof *net);
    assert_non_null(net);
    assert_true(n <= NET_NODES_MAX);
    net->n = n;
    net->now = (struct now){ 1000, NET_EPOCH_MS };
    net->rng = rng_seeded(&net->seeded, seed);
    net->next_client = 1;
    net->live_client = UINT64_MAX;
    for (int i = 0; i < n; i++) {
        struct net_node *node = &net->nodes[i];
        char why[STORE_MESSAGE_SIZE];
        node->rng = rng_seeded(&node->seeded, seed * 1000 + (uint64_t)i);
        rng_fill(&node->rng, node->dest.key, LINK_KEY_SIZE);
        net_set_port(net, i, (uint16_t)(9000 + i));
        node->identity = identity_new(&node->rng);
        assert_int_equal(store_open(":memory:", &node->store, why), 0);
    }
    return net;
}

static inline int net_load_kad(void *ctx, struct span key, struct span value)
{
    struct net_node *n = ((void **)ctx)[0];
    struct net *net = ((void **)ctx)[1];
    kad_load(n->kad, net->now, key, value);
    return 0;
}

/* Starts a node: from its store, at its port or another, joining through `join` (-1: nobody; it must
 * remember). */
static inline void net_start_at(struct net *net, int i, uint16_t port, int join)
{
    struct net_node *n = &net->nodes[i];
    struct kad_config config = { .network = "test", .use_v4 = true };
    assert_false(n->running);
    if (port)
        net_set_port(net, i, port);
    n->kad = kad_new(&config, &n->rng, net->now);
    assert_non_null(n->kad);
    void *ctx[2] = { n, net };
    store_kad_each(n->store, net_load_kad, ctx);
    n->config.listen = n->dest.addr;
    memcpy(n->config.transport_pk, n->dest.key, LINK_KEY_SIZE);
    n->t = timeline_new(&n->config, n->kad, n->store, &n->rng, net->now);
    assert_non_null(n->t);
    n->running = true;
    n->silent = false;
    n->life++;
    n->n_conns = 0;
    if (join >= 0)
        kad_join(n->kad, net->now, &net->nodes[join].dest.addr);
}

static inline void net_start(struct net *net, int i, uint16_t port)
{
    net_start_at(net, i, port, i ? 0 : -1);
}

static inline void net_kill(struct net *net, int i)
{
    struct net_node *n = &net->nodes[i];
    if (!n->running)
        return;
    timeline_free(n->t);
    kad_free(n->kad);
    store_rollback(n->store);
    n->running = false;
    n->life++;
}

/* Gone with its machine: who sends there learns it only by waiting. */
static inline void net_vanish(struct net *net, int i)
{
    net_kill(net, i);
    net->nodes[i].silent = true;
}

static inline void net_free(struct net *net)
{
    for (int i = 0; i < net->n; i++) {
        net_kill(net, i);
        store_close(net->nodes[i].store);
        identity_free(net->nodes[i].identity);
    }
    while (net->n_events)
        free(net_pop(net).data);
    free(net->events);
    free(net);
}

/* ---- commands ---- */
/* Gives a command and waits for its last answer, 15 s at most. The result lives until the next command. */
static inline struct said *net_command(struct net *net, int i, struct timeline_command c)
{
    memset(&net->said, 0, sizeof net->said);
    c.client = net->said_client = net->next_client++;
    net->said_node = i;
    timeline_command(net->nodes[i].t, net->now, &c);
    net_turn(net, i);
    net_run_until(net, net->now.mono_ms + 15000, &net->said.done);
    assert_true(net->said.done);
    return &net->said;
}

static inline struct said *net_register(struct net *net, int i, const char *name)
{
    snprintf(net->nodes[i].name, NAME_SIZE, "%s", name);
    return net_command(net, i, (struct timeline_command){ .verb = TL_REGISTER, .name = name,
                                                          .identity = net->nodes[i].identity });
}
static inline struct said *net_login(struct net *net, int i)
{
    return net_command(net, i, (struct timeline_command){ .verb = TL_LOGIN, .name = net->nodes[i].name,
                                                          .identity = net->nodes[i].identity });
}
static inline struct said *net_who(struct net *net, int i, enum timeline_verb verb, const char *who)
{
    return net_command(net, i, (struct timeline_command){ .verb = verb, .who = who });
}
static inline struct said *net_follow(struct net *net, int i, const char *who)
{
    return net_who(net, i, TL_FOLLOW, who);
}
static inline struct said *net_post(struct net *net, int i, const char *text)
{
    return net_command(net, i, (struct timeline_command){ .verb = TL_POST, .text = span_str(text) });
}
static inline struct said *net_read(struct net *net, int i, uint32_t limit)
{
    return net_command(net, i, (struct timeline_command){ .verb = TL_READ, .limit = limit });
}
static inline struct said *net_status(struct net *net, int i)
{
    return net_command(net, i, (struct timeline_command){ .verb = TL_STATUS });
}
/* Live reading; rows gather in net->live. */
static inline void net_live(struct net *net, int i)
{
    memset(&net->live, 0, sizeof net->live);
    net->live_client = net->next_client++;
    timeline_command(net->nodes[i].t, net->now, &(struct timeline_command){ .verb = TL_READ, .live = true,
                                                                            .client = net->live_client });
    net_turn(net, i);
}

/* How many posts node i shows of an author whose text begins so. */
static inline size_t net_count(struct net *net, int i, const char *begins)
{
    struct said *s = net_read(net, i, 4096);
    size_t n = 0;
    for (size_t k = 0; k < s->n; k++)
        n += s->rows[k].kind == TL_ROW_POST && strncmp(s->texts[k], begins, strlen(begins)) == 0;
    return n;
}

/* n nodes started and registered as u0, u1 ... */
static inline struct net *net_town(int n, uint64_t seed)
{
    struct net *net = net_new(n, seed);
    char name[NAME_SIZE];
    for (int i = 0; i < n; i++)
        net_start(net, i, 0);
    net_run(net, 3000);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "u%d", i);
        assert_int_equal(net_register(net, i, name)->status, 0);
    }
    return net;
}

#endif
