#include <stdlib.h>
#include <string.h>
#include "cli/api_impl.h"
#include "cli/version.h"
#include "core/err.h"
#include "core/snowflake.h"
#include "core/text.h"

#define HEX_BYTES_MAX 1024

/* ---- values ----------------------------------------------------------------------------------------- */

static json_t *text_repaired(struct span text)
{
    uint8_t *fixed = malloc(text.size * 3 + 1); /* one bad byte becomes the three of U+FFFD */
    size_t size = 0;

    if (!fixed)
        return NULL;
    for (size_t at = 0; at < text.size;) {
        uint32_t point;
        size_t took = text_decode(text.data + at, text.size - at, &point);
        if (point == TEXT_INVALID) {
            memcpy(fixed + size, "\xef\xbf\xbd", 3);
            size += 3;
        } else {
            memcpy(fixed + size, text.data + at, took);
            size += took;
        }
        at += took;
    }
    json_t *json = json_stringn((const char *)fixed, size);
    free(fixed);
    return json;
}

json_t *api_text_json(struct span text)
{
    if (!text.size)
        return json_string("");
    json_t *json = json_stringn((const char *)text.data, text.size);
    return json ? json : text_repaired(text);
}

json_t *api_hex_json(const void *data, size_t size)
{
    char hex[2 * HEX_BYTES_MAX + 1];
    if (size > HEX_BYTES_MAX)
        return NULL;
    hex_encode(hex, data, size);
    return json_stringn_nocheck(hex, 2 * size);
}

json_t *api_addr_json(const struct addr *addr)
{
    char text[ADDR_TEXT_SIZE];
    return addr->family ? json_string_nocheck(addr_text(addr, text)) : json_null();
}

static json_t *json_u64(uint64_t v) { return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v); }

static json_t *json_post_id(uint64_t id)
{
    char text[SNOWFLAKE_TEXT_SIZE + 1];
    return json_string_nocheck(snowflake_text(id, text));
}

static json_t *json_user_id(const uint8_t pk[KEY_SIZE])
{
    static const uint8_t nobody[KEY_SIZE];
    char text[USER_ID_SIZE];
    if (memcmp(pk, nobody, KEY_SIZE) == 0)
        return json_null();
    user_id_text(pk, text);
    return json_string_nocheck(text);
}

static json_t *json_user_tag(const uint8_t pk[KEY_SIZE])
{
    char text[TAG_SIZE];
    user_tag(pk, text);
    return json_string_nocheck(text);
}

/* A name that is not known yet is null, not an empty name. */
static json_t *json_name(const char *name) { return *name ? api_text_json(span_str(name)) : json_null(); }

static json_t *json_post_kind(uint8_t kind)
{
    static const char *const words[] = { "post", "reply", "boost", "delete", "edit" };
    return kind < sizeof words / sizeof *words ? json_string_nocheck(words[kind])
                                               : json_sprintf("kind-%u", kind);
}

/* ---- rows: the shapes that scripts rely on (README, "JSON") ----------------------------------------- */

static json_t *row_new(void) { return json_pack("{s:i}", "v", 1); }

/* Takes the value. Without memory a key is missing, which is better than a node that ends. */
static void put(json_t *row, const char *key, json_t *value) { json_object_set_new_nocheck(row, key, value); }

static void put_user(json_t *row, const char *name_key, const char *id_key, const struct timeline_user *user)
{
    put(row, name_key, json_name(user->name));
    put(row, id_key, json_user_id(user->pk));
}

static json_t *json_time_or_null(uint64_t ms) { return ms ? json_u64(ms) : json_null(); }

static void row_account(const struct api *api, const struct timeline_row *from, json_t *row)
{
    put_user(row, "user", "id", &from->user);
    put(row, "tag", json_user_tag(from->user.pk));
    put(row, "device", json_integer(from->device));
    put(row, "address", api_addr_json(from->address.family ? &from->address : &api->config.address));
    put(row, "node", json_string("running"));
    put(row, "locked", json_boolean(from->locked));
    put(row, "name_pending", json_boolean(from->name_pending));
}

static void row_posted(const struct timeline_row *from, json_t *row)
{
    put(row, "id", json_post_id(from->id));
    put(row, "seq", json_u64(from->seq));
    put_user(row, "author", "author_id", &from->user);
    put(row, "followers", json_integer(from->followers));
    put(row, "received", json_integer(from->received));
    put(row, "waiting", json_integer(from->waiting));
}

static void row_post(const struct timeline_row *from, json_t *row)
{
    put(row, "id", json_post_id(from->id));
    put_user(row, "author", "author_id", &from->user);
    put(row, "device", json_integer(from->device));
    put(row, "seq", json_u64(from->seq));
    put(row, "time", json_u64(from->time_ms));
    put(row, "text", api_text_json(from->text));
    put(row, "kind", json_post_kind(from->post_kind));
    put(row, "via", from->has_via ? json_user_id(from->via) : json_null());
    if (from->has_via && *from->via_name)
        put(row, "via_user", json_name(from->via_name));
    put(row, "unread", json_boolean(from->unread));
    if (from->key_changed)
        put(row, "key_changed", json_true());
    if (from->fork)
        put(row, "fork", json_true());
}

static void row_profile(const struct timeline_row *from, json_t *row)
{
    put_user(row, "user", "id", &from->user);
    put(row, "bio", api_text_json(from->text));
    put(row, "posts", json_u64(from->posts));
    put(row, "followers", json_integer(from->followers));
    if (from->is_about)
        put(row, "followers_about", json_true());
    put(row, "following", json_integer(from->following_count));
    put(row, "complete_to", json_u64(from->complete_to));
    put(row, "as_of", json_time_or_null(from->time_ms));
    put(row, "gaps", json_u64(from->gaps));
    put(row, "forks", json_u64(from->forks));
}

static void row_gap(const struct timeline_row *from, json_t *row)
{
    put(row, "gap", json_true());
    put_user(row, "author", "author_id", &from->user);
    put(row, "complete_to", json_u64(from->complete_to));
    put(row, "gaps", json_u64(from->gaps));
    put(row, "as_of", json_time_or_null(from->time_ms));
}

static json_t *clock_json(const struct api *api, struct now now)
{
    struct sntp_status s = { .synced = false };
    json_t *clock = json_object();
    if (api->config.clock)
        sntp_status(api->config.clock, now, &s);
    put(clock, "synced", json_boolean(s.synced));
    put(clock, "offset_ms", json_integer(s.offset_ms));
    put(clock, "error_ms", s.synced ? json_u64(s.error_ms) : json_null());
    put(clock, "servers", json_integer(s.servers));
    put(clock, "answering", json_integer(s.answering));
    put(clock, "agreeing", json_integer(s.agreeing));
    return clock;
}

/* How often each kind of message went in one direction. */
static json_t *traffic_json(const uint64_t kinds[KAD_QUERY_KINDS], uint64_t replies, uint64_t errors)
{
    json_t *traffic = json_object();
    for (unsigned i = 1; i < KAD_QUERY_KINDS; i++)
        put(traffic, kad_query_name(i), json_u64(kinds[i]));
    put(traffic, kad_query_name(0), json_u64(kinds[0]));
    put(traffic, "replies", json_u64(replies));
    put(traffic, "errors", json_u64(errors));
    return traffic;
}

/* Of the lookups that looked for something, how many found it; null before the first. */
static json_t *success_json(const struct kad_stats *k)
{
    uint64_t failed = k->lookups_failed < k->lookups_done ? k->lookups_failed : k->lookups_done;
    return k->lookups_done ? json_real((double)(k->lookups_done - failed) / (double)k->lookups_done)
                           : json_null();
}

static void put_dht_details(json_t *dht, const struct kad_stats *k)
{
    put(dht, "table",
        json_pack("{s:I, s:I, s:I, s:I}", "live", (json_int_t)k->contacts, "live_v6",
                  (json_int_t)k->contacts_v6, "cached", (json_int_t)k->cached, "buckets",
                  (json_int_t)k->buckets));
    put(dht, "lookup",
        json_pack("{s:I, s:o, s:o, s:o, s:I, s:I}", "running", (json_int_t)k->lookups_running, "done",
                  json_u64(k->lookups_done), "failed", json_u64(k->lookups_failed), "success",
                  success_json(k), "p50_ms", (json_int_t)k->lookup_p50_ms, "p99_ms",
                  (json_int_t)k->lookup_p99_ms));
    put(dht, "in", traffic_json(k->in_kind, k->in_replies, k->in_errors));
    put(dht, "out", traffic_json(k->out_kind, k->out_replies, k->out_errors));
    put(dht, "drops",
        json_pack("{s:o, s:o, s:o, s:o}", "malformed", json_u64(k->drop_malformed), "unexpected",
                  json_u64(k->drop_unexpected), "budget", json_u64(k->drop_budget), "network",
                  json_u64(k->drop_version)));
    put(dht, "refusals",
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "signature", json_u64(k->refused_signature), "stale",
                  json_u64(k->refused_stale), "token", json_u64(k->refused_token), "full",
                  json_u64(k->refused_full), "form", json_u64(k->refused_form)));
}

static json_t *dht_json(const struct kad_stats *k)
{
    json_t *dht = json_object();
    put(dht, "items", json_integer(k->items));
    put(dht, "entries", json_integer(k->entries));
    put(dht, "peers", json_integer(k->peers));
    put(dht, "store_bytes", json_u64(k->store_bytes));
    put(dht, "lookups", json_u64(k->lookups_done));
    put(dht, "timeouts", json_integer(k->timeouts));
    put(dht, "in_bytes", json_u64(k->in_bytes));
    put(dht, "out_bytes", json_u64(k->out_bytes));
    put(dht, "in_datagrams", json_u64(k->in_datagrams));
    put(dht, "out_datagrams", json_u64(k->out_datagrams));
    put(dht, "dropped", json_u64(k->drop_malformed + k->drop_unexpected + k->drop_budget + k->drop_version));
    put(dht, "refused",
        json_u64(k->refused_signature + k->refused_stale + k->refused_token + k->refused_full +
                 k->refused_form));
    put_dht_details(dht, k);
    return dht;
}

/* Looking for others on the public DHT: null where it is switched off. */
static json_t *rescue_json(const struct api *api, struct now now)
{
    struct rescue_status s;

    if (!api->config.rescue)
        return json_null();
    rescue_status(api->config.rescue, &s);
    if (!s.on)
        return json_null();
    uint64_t wait_ms = s.opens_ms == NOW_NEVER || s.opens_ms < now.mono_ms ? 0 : s.opens_ms - now.mono_ms;
    return json_pack("{s:b, s:I, s:I, s:I, s:o}", "open", s.open, "contacts", (json_int_t)s.contacts,
                     "rounds", (json_int_t)s.rounds, "found", (json_int_t)s.found, "opens_in_s",
                     s.opens_ms == NOW_NEVER ? json_null() : json_u64(wait_ms / 1000));
}

static void row_status(const struct api *api, struct now now, const struct timeline_row *from, json_t *row)
{
    struct kad_stats k;
    struct addr seen = kad_self_addr(api->kad);

    kad_stats(api->kad, &k);
    put_user(row, "user", "id", &from->user);
    put(row, "locked", json_boolean(from->locked));
    put(row, "pid", json_integer(api->config.pid));
    put(row, "version", json_string(CAMELLIA_VERSION));
    put(row, "node_id", api_hex_json(kad_node_id(api->kad), KAD_ID_SIZE));
    put(row, "address", api_addr_json(&api->config.address));
    put(row, "seen_as", api_addr_json(&seen));
    put(row, "peers", json_integer(k.contacts));
    put(row, "clock", clock_json(api, now));
    put(row, "outbox", json_integer(from->outbox));
    put(row, "store_bytes", json_u64(from->store_bytes));
    put(row, "uptime_s", json_u64((now.mono_ms - api->config.started_mono_ms) / 1000));
    put(row, "unread", json_integer(from->unread_count));
    put(row, "refused", json_u64(from->refused));
    put(row, "rescue", rescue_json(api, now));
    put(row, "dht", dht_json(&k));
}

json_t *api_row_json(const struct api *api, struct now now, const struct timeline_row *from)
{
    json_t *row = row_new();

    switch (from->kind) {
    case TL_ROW_NONE: break;
    case TL_ROW_ACCOUNT: row_account(api, from, row); break;
    case TL_ROW_POSTED: row_posted(from, row); break;
    case TL_ROW_POST: row_post(from, row); break;
    case TL_ROW_FOLLOW:
        put_user(row, "user", "id", &from->user);
        put(row, "following", json_boolean(from->following));
        put(row, "pending", json_boolean(from->pending));
        break;
    case TL_ROW_USER: put_user(row, "user", "id", &from->user); break;
    case TL_ROW_PROFILE: row_profile(from, row); break;
    case TL_ROW_SUGGEST:
        put_user(row, "user", "id", &from->user);
        put(row, "score", json_real(from->score));
        put(row, "reason", api_text_json(span_str(from->reason)));
        break;
    case TL_ROW_STATUS: row_status(api, now, from, row); break;
    case TL_ROW_OUTBOX:
        put(row, "id", json_post_id(from->id));
        put(row, "seq", json_u64(from->seq));
        put(row, "received", json_integer(from->received));
        put(row, "waiting", json_integer(from->waiting));
        put(row, "next_try_s", json_integer(from->next_try_s));
        break;
    case TL_ROW_GAP: row_gap(from, row); break;
    }
    return row;
}

json_t *api_contact_json(const struct kad_contact *contact, bool with_age)
{
    json_t *row = row_new();
    put(row, "node_id", api_hex_json(contact->id, KAD_ID_SIZE));
    put(row, "address", api_addr_json(&contact->addr));
    put(row, "rtt_ms", json_integer(contact->rtt_ms));
    if (with_age)
        put(row, "age_s", json_integer(contact->age_s));
    return row;
}

json_t *api_hello_json(const struct api *api)
{
    json_t *row = row_new();
    put(row, "version", json_string(CAMELLIA_VERSION));
    put(row, "pid", json_integer(api->config.pid));
    put(row, "locked", json_boolean(timeline_identity(api->timeline) == NULL));
    put(row, "stays", json_boolean(api->config.stays));
    return row;
}

/* timeline answers with exit statuses; scripts want the word too. Several errors share a status: the first in
 * the table of core/err.h names it. */
const char *api_status_word(int status)
{
    for (int err = -1; err >= CAM_ERR_LAST; err--)
        if (err_status(err) == status)
            return err_word(err);
    return err_word(-1 + CAM_ERR_LAST);
}
