#include "tests/scale_net.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kad/node.h"
#include "tests/scale_memory.h"

#define NUMBER_BITS 28                 /* addresses there are: sixteen public /8 */
#define FIRST_OCTET 20
#define PORT 4000
#define SCRAMBLE UINT32_C(0x09e3779b)  /* odd: i -> i * SCRAMBLE goes through all addresses, far apart each time */
#define SLAB_BYTES (1u << 20)
#define AHEAD_MS 16                    /* how far the next event is looked for, to fetch its node */

/* ---- addresses ----------------------------------------------------------------------------------------- */

/* The inverse of SCRAMBLE modulo 2^32 (Newton: each step doubles the bits that are right). */
static uint32_t unscramble(uint32_t v)
{
    uint32_t inverse = SCRAMBLE;

    for (int i = 0; i < 5; i++)
        inverse *= 2 - SCRAMBLE * inverse;
    return (v * inverse) & ((1u << NUMBER_BITS) - 1);
}

uint32_t scale_net_number(const struct scale_net *net, uint32_t slot)
{
    return net->nodes[slot].generation * net->config.slots + slot;
}

struct addr scale_net_number_addr(uint32_t number)
{
    uint32_t v = (number * SCRAMBLE) & ((1u << NUMBER_BITS) - 1);
    struct addr a = {.family = 4, .port = PORT};

    put_be32(a.ip, (FIRST_OCTET << 24) + v);
    return a;
}

struct addr scale_net_addr(const struct scale_net *net, uint32_t slot)
{
    return scale_net_number_addr(scale_net_number(net, slot));
}

static uint32_t addr_number(const struct addr *a)
{
    uint32_t v = be32(a->ip) - (FIRST_OCTET << 24);

    return a->family == 4 && v < 1u << NUMBER_BITS ? unscramble(v) : SCALE_NONE;
}

static uint32_t number_slot(const struct scale_net *net, uint32_t number)
{
    uint32_t slot = number % net->config.slots;

    return net->nodes[slot].kad && scale_net_number(net, slot) == number ? slot : SCALE_NONE;
}

uint32_t scale_net_home(const struct scale_net *net, const struct addr *addr)
{
    return addr_number(addr) % net->config.slots;
}

uint32_t scale_net_slot(const struct scale_net *net, const struct addr *addr)
{
    uint32_t number = addr_number(addr);

    return number == SCALE_NONE ? SCALE_NONE : number_slot(net, number);
}

/* ---- latency ------------------------------------------------------------------------------------------- */

/* One way. Two points drawn on a torus of side 1 are a median of sqrt(1 / 2 pi) = 0.399 apart; distance makes up
 * 85 % of the median, the two access lines the rest. */
uint32_t scale_net_latency_ms(const struct scale_net *net, uint32_t from, uint32_t to)
{
    uint64_t a = scale_mix(from + net->config.seed * UINT64_C(0x9e3779b97f4a7c15)),
             b = scale_mix(to + net->config.seed * UINT64_C(0x9e3779b97f4a7c15));
    int16_t dx = (int16_t)((a & 0xffff) - (b & 0xffff)), dy = (int16_t)((a >> 16 & 0xffff) - (b >> 16 & 0xffff));
    double far = sqrt((double)dx * dx + (double)dy * dy) / 65536 / 0.3989;
    double access = (double)((a >> 32 & 0xffff) + (b >> 32 & 0xffff)) / 65536;

    return (uint32_t)(net->config.rtt_ms / 2.0 * (0.85 * far + 0.15 * access) + 0.5) + 1;
}

/* ---- datagrams ----------------------------------------------------------------------------------------- */

struct scale_datagram {
    struct wheel_event event; /* its arrival; `next` chains the free ones */
    uint32_t from, to;        /* numbers of addresses */
    uint16_t size;
    uint8_t kind;             /* of its size */
    uint8_t data[];
};

static const uint16_t kind_bytes[4] = {160, 384, 704, 1280};

static struct scale_datagram *datagram_new(struct scale_net *net, size_t size)
{
    uint8_t kind = 0;

    while (kind_bytes[kind] < size)
        kind++;
    if (!net->free[kind]) {
        size_t one = (sizeof(struct scale_datagram) + kind_bytes[kind] + 7) & ~(size_t)7;
        uint8_t *slab = scale_alloc(1, SLAB_BYTES);
        net->slabs = scale_realloc(net->slabs, (net->n_slabs + 1) * sizeof *net->slabs);
        net->slabs[net->n_slabs++] = slab;
        for (size_t at = 0; at + one <= SLAB_BYTES; at += one) {
            struct scale_datagram *d = (struct scale_datagram *)(void *)(slab + at);
            d->kind = kind;
            d->event.prev = (struct wheel_event *)(void *)net->free[kind];
            net->free[kind] = d;
        }
    }
    struct scale_datagram *d = net->free[kind];
    net->free[kind] = (struct scale_datagram *)(void *)d->event.prev;
    return d;
}

static void datagram_free(struct scale_net *net, struct scale_datagram *d)
{
    d->event.prev = (struct wheel_event *)(void *)net->free[d->kind];
    net->free[d->kind] = d;
}

static void post(struct scale_net *net, uint32_t from, uint32_t to, const struct kad_datagram *out, uint64_t at_ms)
{
    struct scale_datagram *d = datagram_new(net, out->size);

    d->event = (struct wheel_event){.kind = SCALE_EVENT_DATAGRAM};
    d->from = from;
    d->to = to;
    d->size = (uint16_t)out->size;
    memcpy(d->data, out->data, out->size);
    wheel_add(&net->wheel, &d->event, at_ms);
}

void scale_net_cut(struct scale_net *net, bool cut)
{
    net->cut = cut;
    if (cut)
        net->cut_salt = scale_u64(&net->fate_cut);
}

static unsigned half_of(const struct scale_net *net, uint32_t number)
{
    return (unsigned)(scale_mix(number ^ net->cut_salt) & 1);
}

/* A bare reply, as if `to` had done what it was asked. */
static void pretend(struct scale_net *net, uint32_t from, uint32_t to, const struct kad_datagram *out)
{
    uint32_t slot = number_slot(net, to);
    uint8_t buf[KAD_DATAGRAM_MAX];
    struct bytes_out reply = bytes_out(buf, sizeof buf);
    struct krpc_msg q, r = {.kind = KRPC_REPLY};

    if (slot == SCALE_NONE || krpc_decode(out->data, out->size, &q))
        return;
    r.t = q.t;
    r.network = q.network;
    r.id = net->ids.id[slot];
    krpc_encode(&reply, &r);
    struct kad_datagram back = {.data = buf, .size = reply.size};
    post(net, to, from, &back, net->wheel.now_ms + 2 * scale_net_latency_ms(net, from, to));
}

static void send_out(struct scale_net *net, uint32_t slot, const struct kad_datagram *out)
{
    uint32_t from = scale_net_number(net, slot), to = addr_number(&out->to);
    struct scale_counts *c = &net->counts;

    c->sent++;
    c->bytes += out->size;
    if (to == SCALE_NONE) {
        c->unreachable++;
        return;
    }
    if (net->swallow && net->swallow(out->data, out->size)) {
        c->swallowed++;
        pretend(net, from, to, out);
        return;
    }
    if (net->cut && half_of(net, from) != half_of(net, to)) {
        c->cut++;
        return;
    }
    if (scale_chance(&net->fate_loss, net->config.loss)) {
        c->lost++;
        return;
    }
    uint64_t at_ms = net->wheel.now_ms + scale_net_latency_ms(net, from, to);
    if (scale_chance(&net->fate_duplicate, net->config.duplicate)) {
        c->duplicated++;
        post(net, from, to, out, at_ms + scale_below(&net->fate_duplicate, net->config.rtt_ms));
    }
    if (scale_chance(&net->fate_reorder, net->config.reorder)) {
        c->reordered++;
        at_ms += scale_below(&net->fate_reorder, net->config.rtt_ms);
    }
    post(net, from, to, out, at_ms);
}

static void roll(struct scale_net *net, const struct scale_datagram *d)
{
    uint64_t h = scale_mix(net->hash ^ net->wheel.now_ms) ^ ((uint64_t)d->from << 32 | d->to), word;
    size_t i = 0;

    for (; i + sizeof word <= d->size; i += sizeof word) {
        memcpy(&word, d->data + i, sizeof word);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    word = d->size;
    memcpy(&word, d->data + i, d->size - i);
    net->hash = scale_mix(h ^ word);
}

/* ---- turns --------------------------------------------------------------------------------------------- */

struct now scale_net_now(const struct scale_net *net)
{
    return (struct now){net->wheel.now_ms, net->wheel.now_ms - SCALE_START_MS + SCALE_WALL_MS};
}

static void arm(struct scale_net *net, struct scale_node *node, uint64_t least_ms)
{
    uint64_t at_ms = kad_deadline_ms(node->kad);

    at_ms = at_ms > least_ms ? at_ms : least_ms;
    /* Whoever is woken too early looks again then; it costs less than moving the event each time. */
    if (wheel_has(&node->timer) && node->timer.at_ms <= at_ms)
        return;
    wheel_remove(&net->wheel, &node->timer);
    if (at_ms != NOW_NEVER)
        wheel_add(&net->wheel, &node->timer, at_ms);
}

static void drain(struct scale_net *net, uint32_t slot)
{
    struct kad *kad = net->nodes[slot].kad;
    struct kad_datagram out;
    struct kad_event event;
    struct kad_dirty dirty;

    net->counts.turns++;
    while (kad_next_out(kad, &out))
        send_out(net, slot, &out);
    while (kad_next_event(kad, &event)) {
        if (event.kind == KAD_EVENT_ADDRESS)
            scale_net_list(net, slot);
        if (net->on_event)
            net->on_event(net->work, slot, &event);
    }
    while (kad_next_dirty(kad, &dirty))
        if (net->on_dirty)
            net->on_dirty(net->life, slot, &dirty);
}

void scale_net_turn(struct scale_net *net, uint32_t slot)
{
    drain(net, slot);
    arm(net, &net->nodes[slot], net->wheel.now_ms);
}

static void tick(struct scale_net *net, uint32_t slot)
{
    struct scale_node *node = &net->nodes[slot];

    if (kad_deadline_ms(node->kad) <= net->wheel.now_ms) {
        net->counts.ticks++;
        kad_tick(node->kad, scale_net_now(net));
        drain(net, slot);
    }
    arm(net, node, net->wheel.now_ms + 1);
}

static void deliver(struct scale_net *net, struct scale_datagram *d)
{
    uint32_t slot = number_slot(net, d->to);

    if (slot == SCALE_NONE) {
        net->counts.unreachable++;
    } else {
        struct addr from = scale_net_number_addr(d->from);
        net->counts.delivered++;
        roll(net, d);
        kad_recv(net->nodes[slot].kad, scale_net_now(net), &from, d->data, d->size);
    }
    datagram_free(net, d);
    if (slot != SCALE_NONE)
        scale_net_turn(net, slot);
}

/* What the next event will touch is fetched while this one is dealt with: with many nodes nearly all of a node is in
 * no cache when its turn comes, and waiting for it would be most of the time. */
static void fetch_ahead(const struct scale_net *net)
{
    const struct wheel_event *e = wheel_peek(&net->wheel, AHEAD_MS);
    uint32_t slot;

    if (!e || (e->kind != SCALE_EVENT_DATAGRAM && e->kind != SCALE_EVENT_TIMER))
        return;
    slot = e->kind == SCALE_EVENT_TIMER ? e->arg : ((const struct scale_datagram *)(const void *)e)->to % net->config.slots;
    const struct kad *kad = net->nodes[slot].kad;
    if (!kad)
        return;
    for (size_t at = 0; at < sizeof *kad + sizeof *kad->net; at += 64)
        __builtin_prefetch((const uint8_t *)kad + at);
    for (size_t at = 0; at < kad->net[0].table.n * sizeof(struct table_contact); at += 64)
        __builtin_prefetch((const uint8_t *)kad->net[0].table.contacts + at);
}

void scale_net_run(struct scale_net *net, uint64_t until_ms)
{
    struct wheel_event *e;

    while ((e = wheel_next(&net->wheel, until_ms)) != NULL) {
        fetch_ahead(net);
        switch (e->kind) {
        case SCALE_EVENT_DATAGRAM:
            deliver(net, (struct scale_datagram *)(void *)e);
            break;
        case SCALE_EVENT_TIMER:
            tick(net, e->arg);
            break;
        case SCALE_EVENT_LIFE:
            net->on_life(net->life, e->arg);
            break;
        default:
            net->on_work(net->work, e);
            break;
        }
    }
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

void scale_net_list(struct scale_net *net, uint32_t slot)
{
    struct scale_node *node = &net->nodes[slot];

    if (node->listed)
        scale_ids_remove(&net->ids, slot);
    scale_ids_add(&net->ids, slot, kad_node_id(node->kad));
    node->listed = true;
}

void scale_net_start(struct scale_net *net, uint32_t slot, bool again)
{
    struct scale_node *node = &net->nodes[slot];
    struct kad_config config = {.network = "camellia", .k = net->config.k, .alpha = net->config.alpha, .use_v4 = true};
    struct rng rng = {scale_rand_fill, &node->rand};

    assert(!node->kad);
    if (!again)
        node->generation++;
    uint64_t number = (uint64_t)node->generation * net->config.slots + slot;
    if (number >= 1u << NUMBER_BITS) {
        fputs("scale: every address has been used\n", stderr);
        exit(2);
    }
    node->rand = scale_rand(net->config.seed, "node");
    node->rand.state = scale_mix(node->rand.state ^ (number << 1)) ^ net->wheel.now_ms;
    node->kad = scale_have(kad_new(&config, &rng, scale_net_now(net)));
    net->up++;
}

void scale_net_stop(struct scale_net *net, uint32_t slot)
{
    struct scale_node *node = &net->nodes[slot];

    wheel_remove(&net->wheel, &node->timer);
    if (node->listed)
        scale_ids_remove(&net->ids, slot);
    node->listed = false;
    kad_free(node->kad);
    node->kad = NULL;
    net->up--;
}

struct scale_net *scale_net_new(const struct scale_config *config)
{
    struct scale_net *net = scale_alloc(1, sizeof *net);

    net->config = *config;
    if (!net->config.rtt_ms)
        net->config.rtt_ms = SCALE_RTT_MS;
    wheel_init(&net->wheel, SCALE_START_MS);
    net->nodes = scale_alloc(config->slots, sizeof *net->nodes);
    scale_ids_init(&net->ids, config->slots);
    net->fate_loss = scale_rand(config->seed, "loss");
    net->fate_duplicate = scale_rand(config->seed, "duplicate");
    net->fate_reorder = scale_rand(config->seed, "reorder");
    net->fate_cut = scale_rand(config->seed, "cut");
    for (uint32_t i = 0; i < config->slots; i++) {
        net->nodes[i].timer = (struct wheel_event){.kind = SCALE_EVENT_TIMER, .arg = i};
        net->nodes[i].life = (struct wheel_event){.kind = SCALE_EVENT_LIFE, .arg = i};
    }
    return net;
}

void scale_net_free(struct scale_net *net)
{
    for (uint32_t i = 0; i < net->config.slots; i++)
        if (net->nodes[i].kad)
            scale_net_stop(net, i);
    for (size_t i = 0; i < net->n_slabs; i++)
        free(net->slabs[i]);
    free(net->slabs);
    free(net->nodes);
    scale_ids_clear(&net->ids);
    free(net);
}
