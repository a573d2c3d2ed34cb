#include "tests/sim_net.h"

#include <assert.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/keyfile.h"
#include "timeline/io_zmq.h"

#define WALL_START_MS UINT64_C(1800000000000) /* January 2027 */
#define MONO_START_MS 1000
#define PORT_START 8000
#define REFUSED_MS 200     /* a connection to nobody is given up after this */
#define TCP_RESEND_MS 200  /* what a lost packet costs a link: delay, never loss */
#define LINKS_MAX 4096
#define CHECK_EVERY 61     /* events between two looks at a node's invariants */
#define TURNS_MAX 1000     /* at one instant; more means that a node spins */

enum kind { EV_DATAGRAM, EV_LINK, EV_REQUEST, EV_WAKE };

struct event {
    uint64_t at_us, order;
    enum kind kind;
    size_t node, life;         /* of the receiver; an event for an earlier life is dropped */
    struct addr from;          /* DATAGRAM */
    enum link_event_kind link; /* LINK */
    struct link_dest dest;
    uint8_t key[LINK_KEY_SIZE];
    uint64_t client;           /* REQUEST */
    uint8_t *data;
    size_t size;
};

struct queue { /* of what has arrived and was not read yet */
    struct event **at;
    size_t head, n, cap;
};

struct sim_link { /* one PUSH socket: from a life of a node to a destination */
    bool used, up;
    size_t from, from_life, to, to_life;
    struct link_dest dest;
    uint64_t last_us; /* when its newest message arrives: order is kept */
    uint64_t sent_us; /* when it was sent */
    uint8_t *parked[LINK_PARKED_MAX];
    size_t parked_size[LINK_PARKED_MAX], n_parked;
};

struct sim_node {
    struct sim *sim;
    size_t index, life;
    bool up;
    struct addr addr;
    uint64_t mono_offset_ms;
    struct identity *id;
    struct transport transport;
    char user_id[USER_ID_SIZE];
    struct store *store;
    struct node *node;
    struct node_io io;
    struct rng_seeded seeded;
    struct rng rng;
    struct queue udp, link, api;
    struct event *reading; /* what the last `next` handed out */
    uint64_t wake_us;
    struct sim_traffic traffic;
    uint32_t dies_within; /* I/O calls; 0: it does not */
    jmp_buf death;        /* out of node_turn, wherever it is */
};

struct sim {
    struct sim_options options;
    struct sim_node *nodes;
    struct event **heap;
    size_t n_heap, cap_heap;
    uint64_t now_us, next_order, next_tag, delivered;
    struct sim_link *links;
    bool *sides;
    struct rng_seeded net_state, user_state, key_state;
    struct rng net, user, keys;
    crypto_generichash_state hash;
};

/* ---- the queue of events: a binary heap by (time, order) ------------------------------------------------ */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct sim *s, struct event *e)
{
    if (s->n_heap == s->cap_heap) {
        s->cap_heap = s->cap_heap ? 2 * s->cap_heap : 1024;
        s->heap = realloc(s->heap, s->cap_heap * sizeof *s->heap);
    }
    e->order = s->next_order++;
    size_t i = s->n_heap++;
    for (; i > 0 && earlier(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

static struct event *pop(struct sim *s)
{
    struct event *top = s->heap[0], *e = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < s->n_heap; i = c) {
        if (c + 1 < s->n_heap && earlier(s->heap[c + 1], s->heap[c]))
            c++;
        if (!earlier(s->heap[c], e))
            break;
        s->heap[i] = s->heap[c];
    }
    if (s->n_heap)
        s->heap[i] = e;
    return top;
}

static struct event *event_new(enum kind kind, const struct sim_node *to, uint64_t at_us, const void *data, size_t size)
{
    struct event *e = calloc(1, sizeof *e);
    e->kind = kind;
    e->node = to->index;
    e->life = to->life;
    e->at_us = at_us;
    e->size = size;
    e->data = malloc(size + 1);
    if (size)
        memcpy(e->data, data, size);
    e->data[size] = 0;
    return e;
}

static void event_free(struct event *e)
{
    if (!e)
        return;
    free(e->data);
    free(e);
}

static void queue_put(struct queue *q, struct event *e)
{
    if (q->head + q->n == q->cap) {
        if (q->head)
            memmove(q->at, q->at + q->head, q->n * sizeof *q->at);
        q->head = 0;
        if (q->n == q->cap) {
            q->cap = q->cap ? 2 * q->cap : 16;
            q->at = realloc(q->at, q->cap * sizeof *q->at);
        }
    }
    q->at[q->head + q->n++] = e;
}

static struct event *queue_take(struct queue *q)
{
    if (q->n == 0)
        return NULL;
    q->n--;
    return q->at[q->head++];
}

static void queue_clear(struct queue *q)
{
    for (struct event *e; (e = queue_take(q));)
        event_free(e);
    free(q->at);
    *q = (struct queue){0};
}

/* Every function of the I/O table that sends comes by here when it is done: a process can be killed between any
 * two system calls, so a node can be killed between any two of these. */
static void may_die(struct sim_node *n)
{
    if (n->dies_within > 0 && --n->dies_within == 0)
        longjmp(n->death, 1);
}

static void io_flush(void *ctx) { may_die(ctx); } /* the first of a turn comes just before the commit */

/* ---- packets ------------------------------------------------------------------------------------------- */

static uint64_t travel_us(struct sim *s)
{
    uint64_t jitter = s->options.jitter_ms ? rng_below(&s->net, s->options.jitter_ms * 1000) : 0;
    return s->options.latency_ms * UINT64_C(1000) + jitter + 50;
}

static bool chance(struct sim *s, double p) { return p > 0 && rng_below(&s->net, 1000000) < p * 1e6; }

static bool cut(const struct sim *s, size_t a, size_t b) { return s->sides && s->sides[a] != s->sides[b]; }

/* The address of node i is 10.x.y.z with i in its lower bytes, whatever its port. */
static struct sim_node *node_at(struct sim *s, const struct addr *a)
{
    size_t i = ((size_t)a->ip[1] << 16 | (size_t)a->ip[2] << 8 | a->ip[3]) - 1;
    if (a->family != 4 || a->ip[0] != 10 || i >= s->options.nodes)
        return NULL;
    return s->nodes[i].up && s->nodes[i].addr.port == a->port ? &s->nodes[i] : NULL;
}

static void count_datagram(struct sim_node *n, size_t size)
{
    n->traffic.datagrams++;
    n->traffic.datagram_bytes += size;
}

static void io_udp_out(void *ctx, const struct addr *to, struct span data)
{
    struct sim_node *from = ctx;
    struct sim *s = from->sim;
    int copies = chance(s, s->options.loss) ? 0 : chance(s, s->options.duplication) ? 2 : 1;
    struct sim_node *dest = node_at(s, to);
    count_datagram(from, data.size);
    if (!dest || cut(s, from->index, dest->index))
        return;
    while (copies-- > 0) {
        count_datagram(dest, data.size);
        struct event *e = event_new(EV_DATAGRAM, dest, s->now_us + travel_us(s), data.data, data.size);
        e->from = from->addr;
        push(s, e);
    }
    may_die(from);
}

static struct event *read_next(struct sim_node *n, struct queue *q)
{
    event_free(n->reading);
    return n->reading = queue_take(q);
}

static bool io_udp_in(void *ctx, struct addr *ret_from, struct span *ret_data)
{
    struct sim_node *n = ctx;
    struct event *e = read_next(n, &n->udp);
    if (!e)
        return false;
    *ret_from = e->from;
    *ret_data = span(e->data, e->size);
    return true;
}

/* ---- links --------------------------------------------------------------------------------------------- */

static void tell(struct sim *s, size_t node, size_t life, enum link_event_kind what, const struct link_dest *dest,
                 const void *data, size_t size, uint64_t at_us)
{
    struct event *e = event_new(EV_LINK, &s->nodes[node], at_us, data, size);
    e->life = life;
    e->link = what;
    e->dest = *dest;
    push(s, e);
}

static void count_message(struct sim *s, struct sim_link *l, size_t size)
{
    const uint64_t idle_us = IO_ZMQ_IDLE_MS * UINT64_C(1000);
    uint64_t quiet_us = s->now_us - l->sent_us;
    bool connects = l->sent_us == 0 || quiet_us > idle_us;
    struct sim_node *ends[2] = {&s->nodes[l->from], &s->nodes[l->to]};

    for (unsigned i = 0; i < 2; i++) {
        struct sim_traffic *t = &ends[i]->traffic;
        t->messages++;
        t->message_bytes += size;
        t->connections += connects;
        if (l->sent_us)
            t->open_ms += (quiet_us < idle_us ? quiet_us : idle_us) / 1000;
    }
    l->sent_us = s->now_us;
}

static void link_carry(struct sim *s, struct sim_link *l, const void *data, size_t size)
{
    struct sim_node *to = &s->nodes[l->to];
    uint64_t at = s->now_us + travel_us(s) + (chance(s, s->options.loss) ? TCP_RESEND_MS * UINT64_C(1000) : 0);
    if (at <= l->last_us)
        at = l->last_us + 1;
    l->last_us = at;
    count_message(s, l, size);
    struct event *e = event_new(EV_LINK, to, at, data, size);
    e->life = l->to_life;
    e->link = LINK_RECEIVED;
    memcpy(e->key, s->nodes[l->from].transport.pk, LINK_KEY_SIZE);
    push(s, e);
}

static void link_drop(struct sim *s, struct sim_link *l, bool tell_owner)
{
    uint64_t at = s->now_us + travel_us(s);
    for (size_t i = 0; i < l->n_parked; i++) {
        if (tell_owner)
            tell(s, l->from, l->from_life, LINK_UNSENT, &l->dest, l->parked[i], l->parked_size[i], at);
        free(l->parked[i]);
    }
    if (tell_owner)
        tell(s, l->from, l->from_life, LINK_DOWN, &l->dest, NULL, 0, at);
    *l = (struct sim_link){0};
}

/* A connection that was begun earlier is decided when its first message would arrive. */
static void link_settle(struct sim *s, struct sim_link *l)
{
    struct sim_node *to = node_at(s, &l->dest.addr);
    if (!to || cut(s, l->from, to->index) || memcmp(to->transport.pk, l->dest.key, LINK_KEY_SIZE) != 0 ||
        !node_admits(to->node, s->nodes[l->from].transport.pk)) {
        link_drop(s, l, true);
        return;
    }
    l->up = true;
    l->to = to->index;
    l->to_life = to->life;
    tell(s, l->from, l->from_life, LINK_UP, &l->dest, NULL, 0, s->now_us);
    for (size_t i = 0; i < l->n_parked; i++) {
        link_carry(s, l, l->parked[i], l->parked_size[i]);
        free(l->parked[i]);
    }
    l->n_parked = 0;
}

static void link_take(struct sim_node *from, const struct link_send *send)
{
    struct sim *s = from->sim;
    struct sim_link *l = NULL, *empty = NULL;
    for (size_t i = 0; i < LINKS_MAX && !l; i++) {
        struct sim_link *at = &s->links[i];
        if (!at->used && !empty)
            empty = at;
        if (at->used && at->from == from->index && link_dest_equal(&at->dest, &send->to))
            l = at;
    }
    if (l && l->up) {
        link_carry(s, l, send->bytes.data, send->bytes.size);
        return;
    }
    if ((!l && !empty) || (l && l->n_parked == LINK_PARKED_MAX)) {
        tell(s, from->index, from->life, LINK_UNSENT, &send->to, send->bytes.data, send->bytes.size, s->now_us + 50);
        return;
    }
    if (!l) {
        l = empty;
        *l = (struct sim_link){.used = true, .from = from->index, .from_life = from->life, .dest = send->to};
        /* TCP and CURVE take three round trips; a refusal is noticed later. */
        bool there = node_at(s, &send->to.addr) != NULL;
        uint64_t wait = there ? 6 * travel_us(s) : REFUSED_MS * UINT64_C(1000);
        struct event *e = event_new(EV_WAKE, from, s->now_us + wait, NULL, 0);
        e->client = (uint64_t)(l - s->links) + 1; /* a WAKE with a link: settle it first */
        push(s, e);
    }
    l->parked[l->n_parked] = malloc(send->bytes.size);
    memcpy(l->parked[l->n_parked], send->bytes.data, send->bytes.size);
    l->parked_size[l->n_parked++] = send->bytes.size;
}

static void io_link_out(void *ctx, const struct link_send *send)
{
    link_take(ctx, send);
    may_die(ctx);
}

static bool io_link_in(void *ctx, struct link_event *ret_event)
{
    struct sim_node *n = ctx;
    struct event *e = read_next(n, &n->link);
    if (!e)
        return false;
    *ret_event = (struct link_event){.kind = e->link, .dest = e->dest, .bytes = span(e->data, e->size)};
    memcpy(ret_event->from_key, e->key, LINK_KEY_SIZE);
    return true;
}

/* ---- the local API ------------------------------------------------------------------------------------- */

static bool io_api_in(void *ctx, uint64_t *ret_client, struct span *ret_text)
{
    struct sim_node *n = ctx;
    struct event *e = read_next(n, &n->api);
    if (!e)
        return false;
    *ret_client = 1;
    *ret_text = span(e->data, e->size);
    return true;
}

static int io_api_out(void *ctx, uint64_t client, struct span text)
{
    struct sim_node *n = ctx;
    struct sim *s = n->sim;
    (void)client;
    json_t *reply = json_loadb((const char *)text.data, text.size, 0, NULL);
    assert(reply);
    if (s->options.reply) {
        json_t *row = json_object_get(reply, "row");
        bool done = json_is_true(json_object_get(reply, "done"));
        s->options.reply(s->options.ctx, n->index, (uint64_t)json_integer_value(json_object_get(reply, "tag")), row, done,
                         (int)json_integer_value(json_object_get(reply, "status")));
    }
    json_decref(reply);
    may_die(n);
    return 0;
}

uint64_t sim_call(struct sim *s, size_t node, json_t *request)
{
    uint64_t tag = ++s->next_tag;
    json_object_set_new(request, "v", json_integer(1));
    json_object_set_new(request, "tag", json_integer((json_int_t)tag));
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (s->nodes[node].up)
        push(s, event_new(EV_REQUEST, &s->nodes[node], s->now_us, text, strlen(text)));
    free(text);
    return tag;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static struct now now_of(const struct sim_node *n)
{
    uint64_t ms = n->sim->now_us / 1000;
    return (struct now){.mono_ms = MONO_START_MS + ms - n->mono_offset_ms, .wall_ms = WALL_START_MS + ms};
}

static void schedule_wake(struct sim_node *n)
{
    uint64_t deadline = node_deadline_ms(n->node);
    if (deadline == NOW_NEVER)
        return;
    uint64_t at = (deadline - MONO_START_MS + n->mono_offset_ms) * 1000;
    if (deadline < MONO_START_MS || at <= n->sim->now_us)
        at = n->sim->now_us + 1000;
    if (n->wake_us > n->sim->now_us && n->wake_us <= at)
        return; /* one that comes sooner is on its way */
    n->wake_us = at;
    push(n->sim, event_new(EV_WAKE, n, at, NULL, 0));
}

static void stop(struct sim_node *n);

static void turns(struct sim_node *n)
{
    int count = 0;
    do {
        int err = node_turn(n->node, now_of(n));
        assert(err == 0);
        assert(++count < TURNS_MAX);
    } while (node_busy(n->node) || n->udp.n + n->link.n + n->api.n);
    if (n->sim->delivered % CHECK_EVERY == 0)
        node_check(n->node);
    schedule_wake(n);
}

static void turn(struct sim_node *n)
{
    if (setjmp(n->death) == 0)
        turns(n);
    else
        stop(n);
}

static const struct node_io *io_of(struct sim_node *n)
{
    n->io = (struct node_io){.ctx = n, .udp_next = io_udp_in, .udp_send = io_udp_out, .link_next = io_link_in,
                           .link_send = io_link_out, .api_next = io_api_in, .api_send = io_api_out, .flush = io_flush};
    return &n->io;
}

struct sim *sim_new(const struct sim_options *options)
{
    struct sim *s = calloc(1, sizeof *s);
    s->options = *options;
    s->net = rng_seeded(&s->net_state, options->seed * 4 + 1);
    s->user = rng_seeded(&s->user_state, options->seed * 4 + 2);
    s->keys = rng_seeded(&s->key_state, options->seed * 4 + 3);
    s->links = calloc(LINKS_MAX, sizeof *s->links);
    s->nodes = calloc(options->nodes, sizeof *s->nodes);
    crypto_generichash_init(&s->hash, NULL, 0, 32);
    for (size_t i = 0; i < options->nodes; i++) {
        struct sim_node *n = &s->nodes[i];
        char why[STORE_MESSAGE_SIZE];
        n->sim = s;
        n->index = i;
        size_t number = i + 1;
        n->addr = (struct addr){.family = 4, .port = PORT_START,
                                .ip = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
        n->id = identity_new(&s->keys);
        user_id_text(n->id->pk, n->user_id);
        transport_new(&s->keys, &n->transport);
        if (store_open(":memory:", &n->store, why)) {
            fprintf(stderr, "sim: %s\n", why);
            exit(1);
        }
    }
    return s;
}

void sim_start(struct sim *s, size_t node)
{
    struct sim_node *n = &s->nodes[node];
    assert(!n->up);
    n->life++;
    n->mono_offset_ms = s->now_us / 1000; /* a new process: its monotonic clock begins anew */
    n->rng = rng_seeded(&n->seeded, s->options.seed * 1000003 + node * 1009 + n->life);
    struct node_config config = {
        .kad = {.network = "sim", .use_v4 = true},
        .timeline = {.listen = n->addr},
        .address = n->addr,
        .pid = (int64_t)node,
        .stays = true,
    };
    memcpy(config.timeline.transport_pk, n->transport.pk, LINK_KEY_SIZE);
    int err = node_new(&config, n->store, io_of(n), &n->rng, now_of(n), &n->node);
    if (err) {
        fprintf(stderr, "sim: node %zu does not start: %s\n", node, err_text(err));
        exit(1);
    }
    n->up = true;
    n->wake_us = 0;
    if (node > 0 && n->life == 1)
        kad_join(node_kad(n->node), now_of(n), &s->nodes[0].addr);
    push(s, event_new(EV_WAKE, n, s->now_us, NULL, 0));
}

static void stop(struct sim_node *n)
{
    struct sim *s = n->sim;
    n->up = false;
    n->dies_within = 0;
    node_free(n->node);
    n->node = NULL;
    store_rollback(n->store);
    event_free(n->reading);
    n->reading = NULL;
    queue_clear(&n->udp);
    queue_clear(&n->link);
    queue_clear(&n->api);
    for (size_t i = 0; i < LINKS_MAX; i++) {
        struct sim_link *l = &s->links[i];
        if (!l->used)
            continue;
        if (l->from == n->index)
            link_drop(s, l, false);
        else if (l->up && l->to == n->index)
            link_drop(s, l, true);
    }
}

void sim_crash(struct sim *s, size_t node)
{
    struct sim_node *n = &s->nodes[node];
    assert(n->up);
    stop(n);
}

void sim_crash_within(struct sim *s, size_t node, uint32_t calls) { s->nodes[node].dies_within = calls; }

bool sim_is_up(const struct sim *s, size_t node) { return s->nodes[node].up; }

void sim_partition(struct sim *s, const bool *sides)
{
    free(s->sides);
    s->sides = NULL;
    if (!sides)
        return;
    s->sides = malloc(s->options.nodes * sizeof *sides);
    memcpy(s->sides, sides, s->options.nodes * sizeof *sides);
    for (size_t i = 0; i < LINKS_MAX; i++) /* TCP across the cut dies */
        if (s->links[i].used && s->links[i].up && cut(s, s->links[i].from, s->links[i].to))
            link_drop(s, &s->links[i], true);
}

void sim_set_loss(struct sim *s, double loss, double duplication)
{
    s->options.loss = loss;
    s->options.duplication = duplication;
}

void sim_free(struct sim *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->options.nodes; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->up)
            stop(n);
        store_close(n->store);
        identity_free(n->id);
    }
    while (s->n_heap)
        event_free(pop(s));
    free(s->heap);
    free(s->links);
    free(s->sides);
    free(s->nodes);
    free(s);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static void record(struct sim *s, const struct event *e)
{
    uint64_t head[4] = {e->at_us, (uint64_t)e->kind, e->node, e->size};
    crypto_generichash_update(&s->hash, (const uint8_t *)head, sizeof head);
    crypto_generichash_update(&s->hash, e->data, e->size);
    s->delivered++;
}

static void deliver(struct sim *s, struct event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    if (!n->up || n->life != e->life) {
        event_free(e);
        return;
    }
    record(s, e);
    switch (e->kind) {
    case EV_DATAGRAM: queue_put(&n->udp, e); break;
    case EV_LINK: queue_put(&n->link, e); break;
    case EV_REQUEST: queue_put(&n->api, e); break;
    case EV_WAKE:
        if (e->client) {
            struct sim_link *l = &s->links[e->client - 1];
            if (l->used && !l->up && l->from == e->node && l->from_life == e->life)
                link_settle(s, l);
        }
        event_free(e);
        break;
    }
    turn(n);
}

void sim_run(struct sim *s, uint64_t ms)
{
    uint64_t end = s->now_us + ms * 1000;
    while (s->n_heap && s->heap[0]->at_us <= end) {
        struct event *e = pop(s);
        s->now_us = e->at_us;
        deliver(s, e);
    }
    s->now_us = end;
}

uint64_t sim_now_ms(const struct sim *s) { return s->now_us / 1000; }

uint32_t sim_below(struct sim *s, uint32_t bound) { return rng_below(&s->user, bound); }

const struct identity *sim_identity(const struct sim *s, size_t node) { return s->nodes[node].id; }

size_t sim_user_of(const struct sim *s, const char *user_id)
{
    for (size_t i = 0; user_id && i < s->options.nodes; i++)
        if (strcmp(s->nodes[i].user_id, user_id) == 0)
            return i;
    return SIZE_MAX;
}

void sim_traffic(const struct sim *s, size_t node, struct sim_traffic *ret) { *ret = s->nodes[node].traffic; }

uint64_t sim_events(const struct sim *s) { return s->delivered; }

void sim_hash(const struct sim *s, char ret_hex[65])
{
    crypto_generichash_state copy = s->hash;
    uint8_t out[32];
    crypto_generichash_final(&copy, out, sizeof out);
    hex_encode(ret_hex, out, sizeof out);
}
