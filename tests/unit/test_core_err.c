/* Every code has a row of its own, and the exit statuses are those of the README. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <limits.h>
#include <string.h>

#include "core/err.h"

static void every_code_is_described(void **state)
{
    (void)state;
    for (int err = CAM_OK; err >= CAM_ERR_LAST; err--) {
        assert_string_not_equal(err_word(err), "unknown");
        assert_true(strlen(err_word(err)) > 0);
        assert_true(strlen(err_text(err)) > 0);
        assert_int_not_equal(err_status(err), 70);
        for (const char *c = err_word(err); *c; c++)
            assert_true((*c >= 'a' && *c <= 'z') || *c == '-');
        for (int other = err - 1; other >= CAM_ERR_LAST; other--)
            assert_string_not_equal(err_word(err), err_word(other));
    }
}

static void statuses_are_the_documented_ones(void **state)
{
    (void)state;
    static const struct {
        int err, status;
    } rows[] = {
        { CAM_OK, 0 },        { CAM_EUSAGE, 64 },   { CAM_EINVAL, 65 },  { CAM_EFORMAT, 65 }, { CAM_EAUTH, 65 },
        { CAM_ENOFILE, 66 },  { CAM_ENOENT, 67 },   { CAM_EAMBIG, 67 },  { CAM_ENET, 69 },    { CAM_ENONODE, 69 },
        { CAM_ETIMEOUT, 69 }, { CAM_ESYS, 71 },     { CAM_EFULL, 71 },   { CAM_ETAKEN, 73 },  { CAM_EIO, 74 },
        { CAM_EPENDING, 75 }, { CAM_EAGAIN, 75 },   { CAM_EPASS, 77 },   { CAM_ELOCKED, 77 }, { CAM_ECONF, 78 },
        { CAM_EINTR, 130 },   { CAM_ETOOBIG, 65 },  { CAM_ENOSPC, 65 },  { CAM_ESTALE, 65 },  { CAM_ECAS, 65 },
        { CAM_EDUP, 65 },     { CAM_EFUTURE, 65 },  { CAM_EEXPIRED, 65 }, { CAM_EREFUSED, 65 },
    };
    assert_int_equal(sizeof rows / sizeof rows[0], 1 - CAM_ERR_LAST);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(err_status(rows[i].err), rows[i].status);
}

static void codes_that_do_not_exist(void **state)
{
    (void)state;
    static const int codes[] = { 1, INT_MAX, CAM_ERR_LAST - 1, -1000, INT_MIN };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        assert_string_equal(err_word(codes[i]), "unknown");
        assert_int_equal(err_status(codes[i]), 70);
        assert_non_null(err_text(codes[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_described),
        cmocka_unit_test(statuses_are_the_documented_ones),
        cmocka_unit_test(codes_that_do_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
