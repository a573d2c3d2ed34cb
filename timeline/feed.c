#include "timeline/feed.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"

void feed_init(struct feed *feed, const uint8_t author[KEY_SIZE], uint16_t device)
{
    *feed = (struct feed){ .device = device };
    memcpy(feed->author, author, KEY_SIZE);
}

/* Looking in */

/* The range that holds seq, or NULL. */
static const struct feed_range *range_of(const struct feed *feed, uint64_t seq)
{
    for (uint32_t i = 0; i < feed->n_ranges; i++)
        if (seq >= feed->ranges[i].lo && seq <= feed->ranges[i].hi)
            return &feed->ranges[i];
    return NULL;
}

bool feed_holds(const struct feed *feed, uint64_t seq) { return range_of(feed, seq) != NULL; }

uint64_t feed_head_seq(const struct feed *feed)
{
    return feed->n_ranges ? feed->ranges[feed->n_ranges - 1].hi : 0;
}

uint64_t feed_complete_to(const struct feed *feed)
{
    return feed->n_ranges && feed->ranges[0].lo == feed->floor_seq + 1 ? feed->ranges[0].hi : 0;
}

uint64_t feed_missing(const struct feed *feed)
{
    if (feed->known_seq <= feed->floor_seq)
        return 0;
    uint64_t missing = feed->known_seq - feed->floor_seq;
    for (uint32_t i = 0; i < feed->n_ranges; i++)
        missing -= feed->ranges[i].hi - feed->ranges[i].lo + 1;
    return missing;
}

bool feed_gap_below(const struct feed *feed, uint64_t below, uint64_t *ret_from, uint64_t *ret_to)
{
    /* All from `upper` on is held, or was not asked for. */
    uint64_t upper = feed->known_seq + 1 < below ? feed->known_seq + 1 : below;
    for (uint32_t i = feed->n_ranges; i-- > 0;) {
        const struct feed_range *r = &feed->ranges[i];
        if (r->hi + 1 < upper) {
            *ret_from = r->hi + 1;
            *ret_to = upper - 1;
            return true;
        }
        if (r->lo < upper)
            upper = r->lo;
    }
    if (feed->floor_seq + 1 >= upper)
        return false;
    *ret_from = feed->floor_seq + 1;
    *ret_to = upper - 1;
    return true;
}

bool feed_gap(const struct feed *feed, uint64_t *ret_from, uint64_t *ret_to)
{
    return feed_gap_below(feed, UINT64_MAX, ret_from, ret_to);
}

void feed_check(const struct feed *feed)
{
    assert(feed->n_ranges <= FEED_RANGES_MAX);
    for (uint32_t i = 0; i < feed->n_ranges; i++) {
        const struct feed_range *r = &feed->ranges[i];
        assert(r->lo > feed->floor_seq && r->lo <= r->hi && r->hi <= feed->known_seq);
        assert(i == 0 || r[-1].hi + 1 < r->lo);
        assert(feed->forks || (r->lo_id <= r->hi_id && (i == 0 || r[-1].hi_id < r->lo_id)));
    }
    assert((feed->forks == 0) == (feed->forked_seq == 0));
}

/* Checking a run, the cheapest first */

int feed_check_time(uint64_t id, struct now now, uint64_t *ret_until_ms)
{
    struct post_header h = { .id = id };
    uint64_t at_ms = post_time_ms(&h);
    if (at_ms <= now.wall_ms + FEED_AHEAD_MS)
        return 0;
    if (at_ms > now.wall_ms + FEED_HOLD_MS)
        return CAM_EFUTURE;
    *ret_until_ms = at_ms;
    return CAM_EAGAIN;
}

/* Fields alone: nothing is hashed. */
static int check_fields(const struct feed *feed, struct feed_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct feed_item *it = &items[i];
        if (post_header_decode(it->header, &it->h))
            return CAM_EFORMAT;
        if (it->h.device != feed->device || memcmp(it->h.author, feed->author, KEY_SIZE) != 0)
            return CAM_EREFUSED;
        if (i > 0 && (it->h.seq + 1 != items[i - 1].h.seq || it->h.id >= items[i - 1].h.id))
            return CAM_EFORMAT;
        if (it->state == POST_HELD && it->body.size != it->h.body_bytes)
            return CAM_EAUTH;
    }
    return 0;
}

static void mark_new(const struct feed *feed, struct feed_item *items, size_t n, struct feed_verdict *v)
{
    const struct feed_range *r = NULL;
    for (size_t i = 0; i < n; i++) {
        uint64_t seq = items[i].h.seq;
        if (!r || seq < r->lo || seq > r->hi)
            r = range_of(feed, seq);
        items[i].is_new = !r && seq > feed->floor_seq;
        items[i].is_shown = items[i].is_fork = false;
        v->n_new += items[i].is_new;
        v->n_fill += r && feed->bodies_missing > 0 && items[i].state == POST_HELD;
    }
}

/* Each header must be what the one above it named, each body what its header names. */
static int check_chain(struct feed_item *items, size_t n, const struct feed_verdict *v)
{
    for (size_t i = 0; i < n; i++) {
        struct feed_item *it = &items[i];
        post_hash(it->header.data, it->hash);
        if (i > 0 && memcmp(it->hash, items[i - 1].h.prev, HASH_SIZE) != 0)
            return CAM_EAUTH;
        if (it->state == POST_HELD && (it->is_new || v->n_fill > 0) && post_body_check(&it->h, it->body))
            return CAM_EAUTH;
    }
    return 0;
}

static void note_fork(struct feed_verdict *v, uint64_t seq, const struct feed_item *item,
                      const uint8_t *other)
{
    if (v->forked)
        return; /* one proof a run, of the highest seq */
    v->forked = true;
    v->fork_seq = seq;
    memcpy(v->fork_header, item->header.data, POST_HEADER_SIZE);
    v->fork_has_other = other != NULL;
    if (other)
        memcpy(v->fork_other, other, POST_HEADER_SIZE);
}

/* What already verified headers say the hash at `seq` must be. 1 known, 0 nothing says, or CAM_EIO.
 * *ret_other: the contradicted header, where it is not in the store. */
static int expected_hash(const struct feed *feed, uint64_t seq, const struct feed_rules *rules,
                         uint8_t ret[HASH_SIZE], const uint8_t **ret_other)
{
    *ret_other = NULL;
    for (uint32_t i = 0; i < feed->n_ranges; i++) {
        const struct feed_range *r = &feed->ranges[i];
        if (seq == r->hi || seq + 1 == r->lo) {
            memcpy(ret, seq == r->hi ? r->hi_hash : r->lo_prev, HASH_SIZE);
            return 1;
        }
        if (seq >= r->lo && seq < r->hi) {
            int err = rules->hash_at ? rules->hash_at(rules->ctx, feed, seq, ret) : CAM_ENOENT;
            return err == 0 ? 1 : err == CAM_ENOENT ? 0 : err;
        }
    }
    if (feed->known_seq == 0 || seq != feed->known_seq)
        return 0;
    memcpy(ret, feed->known_hash, HASH_SIZE);
    *ret_other = feed->known_header;
    return 1;
}

/* Where the run, now known to be authentic, meets what was held below its top: a different hash is a fork. */
static void find_forks(const struct feed *feed, const struct feed_item *items, size_t n,
                       struct feed_verdict *v)
{
    uint64_t top = items[0].h.seq, bottom = items[n - 1].h.seq;
    if (feed->known_seq >= bottom && feed->known_seq < top && !feed_holds(feed, feed->known_seq)) {
        const struct feed_item *it = &items[top - feed->known_seq];
        if (memcmp(it->hash, feed->known_hash, HASH_SIZE) != 0)
            note_fork(v, feed->known_seq, it, feed->known_header);
    }
    for (uint32_t i = feed->n_ranges; i-- > 0;) {
        const struct feed_range *r = &feed->ranges[i];
        if (r->hi >= top || r->hi + 1 < bottom)
            continue;
        const struct feed_item *it = r->hi >= bottom ? &items[top - r->hi] : &items[n - 1];
        const uint8_t *hash = r->hi >= bottom ? it->hash : it->h.prev;
        if (memcmp(hash, r->hi_hash, HASH_SIZE) != 0)
            note_fork(v, r->hi, it, NULL);
    }
}

/* Which posts of a run that forks contradict one that is held: all of them, the proof is of the highest. */
static int mark_forks(const struct feed *feed, struct feed_item *items, size_t n,
                      const struct feed_rules *rules)
{
    for (size_t i = 0; i < n && rules->hash_at; i++) {
        struct feed_item *it = &items[i];
        uint8_t held[HASH_SIZE];
        if (it->is_new || it->state != POST_HELD || it->h.seq <= feed->floor_seq)
            continue;
        int err = rules->hash_at(rules->ctx, feed, it->h.seq, held);
        if (err && err != CAM_ENOENT)
            return err;
        it->is_fork = !err && memcmp(held, it->hash, HASH_SIZE) != 0;
        if (it->is_fork && post_body_check(&it->h, it->body))
            return CAM_EAUTH;
    }
    return 0;
}

/* Ids must rise over the ranges that stay beside the run, too, and its new range must have a place. */
static int check_place(const struct feed *feed, const struct feed_item *items, size_t n,
                       const struct feed_verdict *v)
{
    uint64_t top = items[0].h.seq, bottom = items[n - 1].h.seq;
    bool touches = false;
    for (uint32_t i = 0; i < feed->n_ranges; i++) {
        const struct feed_range *r = &feed->ranges[i];
        touches |= r->hi + 1 >= bottom && r->lo <= top + 1;
        if (feed->forks || v->forked)
            continue;
        if ((r->hi < bottom && r->hi_id >= items[n - 1].h.id) || (r->lo > top && r->lo_id <= items[0].h.id))
            return CAM_EFORMAT;
    }
    return touches || v->n_new == 0 || feed->n_ranges < FEED_RANGES_MAX ? 0 : CAM_EAGAIN;
}

/* A delete of this very post, by its author's own signature. */
static int check_delete(const struct feed_item *it)
{
    struct post_header h;
    struct post_body body;
    if (post_header_decode(it->proof_header, &h) || h.kind != POST_KIND_DELETE ||
        memcmp(h.author, it->h.author, KEY_SIZE) != 0 || post_body_check(&h, it->proof_body) ||
        post_body_decode(it->proof_body, &body) || !body.has_target || body.target_id != it->h.id ||
        memcmp(body.target_author, it->h.author, KEY_SIZE) != 0)
        return CAM_EAUTH;
    return post_header_verify(it->proof_header.data);
}

/* From what the sender says of a body to what is true here. */
static int settle_state(struct feed_item *it, const struct feed_rules *rules, struct now now)
{
    bool collected = !rules->own && rules->lifespan_s != 0 &&
                     post_expires_ms(&it->h, rules->lifespan_s) <= now.wall_ms;
    switch (it->state) {
    case POST_HELD:
        if (collected)
            it->state = POST_EXPIRED;
        else
            it->is_shown = post_is_shown(&it->h, it->body);
        return 0;
    case POST_DELETED:
        if (it->proof_header.size == 0)
            break;
        return check_delete(it);
    case POST_EXPIRED:
        if (post_expires_ms(&it->h, 0) <= now.wall_ms)
            return 0;
        break;
    case POST_MISSING:
        break;
    }
    it->state = collected ? POST_EXPIRED : POST_MISSING;
    return 0;
}

int feed_check_run(const struct feed *feed, struct feed_item *items, size_t n, const struct feed_rules *rules,
                   struct now now, struct feed_verdict *v)
{
    *v = (struct feed_verdict){ .n_new = 0 };
    if (n == 0)
        return CAM_EFORMAT;
    if (n > FEED_RUN_MAX)
        return CAM_ETOOBIG;
    int err = check_fields(feed, items, n);
    if (err)
        return err;
    mark_new(feed, items, n, v);
    if (items[0].h.seq <= feed->floor_seq)
        return CAM_EDUP;
    err = feed_check_time(items[0].h.id, now, &v->wait_until_ms);
    if (err)
        return err;
    err = check_chain(items, n, v);
    if (err)
        return err;

    uint8_t expected[HASH_SIZE];
    const uint8_t *other;
    int known = expected_hash(feed, items[0].h.seq, rules, expected, &other);
    if (known < 0)
        return known;
    bool vouched = known && memcmp(expected, items[0].hash, HASH_SIZE) == 0;
    if (v->n_new == 0 && v->n_fill == 0 && (vouched || !known))
        return CAM_EDUP;
    if (!vouched) {
        if (post_header_verify(items[0].header.data))
            return CAM_EAUTH;
        v->signature_checked = true;
        if (known)
            note_fork(v, items[0].h.seq, &items[0], other);
    }
    find_forks(feed, items, n, v);
    if (v->forked)
        err = mark_forks(feed, items, n, rules);
    if (!err)
        err = check_place(feed, items, n, v);
    if (err)
        return err;
    for (size_t i = 0; i < n; i++)
        if (items[i].is_new || items[i].is_fork || v->n_fill > 0) {
            err = settle_state(&items[i], rules, now);
            if (err)
                return err;
        }
    v->extends_head = items[0].h.seq > feed_head_seq(feed);
    return 0;
}

/* Taking up */

static void set_known(struct feed *feed, const struct post_header *h, const uint8_t *header,
                      const uint8_t *hash)
{
    feed->known_seq = h->seq;
    feed->known_id = h->id;
    memcpy(feed->known_hash, hash, HASH_SIZE);
    memcpy(feed->known_header, header, POST_HEADER_SIZE);
}

static void count_fork(struct feed *feed, uint64_t seq)
{
    feed->forks++;
    if (seq > feed->forked_seq)
        feed->forked_seq = seq;
}

/* The run as a range, joined with every range it overlaps or touches. */
static void insert_range(struct feed *feed, struct feed_range run)
{
    uint32_t first = 0, after;
    while (first < feed->n_ranges && feed->ranges[first].hi + 1 < run.lo)
        first++;
    for (after = first; after < feed->n_ranges && feed->ranges[after].lo <= run.hi + 1; after++) {
        const struct feed_range *r = &feed->ranges[after];
        if (r->lo < run.lo) {
            run.lo = r->lo;
            run.lo_id = r->lo_id;
            memcpy(run.lo_prev, r->lo_prev, HASH_SIZE);
        }
        if (r->hi > run.hi) {
            run.hi = r->hi;
            run.hi_id = r->hi_id;
            memcpy(run.hi_hash, r->hi_hash, HASH_SIZE);
        }
    }
    assert(after > first || feed->n_ranges < FEED_RANGES_MAX);
    memmove(&feed->ranges[first + 1], &feed->ranges[after], (feed->n_ranges - after) * sizeof run);
    feed->n_ranges = feed->n_ranges - (after - first) + 1;
    feed->ranges[first] = run;
}

void feed_apply_run(struct feed *feed, const struct feed_item *items, size_t n, const struct feed_verdict *v)
{
    if (v && v->forked)
        count_fork(feed, v->fork_seq);
    if (items[0].h.seq > feed->known_seq)
        set_known(feed, &items[0].h, items[0].header.data, items[0].hash);
    if (v && v->n_new == 0)
        return;

    size_t last = n - 1;
    while (items[last].h.seq <= feed->floor_seq)
        last--;
    struct feed_range run = { .lo = items[last].h.seq, .hi = items[0].h.seq,
                              .lo_id = items[last].h.id, .hi_id = items[0].h.id };
    memcpy(run.lo_prev, items[last].h.prev, HASH_SIZE);
    memcpy(run.hi_hash, items[0].hash, HASH_SIZE);
    insert_range(feed, run);
    for (size_t i = 0; i <= last; i++)
        feed->bodies_missing += items[i].is_new && items[i].state == POST_MISSING;
}

int feed_learn_head(struct feed *feed, struct span header, struct now now, struct feed_verdict *ret_verdict)
{
    struct feed_verdict v = { .n_new = 0 };
    struct feed_item item = { .header = header };
    if (post_header_decode(header, &item.h))
        return CAM_EFORMAT;
    const struct post_header *h = &item.h;
    if (h->device != feed->device || memcmp(h->author, feed->author, KEY_SIZE) != 0)
        return CAM_EREFUSED;
    if (h->seq < feed->known_seq ||
        (h->seq == feed->known_seq && memcmp(header.data, feed->known_header, POST_HEADER_SIZE) == 0))
        return CAM_EDUP;
    int err = feed_check_time(h->id, now, &v.wait_until_ms);
    if (err) {
        if (ret_verdict)
            *ret_verdict = v;
        return err;
    }
    if (post_header_verify(header.data))
        return CAM_EAUTH;
    post_hash(header.data, item.hash);

    bool contradicts = feed->known_seq > 0 &&
                       (h->seq == feed->known_seq ||
                        (h->seq == feed->known_seq + 1 && memcmp(h->prev, feed->known_hash, HASH_SIZE) != 0));
    if (contradicts) {
        note_fork(&v, feed->known_seq, &item, feed->known_header);
        count_fork(feed, feed->known_seq);
    } else if (feed->known_seq > 0 && h->id <= feed->known_id && feed->forks == 0) {
        return CAM_EFORMAT;
    }
    v.signature_checked = true;
    if (ret_verdict)
        *ret_verdict = v;
    if (h->seq == feed->known_seq)
        return CAM_EDUP;
    set_known(feed, h, header.data, item.hash);
    return 0;
}

void feed_confirm_head(struct feed *feed, uint64_t seq, uint64_t at_ms)
{
    if (seq == feed->known_seq && at_ms > feed->as_of_ms)
        feed->as_of_ms = at_ms;
}

bool feed_raise_floor(struct feed *feed, uint64_t seq)
{
    if (feed->n_ranges == 0)
        return false;
    if (seq > feed->ranges[0].lo - 1)
        seq = feed->ranges[0].lo - 1;
    if (seq <= feed->floor_seq)
        return false;
    feed->floor_seq = seq;
    return true;
}
