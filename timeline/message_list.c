/* HAVE and BATCH: the messages that are lists. Written piece by piece, so that a page is filled straight from
 * the store, and read by iterators over bytes that decoding has already checked whole. */
#include "timeline/message_list.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"
#include "core/snowflake.h"

/* Room that is kept free for what closes a message: "e", "1:t", an integer, "1:q", "i1e", "e". */
#define CLOSING_BYTES 48

/* The next value of a list as an integer in a range, or as a string. */
static bool next_uint(struct ben_iter *it, uint64_t max, uint64_t *ret)
{
    struct ben v;
    int64_t n;
    if (!ben_next(it, NULL, &v) || ben_int(v, &n) || n < 0 || (uint64_t)n > max)
        return false;
    *ret = (uint64_t)n;
    return true;
}

static bool next_str(struct ben_iter *it, struct span *ret)
{
    struct ben v;
    return ben_next(it, NULL, &v) && ben_str(v, ret) == 0;
}

/* HAVE
 *
 *     f  list     of feeds, at most MESSAGE_HAVE_MAX: [author (32 bytes), device, floor, header (188 bytes or
 * empty)] m  "have" q  1        answer with what you have of them; left out otherwise
 */
/* A header of another feed than it is listed under would be read as news about the wrong one. */
static bool is_header_of(struct span header, const uint8_t author[KEY_SIZE], uint16_t device)
{
    struct post_header h;
    return post_header_decode(header, &h) == 0 && memcmp(h.author, author, KEY_SIZE) == 0 &&
           h.device == device;
}

static int feed_decode(struct ben v, struct message_feed *ret)
{
    struct message_feed feed;
    struct span author;
    uint64_t device;
    if (ben_type(v) != BEN_LIST)
        return CAM_EFORMAT;
    struct ben_iter it = ben_iter(v);
    if (!next_str(&it, &author) || author.size != KEY_SIZE ||
        !next_uint(&it, SNOWFLAKE_DEVICE_MAX, &device) || !next_uint(&it, POST_SEQ_MAX, &feed.floor_seq) ||
        !next_str(&it, &feed.header))
        return CAM_EFORMAT;
    memcpy(feed.author, author.data, KEY_SIZE);
    feed.device = (uint16_t)device;
    if (feed.header.size != 0 && !is_header_of(feed.header, feed.author, feed.device))
        return CAM_EFORMAT;
    *ret = feed;
    return 0;
}

static void feed_encode(struct bytes_out *out, const struct message_feed *feed)
{
    assert(feed->header.size == 0 || feed->header.size == POST_HEADER_SIZE);
    ben_put_list(out);
    ben_put_str(out, feed->author, KEY_SIZE);
    ben_put_int(out, feed->device);
    ben_put_int(out, (int64_t)feed->floor_seq);
    ben_put_str(out, feed->header.data, feed->header.size);
    ben_put_end(out);
}

/* What a message says of itself as a whole, or CAM_EFORMAT when an element is wrong. */
int message_have_decode(struct ben dict, struct message *ret)
{
    struct message_have *have = &ret->have;
    struct message_feed feed;
    struct ben v;
    int64_t ask = 0;
    if (ben_get_list(dict, "f", &have->feeds))
        return CAM_EFORMAT;
    have->n_feeds = 0;
    for (struct ben_iter it = ben_iter(have->feeds); ben_next(&it, NULL, &v); have->n_feeds++)
        if (have->n_feeds == MESSAGE_HAVE_MAX || feed_decode(v, &feed))
            return CAM_EFORMAT;
    int err = ben_get_int(dict, "q", &ask);
    if (err && err != CAM_ENOENT)
        return CAM_EFORMAT;
    have->ask = ask == 1;
    return 0;
}

static void have_close(struct bytes_out *out, bool ask)
{
    message_put_kind(out, MESSAGE_HAVE);
    if (ask) {
        ben_put_key(out, "q");
        ben_put_int(out, 1);
    }
}

void message_have_encode(struct bytes_out *out, const struct message *m)
{
    ben_put_key(out, "f");
    ben_put_raw(out, m->have.feeds);
    have_close(out, m->have.ask);
}

struct ben_iter message_feeds(const struct message_have *have) { return ben_iter(have->feeds); }

bool message_feed_next(struct ben_iter *it, struct message_feed *ret)
{
    struct ben v;
    return ben_next(it, NULL, &v) && feed_decode(v, ret) == 0;
}

void message_have_begin(struct message_have_writer *w, struct bytes_out *out, bool ask)
{
    *w = (struct message_have_writer){ .out = out, .start = out->size, .ask = ask };
    ben_put_dict(out);
    ben_put_key(out, "f");
    ben_put_list(out);
}

/* Would `size` more bytes leave room to close the message? */
static bool has_room(const struct bytes_out *out, size_t start, size_t bytes_max, size_t size)
{
    size_t cap = out->cap - start < bytes_max ? out->cap - start : bytes_max;
    size_t used = out->size - start + CLOSING_BYTES;
    return used <= cap && size <= cap - used;
}

int message_have_add(struct message_have_writer *w, const struct message_feed *feed)
{
    size_t size = KEY_SIZE + feed->header.size + 64; /* 64: its brackets, lengths and numbers */
    if (w->n_feeds == MESSAGE_HAVE_MAX || !has_room(w->out, w->start, LINK_MESSAGE_MAX, size))
        return CAM_EFULL;
    feed_encode(w->out, feed);
    w->n_feeds++;
    return 0;
}

void message_have_end(struct message_have_writer *w)
{
    ben_put_end(w->out);
    have_close(w->out, w->ask);
    ben_put_end(w->out);
}

/* BATCH
 *
 *     a  32 bytes  author             m  "batch"
 *     d  integer   device             p  list     of posts, newest first, at most MESSAGE_BATCH_POSTS_MAX
 *     f  integer   floor, 0 = none    t  integer  continue at this seq, 0 = no more
 *     h  188 bytes the newest header held; left out where it is the first of p or none is held
 *
 * A post: [header (188 bytes), body (1..4096 bytes)], or without its body [header, state], where state is 1
 * expired, 2 deleted, 3 missing; deleted may be followed by its proof: [header, 2, [header, body]].
 */
static int item_decode(struct ben v, struct message_item *ret)
{
    struct message_item item = { .state = POST_HELD };
    struct ben second, proof;
    if (ben_type(v) != BEN_LIST)
        return CAM_EFORMAT;
    struct ben_iter it = ben_iter(v);
    if (!next_str(&it, &item.header) || item.header.size != POST_HEADER_SIZE || !ben_next(&it, NULL, &second))
        return CAM_EFORMAT;
    if (ben_str(second, &item.body) == 0) {
        if (item.body.size < 1 || item.body.size > POST_BODY_MAX)
            return CAM_EFORMAT;
    } else {
        int64_t state;
        if (ben_int(second, &state) || state < POST_EXPIRED || state > POST_MISSING)
            return CAM_EFORMAT;
        item.state = (enum post_state)state;
        if (item.state == POST_DELETED && ben_next(&it, NULL, &proof)) {
            struct ben_iter in = ben_iter(proof);
            if (!next_str(&in, &item.proof_header) || item.proof_header.size != POST_HEADER_SIZE ||
                !next_str(&in, &item.proof_body) || item.proof_body.size < 1 ||
                item.proof_body.size > POST_BODY_MAX)
                return CAM_EFORMAT;
        }
    }
    *ret = item;
    return 0;
}

static int item_add(struct message_batch_writer *w, const struct message_item *item)
{
    assert(item->header.size == POST_HEADER_SIZE);
    size_t size = item->header.size + item->body.size + item->proof_header.size + item->proof_body.size + 32;
    if (w->n_posts == MESSAGE_BATCH_POSTS_MAX || !has_room(w->out, w->start, w->bytes_max, size))
        return CAM_EFULL;
    ben_put_list(w->out);
    ben_put_str(w->out, item->header.data, item->header.size);
    if (item->state == POST_HELD)
        ben_put_str(w->out, item->body.data, item->body.size);
    else
        ben_put_int(w->out, item->state);
    if (item->proof_header.size > 0) {
        ben_put_list(w->out);
        ben_put_str(w->out, item->proof_header.data, item->proof_header.size);
        ben_put_str(w->out, item->proof_body.data, item->proof_body.size);
        ben_put_end(w->out);
    }
    ben_put_end(w->out);
    w->n_posts++;
    return 0;
}

int message_batch_decode(struct ben dict, struct message *ret)
{
    struct message_batch *b = &ret->batch;
    struct message_item item;
    struct ben v;
    if (message_get_feed(dict, b->author, &b->device) ||
        message_get_uint(dict, "f", 0, POST_SEQ_MAX, &b->floor_seq) ||
        message_get_uint(dict, "t", 0, POST_SEQ_MAX, &b->next_seq) || ben_get_list(dict, "p", &b->posts))
        return CAM_EFORMAT;
    b->head = span(NULL, 0);
    if (ben_get(dict, "h", &v) == 0 &&
        (ben_str(v, &b->head) || !is_header_of(b->head, b->author, b->device)))
        return CAM_EFORMAT;
    b->n_posts = 0;
    for (struct ben_iter it = ben_iter(b->posts); ben_next(&it, NULL, &v); b->n_posts++)
        if (b->n_posts == MESSAGE_BATCH_POSTS_MAX || item_decode(v, &item))
            return CAM_EFORMAT;
    return 0;
}

static void batch_open(struct bytes_out *out, const uint8_t author[KEY_SIZE], uint16_t device,
                       uint64_t floor_seq, struct span head)
{
    assert(device <= SNOWFLAKE_DEVICE_MAX && floor_seq <= POST_SEQ_MAX);
    assert(head.size == 0 || head.size == POST_HEADER_SIZE);
    ben_put_key(out, "a");
    ben_put_str(out, author, KEY_SIZE);
    ben_put_key(out, "d");
    ben_put_int(out, device);
    ben_put_key(out, "f");
    ben_put_int(out, (int64_t)floor_seq);
    if (head.size) {
        ben_put_key(out, "h");
        ben_put_str(out, head.data, head.size);
    }
    message_put_kind(out, MESSAGE_BATCH);
    ben_put_key(out, "p");
}

static void batch_close(struct bytes_out *out, uint64_t next_seq)
{
    assert(next_seq <= POST_SEQ_MAX);
    ben_put_key(out, "t");
    ben_put_int(out, (int64_t)next_seq);
}

void message_batch_encode(struct bytes_out *out, const struct message *m)
{
    batch_open(out, m->batch.author, m->batch.device, m->batch.floor_seq, m->batch.head);
    ben_put_raw(out, m->batch.posts);
    batch_close(out, m->batch.next_seq);
}

struct ben_iter message_items(const struct message_batch *batch) { return ben_iter(batch->posts); }

bool message_item_next(struct ben_iter *it, struct message_item *ret)
{
    struct ben v;
    return ben_next(it, NULL, &v) && item_decode(v, ret) == 0;
}

void message_batch_begin(struct message_batch_writer *w, struct bytes_out *out,
                         const uint8_t author[KEY_SIZE], uint16_t device, uint64_t floor_seq,
                         size_t bytes_max)
{
    message_batch_begin_below(w, out, author, device, floor_seq, span(NULL, 0), bytes_max);
}

void message_batch_begin_below(struct message_batch_writer *w, struct bytes_out *out,
                               const uint8_t author[KEY_SIZE], uint16_t device, uint64_t floor_seq,
                               struct span head, size_t bytes_max)
{
    if (bytes_max > LINK_MESSAGE_MAX)
        bytes_max = LINK_MESSAGE_MAX;
    *w = (struct message_batch_writer){ .out = out, .start = out->size, .bytes_max = bytes_max };
    ben_put_dict(out);
    batch_open(out, author, device, floor_seq, head);
    ben_put_list(out);
}

int message_batch_add(struct message_batch_writer *w, struct span header, struct span body,
                      enum post_state state)
{
    return item_add(w, &(struct message_item){ .header = header, .state = state,
                                               .body = state == POST_HELD ? body : span(NULL, 0) });
}

int message_batch_add_deleted(struct message_batch_writer *w, struct span header, struct span proof_header,
                              struct span proof_body)
{
    return item_add(w, &(struct message_item){ .header = header, .state = POST_DELETED,
                                               .proof_header = proof_header, .proof_body = proof_body });
}

void message_batch_end(struct message_batch_writer *w, uint64_t next_seq)
{
    ben_put_end(w->out);
    batch_close(w->out, next_seq);
    ben_put_end(w->out);
}
