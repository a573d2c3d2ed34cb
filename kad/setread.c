#include "kad/setread.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

#define EVENT_ENTRIES_MAX 64 /* in one SET event */
#define KNOWN_MAX (SETREAD_SAMPLES_MAX * (KAD_SHARD_DEPTH_MAX + 1))

enum known_state { KNOWN_RUNNING, KNOWN_SPLIT, KNOWN_LEAF };

struct known { /* of an estimate: a shard on the way of a sample */
    struct kad_shard_id at;
    uint8_t state;
    bool doubtful; /* its split */
    int64_t more;  /* live entries here, beyond what its parents were known to hold of it */
};

struct sample {
    uint8_t slot[KAD_SLOT_SIZE];
    struct known *leaf; /* NULL: not there yet */
};

struct estimate {
    struct known known[KNOWN_MAX];
    struct sample samples[SETREAD_SAMPLES_MAX];
    unsigned n_known, n_samples;
};

struct todo {
    struct kad_shard_id at;
    bool doubted;
};

struct setread {
    uint8_t root[KAD_ID_SIZE];
    uint8_t mode, wide;
    bool fresh;
    bool any;               /* somebody answered, or we hold some */
    bool busy;              /* starting parts: one that ends at once must not start others */
    uint32_t max, delivered, shards, running, most_holders;
    struct setwalk_finds above;
    struct todo *todo;      /* the next one is last */
    uint32_t n_todo, cap_todo;
    uint64_t live, leaves, spread; /* of a count */
    struct estimate *estimate;
};

/* ---- life ---------------------------------------------------------------------------------------------- */

static struct setread *attach(struct request *r, const uint8_t root[KAD_ID_SIZE], enum setread_mode mode)
{
    r->read = calloc(1, sizeof *r->read);
    if (!r->read)
        return NULL;
    memcpy(r->read->root, root, KAD_ID_SIZE);
    r->read->mode = (uint8_t)mode;
    r->read->wide = SETREAD_WIDE;
    return r->read;
}

int setread_for_get(struct request *r, const uint8_t root[KAD_ID_SIZE], bool fresh, uint32_t max)
{
    struct setread *rd = attach(r, root, SETREAD_ENTRIES);

    if (!rd)
        return CAM_ESYS;
    rd->fresh = fresh;
    rd->max = max;
    /* Who wants no more than a shard holds is likely to find it in the first: others would be read for
     * nothing. */
    if (max > 0 && max <= KAD_SHARD_ENTRIES_MAX)
        rd->wide = 1;
    return 0;
}

int setread_for_count(struct request *r, const uint8_t root[KAD_ID_SIZE], bool exact)
{
    struct setread *rd = attach(r, root, exact ? SETREAD_COUNT : SETREAD_ESTIMATE);

    if (!rd)
        return CAM_ESYS;
    if (!exact && !(rd->estimate = calloc(1, sizeof *rd->estimate)))
        return CAM_ESYS;
    return 0;
}

void setread_free(struct setread *rd)
{
    if (!rd)
        return;
    setwalk_finds_forget(&rd->above);
    free(rd->todo);
    free(rd->estimate);
    free(rd);
}

/* ---- delivering ---------------------------------------------------------------------------------------- */

static int order_of(uint32_t a, uint32_t b, const uint8_t *slot_a, const uint8_t *slot_b)
{
    if (a != b)
        return a < b ? -1 : 1;
    return memcmp(slot_a, slot_b, KAD_SLOT_SIZE);
}

static int freshest_first(const void *a, const void *b)
{
    const struct setwalk_found *fa = *(struct setwalk_found *const *)a;
    const struct setwalk_found *fb = *(struct setwalk_found *const *)b;

    return order_of(fa->entry.age_s, fb->entry.age_s, fa->slot, fb->slot);
}

static int oldest_first(const void *a, const void *b)
{
    const struct setwalk_found *fa = *(struct setwalk_found *const *)a;
    const struct setwalk_found *fb = *(struct setwalk_found *const *)b;

    return order_of(fb->entry.since_s, fa->entry.since_s, fa->slot, fb->slot);
}

static bool is_full(const struct setread *rd)
{
    return rd->max && rd->delivered >= rd->max;
}

/* Hands over these entries in events of EVENT_ENTRIES_MAX, of which with `last` the very last is final. */
static void deliver(struct kad *k, struct request *r, struct setwalk_finds *finds, bool last)
{
    struct setread *rd = r->read;
    struct kad_entry entries[EVENT_ENTRIES_MAX];
    struct kad_event e = {.kind = KAD_EVENT_SET, .tag = r->tag, .entries = entries,
                          .holders = rd->most_holders};
    uint32_t at = 0;

    memcpy(e.target, rd->root, KAD_ID_SIZE);
    e.status = rd->any ? 0 : CAM_ENET;
    for (uint32_t i = 0; i < finds->n; i++)
        setwalk_settle(finds->at[i]);
    if (finds->n)
        qsort(finds->at, finds->n, sizeof *finds->at, rd->fresh ? freshest_first : oldest_first);
    do {
        e.n_entries = 0;
        while (at < finds->n && e.n_entries < EVENT_ENTRIES_MAX && !is_full(rd)) {
            entries[e.n_entries++] = finds->at[at++]->entry;
            rd->delivered++;
        }
        e.last = last && (at == finds->n || is_full(rd));
        if (e.n_entries || e.last)
            event_push(k, &e);
    } while (at < finds->n && !is_full(rd));
    setwalk_finds_forget(finds);
}

static uint32_t live_of(const struct setwalk_finds *finds)
{
    uint32_t live = 0;

    for (uint32_t i = 0; i < finds->n; i++)
        live += !kad_entry_is_tombstone(&finds->at[i]->entry);
    return live;
}

/* Ends it: the entries left over, or the count, in the final event. Parts still under way are given up. */
static void finish(struct kad *k, struct request *r)
{
    struct setread *rd = r->read;

    for (struct request *part = k->first, *next; rd->running > 0 && part; part = next) {
        next = part->next;
        if (part->kind != REQUEST_SET_PART || part->set->reader != r)
            continue;
        rd->running--;
        request_finish(k, part);
    }
    k->stats.lookups_failed += !rd->any;
    if (rd->mode == SETREAD_ENTRIES) {
        deliver(k, r, &rd->above, true);
    } else {
        struct kad_event e = {.kind = KAD_EVENT_SET_COUNT, .tag = r->tag, .last = true,
                              .status = rd->any ? 0 : CAM_ENET, .holders = rd->most_holders,
                              .spread = rd->spread, .shards = (uint32_t)rd->leaves};
        e.count = rd->live + (rd->mode == SETREAD_COUNT ? live_of(&rd->above) : 0);
        memcpy(e.target, rd->root, KAD_ID_SIZE);
        event_push(k, &e);
    }
    request_finish(k, r);
}

/* ---- the shards of a set ------------------------------------------------------------------------------- */

static bool start_part(struct kad *k, struct request *r, const struct kad_shard_id *at, bool doubted)
{
    struct request *part = request_new(k, REQUEST_SET_PART, NULL, 0);

    if (!part)
        return false;
    if (setwalk_for_part(part, r, at, r->read->fresh)) {
        request_discard(part);
        return false;
    }
    part->set->doubted = doubted;
    if (doubted)
        request_give_up_at(k, part, k->now.mono_ms + SETREAD_DOUBT_MS);
    r->read->running++;
    request_run_part(k, part);
    return true;
}

static bool todo_push(struct setread *rd, const struct kad_shard_id *at, bool doubted)
{
    if (rd->n_todo == rd->cap_todo) {
        uint32_t cap = rd->cap_todo ? 2 * rd->cap_todo : 16;
        void *more = rd->cap_todo < SETREAD_TODO_MAX ? realloc(rd->todo, cap * sizeof *rd->todo) : NULL;
        if (!more)
            return false;
        rd->todo = more;
        rd->cap_todo = cap;
    }
    rd->todo[rd->n_todo++] = (struct todo){*at, doubted};
    return true;
}

/* The children of a split shard are to be read too;
 * of them in any order when only some entries are wanted. */
static void add_children(struct kad *k, struct setread *rd, const struct setwalk *w)
{
    unsigned first = rd->fresh ? rng_below(&k->rng, 16) : 0;
    struct kad_shard_id child;

    for (unsigned i = 16; i-- > 0;) {
        kad_shard_child(&child, &w->shard, (first + i) % 16);
        todo_push(rd, &child, w->doubted || setwalk_is_doubtful(w));
    }
}

/* One more may hold a shard full of entries that wait for their leaves. */
static bool has_room(const struct setread *rd)
{
    return rd->running == 0 || (rd->running < rd->wide &&
                                rd->above.n + (rd->running + 1) * KAD_SHARD_ENTRIES_MAX <= SETWALK_FOUND_MAX);
}

static bool start_shards(struct kad *k, struct request *r)
{
    struct setread *rd = r->read;

    while (rd->n_todo > 0 && has_room(rd) && rd->shards + rd->running < SETREAD_SHARDS_MAX && !is_full(rd)) {
        struct todo next = rd->todo[--rd->n_todo];
        if (!start_part(k, r, &next.at, next.doubted))
            return false;
    }
    return rd->running > 0;
}

/* ---- estimates ----------------------------------------------------------------------------------------- */

static struct known *known_find(struct estimate *e, const struct kad_shard_id *at)
{
    for (unsigned i = 0; i < e->n_known; i++)
        if (kad_shard_id_equal(&e->known[i].at, at))
            return &e->known[i];
    return NULL;
}

/* Goes on from the root towards the leaf of one sample, as far as shards are known. False: no memory. */
static bool sample_on(struct kad *k, struct request *r, struct sample *sample)
{
    struct estimate *e = r->read->estimate;
    bool doubted = false;

    for (uint8_t depth = 0; depth <= KAD_SHARD_DEPTH_MAX; depth++) {
        struct kad_shard_id at;
        kad_shard_of(&at, r->read->root, depth, sample->slot);
        struct known *known = known_find(e, &at);
        if (!known) {
            if (!has_room(r->read))
                return true;
            e->known[e->n_known++] = (struct known){.at = at, .state = KNOWN_RUNNING};
            return start_part(k, r, &at, doubted);
        }
        if (known->state == KNOWN_LEAF)
            sample->leaf = known;
        if (known->state != KNOWN_SPLIT)
            return true;
        doubted = known->doubtful;
    }
    return true;
}

static void draw_samples(struct kad *k, struct estimate *e)
{
    for (unsigned i = 0; i < SETREAD_SAMPLES_STEP; i++) {
        struct sample *sample = &e->samples[e->n_samples++];
        rng_fill(&k->rng, sample->slot, sizeof sample->slot);
        sample->slot[0] = (uint8_t)((sample->slot[0] & 0x0f) | (i % 16) << 4);
    }
}

/* What a sample says that there is: what each shard on its way adds, as often as there are shards of that
 * depth. */
static double whole_of(struct setread *rd, const struct sample *sample)
{
    double whole = 0;

    for (uint8_t depth = 0; depth <= sample->leaf->at.depth; depth++) {
        struct kad_shard_id at;
        kad_shard_of(&at, rd->root, depth, sample->slot);
        whole += ldexp((double)known_find(rd->estimate, &at)->more, 4 * depth);
    }
    return whole;
}

/* True when what the samples say is good enough, or all there is to know. */
static bool judge(struct setread *rd)
{
    struct estimate *e = rd->estimate;
    double sum = 0, squares = 0, share = 0, n = e->n_samples;
    int64_t all = 0;

    for (unsigned i = 0; i < e->n_known; i++) {
        all += e->known[i].more;
        if (e->known[i].state == KNOWN_LEAF)
            share += ldexp(1, -4 * e->known[i].at.depth);
    }
    rd->spread = 0;
    rd->live = all > 0 ? (uint64_t)all : 0;
    if (share >= 1) /* sums of powers of two: exactly */
        return true;
    for (unsigned i = 0; i < e->n_samples; i++) {
        double whole = whole_of(rd, &e->samples[i]);
        sum += whole;
        squares += whole * whole;
    }
    double mean = fmax(0, sum / n), error = sqrt(fmax(0, squares / n - mean * mean) / (n - 1));
    rd->live = (uint64_t)(mean + 0.5);
    rd->spread = (uint64_t)ceil(error);
    return error * 1000 <= mean * SETREAD_SPREAD_PERMILLE ||
           e->n_samples + SETREAD_SAMPLES_STEP > SETREAD_SAMPLES_MAX;
}

static bool start_samples(struct kad *k, struct request *r)
{
    struct estimate *e = r->read->estimate;

    for (;;) {
        bool all = true;
        for (unsigned i = 0; i < e->n_samples; i++) {
            if (!e->samples[i].leaf && !sample_on(k, r, &e->samples[i]))
                return false;
            all = all && e->samples[i].leaf;
        }
        if (!all && r->read->running > 0)
            return true;
        if (!all)
            continue; /* a part ended at once */
        if (e->n_samples > 0 && judge(r->read))
            return false;
        draw_samples(k, e);
    }
}

/* ---- going on ------------------------------------------------------------------------------------------ */

static void read_on(struct kad *k, struct request *r)
{
    struct setread *rd = r->read;

    if (rd->busy)
        return;
    rd->busy = true;
    bool more = rd->mode == SETREAD_ESTIMATE ? start_samples(k, r) : start_shards(k, r);
    rd->busy = false;
    if (!more || is_full(rd))
        finish(k, r);
}

void setread_begin(struct kad *k, struct request *r)
{
    static const uint8_t slot_zero[KAD_SLOT_SIZE];
    struct kad_shard_id top;

    r->phase = PHASE_WRITING;
    kad_shard_of(&top, r->read->root, 0, slot_zero);
    if (r->read->mode != SETREAD_ESTIMATE)
        todo_push(r->read, &top, false);
    read_on(k, r);
}

static bool is_live(const struct setwalk_found *f)
{
    return f && !kad_entry_is_tombstone(&f->entry);
}

/* Counts what the shard adds to what is known from above of its keys: more, or fewer where a tombstone lies
 * below. */
static void note_known(struct setread *rd, const struct setwalk *w, bool split)
{
    struct known *known = known_find(rd->estimate, &w->shard);

    assert(known && known->state == KNOWN_RUNNING);
    known->state = split ? KNOWN_SPLIT : KNOWN_LEAF;
    known->doubtful = w->doubted || setwalk_is_doubtful(w);
    for (uint32_t i = 0; i < w->finds.n; i++) {
        const struct setwalk_found *here = w->finds.at[i], *above = setwalk_find(&rd->above, here->slot);
        bool newer = !above || kad_version_compare(here->entry.seq, here->entry.v, above->entry.seq,
                                                   above->entry.v) > 0;
        known->more += (newer ? is_live(here) : is_live(above)) - is_live(above);
    }
}

void setread_part_ended(struct kad *k, struct request *part)
{
    struct request *r = part->set->reader;
    struct setread *rd = r->read;
    struct setwalk *w = part->set;
    bool enough = rd->fresh && rd->max && w->finds.n + rd->above.n >= rd->max;
    /* A shard keeps its last entry when it splits, so one without any was not split: where liars are many
     * they would lead us on for ever. The root may have lost its last, and costs sixteen shards at most. */
    bool split = setwalk_is_split(w) && (w->finds.n > 0 || w->shard.depth == 0) && !enough;
    struct kad_shard_id top = {.depth = 0};

    setwalk_count_said(w);
    if (rd->fresh)
        setfresh_judge(k, w);
    rd->running--;
    rd->shards++;
    rd->leaves += !split;
    rd->any = rd->any || w->any;
    if (w->n_holders > rd->most_holders)
        rd->most_holders = w->n_holders;
    if (rd->mode == SETREAD_ESTIMATE)
        note_known(rd, w, split);
    else if (!split)
        setwalk_finds_move(&rd->above, &w->finds, &w->shard);
    if (split && rd->above.n < SETWALK_FOUND_MAX)
        setwalk_finds_move(&w->finds, &rd->above, &top);
    if (rd->mode == SETREAD_ESTIMATE)
        ; /* samples go on from there */
    else if (split)
        add_children(k, rd, w);
    else if (rd->mode == SETREAD_COUNT)
        rd->live += live_of(&w->finds);
    else if (rd->running == 0 && rd->n_todo == 0) /* the only one, or the last: in the final event */
        setwalk_finds_move(&w->finds, &rd->above, &top);
    else
        deliver(k, r, &w->finds, false);
    request_finish(k, part);
    read_on(k, r);
}
