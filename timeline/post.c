#include "timeline/post.h"

#include <assert.h>
#include <string.h>

#include "core/bencode.h"
#include "core/err.h"
#include "core/now.h"
#include "core/snowflake.h"
#include "core/text.h"

static_assert(TEXT_POST_MAX + POST_TARGET_SIZE + 32 <= POST_BODY_MAX,
              "the longest text with a target fits a body");
static_assert(POST_SIGNED_SIZE + SIG_SIZE == POST_HEADER_SIZE, "the signature is the rest");

/* kind                word      shown  text   target keeps its body */
static const struct post_kind kinds[] = {
    { POST_KIND_POST,   "post",   true,  true,  false, false },
    { POST_KIND_REPLY,  "reply",  true,  true,  true,  false },
    { POST_KIND_BOOST,  "boost",  true,  false, true,  false },
    { POST_KIND_DELETE, "delete", false, false, true,  true },
    { POST_KIND_EDIT,   "edit",   false, true,  true,  true },
};

const struct post_kind *post_kind_find(uint8_t kind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].kind == kind)
            return &kinds[i];
    return NULL;
}

/* The header; integers are big-endian.
 *
 *     offset size                                   offset size
 *       0     1  version = 1                          24    32  author public key
 *       1     1  kind                                 56    32  previous header's hash (zero for seq 1)
 *       2     2  device                               88    32  body hash
 *       4     4  lifespan in seconds, 0 = none       120     2  body bytes
 *       8     8  id (Snowflake)                      122     2  zero
 *      16     8  seq                                 124    64  signature over the prefix and bytes 0..123
 */
static void put_unsigned(const struct post_header *h, struct bytes_out *out)
{
    bytes_put_u8(out, POST_VERSION);
    bytes_put_u8(out, h->kind);
    bytes_put_u16(out, h->device);
    bytes_put_u32(out, h->lifespan_s);
    bytes_put_u64(out, h->id);
    bytes_put_u64(out, h->seq);
    bytes_put(out, h->author, KEY_SIZE);
    bytes_put(out, h->prev, HASH_SIZE);
    bytes_put(out, h->body_hash, HASH_SIZE);
    bytes_put_u16(out, h->body_bytes);
    bytes_put_u16(out, 0);
}

void post_header_encode(const struct post_header *h, uint8_t ret[POST_HEADER_SIZE])
{
    struct bytes_out out = bytes_out(ret, POST_HEADER_SIZE);
    put_unsigned(h, &out);
    bytes_put(&out, h->sig, SIG_SIZE);
    assert(!out.err && out.size == POST_HEADER_SIZE);
}

static bool all_zero(const uint8_t *p, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++)
        any |= p[i];
    return any == 0;
}

int post_header_decode(struct span bytes, struct post_header *ret)
{
    if (bytes.size != POST_HEADER_SIZE || bytes.data[0] != POST_VERSION)
        return CAM_EFORMAT;
    struct post_header h;
    struct bytes_in in = bytes_in(bytes.data + 1, bytes.size - 1);
    h.kind = bytes_get_u8(&in);
    h.device = bytes_get_u16(&in);
    h.lifespan_s = bytes_get_u32(&in);
    h.id = bytes_get_u64(&in);
    h.seq = bytes_get_u64(&in);
    bytes_copy(&in, h.author, KEY_SIZE);
    bytes_copy(&in, h.prev, HASH_SIZE);
    bytes_copy(&in, h.body_hash, HASH_SIZE);
    h.body_bytes = bytes_get_u16(&in);
    uint16_t spare = bytes_get_u16(&in);
    bytes_copy(&in, h.sig, SIG_SIZE);
    if (bytes_end(&in))
        return CAM_EFORMAT;

    if (h.device > SNOWFLAKE_DEVICE_MAX || h.id == 0 || h.id > SNOWFLAKE_ID_MAX ||
        snowflake_device(h.id) != h.device)
        return CAM_EFORMAT;
    if (h.seq < 1 || h.seq > POST_SEQ_MAX || (h.seq == 1) != all_zero(h.prev, HASH_SIZE))
        return CAM_EFORMAT;
    if (h.body_bytes < 1 || h.body_bytes > POST_BODY_MAX || spare != 0)
        return CAM_EFORMAT;
    *ret = h;
    return 0;
}

void post_header_set_body(struct post_header *h, struct span body)
{
    assert(body.size >= 1 && body.size <= POST_BODY_MAX);
    h->body_bytes = (uint16_t)body.size;
    hash_blake2b(h->body_hash, body.data, body.size);
}

/* What is signed: the prefix keeps a signature over a header from ever being one over anything else. */
#define PREFIX_SIZE (sizeof POST_SIGNED_PREFIX - 1)

void post_header_sign(struct post_header *h, const struct identity *author, uint8_t ret[POST_HEADER_SIZE])
{
    uint8_t msg[PREFIX_SIZE + POST_SIGNED_SIZE];
    memcpy(h->author, author->pk, KEY_SIZE);
    struct bytes_out out = bytes_out(msg, sizeof msg);
    bytes_put(&out, POST_SIGNED_PREFIX, PREFIX_SIZE);
    put_unsigned(h, &out);
    assert(!out.err && out.size == sizeof msg);
    identity_sign(author, msg, sizeof msg, h->sig);
    post_header_encode(h, ret);
}

int post_header_verify(const uint8_t bytes[POST_HEADER_SIZE])
{
    uint8_t msg[PREFIX_SIZE + POST_SIGNED_SIZE];
    memcpy(msg, POST_SIGNED_PREFIX, PREFIX_SIZE);
    memcpy(msg + PREFIX_SIZE, bytes, POST_SIGNED_SIZE);
    return identity_verify(bytes + 24, msg, sizeof msg, bytes + POST_SIGNED_SIZE);
}

void post_hash(const uint8_t bytes[POST_HEADER_SIZE], uint8_t ret[HASH_SIZE])
{
    hash_blake2b(ret, bytes, POST_HEADER_SIZE);
}

int post_body_check(const struct post_header *h, struct span body)
{
    if (body.size != h->body_bytes)
        return CAM_EAUTH;
    uint8_t hash[HASH_SIZE];
    hash_blake2b(hash, body.data, body.size);
    return memcmp(hash, h->body_hash, HASH_SIZE) == 0 ? 0 : CAM_EAUTH;
}

/* The body: a dict.
 *
 *     re   40 bytes   the post it is about: author's key (32), id (8, big-endian); optional
 *     t    text       optional
 */
void post_body_encode(struct bytes_out *out, const struct post_body *body)
{
    ben_put_dict(out);
    if (body->has_target) {
        uint8_t target[POST_TARGET_SIZE];
        memcpy(target, body->target_author, KEY_SIZE);
        put_be64(target + KEY_SIZE, body->target_id);
        ben_put_key(out, "re");
        ben_put_str(out, target, sizeof target);
    }
    if (body->text.size > 0) {
        ben_put_key(out, "t");
        ben_put_str(out, body->text.data, body->text.size);
    }
    ben_put_end(out);
}

int post_body_decode(struct span bytes, struct post_body *ret)
{
    struct ben dict;
    struct post_body body = { .has_target = false };
    uint8_t target[POST_TARGET_SIZE];
    if (bytes.size > POST_BODY_MAX || ben_parse(bytes.data, bytes.size, &dict) || ben_type(dict) != BEN_DICT)
        return CAM_EFORMAT;

    int err = ben_get_fixed(dict, "re", target, sizeof target);
    if (err == 0) {
        body.has_target = true;
        memcpy(body.target_author, target, KEY_SIZE);
        body.target_id = be64(target + KEY_SIZE);
        if (body.target_id == 0 || body.target_id > SNOWFLAKE_ID_MAX)
            return CAM_EFORMAT;
    } else if (err != CAM_ENOENT) {
        return CAM_EFORMAT;
    }
    err = ben_get_str(dict, "t", &body.text);
    if (err && err != CAM_ENOENT)
        return CAM_EFORMAT;
    *ret = body;
    return 0;
}

bool post_is_shown(const struct post_header *h, struct span bytes)
{
    const struct post_kind *kind = post_kind_find(h->kind);
    struct post_body body;
    if (!kind || !kind->shown || post_body_decode(bytes, &body))
        return false;
    if ((kind->needs_text && body.text.size == 0) || (kind->needs_target && !body.has_target))
        return false;
    return text_check_post(body.text.data, body.text.size) == 0;
}

uint64_t post_time_ms(const struct post_header *h) { return snowflake_time_ms(h->id); }

uint64_t post_expires_ms(const struct post_header *h, uint32_t lifespan_s)
{
    const struct post_kind *kind = post_kind_find(h->kind);
    if (kind && kind->keeps_body)
        return NOW_NEVER;
    uint32_t shorter_s = h->lifespan_s;
    if (shorter_s == 0 || (lifespan_s != 0 && lifespan_s < shorter_s))
        shorter_s = lifespan_s;
    return shorter_s ? post_time_ms(h) + (uint64_t)shorter_s * 1000 : NOW_NEVER;
}
