/* The simulator: whole nodes under virtual time, doing what users do while the network and the machines fail, and
 * the checker over what they saw. One seed is one run, bit for bit.
 *
 *   sim --nodes N --seed S --minutes M     one run with a report
 *   sim --seeds                            the seeds that every commit must pass, and the checker against bad histories
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim_check.h"
#include "tests/sim_net.h"

#define NODES_MAX 200
#define FOLLOWS_EACH 3
#define SETTLE_MS 3000
#define HEAL_MS (12 * 60 * 1000) /* longer than two of the 5-minute comparisons with other followers */
#define PAGE 1000

enum call_kind { CALL_OTHER, CALL_REGISTER, CALL_FOLLOW, CALL_POST, CALL_READ };

struct call { /* a request under way; found by its tag */
    enum call_kind kind;
    size_t user, other, post;
    bool done, final;
    int status;
    uint64_t id, seq;
};

struct user {
    bool registered, away;
    uint64_t back_ms;
};

struct world {
    struct sim *sim;
    struct check *check;
    size_t nodes;
    struct user users[NODES_MAX];
    struct call *calls;
    size_t cap_calls;
    size_t posts, crashes, partitions;
};

static struct call *call_of(struct world *w, uint64_t tag)
{
    while (tag >= w->cap_calls) {
        size_t cap = w->cap_calls ? 2 * w->cap_calls : 256;
        w->calls = realloc(w->calls, cap * sizeof *w->calls);
        memset(w->calls + w->cap_calls, 0, (cap - w->cap_calls) * sizeof *w->calls);
        w->cap_calls = cap;
    }
    return &w->calls[tag];
}

static struct call *call(struct world *w, size_t user, enum call_kind kind, json_t *request)
{
    uint64_t tag = sim_call(w->sim, user, request);
    struct call *c = call_of(w, tag);
    *c = (struct call){.kind = kind, .user = user};
    return c;
}

static uint64_t json_id(json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text ? strtoull(text, NULL, 10) : 0;
}

static void on_reply(void *ctx, size_t node, uint64_t tag, json_t *row, bool done, int status)
{
    struct world *w = ctx;
    struct call *c = call_of(w, tag);
    (void)node;
    if (row && c->kind == CALL_POST) {
        c->id = json_id(row, "id");
        c->seq = (uint64_t)json_integer_value(json_object_get(row, "seq"));
    }
    if (row && c->kind == CALL_READ && json_object_get(row, "text"))
        check_read(w->check, c->user, sim_user_of(w->sim, json_string_value(json_object_get(row, "author_id"))),
                   json_id(row, "id"), (uint64_t)json_integer_value(json_object_get(row, "seq")),
                   json_string_value(json_object_get(row, "text")));
    if (!done)
        return;
    c->done = true;
    c->status = status;
    switch (c->kind) {
    case CALL_REGISTER: w->users[c->user].registered = status == 0 || status == 75; break;
    case CALL_FOLLOW: if (status == 0) check_follow(w->check, c->user, c->other); break;
    case CALL_POST: if (status == 0) check_accept(w->check, c->post, c->id, c->seq); break;
    case CALL_READ: check_read_end(w->check, c->user, c->final); break;
    case CALL_OTHER: break;
    }
}

/* ---- what users do --------------------------------------------------------------------------------------- */

static void unlock(struct world *w, size_t user, const char *verb)
{
    char name[16], secret[2 * SECRET_SIZE + 1];
    snprintf(name, sizeof name, "u%zu", user);
    hex_encode(secret, sim_identity(w->sim, user)->sk, SECRET_SIZE);
    call(w, user, strcmp(verb, "register") == 0 ? CALL_REGISTER : CALL_OTHER,
         json_pack("{s:s, s:s, s:s, s:i}", "do", verb, "name", name, "secret", secret, "device", 0));
}

static void post(struct world *w, size_t user)
{
    char text[48];
    snprintf(text, sizeof text, "post %zu, by u%zu", ++w->posts, user);
    size_t number = check_attempt(w->check, user, text);
    call(w, user, CALL_POST, json_pack("{s:s, s:s}", "do", "post", "text", text))->post = number;
}

static void follow(struct world *w, size_t user, size_t other)
{
    char id[USER_ID_SIZE];
    user_id_text(sim_identity(w->sim, other)->pk, id);
    check_follow_asked(w->check, user, other);
    call(w, user, CALL_FOLLOW, json_pack("{s:s, s:s}", "do", "follow", "who", id))->other = other;
}

static void read_timeline(struct world *w, size_t user, bool final)
{
    check_read_begin(w->check, user);
    call(w, user, CALL_READ, json_pack("{s:s, s:i}", "do", "timeline", "n", PAGE))->final = final;
    sim_run(w->sim, 100);
}

static void noted_away(struct world *w, size_t user)
{
    w->crashes++;
    w->users[user].away = true;
    w->users[user].back_ms = sim_now_ms(w->sim) + 2000 + sim_below(w->sim, 60000);
}

static void crash(struct world *w, size_t user)
{
    if (!sim_is_up(w->sim, user))
        return; /* in the middle of a turn, already */
    sim_crash(w->sim, user);
    noted_away(w, user);
}

static void come_back(struct world *w, size_t user)
{
    sim_start(w->sim, user);
    w->users[user].away = false;
    unlock(w, user, w->users[user].registered ? "login" : "register");
}

static void toggle_partition(struct world *w, bool *cut)
{
    bool sides[NODES_MAX];
    for (size_t i = 0; i < w->nodes; i++)
        sides[i] = sim_below(w->sim, 2);
    *cut = !*cut;
    w->partitions += *cut;
    sim_partition(w->sim, *cut ? sides : NULL);
}

/* ---- a run ----------------------------------------------------------------------------------------------- */

static void begin(struct world *w)
{
    for (size_t i = 0; i < w->nodes; i++) {
        sim_start(w->sim, i);
        sim_run(w->sim, 200);
    }
    for (size_t i = 0; i < w->nodes; i++)
        unlock(w, i, "register");
    sim_run(w->sim, SETTLE_MS);
    for (size_t i = 0; i < w->nodes; i++)
        for (size_t f = 1; f <= FOLLOWS_EACH && f < w->nodes; f++)
            follow(w, i, (i + f * 7 % w->nodes + (f * 7 % w->nodes == 0)) % w->nodes);
    sim_run(w->sim, SETTLE_MS);
}

static void fail_and_post(struct world *w, uint64_t minutes)
{
    uint64_t end = sim_now_ms(w->sim) + minutes * 60000;
    bool cut = false;
    while (sim_now_ms(w->sim) < end) {
        sim_run(w->sim, 100 + sim_below(w->sim, 1900));
        for (size_t i = 0; i < w->nodes; i++)
            if (!w->users[i].away && !sim_is_up(w->sim, i))
                noted_away(w, i);
        size_t user = sim_below(w->sim, (uint32_t)w->nodes);
        uint32_t dice = sim_below(w->sim, 100);
        if (w->users[user].away) {
            if (sim_now_ms(w->sim) >= w->users[user].back_ms)
                come_back(w, user);
        } else if (dice < 60) {
            for (uint32_t n = 1 + sim_below(w->sim, 3); n > 0; n--)
                post(w, user);
            if (dice < 3)
                crash(w, user); /* before `post` is read */
            else if (dice < 15)
                sim_crash_within(w->sim, user, 1 + sim_below(w->sim, 12)); /* about when it answers */
        } else if (dice < 66) {
            crash(w, user);
        } else if (dice < 70) {
            size_t other = sim_below(w->sim, (uint32_t)w->nodes);
            if (other != user)
                follow(w, user, other);
        } else if (dice < 72) {
            toggle_partition(w, &cut);
        } else if (dice < 80) {
            read_timeline(w, user, false);
        }
    }
}

static void heal_and_read(struct world *w)
{
    sim_partition(w->sim, NULL);
    sim_set_loss(w->sim, 0.01, 0);
    for (size_t i = 0; i < w->nodes; i++)
        sim_crash_within(w->sim, i, 0);
    for (size_t i = 0; i < w->nodes; i++)
        if (!sim_is_up(w->sim, i))
            come_back(w, i);
    sim_run(w->sim, HEAL_MS);
    for (size_t i = 0; i < w->nodes; i++)
        read_timeline(w, i, true);
}

static size_t run(uint64_t seed, size_t nodes, uint64_t minutes, char ret_hash[65])
{
    static struct world world;
    struct world *w = &world;
    struct sim_options options = {.seed = seed, .nodes = nodes, .loss = 0.05, .duplication = 0.01, .latency_ms = 20,
                                  .jitter_ms = 60, .reply = on_reply, .ctx = w};
    memset(w, 0, sizeof *w);
    w->nodes = nodes;
    w->check = check_new(nodes);
    w->sim = sim_new(&options);
    begin(w);
    fail_and_post(w, minutes);
    heal_and_read(w);
    sim_hash(w->sim, ret_hash);
    size_t bad = check_violations(w->check);
    if (check_accepted(w->check) == 0)
        bad++; /* a run in which nothing was posted proves nothing */
    printf("  seed %llu: %zu nodes, %zu posts accepted of %zu, %zu crashes, %zu partitions, %llu events, %zu violations, %.16s\n",
           (unsigned long long)seed, nodes, check_accepted(w->check), w->posts, w->crashes, w->partitions,
           (unsigned long long)sim_events(w->sim), bad, ret_hash);
    check_report(w->check, stdout);
    sim_free(w->sim);
    check_free(w->check);
    free(w->calls);
    return bad;
}

/* ---- the checker itself, against histories that it must reject -------------------------------------------- */

enum bad { GOOD, LOST, TWICE, FORGED, CHANGED, DISORDER, STRANGER, ID_FALLS, BADS };

static size_t violations_of(enum bad bad)
{
    struct check *c = check_new(3);
    check_follow(c, 1, 0);
    size_t first = check_attempt(c, 0, "one"), second = check_attempt(c, 0, "two");
    check_accept(c, first, 10, 1);
    check_accept(c, second, bad == ID_FALLS ? 9 : 20, 2);
    check_attempt(c, 2, "elsewhere");
    check_read_begin(c, 1);
    if (bad == STRANGER)
        check_read(c, 1, 2, 30, 1, "elsewhere");
    if (bad == DISORDER)
        check_read(c, 1, 0, 10, 1, "one");
    if (bad == FORGED)
        check_read(c, 1, 0, 25, 3, "never written");
    if (bad != LOST)
        check_read(c, 1, 0, bad == ID_FALLS ? 9 : bad == CHANGED ? 21 : 20, 2, "two");
    if (bad == TWICE)
        check_read(c, 1, 0, 20, 2, "two");
    if (bad != DISORDER)
        check_read(c, 1, 0, bad == ID_FALLS ? 8 : 10, 1, bad == ID_FALLS ? "two" : "one");
    check_read_end(c, 1, true);
    size_t n = check_violations(c);
    check_free(c);
    return n;
}

static size_t check_the_checker(void)
{
    static const char *const name[BADS] = {"good", "lost", "twice", "forged", "changed", "disorder", "stranger", "id falls"};
    size_t failed = 0;
    for (int b = GOOD; b < BADS; b++)
        if ((violations_of(b) > 0) != (b != GOOD)) {
            printf("  the checker is wrong about a history that is %s\n", name[b]);
            failed++;
        }
    return failed;
}

static int run_seeds(void)
{
    enum { SEEDS = 4, NODES = 10, MINUTES = 8 };
    char hash[65], again[65];
    size_t passed = 0, failed = check_the_checker() > 0;
    passed += !failed;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        if (run(seed, NODES, MINUTES, hash))
            failed++;
        else
            passed++;
    }
    run(SEEDS, NODES, MINUTES, again);
    if (strcmp(hash, again) != 0) {
        printf("  seed %d does not reproduce its run\n", SEEDS);
        failed++;
    } else
        passed++;
    printf("%zu passed, %zu failed\n", passed, failed);
    return failed > 0;
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return otherwise;
}

int main(int argc, char **argv)
{
    char hash[65];
    if (sodium_init() < 0)
        return 1;
    if (argc == 2 && strcmp(argv[1], "--seeds") == 0)
        return run_seeds();
    uint64_t nodes = option(argc, argv, "--nodes", 10);
    if (nodes < 2 || nodes > NODES_MAX) {
        fprintf(stderr, "sim: --nodes from 2 to %d\n", NODES_MAX);
        return 64;
    }
    return run(option(argc, argv, "--seed", 1), nodes, option(argc, argv, "--minutes", 10), hash) > 0;
}
