/* The messages that travel on links, as bencoded dicts: one codec for each kind, and one table of kinds.
 * docs/protocol.md draws every one of them, with test vectors.
 *
 * Every message is a dict of at most LINK_MESSAGE_MAX bytes whose key "m" is the word of its kind. Keys that
 * are not known are ignored, so a kind can grow; kinds that are not known are CAM_ENOENT, to be ignored.
 * Decoding checks sizes, ranges and counts, never signatures: that is the receiver's, cheapest check first.
 * A decoded message borrows from the received bytes and allocates nothing.
 *
 *     struct message m;
 *     int err = message_decode(event->bytes, &m);
 *     if (!err && m.kind == MESSAGE_POST) ... m.post.header, m.post.body ...
 *
 *     struct bytes_out out = bytes_out(buf, sizeof buf);
 *     struct message ack = { .kind = MESSAGE_ACK, .ack = { ... } };
 *     message_encode(&out, &ack);
 *     if (out.err) return out.err;
 *
 * HAVE and BATCH carry lists; they are written by begin / add / end and read by an iterator:
 *
 *     struct message_batch_writer w;
 *     message_batch_begin(&w, &out, author, device, floor_seq, MESSAGE_BATCH_BYTES);
 *     (or message_batch_begin_below, for a run that does not begin at the newest post)
 *     while (more && message_batch_add(&w, header, body, POST_HELD) == 0) ...
 *     message_batch_end(&w, next_seq);
 *
 *     struct message_item item;
 *     struct ben_iter it = message_items(&m.batch);
 *     while (message_item_next(&it, &item)) ...
 */
#ifndef TIMELINE_MESSAGE_H
#define TIMELINE_MESSAGE_H
#include "core/bencode.h"
#include "kad/kad.h"
#include "timeline/link.h"
#include "timeline/post.h"

#define MESSAGE_BATCH_BYTES (128 * 1024) /* one page of a run; what a WANT asks for may span several */
#define MESSAGE_BATCH_POSTS_MAX 1024     /* posts in one BATCH */
#define MESSAGE_HAVE_MAX 512             /* feeds in one HAVE */
#define MESSAGE_RANGE_DEPTH_MAX 8        /* hex digits of a follower slot that a range may fix */

enum message_kind {
    MESSAGE_NONE,
    MESSAGE_HELLO,
    MESSAGE_FOLLOW,
    MESSAGE_POST,
    MESSAGE_ACK,
    MESSAGE_HAVE,
    MESSAGE_WANT,
    MESSAGE_BATCH,
    MESSAGE_KINDS,
};

/* A part of the space of follower slots (SHA1 of the follower's key): those that begin with `depth` hex
 * digits. On the wire it is those digits, so "" is everybody. */
struct message_range {
    uint8_t depth;
    uint32_t prefix; /* the digits at its top, zero below them */
};

/* Opens every link: the sender's signed connection record. The receiver checks that the record's transport
 * key is the one that ZAP proved; answers go to the addresses in it and nowhere else. With `ask`, the sender
 * has not heard the receiver's: it goes before the next message to it. */
struct message_hello {
    bool ask;
    struct kad_item record; /* is_mutable; pk, salt, seq, sig, v */
};

/* The follower's signed entry in the receiver's follower set (or its tombstone, on unfollow). The root is
 * not sent: it is SHA1(receiver's key + "followers"), so an entry for somebody else does not verify. */
struct message_follow {
    struct kad_entry entry; /* pk, seq, sig, v */
};

/* One new post, and the part of the followers that the receiver is to serve in its turn. */
struct message_post {
    struct span header; /* POST_HEADER_SIZE bytes */
    struct span body;   /* 1..POST_BODY_MAX bytes */
    struct message_range range;
};

/* Stored, on disk: the post `seq` with this hash, and without a hole everything from `from` to it. One ACK
 * thus answers a whole run. */
struct message_ack {
    uint8_t author[KEY_SIZE];
    uint16_t device;
    uint64_t from, seq; /* from <= seq */
    uint8_t hash[HASH_SIZE];
    struct message_range range;
    uint32_t stored_below; /* followers inside the range known to have it, the sender included */
};

/* What the sender holds: feeds, each with its newest signed header. With `ask`, the receiver answers with a
 * HAVE of those of them in which it is ahead, and of those it alone knows something about. */
struct message_have {
    bool ask;
    struct ben feeds; /* message_feeds */
    size_t n_feeds;
};

struct message_feed {
    uint8_t author[KEY_SIZE];
    uint16_t device;
    struct span header; /* POST_HEADER_SIZE bytes, of this author and device; empty: holds nothing of it */
    uint64_t floor_seq; /* nothing at or below it is kept by the sender; 0 = it has the beginning */
};

/* Send me posts of this feed, newest first, from `to` down to `from`. Answered by one or more BATCH. */
struct message_want {
    uint8_t author[KEY_SIZE];
    uint16_t device;
    uint64_t from;      /* >= 1 */
    uint64_t to;        /* >= from; 0 = from the newest there is */
    uint32_t bytes_max; /* of all the answer's messages together; at least one page is sent */
};

/* A run of posts of one feed, newest first, seq falling by one. Authentic when the first header is: by its
 * own signature, or because its hash is the `prev` of a header already verified (feed.h). */
struct message_batch {
    uint8_t author[KEY_SIZE];
    uint16_t device;
    uint64_t floor_seq; /* as in HAVE */
    uint64_t next_seq;  /* the newest post below this run, within what was asked for, that the sender holds:
                           continue with WANT to = next_seq; 0 = no more */
    struct span head;   /* the newest header that the sender holds, where it is not in this run; or empty. So
                           any page of an answer tells that the newest one got lost */
    struct ben posts;   /* message_items */
    size_t n_posts;     /* 0: the sender has nothing of what was asked for */
};

struct message_item {
    struct span header;    /* POST_HEADER_SIZE bytes */
    enum post_state state; /* as the sender says */
    struct span body;      /* POST_HELD only: 1..POST_BODY_MAX bytes */
    struct span proof_header, proof_body; /* POST_DELETED only: the delete, a post of the same author */
};

struct message {
    enum message_kind kind;
    union {
        struct message_hello hello;
        struct message_follow follow;
        struct message_post post;
        struct message_ack ack;
        struct message_have have; /* message_encode: `feeds` is an encoded list; or use the writer */
        struct message_want want;
        struct message_batch batch; /* message_encode: as HAVE */
    };
};

/* CAM_ETOOBIG, CAM_EFORMAT, or CAM_ENOENT for a well-formed message of an unknown kind. */
int message_decode(struct span bytes, struct message *ret);
/* Errors are left in out->err. What is encoded must be in bounds (asserted). */
void message_encode(struct bytes_out *out, const struct message *m);
const char *message_word(enum message_kind kind); /* "hello"; NULL for none */

/* ---- lists. A decoded message's lists were checked whole, so the iterators have no error. */
struct ben_iter message_feeds(const struct message_have *have);
bool message_feed_next(struct ben_iter *it, struct message_feed *ret);
struct ben_iter message_items(const struct message_batch *batch);
bool message_item_next(struct ben_iter *it, struct message_item *ret);

struct message_have_writer {
    struct bytes_out *out;
    size_t start, n_feeds; /* start: out->size where the message begins */
    bool ask;
};
void message_have_begin(struct message_have_writer *w, struct bytes_out *out, bool ask);
int message_have_add(struct message_have_writer *w,
                     const struct message_feed *feed); /* CAM_EFULL: send, begin anew */
void message_have_end(struct message_have_writer *w);

struct message_batch_writer {
    struct bytes_out *out;
    size_t start, n_posts, bytes_max; /* bytes_max: of the whole message, at most LINK_MESSAGE_MAX */
};
void message_batch_begin(struct message_batch_writer *w, struct bytes_out *out,
                         const uint8_t author[KEY_SIZE], uint16_t device, uint64_t floor_seq,
                         size_t bytes_max);
/* `head`: see message_batch; empty, or of POST_HEADER_SIZE bytes. */
void message_batch_begin_below(struct message_batch_writer *w, struct bytes_out *out,
                               const uint8_t author[KEY_SIZE], uint16_t device, uint64_t floor_seq,
                               struct span head, size_t bytes_max);
/* CAM_EFULL when it does not fit any more: end this one and begin another. `body` is used for POST_HELD. */
int message_batch_add(struct message_batch_writer *w, struct span header, struct span body,
                      enum post_state state);
/* A deleted post with the delete that proves it. */
int message_batch_add_deleted(struct message_batch_writer *w, struct span header, struct span proof_header,
                              struct span proof_body);
void message_batch_end(struct message_batch_writer *w, uint64_t next_seq);

/* ---- ranges */
struct message_range message_range_all(void);
bool message_range_contains(struct message_range range, const uint8_t slot[SHA1_SIZE]);
bool message_range_equal(struct message_range a, struct message_range b);
/* The digit-th (0..15) part of a range, one hex digit deeper. range.depth < MESSAGE_RANGE_DEPTH_MAX. */
struct message_range message_range_part(struct message_range range, unsigned digit);

#endif
