#include "timeline/intake.h"

#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

static void remove_held(struct intake *in, size_t i)
{
    in->held_bytes -= in->held[i].bytes->size;
    buf_drop(in->held[i].bytes);
    in->held[i] = in->held[--in->n_held];
}

void intake_clear(struct timeline *t)
{
    while (t->intake.n_held)
        remove_held(&t->intake, 0);
}

/* Keeps a message until the time of its post has come. What finds no room is asked for again by catching up.
 */
static void hold(struct timeline *t, const struct link *from, struct span bytes, uint64_t until_ms)
{
    struct intake *in = &t->intake;
    if (in->n_held == INTAKE_HELD_MAX || in->held_bytes + bytes.size > INTAKE_HELD_BYTES_MAX)
        return;
    for (size_t i = 0; i < in->n_held; i++)
        if (span_equal(bytes, span(in->held[i].bytes->data, in->held[i].bytes->size)))
            return;
    struct buf *b = buf_new(bytes);
    if (!b)
        return;
    struct held *h = &in->held[in->n_held++];
    h->bytes = b;
    memcpy(h->from_key, from->key, LINK_KEY_SIZE);
    h->until_ms = until_ms;
    in->held_bytes += bytes.size;
}

/* *ret_key: the store's number of a post that was kept, or of one whose body has come; 0 = nothing new. */
static int keep(struct timeline *t, struct feed *feed, const struct feed_item *item, const uint8_t *via,
                bool may_fill, uint64_t *ret_key)
{
    bool filled = false;
    *ret_key = 0;
    if (item->is_fork)
        return item->state == POST_HELD
                   ? store_fork_post_put(t->store, feed, item, t->now.wall_ms, via, ret_key)
                   : 0;
    if (item->is_new) {
        int err = store_post_put(t->store, feed, item, t->now.wall_ms, via);
        if (err)
            return err;
    } else if (!may_fill || store_post_fill(t->store, feed, item, &filled) || !filled) {
        return 0;
    }
    *ret_key = store_post_key(feed, item->h.seq);
    return 0;
}

/* The author's own run of posts is to be acknowledged at the turn's end: with the chain that holds them, or,
 * where they are kept beside it, with themselves. */
static void note_ack(struct follow *f, const struct link *from, const struct feed_item *items, size_t n)
{
    uint64_t top = items[0].h.seq, bottom = items[n - 1].h.seq;
    bool goes_on = f->ack_from && f->ack_seq + 1 == bottom &&
                   memcmp(items[n - 1].h.prev, f->ack_hash, HASH_SIZE) == 0;
    memcpy(f->ack_key, from->key, LINK_KEY_SIZE);
    if (top <= f->ack_seq)
        return;
    if (!items[0].is_fork)
        f->ack_from = 0;
    else if (!goes_on)
        f->ack_from = bottom;
    f->ack_seq = top;
    memcpy(f->ack_hash, items[0].hash, HASH_SIZE);
}

/* Takes up intake.items[0..n), newest first, of one author. is_cut: its sender has newer ones. *ret_new: how
 * many were new. */
static int take_run(struct timeline *t, struct follow *f, struct link *from, size_t n, bool is_cut,
                    struct span bytes, uint32_t *ret_new)
{
    struct feed_item *items = t->intake.items;
    struct feed_rules rules = { .lifespan_s = clock_is_set(t) ? t->config.lifespan_s : 0,
                                .hash_at = store_post_hash,
                                .ctx = t->store };
    struct feed_verdict v;
    bool is_author = from->owner == f->who;
    const uint8_t *via = is_author || !from->owner ? NULL : from->owner->pk;
    *ret_new = 0;

    int err = feed_check_run(&f->feed, items, n, &rules, t->now, &v);
    if (err == CAM_EAGAIN && v.wait_until_ms) {
        if (post_header_verify(items[0].header.data))
            err = CAM_EAUTH; /* forged ones must not take the places of those that are only early */
        else
            hold(t, from, bytes, v.wait_until_ms);
    }
    if (err == 0) {
        feed_apply_run(&f->feed, items, n, &v);
        if (f->feed.store_key == 0)
            err = store_feed_save(t->store, &f->feed);
        for (size_t i = n; i-- > 0 && !err;) { /* oldest first: as they are read along */
            uint64_t key;
            err = keep(t, &f->feed, &items[i], via, v.n_fill > 0, &key);
            if (!err && key && items[i].state == POST_HELD && items[i].is_shown)
                reading_new_post(t, key, &items[i], via);
        }
        if (v.forked && !err) {
            store_fork_put(t->store, &f->feed, v.fork_seq, span(v.fork_header, POST_HEADER_SIZE),
                           span(v.fork_other, v.fork_has_other ? POST_HEADER_SIZE : 0));
            if (v.fork_seq < items[n - 1].h.seq && feed_holds(&f->feed, v.fork_seq))
                catchup_want_fork(t, f, from, v.fork_seq);
        }
        follow_touched(t, f, true);
        *ret_new = v.n_new;
    }
    if ((err == 0 || err == CAM_EDUP) && is_author) {
        /* the author itself says how far it is */
        bool is_newest = !is_cut && items[0].h.seq == f->feed.known_seq;
        f->checked_ms = t->now.mono_ms;
        if (is_newest)
            feed_confirm_head(&f->feed, f->feed.known_seq, t->now.wall_ms);
        follow_touched(t, f, is_newest);
        note_ack(f, from, items, n);
    }
    return err;
}

int intake_post(struct timeline *t, struct link *from, const struct message_post *m, struct span bytes)
{
    struct post_header h;
    if (post_header_decode(m->header, &h))
        return CAM_EFORMAT;
    struct follow *f = follow_find(t, h.author);
    if (!f || h.device != f->feed.device)
        return CAM_EREFUSED; /* a stranger's */
    t->intake.items[0] = (struct feed_item){ .header = m->header, .state = POST_HELD, .body = m->body };
    uint32_t n_new;
    int err = take_run(t, f, from, 1, false, bytes, &n_new);
    if (err == 0 && feed_missing(&f->feed) > 0)
        catchup_gap(t, f, from);
    return err == CAM_EDUP || err == CAM_EAGAIN ? 0 : err;
}

/* Of a page of n the newest that are dated too far ahead: so many are left out, so that they do not keep back
 * those below. Each header has a signature of its own to begin a run with. CAM_EAUTH: the date is forged. */
static int find_early(struct timeline *t, const struct follow *f, size_t n, size_t *ret_early)
{
    size_t early = 0;
    uint64_t until_ms;
    while (early + 1 < n && t->intake.items[early].header.size == POST_HEADER_SIZE &&
           feed_check_time(be64(t->intake.items[early].header.data + 8), t->now, &until_ms) == CAM_EFUTURE)
        early++;
    const uint8_t *first = t->intake.items[0].header.data;
    if (early && (memcmp(first + 24, f->feed.author, KEY_SIZE) != 0 || post_header_verify(first)))
        return CAM_EAUTH;
    *ret_early = early;
    return 0;
}

int intake_batch(struct timeline *t, struct link *from, const struct message_batch *m, struct span bytes)
{
    struct follow *f = follow_find(t, m->author);
    if (!f || m->device != f->feed.device)
        return CAM_EREFUSED;
    size_t n = 0;
    struct message_item item;
    struct ben_iter it = message_items(m);
    while (message_item_next(&it, &item) && n < FEED_RUN_MAX)
        t->intake.items[n++] = (struct feed_item){ .header = item.header,
                                                   .state = item.state,
                                                   .body = item.body,
                                                   .proof_header = item.proof_header,
                                                   .proof_body = item.proof_body };
    size_t early = 0;
    uint32_t n_new = 0;
    int err = find_early(t, f, n, &early);
    n -= early;
    memmove(t->intake.items, t->intake.items + early, n * sizeof *t->intake.items);
    if (!err && m->head.size)
        err = catchup_learn_header(t, f, from, m->head);
    if (err != CAM_EAUTH) /* a head that is only early, or of a fork, is no fault of the posts below it */
        err = n ? take_run(t, f, from, n, early > 0, bytes, &n_new) : 0;
    if (from->owner == f->who && m->floor_seq && feed_raise_floor(&f->feed, m->floor_seq))
        follow_touched(t, f, true);
    catchup_batch(t, f, from, m, bytes.size, err, n_new);
    if (err == CAM_EDUP || err == CAM_EAGAIN)
        err = 0;
    return err == 0 && early > 0 ? CAM_EFUTURE : err; /* what was left out is refused all the same */
}

static void send_ack(struct timeline *t, const struct follow *f, const struct link_dest *to, uint64_t from,
                     uint64_t seq, const uint8_t hash[HASH_SIZE])
{
    struct message m = { .kind = MESSAGE_ACK,
                         .ack = { .device = f->feed.device,
                                  .from = from,
                                  .seq = seq,
                                  .range = message_range_all(),
                                  .stored_below = 1 } };
    memcpy(m.ack.author, f->feed.author, KEY_SIZE);
    memcpy(m.ack.hash, hash, HASH_SIZE);
    links_send_message(t, to, &m, true);
}

/* "Stored": leaves only after this turn's commit. One ACK answers all that came from there in the turn. */
static void acknowledge(struct timeline *t, struct follow *f)
{
    struct link *l = links_find(t, f->ack_key);
    const struct link_dest *to = l ? link_answer_dest(l) : NULL;
    uint64_t seq = f->ack_seq, from = f->ack_from;
    f->ack_seq = f->ack_from = 0;
    if (!to)
        return;
    if (from) {
        send_ack(t, f, to, from, seq, f->ack_hash);
        return;
    }
    for (uint32_t i = 0; i < f->feed.n_ranges; i++) {
        const struct feed_range *range = &f->feed.ranges[i];
        if (seq < range->lo || seq > range->hi)
            continue;
        /* below the floor nothing is owed */
        uint64_t lo = i == 0 && f->feed.floor_seq + 1 == range->lo ? 1 : range->lo;
        send_ack(t, f, to, lo, range->hi, range->hi_hash);
    }
}

void intake_tick(struct timeline *t)
{
    struct intake *in = &t->intake;
    for (size_t i = 0; i < in->n_held;) {
        if (in->held[i].until_ms > t->now.wall_ms) {
            i++;
            continue;
        }
        struct held h = in->held[i];
        struct message m;
        struct link *from = links_take(t, h.from_key); /* not to be forgotten meanwhile */
        h.bytes->refs++;
        remove_held(in, i);
        struct span bytes = span(h.bytes->data, h.bytes->size);
        if (from && message_decode(bytes, &m) == 0) {
            int err = 0;
            if (m.kind == MESSAGE_POST)
                err = intake_post(t, from, &m.post, bytes);
            else if (m.kind == MESSAGE_BATCH)
                err = intake_batch(t, from, &m.batch, bytes);
            t->refused += err != 0;
        }
        buf_drop(h.bytes);
    }
    for (struct follow *f = t->follows.touched; f; f = f->next_touched)
        if (f->ack_seq)
            acknowledge(t, f);
}

uint64_t intake_deadline_ms(const struct timeline *t)
{
    uint64_t at_ms = NOW_NEVER;
    for (size_t i = 0; i < t->intake.n_held; i++) {
        uint64_t until_ms = t->intake.held[i].until_ms;
        uint64_t wait_ms = until_ms > t->now.wall_ms ? until_ms - t->now.wall_ms : 0;
        at_ms = deadline_min(at_ms, t->now.mono_ms + wait_ms);
    }
    return at_ms;
}
