#include "kad/set.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"

static const char digits[] = "0123456789abcdef";

void kad_slot(const uint8_t pk[KEY_SIZE], uint8_t ret_slot[KAD_SLOT_SIZE])
{
    hash_sha1(ret_slot, pk, KEY_SIZE);
}

static char slot_digit(const uint8_t slot[KAD_SLOT_SIZE], unsigned i)
{
    return digits[i % 2 ? slot[i / 2] & 15 : slot[i / 2] >> 4];
}

void kad_shard_of(struct kad_shard_id *ret, const uint8_t root[KAD_ID_SIZE], uint8_t depth,
                  const uint8_t slot[KAD_SLOT_SIZE])
{
    assert(depth <= KAD_SHARD_DEPTH_MAX);
    *ret = (struct kad_shard_id){.depth = depth};
    memcpy(ret->root, root, KAD_ID_SIZE);
    for (unsigned i = 0; i < depth; i++)
        ret->prefix[i] = slot_digit(slot, i);
}

int kad_shard_parse(struct kad_shard_id *ret, const uint8_t root[KAD_ID_SIZE], int64_t depth,
                    struct span prefix)
{
    if (depth < 0 || depth > KAD_SHARD_DEPTH_MAX || prefix.size != (size_t)depth)
        return CAM_EFORMAT;
    for (size_t i = 0; i < prefix.size; i++)
        if (!memchr(digits, prefix.data[i], 16))
            return CAM_EFORMAT;
    *ret = (struct kad_shard_id){.depth = (uint8_t)depth};
    memcpy(ret->root, root, KAD_ID_SIZE);
    if (prefix.size)
        memcpy(ret->prefix, prefix.data, prefix.size);
    return 0;
}

void kad_shard_child(struct kad_shard_id *ret, const struct kad_shard_id *parent, unsigned digit)
{
    assert(parent->depth < KAD_SHARD_DEPTH_MAX && digit < 16);
    struct kad_shard_id child = *parent;
    child.prefix[child.depth++] = digits[digit];
    *ret = child;
}

void kad_shard_parent(struct kad_shard_id *ret, const struct kad_shard_id *child)
{
    assert(child->depth > 0);
    struct kad_shard_id parent = *child;
    parent.prefix[--parent.depth] = 0;
    *ret = parent;
}

void kad_shard_target(const struct kad_shard_id *at, uint8_t ret_target[KAD_ID_SIZE])
{
    if (at->depth == 0)
        memcpy(ret_target, at->root, KAD_ID_SIZE);
    else
        hash_sha1_2(ret_target, span(at->root, KAD_ID_SIZE), span(at->prefix, at->depth));
}

bool kad_shard_contains(const struct kad_shard_id *at, const uint8_t slot[KAD_SLOT_SIZE])
{
    for (unsigned i = 0; i < at->depth; i++)
        if (at->prefix[i] != slot_digit(slot, i))
            return false;
    return true;
}

bool kad_shard_id_equal(const struct kad_shard_id *a, const struct kad_shard_id *b)
{
    return a->depth == b->depth && memcmp(a->root, b->root, KAD_ID_SIZE) == 0 &&
           memcmp(a->prefix, b->prefix, a->depth) == 0;
}

/*  "4:root20:"  root (20)  "3:seqi"  seq  "e1:v"  v
 *
 *  As in BEP 44: a dict's entries in order, without its d and e. */
void kad_entry_signed_bytes(const struct kad_entry *entry, const uint8_t root[KAD_ID_SIZE],
                            struct bytes_out *out)
{
    ben_put_text(out, "root");
    ben_put_str(out, root, KAD_ID_SIZE);
    ben_put_text(out, "seq");
    ben_put_int(out, entry->seq);
    ben_put_text(out, "v");
    bytes_put(out, entry->v.data, entry->v.size);
}

int kad_entry_check(const struct kad_entry *entry)
{
    struct ben v;
    if (entry->v.size > KAD_SET_VALUE_MAX)
        return KAD_ERROR_TOOBIG;
    if (entry->seq < 0 || ben_parse(entry->v.data, entry->v.size, &v) || ben_type(v) != BEN_DICT)
        return KAD_ERROR_PROTOCOL;
    return 0;
}

int kad_entry_sign(struct kad_entry *entry, const uint8_t root[KAD_ID_SIZE], const struct identity *id)
{
    int code = kad_entry_check(entry);
    if (code)
        return kad_error_status(code);
    uint8_t buf[KAD_ENTRY_SIGNED_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    kad_entry_signed_bytes(entry, root, &out);
    assert(!out.err);
    memcpy(entry->pk, id->pk, KEY_SIZE);
    identity_sign(id, buf, out.size, entry->sig);
    return 0;
}

int kad_entry_verify(const struct kad_entry *entry, const uint8_t root[KAD_ID_SIZE])
{
    int code = kad_entry_check(entry);
    if (code)
        return kad_error_status(code);
    uint8_t buf[KAD_ENTRY_SIGNED_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    kad_entry_signed_bytes(entry, root, &out);
    assert(!out.err);
    return identity_verify(entry->pk, buf, out.size, entry->sig);
}

bool kad_entry_is_tombstone(const struct kad_entry *entry)
{
    struct ben v;
    int64_t del;
    return !ben_parse(entry->v.data, entry->v.size, &v) && !ben_get_int(v, "del", &del) && del == 1;
}

void kad_entry_digest(const struct kad_entry *entry, uint8_t digest[KAD_ID_SIZE])
{
    uint8_t head[KEY_SIZE + 8], hash[SHA1_SIZE];
    memcpy(head, entry->pk, KEY_SIZE);
    put_be64(head + KEY_SIZE, (uint64_t)entry->seq);
    hash_sha1_2(hash, span(head, sizeof head), entry->v);
    for (size_t i = 0; i < SHA1_SIZE; i++)
        digest[i] ^= hash[i];
}

static size_t int_size(int64_t v) /* of i...e */
{
    size_t size = v < 0 ? 4 : 3;
    for (uint64_t n = v < 0 ? -(uint64_t)v : (uint64_t)v; n >= 10; n /= 10)
        size++;
    return size;
}

size_t kad_entry_wire_size(const struct kad_entry *entry)
{
    return 2 + (3 + KEY_SIZE) + int_size(entry->seq) + (3 + SIG_SIZE) + entry->v.size +
           int_size(entry->age_s) + int_size(entry->since_s);
}

/*  l  k (32)  seq  sig (64)  v  age  since  e */
void kad_entry_put(struct bytes_out *out, const struct kad_entry *entry)
{
    ben_put_list(out);
    ben_put_str(out, entry->pk, KEY_SIZE);
    ben_put_int(out, entry->seq);
    ben_put_str(out, entry->sig, SIG_SIZE);
    bytes_put(out, entry->v.data, entry->v.size);
    ben_put_int(out, entry->age_s);
    ben_put_int(out, entry->since_s);
    ben_put_end(out);
}

int kad_entry_get(struct ben list, struct kad_entry *ret)
{
    if (ben_type(list) != BEN_LIST)
        return CAM_EFORMAT;
    struct ben part[6], extra;
    struct ben_iter it = ben_iter(list);
    for (size_t i = 0; i < 6; i++)
        if (!ben_next(&it, NULL, &part[i]))
            return CAM_EFORMAT;
    while (ben_next(&it, NULL, &extra))
        ; /* a later version may say more; what it says is not ours to judge */

    struct kad_entry entry = {.v = span(part[3].data, part[3].size)};
    struct span pk, sig;
    int64_t age_s, since_s;
    if (ben_str(part[0], &pk) || pk.size != KEY_SIZE || ben_int(part[1], &entry.seq) ||
        ben_str(part[2], &sig) || sig.size != SIG_SIZE || ben_int(part[4], &age_s) ||
        ben_int(part[5], &since_s) || age_s < 0 || since_s < 0)
        return CAM_EFORMAT;
    memcpy(entry.pk, pk.data, KEY_SIZE);
    memcpy(entry.sig, sig.data, SIG_SIZE);
    entry.age_s = age_s > UINT32_MAX ? UINT32_MAX : (uint32_t)age_s;
    entry.since_s = since_s > UINT32_MAX ? UINT32_MAX : (uint32_t)since_s;
    int code = kad_entry_check(&entry);
    if (code)
        return kad_error_status(code);
    *ret = entry;
    return 0;
}
