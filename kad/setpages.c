/* The pages of a shard that the first answers left out.
 *
 * Holders that state the same digest are a group, and share the work: each walks through its part. But a
 * digest is only claimed. Whoever copied it could leave out what lies in its part, and all of it if it was
 * the one to say where the parts begin. So the entries that a pass brought are summed up as the digest is
 * made; where that is not what the group states, others of it walk:
 *
 *     pass 1       large: in parts, side by side       small: each of SETWALK_HOLDERS through all
 *     pass 2       in parts, by others
 *     from then    each of SETWALK_HOLDERS through all: one of them that is honest is enough
 *
 * It ends with a pass that brought what most of the group state, when they were asked first or by now, or
 * that and one entry more, which came meanwhile. Where no digest is that of most any longer the set is
 * changing, and two passes are all. */
#include <assert.h>
#include <string.h>

#include "kad/setwalk.h"

#define PART_RANGE 1 /* + index of the range; a write is UINT16_MAX */

/* ---- groups -------------------------------------------------------------------------------------------- */

static unsigned close_of(const struct setwalk *w, unsigned g)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->n_holders; i++)
        n += w->holders[i].group == g && w->holders[i].close && !w->holders[i].disbelieved;
    return n;
}

/* Those of the group whose word counts, in the order in which they walk: the close ones, if any are there
 * and believed. */
static unsigned members_of(const struct setwalk *w, unsigned g, uint8_t ret[LOOKUP_MAX])
{
    bool any_close = close_of(w, g) > 0;
    unsigned n = 0;

    for (unsigned i = 0; i < w->n_holders; i++) {
        const struct setwalk_holder *h = &w->holders[w->order[i]];
        if (h->group == g && !h->disbelieved && (h->close || !any_close))
            ret[n++] = w->order[i];
    }
    return n;
}

/* What most of the group state by now; NULL: there is no such digest. */
static const uint8_t *stated_by_most(const struct setwalk *w, unsigned g)
{
    uint8_t members[LOOKUP_MAX];
    unsigned n = members_of(w, g, members);

    for (unsigned i = 0; i < n; i++) {
        unsigned same = 0;
        for (unsigned j = 0; j < n; j++)
            same += memcmp(w->holders[members[i]].digest, w->holders[members[j]].digest, KAD_ID_SIZE) == 0;
        if (2 * same > n)
            return w->holders[members[i]].digest;
    }
    return NULL;
}

/* Is this the sum of all that the digest is made of, or of that and one entry more? */
static bool is_made_of(const struct setwalk *w, unsigned g, const uint8_t *digest, const uint8_t *sum)
{
    uint8_t more[KAD_ID_SIZE];

    if (memcmp(digest, sum, KAD_ID_SIZE) == 0)
        return true;
    for (uint32_t i = 0; i < w->finds.n; i++) {
        if (!(w->finds.at[i]->groups & UINT32_C(1) << g))
            continue;
        memcpy(more, digest, KAD_ID_SIZE);
        kad_entry_digest(&w->finds.at[i]->entry, more);
        if (memcmp(more, sum, KAD_ID_SIZE) == 0)
            return true;
    }
    return false;
}

static bool is_all(const struct setwalk *w, unsigned g, const uint8_t *sum)
{
    const uint8_t *most = stated_by_most(w, g);

    return is_made_of(w, g, w->groups[g].digest, sum) || (most && is_made_of(w, g, most, sum));
}

/* ---- a pass over one group ----------------------------------------------------------------------------- */

/* The slots of a shard begin with its prefix; `fill` is what follows. */
static void slot_with(const struct kad_shard_id *shard, uint8_t fill, uint8_t ret[KAD_SLOT_SIZE])
{
    memset(ret, fill, KAD_SLOT_SIZE);
    for (unsigned i = 0; i < shard->depth; i++) {
        char hex = shard->prefix[i];
        unsigned digit = (unsigned)(hex <= '9' ? hex - '0' : hex - 'a' + 10);
        ret[i / 2] = (uint8_t)(i % 2 ? (ret[i / 2] & 0xf0) | digit : (ret[i / 2] & 0x0f) | digit << 4);
    }
}

static struct setwalk_range *add_range(struct setwalk *w, uint8_t holder, const struct setwalk_cursor *from)
{
    assert(w->n_ranges < SETWALK_RANGES_MAX); /* begin_pass */
    struct setwalk_range *range = &w->ranges[w->n_ranges++];
    *range = (struct setwalk_range){.from = *from, .holder = holder};
    slot_with(&w->shard, 0xff, range->upto);
    return range;
}

/* Everything beyond the cursor in equal parts of the slot space that is left in the shard,
 * one for each walker. */
static void add_parts(struct setwalk *w, const uint8_t *walkers, unsigned n, struct setwalk_cursor from)
{
    uint8_t last[KAD_SLOT_SIZE];

    slot_with(&w->shard, 0xff, last);
    uint64_t first = be64(from.at), end = be64(last), step = end > first ? (end - first) / n : 0;
    for (unsigned i = 0; i < n; i++) {
        struct setwalk_range *range = add_range(w, walkers[i], &from);
        if (i + 1 < n)
            put_be64(range->upto, first + step * (i + 1));
        from = (struct setwalk_cursor){0};
        memcpy(from.at, range->upto, KAD_SLOT_SIZE);
    }
}

/* Where the first pages of all walkers reach, so that one of them that is honest is enough. */
static struct setwalk_cursor shortest_page(const struct setwalk *w, const uint8_t *walkers, unsigned n)
{
    const struct setwalk_cursor *ret = &w->holders[walkers[0]].first;

    for (unsigned i = 1; i < n; i++)
        if (memcmp(w->holders[walkers[i]].first.at, ret->at, KAD_SLOT_SIZE) < 0)
            ret = &w->holders[walkers[i]].first;
    return *ret;
}

/* Whoever can walk, those whose turn it is first. In the first pass that is who has more than its first
 * page. */
static unsigned walkers_of(const struct setwalk *w, unsigned g, uint8_t ret[LOOKUP_MAX])
{
    const struct setwalk_group *group = &w->groups[g];
    uint8_t members[LOOKUP_MAX];
    unsigned n = 0, all = members_of(w, g, members);

    for (unsigned i = 0; i < all; i++) {
        uint8_t holder = members[(group->turn + i) % all];
        if (group->passes > 0 || w->holders[holder].more)
            ret[n++] = holder;
    }
    return n;
}

static bool is_small(const struct setwalk *w, const uint8_t *walkers, unsigned n)
{
    uint32_t held[LOOKUP_MAX];

    for (unsigned i = 0; i < n; i++)
        held[i] = w->holders[walkers[i]].held;
    return setwalk_median(held, n) <= SETWALK_SMALL;
}

/* `readers`: by how many each entry is read, where walkers go through all. */
static void begin_pass(struct setwalk *w, unsigned g, unsigned readers)
{
    struct setwalk_group *group = &w->groups[g];
    struct setwalk_cursor from = {0};
    uint8_t walkers[LOOKUP_MAX];
    unsigned n = walkers_of(w, g, walkers), able = n, room = SETWALK_RANGES_MAX - w->n_ranges;

    if (n == 0)
        group->done = true; /* the first pages were all */
    if (n == 0 || room == 0)
        return;
    group->whole = group->passes >= 2 || is_small(w, walkers, n);
    unsigned max = group->whole ? readers : SETWALK_SPREAD;
    n = n < max ? n : max;
    n = n < room ? n : room;
    bool is_first = group->passes++ == 0;
    group->turn = (uint8_t)(group->turn + (n < able ? n : 1)); /* not the same parts to the same again */
    slot_with(&w->shard, 0, from.at);
    if (is_first && !group->whole)
        from = shortest_page(w, walkers, n);
    if (!group->whole)
        add_parts(w, walkers, n, from);
    for (unsigned i = 0; group->whole && i < n; i++)
        add_range(w, walkers[i], is_first ? &w->holders[walkers[i]].first : &from);
}

static void end_pass(struct setwalk *w, unsigned g)
{
    struct setwalk_group *group = &w->groups[g];
    uint8_t sum[KAD_ID_SIZE] = {0}, members[LOOKUP_MAX];

    for (unsigned i = 0; i < w->n_ranges; i++)
        for (unsigned j = 0; w->holders[w->ranges[i].holder].group == g && j < KAD_ID_SIZE; j++)
            sum[j] ^= w->ranges[i].from.sum[j];
    group->done = group->done || (!group->whole && is_all(w, g, sum)) ||
                  group->passes == SETWALK_PASSES_MAX || members_of(w, g, members) < 2 ||
                  (group->passes >= 2 && !stated_by_most(w, g));
}

/* ---- rounds: a pass over each group that is not done --------------------------------------------------- */

bool setwalk_range_query(const struct setwalk *w, uint16_t part, struct krpc_msg *q)
{
    if (part < PART_RANGE || part >= PART_RANGE + w->n_ranges)
        return false;
    q->method = KRPC_SGET;
    q->target = w->root;
    q->has_depth = true;
    q->depth = w->shard.depth;
    q->prefix = span(w->shard.prefix, w->shard.depth);
    q->after = w->ranges[part - PART_RANGE].from.at;
    q->upto = w->ranges[part - PART_RANGE].upto;
    return true;
}

static void range_ask(struct kad *k, struct request *r, unsigned i)
{
    struct krpc_msg q = {.kind = KRPC_QUERY};
    uint16_t part = (uint16_t)(PART_RANGE + i);

    setwalk_range_query(r->set, part, &q);
    request_send(k, r, r->set->holders[r->set->ranges[i].holder].at, &q, part);
}

/* Those first that most of the k closest stand for: of others there may be more than there is room. */
static void sort_groups(const struct setwalk *w, uint8_t ret[SETWALK_GROUPS_MAX])
{
    for (unsigned g = 0; g < w->n_groups; g++) {
        unsigned at = g;
        for (; at > 0 && close_of(w, ret[at - 1]) < close_of(w, g); at--)
            ret[at] = ret[at - 1];
        ret[at] = (uint8_t)g;
    }
}

/* A small shard is read whole from several, so that `since` and `age` are medians of what they say. Where
 * there are many groups these are several already, and only that of most is read by more than one. */
static bool begin_round(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    uint8_t groups[SETWALK_GROUPS_MAX], walkers[LOOKUP_MAX];
    unsigned left = 0;

    w->n_ranges = 0;
    if (k->now.mono_ms >= w->until_ms)
        return false;
    sort_groups(w, groups);
    for (unsigned g = 0; g < w->n_groups; g++)
        left += !w->groups[g].done && walkers_of(w, g, walkers) > 0;
    for (unsigned i = 0; i < w->n_groups; i++) {
        const struct setwalk_group *group = &w->groups[groups[i]];
        bool once = group->passes == 0 && i > 0 && left >= SETWALK_HOLDERS;
        if (!group->done)
            begin_pass(w, groups[i], once ? 1 : SETWALK_HOLDERS);
    }
    for (unsigned i = 0; i < w->n_ranges; i++)
        range_ask(k, r, i);
    return r->writing > 0;
}

/* Who answered first is not who walks first: a liar can be quick. */
static void shuffle_holders(struct kad *k, struct setwalk *w)
{
    for (unsigned i = 0; i < w->n_holders; i++) {
        unsigned at = rng_below(&k->rng, i + 1);
        w->order[i] = w->order[at];
        w->order[at] = (uint8_t)i;
    }
}

bool setwalk_start_ranges(struct kad *k, struct request *r, const uint8_t *skip_digest)
{
    struct setwalk *w = r->set;

    shuffle_holders(k, w);
    for (unsigned g = 0; g < w->n_groups; g++)
        w->groups[g].done = w->fresh ||
                            (skip_digest && memcmp(w->groups[g].digest, skip_digest, KAD_ID_SIZE) == 0);
    return begin_round(k, r);
}

/* The walker does not answer any more, or is not heard: another holder of the same digest goes on in its
 * place. */
static void range_move(struct kad *k, struct request *r, unsigned i)
{
    struct setwalk *w = r->set;
    struct setwalk_range *range = &w->ranges[i];
    uint8_t group = w->holders[range->holder].group;

    if (k->now.mono_ms >= w->until_ms)
        return;
    for (unsigned h = 1; h < w->n_holders && range->tries < SETWALK_HOLDERS; h++) {
        unsigned other = (range->holder + h) % w->n_holders;
        if (w->holders[other].group != group || w->holders[other].disbelieved)
            continue;
        range->tries++;
        range->holder = (uint8_t)other;
        range_ask(k, r, i);
        return;
    }
}

static void range_read(struct kad *k, struct request *r, unsigned i, const struct krpc_msg *m)
{
    struct setwalk *w = r->set;
    struct setwalk_range *range = &w->ranges[i];
    struct setwalk_holder *h = &w->holders[range->holder];
    struct setwalk_group *group = &w->groups[h->group];

    unsigned n = setwalk_take_list(k, w, m->entries, h, &range->from, range->upto);
    if (h->disbelieved) {
        range_move(k, r, i);
        return;
    }
    /* It split while we read, and may have handed down what we have not come to: that is read below. */
    h->split = h->split || m->split;
    if (m->digest)
        memcpy(h->digest, m->digest, KAD_ID_SIZE);
    range->entries += n;
    /* A cursor that does not move forward would never end, nor one that moves through what no shard holds. */
    if (n == 0 || !m->more || range->entries > KAD_SHARD_ENTRIES_MAX) {
        group->done = group->done || (group->whole && is_all(w, h->group, range->from.sum));
        return;
    }
    /* Once it is known what there is nobody else is heard again, except for his voice in medians. */
    if (k->now.mono_ms < w->until_ms && (group->passes == 1 || !group->done))
        range_ask(k, r, i);
}

bool setwalk_range_answer(struct kad *k, struct request *r, uint16_t part, const struct krpc_msg *m)
{
    struct setwalk *w = r->set;
    unsigned i = (unsigned)(part - PART_RANGE);

    assert(i < w->n_ranges);
    if (m && m->kind == KRPC_REPLY)
        range_read(k, r, i, m);
    else
        range_move(k, r, i);
    if (r->writing > 0)
        return true;
    for (unsigned g = 0; g < w->n_groups; g++)
        if (w->groups[g].passes > 0)
            end_pass(w, g);
    return begin_round(k, r);
}
