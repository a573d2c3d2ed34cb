/* Far buckets are spread over their ranges: the gaps that a table has, and who fills them. */
#include "tests/unit/kad_net.h"

#include "kad/node.h"

static struct rng_seeded seeded;
static struct rng rng;

static int setup(void **state)
{
    (void)state;
    rng = rng_seeded(&seeded, 5);
    return 0;
}

static void add(struct table *t, uint8_t first)
{
    struct addr addr = {.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(1000 + t->n)};
    uint8_t id[ID_SIZE];

    id_random(&rng, id);
    id[0] = first;
    assert_int_equal(table_heard(t, 1000, id, &addr, 10), TABLE_ADDED);
}

/* The gaps in order, each named once, and none where all that there is may be known. */
static void gaps_are_gone_through(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE] = {0}, id[ID_SIZE];
    struct table_gap gap = {0};
    table_init(&t, 4, 16, self);
    for (unsigned i = 0; i < 15; i++)
        add(&t, 0x40);
    add(&t, 0x90);
    assert_false(table_next_gap(&t, &gap)); /* fifteen beyond bucket 0: it is near */
    add(&t, 0x41);
    gap = (struct table_gap){0};
    for (unsigned part = 0; part < 16; part++) { /* 0x90 is in part 2 of bucket 0 */
        if (part == 2)
            continue;
        assert_true(table_next_gap(&t, &gap));
        assert_int_equal(gap.bucket, 0);
        assert_int_equal(gap.part, part);
        for (unsigned i = 0; i < 20; i++) {
            table_random_in_gap(&t, &rng, gap, id);
            struct table_gap in = table_gap_of(&t, id);
            assert_int_equal(in.bucket, 0);
            assert_int_equal(in.part, part);
        }
        gap.part++;
    }
    assert_false(table_next_gap(&t, &gap)); /* bucket 1 is near: nothing lies beyond it */
    table_clear(&t);
}

/* Of a k that is no power of two, and a bucket that ends within a byte. */
static void gaps_of_any_size(void **state)
{
    (void)state;
    for (unsigned k = 1; k <= 80; k += k < 20 ? 1 : 15) {
        struct table t;
        uint8_t self[ID_SIZE], id[ID_SIZE];
        struct table_gap gap = {0};
        unsigned parts = 1;
        while (parts * 2 <= k)
            parts *= 2;
        id_random(&rng, self);
        table_init(&t, 4, (uint8_t)k, self);
        for (unsigned i = 0; i < 3000; i++) {
            struct addr addr = {.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(1000 + i)};
            id_random(&rng, id);
            table_heard(&t, 1000, id, &addr, 10);
        }
        for (unsigned n = 0; table_next_gap(&t, &gap); n++, gap.part++) {
            assert_true(n < TABLE_BUCKETS * parts);
            assert_true(gap.part < parts);
            table_random_in_gap(&t, &rng, gap, id);
            struct table_gap in = table_gap_of(&t, id);
            assert_int_equal(in.bucket, gap.bucket);
            assert_int_equal(in.part, gap.part);
            for (unsigned i = 0; i < t.n; i++) {
                struct table_gap held = table_gap_of(&t, t.contacts[i].id);
                assert_false(held.bucket == gap.bucket && held.part == gap.part);
            }
        }
        table_clear(&t);
    }
}

/* Parts of bucket 0 in which the node knows somebody, and in which there is somebody. */
static void count_parts(struct net *net, size_t at, unsigned *ret_known, unsigned *ret_there)
{
    const struct table *t = &net->nodes[at].k->net[0].table;
    uint32_t known = 0, there = 0;

    for (unsigned i = 0; i < t->count[0]; i++)
        known |= 1u << table_gap_of(t, t->contacts[i].id).part;
    for (size_t i = 0; i < net->n; i++) {
        struct table_gap gap = table_gap_of(t, kad_node_id(net->nodes[i].k));
        there |= i != at && gap.bucket == 0 ? 1u << gap.part : 0;
    }
    *ret_known += (unsigned)__builtin_popcount(known);
    *ret_there += (unsigned)__builtin_popcount(there);
}

/* A network that has just come together knows a good half of the parts, a minute later nearly all in which there is
 * anybody, without a lookup of anyone. */
static void parts_are_filled(void **state)
{
    (void)state;
    struct net *net = net_new(200, &(struct net_options){.seed = 4, .latency_ms = 20});
    unsigned known = 0, there = 0;
    net_start_all(net);
    for (size_t i = 0; i < net->n; i++)
        count_parts(net, i, &known, &there);
    assert_true(known < 0.9 * there);
    net_run(net, 120000);
    known = there = 0;
    for (size_t i = 0; i < net->n; i++)
        count_parts(net, i, &known, &there);
    assert_true(known > 0.97 * there);
    assert_true(known <= there);
    net_check(net);
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(gaps_are_gone_through, setup),
        cmocka_unit_test_setup(gaps_of_any_size, setup),
        cmocka_unit_test_setup(parts_are_filled, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
