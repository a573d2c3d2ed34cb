#include "timeline/outbox.h"

#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

#define RUN_BUFS_MAX 64 /* messages of one run: OUTBOX_TURN_POSTS of the largest size fill 36 */

static uint64_t head_seq(const struct timeline *t) { return t->account.feed.known_seq; }

void outbox_init(struct timeline *t)
{
    t->outbox = (struct outbox){ .due_ms = NOW_NEVER };
}

static void due(struct timeline *t, struct follower *f, uint64_t at_ms)
{
    f->due_ms = at_ms;
    t->outbox.due_ms = deadline_min(t->outbox.due_ms, at_ms);
}

void outbox_posted(struct timeline *t) { t->outbox.posted = true; }

void outbox_wake(struct timeline *t, struct follower *f)
{
    if (f->acked_seq >= head_seq(t) || (f->sent_seq > f->acked_seq && f->tries == 0))
        return; /* nothing owed, or just sent: its timer knows */
    f->sent_seq = f->acked_seq;
    f->tries = 0;
    due(t, f, t->now.mono_ms);
}

void outbox_link_lost(struct timeline *t, const struct link_dest *dest)
{
    struct link *l = links_find(t, dest->key);
    struct follower *f = l && l->owner ? l->owner->follower : NULL;
    if (!f) /* a machine we know only from a record: look among those who are owed something */
        for (size_t i = 0; i < t->follows.n_followers && !f; i++) {
            const struct link_dest *to = person_dest(t->follows.followers[i]->who);
            if (to && t->follows.followers[i]->sent_seq > t->follows.followers[i]->acked_seq &&
                link_dest_equal(to, dest))
                f = t->follows.followers[i];
        }
    /* Known sooner than the timer would: the wait that it was to begin begins now. */
    if (f && f->sent_seq > f->acked_seq && f->tries == 0 && f->due_ms > t->now.mono_ms)
        due(t, f, t->now.mono_ms);
}

/* ---- runs ---------------------------------------------------------------------------------------------- */

/* The messages of one run of our posts, oldest first; shared by all followers who are owed the same. */
struct run {
    uint64_t from, to;
    struct buf *bufs[RUN_BUFS_MAX];
    size_t n;
};

struct run_writer {
    struct timeline *t;
    struct run *run;
    struct bytes_out out;
    struct message_batch_writer w;
    bool open;
};

static void run_close(struct run_writer *rw)
{
    message_batch_end(&rw->w, 0);
    if (!rw->out.err && rw->run->n < RUN_BUFS_MAX) {
        struct buf *b = buf_new(span(rw->out.buf, rw->out.size));
        if (b)
            rw->run->bufs[rw->run->n++] = b;
    }
    rw->open = false;
}

static void run_open(struct run_writer *rw)
{
    const struct account *a = &rw->t->account;
    rw->out = bytes_out(rw->t->scratch, sizeof rw->t->scratch);
    message_batch_begin(&rw->w, &rw->out, a->pk, a->device, a->feed.floor_seq, MESSAGE_BATCH_BYTES);
    rw->open = true;
}

static int run_add(void *ctx, const struct store_post *post)
{
    struct run_writer *rw = ctx;
    if (!rw->open)
        run_open(rw);
    if (message_batch_add(&rw->w, post->header, post->body, post->state) == CAM_EFULL) {
        run_close(rw);
        run_open(rw);
        message_batch_add(&rw->w, post->header, post->body, post->state);
    }
    return 0;
}

static void run_drop(struct run *run)
{
    for (size_t i = 0; i < run->n; i++)
        buf_drop(run->bufs[i]);
    *run = (struct run){ .n = 0 };
}

/* Makes the run unless it is the one already made. The store gives it newest first, so the pages come from
 * the top down; they are sent from the bottom up, so that a receiver never sees a hole. */
static void run_make(struct timeline *t, struct run *run, uint64_t from, uint64_t to)
{
    if (run->n && run->from == from && run->to == to)
        return;
    run_drop(run);
    run->from = from;
    run->to = to;
    struct run_writer rw = { .t = t, .run = run };
    store_post_run(t->store, &t->account.feed, from, to, run_add, &rw);
    if (rw.open)
        run_close(&rw);
}

struct one { /* a single post, for one follower */
    struct timeline *t;
    const struct link_dest *to;
    struct message_range range;
};

static int send_one(void *ctx, const struct store_post *post)
{
    struct one *one = ctx;
    struct message m = { .kind = MESSAGE_POST,
                         .post = { .header = post->header, .body = post->body, .range = one->range } };
    if (post->state == POST_HELD)
        links_send_message(one->t, one->to, &m, true);
    return 1; /* one is enough */
}

/* The part of the follower space in which nobody but this follower is: it has nobody to serve. */
static struct message_range range_of(const struct person *p)
{
    uint8_t slot[SHA1_SIZE];
    hash_sha1(slot, p->pk, KEY_SIZE);
    struct message_range range = message_range_all();
    for (unsigned i = 0; i < MESSAGE_RANGE_DEPTH_MAX; i++)
        range = message_range_part(range, i % 2 ? slot[i / 2] & 15 : slot[i / 2] >> 4);
    return range;
}

/* ---- the transition function --------------------------------------------------------------------------- */

static uint64_t timeout_ms(struct timeline *t, const struct follower *f, const struct link_dest *to)
{
    uint64_t wait_ms = link_timeout_ms(links_find(t, to->key));
    wait_ms += (f->sent_seq - f->acked_seq) / 4; /* a long run takes its time to be checked and written */
    for (uint32_t i = 0; i < f->tries && wait_ms < OUTBOX_RETRY_MAX_MS; i++)
        wait_ms *= 2;
    return wait_ms < OUTBOX_RETRY_MAX_MS ? wait_ms : OUTBOX_RETRY_MAX_MS;
}

static void step(struct timeline *t, struct follower *f, struct run *run)
{
    uint64_t head = head_seq(t), now_ms = t->now.mono_ms;
    const struct link_dest *to = person_dest(f->who);
    if (f->acked_seq >= head) {
        f->due_ms = NOW_NEVER;
        f->tries = 0;
        return;
    }
    bool is_due = f->due_ms <= now_ms;
    if (f->sent_seq > f->acked_seq && is_due) { /* no ACK in time */
        f->sent_seq = f->acked_seq;
        f->tries++;
    }
    if (f->tries >= OUTBOX_LOOK_TRIES || !to)
        people_look(t, f->who);
    if (!to) { /* person.c wakes us when it is known where */
        f->tries++;
        due(t, f, now_ms + OUTBOX_RETRY_MAX_MS);
        return;
    }
    if (f->tries > 0 && !is_due) {
        due(t, f, f->due_ms);
        return;
    }
    uint64_t window_end = f->acked_seq + OUTBOX_WINDOW_POSTS;
    uint64_t end = f->sent_seq + (f->tries ? OUTBOX_PROBE_POSTS : OUTBOX_TURN_POSTS);
    end = end < head ? end : head;
    end = end < window_end ? end : window_end;
    if (end > f->sent_seq) {
        if (f->tries)
            links_doubt(t, to->key);
        if (end == f->sent_seq + 1) {
            struct one one = { t, to, range_of(f->who) };
            store_post_run(t->store, &t->account.feed, end, end, send_one, &one);
        } else {
            run_make(t, run, f->sent_seq + 1, end);
            for (size_t i = run->n; i-- > 0;)
                links_send(t, to, run->bufs[i], true);
        }
        f->sent_seq = end;
        f->sent_ms = now_ms;
        if (is_due || f->due_ms == NOW_NEVER)
            f->due_ms = now_ms + timeout_ms(t, f, to);
    }
    due(t, f, f->due_ms);
}

static void finish_waiters(struct timeline *t);

/* May more be sent to it at once? Not while it does not answer: then its timer knows, and it takes no place
 * of those who do. */
static bool has_new(const struct timeline *t, const struct follower *f)
{
    return f->tries == 0 && f->sent_seq < head_seq(t) && f->sent_seq < f->acked_seq + OUTBOX_WINDOW_POSTS;
}

void outbox_tick(struct timeline *t)
{
    struct outbox *o = &t->outbox;
    finish_waiters(t);
    if (!o->posted && t->now.mono_ms < o->due_ms)
        return;
    struct run run = { .n = 0 };
    uint64_t next_ms = NOW_NEVER;
    size_t served = 0;
    for (size_t i = 0; i < t->follows.n_followers; i++) {
        struct follower *f = t->follows.followers[i];
        bool is_owed = o->posted && has_new(t, f);
        if ((is_owed || f->due_ms <= t->now.mono_ms) && served++ < OUTBOX_TURN_FOLLOWERS)
            step(t, f, &run);
        else if (is_owed)
            f->due_ms = t->now.mono_ms; /* its turn is the next */
        next_ms = deadline_min(next_ms, f->due_ms);
        /* What did not fit into this turn's share goes on in the next. */
        if (has_new(t, f) && person_dest(f->who))
            next_ms = t->now.mono_ms;
    }
    run_drop(&run);
    o->due_ms = next_ms;
    o->posted = next_ms == t->now.mono_ms;
}

uint64_t outbox_deadline_ms(const struct timeline *t)
{
    uint64_t at_ms = t->outbox.posted ? 0 : t->outbox.due_ms;
    for (size_t i = 0; i < OUTBOX_WAITERS_MAX; i++)
        if (t->outbox.waiters[i].used)
            at_ms = deadline_min(at_ms, t->outbox.waiters[i].until_ms);
    return at_ms;
}

/* ---- acknowledgements ---------------------------------------------------------------------------------- */

int outbox_ack(struct timeline *t, struct link *from, const struct message_ack *m)
{
    struct follower *f = from->owner ? from->owner->follower : NULL;
    if (!f || !account_is(t, m->author) || m->device != t->account.device || m->seq > head_seq(t))
        return CAM_EREFUSED;
    uint8_t hash[HASH_SIZE];
    if (m->seq == head_seq(t))
        memcpy(hash, t->account.feed.known_hash, HASH_SIZE);
    else if (store_post_hash(t->store, &t->account.feed, m->seq, hash))
        return CAM_EREFUSED;
    if (memcmp(hash, m->hash, HASH_SIZE) != 0)
        return CAM_EAUTH;
    if (m->seq <= f->acked_seq)
        return 0;
    if (m->from > f->acked_seq + 1)
        return 0; /* it has a hole below: it asks for that itself, and until then we owe it */

    if (f->tries == 0 && m->seq >= f->sent_seq && f->sent_seq > f->acked_seq)
        link_measured(from, t->now.mono_ms - f->sent_ms);
    f->acked_seq = m->seq;
    if (f->sent_seq < f->acked_seq)
        f->sent_seq = f->acked_seq;
    f->tries = 0;
    follower_touched(t, f);
    if (f->acked_seq >= head_seq(t)) {
        f->due_ms = NOW_NEVER;
    } else {
        const struct link_dest *to = person_dest(f->who);
        due(t, f, f->sent_seq > f->acked_seq && to ? t->now.mono_ms + timeout_ms(t, f, to) : t->now.mono_ms);
        if (f->sent_seq < head_seq(t))
            t->outbox.posted = true; /* the window moved */
    }
    return 0;
}

void outbox_count(const struct timeline *t, uint64_t seq, uint32_t *ret_followers, uint32_t *ret_received)
{
    uint32_t followers = 0, received = 0;
    for (size_t i = 0; i < t->follows.n_followers; i++) {
        const struct follower *f = t->follows.followers[i];
        if (f->start_seq >= seq)
            continue;
        followers++;
        received += f->acked_seq >= seq;
    }
    *ret_followers = followers;
    *ret_received = received;
}

static uint64_t lowest_owed(const struct timeline *t)
{
    uint64_t lowest = head_seq(t) + 1;
    for (size_t i = 0; i < t->follows.n_followers; i++)
        if (t->follows.followers[i]->acked_seq + 1 < lowest)
            lowest = t->follows.followers[i]->acked_seq + 1;
    return lowest;
}

uint64_t outbox_waiting_posts(const struct timeline *t) { return head_seq(t) + 1 - lowest_owed(t); }

/* ---- commands ------------------------------------------------------------------------------------------ */

static void answer_posted(struct timeline *t, uint64_t client, uint64_t id, uint64_t seq)
{
    struct timeline_row row = { .kind = TL_ROW_POSTED, .id = id, .seq = seq, .device = t->account.device };
    uint32_t followers, received;
    outbox_count(t, seq, &followers, &received);
    answer_user(t, &row, t->account.pk);
    row.followers = followers;
    row.received = received;
    row.waiting = followers - received;
    answer_row(t, client, &row);
    if (row.waiting == 0)
        answer_done(t, client, 0, "received by all %u", followers);
    else
        answer_done(t, client, CAM_EPENDING, "received by %u of %u, %u waiting", received, followers,
                    row.waiting);
}

int outbox_wait(struct timeline *t, uint64_t client, uint64_t id, uint64_t seq, uint32_t wait_ms)
{
    for (size_t i = 0; i < OUTBOX_WAITERS_MAX; i++) {
        struct waiter *w = &t->outbox.waiters[i];
        if (w->used)
            continue;
        *w = (struct waiter){ true, client, id, seq, t->now.mono_ms + wait_ms };
        return 0;
    }
    return CAM_EFULL;
}

static void finish_waiters(struct timeline *t)
{
    for (size_t i = 0; i < OUTBOX_WAITERS_MAX; i++) {
        struct waiter *w = &t->outbox.waiters[i];
        uint32_t followers, received;
        if (!w->used)
            continue;
        outbox_count(t, w->seq, &followers, &received);
        if (received < followers && t->now.mono_ms < w->until_ms)
            continue;
        w->used = false;
        answer_posted(t, w->client, w->id, w->seq);
    }
}

void outbox_cancel(struct timeline *t, uint64_t client)
{
    for (size_t i = 0; i < OUTBOX_WAITERS_MAX; i++)
        if (t->outbox.waiters[i].used && t->outbox.waiters[i].client == client)
            t->outbox.waiters[i].used = false;
}

struct rows {
    struct timeline *t;
    uint64_t client;
};

static int outbox_row(void *ctx, const struct store_post *post)
{
    struct rows *rows = ctx;
    struct timeline *t = rows->t;
    struct post_header h;
    uint32_t followers, received;
    if (post_header_decode(post->header, &h))
        return 0;
    outbox_count(t, h.seq, &followers, &received);
    if (received == followers)
        return 0;
    uint64_t next_ms = NOW_NEVER;
    for (size_t i = 0; i < t->follows.n_followers; i++)
        if (t->follows.followers[i]->acked_seq < h.seq && t->follows.followers[i]->start_seq < h.seq)
            next_ms = deadline_min(next_ms, t->follows.followers[i]->due_ms);
    struct timeline_row row = { .kind = TL_ROW_OUTBOX, .id = h.id, .seq = h.seq, .received = received,
                                .followers = followers, .waiting = followers - received };
    if (next_ms != NOW_NEVER && next_ms > t->now.mono_ms)
        row.next_try_s = (uint32_t)((next_ms - t->now.mono_ms + 999) / 1000);
    answer_row(t, rows->client, &row);
    return 0;
}

void outbox_rows(struct timeline *t, uint64_t client, uint32_t limit)
{
    uint64_t head = head_seq(t), lowest = lowest_owed(t);
    struct rows rows = { t, client };
    if (limit && head + 1 - lowest > limit)
        lowest = head + 1 - limit;
    if (lowest <= head)
        store_post_run(t->store, &t->account.feed, lowest, head, outbox_row, &rows);
}
