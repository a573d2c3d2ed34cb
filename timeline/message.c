#include "timeline/message.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"
#include "core/snowflake.h"
#include "timeline/message_list.h"

/* Ranges: on the wire the hex digits that are fixed, as text. */

struct message_range message_range_all(void) { return (struct message_range){ .depth = 0 }; }

static uint32_t range_mask(unsigned depth)
{
    return depth ? UINT32_MAX << (4 * (MESSAGE_RANGE_DEPTH_MAX - depth)) : 0;
}

bool message_range_contains(struct message_range range, const uint8_t slot[SHA1_SIZE])
{
    return ((be32(slot) ^ range.prefix) & range_mask(range.depth)) == 0;
}

bool message_range_equal(struct message_range a, struct message_range b)
{
    return a.depth == b.depth && a.prefix == b.prefix;
}

struct message_range message_range_part(struct message_range range, unsigned digit)
{
    assert(range.depth < MESSAGE_RANGE_DEPTH_MAX && digit < 16);
    range.depth++;
    range.prefix |= (uint32_t)digit << (4 * (MESSAGE_RANGE_DEPTH_MAX - range.depth));
    return range;
}

static void put_range(struct bytes_out *out, struct message_range range)
{
    char digits[MESSAGE_RANGE_DEPTH_MAX + 1];
    uint8_t bytes[4];
    assert(range.depth <= MESSAGE_RANGE_DEPTH_MAX && (range.prefix & ~range_mask(range.depth)) == 0);
    put_be32(bytes, range.prefix);
    hex_encode(digits, bytes, sizeof bytes);
    ben_put_str(out, digits, range.depth);
}

static int get_range(struct ben dict, const char *key, struct message_range *ret)
{
    struct span digits;
    struct message_range range = { 0 };
    if (ben_get_str(dict, key, &digits) || digits.size > MESSAGE_RANGE_DEPTH_MAX)
        return CAM_EFORMAT;
    for (size_t i = 0; i < digits.size; i++) {
        uint8_t c = digits.data[i];
        if (c >= '0' && c <= '9')
            range = message_range_part(range, c - (unsigned)'0');
        else if (c >= 'a' && c <= 'f')
            range = message_range_part(range, c - (unsigned)'a' + 10);
        else
            return CAM_EFORMAT;
    }
    *ret = range;
    return 0;
}

/* What several kinds have in common */

int message_get_uint(struct ben dict, const char *key, uint64_t min, uint64_t max, uint64_t *ret)
{
    int64_t v;
    if (ben_get_int(dict, key, &v) || v < 0 || (uint64_t)v < min || (uint64_t)v > max)
        return CAM_EFORMAT;
    *ret = (uint64_t)v;
    return 0;
}

int message_get_feed(struct ben dict, uint8_t ret_author[KEY_SIZE], uint16_t *ret_device)
{
    uint64_t device;
    if (ben_get_fixed(dict, "a", ret_author, KEY_SIZE) ||
        message_get_uint(dict, "d", 0, SNOWFLAKE_DEVICE_MAX, &device))
        return CAM_EFORMAT;
    *ret_device = (uint16_t)device;
    return 0;
}

void message_put_kind(struct bytes_out *out, enum message_kind kind)
{
    ben_put_key(out, "m");
    ben_put_text(out, message_word(kind));
}

static void put_int(struct bytes_out *out, const char *key, uint64_t v)
{
    assert(v <= INT64_MAX);
    ben_put_key(out, key);
    ben_put_int(out, (int64_t)v);
}

static void put_str(struct bytes_out *out, const char *key, const void *data, size_t size)
{
    ben_put_key(out, key);
    ben_put_str(out, data, size);
}

/* A signed record as it travels in HELLO (with "salt") and FOLLOW (without).
 *
 *     k     32 bytes  who signed it          sig   64 bytes
 *     salt  string    at most KAD_SALT_MAX   v     any value
 *     seq   integer   >= 0
 */
static void put_record(struct bytes_out *out, const uint8_t *pk, const struct span *salt, int64_t seq,
                       const uint8_t *sig, struct span v)
{
    ben_put_dict(out);
    put_str(out, "k", pk, KEY_SIZE);
    if (salt)
        put_str(out, "salt", salt->data, salt->size);
    put_int(out, "seq", (uint64_t)seq);
    put_str(out, "sig", sig, SIG_SIZE);
    ben_put_key(out, "v");
    ben_put_raw(out, (struct ben){ .data = v.data, .size = v.size });
    ben_put_end(out);
}

static int get_record(struct ben r, uint8_t *ret_pk, int64_t *ret_seq, uint8_t *ret_sig, struct span *ret_v,
                      size_t v_max)
{
    struct ben v;
    if (ben_get_fixed(r, "k", ret_pk, KEY_SIZE) || ben_get_int(r, "seq", ret_seq) || *ret_seq < 0 ||
        ben_get_fixed(r, "sig", ret_sig, SIG_SIZE) || ben_get(r, "v", &v) || v.size > v_max)
        return CAM_EFORMAT;
    *ret_v = span(v.data, v.size);
    return 0;
}

/* HELLO
 *
 *     m  "hello"
 *     q  1        yours has not been heard; left out otherwise
 *     r  dict     the connection record: k, salt, seq, sig, v (a dict)
 */
static void hello_encode(struct bytes_out *out, const struct message *m)
{
    const struct kad_item *r = &m->hello.record;
    message_put_kind(out, MESSAGE_HELLO);
    if (m->hello.ask)
        put_int(out, "q", 1);
    ben_put_key(out, "r");
    put_record(out, r->pk, &r->salt, r->seq, r->sig, r->v);
}

static int hello_decode(struct ben dict, struct message *ret)
{
    struct kad_item *r = &ret->hello.record;
    struct ben record;
    int64_t ask = 0;
    int err = ben_get_int(dict, "q", &ask);
    if (err && err != CAM_ENOENT)
        return CAM_EFORMAT;
    ret->hello.ask = ask == 1;
    r->is_mutable = true;
    if (ben_get_dict(dict, "r", &record) || ben_get_str(record, "salt", &r->salt) ||
        r->salt.size > KAD_SALT_MAX)
        return CAM_EFORMAT;
    if (get_record(record, r->pk, &r->seq, r->sig, &r->v, KAD_VALUE_MAX) || r->v.data[0] != 'd')
        return CAM_EFORMAT;
    return 0;
}

/* FOLLOW
 *
 *     e  dict     the follower's set entry: k, seq, sig, v (a dict)
 *     m  "follow"
 */
static void follow_encode(struct bytes_out *out, const struct message *m)
{
    const struct kad_entry *e = &m->follow.entry;
    ben_put_key(out, "e");
    put_record(out, e->pk, NULL, e->seq, e->sig, e->v);
    message_put_kind(out, MESSAGE_FOLLOW);
}

static int follow_decode(struct ben dict, struct message *ret)
{
    struct kad_entry *e = &ret->follow.entry;
    struct ben record;
    e->age_s = e->since_s = 0;
    if (ben_get_dict(dict, "e", &record) ||
        get_record(record, e->pk, &e->seq, e->sig, &e->v, KAD_SET_VALUE_MAX) || e->v.data[0] != 'd')
        return CAM_EFORMAT;
    return 0;
}

/* POST
 *
 *     b  1..4096 bytes  body
 *     h  188 bytes      header
 *     m  "post"
 *     r  0..8 digits    the followers that the receiver is to serve: hex digits their slots begin with
 */
static void post_encode(struct bytes_out *out, const struct message *m)
{
    assert(m->post.header.size == POST_HEADER_SIZE);
    put_str(out, "b", m->post.body.data, m->post.body.size);
    put_str(out, "h", m->post.header.data, POST_HEADER_SIZE);
    message_put_kind(out, MESSAGE_POST);
    ben_put_key(out, "r");
    put_range(out, m->post.range);
}

static int post_decode(struct ben dict, struct message *ret)
{
    struct message_post *p = &ret->post;
    if (ben_get_str(dict, "b", &p->body) || p->body.size < 1 || p->body.size > POST_BODY_MAX)
        return CAM_EFORMAT;
    if (ben_get_str(dict, "h", &p->header) || p->header.size != POST_HEADER_SIZE)
        return CAM_EFORMAT;
    return get_range(dict, "r", &p->range);
}

/* ACK
 *
 *     a  32 bytes  author            m  "ack"
 *     d  integer   device            n  integer  stored below
 *     f  integer   from, 1..s        r  digits   range
 *     h  32 bytes  hash of post s    s  integer  seq
 */
static void ack_encode(struct bytes_out *out, const struct message *m)
{
    put_str(out, "a", m->ack.author, KEY_SIZE);
    put_int(out, "d", m->ack.device);
    put_int(out, "f", m->ack.from);
    put_str(out, "h", m->ack.hash, HASH_SIZE);
    message_put_kind(out, MESSAGE_ACK);
    put_int(out, "n", m->ack.stored_below);
    ben_put_key(out, "r");
    put_range(out, m->ack.range);
    put_int(out, "s", m->ack.seq);
}

static int ack_decode(struct ben dict, struct message *ret)
{
    struct message_ack *a = &ret->ack;
    uint64_t below;
    if (message_get_feed(dict, a->author, &a->device) ||
        message_get_uint(dict, "s", 1, POST_SEQ_MAX, &a->seq) ||
        message_get_uint(dict, "f", 1, a->seq, &a->from) || ben_get_fixed(dict, "h", a->hash, HASH_SIZE) ||
        message_get_uint(dict, "n", 0, UINT32_MAX, &below))
        return CAM_EFORMAT;
    a->stored_below = (uint32_t)below;
    return get_range(dict, "r", &a->range);
}

/* WANT
 *
 *     a  32 bytes  author      m  "want"
 *     d  integer   device      n  integer  bytes at most, all BATCHes together
 *     f  integer   from, >= 1  t  integer  to, >= f, or 0: from the newest
 */
static void want_encode(struct bytes_out *out, const struct message *m)
{
    put_str(out, "a", m->want.author, KEY_SIZE);
    put_int(out, "d", m->want.device);
    put_int(out, "f", m->want.from);
    message_put_kind(out, MESSAGE_WANT);
    put_int(out, "n", m->want.bytes_max);
    put_int(out, "t", m->want.to);
}

static int want_decode(struct ben dict, struct message *ret)
{
    struct message_want *w = &ret->want;
    uint64_t bytes_max;
    if (message_get_feed(dict, w->author, &w->device) ||
        message_get_uint(dict, "f", 1, POST_SEQ_MAX, &w->from) ||
        message_get_uint(dict, "t", 0, POST_SEQ_MAX, &w->to) || (w->to != 0 && w->to < w->from) ||
        message_get_uint(dict, "n", 0, UINT32_MAX, &bytes_max))
        return CAM_EFORMAT;
    w->bytes_max = (uint32_t)bytes_max;
    return 0;
}

/* The table: a new kind is a row here, a member of the union and its two functions. Its index is its kind. */

static const struct {
    const char *word;
    void (*encode)(struct bytes_out *out, const struct message *m); /* the dict's pairs, keys ascending */
    int (*decode)(struct ben dict, struct message *ret);            /* fills in its member of the union */
} kinds[MESSAGE_KINDS] = {
    [MESSAGE_HELLO]  = { "hello",  hello_encode,  hello_decode },
    [MESSAGE_FOLLOW] = { "follow", follow_encode, follow_decode },
    [MESSAGE_POST]   = { "post",   post_encode,   post_decode },
    [MESSAGE_ACK]    = { "ack",    ack_encode,    ack_decode },
    [MESSAGE_HAVE]   = { "have",   message_have_encode,  message_have_decode },
    [MESSAGE_WANT]   = { "want",   want_encode,   want_decode },
    [MESSAGE_BATCH]  = { "batch",  message_batch_encode, message_batch_decode },
};

const char *message_word(enum message_kind kind) { return kind < MESSAGE_KINDS ? kinds[kind].word : NULL; }

void message_encode(struct bytes_out *out, const struct message *m)
{
    assert(m->kind > MESSAGE_NONE && m->kind < MESSAGE_KINDS);
    ben_put_dict(out);
    kinds[m->kind].encode(out, m);
    ben_put_end(out);
}

int message_decode(struct span bytes, struct message *ret)
{
    struct ben dict;
    struct span word;
    if (bytes.size > LINK_MESSAGE_MAX)
        return CAM_ETOOBIG;
    if (ben_parse(bytes.data, bytes.size, &dict) || ben_get_str(dict, "m", &word))
        return CAM_EFORMAT;
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KINDS; kind++) {
        if (!span_equal(word, span_str(kinds[kind].word)))
            continue;
        struct message m = { .kind = (enum message_kind)kind };
        int err = kinds[kind].decode(dict, &m);
        if (!err)
            *ret = m;
        return err;
    }
    return CAM_ENOENT;
}
