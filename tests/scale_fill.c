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
 *
 * Two hands (threads) do it, each with nodes of its own, turn by turn, two a second. First contacts are only read:
 * each hand finds out whom its nodes ask and what they are told, and writes down what follows for either side. Then
 * each does what both have written down about its nodes. So one seed is one network, however the hands keep pace.
 * And deeds are sorted before they are done, so that what concerns a few neighbours is done together: with a million
 * nodes nearly all the time would go into waiting for memory if each deed met a node that is in no cache.
 */
#include "tests/scale_fill.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kad/node.h"
#include "tests/scale_life.h"
#include "tests/scale_memory.h"

#define LIVENESS_MS 900000     /* what kad/upkeep.c does in this time has happened at a random moment of it */
#define REFRESH_MS 3600000
#define REFRESH_LOOK_MS 540000
#define NEVER_S 1e9
#define GAP_ASKED 2            /* kad/spread.c */
#define GAP_STEP_S 1.5

#define TURNS 2                /* a second: how often deeds are done; in each a part of the nodes has its second */
#define ROUNDS 3               /* a turn: in each a newcomer's lookup asks one and is answered */
#define ALPHA 4                /* asked in a round by a later lookup */
#define FOUND_MAX 48           /* of whom a lookup remembers */
#define LOOKS 3                /* the first lookup of the own id, and two looks around */

#define HANDS 2
#define BLOCK 64               /* neighbours: nodes whose tables fit in a cache together */
#define AT_ONCE 64             /* nodes whose tables are fetched together */
#define AHEAD 16               /* deeds, from one part of fetching a table to the next */
#define CACHE_LINE 64

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

struct query {
    struct search *of;
    uint32_t asked;
};

struct gap_step { /* of one node */
    uint32_t slot, asked[GAP_ASKED], n_asked;
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

struct deed {
    uint32_t slot;
    uint32_t other : 31;
    uint32_t answered : 1;     /* the other has answered it; else the other has asked it something */
};

struct deeds {
    struct deed *at, *sorted;  /* as they were noted; block after block */
    size_t n, cap;
    uint32_t *count;           /* by block */
    size_t *end;               /* of each block in `sorted` */
};

struct hand {
    struct fill *fill;
    unsigned number;
    struct scale_rand r;
    struct rng rng;            /* of r */
    struct search *active;
    uint32_t n_active, cap_active;
    struct deeds deeds;        /* noted by it, about anybody's nodes */
};

struct fill { /* a slot is also the place in the order of joining */
    struct scale_net *net;
    struct fill_node *nodes;   /* by slot */
    struct hand hand[HANDS];
    uint32_t n_blocks;
    pthread_barrier_t pace;    /* where the hands wait for each other */
};

/* How many have joined by then (scale_life_join_all). */
static uint32_t joined_by(const struct fill *f, double at_s)
{
    double n = exp(at_s / SCALE_GROWTH_S);

    return n < f->net->config.slots ? (uint32_t)n : f->net->config.slots;
}

static unsigned hand_of(uint32_t slot)
{
    return slot / BLOCK % HANDS;
}

static uint32_t next_in_turn(uint32_t slot)
{
    return ++slot % BLOCK ? slot : slot + (TURNS * HANDS - 1) * BLOCK;
}

/* Everybody has the first address of its slot: known without a look at its node (scale_net_number). */
static uint32_t number_of(const struct fill *f, uint32_t slot)
{
    return f->net->config.slots + slot;
}

static struct table *table_of(const struct fill *f, uint32_t slot)
{
    return &f->net->nodes[slot].kad->net[0].table;
}

static uint32_t slot_of(const struct fill *f, const uint8_t ip[4], const uint8_t port[2])
{
    struct addr addr = {.family = 4, .port = be16(port)};

    memcpy(addr.ip, ip, 4);
    return scale_net_home(f->net, &addr);
}

/* ---- a table is seldom in the processor's cache when its turn comes ------------------------------------------
 * Most of the time would go into waiting for memory; so what will be looked at soon is fetched meanwhile: where a node
 * is, then its table, then the bucket. */

static void fetch_node(const struct fill *f, uint32_t slot)
{
    __builtin_prefetch(&f->net->nodes[slot]);
    __builtin_prefetch(&f->nodes[slot]);
}

static void fetch_table(const struct fill *f, uint32_t slot)
{
    for (size_t at = 0; at < offsetof(struct table, refreshed_s); at += CACHE_LINE)
        __builtin_prefetch((const char *)table_of(f, slot) + at);
}

static void fetch_bucket(const struct fill *f, uint32_t slot, const uint8_t id[ID_SIZE])
{
    const struct table *t = table_of(f, slot);
    unsigned b = table_bucket(t, id), start = table_bucket_start(t, b);

    for (unsigned i = 0; i < t->count[b]; i += CACHE_LINE / sizeof *t->contacts)
        __builtin_prefetch(&t->contacts[start + i]);
}

/* Whoever comes in is looked for among the candidates, and one that does not come in goes there. */
static void fetch_candidates(const struct fill *f, uint32_t slot)
{
    const struct table *t = table_of(f, slot);

    for (unsigned i = 0; i < t->n_cache; i += CACHE_LINE / sizeof *t->cache)
        __builtin_prefetch(&t->cache[i]);
}

/* ---- deeds --------------------------------------------------------------------------------------------- */

static void note(struct hand *h, uint32_t slot, uint32_t other, bool answered)
{
    struct deeds *d = &h->deeds;

    if (d->n == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 1024;
        d->at = scale_realloc(d->at, d->cap * sizeof *d->at);
        d->sorted = scale_realloc(d->sorted, d->cap * sizeof *d->sorted);
    }
    d->at[d->n++] = (struct deed){slot, other, answered};
    d->count[slot / BLOCK]++;
}

static void sort(struct deeds *d, uint32_t n_blocks)
{
    size_t begin = 0;

    for (uint32_t b = 0; b < n_blocks; b++) {
        d->end[b] = begin; /* until the last of the block has found its place */
        begin += d->count[b];
        d->count[b] = 0;
    }
    for (size_t i = 0; i < d->n; i++)
        d->sorted[d->end[d->at[i].slot / BLOCK]++] = d->at[i];
    d->n = 0;
}

/* One asks the other something and is answered. */
static void meet(struct hand *h, uint32_t asker, uint32_t asked)
{
    note(h, asker, asked, true);
    note(h, asked, asker, false);
}

/* The other has answered something. */
static void hears(struct hand *h, uint32_t slot, uint32_t other)
{
    struct scale_net *net = h->fill->net;
    uint32_t number = number_of(h->fill, other);
    uint32_t rtt_ms = 2 * scale_net_latency_ms(net, number_of(h->fill, slot), number);
    struct addr addr = scale_net_number_addr(number);
    uint64_t at_ms = net->wheel.now_ms - scale_below(&h->r, LIVENESS_MS);

    table_heard(table_of(h->fill, slot), at_ms, net->ids.id[other], &addr, rtt_ms);
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
static void greet(struct hand *h, uint32_t asked, uint32_t asker, double at_s)
{
    struct fill *f = h->fill;
    struct table *t = table_of(f, asked);
    const uint8_t *id = f->net->ids.id[asker];
    struct addr addr = scale_net_number_addr(number_of(f, asker));

    if (table_find(t, id) || !table_has_room(t, id, &addr))
        return; /* one without room is a candidate too, but it is tried only if somebody fails */
    if (table_is_wanted(t, id) && take_credit(&f->nodes[asked], at_s)) {
        hears(h, asked, asker);
    } else {
        table_offer(t, id, &addr);
        f->nodes[asked].has_candidate = true;
    }
}

static void do_it(struct hand *h, const struct deed *d, double at_s)
{
    if (d->answered)
        hears(h, d->slot, d->other);
    else
        greet(h, d->slot, d->other, at_s);
}

static void do_some(struct hand *h, const struct deed *deed, size_t n, double at_s)
{
    const struct fill *f = h->fill;
    const uint8_t (*id)[ID_SIZE] = (const uint8_t (*)[ID_SIZE])f->net->ids.id;

    for (size_t i = 0; i < n + 3 * AHEAD; i++) {
        if (i < n) {
            fetch_node(f, deed[i].slot);
            __builtin_prefetch(id[deed[i].other]);
        }
        if (i >= AHEAD && i - AHEAD < n)
            fetch_table(f, deed[i - AHEAD].slot);
        if (i >= 2 * AHEAD && i - 2 * AHEAD < n) {
            fetch_bucket(f, deed[i - 2 * AHEAD].slot, id[deed[i - 2 * AHEAD].other]);
            fetch_candidates(f, deed[i - 2 * AHEAD].slot);
        }
        if (i >= 3 * AHEAD)
            do_it(h, &deed[i - 3 * AHEAD], at_s);
    }
}

/* What is to be done about its nodes. */
static void do_all(struct hand *h, double at_s)
{
    const struct fill *f = h->fill;

    for (uint32_t b = h->number; b < f->n_blocks; b += HANDS)
        for (unsigned from = 0; from < HANDS; from++) {
            const struct deeds *d = &f->hand[from].deeds;
            size_t begin = b ? d->end[b - 1] : 0;
            do_some(h, d->sorted + begin, d->end[b] - begin, at_s);
        }
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
    memcpy(s->found[at].ip, c->ip, 4);
    memcpy(s->found[at].port, c->port, 2);
    return true;
}

/* Those whom `asked` knows closest to the target; for whom there is room is a candidate (request_learn). */
static void learn(const struct fill *f, struct search *s, uint32_t asked, const uint8_t target[ID_SIZE])
{
    const struct table_contact *near[KAD_K];
    struct table *t = table_of(f, s->slot);
    size_t n = table_closest(table_of(f, asked), target, near, KAD_K, 0);

    for (size_t i = 0; i < n; i++) {
        uint64_t far = be64(near[i]->id) ^ be64(t->self);
        struct addr addr = table_addr(t, near[i]); /* IPv4: it lies in the contact */
        if (far != 0 && is_new(s, far, near[i]) && asked != s->slot && table_has_room(t, near[i]->id, &addr))
            table_offer(t, near[i]->id, &addr);
    }
}

static struct search *look_around(struct hand *h, uint32_t slot)
{
    if (h->n_active == h->cap_active) {
        h->cap_active = h->cap_active ? h->cap_active * 2 : 64;
        h->active = scale_realloc(h->active, h->cap_active * sizeof *h->active);
    }
    struct search *s = &h->active[h->n_active++];
    s->slot = slot;
    s->n = 0;
    h->fill->nodes[slot].looks++;
    learn(h->fill, s, slot, h->fill->net->ids.id[slot]);
    return s;
}

/* Asks whoever it was told to join through, one of those who are there already, under an id of its own choice, for
 * nobody has told it its address yet: under that one nobody wants to know it. The last to answer finds the first lookup
 * begun, which makes use of it. Nobody else looks at the newcomer's table in this turn. */
static void begin(struct hand *h, uint32_t slot, uint32_t there, double at_s)
{
    struct fill *f = h->fill;
    struct addr addr = scale_net_number_addr(number_of(f, slot));
    uint8_t first_id[ID_SIZE];
    uint32_t entry = 0;

    f->nodes[slot] = (struct fill_node){.gap_s = NEVER_S, .looked_s = NEVER_S, .credit = NODE_GREET_BURST,
                                        .credit_s = (float)at_s};
    id_for_addr(&h->rng, &addr, first_id);
    for (unsigned i = 0; i < SCALE_ENTRIES && there > 0; i++) {
        entry = scale_below(&h->r, there);
        hears(h, slot, entry);
    }
    struct search *s = look_around(h, slot);
    if (there > 0)
        learn(f, s, entry, first_id);
}

static struct found *next_to_ask(struct search *s)
{
    for (unsigned i = 0; i < s->n && i < KAD_K; i++)
        if (!s->found[i].asked)
            return &s->found[i];
    return NULL;
}

/* Whom it asks in this round; 0: nobody is left. */
static unsigned ask_next(const struct hand *h, struct search *s, struct query *ret)
{
    unsigned n = 0, max = h->fill->nodes[s->slot].looks > 1 ? ALPHA : 1;
    struct found *next;

    while (n < max && (next = next_to_ask(s)) != NULL) {
        next->asked = true;
        ret[n++] = (struct query){s, slot_of(h->fill, next->ip, next->port)};
    }
    return n;
}

#define EACH(type, s, of, n) for (type *s = of; s < of + n; s++)

static void ask_those(struct hand *h, const struct query *query, unsigned n)
{
    const struct fill *f = h->fill;
    const uint8_t (*id)[ID_SIZE] = (const uint8_t (*)[ID_SIZE])f->net->ids.id;

    EACH(const struct query, q, query, n) fetch_node(f, q->asked);
    EACH(const struct query, q, query, n) fetch_table(f, q->asked);
    EACH(const struct query, q, query, n) fetch_bucket(f, q->asked, id[q->of->slot]);
    EACH(const struct query, q, query, n) {
        meet(h, q->of->slot, q->asked);
        learn(f, q->of, q->asked, id[q->of->slot]);
    }
}

static void ended(struct fill_node *n, double at_s)
{
    n->looked_s = at_s;
    if (n->looks > 1)
        return;
    n->gap_s = at_s + GAP_STEP_S;
    n->has_candidate = true;
}

static void ask_all(struct hand *h, double at_s)
{
    struct query query[AT_ONCE + ALPHA];
    unsigned n = 0;

    for (uint32_t i = 0; i < h->n_active;) {
        struct search *s = &h->active[i];
        unsigned asks = ask_next(h, s, &query[n]);
        if (asks == 0) {
            ended(&h->fill->nodes[s->slot], at_s);
            *s = h->active[--h->n_active]; /* whose turn has not come yet */
            continue;
        }
        n += asks;
        i++;
        if (n < AT_ONCE)
            continue;
        ask_those(h, query, n);
        n = 0;
    }
    ask_those(h, query, n);
}

/* ---- afterwards ---------------------------------------------------------------------------------------- */

/* kad/upkeep.c, tick_candidate. */
static void try_candidate(struct hand *h, uint32_t slot)
{
    struct fill *f = h->fill;
    uint8_t id[ID_SIZE];
    struct addr addr;

    if (!f->nodes[slot].has_candidate)
        return;
    f->nodes[slot].has_candidate = table_take_candidate(table_of(f, slot), id, &addr);
    if (f->nodes[slot].has_candidate)
        meet(h, slot, scale_net_home(f->net, &addr));
}

/* ---- gaps: kad/spread.c ---------------------------------------------------------------------------------- */

/* Whom it asks about its next gap: the contacts closest to a random id in it. */
static void choose(struct hand *h, struct gap_step *s)
{
    const struct fill *f = h->fill;
    struct fill_node *n = &f->nodes[s->slot];
    struct table *t = table_of(f, s->slot);
    const struct table_contact *near[GAP_ASKED];

    s->n_asked = 0;
    if (!table_next_gap(t, &n->gap)) {
        n->gap_s = NEVER_S;
        return;
    }
    table_random_in_gap(t, &h->rng, n->gap, s->target);
    n->gap.part++;
    n->gap_s += GAP_STEP_S; /* the times are kept, if not met, to a second */
    size_t n_near = table_closest(t, s->target, near, GAP_ASKED, 0);
    for (; s->n_asked < n_near; s->n_asked++)
        s->asked[s->n_asked] = slot_of(f, near[s->n_asked]->ip, near[s->n_asked]->port);
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
    unsigned start = table_bucket_start(t, bucket);
    uint32_t known = 0;

    if (t->count[bucket] < t->k)
        return UINT32_MAX;
    for (unsigned i = start; i < start + t->count[bucket]; i++)
        known |= UINT32_C(1) << table_gap_of(t, t->contacts[i].id).part;
    return ~known;
}

/* The closest in each part where nobody is known. */
static void ask_about(struct hand *h, const struct gap_step *s)
{
    const struct fill *f = h->fill;
    const struct table_contact *named[GAP_ASKED * KAD_K];
    const struct table *t = table_of(f, s->slot);
    struct table_gap filled[GAP_ASKED * KAD_K];
    unsigned bucket = table_bucket(t, s->target), n_filled = 0;
    uint32_t open = open_parts(t, bucket); /* most are known: a quick look before the whole one */

    for (unsigned i = 0; i < s->n_asked; i++)
        note(h, s->asked[i], s->slot, false); /* the answer is no news */
    size_t n = named_by(f, s, named);
    for (size_t i = 0; i < n; i++) {
        struct addr addr = table_addr(t, named[i]);
        struct table_gap gap = table_gap_of(t, named[i]->id);
        if ((gap.bucket == bucket && !(open >> gap.part & 1)) || table_gap_is_among(filled, n_filled, gap) ||
            !table_has_room(t, named[i]->id, &addr))
            continue;
        filled[n_filled++] = gap;
        meet(h, s->slot, scale_net_home(f->net, &addr));
    }
}

#define EACH_ASKED(s, i, of, n) EACH(struct gap_step, s, of, n) for (uint32_t i = 0; i < s->n_asked; i++)

static void try_gaps(struct hand *h, struct gap_step *step, unsigned n)
{
    const struct fill *f = h->fill;

    EACH(struct gap_step, s, step, n) choose(h, s);
    EACH_ASKED(s, i, step, n) fetch_node(f, s->asked[i]);
    EACH_ASKED(s, i, step, n) fetch_table(f, s->asked[i]);
    EACH_ASKED(s, i, step, n) fetch_bucket(f, s->asked[i], s->target);
    EACH(struct gap_step, s, step, n) ask_about(h, s);
}

/* What a node does in a second, once its first lookup has ended. */
static void tick(struct hand *h, uint32_t slot, double at_s)
{
    struct fill_node *n = &h->fill->nodes[slot];

    try_candidate(h, slot);
    if (n->looks < LOOKS && at_s >= n->looked_s + look_s[n->looks]) {
        n->looked_s = NEVER_S;
        look_around(h, slot);
    }
}

static void tick_all(struct hand *h, unsigned turn, uint32_t joined, double at_s)
{
    struct fill *f = h->fill;
    struct gap_step gaps[AT_ONCE];
    unsigned n_gaps = 0;

    for (uint32_t slot = (turn % TURNS * HANDS + h->number) * BLOCK; slot < joined; slot = next_in_turn(slot)) {
        uint32_t end = slot - slot % BLOCK + BLOCK; /* beyond it the candidates are the other hand's to change */
        end = end < joined ? end : joined;
        if (slot + 2 * AHEAD < end)
            fetch_table(f, slot + 2 * AHEAD);
        if (slot + AHEAD < end)
            fetch_candidates(f, slot + AHEAD);
        tick(h, slot, at_s);
        if (at_s >= f->nodes[slot].gap_s)
            gaps[n_gaps++].slot = slot;
        if (n_gaps == AT_ONCE) {
            try_gaps(h, gaps, n_gaps);
            n_gaps = 0;
        }
    }
    try_gaps(h, gaps, n_gaps);
}

/* ---- turn after turn ------------------------------------------------------------------------------- */

/* Those who have joined since the second before, in equal parts. */
static void begin_some(struct hand *h, uint32_t before, uint32_t joined, unsigned round, double at_s)
{
    uint32_t n = joined - before;

    for (uint32_t slot = before + n * round / ROUNDS; slot < before + n * (round + 1) / ROUNDS; slot++)
        if (hand_of(slot) == h->number)
            begin(h, slot, before, at_s);
}

static void *join_mine(void *arg)
{
    struct hand *h = arg;
    struct fill *f = h->fill;
    const double turn_s = 1.0 / TURNS, round_s = turn_s / ROUNDS;
    double end_s = SCALE_GROWTH_S * log(f->net->config.slots + 2) + turn_s + SCALE_SETTLE_MS / 1000.0, at_s;
    uint32_t joined = 0;

    for (unsigned turn = 0; (at_s = turn * turn_s) <= end_s; turn++) {
        uint32_t before = joined;
        joined = joined_by(f, at_s);
        for (unsigned round = 0; round < ROUNDS; round++) {
            begin_some(h, before, joined, round, at_s + round * round_s);
            ask_all(h, at_s + round * round_s);
        }
        tick_all(h, turn, joined, at_s + turn_s);
        sort(&h->deeds, f->n_blocks);
        pthread_barrier_wait(&f->pace);
        do_all(h, at_s + turn_s);
        pthread_barrier_wait(&f->pace);
    }
    return NULL;
}

static void hand_init(struct hand *h, struct fill *f, unsigned number)
{
    static const char *const names[HANDS] = {"fill", "fill, the other"};

    *h = (struct hand){.fill = f, .number = number, .r = scale_rand(f->net->config.seed, names[number])};
    h->rng = (struct rng){scale_rand_fill, &h->r};
    h->deeds.count = scale_alloc(f->n_blocks, sizeof *h->deeds.count);
    h->deeds.end = scale_alloc(f->n_blocks, sizeof *h->deeds.end);
}

static void hand_clear(struct hand *h)
{
    free(h->active);
    free(h->deeds.at);
    free(h->deeds.sorted);
    free(h->deeds.count);
    free(h->deeds.end);
}

static void join_all(struct fill *f)
{
    pthread_t threads[HANDS];

    pthread_barrier_init(&f->pace, NULL, HANDS);
    f->n_blocks = (f->net->config.slots + BLOCK - 1) / BLOCK;
    for (unsigned i = 0; i < HANDS; i++)
        hand_init(&f->hand[i], f, i);
    for (unsigned i = 0; i < HANDS; i++)
        if (pthread_create(&threads[i], NULL, join_mine, &f->hand[i]))
            abort();
    for (unsigned i = 0; i < HANDS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < HANDS; i++)
        hand_clear(&f->hand[i]);
    pthread_barrier_destroy(&f->pace);
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
    struct fill f = {.net = net};
    struct scale_rand r = scale_rand(net->config.seed, "ids");
    struct rng rng = {scale_rand_fill, &r};
    uint32_t n = net->config.slots;

    f.nodes = scale_alloc(n, sizeof *f.nodes);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t id[ID_SIZE];
        scale_net_start(net, i, false);
        struct kad *k = net->nodes[i].kad;
        k->net[0].self = scale_net_addr(net, i);
        id_for_addr(&rng, &k->net[0].self, id);
        if (like)
            memcpy(id, like->id[i], ID_SIZE);
        table_rename(&k->net[0].table, id);
        k->net[0].table.any_subnet = true; /* they are scattered far too widely for that to matter, and it costs time */
        scale_net_list(net, i);
    }
    join_all(&f);
    for (uint32_t i = 0; i < n; i++) {
        settle(net, i, &r);
        scale_net_turn(net, i);
    }
    free(f.nodes);
}
