#include "tests/scale_life.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scale_memory.h"

/* ---- what a node has saved ----------------------------------------------------------------------------- */

struct record { struct span key, value; }; /* both in one block, the key first */

struct scale_disk {
    bool used;             /* this node will come back */
    struct record *records;
    uint32_t n, cap;
};

static void disk_write(struct scale_disk *d, const struct kad_dirty *dirty)
{
    uint32_t i = 0;

    while (i < d->n && !span_equal(d->records[i].key, dirty->key))
        i++;
    if (i < d->n) {
        free((void *)(uintptr_t)d->records[i].key.data);
        d->records[i] = d->records[--d->n];
    }
    if (dirty->value.size == 0)
        return;
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 8;
        d->records = scale_realloc(d->records, d->cap * sizeof *d->records);
    }
    uint8_t *block = scale_alloc(1, dirty->key.size + dirty->value.size);
    memcpy(block, dirty->key.data, dirty->key.size);
    memcpy(block + dirty->key.size, dirty->value.data, dirty->value.size);
    d->records[d->n++] = (struct record){span(block, dirty->key.size), span(block + dirty->key.size, dirty->value.size)};
}

static void disk_clear(struct scale_disk *d)
{
    for (uint32_t i = 0; i < d->n; i++)
        free((void *)(uintptr_t)d->records[i].key.data);
    free(d->records);
    *d = (struct scale_disk){0};
}

static void on_dirty(struct scale_life *life, uint32_t slot, const struct kad_dirty *dirty)
{
    if (life->disks[slot].used)
        disk_write(&life->disks[slot], dirty);
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

double scale_session_s(struct scale_rand *r, double mean_s)
{
    double u = -log(scale_unit(r)); /* exponential */

    return mean_s / 2 * u * u;
}

double scale_residual_s(struct scale_rand *r, double mean_s)
{
    double u = -log(scale_unit(r)) - log(scale_unit(r)); /* (1 + u) exp(-u) is the tail of a sum of two */

    return mean_s / 2 * u * u;
}

double scale_unrepaired_loss(double mean_s, double t_s, unsigned holders)
{
    double u = sqrt(t_s / (mean_s / 2));

    return pow(1 - (1 + u) * exp(-u), holders);
}

/* ---- coming and going ---------------------------------------------------------------------------------- */

static void plan(struct scale_life *life, uint32_t slot, double in_s)
{
    struct scale_node *node = &life->net->nodes[slot];

    wheel_remove(&life->net->wheel, &node->life);
    wheel_add(&life->net->wheel, &node->life, life->net->wheel.now_ms + (uint64_t)(in_s * 1000) + 1);
}

static uint32_t random_up(struct scale_life *life, uint32_t but)
{
    uint32_t slot;

    if (life->net->up <= (life->net->nodes[but].kad != NULL))
        return SCALE_NONE;
    do
        slot = scale_below(&life->entry, life->net->config.slots);
    while (slot == but || !life->net->nodes[slot].kad);
    return slot;
}

/* Somebody gave it a few addresses; some of them may be dead before they are asked. */
static void ask_in(struct scale_life *life, uint32_t slot)
{
    struct scale_net *net = life->net;

    for (unsigned i = 0; i < life->config.entries; i++) {
        uint32_t entry = random_up(life, slot);
        if (entry == SCALE_NONE)
            return;
        struct addr addr = scale_net_addr(net, entry);
        kad_join(net->nodes[slot].kad, scale_net_now(net), &addr);
    }
}

void scale_life_join(struct scale_life *life, uint32_t slot)
{
    struct scale_net *net = life->net;

    disk_clear(&life->disks[slot]);
    life->disks[slot].used = scale_chance(&life->crashes, life->config.returns);
    scale_net_start(net, slot, false);
    ask_in(life, slot);
    scale_net_turn(net, slot);
    life->joined++;
}

static void come_back(struct scale_life *life, uint32_t slot)
{
    struct scale_net *net = life->net;
    struct scale_disk *d = &life->disks[slot];

    scale_net_start(net, slot, !scale_chance(&life->crashes, life->config.moves));
    bool knows = false;
    for (uint32_t i = 0; i < d->n; i++) {
        kad_load(net->nodes[slot].kad, scale_net_now(net), d->records[i].key, d->records[i].value);
        knows = knows || span_equal(d->records[i].key, span_str("table"));
    }
    scale_net_list(net, slot);
    if (!knows) /* it crashed before it had met anybody */
        ask_in(life, slot);
    scale_net_turn(net, slot);
    life->returned++;
}

/* The end of a session, or of an absence. */
static void on_life(struct scale_life *life, uint32_t slot)
{
    if (life->net->nodes[slot].kad) {
        scale_net_stop(life->net, slot);
        if (life->disks[slot].used) {
            life->crashed++;
            plan(life, slot, -log(scale_unit(&life->crashes)) * life->config.away_s);
            return;
        }
        life->left++;
        scale_life_join(life, slot);
    } else {
        come_back(life, slot);
    }
    plan(life, slot, scale_session_s(&life->sessions, life->config.mean_s));
}

void scale_life_join_all(struct scale_life *life)
{
    struct scale_net *net = life->net;
    uint64_t start_ms = net->wheel.now_ms;

    for (uint32_t i = 0; i < net->config.slots; i++) {
        scale_life_join(life, i);
        scale_net_run(net, start_ms + (uint64_t)(log(i + 2) * SCALE_GROWTH_S * 1000));
    }
}

void scale_life_begin(struct scale_life *life)
{
    for (uint32_t i = 0; i < life->net->config.slots && life->config.mean_s > 0; i++)
        plan(life, i, scale_residual_s(&life->sessions, life->config.mean_s));
}

void scale_life_end(struct scale_life *life)
{
    for (uint32_t i = 0; i < life->net->config.slots; i++)
        wheel_remove(&life->net->wheel, &life->net->nodes[i].life);
}

struct scale_life *scale_life_new(struct scale_net *net, const struct scale_life_config *config)
{
    struct scale_life *life = scale_alloc(1, sizeof *life);

    life->net = net;
    life->config = *config;
    if (!life->config.entries)
        life->config.entries = SCALE_ENTRIES;
    life->sessions = scale_rand(net->config.seed, "sessions");
    life->crashes = scale_rand(net->config.seed, "crashes");
    life->entry = scale_rand(net->config.seed, "entry");
    life->disks = scale_alloc(net->config.slots, sizeof *life->disks);
    net->life = life;
    net->on_dirty = on_dirty;
    net->on_life = on_life;
    return life;
}

void scale_life_free(struct scale_life *life)
{
    for (uint32_t i = 0; i < life->net->config.slots; i++)
        disk_clear(&life->disks[i]);
    life->net->on_dirty = NULL;
    life->net->on_life = NULL;
    free(life->disks);
    free(life);
}
