/* A post: a signed header of fixed size, and a body that hangs on it by its hash.
 *
 * Posts of one (author, device) are numbered 1, 2, 3 ... and each names the hash of the header before it, so
 * a body can expire or be deleted without breaking the chain, and one signature at the newest end
 * authenticates everything below it (feed.h).
 *
 * Invariants of every header that post_header_decode accepts: version 1; 1 <= seq <= POST_SEQ_MAX; `prev`
 * is zero exactly when seq is 1; the id is not zero, has its top bit clear and carries the device in its
 * machine bits; the body is 1..POST_BODY_MAX bytes; the spare field is zero. So encode(decode(x)) = x.
 *
 *     uint8_t raw[POST_HEADER_SIZE], body[POST_BODY_MAX], hash[HASH_SIZE];
 *     struct bytes_out out = bytes_out(body, sizeof body);
 *     post_body_encode(&out, &(struct post_body){ .text = span_str("hello") });
 *     struct post_header h = { .kind = POST_KIND_POST, .device = 0, .id = id, .seq = 1 };
 *     post_header_set_body(&h, span(body, out.size));
 *     post_header_sign(&h, me, raw);
 *     post_hash(raw, hash);                    // `prev` of the next one
 */
#ifndef TIMELINE_POST_H
#define TIMELINE_POST_H
#include "core/hash.h"
#include "core/identity.h"

#define POST_VERSION 1
#define POST_HEADER_SIZE 188
#define POST_SIGNED_SIZE 124                   /* what the signature covers, after POST_SIGNED_PREFIX */
#define POST_SIGNED_PREFIX "camellia post v1"  /* without its terminator */
#define POST_BODY_MAX 4096                     /* bytes of an encoded body */
#define POST_TARGET_SIZE 40                    /* a post named in a body: author (32), id (8) */
#define POST_SEQ_MAX                                                                                         \
    ((UINT64_C(1) << 40) - 1) /* 4,096 posts a millisecond fill it in 8 years without a pause */

enum {
    POST_KIND_POST = 0,
    POST_KIND_REPLY = 1,
    POST_KIND_BOOST = 2,
    POST_KIND_DELETE = 3,
    POST_KIND_EDIT = 4,
};

/* What a kind means here. A new kind is one more row in post.c. */
struct post_kind {
    uint8_t kind;
    const char *word;  /* "post", for --json */
    bool shown;        /* has a line of its own in the timeline */
    bool needs_text;   /* its body is nothing without "t" */
    bool needs_target; /* its body names another post */
    bool keeps_body;   /* its body is never collected: it changes what another post shows */
};

struct post_header {
    uint8_t kind;
    uint16_t device;     /* 0..SNOWFLAKE_DEVICE_MAX */
    uint32_t lifespan_s; /* the author's wish; 0 = none */
    uint64_t id;         /* Snowflake: its time is the post's time */
    uint64_t seq;
    uint8_t author[KEY_SIZE];
    uint8_t prev[HASH_SIZE]; /* post_hash of seq - 1 */
    uint8_t body_hash[HASH_SIZE];
    uint16_t body_bytes;
    uint8_t sig[SIG_SIZE];
};

struct post_body { /* decoded; borrowed from the bytes. Keys not listed here are ignored and kept. */
    struct span text;      /* "t"; empty when there is none */
    bool has_target;       /* "re": the post that this one answers, repeats, deletes or changes */
    uint8_t target_author[KEY_SIZE];
    uint64_t target_id;
};

/* What is left of a body: on the wire (message.h, BATCH) and in the store. */
enum post_state {
    POST_HELD = 0,
    POST_EXPIRED = 1, /* past its lifespan; believed from a peer only when the header proves it */
    POST_DELETED = 2, /* the author deleted it; believed only with the delete */
    POST_MISSING = 3, /* not held here: ask another */
};

const struct post_kind *post_kind_find(uint8_t kind); /* NULL for an unknown kind: keep, relay, do not show */

/* The header's fields, without its signature. CAM_EFORMAT. Cheap: nothing is hashed. */
int post_header_decode(struct span bytes, struct post_header *ret);
void post_header_encode(const struct post_header *h, uint8_t ret[POST_HEADER_SIZE]);

/* Sets body_hash and body_bytes. The body is at most POST_BODY_MAX bytes (asserted). */
void post_header_set_body(struct post_header *h, struct span body);
/* Sets author and sig, and gives the encoded header. */
void post_header_sign(struct post_header *h, const struct identity *author, uint8_t ret[POST_HEADER_SIZE]);
/* CAM_EAUTH. The dear check: last, and only where the chain does not already vouch for the header. */
int post_header_verify(const uint8_t bytes[POST_HEADER_SIZE]);

void post_hash(const uint8_t bytes[POST_HEADER_SIZE], uint8_t ret[HASH_SIZE]);

/* Are these the bytes the header was signed for? CAM_EAUTH when not. */
int post_body_check(const struct post_header *h, struct span body);

/* CAM_EFORMAT: not a dict, or a key of the wrong type. Text is checked only by post_is_shown. */
int post_body_decode(struct span bytes, struct post_body *ret);
void post_body_encode(struct bytes_out *out, const struct post_body *body); /* errors are left in out->err */

/* Does it get a line in the timeline? A kind that is shown, with a body that decodes, has what its kind
 * needs, and text that text_check_post lets in. What is not shown is still kept and relayed. */
bool post_is_shown(const struct post_header *h, struct span body);

uint64_t post_time_ms(const struct post_header *h); /* Unix milliseconds */
/* Unix milliseconds from which it has expired, by the smaller of the author's lifespan and `lifespan_s`
 * (0 = none); NOW_NEVER when there is neither, and for kinds that keep their bodies. */
uint64_t post_expires_ms(const struct post_header *h, uint32_t lifespan_s);

#endif
