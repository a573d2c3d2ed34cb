#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kad/lookup.h"

static const uint8_t target[ID_SIZE] = {0};

/* A node at distance n (in the first two bytes), at an address of its own. */
static void node(unsigned n, uint8_t id[ID_SIZE], struct addr *addr)
{
    memset(id, 0, ID_SIZE);
    put_be16(id, (uint16_t)n);
    *addr = (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(1000 + n)};
}

static int offer(struct lookup *l, unsigned n, bool suspect)
{
    uint8_t id[ID_SIZE];
    struct addr addr;
    node(n, id, &addr);
    return lookup_offer(l, id, &addr, suspect);
}

static unsigned distance_of(const struct lookup *l, int i)
{
    return be16(l->nodes[i].id);
}

static void asks_the_closest_and_ends(void **state)
{
    (void)state;
    struct lookup l;
    uint8_t found[LOOKUP_MAX];
    lookup_init(&l, target, 3, 2, 0);
    for (unsigned n = 10; n > 0; n--)
        assert_true(offer(&l, n * 100, false) >= 0);
    assert_int_equal(offer(&l, 500, false), -1); /* known */
    int a = lookup_next(&l);
    assert_int_equal(distance_of(&l, a), 100);
    lookup_sent(&l, a);
    int b = lookup_next(&l);
    assert_int_equal(distance_of(&l, b), 200);
    lookup_sent(&l, b);
    assert_int_equal(lookup_next(&l), -1); /* alpha are in flight */
    lookup_answered(&l, a);
    assert_true(offer(&l, 50, false) >= 0); /* what it named is closer */
    int c = lookup_next(&l);
    assert_int_equal(distance_of(&l, c), 50);
    lookup_sent(&l, c);
    lookup_answered(&l, b);
    assert_int_equal(lookup_next(&l), -1); /* 50, 100, 200 are the three closest */
    assert_false(lookup_done(&l));
    lookup_failed(&l, c); /* so 300 is the third */
    int d = lookup_next(&l);
    assert_int_equal(distance_of(&l, d), 300);
    lookup_sent(&l, d);
    assert_false(lookup_done(&l));
    lookup_answered(&l, d);
    assert_true(lookup_done(&l));
    assert_int_equal(lookup_closest(&l, found, 3), 3);
    assert_int_equal(distance_of(&l, found[0]), 100);
    assert_int_equal(distance_of(&l, found[2]), 300);
    lookup_check(&l);
}

static void a_stalled_one_frees_its_place(void **state)
{
    (void)state;
    struct lookup l;
    lookup_init(&l, target, 4, 2, 0);
    for (unsigned n = 1; n <= 6; n++)
        offer(&l, n, false);
    int a = lookup_next(&l);
    lookup_sent(&l, a);
    lookup_sent(&l, lookup_next(&l));
    assert_int_equal(lookup_next(&l), -1);
    lookup_stalled(&l, a);
    assert_true(lookup_is_close(&l, a));
    int c = lookup_next(&l);
    assert_int_equal(distance_of(&l, c), 3);
    lookup_sent(&l, c);
    assert_false(lookup_done(&l));
    lookup_answered(&l, a); /* late, not lost */
    assert_int_equal(l.answered, 1);
    lookup_check(&l);
}

static void suspects_only_when_nobody_else(void **state)
{
    (void)state;
    struct lookup l;
    lookup_init(&l, target, 4, 4, 0);
    offer(&l, 1, true);
    offer(&l, 2, false);
    offer(&l, 3, true);
    int a = lookup_next(&l);
    assert_int_equal(distance_of(&l, a), 2);
    lookup_sent(&l, a);
    assert_int_equal(lookup_next(&l), -1);
    lookup_answered(&l, a);
    assert_true(lookup_done(&l));
    lookup_init(&l, target, 4, 4, 0);
    offer(&l, 1, true);
    offer(&l, 2, false);
    a = lookup_next(&l);
    lookup_sent(&l, a);
    lookup_failed(&l, a);
    assert_false(lookup_done(&l));
    a = lookup_next(&l);
    assert_int_equal(distance_of(&l, a), 1);
    lookup_check(&l);
}

static void one_that_came_back_elsewhere(void **state)
{
    (void)state;
    struct lookup l;
    uint8_t id[ID_SIZE];
    struct addr addr;
    lookup_init(&l, target, 4, 4, 0);
    int a = offer(&l, 1, false);
    node(1, id, &addr);
    addr.port = 9;
    assert_int_equal(lookup_offer(&l, id, &addr, false), -1); /* the first address is believed, until it fails */
    lookup_sent(&l, a);
    lookup_failed(&l, a);
    assert_int_equal(lookup_next(&l), a);
    assert_int_equal(l.nodes[a].addr.port, addr.port);
    lookup_sent(&l, a);
    lookup_failed(&l, a);
    for (unsigned n = 1; n < LOOKUP_REOFFERS; n++) { /* but not for ever */
        addr.port++;
        assert_int_equal(lookup_offer(&l, id, &addr, false), a);
        assert_int_equal(l.nodes[a].addr.port, addr.port);
        lookup_sent(&l, a);
        lookup_failed(&l, a);
    }
    addr.port++;
    assert_int_equal(lookup_offer(&l, id, &addr, false), -1);
    lookup_check(&l);
}

/* Who names true ids at wrong ports answers for it alone, and hides nobody. */
static void named_at_two_addresses(void **state)
{
    (void)state;
    enum { NAMED = 4 };
    struct lookup l;
    uint8_t id[ID_SIZE];
    struct addr addr, wrong;
    int named[NAMED];
    lookup_init(&l, target, 16, 4, 0);
    int liar = offer(&l, 20, false), honest = offer(&l, 21, false);
    lookup_sent(&l, liar);
    lookup_sent(&l, honest);
    lookup_answered(&l, liar);
    lookup_answered(&l, honest);
    for (unsigned i = 0; i < NAMED; i++) {
        node(1 + i, id, &addr);
        wrong = addr;
        wrong.port++;
        named[i] = lookup_named(&l, liar, id, &wrong, false);
        assert_int_equal(lookup_named(&l, honest, id, &addr, false), -1);
    }
    for (unsigned i = 0; i < NAMED; i++) {
        lookup_sent(&l, named[i]);
        lookup_failed(&l, named[i]);
        node(1 + i, id, &addr);
        assert_true(addr_equal(&l.nodes[named[i]].addr, &addr));
        lookup_sent(&l, named[i]);
        lookup_answered(&l, named[i]);
    }
    assert_int_equal(lookup_lies(&l, liar), 1);
    assert_int_equal(lookup_lies(&l, honest), 0);
    lookup_check(&l);
}

/* Over IPv4 somebody names nodes of IPv6: nobody of that lookup answers for them. They take nobody's place, and are
 * asked last as soon as anybody is doubted. */
static void named_over_the_other_family(void **state)
{
    (void)state;
    struct lookup l;
    uint8_t id[ID_SIZE];
    struct addr addr;
    lookup_init(&l, target, 16, 4, 0);
    for (unsigned i = 0; i < LOOKUP_MAX; i++)
        offer(&l, 100 + i, false);
    node(1, id, &addr);
    assert_int_equal(lookup_named(&l, LOOKUP_STRANGER, id, &addr, false), -1);
    lookup_init(&l, target, 16, 4, 0);
    int liar = offer(&l, 20, false), one = lookup_named(&l, LOOKUP_STRANGER, id, &addr, false);
    assert_false(lookup_is_held(&l, one));
    lookup_sent(&l, liar);
    lookup_answered(&l, liar);
    for (unsigned i = 0; i < LOOKUP_LIES; i++) {
        node(2 + i, id, &addr);
        int dead = lookup_named(&l, liar, id, &addr, false);
        lookup_sent(&l, dead);
        lookup_failed(&l, dead);
    }
    assert_true(lookup_is_held(&l, one));
    lookup_check(&l);
}

static void keeps_the_closest_of_a_flood(void **state)
{
    (void)state;
    struct lookup l;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 8);
    lookup_init(&l, target, 16, 4, 0);
    unsigned least = 65535;
    for (unsigned i = 0; i < 5000; i++) {
        unsigned n = 1 + rng_below(&rng, 60000);
        offer(&l, n, false);
        least = n < least ? n : least;
        lookup_check(&l);
    }
    assert_int_equal(l.n, LOOKUP_MAX);
    assert_int_equal(distance_of(&l, l.order[0]), least);
    /* Those that were asked are never given up. */
    int a = lookup_next(&l);
    lookup_sent(&l, a);
    unsigned d = distance_of(&l, a);
    for (unsigned n = 1; n < 400; n++)
        offer(&l, n, false);
    uint8_t id[ID_SIZE];
    struct addr addr;
    node(d, id, &addr);
    assert_int_equal(lookup_find(&l, id), a);
    lookup_check(&l);
}

/* The i-th of what `by` names, at distance n. */
static int named(struct lookup *l, int by, unsigned n)
{
    uint8_t id[ID_SIZE];
    struct addr addr;
    node(n, id, &addr);
    return lookup_named(l, by, id, &addr, false);
}

/* Five liars beside the target name nodes that do not exist, beside it too, by the hundred: those whom we knew are asked
 * all the same. */
static void whom_we_knew_is_not_crowded_out(void **state)
{
    (void)state;
    enum { LIARS = 5, HONEST = 5 };
    struct lookup l;
    lookup_init(&l, target, 16, 4, 0);
    for (unsigned n = 0; n < HONEST; n++)
        offer(&l, 50000 + n, false);
    for (unsigned n = 0; n < LIARS; n++)
        offer(&l, 1000 + n, false);
    for (unsigned n = 0; n < LIARS; n++) {
        int liar = lookup_next(&l);
        lookup_sent(&l, liar);
        lookup_answered(&l, liar);
        for (unsigned made = 0; made < 100; made++)
            named(&l, liar, 2000 + 100 * n + made);
        lookup_check(&l);
    }
    for (unsigned n = 0; n < HONEST; n++) {
        uint8_t id[ID_SIZE];
        struct addr addr;
        node(50000 + n, id, &addr);
        assert_true(lookup_find(&l, id) >= 0);
    }
}

/* 32 nodes beside the target in a network where k = 16 should span 16/1000 of it: they are set aside. */
static void sybils_do_not_count_as_the_end(void **state)
{
    (void)state;
    struct lookup l;
    uint8_t found[LOOKUP_MAX];
    lookup_init(&l, target, 16, 64, 1000);
    for (unsigned n = 1; n <= 32; n++)
        offer(&l, n, false);                     /* 1/65536 of the space apart */
    for (unsigned n = 1; n <= 40; n++)
        offer(&l, 60 * n, false);                /* honest ones about 1/1000 apart */
    /* With 32 so close, the first five honest ones are still part of a crowd 8 times too dense. */
    assert_int_equal(lookup_width(&l), 32 + 5 + 16);
    int i;
    while ((i = lookup_next(&l)) >= 0) {
        lookup_sent(&l, i);
        lookup_answered(&l, i);
    }
    assert_true(lookup_done(&l));
    size_t n = lookup_closest(&l, found, lookup_width(&l));
    unsigned honest = 0;
    for (size_t j = 0; j < n; j++)
        honest += distance_of(&l, found[j]) >= 60;
    assert_true(honest >= 16);
    /* Without an estimate, and in a network of honest density, nothing is set aside. */
    lookup_init(&l, target, 16, 4, 0);
    for (unsigned j = 1; j <= 32; j++)
        offer(&l, j, false);
    assert_int_equal(lookup_width(&l), 16);
    lookup_init(&l, target, 16, 4, 1000);
    for (unsigned j = 1; j <= 40; j++)
        offer(&l, 60 * j, false);
    assert_int_equal(lookup_width(&l), 16);
}

/* In a network of 1000 the 16 closest span about 16/1000. Where they span 4 deviations more, others were kept from us:
 * the lookup goes on to twice as many. So wide a span is nothing strange for the 4 closest. */
static void kept_from_the_closest(void **state)
{
    (void)state;
    struct lookup l;
    for (unsigned far = 0; far < 2; far++) {
        lookup_init(&l, target, 16, 64, 1000);
        l.least = 1000;
        for (unsigned n = 1; n <= 40; n++)
            offer(&l, n * (far ? 140 : 120), false); /* 65.5 would be the average */
        assert_int_equal(lookup_width(&l), far ? 32 : 16);
        unsigned asked = 0;
        for (int i; (i = lookup_next(&l)) >= 0; asked++) {
            lookup_sent(&l, i);
            lookup_answered(&l, i);
        }
        assert_int_equal(asked, far ? 32 : 16);
        assert_true(lookup_done(&l));
    }
    lookup_init(&l, target, 4, 64, 1000);
    l.least = 1000;
    for (unsigned n = 1; n <= 10; n++)
        offer(&l, n * 140, false);
    assert_int_equal(lookup_width(&l), 4);
}

static int ask_next(struct lookup *l)
{
    int i = lookup_next(l);
    if (i >= 0)
        lookup_sent(l, i);
    return i;
}

/* A liar names eight who do not exist, closer than anybody: two are tried, then all others come first, then the rest
 * all at once; and nobody waits for them longer than until they stall. */
static void who_names_the_dead_is_doubted(void **state)
{
    (void)state;
    struct lookup l;
    lookup_init(&l, target, 4, 2, 0);
    for (unsigned n = 1; n <= 5; n++)
        offer(&l, 1000 * n, false);
    int liar = ask_next(&l), other = ask_next(&l);
    lookup_answered(&l, liar);
    for (unsigned n = 1; n <= 8; n++)
        assert_true(named(&l, liar, n) >= 0);
    lookup_answered(&l, other);
    int a = ask_next(&l), b = ask_next(&l);
    assert_int_equal(distance_of(&l, a), 1);
    assert_int_equal(distance_of(&l, b), 2);
    lookup_stalled(&l, a);
    assert_false(lookup_is_held(&l, a)); /* one may be gone */
    lookup_stalled(&l, b);
    assert_true(lookup_is_held(&l, a));
    assert_false(lookup_is_close(&l, a)); /* so it is not asked again */
    assert_int_equal(lookup_lies(&l, liar), 1);
    assert_int_equal(lookup_lies(&l, other), 0);
    for (unsigned n = 3; n <= 4; n++) {
        int i = ask_next(&l);
        assert_int_equal(distance_of(&l, i), 1000 * n);
        lookup_answered(&l, i);
    }
    for (unsigned n = 3; n <= 8; n++) /* more than alpha at a time */
        assert_int_equal(distance_of(&l, ask_next(&l)), n);
    assert_int_equal(lookup_next(&l), -1);
    assert_false(lookup_done(&l)); /* one of them might live */
    for (unsigned i = 0; i < l.n; i++)
        if (l.nodes[i].state == LOOKUP_ASKED)
            lookup_stalled(&l, (int)i);
    assert_true(lookup_done(&l));
    lookup_check(&l);
}

static void whom_others_name_too_is_not_held_back(void **state)
{
    (void)state;
    struct lookup l;
    lookup_init(&l, target, 4, 4, 0);
    offer(&l, 1000, false);
    offer(&l, 2000, false);
    int liar = ask_next(&l), other = ask_next(&l);
    lookup_answered(&l, liar);
    lookup_answered(&l, other);
    int dead[2] = {named(&l, liar, 1), named(&l, liar, 2)}, live = named(&l, liar, 3), ours = named(&l, liar, 4);
    for (unsigned i = 0; i < 2; i++) {
        lookup_sent(&l, dead[i]);
        lookup_failed(&l, dead[i]);
    }
    assert_true(lookup_is_held(&l, live) && lookup_is_held(&l, ours));
    named(&l, other, 3);
    offer(&l, 4, false);
    assert_false(lookup_is_held(&l, live) || lookup_is_held(&l, ours));
    int more[2] = {named(&l, liar, 5), named(&l, liar, 6)};
    assert_true(lookup_is_held(&l, more[0]));
    lookup_sent(&l, live); /* and when what it named answers after all, it is doubted no longer */
    lookup_answered(&l, live);
    assert_true(lookup_is_held(&l, more[0]));
    lookup_sent(&l, more[1]);
    lookup_answered(&l, more[1]);
    assert_false(lookup_is_held(&l, more[0]));
    lookup_check(&l);
}

static void one_known_for_a_liar_is_doubted_from_the_start(void **state)
{
    (void)state;
    struct lookup l;
    lookup_init(&l, target, 4, 4, 0);
    offer(&l, 1000, false);
    offer(&l, 2000, false);
    int liar = ask_next(&l);
    lookup_answered(&l, liar);
    lookup_doubt(&l, liar);
    named(&l, liar, 1);
    named(&l, liar, 2);
    int honest = ask_next(&l);
    assert_int_equal(distance_of(&l, honest), 2000);
    lookup_answered(&l, honest);
    for (unsigned n = 1; n <= 2; n++)
        lookup_answered(&l, ask_next(&l));
    assert_int_equal(lookup_lies(&l, liar), -1); /* not this time */
    lookup_check(&l);
}

/* Made-up nodes fill all that a lookup remembers; once they are held back they give way to any other. */
static void those_held_back_give_way(void **state)
{
    (void)state;
    struct lookup l;
    lookup_init(&l, target, 16, 4, 0);
    offer(&l, 60000, false);
    int liar = ask_next(&l);
    lookup_answered(&l, liar);
    for (unsigned n = 1; n < LOOKUP_MAX; n++)
        assert_true(named(&l, liar, n) >= 0);
    assert_int_equal(offer(&l, 50000, false), -1);
    for (unsigned i = 0; i < LOOKUP_LIES; i++)
        lookup_failed(&l, ask_next(&l));
    for (unsigned n = 0; n < 16; n++)
        assert_true(offer(&l, 50000 + n, false) >= 0);
    assert_int_equal(l.n, LOOKUP_MAX);
    assert_int_equal(distance_of(&l, ask_next(&l)), 50000);
    lookup_check(&l);
}

static void those_who_cannot_hold_are_passed_over(void **state)
{
    (void)state;
    struct lookup l;
    uint8_t found[LOOKUP_MAX];
    lookup_init(&l, target, 2, 4, 0);
    for (unsigned n = 1; n <= 3; n++)
        offer(&l, n, false);
    int a = lookup_next(&l);
    lookup_sent(&l, a);
    lookup_plain(&l, a); /* "method unknown": asked again, with find_node */
    assert_int_equal(lookup_next(&l), a);
    lookup_sent(&l, a);
    lookup_answered(&l, a);
    int i;
    while ((i = lookup_next(&l)) >= 0) {
        lookup_sent(&l, i);
        lookup_answered(&l, i);
    }
    assert_true(lookup_done(&l));
    assert_int_equal(lookup_closest(&l, found, 16), 2);
    assert_int_equal(distance_of(&l, found[0]), 2);
    lookup_check(&l);
}

static void nobody_to_ask(void **state)
{
    (void)state;
    struct lookup l;
    lookup_init(&l, target, 16, 4, 0);
    assert_int_equal(lookup_next(&l), -1);
    assert_true(lookup_done(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_the_closest_and_ends),
        cmocka_unit_test(a_stalled_one_frees_its_place),
        cmocka_unit_test(suspects_only_when_nobody_else),
        cmocka_unit_test(one_that_came_back_elsewhere),
        cmocka_unit_test(named_at_two_addresses),
        cmocka_unit_test(named_over_the_other_family),
        cmocka_unit_test(keeps_the_closest_of_a_flood),
        cmocka_unit_test(whom_we_knew_is_not_crowded_out),
        cmocka_unit_test(sybils_do_not_count_as_the_end),
        cmocka_unit_test(kept_from_the_closest),
        cmocka_unit_test(who_names_the_dead_is_doubted),
        cmocka_unit_test(whom_others_name_too_is_not_held_back),
        cmocka_unit_test(one_known_for_a_liar_is_doubted_from_the_start),
        cmocka_unit_test(those_held_back_give_way),
        cmocka_unit_test(those_who_cannot_hold_are_passed_over),
        cmocka_unit_test(nobody_to_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
