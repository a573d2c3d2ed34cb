#include "core/bencode.h"

#include <assert.h>
#include <string.h>

#include "core/err.h"

/* Checking: one pass over the bytes, with a small stack in the place of recursion. */

struct level { /* an open list or dict */
    bool dict;
    bool keyed; /* dict: a key was read, its value is next */
    bool any;   /* dict: `key` is the last key read */
    struct span key;
};

/* Reads "LENGTH:" at `at`. Returns where the bytes begin, NULL when it is not canonical or runs past the
 * end. */
static const uint8_t *str_check(const uint8_t *at, const uint8_t *end, size_t *ret_size)
{
    const uint8_t *first = at;
    size_t size = 0;
    if (end - at > 10 && at[1] == ':' && *at >= '0' && *at <= '9') { /* one digit, as in nearly every key */
        *ret_size = (size_t)(*at - '0');
        return at + 2;
    }
    while (at < end && *at >= '0' && *at <= '9') {
        size = size * 10 + (size_t)(*at - '0');
        /* Longer than the input is wrong already, and stopping here keeps the sum from overflowing. */
        if (size > (size_t)(end - at))
            return NULL;
        at++;
    }
    if (at == first || (*first == '0' && at - first > 1) || at == end || *at != ':')
        return NULL;
    at++;
    if (size > (size_t)(end - at))
        return NULL;
    *ret_size = size;
    return at;
}

/* Reads "iNUMBERe" at `at`. Returns what follows, NULL when it is not canonical. */
static const uint8_t *int_check(const uint8_t *at, const uint8_t *end, int64_t *ret)
{
    at++;
    bool negative = at < end && *at == '-';
    if (negative)
        at++;
    const uint8_t *first = at;
    uint64_t limit = (uint64_t)INT64_MAX + negative;
    uint64_t magnitude = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        unsigned digit = *at - '0';
        if (magnitude > (limit - digit) / 10)
            return NULL;
        magnitude = magnitude * 10 + digit;
    }
    if (at == first || at == end || *at != 'e')
        return NULL;
    if (*first == '0' && (negative || at - first > 1))
        return NULL;
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return at + 1;
}

/* Keys ascend strictly as raw bytes; a shorter key sorts before a longer one that begins with it. */
static bool key_follows(const struct level *top, struct span key)
{
    if (!top->any)
        return true;
    if (key.size && top->key.size && key.data[0] != top->key.data[0])
        return top->key.data[0] < key.data[0];
    size_t common = key.size < top->key.size ? key.size : top->key.size;
    int order = common ? memcmp(top->key.data, key.data, common) : 0;
    return order < 0 || (order == 0 && top->key.size < key.size);
}

int ben_parse(const void *buf, size_t size, struct ben *ret)
{
    if (size == 0)
        return CAM_EFORMAT;
    const uint8_t *at = buf, *end = at + size;
    struct level stack[BEN_DEPTH_MAX];
    size_t depth = 0;

    do {
        struct level *top = depth ? &stack[depth - 1] : NULL;
        if (at == end)
            return CAM_EFORMAT;

        if (*at == 'e') {
            if (!top || (top->dict && top->keyed))
                return CAM_EFORMAT;
            depth--;
            at++;
            continue;
        }
        if (top && top->dict && !top->keyed) {
            struct span key;
            key.data = str_check(at, end, &key.size);
            if (!key.data || !key_follows(top, key))
                return CAM_EFORMAT;
            top->key = key;
            top->any = top->keyed = true;
            at = key.data + key.size;
            continue;
        }
        if (top)
            top->keyed = false; /* this is the value */

        if (*at == 'i') {
            int64_t ignored;
            at = int_check(at, end, &ignored);
            if (!at)
                return CAM_EFORMAT;
        } else if (*at == 'l' || *at == 'd') {
            if (depth == BEN_DEPTH_MAX)
                return CAM_EFORMAT;
            struct level *opened = &stack[depth++];
            opened->dict = *at == 'd';
            opened->keyed = opened->any = false;
            at++;
        } else {
            size_t str_size;
            at = str_check(at, end, &str_size);
            if (!at)
                return CAM_EFORMAT;
            at += str_size;
        }
    } while (depth > 0);

    if (at != end)
        return CAM_EFORMAT;
    *ret = (struct ben){ .data = buf, .size = size };
    return 0;
}

/* Looking into what was checked. These trust the bytes: a struct ben comes only from ben_parse. */

static struct span str_at(const uint8_t *at)
{
    size_t size = 0;
    for (; *at != ':'; at++)
        size = size * 10 + (size_t)(*at - '0');
    return span(at + 1, size);
}

/* Where the value at `at` ends. */
static const uint8_t *skip(const uint8_t *at)
{
    size_t depth = 0;
    do {
        switch (*at) {
        case 'i':
            while (*at++ != 'e')
                ;
            break;
        case 'l':
        case 'd':
            depth++;
            at++;
            break;
        case 'e':
            depth--;
            at++;
            break;
        default: {
            struct span s = str_at(at);
            at = s.data + s.size;
        }
        }
    } while (depth > 0);
    return at;
}

enum ben_type ben_type(struct ben v)
{
    if (v.size == 0)
        return BEN_NONE;
    switch (v.data[0]) {
    case 'i': return BEN_INT;
    case 'l': return BEN_LIST;
    case 'd': return BEN_DICT;
    default: return BEN_STR;
    }
}

int ben_int(struct ben v, int64_t *ret)
{
    if (ben_type(v) != BEN_INT)
        return CAM_EFORMAT;
    return int_check(v.data, v.data + v.size, ret) ? 0 : CAM_EFORMAT;
}

int ben_str(struct ben v, struct span *ret)
{
    if (ben_type(v) != BEN_STR)
        return CAM_EFORMAT;
    *ret = str_at(v.data);
    return 0;
}

int ben_get(struct ben dict, const char *key, struct ben *ret)
{
    if (ben_type(dict) != BEN_DICT)
        return CAM_ENOENT;
    size_t key_size = strlen(key);
    const uint8_t *at = dict.data + 1;
    while (*at != 'e') {
        struct span k = str_at(at);
        const uint8_t *value = k.data + k.size;
        int order = memcmp(k.data, key, k.size < key_size ? k.size : key_size);
        if (order == 0 && k.size == key_size) {
            *ret = (struct ben){ .data = value, .size = (size_t)(skip(value) - value) };
            return 0;
        }
        if (order > 0 || (order == 0 && k.size > key_size))
            return CAM_ENOENT; /* keys ascend: it would have been before this one */
        at = skip(value);
    }
    return CAM_ENOENT;
}

int ben_get_int(struct ben dict, const char *key, int64_t *ret)
{
    struct ben v;
    int err = ben_get(dict, key, &v);
    return err ? err : ben_int(v, ret);
}

int ben_get_str(struct ben dict, const char *key, struct span *ret)
{
    struct ben v;
    int err = ben_get(dict, key, &v);
    return err ? err : ben_str(v, ret);
}

int ben_get_fixed(struct ben dict, const char *key, void *ret, size_t size)
{
    struct span s;
    int err = ben_get_str(dict, key, &s);
    if (err)
        return err;
    if (s.size != size)
        return CAM_EFORMAT;
    if (size > 0)
        memcpy(ret, s.data, size);
    return 0;
}

static int get_typed(struct ben dict, const char *key, enum ben_type type, struct ben *ret)
{
    struct ben v;
    int err = ben_get(dict, key, &v);
    if (err)
        return err;
    if (ben_type(v) != type)
        return CAM_EFORMAT;
    *ret = v;
    return 0;
}

int ben_get_list(struct ben dict, const char *key, struct ben *ret)
{
    return get_typed(dict, key, BEN_LIST, ret);
}

int ben_get_dict(struct ben dict, const char *key, struct ben *ret)
{
    return get_typed(dict, key, BEN_DICT, ret);
}

struct ben_iter ben_iter(struct ben v)
{
    enum ben_type type = ben_type(v);
    if (type != BEN_LIST && type != BEN_DICT)
        return (struct ben_iter){ .at = NULL };
    return (struct ben_iter){ .at = v.data + 1, .end = v.data + v.size - 1, .dict = type == BEN_DICT };
}

bool ben_next(struct ben_iter *it, struct span *ret_key, struct ben *ret_value)
{
    if (it->at == it->end)
        return false;
    struct span key = { NULL, 0 };
    if (it->dict) {
        key = str_at(it->at);
        it->at = key.data + key.size;
    }
    const uint8_t *value = it->at;
    it->at = skip(value);
    if (ret_key)
        *ret_key = key;
    *ret_value = (struct ben){ .data = value, .size = (size_t)(it->at - value) };
    return true;
}

/* Writing */

/* The digits of `v`, then `after`. */
static void put_digits(struct bytes_out *out, uint64_t v, char after)
{
    char text[21]; /* 20 digits of UINT64_MAX and `after` */
    size_t at = sizeof text;
    text[--at] = after;
    do
        text[--at] = (char)('0' + v % 10);
    while (v /= 10);
    bytes_put(out, text + at, sizeof text - at);
}

void ben_put_int(struct bytes_out *out, int64_t v)
{
    bytes_put(out, "i-", v < 0 ? 2 : 1);
    put_digits(out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 'e');
}

void ben_put_str(struct bytes_out *out, const void *data, size_t size)
{
    put_digits(out, size, ':');
    bytes_put(out, data, size);
}

void ben_put_text(struct bytes_out *out, const char *text) { ben_put_str(out, text, strlen(text)); }

void ben_put_dict(struct bytes_out *out) { bytes_put_u8(out, 'd'); }

void ben_put_list(struct bytes_out *out) { bytes_put_u8(out, 'l'); }

void ben_put_end(struct bytes_out *out) { bytes_put_u8(out, 'e'); }

void ben_put_key(struct bytes_out *out, const char *key) { ben_put_text(out, key); }

void ben_put_raw(struct bytes_out *out, struct ben v)
{
    assert(v.size > 0);
    bytes_put(out, v.data, v.size);
}
