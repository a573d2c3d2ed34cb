/* Serving what others lack (WANT), and comparing what we hold with others (HAVE). */
#include <string.h>

#include "core/err.h"
#include "timeline/state.h"

/* The feed of an author that we can speak of: our own, or one that everybody may know we follow. */
static struct feed *feed_of(struct timeline *t, const uint8_t author[KEY_SIZE], uint16_t device)
{
    if (account_is(t, author))
        return device == t->account.device ? &t->account.feed : NULL;
    struct follow *f = follow_find(t, author);
    return f && !f->is_private && f->feed.device == device ? &f->feed : NULL;
}

struct header_copy {
    uint8_t bytes[POST_HEADER_SIZE];
    bool found;
};

static int copy_header(void *ctx, const struct store_post *post)
{
    struct header_copy *copy = ctx;
    memcpy(copy->bytes, post->header.data, POST_HEADER_SIZE);
    copy->found = true;
    return 1;
}

/* What we hold of a feed, as HAVE says it. */
static struct message_feed describe(struct timeline *t, const struct feed *feed, struct header_copy *copy)
{
    struct message_feed said = { .device = feed->device, .floor_seq = feed->floor_seq };
    memcpy(said.author, feed->author, KEY_SIZE);
    uint64_t head = feed_head_seq(feed);
    copy->found = false;
    if (head && head == feed->known_seq) {
        memcpy(copy->bytes, feed->known_header, POST_HEADER_SIZE);
        copy->found = true;
    } else if (head) {
        store_post_run(t->store, feed, head, head, copy_header, copy);
    }
    if (copy->found)
        said.header = span(copy->bytes, POST_HEADER_SIZE);
    return said;
}

/* ---- WANT ---------------------------------------------------------------------------------------------- */

struct serve {
    struct timeline *t;
    struct link *to;
    const struct link_dest *dest;
    const struct feed *feed;
    struct message_feed ours; /* what we hold of it */
    struct bytes_out out;
    struct message_batch_writer w;
    bool open;
    uint64_t last_seq;
    uint8_t last_prev[HASH_SIZE]; /* what the header below it must hash to */
    size_t left; /* bytes that may still be sent */
    uint32_t pages;
};

/* A page that begins at `seq`; 0: one without posts. Each but the newest names the head above it: without
 * that the next would pass for the newest one when that got lost, and the asker for complete. */
static void serve_open(struct serve *s, uint64_t seq)
{
    bool is_newest = seq == feed_head_seq(s->feed);
    s->out = bytes_out(s->t->scratch, sizeof s->t->scratch);
    message_batch_begin_below(&s->w, &s->out, s->feed->author, s->feed->device, s->feed->floor_seq,
                              is_newest ? span(NULL, 0) : s->ours.header, MESSAGE_BATCH_BYTES);
    s->open = true;
}

static void serve_close(struct serve *s, uint64_t next_seq)
{
    message_batch_end(&s->w, next_seq);
    s->open = false;
    if (s->out.err)
        return;
    struct buf *b = buf_new(span(s->out.buf, s->out.size));
    if (b)
        links_send(s->t, s->dest, b, true); /* our own posts of this turn are not on disk yet */
    buf_drop(b);
    links_served(s->t, s->to, s->out.size);
    s->left = s->left > s->out.size ? s->left - s->out.size : 0;
    s->pages++;
}

static int serve_post(void *ctx, const struct store_post *post)
{
    struct serve *s = ctx;
    uint64_t seq = be64(post->header.data + 16);
    enum post_state state = post->state == POST_DELETED ? POST_MISSING : post->state;
    uint8_t hash[HASH_SIZE];
    post_hash(post->header.data, hash);
    if (s->open && (seq + 1 != s->last_seq || memcmp(hash, s->last_prev, HASH_SIZE) != 0))
        serve_close(s, seq); /* a hole, or a fork: a run ends here */
    for (int fresh = 0; fresh < 2; fresh++) {
        if (!s->open) {
            if (s->pages && (s->left < MESSAGE_BATCH_BYTES || !links_may_serve(s->t, s->to)))
                return 1; /* the asker continues at the next_seq that the last page named */
            serve_open(s, seq);
        }
        if (message_batch_add(&s->w, post->header, post->body, state) != CAM_EFULL)
            break;
        serve_close(s, seq);
    }
    s->last_seq = seq;
    memcpy(s->last_prev, post->header.data + 56, HASH_SIZE); /* its prev: post.c draws it */
    return 0;
}

int catchup_want(struct timeline *t, struct link *from, const struct message_want *m)
{
    const struct link_dest *dest = link_answer_dest(from);
    if (!dest || !links_may_serve(t, from))
        return CAM_EREFUSED;
    const struct feed *feed = feed_of(t, m->author, m->device);
    struct feed none;
    if (!feed) {
        feed_init(&none, m->author, m->device);
        feed = &none;
    }
    uint64_t head = feed_head_seq(feed);
    uint64_t to_seq = m->to && m->to < head ? m->to : head;
    struct header_copy copy;
    struct serve s = { .t = t, .to = from, .dest = dest, .feed = feed };
    s.ours = describe(t, feed, &copy);
    s.left = m->bytes_max < CATCHUP_SERVE_BYTES_MAX ? m->bytes_max : CATCHUP_SERVE_BYTES_MAX;
    if (m->to == 0 && head && m->from > head) { /* nothing newer: that, too, is an answer */
        struct message_have_writer w;
        s.out = bytes_out(t->scratch, sizeof t->scratch);
        message_have_begin(&w, &s.out, false);
        message_have_add(&w, &s.ours);
        message_have_end(&w);
        struct buf *b = s.out.err ? NULL : buf_new(span(s.out.buf, s.out.size));
        if (b)
            links_send(t, dest, b, true);
        buf_drop(b);
        return 0;
    }
    if (m->from <= to_seq && head)
        store_post_run(t->store, feed, m->from, to_seq, serve_post, &s);
    if (s.open)
        serve_close(&s, 0);
    else if (s.pages == 0) {
        serve_open(&s, 0);
        serve_close(&s, 0);
    }
    return 0;
}

/* ---- HAVE ---------------------------------------------------------------------------------------------- */

int catchup_learn_header(struct timeline *t, struct follow *f, struct link *from, struct span header)
{
    struct feed_verdict v = { .n_new = 0 };
    bool is_author = from->owner == f->who;
    int err = feed_learn_head(&f->feed, header, t->now, &v);
    if (err && err != CAM_EDUP)
        return err;
    if (v.forked && f->feed.store_key == 0 && store_feed_save(t->store, &f->feed))
        return CAM_EIO; /* heard of and never held, it has no number yet */
    if (v.forked) {
        store_fork_put(t->store, &f->feed, v.fork_seq, span(v.fork_header, POST_HEADER_SIZE),
                       span(v.fork_other, v.fork_has_other ? POST_HEADER_SIZE : 0));
        if (feed_holds(&f->feed, v.fork_seq))
            catchup_want_fork(t, f, from, v.fork_seq);
    }
    if (is_author)
        feed_confirm_head(&f->feed, be64(header.data + 16), t->now.wall_ms);
    if (err == 0 || is_author)
        follow_touched(t, f, true);
    return 0;
}

/* Is it one of the two that the last comparison asked? */
static bool is_asked(const struct timeline *t, const struct link *from)
{
    for (int i = 0; i < CATCHUP_COMPARE_PEERS; i++)
        if (memcmp(t->catchup.compare_keys[i], from->key, LINK_KEY_SIZE) == 0)
            return true;
    return false;
}

static void learn_feed(struct timeline *t, struct link *from, const struct message_feed *said)
{
    struct follow *f = follow_find(t, said->author);
    if (!f || said->device != f->feed.device)
        return;
    if (from->owner == f->who || is_asked(t, from)) /* nobody else keeps us from checking */
        f->checked_ms = t->now.mono_ms;
    if (said->header.size && catchup_learn_header(t, f, from, said->header)) {
        t->refused++;
        return;
    }
    catchup_heard(t, f, from, said->header.size ? be64(said->header.data + 16) : 0);
}

int catchup_have(struct timeline *t, struct link *from, const struct message_have *m)
{
    const struct link_dest *dest = link_answer_dest(from);
    struct message_have_writer w;
    struct bytes_out out = bytes_out(t->scratch, sizeof t->scratch);
    struct message_feed said;
    size_t n = 0;
    struct ben_iter it = message_feeds(m);
    if (m->ask &&
        dest) { /* what we hold of what they named: they see what they lack, and that we were asked */
        message_have_begin(&w, &out, false);
        while (message_feed_next(&it, &said)) {
            struct header_copy copy;
            const struct feed *feed = feed_of(t, said.author, said.device);
            if (!feed || feed_head_seq(feed) == 0)
                continue;
            struct message_feed ours = describe(t, feed, &copy);
            if (message_have_add(&w, &ours))
                break;
            n++;
        }
        message_have_end(&w);
        struct buf *b =
            n && !out.err && links_may_serve(t, from) ? buf_new(span(out.buf, out.size)) : NULL;
        if (b) {
            links_send(t, dest, b, true);
            links_served(t, from, b->size);
        }
        buf_drop(b);
    }
    it = message_feeds(m);
    while (message_feed_next(&it, &said))
        learn_feed(t, from, &said);
    return 0;
}

static void send_have(struct timeline *t, const struct link_dest *to, const struct bytes_out *have)
{
    struct buf *b = have->err ? NULL : buf_new(span(have->buf, have->size));
    if (b)
        links_send(t, to, b, true);
    buf_drop(b);
}

void catchup_tell_head(struct timeline *t, const struct link_dest *to)
{
    struct message_have_writer w;
    struct bytes_out out = bytes_out(t->scratch, sizeof t->scratch);
    struct header_copy copy;
    if (t->account.feed.known_seq == 0) {
        links_greet(t, to);
        return;
    }
    struct message_feed said = describe(t, &t->account.feed, &copy);
    message_have_begin(&w, &out, false);
    message_have_add(&w, &said);
    message_have_end(&w);
    send_have(t, to, &out);
}

/* ---- comparing, every five minutes --------------------------------------------------------------------- */

struct question { /* HAVE to somebody: what we hold of the feeds that both of us follow */
    struct timeline *t;
    struct bytes_out out;
    struct message_have_writer w;
    size_t n;
    struct link_dest to;
    int64_t to_seq; /* of the entry that says where: the newest */
};

static int ask_about(void *ctx, const struct store_edge *e)
{
    struct question *q = ctx;
    const struct follow *f = follow_find(q->t, e->to);
    if (e->has_dest && e->seq >= q->to_seq) {
        q->to = e->dest;
        q->to_seq = e->seq;
    }
    if (f && !f->is_private) {
        struct header_copy copy;
        struct message_feed said = describe(q->t, &f->feed, &copy);
        q->n += message_have_add(&q->w, &said) == 0;
    }
    return 0;
}

/* Any of those whom we know to follow somebody whom we follow, each with the same chance, so that nobody
 * is asked more for following many; and about no others, whom that one could only learn of from us. */
static bool ask_somebody(struct timeline *t, uint8_t ret_key[LINK_KEY_SIZE])
{
    struct question q = { .t = t, .out = bytes_out(t->scratch, sizeof t->scratch) };
    uint8_t who[KEY_SIZE];
    rng_fill(&t->rng, who, sizeof who);
    if (store_edge_next(t->store, who, who))
        return false;
    message_have_begin(&q.w, &q.out, true);
    if (store_edge_from(t->store, who, ask_about, &q))
        return false;
    message_have_end(&q.w);
    if (q.n == 0 || q.to_seq == 0)
        return false;
    send_have(t, &q.to, &q.out);
    memcpy(ret_key, q.to.key, LINK_KEY_SIZE);
    return true;
}

static void begin(struct timeline *t)
{
    struct catchup *cu = &t->catchup;
    bool any = false;
    cu->compare_began_ms = t->now.mono_ms;
    for (int i = 0; i < CATCHUP_COMPARE_PEERS; i++)
        any = ask_somebody(t, cu->compare_keys[i]) || any;
    /* Nobody to compare with: the authors themselves. */
    cu->compare_end_ms = t->now.mono_ms + (any ? CATCHUP_COMPARE_WAIT_MS : 0);
}

/* Of those of whom nobody spoke, the one that was checked longest ago. NULL: none. */
static struct follow *longest_unchecked(const struct timeline *t)
{
    struct follow *longest = NULL;
    for (size_t i = 0; i < t->follows.n; i++) {
        struct follow *f = t->follows.list[i];
        bool at_rest = !f->chase && !f->wants_chase && f->chase_after_ms == NOW_NEVER;
        if (at_rest && f->checked_ms < t->catchup.compare_began_ms &&
            (!longest || f->checked_ms < longest->checked_ms))
            longest = f;
    }
    return longest;
}

/* A few each time, in turn: what was pushed and lost is sent again by its author, so this is for the rare
 * rest, and fifty checks every five minutes would be most of what an idle node sends. */
static void count(struct timeline *t)
{
    struct follow *f;
    t->catchup.compare_end_ms = NOW_NEVER;
    for (size_t n = 0; n < CATCHUP_AUTHORS_MAX && (f = longest_unchecked(t)) != NULL; n++) {
        f->checked_ms = t->now.mono_ms;
        catchup_check(t, f);
    }
}

void compare_tick(struct timeline *t)
{
    struct catchup *cu = &t->catchup;
    if (t->follows.n == 0)
        return;
    if (cu->compare_ms <= t->now.mono_ms) {
        cu->compare_ms =
            t->now.mono_ms + CATCHUP_COMPARE_MS * 3 / 4 + rng_below(&t->rng, CATCHUP_COMPARE_MS / 2);
        begin(t);
    }
    if (cu->compare_end_ms <= t->now.mono_ms)
        count(t);
}
