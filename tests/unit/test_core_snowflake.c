/* Snowflake ids: the layout, strict order under any clock, borrowing, the end of time, decimal text. */
#include "core/snowflake.h"
#include "core/err.h"
#include "core/rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define T0 (SNOWFLAKE_EPOCH_MS + 1000)

static uint64_t next(struct snowflake *s, unsigned device, uint64_t wall_ms)
{
    uint64_t id = 0;
    assert_int_equal(snowflake_next(s, device, wall_ms, &id), 0);
    assert_true(id == s->last);
    return id;
}

static void test_layout(void **state)
{
    (void)state;
    struct snowflake s;
    snowflake_init(&s, 0);
    uint64_t id = next(&s, 5, T0);
    assert_true(id == (UINT64_C(1000) << 22 | 5 << 12));
    assert_true(snowflake_time_ms(id) == T0);
    assert_int_equal(snowflake_device(id), 5);
    assert_int_equal(snowflake_seq(id), 0);
    id = next(&s, 5, T0);
    assert_int_equal(snowflake_seq(id), 1);
    assert_int_equal(snowflake_device(id), 5);
    assert_true(snowflake_floor(T0) <= id && id < snowflake_floor(T0 + 1));
}

static void test_full_millisecond_borrows(void **state)
{
    (void)state;
    struct snowflake s;
    snowflake_init(&s, 0);
    for (int i = 0; i <= SNOWFLAKE_SEQ_MAX; i++) {
        uint64_t id = next(&s, 1023, T0);
        assert_true(snowflake_time_ms(id) == T0);
        assert_int_equal(snowflake_seq(id), i);
    }
    uint64_t id = next(&s, 1023, T0); /* device 1023, sequence 4095: a bare +1 would have been device 0's */
    assert_true(snowflake_time_ms(id) == T0 + 1);
    assert_int_equal(snowflake_device(id), 1023);
    assert_int_equal(snowflake_seq(id), 0);
    id = next(&s, 1023, T0); /* the clock is still behind what we borrowed */
    assert_true(snowflake_time_ms(id) == T0 + 1);
    assert_int_equal(snowflake_seq(id), 1);
    id = next(&s, 1023, T0 + 2);
    assert_true(snowflake_time_ms(id) == T0 + 2);
    assert_int_equal(snowflake_seq(id), 0);
}

static void test_clock_back_and_before_epoch(void **state)
{
    (void)state;
    struct snowflake s;
    snowflake_init(&s, 0);
    uint64_t a = next(&s, 0, T0 + 3600000);
    uint64_t b = next(&s, 0, T0);
    uint64_t c = next(&s, 0, 0);
    assert_true(a < b && b < c);
    assert_true(snowflake_time_ms(c) == T0 + 3600000);

    snowflake_init(&s, 0);
    assert_true(next(&s, 0, 0) == 1); /* zero is no id */
    assert_true(next(&s, 0, SNOWFLAKE_EPOCH_MS - 1) == 2);
}

static void test_restart_and_device_change(void **state)
{
    (void)state;
    struct snowflake s;
    snowflake_init(&s, 0);
    uint64_t last = next(&s, 700, T0);
    struct snowflake again;
    snowflake_init(&again, last);
    uint64_t id = next(&again, 700, T0 - 5000);
    assert_true(id > last);
    /* A lower index in the same millisecond must still rise. */
    id = next(&again, 3, T0);
    assert_true(id > last && snowflake_device(id) == 3 && snowflake_time_ms(id) == T0 + 1);
    id = next(&again, 4, T0);
    assert_true(snowflake_device(id) == 4 && snowflake_time_ms(id) == T0 + 1 && snowflake_seq(id) == 0);
}

static void test_wild_clock_always_rises(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 7);
    struct snowflake s;
    snowflake_init(&s, 0);
    uint64_t last = 0, wall = T0;
    for (int i = 0; i < 200000; i++) {
        switch (rng_below(&rng, 50)) {
        case 0: wall -= rng_below(&rng, 100000); break;
        case 1: wall += rng_below(&rng, 100000); break;
        case 2: wall = rng_u64(&rng) >> 20; break;
        case 3: snowflake_init(&s, last); break;
        default: wall += rng_below(&rng, 2);
        }
        uint64_t id;
        int err = snowflake_next(&s, rng_below(&rng, 3) * 500, wall, &id);
        if (err) {
            assert_int_equal(err, CAM_ETOOBIG);
            snowflake_init(&s, 0), last = 0, wall = T0;
            continue;
        }
        assert_true(id > last && id <= SNOWFLAKE_ID_MAX);
        last = id;
    }
}

static void test_end_of_time(void **state)
{
    (void)state;
    struct snowflake s;
    uint64_t id = 42, end = SNOWFLAKE_EPOCH_MS + SNOWFLAKE_MS_MAX;
    snowflake_init(&s, 0);
    assert_int_equal(snowflake_next(&s, 1024, T0, &id), CAM_EINVAL);
    assert_int_equal(snowflake_next(&s, 0, end + 1, &id), CAM_ETOOBIG);
    assert_int_equal(snowflake_next(&s, 0, UINT64_MAX, &id), CAM_ETOOBIG);
    assert_true(id == 42 && s.last == 0);
    assert_true(snowflake_time_ms(next(&s, 1023, end)) == end);
    snowflake_init(&s, SNOWFLAKE_ID_MAX - 1);
    assert_true(next(&s, 1023, T0) == SNOWFLAKE_ID_MAX);
    assert_int_equal(snowflake_next(&s, 1023, T0, &id), CAM_ETOOBIG);
    assert_int_equal(snowflake_next(&s, 0, T0, &id), CAM_ETOOBIG);
    assert_true(s.last == SNOWFLAKE_ID_MAX && id == 42);
    assert_true(snowflake_floor(end + 1) == SNOWFLAKE_ID_MAX && snowflake_floor(0) == 0);
}

static void test_text(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "0", "00", "01", "-1", "+1", " 1", "1 ", "1x", "0x1", "9223372036854775808",
        "18446744073709551617", "99999999999999999999999999" };
    char text[SNOWFLAKE_TEXT_SIZE];
    uint64_t id = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(snowflake_parse(bad[i], &id), CAM_EINVAL);
    assert_true(id == 7);
    assert_int_equal(snowflake_parse("9223372036854775807", &id), 0);
    assert_true(id == SNOWFLAKE_ID_MAX);
    assert_string_equal(snowflake_text(id, text), "9223372036854775807");
    assert_int_equal(snowflake_parse("1", &id), 0);
    assert_true(id == 1);
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 1);
    for (int i = 0; i < 1000; i++) {
        uint64_t want = (rng_u64(&rng) >> (1 + rng_below(&rng, 50))) | 1;
        assert_int_equal(snowflake_parse(snowflake_text(want, text), &id), 0);
        assert_true(id == want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_full_millisecond_borrows),
        cmocka_unit_test(test_clock_back_and_before_epoch),
        cmocka_unit_test(test_restart_and_device_change),
        cmocka_unit_test(test_wild_clock_always_rises),
        cmocka_unit_test(test_end_of_time),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
