#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kad/table.h"

static struct rng_seeded seeded;
static struct rng rng;

static struct addr local_addr(unsigned n)
{
    return (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(1000 + n)};
}

static struct addr public_addr(unsigned net, unsigned host)
{
    return (struct addr){.family = 4, .ip = {(uint8_t)(20 + net / 65536), (uint8_t)(net >> 8), (uint8_t)net, (uint8_t)(1 + host)},
                         .port = 7000};
}

static int setup(void **state)
{
    (void)state;
    rng = rng_seeded(&seeded, 11);
    return 0;
}

/* The k closest of a table are the k closest of all that it holds. */
static void closest_is_exact(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE], ids[3000][ID_SIZE];
    id_random(&rng, self);
    table_init(&t, 4, 16, self);
    for (unsigned i = 0; i < 3000; i++) {
        struct addr addr = local_addr(i);
        id_random(&rng, ids[i]);
        table_heard(&t, 1000, ids[i], &addr, 10);
    }
    table_check(&t);
    assert_in_range(t.n, 100, 220);
    for (unsigned round = 0; round < 300; round++) {
        const struct table_contact *found[20], *all[400];
        uint8_t target[ID_SIZE];
        if (round % 3 == 0)
            id_random_in_bucket(&rng, self, round % 20, target);
        else
            id_random(&rng, target);
        size_t n = table_closest(&t, target, found, 20, 0);
        assert_int_equal(n, 20);
        for (unsigned i = 0; i < t.n; i++)
            all[i] = &t.contacts[i];
        for (unsigned i = 0; i < 20; i++) { /* selection, the slow way */
            for (unsigned j = i + 1; j < t.n; j++)
                if (id_compare(target, all[j]->id, all[i]->id) < 0) {
                    const struct table_contact *swap = all[i];
                    all[i] = all[j];
                    all[j] = swap;
                }
            assert_memory_equal(found[i]->id, all[i]->id, ID_SIZE);
        }
    }
    table_clear(&t);
}

/* Relaxed rule: everybody in the smallest subtree around us with at least k nodes is known. */
static void knows_its_whole_neighbourhood(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct table t;
        uint8_t self[ID_SIZE], ids[2000][ID_SIZE];
        id_random(&rng, self);
        table_init(&t, 4, 8, self);
        for (unsigned i = 0; i < 2000; i++) {
            struct addr addr = local_addr(i);
            id_random(&rng, ids[i]);
            table_heard(&t, 1000, ids[i], &addr, 10);
        }
        unsigned share[ID_BITS + 1] = {0}, depth = ID_BITS;
        for (unsigned i = 0; i < 2000; i++)
            for (unsigned b = 0; b <= id_common_bits(self, ids[i]); b++)
                share[b]++;
        while (share[depth] < 8)
            depth--;
        for (unsigned i = 0; i < 2000; i++)
            if (id_common_bits(self, ids[i]) >= depth)
                assert_non_null(table_find(&t, ids[i]));
        table_check(&t);
        table_clear(&t);
    }
}

static void full_bucket_keeps_those_that_answer(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE] = {0}, first[ID_SIZE] = {0}, id[ID_SIZE], cand[ID_SIZE];
    table_init(&t, 4, 4, self);
    for (unsigned i = 0; i < 10; i++) { /* a neighbourhood, so that the far bucket is held to k */
        struct addr addr = local_addr(100 + i);
        id_random_in_bucket(&rng, self, 5, id);
        table_heard(&t, 1000, id, &addr, 1);
    }
    for (unsigned i = 0; i < 4; i++) {
        struct addr addr = local_addr(i);
        id_random_in_bucket(&rng, self, 0, id);
        if (i == 0)
            memcpy(first, id, ID_SIZE);
        assert_int_equal(table_heard(&t, 1000, id, &addr, 1), TABLE_ADDED);
    }
    struct addr newcomer = local_addr(50), at = local_addr(0), got;
    id_random_in_bucket(&rng, self, 0, id);
    assert_false(table_has_room(&t, id, &newcomer));
    assert_int_equal(table_heard(&t, 2000, id, &newcomer, 1), TABLE_FULL);
    assert_null(table_find(&t, id));
    assert_int_equal(t.n_cache, 1);
    assert_false(table_take_candidate(&t, cand, &got));
    /* The oldest does not answer: the candidate may be tried, and then replaces it. */
    assert_false(table_failed(&t, first, &at));
    assert_true(table_take_candidate(&t, cand, &got));
    assert_memory_equal(cand, id, ID_SIZE);
    assert_true(addr_equal(&got, &newcomer));
    assert_int_equal(table_heard(&t, 3000, id, &newcomer, 1), TABLE_ADDED);
    assert_null(table_find(&t, first));
    assert_non_null(table_find(&t, id));
    table_check(&t);
    table_clear(&t);
}

static void failures(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE] = {0}, id[ID_SIZE] = {0x99};
    const struct table_contact *found[1];
    struct addr addr = local_addr(1), other = local_addr(2);
    table_init(&t, 4, 8, self);
    table_heard(&t, 1000, id, &addr, 40);
    assert_int_equal(table_find(&t, id)->rtt_ms, 40);
    assert_false(table_failed(&t, id, &other)); /* not the address that we know */
    assert_int_equal(table_find(&t, id)->fails, 0);
    assert_false(table_failed(&t, id, &addr));
    assert_int_equal(table_closest(&t, id, found, 1, 0), 0);
    assert_int_equal(table_closest(&t, id, found, 1, 1), 1);
    assert_int_equal(table_good(&t), 0);
    assert_int_equal(table_heard(&t, 2000, id, &addr, 40), TABLE_KNOWN);
    assert_int_equal(table_good(&t), 1);
    /* The same id elsewhere: refused while the first answers, taken when it does not. */
    assert_int_equal(table_heard(&t, 2000, id, &other, 40), TABLE_MOVED);
    assert_false(table_failed(&t, id, &addr));
    assert_int_equal(table_heard(&t, 3000, id, &other, 7), TABLE_KNOWN);
    struct addr at = table_addr(&t, table_find(&t, id));
    assert_true(addr_equal(&at, &other));
    assert_false(table_failed(&t, id, &other));
    assert_false(table_failed(&t, id, &other));
    assert_true(table_failed(&t, id, &other));
    assert_int_equal(t.n, 0);
    assert_int_equal(table_heard(&t, 1, self, &addr, 1), TABLE_REFUSED);
    table_clear(&t);
}

/* In a full far bucket, one of a crowded part of its range gives way to the first of a part nobody was known in. */
static void far_contacts_are_spread(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE] = {0}, id[ID_SIZE], oldest[ID_SIZE];
    unsigned n = 0;
    table_init(&t, 4, 16, self);
    for (unsigned i = 0; i < 16; i++) { /* neighbours, so that the relaxed rule leaves bucket 0 alone */
        struct addr addr = local_addr(n++);
        id_random(&rng, id);
        id[0] = 0x40;
        assert_int_equal(table_heard(&t, 1000, id, &addr, 10), TABLE_ADDED);
    }
    for (unsigned i = 0; i < 16; i++) { /* bucket 0, full of one sixteenth of its range */
        struct addr addr = local_addr(n++);
        id_random(&rng, id);
        id[0] = 0x80 | (i & 7);
        if (i == 0)
            memcpy(oldest, id, ID_SIZE);
        assert_int_equal(table_heard(&t, 1000, id, &addr, 10), TABLE_ADDED);
    }
    for (unsigned part = 0; part < 16; part++) {
        struct addr addr = local_addr(n++), other = local_addr(n++);
        id_random(&rng, id);
        id[0] = (uint8_t)(0x80 | part << 3 | (id[0] & 7));
        assert_int_equal(table_has_room(&t, id, &addr), part > 0);
        assert_int_equal(table_heard(&t, 1000, id, &addr, 10), part > 0 ? TABLE_ADDED : TABLE_FULL);
        id[10] ^= 1;
        assert_false(table_has_room(&t, id, &other));
        assert_int_equal(table_heard(&t, 1000, id, &other, 10), TABLE_FULL);
        assert_int_equal(t.count[0], 16);
        table_check(&t);
    }
    assert_non_null(table_find(&t, oldest));
    table_clear(&t);
}

static void one_subnet_cannot_fill_it(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE];
    id_random(&rng, self);
    table_init(&t, 4, 16, self);
    unsigned in_bucket[TABLE_BUCKETS] = {0};
    for (unsigned i = 0; i < 5000; i++) {
        struct addr addr = public_addr(7, i % 250);
        uint8_t id[ID_SIZE];
        id_random(&rng, id);
        if (table_heard(&t, 1000, id, &addr, 5) == TABLE_ADDED)
            in_bucket[table_bucket(&t, id)]++;
    }
    assert_int_equal(t.n, TABLE_SUBNET_MAX);
    for (unsigned b = 0; b < TABLE_BUCKETS; b++)
        assert_true(in_bucket[b] <= TABLE_SUBNET_BUCKET_MAX);
    for (unsigned i = 0; i < 500; i++) {
        struct addr addr = public_addr(100 + i, 1);
        uint8_t id[ID_SIZE];
        id_random(&rng, id);
        table_heard(&t, 1000, id, &addr, 5);
    }
    assert_true(t.n > 60);
    table_check(&t);
    table_clear(&t);
}

/* The production code's memory for a table of a million-node network. */
static void a_large_network_fits(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE], id[ID_SIZE];
    id_random(&rng, self);
    table_init(&t, 4, 16, self);
    for (unsigned b = 0; b < 16; b++)
        for (unsigned i = 0; i < 400; i++) {
            struct addr addr = local_addr(i);
            id_random_in_bucket(&rng, self, b, id);
            table_heard(&t, 1000, id, &addr, 5);
        }
    for (unsigned i = 0; i < 24; i++) {
        struct addr addr = local_addr(i);
        id_random_in_bucket(&rng, self, 16 + i % 4, id);
        table_heard(&t, 1000, id, &addr, 5);
    }
    table_check(&t);
    assert_in_range(t.n, 16 * 16, 400);
    assert_true(t.cap * sizeof *t.contacts + t.cap_cache * sizeof *t.cache + sizeof t < 12 * 1024 - 1024);
    table_clear(&t);
}

static void another_id_of_our_own(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE], id[ID_SIZE];
    id_random(&rng, self);
    table_init(&t, 6, 8, self);
    for (unsigned i = 0; i < 500; i++) {
        struct addr addr = {.family = 6, .ip = {0xfd, 0, (uint8_t)(i >> 8), (uint8_t)i, [15] = 1}, .port = 99};
        id_random(&rng, id);
        table_heard(&t, 1000, id, &addr, 5);
    }
    unsigned before = t.n;
    uint8_t far[ID_SIZE];
    memcpy(far, self, ID_SIZE);
    far[0] ^= 0xff;
    table_rename(&t, far);
    table_check(&t);
    assert_true(t.n > 8 && t.n <= before);
    for (unsigned i = 0; i < t.n; i++) {
        struct addr addr = table_addr(&t, &t.contacts[i]);
        assert_int_equal(addr.family, 6);
        assert_int_equal(addr.ip[0], 0xfd);
    }
    table_clear(&t);
}

static void candidates_are_few_and_fresh(void **state)
{
    (void)state;
    struct table t;
    uint8_t self[ID_SIZE] = {0}, id[ID_SIZE], got[ID_SIZE];
    struct addr addr;
    table_init(&t, 4, 8, self);
    for (unsigned i = 0; i < 100; i++) {
        addr = local_addr(i);
        id_random(&rng, id);
        table_offer(&t, id, &addr);
    }
    assert_int_equal(t.n_cache, TABLE_CACHE_MAX);
    assert_true(table_take_candidate(&t, got, &addr));
    assert_memory_equal(got, id, ID_SIZE); /* the youngest */
    assert_int_equal(addr.port, 1099);
    assert_int_equal(t.n, 0); /* nobody enters by asking */
    table_check(&t);
    table_clear(&t);
}

/* Within a factor of two, for all sizes. */
static void estimates(void **state)
{
    (void)state;
    for (unsigned n = 50; n <= 12800; n *= 4) {
        double sum = 0;
        for (unsigned round = 0; round < 20; round++) {
            struct table t;
            uint8_t self[ID_SIZE], id[ID_SIZE];
            id_random(&rng, self);
            table_init(&t, 4, 16, self);
            for (unsigned i = 0; i < n; i++) {
                struct addr addr = local_addr(i % 60000);
                id_random(&rng, id);
                table_heard(&t, 1000, id, &addr, 5);
            }
            sum += log2(table_estimate(&t) / n);
            table_clear(&t);
        }
        assert_true(fabs(sum / 20) < 0.5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(closest_is_exact, setup),
        cmocka_unit_test_setup(knows_its_whole_neighbourhood, setup),
        cmocka_unit_test_setup(full_bucket_keeps_those_that_answer, setup),
        cmocka_unit_test_setup(failures, setup),
        cmocka_unit_test_setup(far_contacts_are_spread, setup),
        cmocka_unit_test_setup(one_subnet_cannot_fill_it, setup),
        cmocka_unit_test_setup(a_large_network_fits, setup),
        cmocka_unit_test_setup(another_id_of_our_own, setup),
        cmocka_unit_test_setup(candidates_are_few_and_fresh, setup),
        cmocka_unit_test_setup(estimates, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
