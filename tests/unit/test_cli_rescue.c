/* Looking for others on the public network: when it opens and closes, who is found, what is remembered. The public
 * network is a few plain kads in this process, under virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "cli/rescue.h"
#include "core/err.h"
#include "core/hash.h"

#define CITIZENS 12
#define LOST_MAX 3
#define AFTER_MS 5000

struct lost { /* a node that has nobody */
    struct rescue *rescue;
    struct addr at;                        /* of its socket on the public network */
    struct addr found[RESCUE_FOUND_MAX * 4];
    size_t n_found;
    uint8_t table[4000];                   /* as on its disk */
    size_t table_size;
};

struct world {
    struct now now;
    struct rng_seeded seeded;
    struct rng rng;
    struct kad *citizens[CITIZENS];
    struct lost lost[LOST_MAX];
    int n_lost;
    bool cut;                              /* nothing reaches the lost */
};

static struct addr at_port(uint16_t port)
{
    return (struct addr){ .family = 4, .ip = { 127, 0, 0, 1 }, .port = port };
}

static void deliver(struct world *w, const struct addr *from, const struct kad_datagram *d)
{
    uint8_t copy[KAD_DATAGRAM_MAX];
    memcpy(copy, d->data, d->size);
    for (int i = 0; i < CITIZENS; i++)
        if (d->to.port == 7000 + i)
            kad_recv(w->citizens[i], w->now, from, copy, d->size);
    for (int i = 0; i < w->n_lost && !w->cut; i++)
        if (d->to.port == w->lost[i].at.port)
            rescue_recv(w->lost[i].rescue, w->now, from, copy, d->size);
}

static void drain_lost(struct world *w, struct lost *l)
{
    struct kad_datagram d;
    struct kad_dirty dirty;
    while (rescue_next_out(l->rescue, &d))
        deliver(w, &l->at, &d);
    while (l->n_found < sizeof l->found / sizeof *l->found && rescue_next_found(l->rescue, &l->found[l->n_found]))
        l->n_found++;
    while (rescue_next_dirty(l->rescue, &dirty)) {
        assert_memory_equal(dirty.key.data, RESCUE_KEY, strlen(RESCUE_KEY));
        if (!span_equal(dirty.key, span_str(RESCUE_KEY "table")))
            continue;
        assert_true(dirty.value.size <= sizeof l->table);
        memcpy(l->table, dirty.value.data, dirty.value.size);
        l->table_size = dirty.value.size;
    }
    rescue_check(l->rescue);
}

static void drain(struct world *w)
{
    struct kad_datagram d;
    struct kad_event e;
    struct kad_dirty dirty;
    for (int i = 0; i < CITIZENS; i++) {
        struct addr from = at_port((uint16_t)(7000 + i));
        while (kad_next_out(w->citizens[i], &d))
            deliver(w, &from, &d);
        while (kad_next_event(w->citizens[i], &e)) {}
        while (kad_next_dirty(w->citizens[i], &dirty)) {}
    }
    for (int i = 0; i < w->n_lost; i++)
        drain_lost(w, &w->lost[i]);
}

static void pass(struct world *w, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 10) {
        w->now.mono_ms += 10;
        w->now.wall_ms += 10;
        for (int j = 0; j < CITIZENS; j++)
            kad_tick(w->citizens[j], w->now);
        for (int j = 0; j < w->n_lost; j++)
            rescue_tick(w->lost[j].rescue, w->now);
        for (int round = 0; round < 4; round++)
            drain(w);
    }
}

static struct lost *lost_new(struct world *w, const char *network, uint16_t port)
{
    struct lost *l = &w->lost[w->n_lost++];
    struct rescue_config config = { .network = network, .after_ms = AFTER_MS, .port = port, .use_v4 = true };
    l->rescue = rescue_new(&config, &w->rng, w->now);
    assert_non_null(l->rescue);
    l->at = at_port((uint16_t)(8000 + w->n_lost));
    return l;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct kad_config config = { .network = "", .use_v4 = true };
    struct addr first = at_port(7000);
    w->now = (struct now){ 1000000, UINT64_C(1800000000000) };
    w->rng = rng_seeded(&w->seeded, 5);
    for (int i = 0; i < CITIZENS; i++) {
        w->citizens[i] = kad_new(&config, &w->rng, w->now);
        if (i)
            assert_int_equal(kad_join(w->citizens[i], w->now, &first), 0);
    }
    pass(w, 4000);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < CITIZENS; i++)
        kad_free(w->citizens[i]);
    for (int i = 0; i < w->n_lost; i++)
        rescue_free(w->lost[i].rescue);
    free(w);
    return 0;
}

static bool found(const struct lost *l, uint16_t port)
{
    for (size_t i = 0; i < l->n_found; i++)
        if (l->found[i].port == port)
            return true;
    return false;
}

static void enter(struct world *w, struct lost *l)
{
    struct addr router = at_port(7003);
    assert_true(rescue_is_open(l->rescue));
    rescue_join(l->rescue, w->now, &router);
}

/* ---- when it opens and closes ----------------------------------------------------------------------- */

static void test_opens_when_long_alone(void **state)
{
    struct world *w = *state;
    struct lost *l = lost_new(w, "camellia", 4000);
    struct rescue_status s;
    assert_int_equal(rescue_deadline_ms(l->rescue), w->now.mono_ms + AFTER_MS);
    pass(w, AFTER_MS - 10);
    assert_false(rescue_is_open(l->rescue));
    rescue_status(l->rescue, &s);
    assert_true(s.on && !s.open);
    assert_int_equal(s.opens_ms, w->now.mono_ms + 10);
    pass(w, 10);
    assert_true(rescue_is_open(l->rescue));
    rescue_status(l->rescue, &s);
    assert_true(s.open && s.opens_ms == NOW_NEVER);
    /* Somebody is there: it closes, and does not open again while that is so. */
    rescue_peers(l->rescue, w->now, true);
    assert_false(rescue_is_open(l->rescue));
    assert_int_equal(rescue_deadline_ms(l->rescue), 0);
    pass(w, 20);
    assert_int_equal(rescue_deadline_ms(l->rescue), NOW_NEVER);
    pass(w, 3 * AFTER_MS);
    assert_false(rescue_is_open(l->rescue));
    /* Alone again: the time counts from now. */
    rescue_peers(l->rescue, w->now, false);
    rescue_peers(l->rescue, w->now, false);
    pass(w, AFTER_MS - 10);
    rescue_peers(l->rescue, w->now, true);
    rescue_peers(l->rescue, w->now, false);
    pass(w, AFTER_MS - 10);
    assert_false(rescue_is_open(l->rescue));
    pass(w, 10);
    assert_true(rescue_is_open(l->rescue));
    /* Without a socket it tries again later. */
    rescue_give_up(l->rescue, w->now);
    assert_false(rescue_is_open(l->rescue));
    pass(w, AFTER_MS);
    assert_true(rescue_is_open(l->rescue));
}

static void test_never(void **state)
{
    struct world *w = *state;
    struct rescue_config off = { .network = "camellia", .use_v4 = true };
    struct lost *plain = lost_new(w, "", 4000); /* is on the public network already */
    struct rescue *r = rescue_new(&off, &w->rng, w->now);
    struct rescue_status s;
    pass(w, 20 * AFTER_MS);
    w->now.mono_ms += 1000000;
    rescue_tick(r, w->now);
    assert_false(rescue_is_open(plain->rescue) || rescue_is_open(r));
    assert_int_equal(rescue_deadline_ms(r), NOW_NEVER);
    rescue_status(r, &s);
    assert_false(s.on);
    rescue_peers(r, w->now, true);
    rescue_free(r);
}

/* ---- finding ---------------------------------------------------------------------------------------- */

static void test_two_find_each_other(void **state)
{
    struct world *w = *state;
    struct lost *a = lost_new(w, "camellia", 4001), *b = lost_new(w, "camellia", 4002),
                *other = lost_new(w, "another", 4003);
    struct rescue_status s;
    pass(w, AFTER_MS);
    for (int i = 0; i < 3; i++)
        enter(w, &w->lost[i]);
    pass(w, 5000);
    assert_true(found(a, 4002) || found(b, 4001)); /* announcing comes before asking */
    pass(w, RESCUE_ROUND_MIN_MS);
    assert_true(found(a, 4002) && found(b, 4001));
    assert_false(found(a, 4001) || found(b, 4002)); /* nobody finds himself */
    assert_int_equal(other->n_found, 0); /* another network's name is another hash */
    rescue_status(a->rescue, &s);
    assert_true(s.contacts > 0 && s.rounds >= 2 && s.found >= 1);
}

static void test_rounds_grow_rare(void **state)
{
    struct world *w = *state;
    struct lost *a = lost_new(w, "camellia", 4001);
    struct rescue_status s;
    pass(w, AFTER_MS);
    enter(w, a);
    pass(w, 10 * 60000);
    rescue_status(a->rescue, &s);
    assert_in_range(s.rounds, 4, 6); /* at 0, 30 s, 90 s, 3.5 and 7.5 minutes */
}

/* A crowd under our hash, named by whoever likes to: a bounded part of it is handed out, another each time. */
static void test_crowd(void **state)
{
    struct world *w = *state;
    struct lost *a = lost_new(w, "camellia", 4001);
    uint8_t hash[SHA1_SIZE];
    hash_sha1(hash, "camellia", 8);
    for (int i = 0; i < 120; i++) {
        assert_int_equal(kad_announce(w->citizens[i % CITIZENS], w->now, hash, (uint16_t)(20000 + i), 1), 0);
        if (i % CITIZENS == 0)
            pass(w, 500);
    }
    pass(w, AFTER_MS);
    enter(w, a);
    pass(w, 4000);
    assert_int_equal(a->n_found, RESCUE_FOUND_MAX);
    bool early = false, late = false;
    for (size_t i = 0; i < a->n_found; i++) {
        early = early || a->found[i].port < 20060;
        late = late || a->found[i].port >= 20060;
    }
    assert_true(early && late);
    pass(w, RESCUE_ROUND_MIN_MS);
    assert_int_equal(a->n_found, 2 * RESCUE_FOUND_MAX);
    assert_memory_not_equal(a->found, a->found + RESCUE_FOUND_MAX, RESCUE_FOUND_MAX * sizeof *a->found);
}

/* ---- what is remembered ----------------------------------------------------------------------------- */

static void test_remembers_who_was_there(void **state)
{
    struct world *w = *state;
    struct lost *a = lost_new(w, "camellia", 4001);
    struct rescue_status s;
    pass(w, AFTER_MS);
    enter(w, a);
    pass(w, 3000);
    a->table_size = 0;
    rescue_peers(a->rescue, w->now, true);
    drain(w); /* written before it closes */
    assert_true(a->table_size > 1);
    pass(w, 10);
    /* In this life and in the next it needs no router. */
    rescue_peers(a->rescue, w->now, false);
    struct lost *b = lost_new(w, "camellia", 4002);
    assert_int_equal(rescue_load(b->rescue, span_str(RESCUE_KEY "table"), span(a->table, a->table_size)), 0);
    pass(w, AFTER_MS + 3000);
    for (int i = 0; i < 2; i++) {
        rescue_status(w->lost[i].rescue, &s);
        assert_true(s.open && s.contacts >= 8);
        assert_int_equal(s.rounds, 1);
    }
    assert_true(found(a, 4002) || found(b, 4001));
}

static void test_damaged_and_foreign_records(void **state)
{
    struct world *w = *state;
    struct lost *a = lost_new(w, "camellia", 4001);
    static const char *const foreign[] = { "node", "table", "rescue", "rescue/", "rescue/x", "rescue/tables", "", "i123" };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_int_equal(rescue_load(a->rescue, span_str(foreign[i]), span_str("x")), CAM_EFORMAT);
    assert_int_equal(rescue_load(a->rescue, span_str(RESCUE_KEY "node"), span_str("damaged")), 0);
    assert_int_equal(rescue_load(a->rescue, span_str(RESCUE_KEY "table"), span_str("")), 0);
    assert_int_equal(rescue_load(a->rescue, span_str(RESCUE_KEY "table"), span_str("\1\4short")), 0);
    pass(w, AFTER_MS);
    enter(w, a); /* as if there had been none */
    pass(w, 3000);
    struct rescue_status s;
    rescue_status(a->rescue, &s);
    assert_true(s.contacts > 0);
}

/* Nobody on the public network answers: it waits for that, and takes its first round when somebody does. */
static void test_a_public_network_that_is_away(void **state)
{
    struct world *w = *state;
    struct lost *a = lost_new(w, "camellia", 4001);
    struct rescue_status s;
    w->cut = true;
    pass(w, AFTER_MS);
    enter(w, a);
    pass(w, 60000);
    rescue_status(a->rescue, &s);
    assert_int_equal(s.rounds, 0);
    assert_true(rescue_deadline_ms(a->rescue) > w->now.mono_ms); /* it does not spin */
    w->cut = false;
    pass(w, 40000);
    rescue_status(a->rescue, &s);
    assert_true(s.rounds >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_opens_when_long_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_find_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rounds_grow_rare, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crowd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_remembers_who_was_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_and_foreign_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_public_network_that_is_away, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
