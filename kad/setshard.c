/* Keeping a shard that we hold the same at all its holders, once an hour for what nobody refreshed
 * meanwhile, and at once with a new contact that should hold it. Holders are compared by digest; with those
 * that differ, entries go both ways.
 *
 *              our shard                        same digest everywhere
 *     begin --- is not split --> COMPARE ----------------------------------------------------+
 *      |  |                         |  pages of each other digest                            v
 *      |  |                         +----------> take what is new to us, PUSH what is to them  (end)
 *      |  |                                                                                  ^
 *      |  +---- has a parent ----> PARENT: it is not split (any more): MOVE all our entries up, then COMPARE
 *      |                                   it is: TEACH those of its holders that do not know, then COMPARE
 *      |
 *      +------- is split --------> DOWN: to each child in turn that our entries belong to, and on to its
 *                                   |    children where it is split itself: MOVE our entries of it
 *                                   |
 *                                   +--- the children hold few together ---> GATHER: read them all into
 *                                   |                                        our shard, no longer split
 *                                   +--- else ---> the mark is good for another week (end)
 *
 *     MOVE: one entry after another to those of the k closest who lack it; when half of them have it, it is
 *     dropped here. The last entry of a split shard stays: by it others hear of the shard, and whoever hears
 *     of it compares itself and learns that it is split.
 *
 * Going down and coming up again both leave every entry where a reader finds it, at each moment: it is
 * dropped above when it lies below, and a shard takes off its split mark when it holds all that its
 * children held.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "kad/setwalk.h"

#define PART_PUSH (1 + SETWALK_RANGES_MAX) /* after the parts of ranges; + number of the entry */
#define PUSH_WINDOW 16                     /* sputs in flight */
#define PUSH_SENT_MAX 64                   /* entries sent last, of which an sput can be sent again */
#define KEEP_LASTING_S 7200                /* a shard is gone through each hour */
#define DOWN_MAX (16 * KAD_SHARD_DEPTH_MAX)

enum stage { STAGE_PARENT, STAGE_COMPARE, STAGE_DOWN, STAGE_GATHER };

struct setshard {
    struct kad_shard_id own;      /* the shard that we hold */
    uint8_t own_digest[KAD_ID_SIZE];
    uint8_t stage;
    bool own_split, own_new;
    bool pushing, teaching;
    bool has_cursor;
    uint8_t cursor[KAD_SLOT_SIZE], push_pk[KEY_SIZE];
    int64_t push_seq;
    uint32_t acks, asked;         /* of the entry being moved: who has it, of how many that should */
    uint16_t n_sent;              /* entries pushed to the shard that is being looked at */
    uint8_t sent[PUSH_SENT_MAX][KEY_SIZE];
    struct kad_entry again;       /* what a query points to */
    struct kad_shard_id down[DOWN_MAX]; /* DOWN: shards to go to; the next is last */
    uint8_t n_down;
    uint8_t digit;                /* GATHER: the child being read */
    uint32_t below;               /* live entries that the children hold, as far as they were looked at */
};

static void look_stage(struct kad *k, struct request *r);
static void stage_ended(struct kad *k, struct request *r);

struct setshard *setshard_new(const struct kad_record *record)
{
    struct setshard *keep = calloc(1, sizeof *keep);

    if (!keep)
        return NULL;
    keep->own = record->shard;
    keep->own_split = record->split;
    return keep;
}

static void entry_query(const struct setwalk *w, const struct lookup_node *node,
                        const struct kad_entry *entry, struct krpc_msg *q)
{
    q->method = KRPC_SPUT;
    q->target = w->root;
    q->has_depth = true;
    q->depth = w->shard.depth;
    q->token = span(node->token, node->token_size);
    q->k = entry->pk;
    q->sig = entry->sig;
    q->has_seq = true;
    q->seq = entry->seq;
    q->age_s = entry->age_s;
    q->since_s = entry->since_s;
    q->v = (struct ben){entry->v.data, entry->v.size};
}

/* ---- our own entries ----------------------------------------------------------------------------------- */

/* The slot before the first that a shard may hold; NULL: there is none. */
static const uint8_t *before_first(const struct kad_shard_id *at, uint8_t ret[KAD_SLOT_SIZE])
{
    bool any = false;

    memset(ret, 0, KAD_SLOT_SIZE);
    for (unsigned i = 0; i < at->depth; i++) {
        unsigned digit = (unsigned)(at->prefix[i] <= '9' ? at->prefix[i] - '0' : at->prefix[i] - 'a' + 10);
        ret[i / 2] |= (uint8_t)(i % 2 ? digit : digit << 4);
        any = any || digit > 0;
    }
    for (unsigned i = KAD_SLOT_SIZE; any && i-- > 0 && ret[i]-- == 0;)
        ;
    return any ? ret : NULL;
}

/* The next of our entries that belong into the shard that is being looked at. */
static bool next_entry(struct kad *k, struct setwalk *w, struct kad_entry *ret,
                       uint8_t ret_slot[KAD_SLOT_SIZE])
{
    struct setshard *keep = w->keep;
    uint8_t first[KAD_SLOT_SIZE];
    bool down = keep->stage == STAGE_DOWN;
    const uint8_t *after = keep->has_cursor ? keep->cursor : down ? before_first(&w->shard, first) : NULL;

    if (!kad_store_entry_next(k->store, k->now, &keep->own, after, 0, ret, ret_slot))
        return false;
    return !down || kad_shard_contains(&w->shard, ret_slot);
}

static void move_cursor(struct setshard *keep, const uint8_t slot[KAD_SLOT_SIZE])
{
    memcpy(keep->cursor, slot, KAD_SLOT_SIZE);
    keep->has_cursor = true;
}

static bool have_any(struct kad *k, const struct setshard *keep)
{
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    return kad_store_entry_next(k->store, k->now, &keep->own, NULL, 0, &entry, slot);
}

/* ---- PUSH: our entries to those who lack them ---------------------------------------------------------- */

static const struct setwalk_holder *holder_at(const struct setwalk *w, struct request_node at)
{
    for (unsigned i = 0; i < w->n_holders; i++)
        if (w->holders[i].at.leg == at.leg && w->holders[i].at.node == at.node)
            return &w->holders[i];
    return NULL;
}

/* Tombstones, too, are something to hold, and `held` does not count them. */
static bool holds_nothing(const struct setwalk_holder *h)
{
    static const uint8_t zero[KAD_ID_SIZE];

    return memcmp(h->digest, zero, KAD_ID_SIZE) == 0;
}

static bool lacks(const struct setwalk *w, const struct setwalk_holder *h, const struct kad_entry *entry,
                  const uint8_t *slot)
{
    if (!h || holds_nothing(h) || h->group == SETWALK_GROUPS_MAX - 1) /* the last group is of all sorts */
        return true;
    if (w->keep->stage == STAGE_COMPARE && memcmp(h->digest, w->keep->own_digest, KAD_ID_SIZE) == 0)
        return false;
    const struct setwalk_found *f = setwalk_find(&w->finds, slot);
    return !f || !(f->groups & UINT32_C(1) << h->group) ||
           kad_version_compare(entry->seq, entry->v, f->entry.seq, f->entry.v) > 0;
}

/* A holder that answers as late as it may must not keep us from all others; what is left is there in the next
 * hour, and the other holders have it too. */
static bool had_its_time(const struct kad *k, const struct setwalk *w)
{
    return k->now.mono_ms >= w->until_ms + SETSHARD_PUSH_MS;
}

/* The next entry to be pushed: all its sputs have the same part. */
static uint16_t number_entry(struct setshard *keep, const struct kad_entry *entry)
{
    memcpy(keep->sent[keep->n_sent % PUSH_SENT_MAX], entry->pk, KEY_SIZE);
    return (uint16_t)(PART_PUSH + keep->n_sent++);
}

bool setshard_again(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                    struct krpc_msg *q)
{
    struct setshard *keep = r->set->keep;
    unsigned n = part - PART_PUSH;

    if (part < PART_PUSH || n >= keep->n_sent || keep->n_sent - n > PUSH_SENT_MAX ||
        kad_store_entry_get(k->store, k->now, &keep->own, keep->sent[n % PUSH_SENT_MAX], &keep->again))
        return false;
    entry_query(r->set, request_node(r, at), &keep->again, q);
    return true;
}

/* One entry to all that lack it. Whoever refuses it should have it all the same: it is not for those that
 * took it to outvote them. */
static void send_entry(struct kad *k, struct request *r, const struct kad_entry *entry, const uint8_t *slot)
{
    struct request_node found[LOOKUP_MAX];
    struct setshard *keep = r->set->keep;
    uint16_t part = 0;

    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t n = request_closest(r, family, found, LOOKUP_MAX), width = request_width(r, family);
        for (size_t i = 0; i < n && i < width; i++) {
            struct lookup_node *node = request_node(r, found[i]);
            struct krpc_msg q = {.kind = KRPC_QUERY};
            keep->asked++;
            if (!lacks(r->set, holder_at(r->set, found[i]), entry, slot)) {
                keep->acks++;
                continue;
            }
            if (node->refused || node->token_size == 0)
                continue;
            part = part ? part : number_entry(keep, entry);
            entry_query(r->set, node, entry, &q);
            request_send(k, r, found[i], &q, part);
        }
    }
}

static void push_on(struct kad *k, struct request *r)
{
    struct setshard *keep = r->set->keep;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    while (keep->pushing && r->writing < PUSH_WINDOW) {
        keep->pushing = !had_its_time(k, r->set) && next_entry(k, r->set, &entry, slot);
        if (!keep->pushing)
            break;
        move_cursor(keep, slot);
        send_entry(k, r, &entry, slot);
    }
    if (r->writing == 0 && !keep->pushing)
        stage_ended(k, r);
}

static void start_push(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    bool differs = false;

    for (unsigned i = 0; i < w->n_holders; i++)
        differs = differs || memcmp(w->holders[i].digest, w->keep->own_digest, KAD_ID_SIZE) != 0;
    w->keep->pushing = differs;
    w->keep->has_cursor = false;
    push_on(k, r);
}

/* Who gave us an entry: it counts against the room of that one, not of ourselves. NULL: it is our own. */
static const struct addr *giver(struct request *r, const struct setwalk_found *f)
{
    for (unsigned i = 0; i < r->set->n_holders; i++)
        if (f->groups & UINT32_C(1) << r->set->holders[i].group)
            return &request_node(r, r->set->holders[i].at)->addr;
    return NULL;
}

/* What the others have and we lack; and since when they know of it, while the shard is new to us. Who
 * handed it to us has a voice in how old it is, as they have. */
static void take_theirs(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    const struct kad_shard_id *own = &w->keep->own;
    bool is_new = kad_store_shard_is_new(k->store, k->now, own);
    bool ours = r->fixed || request_includes_self(k, r);

    setwalk_count_said(w);
    for (uint32_t i = 0; i < w->finds.n; i++) {
        struct setwalk_found *f = w->finds.at[i];
        struct kad_entry held;
        bool have = kad_store_entry_get(k->store, k->now, own, f->entry.pk, &held) == 0;
        if (have && held.seq == f->entry.seq)
            setwalk_say(&f->age, SETWALK_US, held.age_s);
        setwalk_settle(f);
        if (ours && (!have || kad_version_compare(f->entry.seq, f->entry.v, held.seq, held.v) > 0))
            have = kad_store_set_put(k->store, k->now, w->root, own->depth, &f->entry, giver(r, f)) == 0;
        if (have && is_new)
            kad_store_set_times(k->store, k->now, own, &f->entry);
    }
}

/* ---- MOVE: our entries to another level ---------------------------------------------------------------- */

static void move_on(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct setshard *keep = w->keep;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    while (r->writing == 0) {
        if (keep->asked > 0 && keep->acks * 2 >= keep->asked)
            kad_store_handed(k->store, k->now, &keep->own, keep->push_pk, keep->push_seq);
        keep->acks = keep->asked = 0;
        if (had_its_time(k, w) || !next_entry(k, w, &entry, slot)) {
            stage_ended(k, r);
            return;
        }
        move_cursor(keep, slot);
        memcpy(keep->push_pk, entry.pk, KEY_SIZE);
        keep->push_seq = entry.seq;
        if (request_includes_self(k, r) &&
            kad_store_set_put(k->store, k->now, w->root, w->shard.depth, &entry, NULL) == 0)
            keep->acks++, keep->asked++;
        /* The store may have moved under us: read it again before it is sent. */
        if (kad_store_entry_get(k->store, k->now, &keep->own, keep->push_pk, &entry) == 0)
            send_entry(k, r, &entry, slot);
    }
}

/* ---- TEACH: a parent's holders that do not know of its split ------------------------------------------- */

/* Who comes after those that saw the parent split would never hear of it. One entry of ours is enough: it
 * makes them holders, and in their next hour they compare and learn. False: nobody needs it. */
static bool teach_parent(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct request_node found[LOOKUP_MAX];
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];
    uint16_t part;

    if (!setwalk_is_split(w) || !kad_store_entry_next(k->store, k->now, &w->keep->own, NULL, 0, &entry, slot))
        return false;
    part = number_entry(w->keep, &entry);
    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t n = request_closest(r, family, found, LOOKUP_MAX), width = request_width(r, family);
        for (size_t i = 0; i < n && i < width; i++) {
            const struct setwalk_holder *h = holder_at(r->set, found[i]);
            const struct lookup_node *node = request_node(r, found[i]);
            struct krpc_msg q = {.kind = KRPC_QUERY};
            if (!h || h->split || !holds_nothing(h) || node->token_size == 0)
                continue;
            entry_query(w, node, &entry, &q);
            w->keep->teaching = request_send(k, r, found[i], &q, part) == 0 || w->keep->teaching;
        }
    }
    return w->keep->teaching;
}

/* ---- DOWN: a split shard hands down -------------------------------------------------------------------- */

static void add_down(struct setshard *keep, const struct kad_shard_id *parent)
{
    for (unsigned digit = 16; digit-- > 0 && keep->n_down < DOWN_MAX;)
        kad_shard_child(&keep->down[keep->n_down++], parent, digit);
}

/* Is there an entry that outlives the hour in which nobody looks here? */
static bool have_lasting(struct kad *k, const struct setshard *keep)
{
    struct kad_entry entry;
    uint8_t after[KAD_SLOT_SIZE], slot[KAD_SLOT_SIZE];
    const uint8_t *from = NULL;

    while (kad_store_entry_next(k->store, k->now, &keep->own, from, 0, &entry, slot)) {
        if (kad_value_expires_s(entry.v) > now_unix_s(k->now) + KEEP_LASTING_S)
            return true;
        from = memcpy(after, slot, KAD_SLOT_SIZE);
    }
    return false;
}

/* Nobody hears of a split shard without entries, and no reader believes that it is one. When ours go, the one
 * of a child's that we have just seen which lives longest comes back to it. */
static void keep_one(struct kad *k, const struct setwalk *w)
{
    const struct setshard *keep = w->keep;
    const struct kad_entry *last = NULL;
    int64_t until_s = 0;

    for (uint32_t i = 0; i < w->finds.n; i++) {
        const struct kad_entry *entry = &w->finds.at[i]->entry;
        if (kad_value_expires_s(entry->v) > until_s) {
            last = entry;
            until_s = kad_value_expires_s(entry->v);
        }
    }
    if (!last || have_lasting(k, keep))
        return;
    kad_store_reopen(k->store, k->now, &keep->own);
    kad_store_set_put(k->store, k->now, w->root, keep->own.depth, last, NULL);
    kad_store_split(k->store, k->now, &keep->own);
}

/* To the next shard below that we have entries for, or that we must count. */
static void down_on(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct setshard *keep = w->keep;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];

    while (keep->n_down > 0) {
        w->shard = keep->down[--keep->n_down];
        keep->has_cursor = false;
        bool counts = w->shard.depth == keep->own.depth + 1 && keep->below < KAD_SHARD_MERGE_MAX;
        if (!counts && !next_entry(k, w, &entry, slot))
            continue;
        look_stage(k, r);
        return;
    }
    if (keep->below < KAD_SHARD_MERGE_MAX) {
        keep->stage = STAGE_GATHER;
        look_stage(k, r);
        return;
    }
    keep_one(k, w);
    kad_store_split(k->store, k->now, &keep->own); /* still needed: the mark has another week */
    request_finish(k, r);
}

/* What most say the child holds; one alone that says more is not heard. */
static uint32_t held_by_two(const struct setwalk *w)
{
    uint32_t most = 0, second = 0;

    for (unsigned i = 0; i < w->n_holders; i++) {
        uint32_t held = w->holders[i].held;
        second = held > most ? most : held > second ? held : second;
        most = held > most ? held : most;
    }
    return w->n_holders > 1 ? second : most;
}

static void down_looked_up(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct setshard *keep = w->keep;
    struct kad_entry entry;
    uint8_t slot[KAD_SLOT_SIZE];
    bool split = setwalk_is_split(w);

    if (w->shard.depth == keep->own.depth + 1)
        keep->below += split ? KAD_SHARD_ENTRIES_MAX : held_by_two(w);
    if (!next_entry(k, w, &entry, slot)) {
        down_on(k, r);
    } else if (split && !setwalk_is_doubtful(w)) {
        struct kad_shard_id parent = w->shard;
        add_down(keep, &parent);
        down_on(k, r);
    } else if (!setwalk_start_ranges(k, r, NULL)) {
        move_on(k, r);
    }
}

/* ---- GATHER: a split shard takes back what its children hold ------------------------------------------- */

static void gather_end(struct kad *k, struct request *r, bool all)
{
    struct setwalk *w = r->set;
    const struct kad_shard_id *own = &w->keep->own;

    if (all) {
        kad_store_reopen(k->store, k->now, own);
        for (uint32_t i = 0; i < w->finds.n; i++) {
            struct setwalk_found *f = w->finds.at[i];
            setwalk_settle(f);
            if (kad_store_set_put(k->store, k->now, w->root, own->depth, &f->entry, NULL) == 0)
                kad_store_set_times(k->store, k->now, own, &f->entry);
        }
    } else {
        keep_one(k, w);
        kad_store_split(k->store, k->now, own);
    }
    request_finish(k, r);
}

/* One child has been read. Tombstones, which holders do not count, may make them too many for one shard. */
static void gather_on(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;

    setwalk_count_said(w);
    if (setwalk_is_split(w) || w->finds.n > KAD_SHARD_MERGE_MAX)
        gather_end(k, r, false);
    else if (++w->keep->digit == 16)
        gather_end(k, r, true);
    else
        look_stage(k, r);
}

/* ---- stages -------------------------------------------------------------------------------------------- */

static void look_stage(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    struct setshard *keep = w->keep;
    struct kad_shard_id at = keep->own;

    if (keep->stage == STAGE_PARENT)
        kad_shard_parent(&at, &keep->own);
    else if (keep->stage == STAGE_DOWN)
        at = w->shard;
    else if (keep->stage == STAGE_GATHER)
        kad_shard_child(&at, &keep->own, keep->digit);
    if (keep->stage != STAGE_GATHER || keep->digit == 0)
        setwalk_finds_forget(&w->finds);
    keep->has_cursor = false;
    keep->asked = keep->acks = 0;
    keep->n_sent = 0;
    setwalk_look(k, r, &at);
}

void setshard_begin(struct kad *k, struct request *r)
{
    struct setshard *keep = r->set->keep;
    struct kad_set_query query = {.max = 1};
    struct kad_set_page page;

    kad_store_set_get(k->store, k->now, &keep->own, &query, &page);
    memcpy(keep->own_digest, page.digest, KAD_ID_SIZE);
    keep->own_split = page.split;
    keep->own_new = kad_store_shard_is_new(k->store, k->now, &keep->own);
    keep->stage = keep->own.depth > 0 && !r->fixed ? STAGE_PARENT : STAGE_COMPARE;
    if (keep->stage == STAGE_COMPARE && keep->own_split && !r->fixed)
        stage_ended(k, r);
    else
        look_stage(k, r);
}

static void parent_looked_up(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    unsigned holding = 0;

    for (unsigned i = 0; i < w->n_holders; i++)
        holding += !holds_nothing(&w->holders[i]) || w->holders[i].split;
    /* Up again only where somebody keeps the parent and nobody who counts calls it split. */
    if (holding > 0 && !setwalk_is_split(w)) {
        if (!setwalk_start_ranges(k, r, NULL))
            move_on(k, r);
    } else if (!teach_parent(k, r)) {
        stage_ended(k, r);
    }
}

static void compare_looked_up(struct kad *k, struct request *r)
{
    struct setwalk *w = r->set;
    const struct kad_shard_id *own = &w->keep->own;

    /* What is split hands down, not sideways. */
    if (!r->fixed && setwalk_is_split(w) && !setwalk_is_doubtful(w)) {
        kad_store_split(k->store, k->now, own);
        stage_ended(k, r);
        return;
    }
    /* What a new holder was handed says nothing of since when: that the others are asked for. */
    bool is_new = kad_store_shard_is_new(k->store, k->now, own);
    if (!setwalk_start_ranges(k, r, is_new ? NULL : w->keep->own_digest)) {
        take_theirs(k, r);
        start_push(k, r);
    }
}

/* While the shard is new to us the others' entries are wanted all the same, for what they say of their
 * age; and who compares with one newcomer alone does not see to the others. */
const uint8_t *setshard_same(const struct request *r)
{
    const struct setshard *keep = r->set->keep;
    bool compares = keep->stage == STAGE_COMPARE && !keep->own_split && !r->fixed;

    return compares && !keep->own_new ? keep->own_digest : NULL;
}

void setshard_looked_up(struct kad *k, struct request *r)
{
    switch (r->set->keep->stage) {
    case STAGE_PARENT:
        parent_looked_up(k, r);
        break;
    case STAGE_COMPARE:
        compare_looked_up(k, r);
        break;
    case STAGE_DOWN:
        down_looked_up(k, r);
        break;
    default:
        if (!setwalk_start_ranges(k, r, NULL))
            gather_on(k, r);
        break;
    }
}

/* All pages of the shard are there. */
static void pages_read(struct kad *k, struct request *r)
{
    switch (r->set->keep->stage) {
    case STAGE_COMPARE:
        take_theirs(k, r);
        start_push(k, r);
        break;
    case STAGE_GATHER:
        gather_on(k, r);
        break;
    default:
        move_on(k, r);
        break;
    }
}

void setshard_answer(struct kad *k, struct request *r, struct request_node at, uint16_t part,
                     const struct krpc_msg *m)
{
    struct setshard *keep = r->set->keep;

    if (part < PART_PUSH) {
        if (!setwalk_range_answer(k, r, part, m))
            pages_read(k, r);
        return;
    }
    bool took = m && m->kind == KRPC_REPLY && !m->split;
    /* One that has a newer version holds the key's entry, which is all that is wanted of it. */
    took = took || (m && m->kind == KRPC_ERROR && m->code == KAD_ERROR_STALE);
    if (!m || (m->kind == KRPC_ERROR && m->code != KAD_ERROR_STALE))
        request_node(r, at)->refused = !m || m->code == KAD_ERROR_PROTOCOL || m->code == KAD_ERROR_FULL;
    keep->acks += took;
    if (keep->teaching) {
        keep->teaching = r->writing > 0;
        if (!keep->teaching)
            stage_ended(k, r);
    } else if (keep->stage == STAGE_COMPARE) {
        push_on(k, r);
    } else {
        move_on(k, r);
    }
}

static void stage_ended(struct kad *k, struct request *r)
{
    struct setshard *keep = r->set->keep;

    if (keep->stage == STAGE_PARENT && have_any(k, keep) && !keep->own_split) {
        keep->stage = STAGE_COMPARE;
        look_stage(k, r);
    } else if (keep->own_split && !r->fixed && keep->own.depth < KAD_SHARD_DEPTH_MAX &&
               keep->stage != STAGE_DOWN) {
        keep->stage = STAGE_DOWN;
        keep->below = 0;
        add_down(keep, &keep->own);
        down_on(k, r);
    } else if (keep->stage == STAGE_DOWN) {
        down_on(k, r);
    } else {
        request_finish(k, r);
    }
}
