#include "tests/unit/tl_net.h"

/* Two nodes: register, follow, post, acknowledge, read. */
static void test_two(void **state)
{
    (void)state;
    struct net *net = net_town(2, 1);
    struct said *s = net_follow(net, 1, "u0");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->n, 1);
    assert_true(s->rows[0].following);
    assert_false(s->rows[0].pending);
    assert_string_equal(s->rows[0].user.name, "u0");
    net_run(net, 100);

    s = net_post(net, 0, "hello");
    assert_int_equal(s->status, 0);
    assert_int_equal(s->rows[0].kind, TL_ROW_POSTED);
    assert_int_equal(s->rows[0].followers, 1);
    net_run(net, 100);
    s = net_read(net, 1, 0);
    assert_int_equal(s->status, 0);
    assert_int_equal(s->n, 1);
    assert_string_equal(s->texts[0], "hello");
    assert_true(s->rows[0].unread);
    assert_string_equal(s->rows[0].user.name, "u0");
    s = net_read(net, 1, 0);
    assert_false(s->rows[0].unread);
    s = net_status(net, 0);
    assert_int_equal(s->rows[0].outbox, 0); /* acknowledged */
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
