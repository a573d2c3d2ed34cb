/* One shard of a signed set, looked at over all its holders: who has what,
 * and what their first pages list. */
#include "kad/setwalk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/setread.h"

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

int setwalk_take(struct kad *k, struct setwalk *w, const struct kad_entry *entry,
                 const struct setwalk_holder *h)
{
    uint8_t slot[KAD_SLOT_SIZE], by = h ? (uint8_t)(h - w->holders) : SETWALK_US;
    int64_t exp_s = kad_value_expires_s(entry->v);

    kad_slot(entry->pk, slot);
    const struct setwalk_found *old = setwalk_find(&w->finds, slot);
    int order = old ? kad_version_compare(entry->seq, entry->v, old->entry.seq, old->entry.v) : 1;
    /* The same signed bytes were verified already. An older version is no find, but counts for the digest. */
    if (order != 0 && (kad_entry_check(entry) || kad_verified_entry(&k->verified, entry, w->root))) {
        k->stats.refused_signature++;
        return CAM_EAUTH;
    }
    if (order < 0 || (exp_s != 0 && exp_s <= now_unix_s(k->now)) || (!old && w->finds.n >= SETWALK_FOUND_MAX))
        return 0;
    struct setwalk_found *f = malloc(sizeof *f + entry->v.size);
    if (!f)
        return CAM_ESYS;
    memcpy(f->slot, slot, KAD_SLOT_SIZE);
    memcpy(f->v, entry->v.data, entry->v.size);
    f->entry = *entry;
    f->entry.v = span(f->v, entry->v.size);
    f->groups = h ? UINT32_C(1) << h->group : 0;
    f->since.n = f->age.n = 0;
    setwalk_say(&f->since, by, entry->since_s);
    setwalk_say(&f->age, by, entry->age_s);
    return setwalk_finds_add(&w->finds, f) ? 0 : CAM_ESYS;
}

/* A page is in the order of slots and lies beyond the cursor. What does not is left out, and what a fresh
 * page, which has an order of its own, lists again: an entry that one holder sent many times over would have
 * as many voices in a median. No honest holder lists what is not signed: it would cost us a
 * verification for each. */
unsigned setwalk_take_list(struct kad *k, struct setwalk *w, struct ben list, struct setwalk_holder *h,
                           struct setwalk_cursor *cursor, const uint8_t *upto)
{
    struct ben_iter it = ben_iter(list);
    struct ben one;
    unsigned n = 0;

    while (!h->disbelieved && list.data && ben_next(&it, NULL, &one)) {
        struct kad_entry entry;
        uint8_t slot[KAD_SLOT_SIZE];
        if (kad_entry_get(one, &entry))
            continue;
        kad_slot(entry.pk, slot);
        if (!kad_shard_contains(&w->shard, slot) || (upto && memcmp(slot, upto, KAD_SLOT_SIZE) > 0))
            continue;
        if (w->fresh ? !setfresh_note(h, slot, &entry) : memcmp(slot, cursor->at, KAD_SLOT_SIZE) <= 0)
            continue;
        int err = setwalk_take(k, w, &entry, h);
        h->disbelieved = err == CAM_EAUTH;
        if (err)
            continue;
        memcpy(cursor->at, slot, KAD_SLOT_SIZE);
        kad_entry_digest(&entry, cursor->sum);
        n++;
    }
    return n;
}

/* ---- one shard ----------------------------------------------------------------------------------------- */

static void take_own(struct kad *k, struct setwalk *w)
{
    uint8_t slot[KAD_SLOT_SIZE], *after = NULL;
    struct kad_entry entry;

    while (w->finds.n < SETWALK_FOUND_MAX &&
           kad_store_entry_next(k->store, k->now, &w->shard, after, 0, &entry, slot)) {
        setwalk_take(k, w, &entry, NULL);
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
        if (memcmp(w->groups[g].digest, digest, KAD_ID_SIZE) == 0)
            return (uint8_t)g;
    if (w->n_groups == SETWALK_GROUPS_MAX)
        return SETWALK_GROUPS_MAX - 1; /* told apart no further: at worst something is sent twice */
    w->groups[g] = (struct setwalk_group){0};
    memcpy(w->groups[g].digest, digest, KAD_ID_SIZE);
    return w->n_groups++;
}

/* Of a holder that is not believed nothing stays but what others signed. */
static void forget_holder(struct setwalk_holder *h)
{
    h->split = h->more = false;
    h->held = 0;
    free(h->page);
    h->page = NULL;
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
    if (setwalk_take_list(k, w, m->entries, h, &h->first, NULL) == 0)
        h->more = h->more && m->held > 0;
    if (h->disbelieved)
        forget_holder(h);
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
    r->set->until_ms = k->now.mono_ms + SETWALK_PAGES_MS;
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
    if (!setwalk_range_answer(k, r, part, m))
        setread_part_ended(k, r);
}

bool setwalk_again(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                   struct krpc_msg *q)
{
    if (r->kind == REQUEST_SET_PUT) {
        setput_query(r, request_node(r, at), q);
        return true;
    }
    return setwalk_range_query(r->set, part, q) || (r->set->keep && setshard_again(k, r, at, part, q));
}
