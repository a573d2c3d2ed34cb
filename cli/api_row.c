#include <stdlib.h>
#include <string.h>
#include "cli/api_impl.h"
#include "cli/version.h"
#include "core/err.h"
#include "core/snowflake.h"
#include "core/text.h"

#define HEX_BYTES_MAX 1024

/* ---- values ------------------------------------------------------------------------------------------------ */

static json_t *text_repaired(struct span text)
{
    uint8_t *fixed = malloc(text.size * 3 + 1); /* one bad byte becomes the three of U+FFFD */
    size_t size = 0;

    if (!fixed) return NULL;
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
    if (!text.size) return json_string("");
    json_t *json = json_stringn((const char *)text.data, text.size);
    return json ? json : text_repaired(text);
}

json_t *api_hex_json(const void *data, size_t size)
{
    char hex[2 * HEX_BYTES_MAX + 1];
    if (size > HEX_BYTES_MAX) return NULL;
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
    if (memcmp(pk, nobody, KEY_SIZE) == 0) return json_null();
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
    return kind < sizeof words / sizeof *words ? json_string_nocheck(words[kind]) : json_sprintf("kind-%u", kind);
}

/* ---- rows: the shapes that scripts rely on (README, "JSON") -------------------------------------------------- */

static json_t *row_account(const struct api *api, const struct timeline_row *row)
{
    return json_pack("{s:i, s:o, s:o, s:o, s:i, s:o, s:s, s:b, s:b}", "v", 1, "user", json_name(row->user.name),
                     "id", json_user_id(row->user.pk), "tag", json_user_tag(row->user.pk), "device", (int)row->device,
                     "address", api_addr_json(row->address.family ? &row->address : &api->config.address),
                     "node", "running", "locked", row->locked, "name_pending", row->name_pending);
}

static json_t *row_posted(const struct timeline_row *row)
{
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:i, s:i, s:i}", "v", 1, "id", json_post_id(row->id),
                     "seq", json_u64(row->seq), "author", json_name(row->user.name),
                     "author_id", json_user_id(row->user.pk), "followers", (int)row->followers,
                     "received", (int)row->received, "waiting", (int)row->waiting);
}

static json_t *row_post(const struct timeline_row *row)
{
    json_t *json = json_pack("{s:i, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:b}", "v", 1,
                             "id", json_post_id(row->id), "author", json_name(row->user.name),
                             "author_id", json_user_id(row->user.pk), "device", (int)row->device,
                             "seq", json_u64(row->seq), "time", json_u64(row->time_ms),
                             "text", api_text_json(row->text), "kind", json_post_kind(row->post_kind),
                             "via", row->has_via ? json_user_id(row->via) : json_null(), "unread", row->unread);
    if (row->key_changed) json_object_set_new(json, "key_changed", json_true());
    return json;
}

static json_t *row_follow(const struct timeline_row *row)
{
    return json_pack("{s:i, s:o, s:o, s:b, s:b}", "v", 1, "user", json_name(row->user.name),
                     "id", json_user_id(row->user.pk), "following", row->following, "pending", row->pending);
}

static json_t *row_user(const struct timeline_row *row)
{
    return json_pack("{s:i, s:o, s:o}", "v", 1, "user", json_name(row->user.name), "id", json_user_id(row->user.pk));
}

static json_t *row_profile(const struct timeline_row *row)
{
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:i, s:i, s:o, s:o, s:o}", "v", 1, "user", json_name(row->user.name),
                     "id", json_user_id(row->user.pk), "bio", api_text_json(row->text), "posts", json_u64(row->posts),
                     "followers", (int)row->followers, "following", (int)row->following_count,
                     "complete_to", json_u64(row->complete_to),
                     "as_of", row->time_ms ? json_u64(row->time_ms) : json_null(), "gaps", json_u64(row->gaps));
}

static json_t *row_suggest(const struct timeline_row *row)
{
    return json_pack("{s:i, s:o, s:o, s:f, s:o}", "v", 1, "user", json_name(row->user.name),
                     "id", json_user_id(row->user.pk), "score", row->score, "reason", api_text_json(span_str(row->reason)));
}

static json_t *row_outbox(const struct timeline_row *row)
{
    return json_pack("{s:i, s:o, s:o, s:i, s:i, s:i}", "v", 1, "id", json_post_id(row->id), "seq", json_u64(row->seq),
                     "received", (int)row->received, "waiting", (int)row->waiting, "next_try_s", (int)row->next_try_s);
}

static json_t *row_gap(const struct timeline_row *row)
{
    return json_pack("{s:i, s:b, s:o, s:o, s:o, s:o, s:o}", "v", 1, "gap", 1, "author", json_name(row->user.name),
                     "author_id", json_user_id(row->user.pk), "complete_to", json_u64(row->complete_to),
                     "gaps", json_u64(row->gaps), "as_of", row->time_ms ? json_u64(row->time_ms) : json_null());
}

static json_t *clock_json(const struct api *api, struct now now)
{
    struct sntp_status s;
    if (!api->config.clock)
        return json_pack("{s:b, s:i, s:n, s:i}", "synced", 0, "offset_ms", 0, "error_ms", "servers", 0);
    sntp_status(api->config.clock, now, &s);
    return json_pack("{s:b, s:I, s:o, s:i, s:i, s:i}", "synced", s.synced, "offset_ms", (json_int_t)s.offset_ms,
                     "error_ms", s.synced ? json_u64(s.error_ms) : json_null(), "servers", s.servers,
                     "answering", s.answering, "agreeing", s.agreeing);
}

static json_t *row_status(const struct api *api, struct now now, const struct timeline_row *row)
{
    struct kad_stats k;
    struct addr seen = kad_self_addr(api->kad);
    kad_stats(api->kad, &k);
    uint64_t dropped = k.drop_malformed + k.drop_unexpected + k.drop_budget + k.drop_version;
    uint64_t refused = k.refused_signature + k.refused_stale + k.refused_token + k.refused_full;
    return json_pack("{s:i, s:o, s:o, s:b, s:I, s:s, s:o, s:o, s:o, s:i, s:o, s:i, s:o, s:o, s:i, s:o, s:o,"
                     " s:{s:i, s:i, s:i, s:o, s:o, s:o, s:o}}",
                     "v", 1, "user", json_name(row->user.name), "id", json_user_id(row->user.pk), "locked", row->locked,
                     "pid", (json_int_t)api->config.pid, "version", CAMELLIA_VERSION,
                     "node_id", api_hex_json(kad_node_id(api->kad), KAD_ID_SIZE),
                     "address", api_addr_json(&api->config.address), "seen_as", api_addr_json(&seen),
                     "peers", (int)k.contacts, "clock", clock_json(api, now), "outbox", (int)row->outbox,
                     "store_bytes", json_u64(row->store_bytes),
                     "uptime_s", json_u64((now.mono_ms - api->config.started_mono_ms) / 1000),
                     "unread", (int)row->unread_count, "refused", json_u64(row->refused),
                     "traffic", json_pack("{s:o, s:o, s:o, s:o}", "in_bytes", json_u64(k.in_bytes),
                                          "out_bytes", json_u64(k.out_bytes), "in_datagrams", json_u64(k.in_datagrams),
                                          "out_datagrams", json_u64(k.out_datagrams)),
                     "dht", "items", (int)k.items, "entries", (int)k.entries, "peers", (int)k.peers,
                     "store_bytes", json_u64(k.store_bytes), "dropped", json_u64(dropped),
                     "refused", json_u64(refused), "timeouts", json_u64(k.timeouts));
}

json_t *api_row_json(const struct api *api, struct now now, const struct timeline_row *row)
{
    switch (row->kind) {
    case TL_ROW_NONE: break;
    case TL_ROW_ACCOUNT: return row_account(api, row);
    case TL_ROW_POSTED: return row_posted(row);
    case TL_ROW_POST: return row_post(row);
    case TL_ROW_FOLLOW: return row_follow(row);
    case TL_ROW_USER: return row_user(row);
    case TL_ROW_PROFILE: return row_profile(row);
    case TL_ROW_SUGGEST: return row_suggest(row);
    case TL_ROW_STATUS: return row_status(api, now, row);
    case TL_ROW_OUTBOX: return row_outbox(row);
    case TL_ROW_GAP: return row_gap(row);
    }
    return NULL;
}

json_t *api_contact_json(const struct kad_contact *contact, bool with_age)
{
    json_t *json = json_pack("{s:i, s:o, s:o}", "v", 1, "node_id", api_hex_json(contact->id, KAD_ID_SIZE),
                             "address", api_addr_json(&contact->addr));
    json_object_set_new(json, "rtt_ms", json_integer(contact->rtt_ms));
    if (with_age) json_object_set_new(json, "age_s", json_integer(contact->age_s));
    return json;
}

json_t *api_hello_json(const struct api *api)
{
    return json_pack("{s:i, s:s, s:I, s:b}", "v", 1, "version", CAMELLIA_VERSION, "pid", (json_int_t)api->config.pid,
                     "locked", timeline_identity(api->timeline) == NULL);
}

/* timeline answers with exit statuses; scripts want the word too. Several errors share a status: the first in the
 * table of core/err.h names it. */
const char *api_status_word(int status)
{
    for (int err = -1; err >= CAM_ERR_LAST; err--)
        if (err_status(err) == status) return err_word(err);
    return err_word(-1 + CAM_ERR_LAST);
}
