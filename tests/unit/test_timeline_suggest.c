/* Suggestions: scores against the formula, who is left out, reasons as a person reads them, a random graph
 * against counting done the slow way. */
#include "timeline/suggest.h"
#include "core/err.h"
#include "core/rng.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* People are numbers; their key is that number, their name a letter. 0 is oneself. */
static struct suggest_edge edges[2000];
static size_t n_edges;
static uint8_t excluded[4][KEY_SIZE];
static size_t n_excluded;

static void key(uint8_t ret[KEY_SIZE], unsigned who)
{
    memset(ret, 0, KEY_SIZE);
    ret[0] = (uint8_t)(who * 7); /* so that the order of keys is not the order of numbers */
    ret[31] = (uint8_t)who;
}

static void edge(unsigned from, unsigned to)
{
    key(edges[n_edges].from, from);
    key(edges[n_edges++].to, to);
}

static const char *name_of(void *ctx, const uint8_t pk[KEY_SIZE])
{
    static const char *const names[] = { "me", "ana", "bob", "carol", "dan" };
    (void)ctx;
    return pk[31] < 5 ? names[pk[31]] : pk[31] == 5 ? "" : pk[31] == 6 ? "evil\033[2J" : NULL;
}

static struct suggest_row rows[50];

static size_t suggest(size_t max)
{
    uint8_t self[KEY_SIZE];
    size_t n = 99;
    key(self, 0);
    struct suggest_input in = { .self = self,
                                .edges = edges,
                                .n_edges = n_edges,
                                .excluded = n_excluded ? excluded : NULL,
                                .n_excluded = n_excluded,
                                .name_of = name_of };
    assert_int_equal(suggest_people(&in, rows, max, &n), 0);
    return n;
}

static int fresh(void **state)
{
    (void)state;
    n_edges = n_excluded = 0;
    return 0;
}

static void test_nothing(void **state)
{
    (void)state;
    assert_int_equal(suggest(10), 0);
    edge(1, 2); /* strangers among themselves */
    edge(0, 3);
    assert_int_equal(suggest(10), 0);
    assert_int_equal(suggest(0), 0);
}

static void test_formula_and_order(void **state)
{
    (void)state;
    edge(0, 1);
    edge(0, 2);
    edge(1, 10);
    edge(2, 10);
    edge(2, 11);
    edge(2, 10); /* said twice, counted once */
    edge(2, 2);
    assert_int_equal(suggest(10), 2);
    double ana = 1 / log(2 + 2), bob = 1 / log(2 + 3); /* neighbours: me and 10; me, 10 and 11 */
    assert_int_equal(rows[0].pk[31], 10);
    assert_true(fabs(rows[0].score - (ana + bob)) < 1e-12);
    assert_string_equal(rows[0].reason,
                        "followed by ana and bob"); /* who has fewer friends says more: first */
    assert_int_equal(rows[1].pk[31], 11);
    assert_true(fabs(rows[1].score - bob) < 1e-12);
    assert_string_equal(rows[1].reason, "followed by bob");
    edge(11, 0);
    assert_int_equal(suggest(10), 2);
    assert_int_equal(rows[1].pk[31], 11);
    assert_true(rows[1].follows_you && fabs(rows[1].score - 1.5 * bob) < 1e-12);
    assert_string_equal(rows[1].reason, "followed by bob; follows you");
}

static void test_left_out(void **state)
{
    (void)state;
    edge(0, 1);
    edge(0, 2);
    edge(1, 0);
    edge(1, 2);
    edge(1, 10);
    edge(1, 11);
    key(excluded[0], 11);
    n_excluded = 1;
    assert_int_equal(suggest(10), 1); /* not me, not bob whom I follow, not whom I do not want */
    assert_int_equal(rows[0].pk[31], 10);
}

static void test_follows_you_alone(void **state)
{
    (void)state;
    edge(10, 0);
    edge(10, 11);
    edge(10, 12);
    assert_int_equal(suggest(10), 1);
    assert_true(rows[0].pk[31] == 10 && rows[0].follows_you && fabs(rows[0].score - 1 / log(2 + 3)) < 1e-12);
    assert_string_equal(rows[0].reason, "follows you");
}

static void test_reasons(void **state)
{
    (void)state;
    for (unsigned z = 1; z <= 3; z++) {
        edge(0, z);
        edge(z, 10);
    }
    edge(1, 20); /* ana has more neighbours than the others: named after them */
    assert_int_equal(suggest(1), 1);
    assert_string_equal(rows[0].reason, "followed by bob, carol and 1 more you follow");
    edge(0, 4);
    edge(4, 10);
    edge(10, 0);
    assert_int_equal(suggest(1), 1);
    assert_string_equal(rows[0].reason, "followed by bob, carol and 2 more you follow; follows you");
    fresh(NULL);
    edge(0, 5);
    edge(5, 10);
    assert_int_equal(suggest(1), 1);
    char expected[64], tag[TAG_SIZE];
    uint8_t pk[KEY_SIZE];
    key(pk, 5);
    user_tag(pk, tag);
    snprintf(expected, sizeof expected, "followed by %s", tag); /* no name: the tag */
    assert_string_equal(rows[0].reason, expected);
    fresh(NULL);
    edge(0, 6);
    edge(6, 10);
    assert_int_equal(suggest(1), 1);
    assert_null(strchr(rows[0].reason, '\033')); /* what is no name is not printed */
}

static void test_random_graph(void **state)
{
    (void)state;
    enum { PEOPLE = 30 };
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 5);
    for (int round = 0; round < 30; round++) {
        static bool follows[PEOPLE][PEOPLE];
        memset(follows, 0, sizeof follows);
        fresh(NULL);
        for (int i = 0; i < 150; i++) {
            unsigned from = rng_below(&rng, PEOPLE), to = rng_below(&rng, PEOPLE);
            edge(from, to);
            follows[from][to] = from != to;
        }
        double score[PEOPLE] = { 0 };
        size_t expected = 0;
        for (unsigned c = 1; c < PEOPLE; c++) {
            double links = 0;
            for (unsigned z = 0; z < PEOPLE; z++) {
                unsigned degree = 0;
                for (unsigned x = 0; x < PEOPLE; x++)
                    degree += follows[z][x] || follows[x][z];
                if (follows[0][z] && follows[z][c])
                    links += 1 / log(2 + degree);
                if (z == c && follows[c][0] && links == 0)
                    score[c] = 1 / log(2 + degree);
            }
            if (links > 0)
                score[c] = follows[c][0] ? 1.5 * links : links;
            if (follows[0][c])
                score[c] = 0;
            expected += score[c] > 0;
        }
        size_t n = suggest(50), top = suggest(3);
        assert_int_equal(n, expected);
        assert_int_equal(top, expected < 3 ? expected : 3);
        n = suggest(50);
        for (size_t i = 0; i < n; i++) {
            assert_true(fabs(rows[i].score - score[rows[i].pk[31]]) < 1e-9);
            assert_true(i == 0 || rows[i].score <= rows[i - 1].score);
            score[rows[i].pk[31]] = -1; /* each once */
        }
    }
}

#define FRESH(test) cmocka_unit_test_setup(test, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(test_nothing),           FRESH(test_formula_and_order), FRESH(test_left_out),
        FRESH(test_follows_you_alone), FRESH(test_reasons),           FRESH(test_random_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
