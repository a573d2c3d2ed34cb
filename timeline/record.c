#include "timeline/record.h"

#include <stdio.h>
#include <string.h>

#include "core/bencode.h"
#include "core/err.h"

/* ---- small readers: the value itself, or why it is not what it should be ------------------------------- */

static int parse(struct span v, struct ben *ret)
{
    if (ben_parse(v.data, v.size, ret) || ben_type(*ret) != BEN_DICT)
        return CAM_EFORMAT;
    return 0;
}

/* An integer that must be there and not be negative, at most `max`. */
static int get_count(struct ben dict, const char *key, int64_t max, uint64_t *ret)
{
    int64_t n;
    if (ben_get_int(dict, key, &n) || n < 0 || n > max)
        return CAM_EFORMAT;
    *ret = (uint64_t)n;
    return 0;
}

static int get_u32(struct ben dict, const char *key, uint32_t *ret)
{
    uint64_t n;
    if (get_count(dict, key, UINT32_MAX, &n))
        return CAM_EFORMAT;
    *ret = (uint32_t)n;
    return 0;
}

static int get_expiry(struct ben dict, int64_t *ret)
{
    uint64_t n;
    if (get_count(dict, "exp", INT64_MAX, &n))
        return CAM_EFORMAT;
    *ret = (int64_t)n;
    return 0;
}

static int get_name(struct ben dict, const char *key, char ret[NAME_SIZE])
{
    struct span s;
    if (ben_get_str(dict, key, &s) || name_check(s.data, s.size))
        return CAM_EFORMAT;
    memcpy(ret, s.data, s.size);
    ret[s.size] = '\0';
    return 0;
}

static void put_addr(struct bytes_out *out, const struct addr *a)
{
    uint8_t compact[ADDR_COMPACT_MAX];
    ben_put_str(out, compact, addr_compact(a, compact));
}

static int get_addr(struct ben v, struct addr *ret)
{
    struct span s;
    struct addr a;
    if (ben_str(v, &s) || addr_from_compact(s.data, s.size, &a) || !addr_is_usable(&a))
        return CAM_EFORMAT;
    *ret = a;
    return 0;
}

static void put_int(struct bytes_out *out, const char *key, uint64_t n)
{
    ben_put_key(out, key);
    ben_put_int(out, (int64_t)n);
}

/* ---- profile ------------------------------------------------------------------------------------------- */

void record_put_profile(struct bytes_out *out, const struct record_profile *p)
{
    ben_put_dict(out);
    ben_put_key(out, "bio");
    ben_put_str(out, p->bio.data, p->bio.size);
    ben_put_key(out, "devices");
    ben_put_list(out);
    for (size_t i = 0; i < p->n_devices; i++)
        ben_put_int(out, p->devices[i]);
    ben_put_end(out);
    put_int(out, "exp", (uint64_t)p->expires_s);
    put_int(out, "followers", p->followers);
    put_int(out, "following", p->following);
    ben_put_key(out, "name");
    ben_put_text(out, p->name);
    put_int(out, "pages", p->pages);
    put_int(out, "posts", p->posts);
    ben_put_end(out);
}

int record_get_profile(struct span v, struct record_profile *ret)
{
    struct ben dict, list, item;
    struct record_profile p = { .n_devices = 0 };
    if (parse(v, &dict) || ben_get_str(dict, "bio", &p.bio) || p.bio.size > RECORD_BIO_MAX ||
        ben_get_list(dict, "devices", &list) || get_expiry(dict, &p.expires_s) ||
        get_u32(dict, "followers", &p.followers) || get_u32(dict, "following", &p.following) ||
        get_name(dict, "name", p.name) || get_u32(dict, "pages", &p.pages) ||
        get_count(dict, "posts", INT64_MAX, &p.posts))
        return CAM_EFORMAT;
    struct ben_iter it = ben_iter(list);
    while (ben_next(&it, NULL, &item)) {
        int64_t device;
        if (p.n_devices == RECORD_DEVICES_MAX || ben_int(item, &device) || device < 0 || device > 1023)
            return CAM_EFORMAT;
        p.devices[p.n_devices++] = (uint16_t)device;
    }
    *ret = p;
    return 0;
}

/* ---- connection: "addrs" is a list, so that a machine may name an IPv4 and an IPv6 address ------------- */

void record_put_connection(struct bytes_out *out, const struct record_connection *c)
{
    ben_put_dict(out);
    ben_put_key(out, "addrs");
    ben_put_list(out);
    put_addr(out, &c->addr);
    ben_put_end(out);
    put_int(out, "exp", (uint64_t)c->expires_s);
    put_int(out, "reach", c->reachable);
    ben_put_key(out, "tkey");
    ben_put_str(out, c->transport_key, LINK_KEY_SIZE);
    ben_put_end(out);
}

int record_get_connection(struct span v, struct record_connection *ret)
{
    struct ben dict, list, first;
    struct record_connection c;
    uint64_t reach;
    if (parse(v, &dict) || ben_get_list(dict, "addrs", &list) || get_expiry(dict, &c.expires_s) ||
        get_count(dict, "reach", 1, &reach) || ben_get_fixed(dict, "tkey", c.transport_key, LINK_KEY_SIZE))
        return CAM_EFORMAT;
    struct ben_iter it = ben_iter(list);
    if (!ben_next(&it, NULL, &first) || get_addr(first, &c.addr))
        return CAM_EFORMAT;
    c.reachable = reach;
    *ret = c;
    return 0;
}

/* ---- head ---------------------------------------------------------------------------------------------- */

void record_put_head(struct bytes_out *out, const struct record_head *h)
{
    ben_put_dict(out);
    put_int(out, "at", h->at_ms);
    put_int(out, "exp", (uint64_t)h->expires_s);
    ben_put_key(out, "hash");
    ben_put_str(out, h->hash, HASH_SIZE);
    put_int(out, "id", h->id);
    put_int(out, "instance", h->instance);
    put_int(out, "seq", h->seq);
    ben_put_end(out);
}

int record_get_head(struct span v, struct record_head *ret)
{
    struct ben dict;
    struct record_head h;
    if (parse(v, &dict) || get_count(dict, "at", INT64_MAX, &h.at_ms) || get_expiry(dict, &h.expires_s) ||
        ben_get_fixed(dict, "hash", h.hash, HASH_SIZE) || get_count(dict, "id", INT64_MAX, &h.id) ||
        get_count(dict, "instance", INT64_MAX, &h.instance) || get_count(dict, "seq", INT64_MAX, &h.seq))
        return CAM_EFORMAT;
    *ret = h;
    return 0;
}

/* ---- follow: devices is a list of [device, address, transport key] ------------------------------------- */

void record_put_follow(struct bytes_out *out, const struct record_follow *f)
{
    ben_put_dict(out);
    if (f->deleted) {
        put_int(out, "del", 1);
        put_int(out, "exp", (uint64_t)f->expires_s);
        ben_put_end(out);
        return;
    }
    ben_put_key(out, "devices");
    ben_put_list(out);
    for (size_t i = 0; i < f->n_hints; i++) {
        ben_put_list(out);
        ben_put_int(out, f->hints[i].device);
        put_addr(out, &f->hints[i].addr);
        ben_put_str(out, f->hints[i].transport_key, LINK_KEY_SIZE);
        ben_put_end(out);
    }
    ben_put_end(out);
    put_int(out, "exp", (uint64_t)f->expires_s);
    ben_put_key(out, "name");
    ben_put_text(out, f->name);
    ben_put_end(out);
}

static int get_hint(struct ben v, struct record_hint *ret)
{
    struct ben_iter it = ben_iter(v);
    struct ben device, address, key, rest;
    struct span key_bytes;
    int64_t n;
    if (ben_type(v) != BEN_LIST || !ben_next(&it, NULL, &device) || !ben_next(&it, NULL, &address) ||
        !ben_next(&it, NULL, &key) || ben_next(&it, NULL, &rest) || ben_int(device, &n) || n < 0 ||
        n > 1023 || get_addr(address, &ret->addr) || ben_str(key, &key_bytes) ||
        key_bytes.size != LINK_KEY_SIZE)
        return CAM_EFORMAT;
    ret->device = (uint16_t)n;
    memcpy(ret->transport_key, key_bytes.data, LINK_KEY_SIZE);
    return 0;
}

int record_get_follow(struct span v, struct record_follow *ret)
{
    struct ben dict, list, item;
    struct record_follow f = { .deleted = false };
    int64_t del;
    if (parse(v, &dict) || get_expiry(dict, &f.expires_s))
        return CAM_EFORMAT;
    if (ben_get_int(dict, "del", &del) == 0 && del == 1) {
        f.deleted = true;
        *ret = f;
        return 0;
    }
    if (ben_get_list(dict, "devices", &list) || get_name(dict, "name", f.name))
        return CAM_EFORMAT;
    struct ben_iter it = ben_iter(list);
    while (ben_next(&it, NULL, &item)) {
        if (f.n_hints == RECORD_HINTS_MAX || get_hint(item, &f.hints[f.n_hints]))
            return CAM_EFORMAT;
        f.n_hints++;
    }
    *ret = f;
    return 0;
}

/* ---- claim, following ---------------------------------------------------------------------------------- */

void record_put_claim(struct bytes_out *out, const struct record_claim *c)
{
    ben_put_dict(out);
    put_int(out, "created", (uint64_t)c->created_s);
    put_int(out, "exp", (uint64_t)c->expires_s);
    ben_put_end(out);
}

int record_get_claim(struct span v, struct record_claim *ret)
{
    struct ben dict;
    uint64_t created;
    int64_t expires;
    if (parse(v, &dict) || get_count(dict, "created", INT64_MAX, &created) || get_expiry(dict, &expires))
        return CAM_EFORMAT;
    *ret = (struct record_claim){ .created_s = (int64_t)created, .expires_s = expires };
    return 0;
}

void record_put_following(struct bytes_out *out, const struct record_following *f)
{
    ben_put_dict(out);
    put_int(out, "exp", (uint64_t)f->expires_s);
    ben_put_key(out, "keys");
    ben_put_str(out, f->keys, f->n * KEY_SIZE);
    ben_put_end(out);
}

int record_get_following(struct span v, struct record_following *ret)
{
    struct ben dict;
    struct span keys;
    int64_t expires;
    if (parse(v, &dict) || get_expiry(dict, &expires) || ben_get_str(dict, "keys", &keys) ||
        keys.size % KEY_SIZE || keys.size > RECORD_PAGE_KEYS * KEY_SIZE)
        return CAM_EFORMAT;
    *ret = (struct record_following){ .keys = keys.data, .n = keys.size / KEY_SIZE, .expires_s = expires };
    return 0;
}

/* ---- where --------------------------------------------------------------------------------------------- */

struct span record_salt(char buf[RECORD_SALT_SIZE], const char *what, unsigned n)
{
    int size = snprintf(buf, RECORD_SALT_SIZE, "%s/%u", what, n);
    return span(buf, (size_t)size);
}

int record_salt_number(struct span salt, const char *what, uint16_t *ret)
{
    size_t prefix = strlen(what);
    if (salt.size < prefix + 2 || salt.size > prefix + 5 || memcmp(salt.data, what, prefix) != 0 ||
        salt.data[prefix] != '/')
        return CAM_EFORMAT;
    unsigned n = 0;
    for (size_t i = prefix + 1; i < salt.size; i++) {
        if (salt.data[i] < '0' || salt.data[i] > '9' || (salt.data[i] == '0' && n == 0 && salt.size > i + 1))
            return CAM_EFORMAT;
        n = n * 10 + (unsigned)(salt.data[i] - '0');
    }
    *ret = (uint16_t)n;
    return 0;
}

void record_followers_root(const uint8_t pk[KEY_SIZE], uint8_t ret[KAD_ID_SIZE])
{
    hash_sha1_2(ret, span(pk, KEY_SIZE), span_str("followers"));
}

void record_name_root(const char *name, uint8_t ret[KAD_ID_SIZE])
{
    hash_sha1_2(ret, span_str("camellia name "), span_str(name));
}
