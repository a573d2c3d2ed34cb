/* The turn: what happens in which order, what a failed commit does, and that a turn is bounded. timeline and
 * store are recorders here (their functions are defined in this file) so that the order of calls can be read;
 * kad is real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/node.h"
#include "core/err.h"

struct store {
    int puts, fail_puts, fail_commits, loads;
    bool dirty;
};

static struct {
    char trace[4096];
    int out_free, out_promise, answers; /* what timeline has to give */
    int dirty_on_command;
    struct store *store;
    int link_messages, datagrams, requests; /* what the I/O has to give */
    int spent_after; /* rounds until the turn's time is spent; -1: no clock */
    int committed_err;
    bool put_on_commit; /* timeline_committed asks kad for something */
    struct kad *kad;
    int gone_client, unanswered;
    struct span krpc;       /* one datagram that comes in */
    uint8_t token[8];       /* of the last reply that had one */
    uint64_t asked[8];
} w;

static void note(const char *what)
{
    size_t used = strlen(w.trace);
    /* Repeats are one entry with a plus, so that a batch reads as one step. */
    const char *last = strrchr(w.trace, ' ');
    last = last ? last + 1 : w.trace;
    size_t n = strlen(what);
    if (strncmp(last, what, n) == 0 && (last[n] == '\0' || last[n] == '+')) {
        if (last[n] == '\0')
            snprintf(w.trace + used, sizeof w.trace - used, "+");
        return;
    }
    snprintf(w.trace + used, sizeof w.trace - used, "%s%s", used ? " " : "", what);
}

/* ---- store ------------------------------------------------------------------------------------------ */

int store_kad_put(struct store *s, struct span key, struct span value)
{
    (void)key, (void)value;
    s->puts++;
    s->dirty = true;
    return s->fail_puts && s->puts >= s->fail_puts ? CAM_EIO : 0;
}
int store_kad_each(struct store *s, int (*each)(void *, struct span, struct span), void *ctx)
{
    s->loads++;
    return each(ctx, span("no such record", 14), span("damaged", 7)); /* is left out, not fatal */
}
int store_commit(struct store *s)
{
    note("commit");
    s->dirty = false;
    return s->fail_commits > 0 && s->fail_commits-- ? CAM_EIO : 0;
}
void store_rollback(struct store *s)
{
    note("rollback");
    s->dirty = false;
}
bool store_is_dirty(const struct store *s) { return s->dirty; }

/* ---- timeline --------------------------------------------------------------------------------------- */

struct timeline *timeline_new(const struct timeline_config *c, struct kad *k, struct store *s,
                              const struct rng *r, struct now n)
{
    static int something;
    (void)c, (void)s, (void)r, (void)n;
    w.kad = k;
    return (struct timeline *)(void *)&something;
}
void timeline_free(struct timeline *t) { (void)t; }
int timeline_recv(struct timeline *t, struct now n, const struct link_event *e)
{
    (void)t, (void)n, (void)e;
    note("link");
    return CAM_EREFUSED; /* a refused message stops nothing */
}
void timeline_kad_event(struct timeline *t, struct now n, const struct kad_event *e)
{
    (void)t, (void)n, (void)e;
    note("event");
}
void timeline_tick(struct timeline *t, struct now n)
{
    (void)t, (void)n;
    note("tick");
}
uint64_t timeline_deadline_ms(const struct timeline *t)
{
    (void)t;
    return 123456;
}
void timeline_command(struct timeline *t, struct now n, const struct timeline_command *c)
{
    (void)t, (void)n;
    if (c->verb == TL_CANCEL) {
        note("cancel");
        return;
    }
    note("command");
    w.store->dirty = w.dirty_on_command;
    assert_true(w.answers < 8);
    w.asked[w.answers++] = c->client;
}
bool timeline_next_out(struct timeline *t, bool promises, struct link_send *s)
{
    int *left = promises ? &w.out_promise : &w.out_free;
    (void)t;
    if (!*left)
        return false;
    (*left)--;
    memset(s, 0, sizeof *s);
    s->bytes = promises ? span("promise", 7) : span("free", 4);
    return true;
}
void timeline_committed(struct timeline *t, struct now n, int err)
{
    (void)t;
    note(err ? "failed" : "committed");
    w.committed_err = err;
    if (w.put_on_commit) {
        uint8_t id[KAD_ID_SIZE] = { 1 };
        w.put_on_commit = false;
        assert_int_equal(kad_find(w.kad, n, id, false, 5), 0);
    }
}
bool timeline_next_answer(struct timeline *t, struct timeline_answer *a)
{
    (void)t;
    if (w.answers <= w.unanswered)
        return false;
    w.answers--;
    memset(a, 0, sizeof *a);
    a->client = w.asked[w.answers];
    a->last = true;
    a->status = w.committed_err;
    return true;
}
bool timeline_admits(const struct timeline *t, const uint8_t key[LINK_KEY_SIZE])
{
    (void)t;
    return key[0] == 7;
}
const struct identity *timeline_identity(const struct timeline *t)
{
    (void)t;
    return NULL;
}
void timeline_check(const struct timeline *t) { (void)t; }

/* ---- the world -------------------------------------------------------------------------------------- */

static bool udp_next(void *ctx, struct addr *from, struct span *data)
{
    (void)ctx;
    addr_parse("127.0.0.1:99", from);
    if (w.krpc.size) {
        *data = w.krpc;
        w.krpc.size = 0;
        return true;
    }
    if (!w.datagrams)
        return false;
    w.datagrams--;
    *data = span("not krpc", 8);
    note("udp");
    return true;
}
static void udp_send(void *ctx, const struct addr *to, struct span data)
{
    const uint8_t *token = memmem(data.data, data.size, "5:token8:", 9);
    (void)ctx, (void)to;
    if (token)
        memcpy(w.token, token + 9, sizeof w.token);
    bool query = memmem(data.data, data.size, "1:y1:q", 6), error = memmem(data.data, data.size, "1:y1:e", 6);
    note(query ? "query" : error ? "error" : token ? "reply" : "stored");
}
static bool link_next(void *ctx, struct link_event *e)
{
    (void)ctx;
    if (!w.link_messages)
        return false;
    w.link_messages--;
    memset(e, 0, sizeof *e);
    e->bytes = span("x", 1);
    return true;
}
static void link_send(void *ctx, const struct link_send *s)
{
    (void)ctx;
    note(s->bytes.size == 7 ? "send-promise" : "send-free");
}
static bool api_next(void *ctx, uint64_t *client, struct span *text)
{
    (void)ctx;
    if (!w.requests)
        return false;
    w.requests--;
    *client = 3;
    *text = span_str("{\"tag\":1,\"do\":\"post\",\"text\":\"x\"}");
    return true;
}
static int api_send(void *ctx, uint64_t client, struct span text)
{
    char word[32];
    const char *status = memmem(text.data, text.size, "\"status\":", 9);
    (void)ctx;
    snprintf(word, sizeof word, "answer-%d", status ? atoi(status + 9) : -1);
    note(word);
    return (int)client == w.gone_client ? CAM_ENOENT : 0;
}
static bool spent(void *ctx)
{
    (void)ctx;
    return w.spent_after-- <= 0;
}
static void flush(void *ctx)
{
    (void)ctx;
    note("flush");
}

struct fixture {
    struct store store;
    struct node_io io;
    struct rng_seeded seed;
    struct rng rng;
    struct node *node;
    struct now now;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct node_config config = { .kad = { .network = "camellia", .use_v4 = true } };
    memset(&w, 0, sizeof w);
    w.store = &f->store;
    f->io = (struct node_io){ f, udp_next, udp_send, link_next, link_send, api_next, api_send, spent, flush };
    f->rng = rng_seeded(&f->seed, 3);
    f->now = (struct now){ 1000, UINT64_C(1700000000000) };
    assert_int_equal(node_new(&config, &f->store, &f->io, &f->rng, f->now, &f->node), 0);
    assert_int_equal(f->store.loads, 1);
    assert_true(node_busy(f->node)); /* the first turn is due at once */
    node_turn(f->node, f->now);
    w.trace[0] = '\0';
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    node_check(f->node);
    node_free(f->node);
    free(f);
    return 0;
}

static int turn(struct fixture *f)
{
    w.trace[0] = '\0';
    f->now.mono_ms += 10;
    f->now.wall_ms += 10;
    return node_turn(f->node, f->now);
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void test_order(void **state)
{
    struct fixture *f = *state;
    w.datagrams = w.link_messages = w.requests = 1;
    w.dirty_on_command = 1;
    w.out_free = w.out_promise = 1;
    assert_int_equal(turn(f), 0);
    assert_string_equal(w.trace,
                        "udp link command tick send-free flush commit committed send-promise answer-0 flush");
    assert_false(node_busy(f->node));
    assert_true(node_deadline_ms(f->node) <= 123456);
}

static void test_idle_turn_writes_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(turn(f), 0);
    assert_string_equal(w.trace, "tick flush committed flush");
}

static void test_failed_commit(void **state)
{
    struct fixture *f = *state;
    w.requests = 1;
    w.dirty_on_command = 1;
    f->store.fail_commits = 1;
    assert_int_equal(turn(f), CAM_EIO);
    /* Callers get 74, the network's records are read back from disk. */
    assert_string_equal(w.trace, "command tick flush commit failed answer-74 flush");
    assert_int_equal(f->store.loads, 2);
    w.requests = 1;
    assert_int_equal(turn(f), 0); /* and the node works on */
    assert_non_null(strstr(w.trace, "commit committed answer-0"));
}

static void test_failed_write_rolls_back(void **state)
{
    struct fixture *f = *state;
    f->store.puts = 0;
    f->store.fail_puts = 1;
    kad_flush(node_kad(f->node), f->now);
    assert_int_equal(turn(f), CAM_EIO);
    assert_string_equal(w.trace, "tick flush rollback failed flush");
    f->store.fail_puts = 0;
    assert_int_equal(turn(f), 0);
}

/* A datagram of a stranger's, and what a turn makes of it. */
static int hears(struct fixture *f, const char *text, size_t size)
{
    static uint8_t buf[512];
    memcpy(buf, text, size);
    uint8_t *token = memmem(buf, size, "5:token8:", 9);
    if (token)
        memcpy(token + 9, w.token, sizeof w.token);
    w.krpc = span(buf, size);
    return turn(f);
}
#define HEARS(f, text) hears(f, text, sizeof(text) - 1)
#define FROM "d1:ad2:id20:0123456789abcdefghij"
#define ABOUT "9:info_hash20:mnopqrstuvwxyz123456"
#define ASK_PEERS FROM ABOUT "e1:q9:get_peers1:t2:aa1:y1:qe"
#define ANNOUNCE FROM ABOUT "4:porti7e5:token8:????????e1:q13:announce_peer1:t2:aa1:y1:qe"
#define PUT FROM "5:token8:????????1:v4:spame1:q3:put1:t2:aa1:y1:qe"
#define SPUT "d1:ad5:depthi0e2:id20:0123456789abcdefghij" "1:k32:01234567890123456789012345678901" "4:root20:mnopqrstuvwxyz123456" \
    "3:seqi1e3:sig64:0123456789012345678901234567890123456789012345678901234567890123" \
    "5:token8:????????1:vdee1:q4:sput1:t2:aa1:y1:qe"

/* What says "stored" leaves after the commit, all else before it. */
static void test_stored_is_on_disk(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(HEARS(f, ASK_PEERS), 0);
    assert_non_null(strstr(w.trace, "tick reply"));
    f->now.mono_ms += 1000; /* the table and our id are saved by now */
    turn(f);
    assert_int_equal(HEARS(f, ANNOUNCE), 0);
    assert_string_equal(w.trace, "tick flush commit stored committed flush");
    assert_int_equal(HEARS(f, PUT), 0);
    assert_string_equal(w.trace, "tick flush commit stored committed flush");
    assert_int_equal(HEARS(f, PUT), 0); /* it is there already, and lives longer from now */
    assert_string_equal(w.trace, "tick flush commit stored committed flush");
    assert_int_equal(HEARS(f, SPUT), 0); /* a refusal promises nothing */
    assert_string_equal(w.trace, "tick error flush committed flush");
}

static void test_not_stored_not_said(void **state)
{
    struct fixture *f = *state;
    struct kad_stats k;
    HEARS(f, ASK_PEERS);
    f->store.fail_commits = 1;
    assert_int_equal(HEARS(f, ANNOUNCE), CAM_EIO);
    assert_null(strstr(w.trace, "stored"));
    turn(f);
    assert_null(strstr(w.trace, "stored")); /* nor later */
    kad_stats(node_kad(f->node), &k);
    assert_int_equal(k.peers, 0);
    f->store.puts = 0;
    f->store.fail_puts = 1; /* the disk fails before the commit */
    assert_int_equal(HEARS(f, PUT), CAM_EIO);
    assert_null(strstr(w.trace, "stored"));
    f->store.fail_puts = 0;
    assert_int_equal(HEARS(f, PUT), 0);
    assert_non_null(strstr(w.trace, "commit stored"));
    /* And when the last commit of all fails, it is not said either. */
    uint8_t buf[512];
    struct addr from;
    addr_parse("127.0.0.1:99", &from);
    memcpy(buf, ANNOUNCE, sizeof(ANNOUNCE) - 1);
    memcpy((uint8_t *)memmem(buf, sizeof buf, "token8:", 7) + 7, w.token, sizeof w.token);
    kad_recv(node_kad(f->node), f->now, &from, buf, sizeof(ANNOUNCE) - 1);
    f->store.fail_commits = 1;
    w.trace[0] = '\0';
    assert_int_equal(node_close(f->node, f->now), CAM_EIO);
    assert_null(strstr(w.trace, "stored"));
}

static void test_turn_is_bounded(void **state)
{
    struct fixture *f = *state;
    w.link_messages = 10 * NODE_BATCH_MAX;
    w.spent_after = 2;
    assert_int_equal(turn(f), 0);
    assert_int_equal(w.link_messages, 7 * NODE_BATCH_MAX); /* three rounds, then its time was spent */
    assert_true(node_busy(f->node));
    w.spent_after = 1000000;
    w.link_messages = 1000 * NODE_BATCH_MAX;
    turn(f);
    assert_int_equal(w.link_messages,
                     (1000 - NODE_ROUNDS_MAX) * NODE_BATCH_MAX); /* whatever the clock says */
    f->io.spent = NULL; /* the simulator's turns are one round */
    turn(f);
    assert_int_equal(w.link_messages, (1000 - NODE_ROUNDS_MAX - 1) * NODE_BATCH_MAX);
    w.link_messages = 5;
    turn(f);
    assert_int_equal(w.link_messages, 0);
    assert_false(node_busy(f->node));
}

static void test_one_flood_does_not_starve(void **state)
{
    struct fixture *f = *state;
    f->io.spent = NULL;
    w.datagrams = 100 * NODE_BATCH_MAX;
    w.link_messages = w.requests = 3;
    turn(f);
    assert_int_equal(w.link_messages, 0);
    assert_int_equal(w.requests, 0);
}

static void test_work_after_commit_runs_at_once(void **state)
{
    struct fixture *f = *state;
    w.put_on_commit = true; /* a find with nobody to ask ends in an event right away */
    turn(f);
    turn(f);
    assert_non_null(strstr(w.trace, "tick"));
    /* The event rose in one of the two turns, and the loop was told not to wait in between. */
    w.put_on_commit = true;
    turn(f);
    bool rose = strstr(w.trace, "event") != NULL;
    assert_true(rose ? node_busy(f->node) : node_deadline_ms(f->node) <= f->now.mono_ms + 1000);
}

static void test_client_that_is_gone(void **state)
{
    struct fixture *f = *state;
    f->io.spent = NULL;
    w.requests = 3;
    w.unanswered = 2;
    w.gone_client = 3;
    turn(f);
    assert_non_null(strstr(w.trace, "answer-0 cancel"));
    assert_true(node_has_room(f->node));
}

static void test_close_writes_the_table(void **state)
{
    struct fixture *f = *state;
    f->store.puts = 0;
    w.trace[0] = '\0';
    assert_int_equal(node_close(f->node, f->now), 0);
    assert_true(f->store.puts > 0);
    assert_non_null(strstr(w.trace, "commit"));
    f->store.fail_commits = 1;
    kad_flush(node_kad(f->node), f->now);
    assert_int_equal(node_close(f->node, f->now), CAM_EIO);
}

static void test_admission(void **state)
{
    struct fixture *f = *state;
    uint8_t key[LINK_KEY_SIZE] = { 7 };
    assert_true(node_admits(f->node, key));
    key[0] = 8;
    assert_false(node_admits(f->node, key));
    assert_ptr_equal(node_kad(f->node), w.kad);
    assert_non_null(node_timeline(f->node));
    assert_false(node_stopping(f->node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle_turn_writes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write_rolls_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stored_is_on_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_stored_not_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turn_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_flood_does_not_starve, setup, teardown),
        cmocka_unit_test_setup_teardown(test_work_after_commit_runs_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_writes_the_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_admission, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
