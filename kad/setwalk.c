/* One shard of a signed set, looked at over all its holders: who has what,
 * and the pages of those that differ. */
#include "kad/setwalk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/setread.h"

#define PART_RANGE 1          /* + index of the range; a write is UINT16_MAX */

static const uint8_t slot_zero[KAD_SLOT_SIZE];

/* ---- life ---------------------------------------------------------------------------------------------- */

static struct setwalk *attach(struct request *r, const uint8_t root[KAD_ID_SIZE])
{
    r->set = calloc(1, sizeof *r->set);
    if (r->set)
        memcpy(r->set->root, root, KAD_ID_SIZE);
    return r->set;
}

int setwalk_for_put(struct request *r, const uint8_t root[KAD_ID_SIZE], const struct kad_entry *entry)
{
    struct setwalk *w = attach(r, root);

    if (!w)
        return CAM_ESYS;
    assert(entry->v.size <= sizeof w->value); /* kad_entry_check */
    w->entry = *entry;
    memcpy(w->value, entry->v.data, entry->v.size);
    w->entry.v.data = w->value;
    w->entry.age_s = w->entry.since_s = 0;
    return 0;
}

int setwalk_for_shard(struct request *r, const struct kad_record *record)
{
    struct setwalk *w = attach(r, record->shard.root);

    if (!w)
        return CAM_ESYS;
    w->keep = setshard_new(record);
    return w->keep ? 0 : CAM_ESYS;
}

int setwalk_for_part(struct request *r, struct request *reader, const struct kad_shard_id *at, bool fresh)
{
    struct setwalk *w = attach(r, at->root);

    if (!w)
        return CAM_ESYS;
    w->shard = *at;
    w->reader = reader;
    w->fresh = fresh;
    return 0;
}

void setwalk_free(struct setwalk *w)
{
    if (!w)
        return;
    setwalk_finds_forget(&w->finds);
    for (unsigned i = 0; i < w->n_holders; i++)
        free(w->holders[i].page);
    free(w->keep);
    free(w);
}

/* ---- what has been found ------------------------------------------------------------------------------- */

void setwalk_take(struct kad *k, struct setwalk *w, const struct kad_entry *entry, int group)
{
    uint8_t slot[KAD_SLOT_SIZE];
    int64_t exp_s = kad_value_expires_s(entry->v);
    uint32_t bit = group >= 0 ? UINT32_C(1) << group : 0;

    kad_slot(entry->pk, slot);
    if (!kad_shard_contains(&w->shard, slot) || (exp_s != 0 && exp_s <= now_unix_s(k->now)))
        return;
    const struct setwalk_found *old = setwalk_find(&w->finds, slot);
    int order = old ? kad_version_compare(entry->seq, entry->v, old->entry.seq, old->entry.v) : 1;
    if (order < 0 || (!old && w->finds.n >= SETWALK_FOUND_MAX))
        return;
    /* The same signed bytes were verified already. */
    if (order > 0 && (kad_entry_check(entry) || kad_verified_entry(&k->verified, entry, w->root))) {
        k->stats.refused_signature++;
        return;
    }
    struct setwalk_found *f = malloc(sizeof *f + entry->v.size);
    if (!f)
        return;
    memcpy(f->slot, slot, KAD_SLOT_SIZE);
    memcpy(f->v, entry->v.data, entry->v.size);
    f->entry = *entry;
    f->entry.v = span(f->v, entry->v.size);
    f->groups = bit;
    f->since.n = f->age.n = 0;
    setwalk_say(&f->since, entry->since_s);
    setwalk_say(&f->age, entry->age_s);
    setwalk_finds_add(&w->finds, f);
}

/* Reads a holder's list of entries; the slot of the last one, for the cursor. A page is in the order of
 * slots and lies beyond `after` (NULL: the first page). What does not is left out, and what a fresh page,
 * which has an order of its own, lists again: an entry that one holder sent many times over would have as
 * many voices in a median. */
static bool take_list(struct kad *k, struct setwalk *w, struct ben list, struct setwalk_holder *h,
                      const uint8_t *after, uint8_t ret_last[KAD_SLOT_SIZE])
{
    struct ben_iter it = ben_iter(list);
    struct ben one;
    bool any = false;

    while (list.data && ben_next(&it, NULL, &one)) {
        struct kad_entry entry;
        uint8_t slot[KAD_SLOT_SIZE];
        if (kad_entry_get(one, &entry))
            continue;
        kad_slot(entry.pk, slot);
        if (w->fresh ? !setfresh_note(h, slot, &entry) : after && memcmp(slot, after, KAD_SLOT_SIZE) <= 0)
            continue;
        setwalk_take(k, w, &entry, h->group);
        memcpy(ret_last, slot, KAD_SLOT_SIZE);
        after = ret_last;
        any = true;
    }
    return any;
}

/* ---- one shard ----------------------------------------------------------------------------------------- */

static void take_own(struct kad *k, struct setwalk *w)
{
    uint8_t slot[KAD_SLOT_SIZE], *after = NULL;
    struct kad_entry entry;

    while (w->finds.n < SETWALK_FOUND_MAX &&
           kad_store_entry_next(k->store, k->now, &w->shard, after, 0, &entry, slot)) {
        setwalk_take(k, w, &entry, -1);
        after = slot;
        w->any = true;
    }
}

void setwalk_look(struct kad *k, struct request *r, const struct kad_shard_id *shard)
{
    struct setwalk *w = r->set;
    uint8_t target[KAD_ID_SIZE];

    w->shard = *shard;
    w->n_holders = w->n_ranges = w->n_groups = 0;
    w->here_split = false;
    kad_shard_target(shard, target);
    if (r->kind == REQUEST_SET_PART)
        take_own(k, w);
    request_look(k, r, target);
    request_pump(k, r);
}

void setwalk_begin(struct kad *k, struct request *r)
{
    if (r->kind == REQUEST_SET_PUT)
        setput_begin(k, r);
    else if (r->kind == REQUEST_SET_PART)
        setwalk_look(k, r, &r->set->shard);
    else
        setshard_begin(k, r);
}

void setwalk_query(const struct request *r, struct krpc_msg *q)
{
    const struct setwalk *w = r->set;

    q->method = KRPC_SGET;
    q->target = w->root;
    q->has_depth = true;
    q->depth = w->shard.depth;
    q->prefix = span(w->shard.prefix, w->shard.depth);
    q->fresh = w->fresh;
    if (r->kind == REQUEST_SET_PUT)
        q->upto = slot_zero; /* no entries, please: only nodes and a token */
    if (w->keep)
        q->digest = setshard_same(r);
}

static uint8_t group_of(struct setwalk *w, const uint8_t *digest)
{
    unsigned g;

    for (g = 0; g < w->n_groups; g++)
        if (memcmp(w->digests[g], digest, KAD_ID_SIZE) == 0)
            return (uint8_t)g;
    if (w->n_groups == SETWALK_GROUPS_MAX)
        return SETWALK_GROUPS_MAX - 1; /* told apart no further: at worst something is sent twice */
    memcpy(w->digests[g], digest, KAD_ID_SIZE);
    return w->n_groups++;
}

void setwalk_value(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m)
{
    struct setwalk *w = r->set;

    if (!m->has_held || !m->digest || w->n_holders == LOOKUP_MAX)
        return;
    struct setwalk_holder *h = &w->holders[w->n_holders++];
    *h = (struct setwalk_holder){.at = at, .split = m->split, .more = m->more, .held = m->held};
    memcpy(h->digest, m->digest, KAD_ID_SIZE);
    h->group = group_of(w, h->digest);
    if (!take_list(k, w, m->entries, h, NULL, h->last))
        h->more = h->more && m->held > 0;
    w->any = true;
}

/* The lookup has ended: of all who were asked on the way, those count that are to hold the shard. */
static void mark_close(struct request *r)
{
    struct setwalk *w = r->set;
    struct request_node found[LOOKUP_MAX];

    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t n = request_closest(r, family, found, LOOKUP_MAX), width = request_width(r, family);
        for (size_t i = 0; i < n && i < width; i++)
            for (unsigned h = 0; h < w->n_holders; h++)
                if (w->holders[h].at.leg == found[i].leg && w->holders[h].at.node == found[i].node)
                    w->holders[h].close = true;
    }
}

/* Do fewer than num of den of those who count say that it is split? */
static bool fewer_say_so(const struct setwalk *w, unsigned num, unsigned den)
{
    unsigned split = 0, close = 0;

    for (unsigned i = 0; i < w->n_holders; i++) {
        split += w->holders[i].close && w->holders[i].split;
        close += w->holders[i].close;
    }
    return split * den < close * num;
}

bool setwalk_is_doubtful(const struct setwalk *w)
{
    return fewer_say_so(w, 1, 2);
}

bool setwalk_is_sure(const struct setwalk *w)
{
    return !fewer_say_so(w, 2, 3);
}

bool setwalk_is_split(const struct setwalk *w)
{
    unsigned split = 0, holding = 0;

    for (unsigned i = 0; i < w->n_holders; i++) {
        split += w->holders[i].split;
        holding += w->holders[i].held > 0 || w->holders[i].split;
    }
    /* Holders learn of a split one after another, so few are enough; but one alone could lie, and few that do
     * so level after level would send a reader through every shard there could be. Below what few called
     * split it takes two of three: that liars have so many seats in one of the sixteen children by chance is
     * rare enough to end it. */
    if (w->doubted && !setwalk_is_sure(w))
        return false;
    return w->shard.depth < KAD_SHARD_DEPTH_MAX && split > 0 && (split >= 2 || holding == 1);
}

/* ---- pages --------------------------------------------------------------------------------------------- */

static void range_query(const struct setwalk *w, const struct setwalk_range *range, struct krpc_msg *q)
{
    q->method = KRPC_SGET;
    q->target = w->root;
    q->has_depth = true;
    q->depth = w->shard.depth;
    q->prefix = span(w->shard.prefix, w->shard.depth);
    q->after = range->after;
    q->upto = range->upto;
}

static void range_ask(struct kad *k, struct request *r, unsigned i)
{
    struct setwalk_range *range = &r->set->ranges[i];
    struct krpc_msg q = {.kind = KRPC_QUERY};

    range_query(r->set, range, &q);
    range->running = request_send(k, r, r->set->holders[range->holder].at, &q,
                                  (uint16_t)(PART_RANGE + i)) == 0;
}

static void add_range(struct setwalk *w, unsigned holder, const uint8_t *after, const uint8_t *upto)
{
    struct setwalk_range *range;

    if (w->n_ranges == SETWALK_RANGES_MAX)
        return;
    range = &w->ranges[w->n_ranges++];
    *range = (struct setwalk_range){.holder = (uint8_t)holder};
    memcpy(range->after, after, KAD_SLOT_SIZE);
    memcpy(range->upto, upto, KAD_SLOT_SIZE);
}

/* Everything after `after` in equal parts of the slot space that is left in the shard,
 * one for each walker. */
static void spread(struct setwalk *w, const unsigned *walkers, unsigned n)
{
    uint8_t after[KAD_SLOT_SIZE], upto[KAD_SLOT_SIZE];
    const uint8_t *first = w->holders[walkers[0]].last;
    uint64_t end = w->shard.depth ? 0 : UINT64_MAX, from = be64(first);

    /* The last slot of the shard: its prefix, then ones. */
    memset(upto, 0xff, sizeof upto);
    for (unsigned i = 0; i < w->shard.depth; i++) {
        char hex = w->shard.prefix[i];
        unsigned digit = (unsigned)(hex <= '9' ? hex - '0' : hex - 'a' + 10);
        upto[i / 2] = (uint8_t)(i % 2 ? (upto[i / 2] & 0xf0) | digit : (upto[i / 2] & 0x0f) | digit << 4);
    }
    end = be64(upto);
    uint64_t step = end > from ? (end - from) / n : 0;
    memcpy(after, first, sizeof after);
    for (unsigned i = 0; i < n; i++) {
        uint8_t to[KAD_SLOT_SIZE];
        memset(to, 0xff, sizeof to);
        put_be64(to, i + 1 < n ? from + step * (i + 1) : end);
        add_range(w, walkers[i], after, to);
        memcpy(after, to, sizeof after);
    }
}

bool setwalk_start_ranges(struct kad *k, struct request *r, const uint8_t *skip_digest)
{
    struct setwalk *w = r->set;
    uint8_t all[KAD_SLOT_SIZE];

    memset(all, 0xff, sizeof all);
    for (unsigned g = 0; g < w->n_groups && !w->fresh; g++) {
        unsigned walkers[SETWALK_SPREAD], n = 0;
        uint32_t held = 0;
        if (skip_digest && memcmp(w->digests[g], skip_digest, KAD_ID_SIZE) == 0)
            continue;
        for (unsigned i = 0; i < w->n_holders && n < SETWALK_SPREAD; i++) {
            if (w->holders[i].group != g || !w->holders[i].more)
                continue;
            held = w->holders[i].held;
            walkers[n++] = i;
        }
        if (n == 0)
            continue;
        if (held > SETWALK_SMALL) {
            spread(w, walkers, n);
            continue;
        }
        /* A small one is read whole from several, so that `since` and `age` are medians of what they say. */
        unsigned each = w->n_groups >= SETWALK_HOLDERS ? 1 : SETWALK_HOLDERS;
        for (unsigned i = 0; i < n && i < each; i++)
            add_range(w, walkers[i], w->holders[walkers[i]].last, all);
    }
    for (unsigned i = 0; i < w->n_ranges; i++)
        range_ask(k, r, i);
    return r->writing > 0;
}

/* The walker does not answer any more: another holder of the same digest goes on in its place. */
static void range_move(struct kad *k, struct request *r, unsigned i)
{
    struct setwalk *w = r->set;
    struct setwalk_range *range = &w->ranges[i];
    uint8_t group = w->holders[range->holder].group;

    for (unsigned h = 1; h < w->n_holders && range->tries < SETWALK_HOLDERS; h++) {
        unsigned other = (range->holder + h) % w->n_holders;
        if (w->holders[other].group != group)
            continue;
        range->tries++;
        range->holder = (uint8_t)other;
        range_ask(k, r, i);
        return;
    }
}

void setwalk_range_answer(struct kad *k, struct request *r, uint16_t part, const struct krpc_msg *m)
{
    struct setwalk *w = r->set;
    unsigned i = (unsigned)(part - PART_RANGE);
    uint8_t last[KAD_SLOT_SIZE];

    assert(i < w->n_ranges);
    struct setwalk_range *range = &w->ranges[i];
    range->running = false;
    if (!m || m->kind != KRPC_REPLY) {
        range_move(k, r, i);
        return;
    }
    /* It split while we read, and may have handed down what we have not come to: that is read below. */
    w->holders[range->holder].split = w->holders[range->holder].split || m->split;
    bool any = take_list(k, w, m->entries, &w->holders[range->holder], range->after, last);
    /* A cursor that does not move forward would never end. */
    if (!any || !m->more || memcmp(last, range->after, KAD_SLOT_SIZE) <= 0 ||
        ++range->pages >= SETWALK_PAGES_MAX)
        return;
    memcpy(range->after, last, KAD_SLOT_SIZE);
    range_ask(k, r, i);
}

/* ---- by kind ------------------------------------------------------------------------------------------- */

/* Where only few call a shard split, it is not for those who named nodes that do not exist to say: a reader
 * would go through sixteen more. */
static void pass_over_liars(struct request *r)
{
    struct setwalk *w = r->set;

    if (!setwalk_is_doubtful(w))
        return;
    for (unsigned i = 0; i < w->n_holders; i++) {
        struct setwalk_holder *h = &w->holders[i];
        if (lookup_lies(r->legs[h->at.leg], h->at.node) > 0)
            h->split = false;
    }
}

void setwalk_looked_up(struct kad *k, struct request *r)
{
    mark_close(r);
    pass_over_liars(r);
    if (r->kind == REQUEST_SET_PUT)
        setput_looked_up(k, r);
    else if (r->kind != REQUEST_SET_PART)
        setshard_looked_up(k, r);
    else if (!setwalk_start_ranges(k, r, NULL))
        setread_part_ended(k, r);
}

void setwalk_written(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                     const struct krpc_msg *m)
{
    if (r->kind == REQUEST_SET_PUT) {
        setput_written(k, r, at, m);
        return;
    }
    if (r->kind != REQUEST_SET_PART) {
        setshard_answer(k, r, at, part, m);
        return;
    }
    setwalk_range_answer(k, r, part, m);
    if (r->writing == 0)
        setread_part_ended(k, r);
}

bool setwalk_again(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                   struct krpc_msg *q)
{
    (void)k;
    if (r->kind == REQUEST_SET_PUT) {
        setput_query(r, request_node(r, at), q);
        return true;
    }
    if (part < PART_RANGE || part >= PART_RANGE + r->set->n_ranges)
        return false; /* an entry pushed in replication: the next hour will do */
    range_query(r->set, &r->set->ranges[part - PART_RANGE], q);
    return true;
}
