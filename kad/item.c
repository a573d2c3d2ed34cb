#include "kad/item.h"

#include <assert.h>
#include <string.h>

#include "core/bencode.h"
#include "core/err.h"
#include "core/hash.h"

static const struct {
    int code, status;
    const char *text;
} errors[] = {
    {KAD_ERROR_GENERIC, CAM_EREFUSED, "Generic Error"},
    {KAD_ERROR_FULL, CAM_EFULL, "No room"},
    {KAD_ERROR_PROTOCOL, CAM_EFORMAT, "Protocol Error"},
    {KAD_ERROR_METHOD, CAM_EREFUSED, "Method Unknown"},
    {KAD_ERROR_TOOBIG, CAM_ETOOBIG, "Value too big"},
    {KAD_ERROR_SIGNATURE, CAM_EAUTH, "Invalid signature"},
    {KAD_ERROR_SALT, CAM_ETOOBIG, "Salt too big"},
    {KAD_ERROR_CAS, CAM_ECAS, "CAS mismatch, re-read and try again"},
    {KAD_ERROR_STALE, CAM_ESTALE, "Sequence number less than current"},
};

const char *kad_error_text(int code)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].text;
    return errors[0].text;
}

int kad_error_status(int code)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].status;
    return errors[0].status;
}

void kad_mutable_target(const uint8_t pk[KEY_SIZE], struct span salt, uint8_t ret_target[KAD_ID_SIZE])
{
    hash_sha1_2(ret_target, span(pk, KEY_SIZE), salt);
}

void kad_item_target(const struct kad_item *item, uint8_t ret_target[KAD_ID_SIZE])
{
    if (item->is_mutable)
        kad_mutable_target(item->pk, item->salt, ret_target);
    else
        hash_sha1(ret_target, item->v.data, item->v.size);
}

/*  "4:salt"  length ":" salt  "3:seqi"  seq  "e1:v"  v
 *  `------ only with a salt ------'
 *
 *  These are the dict's entries in order, without its d and e, so no encoder of whole values makes them. */
void kad_item_signed_bytes(const struct kad_item *item, struct bytes_out *out)
{
    if (item->salt.size) {
        ben_put_text(out, "salt");
        ben_put_str(out, item->salt.data, item->salt.size);
    }
    ben_put_text(out, "seq");
    ben_put_int(out, item->seq);
    ben_put_text(out, "v");
    bytes_put(out, item->v.data, item->v.size);
}

int kad_item_check(const struct kad_item *item)
{
    struct ben v;
    if (item->v.size > KAD_VALUE_MAX)
        return KAD_ERROR_TOOBIG;
    if (item->is_mutable && item->salt.size > KAD_SALT_MAX)
        return KAD_ERROR_SALT;
    if (ben_parse(item->v.data, item->v.size, &v))
        return KAD_ERROR_PROTOCOL;
    if (item->is_mutable && item->seq < 0)
        return KAD_ERROR_PROTOCOL;
    return 0;
}

int kad_item_sign(struct kad_item *item, const struct identity *id)
{
    assert(item->is_mutable);
    int code = kad_item_check(item);
    if (code)
        return kad_error_status(code);
    uint8_t buf[KAD_ITEM_SIGNED_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    kad_item_signed_bytes(item, &out);
    assert(!out.err);
    memcpy(item->pk, id->pk, KEY_SIZE);
    identity_sign(id, buf, out.size, item->sig);
    return 0;
}

int kad_item_verify(const struct kad_item *item)
{
    int code = kad_item_check(item);
    if (code)
        return kad_error_status(code);
    if (!item->is_mutable)
        return 0; /* whoever asked for SHA1(v) checks that: the item names no target */
    uint8_t buf[KAD_ITEM_SIGNED_MAX];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    kad_item_signed_bytes(item, &out);
    assert(!out.err);
    return identity_verify(item->pk, buf, out.size, item->sig);
}

int64_t kad_value_expires_s(struct span v)
{
    struct ben dict;
    int64_t exp_s;
    if (ben_parse(v.data, v.size, &dict) || ben_get_int(dict, "exp", &exp_s) || exp_s < 0)
        return 0;
    return exp_s;
}

int kad_version_compare(int64_t a_seq, struct span a_v, int64_t b_seq, struct span b_v)
{
    if (a_seq != b_seq)
        return a_seq < b_seq ? -1 : 1;
    if (span_equal(a_v, b_v))
        return 0;
    uint8_t a_hash[SHA1_SIZE], b_hash[SHA1_SIZE];
    hash_sha1(a_hash, a_v.data, a_v.size);
    hash_sha1(b_hash, b_v.data, b_v.size);
    return memcmp(a_hash, b_hash, SHA1_SIZE);
}
