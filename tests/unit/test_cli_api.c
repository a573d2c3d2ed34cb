/* The API's words: what each request becomes, what each row looks like, and that nothing malformed gets
 * further. timeline is a recorder here (its functions are defined in this file); kad is real, two of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/api.h"
#include "core/bencode.h"
#include "core/err.h"

/* ---- timeline, as a recorder ------------------------------------------------------------------------ */

static struct timeline_command last_command;
static char last_name[256], last_who[256], last_text[8192];
static uint8_t last_pk[KEY_SIZE];
static int commands;
static struct identity *unlocked;

void timeline_command(struct timeline *t, struct now now, const struct timeline_command *c)
{
    (void)t;
    (void)now;
    commands++;
    last_command = *c;
    snprintf(last_name, sizeof last_name, "%s", c->name ? c->name : "(null)");
    snprintf(last_who, sizeof last_who, "%s", c->who ? c->who : "(null)");
    assert_true(c->text.size < sizeof last_text);
    if (c->text.size)
        memcpy(last_text, c->text.data, c->text.size);
    last_text[c->text.size] = '\0';
    if (c->identity)
        memcpy(last_pk, c->identity->pk, KEY_SIZE);
}
const struct identity *timeline_identity(const struct timeline *t)
{
    (void)t;
    return unlocked;
}
/* The rest is linked with the loop, and not called here. */
struct timeline *timeline_new(const struct timeline_config *c, struct kad *k, struct store *s,
                              const struct rng *r, struct now n)
{
    (void)c, (void)k, (void)s, (void)r, (void)n;
    return NULL;
}
void timeline_free(struct timeline *t) { (void)t; }
int timeline_recv(struct timeline *t, struct now n, const struct link_event *e)
{
    (void)t, (void)n, (void)e;
    return 0;
}
void timeline_kad_event(struct timeline *t, struct now n, const struct kad_event *e)
{
    (void)t, (void)n, (void)e;
}
void timeline_tick(struct timeline *t, struct now n) { (void)t, (void)n; }
uint64_t timeline_deadline_ms(const struct timeline *t)
{
    (void)t;
    return NOW_NEVER;
}
bool timeline_next_out(struct timeline *t, bool p, struct link_send *s)
{
    (void)t, (void)p, (void)s;
    return false;
}
void timeline_committed(struct timeline *t, struct now n, int err) { (void)t, (void)n, (void)err; }
bool timeline_next_answer(struct timeline *t, struct timeline_answer *a)
{
    (void)t, (void)a;
    return false;
}
bool timeline_admits(const struct timeline *t, const uint8_t key[LINK_KEY_SIZE])
{
    (void)t, (void)key;
    return false;
}
void timeline_check(const struct timeline *t) { (void)t; }

/* ---- fixture ---------------------------------------------------------------------------------------- */

struct fixture {
    struct api *api;
    struct kad *kad, *other;
    struct addr at, other_at;
    struct now now;
    struct rng_seeded seeds[2];
    json_t *reply; /* the last one taken */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct kad_config config = { .network = "camellia", .use_v4 = true };
    struct api_config api = { .pid = 4711, .started_mono_ms = 5000 };
    f->now = (struct now){ 10000, UINT64_C(1700000000000) };
    addr_parse("127.0.0.1:5001", &f->at);
    addr_parse("127.0.0.1:5002", &f->other_at);
    struct rng a = rng_seeded(&f->seeds[0], 1), b = rng_seeded(&f->seeds[1], 2);
    f->kad = kad_new(&config, &a, f->now);
    f->other = kad_new(&config, &b, f->now);
    api.address = f->at;
    f->api = api_new(&api, f->kad, NULL);
    commands = 0;
    unlocked = NULL;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    api_check(f->api);
    json_decref(f->reply);
    api_free(f->api);
    kad_free(f->kad);
    kad_free(f->other);
    identity_free(unlocked);
    unlocked = NULL;
    free(f);
    return 0;
}

static void carry(struct kad *from, const struct addr *from_at, struct kad *to, const struct addr *to_at,
                  struct now now)
{
    struct kad_datagram d;
    uint8_t copy[KAD_DATAGRAM_MAX];
    while (kad_next_out(from, &d)) {
        if (!addr_equal(&d.to, to_at))
            continue;
        memcpy(copy, d.data, d.size);
        kad_recv(to, now, from_at, copy, d.size);
    }
}

/* Lets the two kads talk for `ms` of virtual time. */
static void pump(struct fixture *f, int ms)
{
    struct kad_event e;
    for (int i = 0; i < ms; i += 10) {
        f->now.mono_ms += 10;
        f->now.wall_ms += 10;
        kad_tick(f->kad, f->now);
        kad_tick(f->other, f->now);
        carry(f->kad, &f->at, f->other, &f->other_at, f->now);
        carry(f->other, &f->other_at, f->kad, &f->at, f->now);
        while (kad_next_event(f->kad, &e))
            api_kad_event(f->api, f->now, &e);
        while (kad_next_event(f->other, &e)) {}
    }
}

static void ask_from(struct fixture *f, uint64_t client, const char *json)
{
    api_request(f->api, f->now, client, span_str(json));
}
static void ask(struct fixture *f, const char *json) { ask_from(f, 1, json); }

static json_t *next(struct fixture *f, uint64_t client)
{
    struct api_reply r;
    json_decref(f->reply);
    f->reply = NULL;
    if (!api_next_reply(f->api, &r))
        return NULL;
    assert_int_equal(r.client, client);
    f->reply = json_loadb((const char *)r.text.data, r.text.size, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(f->reply);
    assert_int_equal(json_integer_value(json_object_get(f->reply, "v")), 1);
    return f->reply;
}

static const char *str(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}
static json_int_t num(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void expect_done(struct fixture *f, uint64_t client, json_int_t tag, int status, const char *word)
{
    json_t *r = next(f, client);
    assert_non_null(r);
    assert_true(json_is_true(json_object_get(r, "done")));
    assert_int_equal(num(r, "tag"), tag);
    assert_int_equal(num(r, "status"), status);
    if (word)
        assert_string_equal(str(r, "error"), word);
    else
        assert_null(json_object_get(r, "error"));
}

static json_t *expect_row(struct fixture *f, json_int_t tag)
{
    json_t *r = next(f, 1);
    assert_non_null(r);
    assert_int_equal(num(r, "tag"), tag);
    json_t *row = json_object_get(r, "row");
    assert_true(json_is_object(row));
    assert_int_equal(num(row, "v"), 1);
    return row;
}

static void answer(struct fixture *f, const struct timeline_row *row, int status, const char *message)
{
    struct timeline_answer a = { .client = last_command.client, .last = true, .status = status };
    if (row)
        a.row = *row;
    snprintf(a.message, sizeof a.message, "%s", message);
    api_answer(f->api, f->now, &a);
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void test_malformed(void **state)
{
    struct fixture *f = *state;
    static const char *const broken[] = { "",
                                          "{",
                                          "[]",
                                          "7",
                                          "\"x\"",
                                          "null",
                                          "{\"tag\":1,\"tag\":2,\"do\":\"hello\"}",
                                          "{\"tag\":1,\"do\":\"hello\"} x",
                                          "\xff\xfe",
                                          "{\"do\":\"\xc3\x28\",\"tag\":1}" };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        ask(f, broken[i]);
        expect_done(f, 1, 0, 65, "damaged");
    }
    ask(f, "{}");
    expect_done(f, 1, 0, 64, "usage");
    ask(f, "{\"tag\":\"7\",\"do\":\"hello\"}");
    expect_done(f, 1, 0, 64, "usage");
    ask(f, "{\"tag\":7}");
    expect_done(f, 1, 7, 64, "usage");
    ask(f, "{\"tag\":7,\"do\":3}");
    expect_done(f, 1, 7, 64, "usage");
    ask(f, "{\"tag\":7,\"do\":\"destroy\"}");
    expect_done(f, 1, 7, 64, "usage");
    ask(f, "{\"v\":2,\"tag\":7,\"do\":\"hello\"}");
    expect_done(f, 1, 7, 64, "usage");
    char *deep = malloc(API_MESSAGE_MAX + 2);
    memset(deep, '[', API_MESSAGE_MAX);
    deep[API_MESSAGE_MAX] = '\0';
    ask(f, deep);
    expect_done(f, 1, 0, 65, "damaged");
    memset(deep, ' ', API_MESSAGE_MAX + 1); /* too large, whatever is in it */
    deep[API_MESSAGE_MAX + 1] = '\0';
    memcpy(deep, "{\"tag\":1,\"do\":\"hello\"}", 22);
    ask(f, deep);
    expect_done(f, 1, 0, 65, "damaged");
    free(deep);
    assert_int_equal(commands, 0);
    assert_int_equal(api_running(f->api), 0);
}

static void test_wrong_arguments(void **state)
{
    struct fixture *f = *state;
    static const char *const wrong[] = {
        "{\"tag\":1,\"do\":\"post\"}",
        "{\"tag\":1,\"do\":\"post\",\"text\":7}",
        "{\"tag\":1,\"do\":\"post\",\"text\":\"x\",\"wait_ms\":-1}",
        "{\"tag\":1,\"do\":\"post\",\"text\":\"x\",\"wait_ms\":1.5}",
        "{\"tag\":1,\"do\":\"timeline\",\"n\":\"all\"}",
        "{\"tag\":1,\"do\":\"timeline\",\"n\":1000000000}",
        "{\"tag\":1,\"do\":\"timeline\",\"unread\":1}",
        "{\"tag\":1,\"do\":\"follow\"}",
        "{\"tag\":1,\"do\":\"follow\",\"who\":[]}",
        "{\"tag\":1,\"do\":\"register\",\"name\":\"ana\"}",
        "{\"tag\":1,\"do\":\"register\",\"name\":\"ana\",\"secret\":\"00\"}",
        "{\"tag\":1,\"do\":\"cancel\"}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ask(f, wrong[i]);
        expect_done(f, 1, 1, 64, "usage");
    }
    static const char *const bad[] = {
        "{\"tag\":1,\"do\":\"timeline\",\"before\":\"yesterday\"}",
        "{\"tag\":1,\"do\":\"timeline\",\"before\":\"-1\"}",
        "{\"tag\":1,\"do\":\"follow\",\"who\":\"a\\u0000b\"}",
        "{\"tag\":1,\"do\":\"dht_ping\",\"address\":\"example.org:80\"}",
        "{\"tag\":1,\"do\":\"dht_ping\",\"address\":\"127.0.0.1:0\"}",
        "{\"tag\":1,\"do\":\"dht_ping\"}",
        "{\"tag\":1,\"do\":\"dht_find\",\"id\":\"12\"}",
        "{\"tag\":1,\"do\":\"dht_get\",\"target\":\"zz\"}",
        "{\"tag\":1,\"do\":\"dht_get\"}",
        "{\"tag\":1,\"do\":\"dht_get\",\"salt\":\"s\"}",
        "{\"tag\":1,\"do\":\"dht_get\",\"id\":\"nobody\"}",
        "{\"tag\":1,\"do\":\"dht_get\",\"id\":7}",
        "{\"tag\":1,\"do\":\"dht_peers\"}",
        "{\"tag\":1,\"do\":\"dht_peers\",\"info_hash\":\"00\"}",
        "{\"tag\":1,\"do\":\"dht_announce\",\"info_hash\":\"zz\"}",
        "{\"tag\":1,\"do\":\"dht_announce\",\"info_hash\":\"0123456789abcdef0123456789abcdef01234567\",\"port\":0}",
        "{\"tag\":1,\"do\":\"dht_announce\",\"info_hash\":\"0123456789abcdef0123456789abcdef01234567\",\"port\":65536}",
        "{\"tag\":1,\"do\":\"dht_announce\",\"info_hash\":\"0123456789abcdef0123456789abcdef01234567\",\"port\":\"1\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask(f, bad[i]);
        expect_done(f, 1, 1, 65, "invalid");
    }
    assert_int_equal(commands, 0);
    assert_int_equal(api_running(f->api), 0);
}

static void test_commands(void **state)
{
    struct fixture *f = *state;
    struct timeline_row none = { .kind = TL_ROW_NONE };

    ask(f, "{\"v\":1,\"tag\":9,\"do\":\"post\",\"text\":\"a\\u0000b \\u00e9\",\"wait_ms\":250}");
    assert_int_equal(last_command.verb, TL_POST);
    assert_int_equal(last_command.text.size, 6); /* the NUL is for timeline to refuse, by its own rule */
    assert_int_equal(last_command.wait_ms, 250);
    answer(f, &none, CAM_EINVAL, "control bytes are not allowed");
    expect_done(f, 1, 9, 65, "invalid");
    assert_string_equal(str(f->reply, "message"), "control bytes are not allowed");

    ask(f, "{\"tag\":-3,\"do\":\"timeline\",\"n\":20,\"before\":\"4611686018427387904\",\"unread\":true}");
    assert_int_equal(last_command.verb, TL_READ);
    assert_int_equal(last_command.limit, 20);
    assert_true(last_command.before_id == UINT64_C(4611686018427387904));
    assert_true(last_command.unread_only);
    assert_false(last_command.live);
    answer(f, &none, 0, "");
    expect_done(f, 1, -3, 0, NULL);

    ask(f, "{\"tag\":1,\"do\":\"follow\",\"who\":\"ana#abcdefgh\",\"private\":true}");
    assert_int_equal(last_command.verb, TL_FOLLOW);
    assert_string_equal(last_who, "ana#abcdefgh");
    assert_true(last_command.private_follow);
    answer(f, NULL, CAM_EAMBIG, "");
    expect_done(f, 1, 1, 67, "ambiguous");
    assert_true(*str(f->reply, "message") != '\0'); /* the error's own text where none was given */

    ask(f, "{\"tag\":1,\"do\":\"followers\",\"who\":null}");
    assert_int_equal(last_command.verb, TL_FOLLOWERS);
    assert_string_equal(last_who, "(null)");
    answer(f, NULL, 73, "as an exit status"); /* a status instead of an error code has a word too */
    expect_done(f, 1, 1, 73, "taken");

    static const struct { const char *word; enum timeline_verb verb;
    } plain[] = {
        { "whoami", TL_WHOAMI },       { "unfollow\",\"who\":\"x", TL_UNFOLLOW },
        { "following", TL_FOLLOWING }, { "profile", TL_PROFILE },
        { "suggest", TL_SUGGEST },     { "status", TL_STATUS },
        { "outbox", TL_OUTBOX },       { "name_check\",\"name\":\"ana", TL_NAME_CHECK },
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"tag\":%zu,\"do\":\"%s\"}", i, plain[i].word);
        ask(f, json);
        assert_int_equal(last_command.verb, plain[i].verb);
        answer(f, NULL, 0, "");
        expect_done(f, 1, (json_int_t)i, 0, NULL);
    }
    assert_string_equal(last_name, "ana");
    assert_null(next(f, 1));
}

static void test_secret(void **state)
{
    struct fixture *f = *state;
    const uint8_t seed[KEY_SIZE] = { 1, 2, 3 };
    struct identity *id = identity_from_seed(seed);
    char hex[2 * SECRET_SIZE + 1], json[512];

    hex_encode(hex, id->sk, SECRET_SIZE);
    snprintf(json, sizeof json,
             "{\"tag\":1,\"do\":\"login\",\"name\":\"ana\",\"secret\":\"%s\",\"device\":7}", hex);
    ask(f, json);
    assert_int_equal(last_command.verb, TL_LOGIN);
    assert_int_equal(last_command.device, 7);
    assert_string_equal(last_name, "ana");
    assert_memory_equal(last_pk, id->pk, KEY_SIZE);
    answer(f, NULL, 0, "");
    expect_done(f, 1, 1, 0, NULL);
    /* a public half that is not the secret's, and a device out of range */
    hex[127] = hex[127] == '0' ? '1' : '0';
    snprintf(json, sizeof json, "{\"tag\":1,\"do\":\"login\",\"name\":\"ana\",\"secret\":\"%s\"}", hex);
    ask(f, json);
    expect_done(f, 1, 1, 65, "damaged");
    snprintf(json, sizeof json,
             "{\"tag\":1,\"do\":\"login\",\"name\":\"ana\",\"secret\":\"%s\",\"device\":1024}", hex);
    ask(f, json);
    expect_done(f, 1, 1, 64, "usage");
    assert_int_equal(commands, 1);
    identity_free(id);
}

/* ---- rows: the shapes of the README ------------------------------------------------------------------ */

static void expect_keys(const json_t *row, const char *keys)
{
    char copy[512];
    snprintf(copy, sizeof copy, "%s", keys);
    for (char *key = strtok(copy, " "); key; key = strtok(NULL, " "))
        if (!json_object_get(row, key))
            fail_msg("row has no \"%s\"", key);
}

static json_t *row_of(struct fixture *f, const struct timeline_row *row)
{
    ask(f, "{\"tag\":5,\"do\":\"whoami\"}");
    answer(f, row, 0, "");
    return expect_row(f, 5);
}

static void test_rows(void **state)
{
    struct fixture *f = *state;
    struct timeline_row r = { .kind = TL_ROW_ACCOUNT, .user = { .name = "ana" }, .device = 3 };
    char id[USER_ID_SIZE];
    json_t *row;

    memset(r.user.pk, 0x5a, KEY_SIZE);
    user_id_text(r.user.pk, id);
    row = row_of(f, &r);
    expect_keys(row, "user id tag device address node locked name_pending");
    assert_string_equal(str(row, "user"), "ana");
    assert_string_equal(str(row, "id"), id);
    assert_int_equal(strlen(str(row, "tag")), 8);
    assert_memory_equal(str(row, "tag"), id, 8);
    assert_string_equal(str(row, "node"), "running");
    assert_string_equal(str(row, "address"), "127.0.0.1:5001");
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_POSTED;
    r.id = (UINT64_C(1) << 62) + 1; /* above what a JSON number keeps: hence a string */
    r.seq = 4, r.followers = 3, r.received = 1, r.waiting = 2;
    row = row_of(f, &r);
    expect_keys(row, "id seq author author_id followers received waiting");
    assert_string_equal(str(row, "id"), "4611686018427387905");
    assert_int_equal(num(row, "seq"), 4);
    assert_int_equal(num(row, "waiting"), 2);
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_POST;
    r.time_ms = UINT64_C(1700000000123);
    r.text = span_str("line\n\x1b[31m \xe2\x80\xae \xff end");
    r.post_kind = 1;
    row = row_of(f, &r);
    expect_keys(row, "id author author_id device seq time text kind via unread");
    assert_int_equal(num(row, "time"), 1700000000123);
    assert_string_equal(str(row, "text"), "line\n\x1b[31m \xe2\x80\xae \xef\xbf\xbd end"); /* raw but valid */
    assert_string_equal(str(row, "kind"), "reply");
    assert_true(json_is_null(json_object_get(row, "via")));
    assert_null(json_object_get(row, "via_user"));
    expect_done(f, 1, 5, 0, NULL);
    r.has_via = true;
    memset(r.via, 7, KEY_SIZE);
    row = row_of(f, &r);
    assert_int_equal(strlen(str(row, "via")), 52);
    assert_null(json_object_get(row, "via_user")); /* not known by name */
    expect_done(f, 1, 5, 0, NULL);
    snprintf(r.via_name, sizeof r.via_name, "carol");
    row = row_of(f, &r);
    assert_string_equal(str(row, "via_user"), "carol");
    assert_null(json_object_get(row, "key_changed"));
    expect_done(f, 1, 5, 0, NULL);
    r.has_via = r.key_changed = r.fork = r.unread = true;
    memset(r.via, 0, KEY_SIZE);
    r.via_name[0] = '\0';
    r.post_kind = 9;
    row = row_of(f, &r);
    assert_int_equal(strlen(str(row, "via") ? str(row, "via") : ""), 0); /* an all-zero key is nobody */
    assert_true(json_is_true(json_object_get(row, "key_changed")));
    assert_true(json_is_true(json_object_get(row, "fork")));
    assert_string_equal(str(row, "kind"), "kind-9");
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_FOLLOW, r.following = true;
    row = row_of(f, &r);
    expect_keys(row, "user id following pending");
    assert_true(json_is_true(json_object_get(row, "following")));
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_USER, r.user.name[0] = '\0';
    row = row_of(f, &r);
    assert_true(json_is_null(json_object_get(row, "user"))); /* not known is not empty */
    assert_string_equal(str(row, "id"), id);
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_PROFILE, r.time_ms = 0, r.complete_to = 52;
    row = row_of(f, &r);
    expect_keys(row, "user id bio posts followers following complete_to as_of gaps");
    assert_true(json_is_null(json_object_get(row, "as_of")));
    assert_int_equal(num(row, "complete_to"), 52);
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_SUGGEST, r.score = 1.5;
    snprintf(r.reason, sizeof r.reason, "followed by bob");
    row = row_of(f, &r);
    expect_keys(row, "user id score reason");
    assert_true(json_real_value(json_object_get(row, "score")) == 1.5);
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_OUTBOX, r.next_try_s = 8;
    row = row_of(f, &r);
    expect_keys(row, "id received waiting next_try_s");
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_GAP;
    row = row_of(f, &r);
    expect_keys(row, "gap author author_id complete_to gaps as_of");
    expect_done(f, 1, 5, 0, NULL);

    r.kind = TL_ROW_STATUS, r.store_bytes = 4096, r.unread_count = 3, r.outbox = 2, r.refused = 6;
    row = row_of(f, &r);
    expect_keys(row,
                "user pid node_id address peers clock outbox store_bytes uptime_s unread locked refused dht");
    assert_int_equal(num(row, "pid"), 4711);
    assert_int_equal(strlen(str(row, "node_id")), 40);
    assert_int_equal(num(row, "uptime_s"), 5);
    assert_int_equal(num(row, "store_bytes"), 4096);
    expect_keys(json_object_get(row, "clock"), "offset_ms error_ms servers");
    expect_done(f, 1, 5, 0, NULL);
}

/* ---- life of requests --------------------------------------------------------------------------------- */

static void test_live_lease_and_cancel(void **state)
{
    struct fixture *f = *state;
    struct timeline_answer a = { .row = { .kind = TL_ROW_POST, .id = 5 } };

    ask(f, "{\"tag\":7,\"do\":\"timeline\",\"follow\":true}");
    assert_true(last_command.live);
    uint64_t id = last_command.client;
    assert_true(api_deadline_ms(f->api) == f->now.mono_ms + API_LEASE_MS);
    a.client = id;
    api_answer(f->api, f->now, &a);
    expect_row(f, 7);
    f->now.mono_ms += API_LEASE_MS - 1;
    api_tick(f->api, f->now);
    ask(f, "{\"tag\":7,\"do\":\"renew\"}");
    assert_null(next(f, 1)); /* a renewal says nothing */
    f->now.mono_ms += API_LEASE_MS - 1;
    api_tick(f->api, f->now);
    assert_int_equal(api_running(f->api), 1);
    f->now.mono_ms += 1;
    api_tick(f->api, f->now);
    expect_done(f, 1, 7, 69, "timeout");
    assert_int_equal(last_command.verb, TL_CANCEL);
    assert_true(last_command.client == id);
    api_answer(f->api, f->now, &a); /* a late row is nobody's */
    assert_null(next(f, 1));
    assert_true(api_deadline_ms(f->api) == NOW_NEVER);

    ask(f, "{\"tag\":8,\"do\":\"timeline\",\"follow\":true}");
    id = last_command.client;
    ask_from(f, 2, "{\"tag\":1,\"do\":\"cancel\",\"cancel\":8}"); /* somebody else's is out of reach */
    expect_done(f, 2, 1, 0, NULL);
    assert_int_equal(api_running(f->api), 1);
    ask(f, "{\"tag\":9,\"do\":\"cancel\",\"cancel\":8}");
    expect_done(f, 1, 8, 130, "interrupted");
    expect_done(f, 1, 9, 0, NULL);
    assert_int_equal(last_command.verb, TL_CANCEL);
    assert_true(last_command.client == id);
    assert_int_equal(api_running(f->api), 0);
}

static void test_client_gone_and_late_answers(void **state)
{
    struct fixture *f = *state;
    struct timeline_answer a = { .last = true };

    ask_from(f, 3, "{\"tag\":1,\"do\":\"post\",\"text\":\"x\"}");
    a.client = last_command.client;
    ask_from(f, 4, "{\"tag\":1,\"do\":\"post\",\"text\":\"y\"}");
    uint64_t other = last_command.client;
    api_client_gone(f->api, f->now, 3);
    assert_int_equal(last_command.verb, TL_CANCEL);
    assert_true(last_command.client == a.client);
    ask_from(f, 4,
             "{\"tag\":2,\"do\":\"whoami\"}"); /* takes the freed place: the old answer must not reach it */
    api_answer(f->api, f->now, &a);
    assert_null(next(f, 4));
    a.client = other;
    api_answer(f->api, f->now, &a);
    expect_done(f, 4, 1, 0, NULL);
    api_answer(f->api, f->now, &a); /* answered already */
    a.client = UINT64_MAX;
    api_answer(f->api, f->now, &a);
    assert_null(next(f, 4));
    assert_int_equal(api_running(f->api), 1);
}

static void test_table_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < API_REQUESTS_MAX; i++) {
        assert_true(api_has_room(f->api));
        ask(f, "{\"tag\":1,\"do\":\"post\",\"text\":\"x\"}");
    }
    assert_false(api_has_room(f->api));
    answer(f, NULL, 0, "");
    assert_true(api_has_room(f->api));
    expect_done(f, 1, 1, 0, NULL);
    api_client_gone(f->api, f->now, 1);
    assert_int_equal(api_running(f->api), 0);
    api_check(f->api);
}

static void test_stop_and_logout(void **state)
{
    struct fixture *f = *state;
    struct api_config stays = { .stays = true };

    ask(f, "{\"tag\":1,\"do\":\"logout\"}");
    assert_int_equal(last_command.verb, TL_LOGOUT);
    answer(f, NULL, CAM_EIO, "");
    expect_done(f, 1, 1, 74, "io");
    assert_false(api_stopping(f->api)); /* it did not work: the node goes on */
    ask(f, "{\"tag\":1,\"do\":\"logout\"}");
    answer(f, NULL, 0, "");
    assert_false(api_stopping(f->api)); /* not before the answer has left */
    expect_done(f, 1, 1, 0, NULL);
    assert_true(api_stopping(f->api));

    struct api *other = api_new(&stays, f->kad, NULL);
    struct api *mine = f->api;
    f->api = other;
    ask(f, "{\"tag\":1,\"do\":\"logout\"}");
    answer(f, NULL, 0, "");
    expect_done(f, 1, 1, 0, NULL);
    assert_false(api_stopping(f->api));
    ask(f, "{\"tag\":2,\"do\":\"stop\"}");
    expect_done(f, 1, 2, 0, NULL);
    assert_true(api_stopping(f->api));
    api_free(other);
    f->api = mine;
}

/* ---- the network by hand ------------------------------------------------------------------------------ */

/* Counted another way than the node does: bits of the first hex digit that differs, and 4 for each after it. */
static int bits_between(const char *a, const char *b)
{
    for (int i = 0; i < 40; i++) {
        char one[2] = { a[i] }, two[2] = { b[i] };
        unsigned long differ = strtoul(one, NULL, 16) ^ strtoul(two, NULL, 16);
        if (differ)
            return 4 * (39 - i) + (differ >= 8 ? 4 : differ >= 4 ? 3 : differ >= 2 ? 2 : 1);
    }
    return 0;
}

/* What the status tells of the network is what kad counted, each under its name. */
static void test_dht_in_status(void **state)
{
    struct fixture *f = *state;
    struct timeline_row r = { .kind = TL_ROW_STATUS };
    ask(f, "{\"tag\":1,\"do\":\"dht_ping\",\"address\":\"127.0.0.1:5002\"}");
    pump(f, 200);
    expect_row(f, 1);
    expect_done(f, 1, 1, 0, NULL);
    const uint8_t junk[] = "no bencode";
    struct addr from;
    assert_int_equal(addr_parse("127.0.0.1:5003", &from), 0);
    assert_int_not_equal(kad_recv(f->kad, f->now, &from, junk, sizeof junk), 0);

    struct kad_stats k;
    kad_stats(f->kad, &k);
    const json_t *dht = json_object_get(row_of(f, &r), "dht"), *table = json_object_get(dht, "table");
    expect_keys(dht, "items entries peers store_bytes lookups dropped refused table lookup in out drops refusals");
    expect_keys(json_object_get(dht, "lookup"), "running done failed success p50_ms p99_ms");
    expect_keys(json_object_get(dht, "refusals"), "signature stale token full form");
    static const char *const ways[] = { "in", "out" };
    for (int way = 0; way < 2; way++) {
        const json_t *kinds = json_object_get(dht, ways[way]);
        expect_keys(kinds, "ping find_node get_peers announce_peer get put sget sput unknown replies errors");
        json_int_t queries = 0;
        for (unsigned i = 0; i < KAD_QUERY_KINDS; i++)
            queries += num(kinds, kad_query_name(i));
        json_int_t all = queries + num(kinds, "replies") + num(kinds, "errors");
        if (way)
            assert_int_equal(all, k.out_datagrams);
        else
            assert_int_equal(queries, k.in_queries);
    }
    assert_true(num(json_object_get(dht, "out"), "ping") >= 1);
    assert_true(num(json_object_get(dht, "in"), "replies") >= 1);
    assert_int_equal(num(table, "live"), k.contacts);
    assert_true(num(table, "buckets") >= 1);
    assert_int_equal(num(json_object_get(dht, "drops"), "malformed"), 1);
    assert_int_equal(num(json_object_get(dht, "drops"), "unexpected"), 0);
    assert_int_equal(num(dht, "dropped"), 1);
}

static void test_dht(void **state)
{
    struct fixture *f = *state;
    char json[512], target[64];
    json_t *row;

    ask(f, "{\"tag\":1,\"do\":\"dht_ping\",\"address\":\"127.0.0.1:5002\"}");
    pump(f, 200);
    row = expect_row(f, 1);
    assert_string_equal(str(row, "address"), "127.0.0.1:5002");
    assert_int_equal(strlen(str(row, "node_id")), 40);
    expect_keys(row, "node_id address rtt_ms");
    expect_done(f, 1, 1, 0, NULL);

    ask(f, "{\"tag\":2,\"do\":\"dht_ping\",\"address\":\"127.0.0.1:9\"}");
    pump(f, 10000);
    expect_done(f, 1, 2, 69, "timeout");
    assert_non_null(strstr(str(f->reply, "message"), "127.0.0.1:9"));

    ask(f, "{\"tag\":3,\"do\":\"peers\"}");
    row = expect_row(f, 3);
    expect_keys(row, "node_id address rtt_ms age_s");
    expect_done(f, 1, 3, 0, NULL);

    ask(f,
        "{\"tag\":4,\"do\":\"dht_find\",\"id\":\"0123456789abcdef0123456789abcdef01234567\",\"trace\":true}");
    pump(f, 3000);
    static const char traced[] = "0123456789abcdef0123456789abcdef01234567";
    int rows = 0, hops = 0;
    while (next(f, 1) && !json_is_true(json_object_get(f->reply, "done"))) {
        row = json_object_get(f->reply, "row");
        expect_keys(row, "node_id address rtt_ms distance_bits");
        if (!json_object_get(row, "hop")) {
            assert_int_equal(num(row, "rank"), ++rows);
            continue;
        }
        expect_keys(row, "closer_bits learned");
        assert_int_equal(num(row, "hop"), ++hops);
        assert_int_equal(rows, 0); /* the way comes before its end */
        assert_int_equal(num(row, "distance_bits"), bits_between(str(row, "node_id"), traced));
        if (hops == 1) {
            char self[2 * KAD_ID_SIZE + 1];
            hex_encode(self, kad_node_id(f->kad), KAD_ID_SIZE);
            int closer = bits_between(self, traced) - (int)num(row, "distance_bits");
            assert_int_equal(num(row, "closer_bits"), closer > 0 ? closer : 0);
        }
    }
    assert_int_equal(num(f->reply, "status"), 0);
    assert_true(hops >= 1);
    assert_true(rows >= 1);

    ask(f, "{\"tag\":5,\"do\":\"dht_put\",\"value\":\"hello \\u00e9\"}");
    pump(f, 5000);
    row = expect_row(f, 5);
    snprintf(target, sizeof target, "%s", str(row, "target"));
    assert_int_equal(num(row, "holders"), 1);
    expect_done(f, 1, 5, 0, NULL);
    snprintf(json, sizeof json, "{\"tag\":6,\"do\":\"dht_get\",\"target\":\"%s\"}", target);
    ask(f, json);
    pump(f, 5000);
    row = expect_row(f, 6);
    assert_string_equal(str(row, "value"), "hello \xc3\xa9");
    assert_null(json_object_get(row, "seq"));
    expect_done(f, 1, 6, 0, NULL);

    ask(f, "{\"tag\":7,\"do\":\"dht_get\",\"target\":\"0123456789abcdef0123456789abcdef01234567\"}");
    pump(f, 5000);
    expect_done(f, 1, 7, 67, "unknown-user");
    assert_null(next(f, 1));
    assert_int_equal(api_running(f->api), 0);
}

static void test_dht_mutable(void **state)
{
    struct fixture *f = *state;
    const uint8_t seed[KEY_SIZE] = { 9 };
    char json[512], target[64], k[65];
    json_t *row;

    ask(f, "{\"tag\":1,\"do\":\"dht_put\",\"value\":\"v\",\"salt\":\"notes\"}");
    expect_done(f, 1, 1, 77, "locked");
    unlocked = identity_from_seed(seed);
    static const char *const ours[] = { "public", "private", "head/0", "connections/3", "following/0" };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        snprintf(json, sizeof json, "{\"tag\":1,\"do\":\"dht_put\",\"value\":\"v\",\"salt\":\"%s\"}",
                 ours[i]);
        ask(f, json);
        expect_done(f, 1, 1, 65, "refused");
    }
    ask(f, "{\"tag\":1,\"do\":\"dht_ping\",\"address\":\"127.0.0.1:5002\"}");
    pump(f, 200);
    expect_row(f, 1);
    expect_done(f, 1, 1, 0, NULL);
    ask(f, "{\"tag\":2,\"do\":\"dht_put\",\"value\":\"one\",\"salt\":\"notes\"}");
    pump(f, 5000);
    row = expect_row(f, 2);
    json_int_t seq = num(row, "seq");
    snprintf(target, sizeof target, "%s", str(row, "target"));
    expect_done(f, 1, 2, 0, NULL);
    f->now.wall_ms -= 3600000; /* the clock went back: the seq must not */
    ask(f, "{\"tag\":3,\"do\":\"dht_put\",\"value\":\"two\",\"salt\":\"notes\"}");
    pump(f, 8000);
    row = expect_row(f, 3);
    assert_true(num(row, "seq") > seq);
    expect_done(f, 1, 3, 0, NULL);
    snprintf(json, sizeof json, "{\"tag\":4,\"do\":\"dht_get\",\"target\":\"%s\",\"salt\":\"notes\"}",
             target);
    ask(f, json);
    pump(f, 5000);
    row = expect_row(f, 4);
    assert_string_equal(str(row, "value"), "two");
    hex_encode(k, unlocked->pk, KEY_SIZE);
    assert_string_equal(str(row, "k"), k);
    assert_true(num(row, "seq") > seq);
    expect_done(f, 1, 4, 0, NULL);

    /* Its key and its salt name it as well; without the salt nothing can be verified. */
    user_id_text(unlocked->pk, k);
    snprintf(json, sizeof json, "{\"tag\":6,\"do\":\"dht_get\",\"id\":\"%s\",\"salt\":\"notes\"}", k);
    ask(f, json);
    hex_encode(k, unlocked->pk, KEY_SIZE);
    snprintf(json, sizeof json, "{\"tag\":7,\"do\":\"dht_get\",\"id\":\"%s\",\"salt\":\"notes\"}", k);
    ask(f, json);
    pump(f, 5000);
    for (int tag = 6; tag <= 7; tag++) {
        row = expect_row(f, tag);
        assert_string_equal(str(row, "value"), "two");
        assert_string_equal(str(row, "target"), target);
        expect_done(f, 1, tag, 0, NULL);
    }
    snprintf(json, sizeof json, "{\"tag\":8,\"do\":\"dht_get\",\"id\":\"%s\"}", k);
    ask(f, json);
    pump(f, 5000);
    expect_done(f, 1, 8, 67, "unknown-user");

    char *long_value = malloc(1200);
    memset(long_value, 'x', 1100);
    snprintf(long_value + 1099, 2, "y");
    json_t *request = json_pack("{s:i, s:s, s:s}", "tag", 5, "do", "dht_put", "value", long_value);
    char *text = json_dumps(request, 0);
    ask(f, text);
    expect_done(f, 1, 5, 65, "too-big");
    free(text);
    json_decref(request);
    free(long_value);
}

#define HASH "\"info_hash\":\"0123456789abcdef0123456789abcdef01234567\""
static void test_dht_peers(void **state)
{
    struct fixture *f = *state;
    json_t *row;

    ask(f, "{\"tag\":1,\"do\":\"dht_ping\",\"address\":\"127.0.0.1:5002\"}");
    pump(f, 200);
    expect_row(f, 1);
    expect_done(f, 1, 1, 0, NULL);
    ask(f, "{\"tag\":2,\"do\":\"dht_peers\"," HASH "}");
    pump(f, 5000);
    expect_done(f, 1, 2, 0, NULL); /* nobody is an answer */
    ask(f, "{\"tag\":3,\"do\":\"dht_announce\"," HASH ",\"port\":7777}");
    pump(f, 5000);
    row = expect_row(f, 3);
    expect_keys(row, "v info_hash port holders");
    assert_string_equal(str(row, "info_hash"), "0123456789abcdef0123456789abcdef01234567");
    assert_int_equal(num(row, "port"), 7777);
    assert_int_equal(num(row, "holders"), 1);
    expect_done(f, 1, 3, 0, NULL);
    ask(f, "{\"tag\":4,\"do\":\"dht_announce\"," HASH "}");
    pump(f, 5000);
    row = expect_row(f, 4);
    assert_true(json_is_null(json_object_get(row, "port")));
    expect_done(f, 1, 4, 0, NULL);
    ask(f, "{\"tag\":5,\"do\":\"dht_peers\"," HASH "}");
    pump(f, 5000);
    bool given = false, seen = false;
    for (int i = 0; i < 2; i++) {
        row = expect_row(f, 5);
        expect_keys(row, "v address");
        given = given || strcmp(str(row, "address"), "127.0.0.1:7777") == 0;
        seen = seen || strcmp(str(row, "address"), "127.0.0.1:5001") == 0;
    }
    assert_true(given && seen);
    expect_done(f, 1, 5, 0, NULL);
    assert_string_equal(str(f->reply, "message"), "named by 1 node");
    assert_int_equal(api_running(f->api), 0);
}

static void test_dht_alone(void **state)
{
    struct fixture *f = *state;
    ask(f, "{\"tag\":1,\"do\":\"dht_find\",\"id\":\"0123456789abcdef0123456789abcdef01234567\"}");
    ask(f, "{\"tag\":2,\"do\":\"peers\"}");
    pump(f, 10000);
    expect_done(f, 1, 2, 0, NULL); /* it needed nobody */
    expect_done(f, 1, 1, 69, "no-peer");
    ask(f, "{\"tag\":3,\"do\":\"dht_peers\"," HASH "}");
    pump(f, 10000);
    expect_done(f, 1, 3, 69, "no-peer");
    ask(f, "{\"tag\":4,\"do\":\"dht_announce\"," HASH "}");
    pump(f, 10000);
    expect_done(f, 1, 4, 69, "no-peer");
    /* an event whose request is gone is taken and dropped; one of timeline's is left to it */
    struct kad_event e = { .kind = KAD_EVENT_FIND, .tag = TIMELINE_TAG_FOREIGN | 12345, .last = true };
    assert_true(api_kad_event(f->api, f->now, &e));
    e.tag = 12345;
    assert_false(api_kad_event(f->api, f->now, &e));
    assert_null(next(f, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secret, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_live_lease_and_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_gone_and_late_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_table_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_and_logout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dht, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dht_in_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dht_mutable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dht_peers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dht_alone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
