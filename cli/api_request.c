/* Requests: their arguments, and the table of words. */
#include <sodium.h>
#include <string.h>
#include "cli/api_impl.h"
#include "core/err.h"
#include "core/snowflake.h"

/* ---- arguments -------------------------------------------------------------------------------------- */

int api_arg_text(const json_t *args, const char *key, struct span *ret)
{
    const json_t *value = json_object_get(args, key);
    *ret = (struct span){ NULL, 0 };
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return CAM_EUSAGE;
    *ret = span(json_string_value(value), json_string_length(value));
    return 0;
}

int api_arg_string(const json_t *args, const char *key, const char **ret)
{
    struct span text;
    int err = api_arg_text(args, key, &text);
    *ret = NULL;
    if (err || !text.data)
        return err;
    if (memchr(text.data, '\0', text.size))
        return CAM_EINVAL;
    *ret = (const char *)text.data;
    return 0;
}

static int arg_int(const json_t *args, const char *key, int64_t min, int64_t max, int64_t fallback,
                   int64_t *ret)
{
    const json_t *value = json_object_get(args, key);
    *ret = fallback;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value))
        return CAM_EUSAGE;
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

    if (!err && (!hex || hex_decode(secret, sizeof secret, hex)))
        err = CAM_EUSAGE;
    if (!err) {
        struct identity *id = identity_from_seed(secret); /* the first half is the seed (RFC 8032) */
        if (!id)
            err = CAM_ESYS;
        else if (sodium_memcmp(id->sk, secret, sizeof secret))
            err = CAM_EFORMAT;
        if (err)
            identity_free(id);
        else
            *ret = id;
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
    if (!err)
        err = arg_int(c->args, "device", 0, SNOWFLAKE_DEVICE_MAX, 0, &device);
    if (!err)
        err = arg_identity(c->args, &c->identity);
    if (err)
        return err;
    c->command.device = (uint16_t)device;
    c->command.identity = c->identity;
    return 0;
}

static int want_post(struct api_call *c)
{
    int64_t wait_ms;
    int err = api_arg_text(c->args, "text", &c->command.text);
    if (!err)
        err = arg_int(c->args, "wait_ms", 0, API_WAIT_MAX_MS, 0, &wait_ms);
    if (!err && !c->command.text.data)
        err = CAM_EUSAGE;
    if (!err)
        c->command.wait_ms = (uint32_t)wait_ms;
    return err;
}

static int want_limit(struct api_call *c)
{
    int64_t n;
    int err = arg_int(c->args, "n", 0, API_LIMIT_MAX, 0, &n);
    if (!err)
        c->command.limit = (uint32_t)n;
    return err;
}

static int want_read(struct api_call *c)
{
    const char *before;
    int err = want_limit(c);
    if (!err)
        err = api_arg_string(c->args, "before", &before);
    if (!err && before)
        err = snowflake_parse(before, &c->command.before_id);
    if (!err)
        err = arg_bool(c->args, "unread", &c->command.unread_only);
    if (!err)
        err = arg_bool(c->args, "follow", &c->command.live);
    if (err || !c->command.live)
        return err;
    c->r->live = true;
    c->r->lease_ms = c->now.mono_ms + API_LEASE_MS;
    if (c->r->lease_ms < c->api->lease_ms)
        c->api->lease_ms = c->r->lease_ms;
    return 0;
}

static int want_who(struct api_call *c) { return api_arg_string(c->args, "who", &c->command.who); }

static int want_someone(struct api_call *c)
{
    int err = want_who(c);
    if (!err)
        err = arg_bool(c->args, "private", &c->command.private_follow);
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

static struct api_request *request_with_tag(struct api *api, uint64_t client, int64_t tag,
                                            const struct api_request *not_this)
{
    for (uint32_t i = 0; i < api->touched; i++) {
        struct api_request *r = &api->requests[i];
        if (r->kind != API_FREE && r->client == client && r->tag == tag && r != not_this)
            return r;
    }
    return NULL;
}

static void do_cancel(struct api_call *c)
{
    int64_t tag;
    int err = arg_int(c->args, "cancel", INT64_MIN, INT64_MAX, 0, &tag);
    if (!err && !json_object_get(c->args, "cancel"))
        err = CAM_EUSAGE;
    struct api_request *target = err ? NULL : request_with_tag(c->api, c->r->client, tag, c->r);
    if (target) {
        api_reply_done(c->api, target->client, target->tag, err_status(CAM_EINTR), err_word(CAM_EINTR),
                   "cancelled");
        api_cancel(c->api, c->now, target);
    }
    api_done(c->api, c->r, err, err ? NULL : target ? "" : "it had ended already");
}

static void do_renew(struct api_call *c)
{
    struct api_request *live = request_with_tag(c->api, c->r->client, c->r->tag, c->r);
    if (live && live->live)
        live->lease_ms = c->now.mono_ms + API_LEASE_MS;
    api_request_end(c->api, c->r); /* no reply: its tag is the live request's */
}

static void do_ping(struct api_call *c) { api_dht_ping(c->api, c->now, c->r, c->args); }
static void do_find(struct api_call *c) { api_dht_find(c->api, c->now, c->r, c->args); }
static void do_get(struct api_call *c) { api_dht_get(c->api, c->now, c->r, c->args); }
static void do_put(struct api_call *c) { api_dht_put(c->api, c->now, c->r, c->args); }
static void do_dht_peers(struct api_call *c) { api_dht_peers(c->api, c->now, c->r, c->args); }
static void do_announce(struct api_call *c) { api_dht_announce(c->api, c->now, c->r, c->args); }
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
    { "dht_peers", 0, NULL, do_dht_peers, "" },
    { "dht_announce", 0, NULL, do_announce, "" },
    { "stop", 0, NULL, do_stop, "" },
};

static const struct api_verb *verb_of(const char *word)
{
    for (size_t i = 0; word && i < sizeof api_verbs / sizeof *api_verbs; i++)
        if (strcmp(api_verbs[i].word, word) == 0)
            return &api_verbs[i];
    return NULL;
}

static void request_run(struct api *api, struct now now, uint64_t client, int64_t tag,
                        const struct api_verb *verb, const json_t *args)
{
    struct api_call c = { .api = api, .now = now, .args = args, .command = { .verb = verb->verb } };

    c.r = api_request_begin(api, client, tag);
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
        api_reply_done(api, client, 0, err_status(CAM_EFORMAT), err_word(CAM_EFORMAT),
                   "that request is not a JSON object");
    else if (!json_is_integer(tag))
        api_reply_done(api, client, 0, err_status(CAM_EUSAGE), err_word(CAM_EUSAGE),
                   "a request has a tag, an integer");
    else if (version && json_integer_value(version) != API_VERSION)
        api_reply_done(api, client, number, err_status(CAM_EUSAGE), err_word(CAM_EUSAGE),
                   "node and client are of different versions: restart the node");
    else if (!verb)
        api_reply_done(api, client, number, err_status(CAM_EUSAGE), err_word(CAM_EUSAGE),
                   "the node knows no such request");
    else
        request_run(api, now, client, number, verb, json);
    json_decref(json);
}
