/* The log: levels, the time, and that nothing put into a message makes two lines or drives a terminal. */
#include "core/log.h"
#include "core/err.h"
#include "core/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

struct caught {
    char line[LOG_LINE_MAX + 1];
    size_t size;
    int count;
};

static void catch_line(void *ctx, const char *line, size_t size)
{
    struct caught *c = ctx;
    assert_true(size <= LOG_LINE_MAX);
    memcpy(c->line, line, size);
    c->line[size] = 0;
    c->size = size;
    c->count++;
}

static void test_line(void **state)
{
    (void)state;
    struct caught c = { .count = 0 };
    struct log log = { LOG_INFO, catch_line, &c };
    log_write(&log, LOG_WARN, UINT64_C(1714564800123), "kad", "table full, %d contacts", 160);
    assert_string_equal(c.line, "2024-05-01T12:00:00.123Z warn kad: table full, 160 contacts\n");
    log_write(&log, LOG_DEBUG, 0, "kad", "not wanted");
    assert_int_equal(c.count, 1);
    log.level = LOG_DEBUG;
    log_write(&log, LOG_DEBUG, 0, "kad", "%s", "wanted");
    assert_string_equal(c.line, "1970-01-01T00:00:00.000Z debug kad: wanted\n");
    log_write(NULL, LOG_ERROR, 0, "kad", "into silence");
    log.sink = NULL;
    log_write(&log, LOG_ERROR, 0, "kad", "into silence");
    assert_int_equal(c.count, 2);
}

static void test_nothing_gets_through(void **state)
{
    (void)state;
    struct caught c = { .count = 0 };
    struct log log = { LOG_INFO, catch_line, &c };
    char all[256];
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = 0;
    const char *const hostile[] = { "a\nb\rc", "\x1b[31mred\x1b]0;title\x07", "\xe2\x80\xae" "drow", "\xc2\x9b" "31m",
                                    "cut \xf0\x9f\x98", "\xff\xfe", "tab\there", all };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        log_write(&log, LOG_INFO, 0, "peer", "%s", hostile[i]);
        assert_int_equal(c.line[c.size - 1], '\n');
        assert_int_equal(text_check_utf8(c.line, c.size), 0);
        for (size_t j = 0; j + 1 < c.size; j++)
            assert_true((unsigned char)c.line[j] >= 0x20 && c.line[j] != 0x7f);
        assert_null(strstr(c.line, "\xe2\x80\xae"));
        assert_null(strstr(c.line, "\xc2\x9b"));
    }
}

static void test_long(void **state)
{
    (void)state;
    struct caught c = { .count = 0 };
    struct log log = { LOG_INFO, catch_line, &c };
    char *big = malloc(10001);
    assert_non_null(big);
    for (size_t length = LOG_LINE_MAX - 60; length < LOG_LINE_MAX + 10; length++) {
        memset(big, 'x', length);
        big[length] = 0;
        log_write(&log, LOG_INFO, 0, "kad", "%s", big);
        size_t prefix = strlen("1970-01-01T00:00:00.000Z info kad: ");
        if (strstr(c.line, "...\n"))
            assert_true(c.size > LOG_LINE_MAX - 8 && c.size <= LOG_LINE_MAX);
        else
            assert_int_equal(c.size, prefix + length + 1);
    }
    assert_non_null(strstr(c.line, "x...\n"));
    for (size_t i = 0; i < 10000; i += 2) /* two-byte characters: cut between, never inside */
        memcpy(big + i, "\xc3\xa4", 2);
    big[10000] = 0;
    log_write(&log, LOG_INFO, 0, "kad", "%s", big);
    assert_int_equal(text_check_utf8(c.line, c.size), 0);
    assert_non_null(strstr(c.line, "\xc3\xa4...\n"));
    log_write(&log, LOG_INFO, 0, big, "%s", big); /* even the area */
    assert_int_equal(c.line[c.size - 1], '\n');
    free(big);
}

static void test_time_against_libc(void **state)
{
    (void)state;
    char got[LOG_TIME_SIZE], want[LOG_TIME_SIZE];
    /* Around every new year, leap day and March from 1970 to 2400. */
    for (uint64_t day = 0; day < 430 * 366; day++) {
        uint64_t s = day * 86400 + day % 86400;
        time_t t = (time_t)s;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.007Z", &tm);
        assert_string_equal(log_time_text(s * 1000 + 7, got), want);
    }
    assert_true(strlen(log_time_text(UINT64_MAX, got)) < LOG_TIME_SIZE);
    assert_int_equal(got[strlen(got) - 1], 'Z');
}

static void test_levels(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        assert_int_equal(log_level_parse(log_level_word((enum log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    assert_int_equal(log_level_parse("WARN", &level), 0);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_level_parse("loud", &level), CAM_EINVAL);
    assert_int_equal(log_level_parse("", &level), CAM_EINVAL);
    assert_int_equal(level, LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_nothing_gets_through),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_time_against_libc),
        cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
