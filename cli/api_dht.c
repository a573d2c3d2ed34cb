/* `dht ping|find|get|put` and `peers`: the Kademlia network by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/api_impl.h"
#include "core/bencode.h"
#include "core/err.h"

#define DHT_PUT_TRIES 3 /* of a mutable item, each above the seq that a holder had */

/* Salts of Camellia's own records (docs/protocol.md): written by hand they would ruin the user's profile. */
static bool salt_is_ours(struct span salt)
{
    static const char *const whole[] = { "public", "private" };
    static const char *const begins[] = { "following/", "connections/", "head/" };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (span_equal(salt, span_str(whole[i])))
            return true;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (salt.size >= strlen(begins[i]) && memcmp(salt.data, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

uint64_t api_dht_tag(const struct api *api, const struct api_request *r)
{
    return TIMELINE_TAG_FOREIGN | api_request_id(api, r);
}

int api_arg_id(const json_t *args, const char *key, uint8_t ret[KAD_ID_SIZE])
{
    const char *text;
    int err = api_arg_string(args, key, &text);
    return err ? err : !text || hex_decode(ret, KAD_ID_SIZE, text) ? CAM_EINVAL : 0;
}

/* ---- requests --------------------------------------------------------------------------------------- */

void api_dht_ping(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    const char *text;
    int err = api_arg_string(args, "address", &text);

    if (!err && (!text || addr_parse(text, &r->addr) || !addr_is_usable(&r->addr)))
        err = CAM_EINVAL;
    if (err) {
        api_done(api, r, err, "that is no address: IP:PORT, like 127.0.0.1:8000");
        return;
    }
    r->kind = API_DHT_PING;
    err = kad_ping(api->kad, now, &r->addr, api_dht_tag(api, r));
    if (err)
        api_done(api, r, err, NULL);
}

/* ---- a lookup, hop by hop --------------------------------------------------------------------------- */

#define TRACE_SEEN_MAX 2048 /* ids told apart; of a longer lookup the later ones count as new each time */

struct api_trace {
    uint8_t target[KAD_ID_SIZE];
    int hops;
    int closest_bits; /* the distance of the closest so far; at first our own */
    size_t n_seen;
    uint8_t seen[TRACE_SEEN_MAX][KAD_ID_SIZE];
};

/* The distance in bits: 0 to oneself, 160 to whoever differs in the first bit. One less is half as far. */
static int distance_bits(const uint8_t a[KAD_ID_SIZE], const uint8_t b[KAD_ID_SIZE])
{
    for (int i = 0; i < KAD_ID_SIZE; i++)
        for (int bit = 7; bit >= 0; bit--)
            if ((a[i] ^ b[i]) >> bit & 1)
                return 8 * (KAD_ID_SIZE - 1 - i) + bit + 1;
    return 0;
}

static bool trace_is_new(struct api_trace *trace, const uint8_t id[KAD_ID_SIZE])
{
    for (size_t i = 0; i < trace->n_seen; i++)
        if (memcmp(trace->seen[i], id, KAD_ID_SIZE) == 0)
            return false;
    if (trace->n_seen < TRACE_SEEN_MAX)
        memcpy(trace->seen[trace->n_seen++], id, KAD_ID_SIZE);
    return true;
}

/* It begins with what this node knows already: itself and its table. NULL: no memory. */
static struct api_trace *trace_new(const struct api *api, struct now now, const uint8_t target[KAD_ID_SIZE])
{
    struct api_trace *trace = calloc(1, sizeof *trace);
    struct kad_contact contact;

    if (!trace)
        return NULL;
    memcpy(trace->target, target, KAD_ID_SIZE);
    trace->closest_bits = distance_bits(target, kad_node_id(api->kad));
    trace_is_new(trace, kad_node_id(api->kad));
    for (size_t i = 0; kad_contact_at(api->kad, now, i, &contact); i++)
        trace_is_new(trace, contact.id);
    return trace;
}

static json_t *hop_json(struct api_trace *trace, const struct kad_contact *contacts, size_t n)
{
    int bits = distance_bits(trace->target, contacts[0].id), learned = 0;
    int closer = trace->closest_bits > bits ? trace->closest_bits - bits : 0;

    trace_is_new(trace, contacts[0].id);
    for (size_t i = 1; i < n; i++)
        learned += trace_is_new(trace, contacts[i].id);
    trace->closest_bits -= closer;
    json_t *row = api_contact_json(&contacts[0], false);
    json_object_set_new(row, "hop", json_integer(++trace->hops));
    json_object_set_new(row, "distance_bits", json_integer(bits));
    json_object_set_new(row, "closer_bits", json_integer(closer));
    json_object_set_new(row, "learned", json_integer(learned));
    return row;
}

void api_dht_find(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    uint8_t target[KAD_ID_SIZE];
    int err = api_arg_id(args, "id", target);

    if (err) {
        api_done(api, r, err, "an id is 40 hex digits");
        return;
    }
    bool trace = json_is_true(json_object_get(args, "trace"));
    r->kind = API_DHT_FIND;
    if (trace && !(r->trace = trace_new(api, now, target))) {
        api_done(api, r, CAM_ESYS, NULL);
        return;
    }
    err = kad_find(api->kad, now, target, trace, api_dht_tag(api, r));
    if (err)
        api_done(api, r, err, NULL);
}

/* A user's id, or the key as 64 hex digits, which is how a row shows it. */
static int arg_key(const json_t *args, const char *key, uint8_t pk[KEY_SIZE], bool *ret_given)
{
    const char *text;
    int err = api_arg_string(args, key, &text);

    *ret_given = !err && text;
    if (err || !text)
        return err;
    if (strlen(text) == 2 * KEY_SIZE)
        return hex_decode(pk, KEY_SIZE, text) ? CAM_EINVAL : 0;
    return user_id_parse(text, pk) ? CAM_EINVAL : 0;
}

/* A mutable item proves itself by SHA1(its key + salt) = target, so the key need not be known, the salt must.
 * Key and salt alone name it as well. */
void api_dht_get(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    uint8_t target[KAD_ID_SIZE], pk[KEY_SIZE];
    struct span salt = { NULL, 0 };
    bool has_pk, has_target = json_object_get(args, "target") != NULL;
    int err = arg_key(args, "id", pk, &has_pk);

    if (err || (!has_target && !has_pk) || (has_target && api_arg_id(args, "target", target))) {
        api_done(api, r, CAM_EINVAL, err ? "an id is 52 characters a-z 2-7, a key 64 hex digits"
                                         : "a target is 40 hex digits");
        return;
    }
    err = api_arg_text(args, "salt", &salt);
    if (!err && salt.size > KAD_SALT_MAX)
        err = CAM_ETOOBIG;
    if (err) {
        api_done(api, r, err, "a salt is at most 64 bytes");
        return;
    }
    if (!has_target)
        kad_mutable_target(pk, salt, target);
    r->kind = API_DHT_GET;
    err = kad_get(api->kad, now, target, has_pk ? pk : NULL, salt, api_dht_tag(api, r));
    if (err)
        api_done(api, r, err, NULL);
}

void api_dht_free(struct api_request *r)
{
    free(r->item); /* its salt and value lie behind it */
    free(r->trace);
    r->item = NULL;
    r->trace = NULL;
}

/* Signs with the user's key, as it is at this moment, and sends it off. */
static int dht_put_mutable(struct api *api, struct now now, struct api_request *r)
{
    const struct identity *id = timeline_identity(api->timeline);
    if (!id)
        return CAM_ELOCKED;
    int err = kad_item_sign(r->item, id);
    return err ? err : kad_put(api->kad, now, r->item, NULL, api_dht_tag(api, r));
}

void api_dht_put(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    struct span value = { NULL, 0 }, salt = { NULL, 0 };
    uint8_t encoded[KAD_VALUE_MAX];
    struct bytes_out out = bytes_out(encoded, sizeof encoded);
    int err = api_arg_text(args, "value", &value);

    if (!err)
        err = api_arg_text(args, "salt", &salt);
    if (!err && !value.data)
        err = CAM_EUSAGE;
    if (err) {
        api_done(api, r, err, "dht_put takes a value, and perhaps a salt");
        return;
    }
    ben_put_str(&out, value.data, value.size);
    if (out.err || salt.size > KAD_SALT_MAX) {
        api_done(api, r, CAM_ETOOBIG,
                 out.err ? "a value is at most 1000 bytes, its length and colon included"
                         : "a salt is at most 64 bytes");
        return;
    }
    if (salt.data && salt_is_ours(salt)) {
        api_done(api, r, CAM_EREFUSED, "that salt is the place of one of your own records: choose another");
        return;
    }
    r->kind = API_DHT_PUT;
    if (!salt.data) {
        struct kad_item item = { .is_mutable = false, .v = span(encoded, out.size) };
        err = kad_put(api->kad, now, &item, NULL, api_dht_tag(api, r));
    } else {
        r->item = calloc(1, sizeof *r->item + salt.size + out.size);
        if (!r->item) {
            api_done(api, r, CAM_ESYS, NULL);
            return;
        }
        uint8_t *bytes = (uint8_t *)(r->item + 1);
        memcpy(bytes, salt.data, salt.size);
        memcpy(bytes + salt.size, encoded, out.size);
        r->item->is_mutable = true;
        r->item->salt = span(bytes, salt.size);
        r->item->v = span(bytes + salt.size, out.size);
        r->item->seq = (int64_t)now.wall_ms; /* rises by itself: no need to read first */
        err = dht_put_mutable(api, now, r);
    }
    if (err)
        api_done(api, r, err, err == CAM_ELOCKED ? "the node is locked: camellia login" : NULL);
}

void api_peers(struct api *api, struct now now, struct api_request *r)
{
    struct kad_contact contact;
    for (size_t i = 0; kad_contact_at(api->kad, now, i, &contact); i++)
        api_row(api, r, api_contact_json(&contact, true));
    api_done(api, r, 0, NULL);
}

/* ---- answers ---------------------------------------------------------------------------------------- */

static json_t *item_json(const struct kad_event *e)
{
    struct ben v;
    struct span text;
    json_t *json = json_pack("{s:i, s:o, s:i}", "v", 1, "target", api_hex_json(e->target, KAD_ID_SIZE),
                             "holders", (int)e->holders), *value = NULL;

    if (ben_parse(e->item->v.data, e->item->v.size, &v) == 0 && ben_str(v, &text) == 0)
        value = text.size ? json_stringn((const char *)text.data, text.size) : json_string("");
    if (value)
        json_object_set_new(json, "value", value);
    else
        json_object_set_new(json, "value_hex", api_hex_json(e->item->v.data, e->item->v.size));
    if (e->item->is_mutable) {
        json_object_set_new(json, "seq", json_integer(e->item->seq));
        json_object_set_new(json, "k", api_hex_json(e->item->pk, KEY_SIZE));
    }
    return json;
}

static void dht_ping_event(struct api *api, struct api_request *r, const struct kad_event *e)
{
    char message[ADDR_TEXT_SIZE + 32], text[ADDR_TEXT_SIZE];
    if (e->status == 0 && e->n_contacts) {
        api_row(api, r, api_contact_json(&e->contacts[0], false));
        api_done(api, r, 0, "");
        return;
    }
    snprintf(message, sizeof message, "no answer from %s", addr_text(&r->addr, text));
    api_done(api, r, e->status ? e->status : CAM_ETIMEOUT, message);
}

static void dht_find_event(struct api *api, struct api_request *r, const struct kad_event *e)
{
    if (e->kind == KAD_EVENT_HOP) {
        if (e->n_contacts && r->trace)
            api_row(api, r, hop_json(r->trace, e->contacts, e->n_contacts));
        return;
    }
    for (size_t i = 0; i < e->n_contacts; i++) {
        json_t *row = api_contact_json(&e->contacts[i], false);
        if (r->trace) {
            int bits = distance_bits(r->trace->target, e->contacts[i].id);
            json_object_set_new(row, "rank", json_integer((json_int_t)i + 1));
            json_object_set_new(row, "distance_bits", json_integer(bits));
        }
        api_row(api, r, row);
    }
    if (e->last)
        api_done(api, r, e->status,
                 e->status == CAM_ENET ? API_NOBODY : NULL);
}

static void dht_get_event(struct api *api, struct api_request *r, const struct kad_event *e)
{
    if (e->kind != KAD_EVENT_GET)
        return; /* FIRST: a person waits for the whole answer, with its holders */
    if (e->status == 0 && e->item) {
        api_row(api, r, item_json(e));
        api_done(api, r, 0, "");
    } else {
        api_done(api, r, e->status ? e->status : CAM_ENOENT,
                 e->status == CAM_ENET ? API_NOBODY :
                 "nothing is stored there, or not under this salt (--salt)");
    }
}

static void dht_put_event(struct api *api, struct now now, struct api_request *r, const struct kad_event *e)
{
    if ((e->status == CAM_ESTALE || e->status == CAM_ECAS) && r->item && ++r->tries < DHT_PUT_TRIES &&
        e->newer_seq < INT64_MAX) {
        r->item->seq = e->newer_seq >= r->item->seq ? e->newer_seq + 1 : r->item->seq + 1;
        int err = dht_put_mutable(api, now, r);
        if (err)
            api_done(api, r, err, NULL);
        return;
    }
    if (e->status) {
        api_done(api, r, e->status,
                 e->status == CAM_ENET ? "no peer took it: camellia node --join HOST:PORT" : NULL);
        return;
    }
    json_t *row = json_pack("{s:i, s:o, s:i}", "v", 1, "target", api_hex_json(e->target, KAD_ID_SIZE),
                            "holders", (int)e->holders);
    if (r->item)
        json_object_set_new(row, "seq", json_integer(r->item->seq));
    api_row(api, r, row);
    api_done(api, r, 0, "");
}

void api_dht_event(struct api *api, struct now now, struct api_request *r, const struct kad_event *e)
{
    switch (r->kind) {
    case API_DHT_PING: dht_ping_event(api, r, e); break;
    case API_DHT_FIND: dht_find_event(api, r, e); break;
    case API_DHT_GET: dht_get_event(api, r, e); break;
    case API_DHT_PUT: dht_put_event(api, now, r, e); break;
    case API_DHT_PEERS: api_dht_peers_event(api, r, e); break;
    case API_DHT_ANNOUNCE: api_dht_announce_event(api, r, e); break;
    case API_FREE: case API_TIMELINE: break;
    }
}
