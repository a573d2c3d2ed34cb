/* Tokens and budgets: who may make this node do how much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kad/guard.h"

#define MINUTE 60000

struct world {
    struct rng_seeded seeded;
    struct rng rng;
    struct kad_guard *g;
    struct now now;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->rng = rng_seeded(&w->seeded, 5);
    w->g = kad_guard_new(&w->rng);
    w->now = (struct now){1000000, 1785600000000};
    *state = w;
    return w->g ? 0 : -1;
}

static int teardown(void **state)
{
    struct world *w = *state;
    kad_guard_check(w->g);
    kad_guard_free(w->g);
    free(w);
    return 0;
}

static struct addr addr(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static void pass(struct world *w, uint64_t ms)
{
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
}

static bool token_ok(struct world *w, const struct addr *a, const uint8_t token[KAD_TOKEN_SIZE])
{
    return kad_guard_token_ok(w->g, w->now, a, span(token, KAD_TOKEN_SIZE));
}

static void test_tokens(void **state)
{
    struct world *w = *state;
    struct addr a = addr("9.8.7.6:1000"), same_ip = addr("9.8.7.6:2000"), other = addr("9.8.7.5:1000");
    uint8_t token[KAD_TOKEN_SIZE], later[KAD_TOKEN_SIZE];
    w->now.wall_ms -= w->now.wall_ms % KAD_TOKEN_EPOCH_MS; /* the first millisecond of an epoch */
    kad_guard_token(w->g, w->now, &a, token);
    assert_false(kad_guard_is_proven(w->g, w->now, &a));
    assert_true(token_ok(w, &a, token));
    assert_true(kad_guard_is_proven(w->g, w->now, &a));
    assert_true(token_ok(w, &same_ip, token));
    assert_false(token_ok(w, &other, token));
    assert_false(kad_guard_is_proven(w->g, w->now, &other));

    for (size_t bit = 0; bit < 8 * KAD_TOKEN_SIZE; bit++) {
        token[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(token_ok(w, &a, token));
        token[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_false(kad_guard_token_ok(w->g, w->now, &a, span(token, KAD_TOKEN_SIZE - 1)));
    assert_false(kad_guard_token_ok(w->g, w->now, &a, span(NULL, 0)));
    uint8_t longer[KAD_TOKEN_SIZE + 1] = {0};
    memcpy(longer, token, KAD_TOKEN_SIZE);
    assert_false(kad_guard_token_ok(w->g, w->now, &a, span(longer, sizeof longer)));

    pass(w, 2 * KAD_TOKEN_EPOCH_MS - 1);
    assert_true(token_ok(w, &a, token)); /* the previous epoch's is good to its last millisecond */
    kad_guard_token(w->g, w->now, &a, later);
    assert_memory_not_equal(token, later, KAD_TOKEN_SIZE);
    pass(w, 1);
    assert_false(token_ok(w, &a, token));
    assert_true(token_ok(w, &a, later));
}

static void test_tokens_outlive_a_restart_with_their_secret(void **state)
{
    struct world *w = *state;
    struct addr a = addr("[2001:db8::1]:1000");
    uint8_t token[KAD_TOKEN_SIZE], secret[KAD_GUARD_SECRET_SIZE];
    kad_guard_token(w->g, w->now, &a, token);
    kad_guard_secret(w->g, secret);
    struct kad_guard *again = kad_guard_new(&w->rng);
    assert_false(kad_guard_token_ok(again, w->now, &a, span(token, KAD_TOKEN_SIZE)));
    kad_guard_set_secret(again, secret);
    w->now.mono_ms = 5; /* another boot */
    assert_true(kad_guard_token_ok(again, w->now, &a, span(token, KAD_TOKEN_SIZE)));
    kad_guard_free(again);
}

static void test_local_ranges_are_told_apart_by_port(void **state)
{
    struct world *w = *state;
    static const char *const pairs[][2] = {{"127.0.0.1:1", "127.0.0.1:2"},
                                           {"10.1.2.3:1", "10.1.2.3:2"},
                                           {"192.168.0.9:1", "192.168.0.9:2"},
                                           {"[::1]:1", "[::1]:2"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct addr a = addr(pairs[i][0]), b = addr(pairs[i][1]);
        uint8_t token[KAD_TOKEN_SIZE];
        kad_guard_token(w->g, w->now, &a, token);
        assert_true(token_ok(w, &a, token));
        assert_false(token_ok(w, &b, token));
        assert_false(kad_guard_is_proven(w->g, w->now, &b));
    }
    struct addr a = addr("[2001:db8:1:2::1]:1"), neighbour = addr("[2001:db8:1:2:ffff::9]:7"),
                far = addr("[2001:db8:1:3::1]:1");
    kad_guard_prove(w->g, w->now, &a);
    assert_true(kad_guard_is_proven(w->g, w->now, &neighbour)); /* the same /64 */
    assert_false(kad_guard_is_proven(w->g, w->now, &far));
}

static void test_unproven_gets_its_burst_then_what_it_sent(void **state)
{
    struct world *w = *state;
    struct addr a = addr("1.2.3.4:5");
    assert_int_equal(kad_guard_room(w->g, w->now, &a), KAD_GUARD_BURST_BYTES);
    assert_true(kad_guard_recv(w->g, w->now, &a, 100));
    assert_int_equal(kad_guard_room(w->g, w->now, &a), KAD_GUARD_BURST_BYTES + 100);
    assert_false(kad_guard_send(w->g, w->now, &a, KAD_GUARD_BURST_BYTES + 101));
    assert_true(kad_guard_send(w->g, w->now, &a, KAD_GUARD_BURST_BYTES + 100));
    assert_false(kad_guard_send(w->g, w->now, &a, 1));
    assert_true(kad_guard_recv(w->g, w->now, &a, 70));
    assert_false(kad_guard_send(w->g, w->now, &a, 71));
    assert_true(kad_guard_send(w->g, w->now, &a, 70));
    pass(w, MINUTE / 2);
    size_t room = kad_guard_room(w->g, w->now, &a);
    assert_in_range(room, KAD_GUARD_REFILL_BYTES / 2 - 1, KAD_GUARD_REFILL_BYTES / 2);
    pass(w, 10 * MINUTE);
    assert_int_equal(kad_guard_room(w->g, w->now, &a),
                     KAD_GUARD_BURST_BYTES); /* not more for waiting longer */
}

/* The promise itself, over any pattern: out <= in + 2 KiB in the first minute, and 640 bytes in each that follows. */
static void test_bytes_out_stay_bounded(void **state)
{
    struct world *w = *state;
    struct addr a = addr("4.4.4.4:4");
    uint64_t in = 0, out = 0, start_ms = w->now.mono_ms;
    for (int i = 0; i < 20000; i++) {
        size_t query = rng_below(&w->rng, 200), reply = rng_below(&w->rng, 1300);
        if (kad_guard_recv(w->g, w->now, &a, query))
            in += query;
        if (kad_guard_send(w->g, w->now, &a, reply))
            out += reply;
        pass(w, rng_below(&w->rng, 40));
        if (i % 100 == 0)
            kad_guard_tick(w->g, w->now);
        uint64_t minutes_up = (w->now.mono_ms - start_ms) / MINUTE + 1;
        assert_true(out <= in + KAD_GUARD_BURST_BYTES + KAD_GUARD_REFILL_BYTES * minutes_up);
        assert_true(minutes_up > 1 || out <= in + 2048);
    }
    assert_true(out > in / 2); /* and the budget is there to be used */
}

static void test_made_up_addresses_gain_nothing(void **state)
{
    struct world *w = *state;
    struct addr victim = addr("5.5.5.5:5"), friend_addr = addr("6.6.6.6:6");
    kad_guard_prove(w->g, w->now, &friend_addr);
    uint64_t out = 0;
    /* Between any two queries in the victim's name come as many others as make the table forget it. */
    for (uint32_t round = 0; round < 20; round++) {
        for (int i = 0; i < 40; i++)
            if (kad_guard_send(w->g, w->now, &victim, 1000))
                out += 1000;
        for (uint32_t i = 0; i < KAD_GUARD_ADDRESSES_MAX + 10; i++) {
            struct addr spoofed = {.family = 4, .ip = {11, 0, 0, 0}, .port = 9};
            put_be32(spoofed.ip, 0x0b000000 + round * 5000 + i);
            kad_guard_recv(w->g, w->now, &spoofed, 100);
            kad_guard_send(w->g, w->now, &spoofed, 2000);
        }
        assert_true(kad_guard_addresses(w->g) <= 2 * KAD_GUARD_ADDRESSES_MAX);
        pass(w, 1000);
    }
    assert_true(out <= 2 * KAD_GUARD_BURST_BYTES);                /* not once a round */
    assert_true(kad_guard_is_proven(w->g, w->now, &friend_addr)); /* who proved itself was not pushed out */
    kad_guard_check(w->g);
    pass(w, KAD_GUARD_IDLE_MS + 10000);
    kad_guard_tick(w->g, w->now);
    assert_int_equal(kad_guard_addresses(w->g), 1);
    assert_int_equal(kad_guard_room(w->g, w->now, &victim), KAD_GUARD_BURST_BYTES); /* peace again */
}

static void test_proof_is_generous_and_lapses(void **state)
{
    struct world *w = *state;
    struct addr a = addr("7.7.7.7:7");
    kad_guard_prove(w->g, w->now, &a);
    size_t sent = 0;
    while (kad_guard_send(w->g, w->now, &a, 1232))
        sent += 1232;
    assert_true(sent > 1000 * 1000 && sent <= 4 * KAD_GUARD_PROVEN_BYTES_S);
    pass(w, 1000);
    size_t room = kad_guard_room(w->g, w->now, &a);
    assert_in_range(room, KAD_GUARD_PROVEN_BYTES_S - 2000, KAD_GUARD_PROVEN_BYTES_S + 2000);
    pass(w, KAD_GUARD_PROVEN_MS - 1001);
    assert_true(kad_guard_is_proven(w->g, w->now, &a));
    pass(w, 1);
    assert_false(kad_guard_is_proven(w->g, w->now, &a));
    assert_int_equal(kad_guard_room(w->g, w->now, &a), KAD_GUARD_BURST_BYTES);
    kad_guard_prove(w->g, w->now, &a);
    assert_true(kad_guard_room(w->g, w->now, &a) > 100 * KAD_GUARD_BURST_BYTES);
}

static void test_floods(void **state)
{
    struct world *w = *state;
    struct addr a = addr("8.8.8.8:8"), b = addr("8.8.8.9:8");
    uint32_t n = 0;
    while (kad_guard_recv(w->g, w->now, &a, 50))
        n++;
    assert_int_equal(n, 2 * KAD_GUARD_DATAGRAMS_S);
    assert_true(kad_guard_recv(w->g, w->now, &b, 50)); /* another's service does not suffer */
    pass(w, 1000);
    for (n = 0; kad_guard_recv(w->g, w->now, &a, 50); n++)
        ;
    assert_int_equal(n, KAD_GUARD_DATAGRAMS_S);

    for (n = 0; kad_guard_store(w->g, w->now, &a); n++)
        ;
    assert_int_equal(n, KAD_GUARD_STORES_BURST);
    pass(w, 1000);
    for (n = 0; kad_guard_store(w->g, w->now, &a); n++)
        ;
    assert_int_equal(n, KAD_GUARD_STORES_S);
    for (n = 0; kad_guard_store(w->g, w->now, &b); n++) /* a bad signature costs as much as many puts */
        kad_guard_bad_store(w->g, w->now, &b);
    assert_in_range(n, KAD_GUARD_STORES_BURST / (KAD_GUARD_BAD_STORE + 1),
                    KAD_GUARD_STORES_BURST / KAD_GUARD_BAD_STORE + 1);
    n = 0;
    for (unsigned ms = 0; ms < 10000; ms += 5) { /* then it has one of them verified for each KAD_GUARD_BAD_STORE puts */
        pass(w, 5);
        if (!kad_guard_store(w->g, w->now, &b))
            continue;
        kad_guard_bad_store(w->g, w->now, &b);
        n++;
    }
    assert_in_range(n, 9, 11);
}

static void test_idle_costs_nothing(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 3000; i++) {
        struct addr a = {.family = 4, .port = 1};
        put_be32(a.ip, 0x0c000000 + i);
        if (i % 3)
            kad_guard_recv(w->g, w->now, &a, 10);
        else
            kad_guard_prove(w->g, w->now, &a);
        pass(w, 1);
    }
    assert_int_equal(kad_guard_addresses(w->g), 3000);
    kad_guard_check(w->g);
    pass(w, KAD_GUARD_IDLE_MS + 10000);
    kad_guard_tick(w->g, w->now);
    assert_int_equal(kad_guard_addresses(w->g), 1000);
    kad_guard_check(w->g);
    pass(w, KAD_GUARD_PROVEN_MS);
    kad_guard_tick(w->g, w->now);
    assert_int_equal(kad_guard_addresses(w->g), 0);
}

/* Every call in any order with the clock going on: the structure holds. */
static void test_random_calls(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 60000; i++) {
        struct addr a = {.family = 4, .port = 1};
        put_be32(a.ip, 0x0d000000 + rng_below(&w->rng, 9000));
        switch (rng_below(&w->rng, 8)) {
        case 0:
            kad_guard_prove(w->g, w->now, &a);
            break;
        case 1:
            kad_guard_send(w->g, w->now, &a, rng_below(&w->rng, 3000));
            break;
        case 2:
            kad_guard_store(w->g, w->now, &a);
            break;
        case 3:
            kad_guard_bad_store(w->g, w->now, &a);
            break;
        case 4:
            kad_guard_tick(w->g, w->now);
            break;
        default:
            kad_guard_recv(w->g, w->now, &a, rng_below(&w->rng, 3000));
            break;
        }
        pass(w, rng_below(&w->rng, 200) == 0 ? 20000 : 5);
        if (i % 5000 == 0)
            kad_guard_check(w->g);
    }
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_tokens),
        WITH(test_tokens_outlive_a_restart_with_their_secret),
        WITH(test_local_ranges_are_told_apart_by_port),
        WITH(test_unproven_gets_its_burst_then_what_it_sent),
        WITH(test_bytes_out_stay_bounded),
        WITH(test_made_up_addresses_gain_nothing),
        WITH(test_proof_is_generous_and_lapses),
        WITH(test_floods),
        WITH(test_idle_costs_nothing),
        WITH(test_random_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
