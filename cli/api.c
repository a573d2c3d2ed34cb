#include "cli/api.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "cli/api_impl.h"
#include "core/err.h"
#include "core/snowflake.h"

#define API_VERSION 1
_Static_assert(API_REQUESTS_MAX <= 65536, "a request's place has 16 bits");

/* ---- the table of running requests ------------------------------------------------------------------ */

uint64_t api_request_id(const struct api *api, const struct api_request *r)
{
    return (uint64_t)r->generation << 16 | (uint64_t)(r - api->requests);
}

struct api_request *api_request_of(struct api *api, uint64_t id)
{
    id &= ~TIMELINE_TAG_FOREIGN;
    uint64_t place = id & 0xffff;
    if (place >= api->touched) return NULL;
    struct api_request *r = &api->requests[place];
    return r->kind != API_FREE && r->generation == id >> 16 ? r : NULL;
}

static struct api_request *request_begin(struct api *api, uint64_t client, int64_t tag)
{
    assert(api_has_room(api));
    bool used_before = api->free_request < API_REQUESTS_MAX;
    struct api_request *r = &api->requests[used_before ? api->free_request : api->touched++];
    uint32_t generation = r->generation + 1;
    if (used_before) api->free_request = r->next_free;
    memset(r, 0, sizeof *r);
    r->generation = generation;
    r->kind = API_TIMELINE;
    r->client = client;
    r->tag = tag;
    api->running++;
    return r;
}

void api_request_end(struct api *api, struct api_request *r)
{
    api_dht_put_free(r);
    r->kind = API_FREE;
    r->next_free = api->free_request;
    api->free_request = (uint32_t)(r - api->requests);
    api->running--;
}

bool api_has_room(const struct api *api) { return api->running < API_REQUESTS_MAX; }
uint32_t api_running(const struct api *api) { return api->running; }

/* ---- replies ---------------------------------------------------------------------------------------- */

static void json_free_text(char *text)
{
    json_free_t release;
    json_get_alloc_funcs(NULL, &release); /* the one that wipes, when the program chose it */
    release(text);
}

/* Takes `json`. Without memory the reply is lost, and its client with it: better than a node that ends. */
static void reply_push(struct api *api, uint64_t client, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text) return;
    if (api->out_count == api->out_cap) {
        size_t cap = api->out_cap ? api->out_cap * 2 : 64;
        struct api_out *bigger = malloc(cap * sizeof *bigger);
        if (!bigger) {
            json_free_text(text);
            return;
        }
        for (size_t i = 0; i < api->out_count; i++) bigger[i] = api->out[(api->out_at + i) % api->out_cap];
        free(api->out);
        api->out = bigger;
        api->out_cap = cap;
        api->out_at = 0;
    }
    api->out[(api->out_at + api->out_count++) % api->out_cap] = (struct api_out){ client, text };
}

void api_row(struct api *api, const struct api_request *r, json_t *row)
{
    if (row)
        reply_push(api, r->client,
                   json_pack("{s:i, s:I, s:o}", "v", API_VERSION, "tag", (json_int_t)r->tag, "row", row));
}

static void reply_done(struct api *api, uint64_t client, int64_t tag, int status, const char *word,
                       const char *message)
{
    json_t *json = json_pack("{s:i, s:I, s:b, s:i}", "v", API_VERSION, "tag", (json_int_t)tag, "done", 1,
                             "status", status);
    if (status) json_object_set_new(json, "error", json_string(word));
    if (*message) json_object_set_new(json, "message", api_text_json(span_str(message)));
    reply_push(api, client, json);
}

void api_done_status(struct api *api, struct api_request *r, int status, const char *word,
                     const char *message)
{
    if (r->ends_node && status == 0 && !api->config.stays) api->stopping = true;
    reply_done(api, r->client, r->tag, status, word, message);
    api_request_end(api, r);
}

void api_done(struct api *api, struct api_request *r, int err, const char *message)
{
    if (!message) message = err ? err_text(err) : "";
    api_done_status(api, r, err ? err_status(err) : 0, err ? err_word(err) : "", message);
}

bool api_next_reply(struct api *api, struct api_reply *ret)
{
    if (api->given) json_free_text(api->given);
    api->given = NULL;
    if (!api->out_count) return false;
    struct api_out *out = &api->out[api->out_at];
    api->out_at = (api->out_at + 1) % api->out_cap;
    api->out_count--;
    api->given = out->text;
    ret->client = out->client;
    ret->text = span_str(out->text);
    return true;
}

bool api_stopping(const struct api *api) { return api->stopping && api->out_count == 0; }

/* ---- arguments -------------------------------------------------------------------------------------- */

int api_arg_text(const json_t *args, const char *key, struct span *ret)
{
    const json_t *value = json_object_get(args, key);
    *ret = (struct span){ NULL, 0 };
    if (!value || json_is_null(value)) return 0;
    if (!json_is_string(value)) return CAM_EUSAGE;
    *ret = span(json_string_value(value), json_string_length(value));
    return 0;
}

int api_arg_string(const json_t *args, const char *key, const char **ret)
{
    struct span text;
    int err = api_arg_text(args, key, &text);
    *ret = NULL;
    if (err || !text.data) return err;
    if (memchr(text.data, '\0', text.size)) return CAM_EINVAL;
    *ret = (const char *)text.data;
    return 0;
}

static int arg_int(const json_t *args, const char *key, int64_t min, int64_t max, int64_t fallback,
                   int64_t *ret)
{
    const json_t *value = json_object_get(args, key);
    *ret = fallback;
    if (!value || json_is_null(value)) return 0;
    if (!json_is_integer(value)) return CAM_EUSAGE;
    *ret = json_integer_value(value);
    return *ret < min || *ret > max ? CAM_EUSAGE : 0;
}

static int arg_bool(const json_t *args, const char *key, bool *ret)
{
    const json_t *value = json_object_get(args, key);
    *ret = json_is_true(value);
    return !value || json_is_boolean(value) || json_is_null(value) ? 0 : CAM_EUSAGE;
}

/* The secret key arrives in hex and is wiped wherever it was; the identity lives in locked memory. */
static int arg_identity(const json_t *args, struct identity **ret)
{
    uint8_t secret[SECRET_SIZE];
    const char *hex;
    int err = api_arg_string(args, "secret", &hex);

    if (!err && (!hex || hex_decode(secret, sizeof secret, hex))) err = CAM_EUSAGE;
    if (!err) {
        struct identity *id = identity_from_seed(secret); /* the first half is the seed (RFC 8032) */
        if (!id) err = CAM_ESYS;
        else if (sodium_memcmp(id->sk, secret, sizeof secret)) err = CAM_EFORMAT;
        if (err) identity_free(id);
        else *ret = id;
    }
    sodium_memzero(secret, sizeof secret);
    return err;
}

/* ---- requests --------------------------------------------------------------------------------------- */

struct api_call { /* one request on its way through the table of verbs */
    struct api *api;
    struct now now;
    struct api_request *r;
    const json_t *args;
    struct timeline_command command;
    struct identity *identity; /* owned until the command was given */
};

static int want_name(struct api_call *c) { return api_arg_string(c->args, "name", &c->command.name); }

static int want_identity(struct api_call *c)
{
    int64_t device;
    int err = want_name(c);
    if (!err) err = arg_int(c->args, "device", 0, SNOWFLAKE_DEVICE_MAX, 0, &device);
    if (!err) err = arg_identity(c->args, &c->identity);
    if (err) return err;
    c->command.device = (uint16_t)device;
    c->command.identity = c->identity;
    return 0;
}

static int want_post(struct api_call *c)
{
    int64_t wait_ms;
    int err = api_arg_text(c->args, "text", &c->command.text);
    if (!err) err = arg_int(c->args, "wait_ms", 0, API_WAIT_MAX_MS, 0, &wait_ms);
    if (!err && !c->command.text.data) err = CAM_EUSAGE;
    if (!err) c->command.wait_ms = (uint32_t)wait_ms;
    return err;
}

static int want_limit(struct api_call *c)
{
    int64_t n;
    int err = arg_int(c->args, "n", 0, API_LIMIT_MAX, 0, &n);
    if (!err) c->command.limit = (uint32_t)n;
    return err;
}

static int want_read(struct api_call *c)
{
    const char *before;
    int err = want_limit(c);
    if (!err) err = api_arg_string(c->args, "before", &before);
    if (!err && before) err = snowflake_parse(before, &c->command.before_id);
    if (!err) err = arg_bool(c->args, "unread", &c->command.unread_only);
    if (!err) err = arg_bool(c->args, "follow", &c->command.live);
    if (err || !c->command.live) return err;
    c->r->live = true;
    c->r->lease_ms = c->now.mono_ms + API_LEASE_MS;
    if (c->r->lease_ms < c->api->lease_ms) c->api->lease_ms = c->r->lease_ms;
    return 0;
}

static int want_who(struct api_call *c) { return api_arg_string(c->args, "who", &c->command.who); }

static int want_someone(struct api_call *c)
{
    int err = want_who(c);
    if (!err) err = arg_bool(c->args, "private", &c->command.private_follow);
    return !err && !c->command.who ? CAM_EUSAGE : err;
}

static int want_logout(struct api_call *c)
{
    c->r->ends_node = true;
    return 0;
}

/* These answer by themselves, now or when kad does. */
static void do_hello(struct api_call *c)
{
    api_row(c->api, c->r, api_hello_json(c->api));
    api_done(c->api, c->r, 0, "");
}

static void do_stop(struct api_call *c)
{
    c->api->stopping = true;
    api_done(c->api, c->r, 0, "");
}

static void request_cancel(struct api *api, struct now now, struct api_request *r)
{
    uint64_t id = api_request_id(api, r);
    bool timelines = r->kind == API_TIMELINE;
    struct timeline_command cancel = { .verb = TL_CANCEL, .client = id };
    api_request_end(api, r); /* first: whatever the cancelled one still says is late */
    if (timelines) timeline_command(api->timeline, now, &cancel);
}

static struct api_request *request_with_tag(struct api *api, uint64_t client, int64_t tag,
                                            const struct api_request *not_this)
{
    for (uint32_t i = 0; i < api->touched; i++) {
        struct api_request *r = &api->requests[i];
        if (r->kind != API_FREE && r->client == client && r->tag == tag && r != not_this) return r;
    }
    return NULL;
}

static void do_cancel(struct api_call *c)
{
    int64_t tag;
    int err = arg_int(c->args, "cancel", INT64_MIN, INT64_MAX, 0, &tag);
    if (!err && !json_object_get(c->args, "cancel")) err = CAM_EUSAGE;
    struct api_request *target = err ? NULL : request_with_tag(c->api, c->r->client, tag, c->r);
    if (target) {
        reply_done(c->api, target->client, target->tag, err_status(CAM_EINTR), err_word(CAM_EINTR),
                   "cancelled");
        request_cancel(c->api, c->now, target);
    }
    api_done(c->api, c->r, err, err ? NULL : target ? "" : "it had ended already");
}

static void do_renew(struct api_call *c)
{
    struct api_request *live = request_with_tag(c->api, c->r->client, c->r->tag, c->r);
    if (live && live->live) live->lease_ms = c->now.mono_ms + API_LEASE_MS;
    api_request_end(c->api, c->r); /* no reply: its tag is the live request's */
}

static void do_ping(struct api_call *c) { api_dht_ping(c->api, c->now, c->r, c->args); }
static void do_find(struct api_call *c) { api_dht_find(c->api, c->now, c->r, c->args); }
static void do_get(struct api_call *c) { api_dht_get(c->api, c->now, c->r, c->args); }
static void do_put(struct api_call *c) { api_dht_put(c->api, c->now, c->r, c->args); }
static void do_peers(struct api_call *c) { api_peers(c->api, c->now, c->r); }

/* Every word of the API. `want` reads the arguments of a command to timeline; `act` does it all. */
static const struct api_verb {
    const char *word;
    enum timeline_verb verb;
    int (*want)(struct api_call *c);
    void (*act)(struct api_call *c);
    const char *usage;
} api_verbs[] = {
    { "post", TL_POST, want_post, NULL, "post takes text, and perhaps wait_ms" },
    { "timeline", TL_READ, want_read, NULL, "timeline takes n, before (a post's id), unread, follow" },
    { "status", TL_STATUS, NULL, NULL, "" },
    { "hello", 0, NULL, do_hello, "" },
    { "renew", 0, NULL, do_renew, "" },
    { "cancel", 0, NULL, do_cancel, "" },
    { "name_check", TL_NAME_CHECK, want_name, NULL, "name_check takes a name" },
    { "register", TL_REGISTER, want_identity, NULL, "register takes name, secret (a key in hex), device" },
    { "login", TL_LOGIN, want_identity, NULL, "login takes name, secret (a key in hex), device" },
    { "logout", TL_LOGOUT, want_logout, NULL, "" },
    { "whoami", TL_WHOAMI, NULL, NULL, "" },
    { "follow", TL_FOLLOW, want_someone, NULL, "follow takes who, and perhaps private" },
    { "unfollow", TL_UNFOLLOW, want_someone, NULL, "unfollow takes who" },
    { "followers", TL_FOLLOWERS, want_who, NULL, "followers takes who, or nobody for your own" },
    { "following", TL_FOLLOWING, want_who, NULL, "following takes who, or nobody for your own" },
    { "profile", TL_PROFILE, want_who, NULL, "profile takes who, or nobody for your own" },
    { "suggest", TL_SUGGEST, want_limit, NULL, "suggest takes n" },
    { "outbox", TL_OUTBOX, NULL, NULL, "" },
    { "peers", 0, NULL, do_peers, "" },
    { "dht_ping", 0, NULL, do_ping, "" },
    { "dht_find", 0, NULL, do_find, "" },
    { "dht_get", 0, NULL, do_get, "" },
    { "dht_put", 0, NULL, do_put, "" },
    { "stop", 0, NULL, do_stop, "" },
};

static const struct api_verb *verb_of(const char *word)
{
    for (size_t i = 0; word && i < sizeof api_verbs / sizeof *api_verbs; i++)
        if (strcmp(api_verbs[i].word, word) == 0) return &api_verbs[i];
    return NULL;
}

static void request_run(struct api *api, struct now now, uint64_t client, int64_t tag,
                        const struct api_verb *verb, const json_t *args)
{
    struct api_call c = { .api = api, .now = now, .args = args, .command = { .verb = verb->verb } };

    c.r = request_begin(api, client, tag);
    if (verb->act) {
        verb->act(&c);
        return;
    }
    int err = verb->want ? verb->want(&c) : 0;
    if (err) {
        api_done(api, c.r, err, verb->usage);
    } else {
        c.command.client = api_request_id(api, c.r);
        timeline_command(api->timeline, now, &c.command);
    }
    identity_free(c.identity);
}

void api_request(struct api *api, struct now now, uint64_t client, struct span text)
{
    json_t *json = NULL;

    if (text.size <= API_MESSAGE_MAX)
        json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const json_t *tag = json_object_get(json, "tag"), *version = json_object_get(json, "v");
    int64_t number = json_integer_value(tag); /* 0 where it cannot be read */
    const char *word = json_string_value(json_object_get(json, "do"));
    const struct api_verb *verb = verb_of(word);

    if (!json_is_object(json))
        reply_done(api, client, 0, err_status(CAM_EFORMAT), err_word(CAM_EFORMAT),
                   "that request is not a JSON object");
    else if (!json_is_integer(tag))
        reply_done(api, client, 0, err_status(CAM_EUSAGE), err_word(CAM_EUSAGE),
                   "a request has a tag, an integer");
    else if (version && json_integer_value(version) != API_VERSION)
        reply_done(api, client, number, err_status(CAM_EUSAGE), err_word(CAM_EUSAGE),
                   "node and client are of different versions: restart the node");
    else if (!verb)
        reply_done(api, client, number, err_status(CAM_EUSAGE), err_word(CAM_EUSAGE),
                   "the node knows no such request");
    else
        request_run(api, now, client, number, verb, json);
    json_decref(json);
}

/* ---- answers ---------------------------------------------------------------------------------------- */

void api_answer(struct api *api, struct now now, const struct timeline_answer *answer)
{
    struct api_request *r = api_request_of(api, answer->client);

    if (!r || r->kind != API_TIMELINE) return; /* cancelled, or its client is gone */
    if (answer->row.kind != TL_ROW_NONE) api_row(api, r, api_row_json(api, now, &answer->row));
    if (!answer->last) return;
    const char *message = answer->message;
    if (answer->status < 0)
        api_done(api, r, answer->status, *message ? message : NULL);
    else
        api_done_status(api, r, answer->status, answer->status ? api_status_word(answer->status) : "",
                        message);
}

bool api_kad_event(struct api *api, struct now now, const struct kad_event *event)
{
    if (!(event->tag & TIMELINE_TAG_FOREIGN)) return false;
    struct api_request *r = api_request_of(api, event->tag);
    if (r) api_dht_event(api, now, r, event);
    return true;
}

void api_client_gone(struct api *api, struct now now, uint64_t client)
{
    for (uint32_t i = 0; i < api->touched; i++) {
        struct api_request *r = &api->requests[i];
        if (r->kind != API_FREE && r->client == client) request_cancel(api, now, r);
    }
}

void api_tick(struct api *api, struct now now)
{
    if (now.mono_ms < api->lease_ms) return;
    api->lease_ms = NOW_NEVER;
    for (uint32_t i = 0; i < api->touched; i++) {
        struct api_request *r = &api->requests[i];
        if (r->kind == API_FREE || !r->live) continue;
        if (now.mono_ms < r->lease_ms) {
            if (r->lease_ms < api->lease_ms) api->lease_ms = r->lease_ms;
            continue;
        }
        reply_done(api, r->client, r->tag, err_status(CAM_ETIMEOUT), err_word(CAM_ETIMEOUT),
                   "nobody renewed this reading");
        request_cancel(api, now, r);
    }
}

uint64_t api_deadline_ms(const struct api *api) { return api->lease_ms; }

/* ---- life ------------------------------------------------------------------------------------------- */

struct api *api_new(const struct api_config *config, struct kad *kad, struct timeline *timeline)
{
    struct api *api = calloc(1, sizeof *api);

    if (!api) return NULL;
    api->config = *config;
    api->kad = kad;
    api->timeline = timeline;
    api->lease_ms = NOW_NEVER;
    api->requests = calloc(API_REQUESTS_MAX, sizeof *api->requests);
    if (!api->requests) {
        free(api);
        return NULL;
    }
    api->free_request = API_REQUESTS_MAX;
    return api;
}

void api_free(struct api *api)
{
    if (!api) return;
    for (struct api_reply r; api_next_reply(api, &r);) {}
    for (uint32_t i = 0; i < api->touched; i++)
        if (api->requests[i].kind != API_FREE) api_request_end(api, &api->requests[i]);
    free(api->requests);
    free(api->out);
    free(api);
}

void api_check(const struct api *api)
{
    uint32_t running = 0, unused = 0;
    for (uint32_t i = 0; i < api->touched; i++) {
        const struct api_request *r = &api->requests[i];
        if (r->kind != API_FREE) running++;
        assert(r->kind == API_DHT_PUT || !r->item);
        assert(r->kind == API_FREE || !r->live || r->lease_ms >= api->lease_ms);
    }
    for (uint32_t i = api->free_request; i < API_REQUESTS_MAX; i = api->requests[i].next_free) unused++;
    assert(running == api->running);
    assert(running + unused == api->touched);
}
