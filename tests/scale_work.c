#include "tests/scale_work.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/bencode.h"
#include "core/hash.h"
#include "kad/node.h"
#include "tests/scale_memory.h"

#define LIFE_S (30 * 86400)
#define WAIT_MS 60000
#define VALUE_MAX 96
#define SALT_MAX 16
#define NEAR_MAX 128   /* nodes beside a key that are looked at for holders */
#define MAP_SLOTS 4096 /* of the hops of one find: a few hundred nodes are named */

struct hop { uint64_t id; uint32_t hops; };

struct op {
    bool running;
    uint32_t key, slot, generation;
    uint64_t started_ms;
    struct hop *map;       /* a find: how many hops away each node is that was named */
    uint32_t truth[64];    /* a find: the k closest */
    uint32_t n_truth;
    bool reached;
};

struct scale_work {
    struct scale_net *net;
    uint32_t mutable_every;
    int64_t exp_s;
    struct identity *me;
    struct scale_rand pick_node, pick_target;
    struct wheel_event next;   /* begins operations */

    /* the batch that runs */
    struct scale_batch batch;
    struct scale_tally *tally;
    struct op *ops;            /* by place; an op's tag is place + 1 */
    uint32_t cap, *free, n_free;
    uint32_t begun;
    double due_ms;
};

/* ---- keys ---------------------------------------------------------------------------------------------- */

struct key { /* an item and what it points to */
    struct kad_item item;
    uint8_t v[VALUE_MAX];
    char salt[SALT_MAX];
};

static void key_make(const struct scale_work *w, uint32_t i, bool mortal, bool sign, struct key *ret)
{
    struct bytes_out out = bytes_out(ret->v, sizeof ret->v);

    ben_put_dict(&out);
    ben_put_key(&out, "exp");
    ben_put_int(&out, w->exp_s);
    ben_put_key(&out, "key");
    ben_put_int(&out, i);
    if (mortal) {
        ben_put_key(&out, "mortal");
        ben_put_int(&out, 1);
    }
    ben_put_end(&out);
    assert(!out.err);
    ret->item = (struct kad_item){.is_mutable = w->mutable_every && i % w->mutable_every == 0,
                                  .v = span(ret->v, out.size)};
    if (!ret->item.is_mutable)
        return;
    snprintf(ret->salt, sizeof ret->salt, "%c%u", mortal ? 'm' : 'k', i);
    ret->item.salt = span_str(ret->salt);
    ret->item.seq = 1;
    memcpy(ret->item.pk, w->me->pk, KEY_SIZE);
    if (sign)
        kad_item_sign(&ret->item, w->me);
}

void scale_work_target(const struct scale_work *w, uint32_t i, bool mortal, uint8_t ret[KAD_ID_SIZE])
{
    struct key key;

    key_make(w, i, mortal, false, &key);
    kad_item_target(&key.item, ret);
}

/* Of the slots near[0 .. n) those that hold it. */
static uint32_t pick_holders(const struct scale_work *w, const uint8_t target[KAD_ID_SIZE], const uint32_t *near,
                             size_t n, uint32_t ret_slots[SCALE_HOLDERS_MAX])
{
    uint32_t holders = 0;
    struct kad_item held;

    for (size_t i = 0; i < n && holders < SCALE_HOLDERS_MAX; i++) {
        struct kad *kad = w->net->nodes[near[i]].kad;
        if (kad && kad_store_get(kad->store, scale_net_now(w->net), target, &held) == 0)
            ret_slots[holders++] = near[i];
    }
    return holders;
}

uint32_t scale_work_holders(const struct scale_work *w, uint32_t i, bool mortal, uint32_t ret_slots[SCALE_HOLDERS_MAX])
{
    uint8_t target[KAD_ID_SIZE];
    uint32_t near[NEAR_MAX];

    /* A put goes to the 16 closest, and not many can have come between since. */
    scale_work_target(w, i, mortal, target);
    size_t n = scale_ids_closest(&w->net->ids, target, near, NEAR_MAX);
    uint32_t holders = pick_holders(w, target, near, n, ret_slots);
    for (uint32_t slot = 0; slot < w->net->config.slots && holders == 0; slot++) /* before it is called lost */
        holders = pick_holders(w, target, &slot, 1, ret_slots);
    return holders;
}

struct scale_net *scale_work_net(const struct scale_work *w)
{
    return w->net;
}

/* ---- hops ---------------------------------------------------------------------------------------------- */

static struct hop *hop_of(struct op *op, const uint8_t id[KAD_ID_SIZE])
{
    uint64_t word = be64(id) | 1;
    uint32_t at = (uint32_t)scale_mix(word) & (MAP_SLOTS - 1);

    while (op->map[at].id && op->map[at].id != word)
        at = (at + 1) & (MAP_SLOTS - 1);
    op->map[at].id = word;
    return &op->map[at];
}

/* A node that we knew is one hop away; one that a node h hops away named is h + 1. */
static void note_hop(struct scale_work *w, struct op *op, const struct kad_event *e)
{
    struct hop *from = hop_of(op, e->contacts[0].id);

    if (!from->hops)
        from->hops = 1;
    uint32_t hops = from->hops;
    w->tally->answers++;
    for (size_t i = 1; i < e->n_contacts; i++) {
        struct hop *to = hop_of(op, e->contacts[i].id);
        if (!to->hops)
            to->hops = hops + 1;
    }
    if (op->reached)
        return;
    for (uint32_t i = 0; i < op->n_truth && !op->reached; i++)
        op->reached = id_equal(w->net->ids.id[op->truth[i]], e->contacts[0].id);
    if (!op->reached)
        return;
    w->tally->hops[hops < SCALE_HOPS_MAX ? hops : SCALE_HOPS_MAX - 1]++;
    w->tally->hops_sum += hops;
    w->tally->hops_n++;
}

/* ---- one operation ------------------------------------------------------------------------------------- */

static uint8_t network_k(const struct scale_work *w)
{
    return w->net->config.k ? w->net->config.k : KAD_K;
}

static void op_free(struct scale_work *w, struct op *op)
{
    op->running = false;
    w->free[w->n_free++] = (uint32_t)(op - w->ops);
}

static struct op *op_new(struct scale_work *w)
{
    if (w->n_free == 0) {
        uint32_t cap = w->cap ? 2 * w->cap : 64;
        w->ops = scale_realloc(w->ops, cap * sizeof *w->ops);
        w->free = scale_realloc(w->free, cap * sizeof *w->free);
        memset(w->ops + w->cap, 0, (cap - w->cap) * sizeof *w->ops);
        for (uint32_t i = cap; i-- > w->cap;)
            w->free[w->n_free++] = i;
        w->cap = cap;
    }
    return &w->ops[w->free[--w->n_free]];
}

static uint32_t random_node(struct scale_work *w)
{
    uint32_t slot;

    do
        slot = scale_below(&w->pick_node, w->net->config.slots);
    while (!w->net->nodes[slot].kad);
    return slot;
}

static void begin(struct scale_work *w)
{
    struct op *op = op_new(w);
    uint64_t tag = (uint64_t)(op - w->ops) + 1;
    struct hop *map = op->map;
    uint8_t target[KAD_ID_SIZE];
    struct key key;
    int err;

    *op = (struct op){.running = true, .map = map, .key = w->batch.first_key + w->begun, .slot = random_node(w),
                      .started_ms = w->net->wheel.now_ms};
    w->begun++;
    w->tally->asked++;
    op->generation = w->net->nodes[op->slot].generation;
    struct kad *kad = w->net->nodes[op->slot].kad;
    struct now now = scale_net_now(w->net);
    if (w->batch.kind == SCALE_FIND) {
        scale_rand_fill(&w->pick_target, target, sizeof target);
        if (!op->map)
            op->map = scale_alloc(MAP_SLOTS, sizeof *op->map);
        memset(op->map, 0, MAP_SLOTS * sizeof *op->map);
        op->n_truth = (uint32_t)scale_ids_closest(&w->net->ids, target, op->truth, network_k(w) + 1u);
        for (uint32_t i = 0; i < op->n_truth; i++) /* nobody finds itself */
            if (op->truth[i] == op->slot) {
                memmove(&op->truth[i], &op->truth[i + 1], (op->n_truth - i - 1) * sizeof *op->truth);
                op->n_truth--;
            }
        op->n_truth = op->n_truth < network_k(w) ? op->n_truth : network_k(w);
        err = kad_find(kad, now, target, true, tag);
    } else {
        key_make(w, op->key, w->batch.mortal, w->batch.kind == SCALE_PUT, &key);
        kad_item_target(&key.item, target);
        if (w->batch.kind == SCALE_PUT)
            err = kad_put(kad, now, &key.item, NULL, tag);
        else
            err = kad_get(kad, now, target, key.item.is_mutable ? key.item.pk : NULL, key.item.salt, tag);
    }
    uint32_t slot = op->slot;
    if (err) {
        w->tally->ended++;
        op_free(w, op);
    }
    scale_net_turn(w->net, slot);
}

static bool is_right(struct scale_work *w, const struct op *op, const struct kad_item *item)
{
    struct key key;

    key_make(w, op->key, w->batch.mortal, false, &key);
    return span_equal(item->v, key.item.v);
}

static void judge_find(struct scale_work *w, const struct op *op, const struct kad_event *e)
{
    uint32_t named = 0;

    for (uint32_t i = 0; i < op->n_truth; i++)
        for (size_t j = 0; j < e->n_contacts; j++)
            named += id_equal(w->net->ids.id[op->truth[i]], e->contacts[j].id);
    w->tally->named += named;
    w->tally->closest += op->n_truth;
    w->tally->good += named == op->n_truth && op->n_truth > 0;
}

static void on_event(struct scale_work *w, uint32_t slot, const struct kad_event *e)
{
    if (!w->tally || e->tag == 0 || e->tag > w->cap)
        return;
    struct op *op = &w->ops[e->tag - 1];
    if (!op->running || op->slot != slot || op->generation != w->net->nodes[slot].generation)
        return;
    if (e->kind == KAD_EVENT_HOP)
        note_hop(w, op, e);
    if (!e->last)
        return;
    struct scale_tally *t = w->tally;
    t->latency_ms[t->ended++] = (uint32_t)(w->net->wheel.now_ms - op->started_ms);
    if (e->kind == KAD_EVENT_FIND)
        judge_find(w, op, e);
    if (e->kind == KAD_EVENT_PUT)
        t->good += e->status == 0;
    if (e->kind == KAD_EVENT_GET && e->status == 0) {
        bool right = is_right(w, op, e->item);
        t->good += right;
        t->wrong += !right;
    }
    t->holders += e->holders;
    op_free(w, op);
}

/* ---- a batch ------------------------------------------------------------------------------------------- */

static void on_work(struct scale_work *w, struct wheel_event *event)
{
    while (w->begun < w->batch.n && w->due_ms <= (double)w->net->wheel.now_ms) {
        begin(w);
        w->due_ms += 1000 / w->batch.per_s;
    }
    if (w->begun < w->batch.n)
        wheel_add(&w->net->wheel, event, (uint64_t)ceil(w->due_ms));
}

void scale_work_run(struct scale_work *w, const struct scale_batch *batch, struct scale_tally *ret)
{
    struct scale_net *net = w->net;
    uint64_t sent = net->counts.sent;
    uint64_t end_ms = net->wheel.now_ms + (uint64_t)(batch->n * 1000.0 / batch->per_s) + WAIT_MS;

    *ret = (struct scale_tally){.latency_ms = scale_alloc(batch->n, sizeof *ret->latency_ms)};
    if (batch->n == 0)
        return;
    w->batch = *batch;
    w->tally = ret;
    w->begun = 0;
    w->due_ms = (double)net->wheel.now_ms;
    wheel_add(&net->wheel, &w->next, net->wheel.now_ms);
    while ((w->begun < batch->n || w->n_free < w->cap) && net->wheel.now_ms < end_ms)
        scale_net_run(net, net->wheel.now_ms + 100);
    for (uint32_t i = 0; i < w->cap; i++) {
        if (!w->ops[i].running)
            continue;
        if (w->ops[i].generation != net->nodes[w->ops[i].slot].generation || !net->nodes[w->ops[i].slot].kad)
            ret->gone++;
        op_free(w, &w->ops[i]);
    }
    ret->datagrams = net->counts.sent - sent;
    w->tally = NULL;
}

double scale_tally_share(const struct scale_tally *t)
{
    return t->asked > t->gone ? (double)t->good / (double)(t->asked - t->gone) : 1;
}

static int compare_ms(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

uint32_t scale_tally_latency_ms(struct scale_tally *t, double share)
{
    if (t->ended == 0)
        return 0;
    qsort(t->latency_ms, t->ended, sizeof *t->latency_ms, compare_ms);
    return t->latency_ms[(size_t)(share * (double)(t->ended - 1) + 0.5)];
}

double scale_tally_hops(const struct scale_tally *t)
{
    return t->hops_n ? (double)t->hops_sum / (double)t->hops_n : 0;
}

void scale_tally_clear(struct scale_tally *t)
{
    free(t->latency_ms);
    t->latency_ms = NULL;
}

struct scale_work *scale_work_new(struct scale_net *net, uint32_t mutable_every)
{
    struct scale_work *w = scale_alloc(1, sizeof *w);
    uint8_t seed[KEY_SIZE];
    struct scale_rand identity = scale_rand(net->config.seed, "identity");

    scale_rand_fill(&identity, seed, sizeof seed);
    w->net = net;
    w->mutable_every = mutable_every;
    w->me = scale_have(identity_from_seed(seed));
    w->exp_s = (int64_t)(SCALE_WALL_MS / 1000) + LIFE_S;
    w->pick_node = scale_rand(net->config.seed, "who works");
    w->pick_target = scale_rand(net->config.seed, "what is sought");
    w->next.kind = SCALE_EVENT_WORK;
    net->work = w;
    net->on_event = on_event;
    net->on_work = on_work;
    return w;
}

void scale_work_free(struct scale_work *w)
{
    for (uint32_t i = 0; i < w->cap; i++)
        free(w->ops[i].map);
    free(w->ops);
    free(w->free);
    identity_free(w->me);
    free(w);
}
