#include "tests/sets_work.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scale_memory.h"
#include "tests/scale_world.h"

#define WAIT_MS 600000  /* for what is under way at the end of a batch */
#define READ_MS 14400000
#define READ_TAG (UINT64_C(1) << 40)

struct sets_op {
    bool running;
    uint32_t key, slot;
    uint64_t started_ms, asked;
};

struct sets_run {
    const struct sets_batch *batch;
    struct sets_puts *puts;
    uint32_t begun, ended, *latency_ms, *datagrams;
    double due_ms;
};

/* The network calls back with what it takes for its work; here that is a set. */
static struct sets *sets_of(struct scale_work *work) { return (struct sets *)(void *)work; }

/* ---- puts ---------------------------------------------------------------------------------------------- */

static uint32_t op_new(struct sets *s)
{
    if (s->n_free == 0) {
        uint32_t cap = s->cap ? 2 * s->cap : 64;
        s->ops = scale_realloc(s->ops, cap * sizeof *s->ops);
        s->free = scale_realloc(s->free, cap * sizeof *s->free);
        memset(s->ops + s->cap, 0, (cap - s->cap) * sizeof *s->ops);
        for (uint32_t i = cap; i-- > s->cap;)
            s->free[s->n_free++] = i;
        s->cap = cap;
    }
    return s->free[--s->n_free];
}

static uint64_t queries_of(const struct sets *s, uint32_t slot)
{
    struct kad_stats stats;
    uint64_t sum = 0;

    kad_stats(s->net->nodes[slot].kad, &stats);
    for (unsigned i = 0; i < KAD_QUERY_KINDS; i++)
        sum += stats.out_kind[i];
    return sum;
}

static void put_ended(struct sets *s, uint32_t at, int status, uint32_t holders)
{
    struct sets_op *op = &s->ops[at];
    struct sets_run *run = s->run;
    bool del = run->batch->version.del;

    run->datagrams[run->ended] = 2 * (uint32_t)(queries_of(s, op->slot) - op->asked);
    run->latency_ms[run->ended++] = (uint32_t)(s->net->wheel.now_ms - op->started_ms);
    run->puts->stored += status == 0;
    run->puts->failed += status != 0;
    run->puts->holders += holders;
    if (status == 0)
        s->state[op->key] = del ? SETS_GONE : SETS_LIVE;
    op->running = false;
    s->free[s->n_free++] = at;
}

static void put_begin(struct sets *s)
{
    struct sets_run *run = s->run;
    const struct sets_batch *b = run->batch;
    uint32_t at = op_new(s), key = b->first + run->begun++;
    uint32_t slot = b->slots ? b->from_slot + (run->begun - 1) % b->slots : sets_random_slot(s);
    struct sets_entry e;

    sets_entry_make(s->keys, key, &b->version, &e);
    s->ops[at] = (struct sets_op){.running = true, .key = key, .slot = slot,
                                  .started_ms = s->net->wheel.now_ms, .asked = queries_of(s, slot)};
    s->state[key] = b->version.del ? SETS_LEAVING : SETS_PUTTING;
    s->exp_s[key] = b->version.exp_s;
    run->puts->asked++;
    int err = kad_set_put(s->net->nodes[slot].kad, scale_net_now(s->net), s->keys->root, &e.entry, at + 1);
    if (err)
        put_ended(s, at, err, 0);
    scale_net_turn(s->net, slot);
}

static void on_work(struct scale_work *work, struct wheel_event *event)
{
    struct sets *s = sets_of(work);
    struct sets_run *run = s->run;

    while (run->begun < run->batch->n && run->due_ms <= (double)s->net->wheel.now_ms) {
        put_begin(s);
        run->due_ms += 1000 / run->batch->per_s;
    }
    if (run->begun < run->batch->n)
        wheel_add(&s->net->wheel, event, (uint64_t)ceil(run->due_ms));
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

void sets_put(struct sets *s, const struct sets_batch *batch, struct sets_puts *ret)
{
    struct scale_net *net = s->net;
    uint64_t sent = net->counts.sent, from_ms = net->wheel.now_ms;
    uint64_t end_ms = from_ms + (uint64_t)(batch->n * 1000.0 / batch->per_s) + WAIT_MS;
    double cpu_s = scale_cpu_s();
    struct sets_run run = {.batch = batch, .puts = ret, .due_ms = (double)from_ms,
                           .latency_ms = scale_alloc(batch->n, sizeof *run.latency_ms),
                           .datagrams = scale_alloc(batch->n, sizeof *run.datagrams)};

    *ret = (struct sets_puts){0};
    s->run = &run;
    wheel_add(&net->wheel, &s->next, from_ms);
    while (run.ended < batch->n && net->wheel.now_ms < end_ms)
        scale_net_run(net, net->wheel.now_ms + 100);
    ret->failed += batch->n - run.ended;
    ret->datagrams = (double)(net->counts.sent - sent);
    ret->virtual_s = (double)(net->wheel.now_ms - from_ms) / 1000;
    ret->cpu_s = scale_cpu_s() - cpu_s;
    qsort(run.latency_ms, run.ended, sizeof *run.latency_ms, compare_u32);
    qsort(run.datagrams, run.ended, sizeof *run.datagrams, compare_u32);
    if (run.ended > 0) {
        ret->each = run.datagrams[run.ended / 2];
        ret->p50_ms = run.latency_ms[run.ended / 2];
        ret->p99_ms = run.latency_ms[(uint64_t)run.ended * 99 / 100];
        ret->most_ms = run.latency_ms[run.ended - 1];
    }
    free(run.latency_ms);
    free(run.datagrams);
    s->run = NULL;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void take_entry(struct sets *s, struct sets_reading *r, const struct kad_entry *entry)
{
    uint32_t i = sets_key_index(s->keys, entry->pk);

    if (i == SETS_NOBODY) {
        r->unknown++;
        return;
    }
    r->twice += r->seen[i] != 0;
    if (kad_entry_is_tombstone(entry)) {
        r->seen[i] = 2;
        r->dead++;
        return;
    }
    r->seen[i] = 1;
    r->found++;
    r->late += r->before[i] == SETS_GONE;
}

static void reading_ended(struct sets *s, struct sets_reading *r, int status)
{
    r->ended = true;
    r->status = status;
    r->virtual_s = (double)(s->net->wheel.now_ms - r->started_ms) / 1000;
}

static void on_event(struct scale_work *work, uint32_t slot, const struct kad_event *e)
{
    struct sets *s = sets_of(work);

    if (e->tag == READ_TAG && s->reading && s->reading->slot == slot && !s->reading->ended) {
        for (size_t i = 0; i < e->n_entries; i++)
            take_entry(s, s->reading, &e->entries[i]);
        if (e->last) {
            s->reading->count = e->count;
            s->reading->spread = e->spread;
            s->reading->shards = e->shards;
            reading_ended(s, s->reading, e->status);
        }
        return;
    }
    bool ours = s->run && e->kind == KAD_EVENT_SET_PUT && e->tag > 0 && e->tag <= s->cap;
    if (ours && s->ops[e->tag - 1].running)
        put_ended(s, (uint32_t)e->tag - 1, e->status, e->holders);
}

static void begin_reading(struct sets *s, uint32_t slot, struct sets_reading *ret)
{
    *ret = (struct sets_reading){.slot = slot, .started_ms = s->net->wheel.now_ms, .cpu_s = scale_cpu_s(),
                                 .datagrams = -(double)s->net->counts.sent};
    s->reading = ret;
}

static void wait_for(struct sets *s, struct sets_reading *r)
{
    uint64_t end_ms = r->started_ms + READ_MS;

    while (!r->ended && s->net->wheel.now_ms < end_ms)
        scale_net_run(s->net, s->net->wheel.now_ms + 100);
    r->datagrams += (double)s->net->counts.sent;
    r->cpu_s = scale_cpu_s() - r->cpu_s;
    s->reading = NULL;
}

void sets_read_begin(struct sets *s, uint32_t slot, struct sets_reading *ret)
{
    begin_reading(s, slot, ret);
    ret->seen = scale_alloc(s->keys->n, 1);
    ret->before = scale_alloc(s->keys->n, 1);
    memcpy(ret->before, s->state, s->keys->n);
    int err = kad_set_get(s->net->nodes[slot].kad, scale_net_now(s->net), s->keys->root, false, 0, READ_TAG);
    if (err)
        reading_ended(s, ret, err);
    scale_net_turn(s->net, slot);
}

void sets_read_end(struct sets *s, struct sets_reading *r)
{
    wait_for(s, r);
    int64_t now_s = sets_now_s(s);
    for (uint32_t i = 0; i < s->keys->n; i++)
        r->missing += r->before[i] == SETS_LIVE && s->state[i] == SETS_LIVE && s->exp_s[i] > now_s &&
                      r->seen[i] == 0;
    free(r->seen);
    free(r->before);
    r->seen = r->before = NULL;
}

void sets_read(struct sets *s, uint32_t slot, struct sets_reading *ret)
{
    sets_read_begin(s, slot, ret);
    sets_read_end(s, ret);
}

void sets_count(struct sets *s, uint32_t slot, bool exact, struct sets_reading *ret)
{
    begin_reading(s, slot, ret);
    int err = kad_set_count(s->net->nodes[slot].kad, scale_net_now(s->net), s->keys->root, exact, READ_TAG);
    if (err)
        reading_ended(s, ret, err);
    scale_net_turn(s->net, slot);
    wait_for(s, ret);
}

double sets_quiet_per_s(struct sets *s)
{
    uint64_t sent = s->net->counts.sent;

    sets_run_s(s, 60);
    return (double)(s->net->counts.sent - sent) / 60;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

int64_t sets_now_s(const struct sets *s)
{
    return now_unix_s(scale_net_now(s->net));
}

void sets_run_s(struct sets *s, double seconds)
{
    scale_net_run(s->net, s->net->wheel.now_ms + (uint64_t)(seconds * 1000));
}

uint32_t sets_random_slot(struct sets *s)
{
    uint32_t slot;

    do
        slot = scale_below(&s->pick, s->net->config.slots);
    while (!s->net->nodes[slot].kad);
    return slot;
}

struct sets *sets_new(const struct scale_config *net, uint32_t entries)
{
    struct sets *s = scale_alloc(1, sizeof *s);

    s->net = scale_net_new(net);
    s->life = scale_life_new(s->net, &(struct scale_life_config){0});
    s->keys = sets_keys_new(entries, net->seed);
    s->pick = scale_rand(net->seed, "who writes");
    s->state = scale_alloc(entries, 1);
    s->exp_s = scale_alloc(entries, sizeof *s->exp_s);
    s->next.kind = SCALE_EVENT_WORK;
    s->net->work = (struct scale_work *)(void *)s;
    s->net->on_event = on_event;
    s->net->on_work = on_work;
    scale_life_join_all(s->life);
    scale_net_run(s->net, s->net->wheel.now_ms + SCALE_SETTLE_MS);
    return s;
}

void sets_free(struct sets *s)
{
    scale_life_free(s->life);
    scale_net_free(s->net);
    sets_keys_free(s->keys);
    free(s->state);
    free(s->exp_s);
    free(s->ops);
    free(s->free);
    free(s);
}
