#include "kad/krpc.h"

#include <string.h>

#include "core/err.h"
#include "kad/item.h"

/* A datagram is one bencoded dict:
 *
 *     query   a: arguments   n?   q: method   ro?: 1   t   v?   y: "q"
 *     reply   ip: compact   n?   r: values   t   v?   y: "r"
 *     error   e: [code, text]   ip?   n?   t   v?   y: "e"
 *
 * Keys of `a` and `r`, in the order they are written (raw bytes ascending):
 *
 *     after 20   age int   cas int   depth int   dig 20   e list   fresh 1   id 20   implied_port 1
 *     info_hash 20   k 32   more 0|1   n int   nodes 26*   nodes6 38*   port int   prefix hex   root 20
 *     salt   seq int   sig 64   since int   split 1   target 20   token   upto 20   v any   values list
 *     want ["n4","n6"]
 */

static const char *const method_names[KRPC_METHODS] = {
    [KRPC_NONE] = "",
    [KRPC_PING] = "ping",
    [KRPC_FIND_NODE] = "find_node",
    [KRPC_GET_PEERS] = "get_peers",
    [KRPC_ANNOUNCE_PEER] = "announce_peer",
    [KRPC_GET] = "get",
    [KRPC_PUT] = "put",
    [KRPC_SGET] = "sget",
    [KRPC_SPUT] = "sput",
};

const char *krpc_method_name(enum krpc_method m)
{
    return (unsigned)m < KRPC_METHODS ? method_names[m] : "";
}

/* How the 20-byte name of what is asked for is called in each method. */
enum target_name { TARGET_TARGET, TARGET_INFO_HASH, TARGET_ROOT };

static enum target_name target_name(enum krpc_method m)
{
    switch (m) {
    case KRPC_GET_PEERS:
    case KRPC_ANNOUNCE_PEER: return TARGET_INFO_HASH;
    case KRPC_SGET:
    case KRPC_SPUT: return TARGET_ROOT;
    default: return TARGET_TARGET;
    }
}

/* ---- encoding ----------------------------------------------------------------------------------------- */

/* A key is written as it stands on the wire, its length before it: nothing about it has to be worked out. */
struct key {
    const char *coded;
    size_t size;
};
#define KEY(coded) ((struct key){coded, sizeof(coded) - 1})

static void put_key(struct bytes_out *out, struct key key)
{
    bytes_put(out, key.coded, key.size);
}

static void put_str(struct bytes_out *out, struct key key, const void *data, size_t size)
{
    if (!data)
        return;
    put_key(out, key);
    ben_put_str(out, data, size);
}

static void put_int(struct bytes_out *out, bool there, struct key key, int64_t v)
{
    if (!there)
        return;
    put_key(out, key);
    ben_put_int(out, v);
}

static void put_raw(struct bytes_out *out, struct key key, struct ben v)
{
    if (!v.data)
        return;
    put_key(out, key);
    ben_put_raw(out, v);
}

static void put_values(struct bytes_out *out, const struct krpc_msg *m)
{
    enum target_name name = target_name(m->method);

    ben_put_dict(out);
    put_str(out, KEY("5:after"), m->after, 20);
    put_int(out, m->age_s != 0, KEY("3:age"), m->age_s);
    put_int(out, m->has_cas, KEY("3:cas"), m->cas);
    put_int(out, m->has_depth, KEY("5:depth"), m->depth);
    put_str(out, KEY("3:dig"), m->digest, 20);
    put_raw(out, KEY("1:e"), m->entries);
    put_int(out, m->fresh, KEY("5:fresh"), 1);
    put_str(out, KEY("2:id"), m->id, 20);
    put_int(out, m->implied_port, KEY("12:implied_port"), 1);
    if (name == TARGET_INFO_HASH)
        put_str(out, KEY("9:info_hash"), m->target, 20);
    put_str(out, KEY("1:k"), m->k, 32);
    put_int(out, m->has_held, KEY("4:more"), m->more);
    put_int(out, m->has_held, KEY("1:n"), m->held);
    put_str(out, KEY("5:nodes"), m->nodes.data, m->nodes.size);
    put_str(out, KEY("6:nodes6"), m->nodes6.data, m->nodes6.size);
    put_int(out, m->port != 0, KEY("4:port"), m->port);
    put_str(out, KEY("6:prefix"), m->prefix.data, m->prefix.size);
    if (name == TARGET_ROOT)
        put_str(out, KEY("4:root"), m->target, 20);
    put_str(out, KEY("4:salt"), m->salt.size ? m->salt.data : NULL, m->salt.size);
    put_int(out, m->has_seq, KEY("3:seq"), m->seq);
    put_str(out, KEY("3:sig"), m->sig, 64);
    put_int(out, m->since_s != 0, KEY("5:since"), m->since_s);
    put_int(out, m->split, KEY("5:split"), 1);
    if (name == TARGET_TARGET)
        put_str(out, KEY("6:target"), m->target, 20);
    put_str(out, KEY("5:token"), m->token.data, m->token.size);
    put_str(out, KEY("4:upto"), m->upto, 20);
    put_raw(out, KEY("1:v"), m->v);
    put_raw(out, KEY("6:values"), m->values);
    if (m->want) {
        put_key(out, KEY("4:want"));
        ben_put_list(out);
        if (m->want & KRPC_WANT4)
            ben_put_text(out, "n4");
        if (m->want & KRPC_WANT6)
            ben_put_text(out, "n6");
        ben_put_end(out);
    }
    ben_put_end(out);
}

void krpc_encode(struct bytes_out *out, const struct krpc_msg *m)
{
    char kind[2] = {(char)m->kind, 0};

    ben_put_dict(out);
    if (m->kind == KRPC_QUERY) {
        put_key(out, KEY("1:a"));
        put_values(out, m);
    } else if (m->kind == KRPC_ERROR) {
        put_key(out, KEY("1:e"));
        ben_put_list(out);
        ben_put_int(out, m->code);
        ben_put_str(out, m->text.data, m->text.size);
        ben_put_end(out);
    }
    put_str(out, KEY("2:ip"), m->ip.data, m->ip.size);
    put_str(out, KEY("1:n"), m->network, KRPC_NETWORK_SIZE);
    if (m->kind == KRPC_QUERY) {
        put_key(out, KEY("1:q"));
        ben_put_text(out, krpc_method_name(m->method));
    } else if (m->kind == KRPC_REPLY) {
        put_key(out, KEY("1:r"));
        put_values(out, m);
    }
    put_int(out, m->ro, KEY("2:ro"), 1);
    put_str(out, KEY("1:t"), m->t.data, m->t.size);
    put_str(out, KEY("1:v"), m->version, KRPC_VERSION_SIZE);
    put_key(out, KEY("1:y"));
    ben_put_text(out, kind);
    ben_put_end(out);
}

/* ---- decoding ----------------------------------------------------------------------------------------- */

static bool key_is(struct span key, const char *text)
{
    return key.size == strlen(text) && memcmp(key.data, text, key.size) == 0;
}

/* Each take_ function reads one value of a known key; one of the wrong shape marks the message. */

static struct span take_str(struct krpc_msg *m, struct ben v)
{
    struct span s = {NULL, 0};

    if (ben_str(v, &s))
        m->bad = true;
    return s;
}

static const uint8_t *take_fixed(struct krpc_msg *m, struct ben v, size_t size)
{
    struct span s = take_str(m, v);

    if (s.data && s.size == size)
        return s.data;
    m->bad = true;
    return NULL;
}

static int64_t take_int(struct krpc_msg *m, struct ben v)
{
    int64_t i = 0;

    if (ben_int(v, &i))
        m->bad = true;
    return i;
}

static uint32_t take_seconds(struct krpc_msg *m, struct ben v)
{
    int64_t i = take_int(m, v);

    return i < 0 ? 0 : i < INT32_MAX ? (uint32_t)i : INT32_MAX;
}

static bool take_bool(struct krpc_msg *m, struct ben v)
{
    return take_int(m, v) != 0;
}

static struct ben take_list(struct krpc_msg *m, struct ben v)
{
    if (ben_type(v) == BEN_LIST)
        return v;
    m->bad = true;
    return (struct ben){NULL, 0};
}

static uint8_t take_want(struct krpc_msg *m, struct ben v)
{
    uint8_t want = 0;
    struct ben item;
    struct span s;

    struct ben_iter it = ben_iter(take_list(m, v));
    while (ben_next(&it, NULL, &item)) {
        if (ben_str(item, &s))
            continue;
        if (key_is(s, "n4"))
            want |= KRPC_WANT4;
        else if (key_is(s, "n6"))
            want |= KRPC_WANT6;
    }
    return want;
}

/* A multiple of the size of one contact; a ragged tail is cut off rather than refused. */
static struct span take_nodes(struct krpc_msg *m, struct ben v, size_t one)
{
    struct span s = take_str(m, v);

    s.size -= s.size % one;
    return s;
}

static void take_value(struct krpc_msg *m, struct span key, struct ben v)
{
    bool reply = m->kind == KRPC_REPLY;
    int64_t i;

    switch (key.data[0]) {
    case 'a':
        if (key_is(key, "after"))
            m->after = take_fixed(m, v, 20);
        else if (key_is(key, "age"))
            m->age_s = take_seconds(m, v);
        break;
    case 'c':
        if (key_is(key, "cas"))
            m->cas = take_int(m, v), m->has_cas = true;
        break;
    case 'd':
        if (key_is(key, "depth")) {
            i = take_int(m, v);
            m->depth = i >= 0 && i < 255 ? (uint8_t)i : 255;
            m->has_depth = true;
        } else if (key_is(key, "dig"))
            m->digest = take_fixed(m, v, 20);
        break;
    case 'e':
        if (reply && key_is(key, "e"))
            m->entries = take_list(m, v);
        break;
    case 'f':
        if (key_is(key, "fresh"))
            m->fresh = take_bool(m, v);
        break;
    case 'i':
        if (key_is(key, "id"))
            m->id = take_fixed(m, v, 20);
        else if (key_is(key, "implied_port"))
            m->implied_port = take_bool(m, v);
        else if (key_is(key, "info_hash") && target_name(m->method) == TARGET_INFO_HASH)
            m->target = take_fixed(m, v, 20);
        break;
    case 'k':
        if (key_is(key, "k"))
            m->k = take_fixed(m, v, 32);
        break;
    case 'm':
        if (reply && key_is(key, "more"))
            m->more = take_bool(m, v);
        break;
    case 'n':
        if (reply && key_is(key, "n")) {
            i = take_int(m, v);
            m->held = i > 0 && i < INT32_MAX ? (uint32_t)i : 0;
            m->has_held = true;
        } else if (reply && key_is(key, "nodes"))
            m->nodes = take_nodes(m, v, KRPC_NODE4_SIZE);
        else if (reply && key_is(key, "nodes6"))
            m->nodes6 = take_nodes(m, v, KRPC_NODE6_SIZE);
        break;
    case 'p':
        if (key_is(key, "port")) {
            i = take_int(m, v);
            m->port = i > 0 && i <= UINT16_MAX ? (uint16_t)i : 0;
        } else if (key_is(key, "prefix"))
            m->prefix = take_str(m, v);
        break;
    case 'r':
        if (key_is(key, "root") && target_name(m->method) == TARGET_ROOT)
            m->target = take_fixed(m, v, 20);
        break;
    case 's':
        if (key_is(key, "salt"))
            m->salt = take_str(m, v);
        else if (key_is(key, "seq"))
            m->seq = take_int(m, v), m->has_seq = true;
        else if (key_is(key, "sig"))
            m->sig = take_fixed(m, v, 64);
        else if (key_is(key, "since"))
            m->since_s = take_seconds(m, v);
        else if (reply && key_is(key, "split"))
            m->split = take_bool(m, v);
        break;
    case 't':
        if (key_is(key, "target") && target_name(m->method) == TARGET_TARGET)
            m->target = take_fixed(m, v, 20);
        else if (key_is(key, "token"))
            m->token = take_str(m, v);
        break;
    case 'u':
        if (key_is(key, "upto"))
            m->upto = take_fixed(m, v, 20);
        break;
    case 'v':
        if (key_is(key, "v"))
            m->v = v;
        else if (reply && key_is(key, "values"))
            m->values = take_list(m, v);
        break;
    case 'w':
        if (key_is(key, "want"))
            m->want = take_want(m, v);
        break;
    default:
        break;
    }
}

static void take_values(struct krpc_msg *m, struct ben dict)
{
    struct ben_iter it = ben_iter(dict);
    struct span key;
    struct ben v;

    while (ben_next(&it, &key, &v))
        if (key.size)
            take_value(m, key, v);
}

static void take_error(struct krpc_msg *m, struct ben list)
{
    struct ben_iter it = ben_iter(list);
    struct ben v;
    int64_t code;

    m->code = KAD_ERROR_GENERIC;
    if (ben_next(&it, NULL, &v) && ben_int(v, &code) == 0 && code > 0 && code < 1000)
        m->code = (int32_t)code;
    if (it.at != it.end && ben_next(&it, NULL, &v))
        ben_str(v, &m->text);
}

static enum krpc_method method_of(struct span q)
{
    for (int i = KRPC_PING; i < KRPC_METHODS; i++)
        if (key_is(q, method_names[i]))
            return (enum krpc_method)i;
    return KRPC_NONE;
}

int krpc_decode(const void *buf, size_t size, struct krpc_msg *ret)
{
    struct ben top, v, body = {NULL, 0}, errors = {NULL, 0}, values = {NULL, 0};
    struct span key, y = {NULL, 0}, q = {NULL, 0}, s;
    struct krpc_msg m = {.kind = KRPC_QUERY};
    int64_t i;

    if (ben_parse(buf, size, &top) || ben_type(top) != BEN_DICT)
        return CAM_EFORMAT;
    struct ben_iter it = ben_iter(top);
    while (ben_next(&it, &key, &v)) {
        if (key_is(key, "a"))
            body = v;
        else if (key_is(key, "r"))
            values = v;
        else if (key_is(key, "e"))
            errors = v;
        else if (key_is(key, "y"))
            ben_str(v, &y);
        else if (key_is(key, "q"))
            ben_str(v, &q);
        else if (key_is(key, "t"))
            ben_str(v, &m.t);
        else if (key_is(key, "ip"))
            ben_str(v, &m.ip);
        else if (key_is(key, "ro"))
            m.ro = ben_int(v, &i) == 0 && i == 1;
        else if (key_is(key, "n") && ben_str(v, &s) == 0 && s.size == KRPC_NETWORK_SIZE)
            m.network = s.data;
        else if (key_is(key, "v") && ben_str(v, &s) == 0 && s.size == KRPC_VERSION_SIZE)
            m.version = s.data;
    }
    if (y.size != 1 || !m.t.data || m.t.size == 0 || m.t.size > KRPC_T_MAX)
        return CAM_EFORMAT;
    switch (y.data[0]) {
    case 'q':
        m.method = method_of(q);
        m.bad = !q.data || ben_type(body) != BEN_DICT;
        take_values(&m, body);
        break;
    case 'r':
        m.kind = KRPC_REPLY;
        if (ben_type(values) != BEN_DICT)
            return CAM_EFORMAT;
        take_values(&m, values);
        break;
    case 'e':
        m.kind = KRPC_ERROR;
        if (ben_type(errors) != BEN_LIST)
            return CAM_EFORMAT;
        take_error(&m, errors);
        break;
    default:
        return CAM_EFORMAT;
    }
    *ret = m;
    return 0;
}
