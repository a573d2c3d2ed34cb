/* The one file of the simulator that reaches into a `struct kad`: it gives each the contacts that it would have had
 * of joining, without a datagram, and leaves it as a node is some minutes after the network has come together.
 *
 * What filled tables stand for is that moment: everybody has joined, one after another, and has settled
 * (scale_life_join_all, then SCALE_SETTLE_MS), nobody has left, and no lookups but those of joining have been made.
 *
 * The steps are those of kad/join.c, upkeep.c, spread.c and serve.c, taken on the real tables at the virtual times when
 * they would be, so that whoever came early is known by more than who came late: the lookup of the own id, the second
 * and third look around, candidates and gaps, one a second. Whoever is asked hears of the asker too: at once where he
 * is wanted, else as a candidate. Contacts go in by table_heard, the way every contact does.
 */
#include "tests/scale_fill.h"

#include <stdlib.h>
#include <string.h>

#include "kad/node.h"
#include "tests/scale_life.h"
#include "tests/scale_memory.h"

#define LIVENESS_MS 900000     /* what kad/upkeep.c does in this time has happened at a random moment of it */
#define REFRESH_MS 3600000
#define REFRESH_LOOK_MS 540000
#define NEVER_S 1e9
#define CACHE_LINE 64
#define GAPS_AT_ONCE 64
#define GAP_ASKED 2            /* kad/spread.c */
#define GAP_STEP_S 1.5

#define ASK_S 0.1              /* between two queries of the first lookup, which asks one at a time */
#define ALPHA 4                /* in that time, of a later one */
#define FOUND_MAX 48           /* of whom a lookup remembers */
#define LOOKS 3                /* the first lookup of the own id, and two looks around */

/* Of the lookup before, until the next begins: kad/upkeep.c. */
static const double look_s[LOOKS] = {0, 3, 30};

struct found {
    uint64_t far;              /* the first 64 bits of its distance: enough to tell nodes apart */
    uint8_t ip[4], port[2];
    bool asked;
};

struct search { /* a lookup of the own id under way */
    uint32_t slot, n;
    struct found found[FOUND_MAX]; /* closest first */
};

struct gap_step { /* of one node */
    uint32_t slot, asked[GAP_ASKED], n_asked, named[GAP_ASKED * KAD_K], n_named;
    uint8_t target[ID_SIZE];
};

struct fill_node {
    double looked_s;           /* when its last lookup ended */
    double gap_s;              /* when it looks at its next gap; NEVER_S: not yet, or at no more */
    struct table_gap gap;      /* looked at next */
    uint8_t looks;             /* begun */
    bool has_candidate;
    float credit, credit_s;    /* of pings to those who ask: serve.c */
};

struct fill { /* a slot is also the place in the order of joining */
    struct scale_net *net;
    struct fill_node *nodes;   /* by slot */
    struct search *active;
    uint32_t n_active, cap_active;
    struct scale_rand r;
    struct rng rng;            /* of r */
};

/* How many have joined by then (scale_life_join_all). */
static uint32_t joined_by(const struct fill *f, double at_s)
{
    double n = at_s < 0 ? 0 : exp(at_s / SCALE_GROWTH_S);

    return n < f->net->config.slots ? (uint32_t)n : f->net->config.slots;
}

static struct table *table_of(const struct fill *f, uint32_t slot)
{
    return &f->net->nodes[slot].kad->net[0].table;
}

static uint32_t slot_of(const struct fill *f, const struct table_contact *c)
{
    struct addr addr = table_addr(table_of(f, 0), c); /* IPv4: it lies in the contact */

    return scale_net_home(f->net, &addr);
}

/* The other has answered something. */
static void hears(struct fill *f, uint32_t slot, uint32_t other)
{
    struct scale_net *net = f->net;
    struct addr addr = scale_net_addr(net, other);
    uint32_t rtt_ms = 2 * scale_net_latency_ms(net, scale_net_number(net, slot), scale_net_number(net, other));
    uint64_t at_ms = net->wheel.now_ms - scale_below(&f->r, LIVENESS_MS);

    table_heard(table_of(f, slot), at_ms, net->ids.id[other], &addr, rtt_ms);
    rpc_measured(&net->nodes[slot].kad->rpc, rtt_ms);
}

static bool take_credit(struct fill_node *n, double at_s)
{
    float now = (float)at_s, credit = n->credit + (now - n->credit_s) * NODE_GREET_PER_S;

    n->credit = credit < NODE_GREET_BURST ? credit : NODE_GREET_BURST;
    n->credit_s = now;
    if (n->credit < 1)
        return false;
    n->credit--;
    return true;
}

/* Whoever was asked something comes to know the asker, if it wants to (serve.c, greet). */
static void greet(struct fill *f, uint32_t asked, uint32_t asker, double at_s)
{
    struct table *t = table_of(f, asked);
    const uint8_t *id = f->net->ids.id[asker];
    struct addr addr = scale_net_addr(f->net, asker);

    if (table_find(t, id) || !table_has_room(t, id, &addr))
        return; /* one without room is a candidate too, but it is tried only if somebody fails */
    if (table_is_wanted(t, id) && take_credit(&f->nodes[asked], at_s)) {
        hears(f, asked, asker);
    } else {
        table_offer(t, id, &addr);
        f->nodes[asked].has_candidate = true;
    }
}

/* One asks the other something and is answered. */
static void meet(struct fill *f, uint32_t asker, uint32_t asked, double at_s)
{
    hears(f, asker, asked);
    greet(f, asked, asker, at_s);
}

/* ---- a lookup of the own id ---------------------------------------------------------------------------- */

static bool is_new(struct search *s, uint64_t far, const struct table_contact *c)
{
    unsigned at = s->n;

    while (at > 0 && far < s->found[at - 1].far)
        at--;
    if (at == FOUND_MAX || (at > 0 && s->found[at - 1].far == far))
        return false;
    s->n += s->n < FOUND_MAX;
    memmove(&s->found[at + 1], &s->found[at], (s->n - at - 1) * sizeof *s->found);
    s->found[at] = (struct found){.far = far};
    memcpy(s->found[at].ip, c->ip, 6); /* and the port */
    return true;
}

/* Those whom `asked` knows closest to the target; for whom there is room is a candidate (request_learn). */
static void learn(struct fill *f, struct search *s, uint32_t asked, const uint8_t target[ID_SIZE])
{
    const struct table_contact *near[KAD_K];
    struct table *t = table_of(f, s->slot);
    size_t n = table_closest(table_of(f, asked), target, near, KAD_K, 0);

    for (size_t i = 0; i < n; i++) {
        uint64_t far = be64(near[i]->id) ^ be64(t->self);
        struct addr addr = table_addr(t, near[i]);
        if (far != 0 && is_new(s, far, near[i]) && asked != s->slot && table_has_room(t, near[i]->id, &addr))
            table_offer(t, near[i]->id, &addr);
    }
}

static struct found *next_to_ask(struct search *s)
{
    for (unsigned i = 0; i < s->n && i < KAD_K; i++)
        if (!s->found[i].asked)
            return &s->found[i];
    return NULL;
}

static struct search *look_around(struct fill *f, uint32_t slot)
{
    if (f->n_active == f->cap_active) {
        f->cap_active = f->cap_active ? f->cap_active * 2 : 64;
        f->active = realloc(f->active, f->cap_active * sizeof *f->active);
        if (!f->active)
            abort();
    }
    struct search *s = &f->active[f->n_active++];
    s->slot = slot;
    s->n = 0;
    f->nodes[slot].looks++;
    learn(f, s, slot, f->net->ids.id[slot]);
    return s;
}

/* Asks whoever it was told to join through, under an id of its own choice, for nobody has told it its address yet:
 * under that one nobody wants to know it. The last to answer finds the first lookup begun, which makes use of it. */
static void begin(struct fill *f, uint32_t slot, double at_s)
{
    struct addr addr = scale_net_addr(f->net, slot);
    uint8_t first_id[ID_SIZE];
    uint32_t entry = 0;

    f->nodes[slot] = (struct fill_node){.gap_s = NEVER_S, .looked_s = NEVER_S, .credit = NODE_GREET_BURST,
                                        .credit_s = (float)at_s};
    id_for_addr(&f->rng, &addr, first_id);
    for (unsigned i = 0; i < SCALE_ENTRIES && slot > 0; i++) {
        entry = scale_below(&f->r, slot);
        hears(f, slot, entry);
    }
    struct search *s = look_around(f, slot);
    if (slot > 0)
        learn(f, s, entry, first_id);
}

/* False: it has ended. */
static bool ask_next(struct fill *f, struct search *s, double at_s)
{
    struct found *next = next_to_ask(s);

    if (!next)
        return false;
    struct addr addr = {.family = 4, .port = be16(next->port)};
    memcpy(addr.ip, next->ip, sizeof next->ip);
    uint32_t asked = scale_net_home(f->net, &addr);
    next->asked = true;
    meet(f, s->slot, asked, at_s);
    learn(f, s, asked, f->net->ids.id[s->slot]);
    return true;
}

static void ask_all(struct fill *f, double at_s)
{
    for (uint32_t i = 0; i < f->n_active;) {
        struct search *s = &f->active[i];
        struct fill_node *n = &f->nodes[s->slot];
        unsigned asks = n->looks > 1 ? ALPHA : 1;
        while (asks > 0 && ask_next(f, s, at_s))
            asks--;
        if (asks == 0) {
            i++;
            continue;
        }
        n->looked_s = at_s;
        if (n->looks == 1) {
            n->gap_s = at_s + GAP_STEP_S;
            n->has_candidate = true;
        }
        *s = f->active[--f->n_active];
    }
}

/* ---- afterwards ---------------------------------------------------------------------------------------- */

/* kad/upkeep.c, tick_candidate. */
static void try_candidate(struct fill *f, uint32_t slot, double at_s)
{
    uint8_t id[ID_SIZE];
    struct addr addr;

    if (!f->nodes[slot].has_candidate)
        return;
    f->nodes[slot].has_candidate = table_take_candidate(table_of(f, slot), id, &addr);
    if (f->nodes[slot].has_candidate)
        meet(f, slot, scale_net_home(f->net, &addr), at_s);
}

/* ---- gaps: kad/spread.c ---------------------------------------------------------------------------------- */

/* A table is seldom in the processor's cache when its turn comes: most of the time would go into waiting for memory.
 * So many nodes take each part of their step together, and what the next part will look at is fetched meanwhile. */
static void fetch_node(const struct fill *f, uint32_t slot)
{
    __builtin_prefetch(&f->net->nodes[slot]);
}

static void fetch_table(const struct fill *f, uint32_t slot)
{
    for (size_t at = 0; at < sizeof(struct table); at += CACHE_LINE)
        __builtin_prefetch((const char *)table_of(f, slot) + at);
}

static void fetch_bucket(const struct fill *f, uint32_t slot, const uint8_t id[ID_SIZE])
{
    const struct table *t = table_of(f, slot);
    unsigned b = table_bucket(t, id), start = 0;

    for (unsigned i = 0; i < b; i++)
        start += t->count[i];
    for (unsigned i = 0; i < t->count[b]; i += CACHE_LINE / sizeof *t->contacts)
        __builtin_prefetch(&t->contacts[start + i]);
}

/* Whom it asks about its next gap: the contacts closest to a random id in it. */
static void choose(struct fill *f, struct gap_step *s)
{
    struct fill_node *n = &f->nodes[s->slot];
    struct table *t = table_of(f, s->slot);
    const struct table_contact *near[GAP_ASKED];

    s->n_asked = s->n_named = 0;
    if (!table_next_gap(t, &n->gap)) {
        n->gap_s = NEVER_S;
        return;
    }
    table_random_in_gap(t, &f->rng, n->gap, s->target);
    n->gap.part++;
    n->gap_s += GAP_STEP_S;
    size_t n_near = table_closest(t, s->target, near, GAP_ASKED, 0);
    while (s->n_asked < n_near) {
        s->asked[s->n_asked] = slot_of(f, near[s->n_asked]);
        s->n_asked++;
    }
}

static bool is_among(const struct table_gap *gaps, unsigned n, struct table_gap gap)
{
    while (n > 0 && (gaps[n - 1].bucket != gap.bucket || gaps[n - 1].part != gap.part))
        n--;
    return n > 0;
}

/* All whom they name, the closest to the target first, each as often as it is named. */
static size_t named_by(const struct fill *f, const struct gap_step *s, const struct table_contact **ret)
{
    const struct table_contact *near[KAD_K];
    size_t n = 0;

    for (unsigned i = 0; i < s->n_asked; i++) {
        size_t n_near = table_closest(table_of(f, s->asked[i]), s->target, near, KAD_K, 0);
        for (size_t j = 0, at = 0; j < n_near; j++) {
            while (at < n && id_compare(s->target, ret[at]->id, near[j]->id) < 0)
                at++;
            memmove(&ret[at + 1], &ret[at], (n - at) * sizeof *ret);
            ret[at] = near[j];
            n++;
        }
    }
    return n;
}

/* Parts of a far bucket that a newcomer might enter by: those in which nobody is known, or all while there is room. */
static uint32_t open_parts(const struct table *t, unsigned bucket)
{
    unsigned start = 0;
    uint32_t known = 0;

    if (t->count[bucket] < t->k)
        return UINT32_MAX;
    for (unsigned b = 0; b < bucket; b++)
        start += t->count[b];
    for (unsigned i = start; i < start + t->count[bucket]; i++)
        known |= UINT32_C(1) << table_gap_of(t, t->contacts[i].id).part;
    return ~known;
}

/* The closest in each part where nobody is known. */
static void ask(struct fill *f, struct gap_step *s, double at_s)
{
    const struct table_contact *named[GAP_ASKED * KAD_K];
    const struct table *t = table_of(f, s->slot);
    struct table_gap filled[GAP_ASKED * KAD_K];

    for (unsigned i = 0; i < s->n_asked; i++)
        greet(f, s->asked[i], s->slot, at_s);
    size_t n = named_by(f, s, named);
    unsigned bucket = table_bucket(t, s->target);
    uint32_t open = open_parts(t, bucket); /* most are known: a quick look before the whole one */
    for (size_t i = 0; i < n; i++) {
        struct addr addr = table_addr(t, named[i]);
        struct table_gap gap = table_gap_of(t, named[i]->id);
        if ((gap.bucket == bucket && !(open >> gap.part & 1)) || is_among(filled, s->n_named, gap) ||
            !table_has_room(t, named[i]->id, &addr))
            continue;
        filled[s->n_named] = gap;
        s->named[s->n_named++] = slot_of(f, named[i]);
    }
}

#define EACH(s) for (struct gap_step *s = step; s < step + n; s++)
#define EACH_ASKED(s, i) EACH(s) for (uint32_t i = 0; i < s->n_asked; i++)
#define EACH_NAMED(s, i) EACH(s) for (uint32_t i = 0; i < s->n_named; i++)

static void try_gaps(struct fill *f, struct gap_step *step, unsigned n, double at_s)
{
    const uint8_t (*id)[ID_SIZE] = (const uint8_t (*)[ID_SIZE])f->net->ids.id;

    EACH(s) choose(f, s);
    EACH_ASKED(s, i) fetch_node(f, s->asked[i]);
    EACH_ASKED(s, i) fetch_table(f, s->asked[i]);
    EACH_ASKED(s, i) fetch_bucket(f, s->asked[i], s->target);
    EACH_ASKED(s, i) fetch_bucket(f, s->asked[i], id[s->slot]);
    EACH(s) ask(f, s, at_s);
    EACH_NAMED(s, i) fetch_node(f, s->named[i]);
    EACH_NAMED(s, i) fetch_table(f, s->named[i]);
    EACH_NAMED(s, i) fetch_bucket(f, s->named[i], id[s->slot]);
    EACH_NAMED(s, i) meet(f, s->slot, s->named[i], at_s);
}

/* What every so-many-th node does in its second, after its first lookup. */
static void tick(struct fill *f, uint32_t first, uint32_t each, uint32_t begun, double at_s)
{
    struct gap_step gaps[GAPS_AT_ONCE];
    unsigned n_gaps = 0;

    for (uint32_t slot = first; slot < begun; slot += each) {
        struct fill_node *n = &f->nodes[slot];
        try_candidate(f, slot, at_s);
        if (n->looks < LOOKS && at_s >= n->looked_s + look_s[n->looks]) {
            n->looked_s = NEVER_S;
            look_around(f, slot);
        }
        if (at_s < n->gap_s)
            continue;
        gaps[n_gaps++].slot = slot;
        fetch_table(f, slot);
        if (n_gaps == GAPS_AT_ONCE) {
            try_gaps(f, gaps, n_gaps, at_s);
            n_gaps = 0;
        }
    }
    try_gaps(f, gaps, n_gaps, at_s);
}

static void join_all(struct fill *f)
{
    double joined_s = SCALE_GROWTH_S * log(f->net->config.slots + 2), end_s = joined_s + SCALE_SETTLE_MS / 1000.0;
    unsigned steps = (unsigned)(1 / ASK_S + 0.5);
    uint32_t begun = 0;

    for (unsigned step = 0; step * ASK_S <= end_s; step++) {
        double at_s = step * ASK_S;
        for (; begun < joined_by(f, at_s); begun++)
            begin(f, begun, at_s);
        ask_all(f, at_s);
        tick(f, step % steps, steps, begun, at_s);
    }
}

static void settle(struct scale_net *net, uint32_t slot, struct scale_rand *r)
{
    struct kad *k = net->nodes[slot].kad;
    struct table *t = &k->net[0].table;
    uint64_t now_ms = net->wheel.now_ms;

    k->booted = true;
    t->any_subnet = false;
    join_liveness(k);
    k->heard_ms = now_ms;
    k->looks = 2;
    k->spread_ms = now_ms + scale_below(r, REFRESH_MS);
    k->look_ms = now_ms + scale_below(r, REFRESH_MS);
    k->refresh_ms = now_ms + scale_below(r, REFRESH_LOOK_MS);
    k->liveness_ms = now_ms + scale_below(r, 30000);
    for (unsigned b = 0; b < TABLE_BUCKETS; b++)
        t->refreshed_s[b] = (uint16_t)((now_ms - scale_below(r, REFRESH_MS)) / 1000);
    k->self_dirty = k->table_changed = false;
}

void scale_fill(struct scale_net *net, const struct scale_ids *like)
{
    struct fill f = {.net = net, .r = scale_rand(net->config.seed, "fill")};
    uint32_t n = net->config.slots;

    f.nodes = scale_alloc(n, sizeof *f.nodes);
    f.rng = (struct rng){scale_rand_fill, &f.r};
    for (uint32_t i = 0; i < n; i++) {
        uint8_t id[ID_SIZE];
        scale_net_start(net, i, false);
        struct kad *k = net->nodes[i].kad;
        k->net[0].self = scale_net_addr(net, i);
        id_for_addr(&f.rng, &k->net[0].self, id);
        if (like)
            memcpy(id, like->id[i], ID_SIZE);
        table_rename(&k->net[0].table, id);
        k->net[0].table.any_subnet = true; /* they are scattered far too widely for that to matter, and it costs time */
        scale_net_list(net, i);
    }
    join_all(&f);
    for (uint32_t i = 0; i < n; i++) {
        settle(net, i, &f.r);
        scale_net_turn(net, i);
    }
    free(f.active);
    free(f.nodes);
}
