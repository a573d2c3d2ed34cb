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
        if (span_equal(salt, span_str(whole[i]))) return true;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (salt.size >= strlen(begins[i]) && memcmp(salt.data, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

static uint64_t dht_tag(const struct api *api, const struct api_request *r)
{
    return TIMELINE_TAG_FOREIGN | api_request_id(api, r);
}

static int arg_id(const json_t *args, const char *key, uint8_t ret[KAD_ID_SIZE])
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

    if (!err && (!text || addr_parse(text, &r->addr) || !addr_is_usable(&r->addr))) err = CAM_EINVAL;
    if (err) {
        api_done(api, r, err, "that is no address: IP:PORT, like 127.0.0.1:8000");
        return;
    }
    r->kind = API_DHT_PING;
    err = kad_ping(api->kad, now, &r->addr, dht_tag(api, r));
    if (err) api_done(api, r, err, NULL);
}

void api_dht_find(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    uint8_t target[KAD_ID_SIZE];
    int err = arg_id(args, "id", target);

    if (err) {
        api_done(api, r, err, "an id is 40 hex digits");
        return;
    }
    r->kind = API_DHT_FIND;
    err = kad_find(api->kad, now, target, json_is_true(json_object_get(args, "trace")), dht_tag(api, r));
    if (err) api_done(api, r, err, NULL);
}

/* A mutable item proves itself by SHA1(its key + salt) = target, so the key need not be known, the salt must.
 */
void api_dht_get(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    uint8_t target[KAD_ID_SIZE], pk[KEY_SIZE];
    const char *id = NULL;
    struct span salt = { NULL, 0 };
    int err = arg_id(args, "target", target);

    if (err) {
        api_done(api, r, err, "a target is 40 hex digits");
        return;
    }
    err = api_arg_string(args, "id", &id);
    if (!err && id && user_id_parse(id, pk)) err = CAM_EINVAL;
    if (!err) err = api_arg_text(args, "salt", &salt);
    if (!err && salt.size > KAD_SALT_MAX) err = CAM_ETOOBIG;
    if (err) {
        api_done(api, r, err,
                 id ? "an id is 52 characters a-z 2-7, a salt at most 64 bytes"
                    : "a salt is at most 64 bytes");
        return;
    }
    r->kind = API_DHT_GET;
    err = kad_get(api->kad, now, target, id ? pk : NULL, salt, dht_tag(api, r));
    if (err) api_done(api, r, err, NULL);
}

void api_dht_put_free(struct api_request *r)
{
    free(r->item); /* its salt and value lie behind it */
    r->item = NULL;
}

/* Signs with the user's key, as it is at this moment, and sends it off. */
static int dht_put_mutable(struct api *api, struct now now, struct api_request *r)
{
    const struct identity *id = timeline_identity(api->timeline);
    if (!id) return CAM_ELOCKED;
    int err = kad_item_sign(r->item, id);
    return err ? err : kad_put(api->kad, now, r->item, NULL, dht_tag(api, r));
}

void api_dht_put(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    struct span value = { NULL, 0 }, salt = { NULL, 0 };
    uint8_t encoded[KAD_VALUE_MAX];
    struct bytes_out out = bytes_out(encoded, sizeof encoded);
    int err = api_arg_text(args, "value", &value);

    if (!err) err = api_arg_text(args, "salt", &salt);
    if (!err && !value.data) err = CAM_EUSAGE;
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
        err = kad_put(api->kad, now, &item, NULL, dht_tag(api, r));
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
    if (err) api_done(api, r, err, err == CAM_ELOCKED ? "the node is locked: camellia login" : NULL);
}

void api_peers(struct api *api, struct now now, struct api_request *r)
{
    struct kad_contact contact;
    for (size_t i = 0; kad_contact_at(api->kad, now, i, &contact); i++)
        api_row(api, r, api_contact_json(&contact, true));
    api_done(api, r, 0, "");
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
        if (!e->n_contacts) return;
        json_t *row = api_contact_json(&e->contacts[0], false);
        json_object_set_new(row, "hop", json_true());
        json_object_set_new(row, "learned", json_integer((json_int_t)e->n_contacts - 1));
        api_row(api, r, row);
        return;
    }
    for (size_t i = 0; i < e->n_contacts; i++) api_row(api, r, api_contact_json(&e->contacts[i], false));
    if (e->last)
        api_done(api, r, e->status,
                 e->status == CAM_ENET ? "no peer to ask: camellia node --join HOST:PORT" : NULL);
}

static void dht_get_event(struct api *api, struct api_request *r, const struct kad_event *e)
{
    if (e->kind != KAD_EVENT_GET) return; /* FIRST: a person waits for the whole answer, with its holders */
    if (e->status == 0 && e->item) {
        api_row(api, r, item_json(e));
        api_done(api, r, 0, "");
    } else {
        api_done(api, r, e->status ? e->status : CAM_ENOENT,
                 e->status == CAM_ENET ? "no peer to ask: camellia node --join HOST:PORT" :
                 "nothing is stored there, or its salt was not given");
    }
}

static void dht_put_event(struct api *api, struct now now, struct api_request *r, const struct kad_event *e)
{
    if ((e->status == CAM_ESTALE || e->status == CAM_ECAS) && r->item && ++r->tries < DHT_PUT_TRIES &&
        e->newer_seq < INT64_MAX) {
        r->item->seq = e->newer_seq >= r->item->seq ? e->newer_seq + 1 : r->item->seq + 1;
        int err = dht_put_mutable(api, now, r);
        if (err) api_done(api, r, err, NULL);
        return;
    }
    if (e->status) {
        api_done(api, r, e->status,
                 e->status == CAM_ENET ? "no peer took it: camellia node --join HOST:PORT" : NULL);
        return;
    }
    json_t *row = json_pack("{s:i, s:o, s:i}", "v", 1, "target", api_hex_json(e->target, KAD_ID_SIZE),
                            "holders", (int)e->holders);
    if (r->item) json_object_set_new(row, "seq", json_integer(r->item->seq));
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
    case API_FREE: case API_TIMELINE: break;
    }
}
