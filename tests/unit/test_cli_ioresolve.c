/* Names to addresses without waiting. Uses no network: "localhost" is in every hosts file, ".invalid" is nobody's
 * (RFC 6761), and a resolver that cannot be reached says so soon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include "cli/io_resolve.h"
#include "core/err.h"
#include "core/io_os.h"

static struct conf_host host(const char *text)
{
    struct conf_host h;
    assert_int_equal(conf_host_parse(text, 0, &h), 0);
    return h;
}

static void test_numeric_at_once(void **state)
{
    struct io_resolve *r;
    struct addr addr;
    char text[ADDR_TEXT_SIZE];
    (void)state;
    assert_int_equal(io_resolve_open(&r), 0);
    assert_true(io_resolve_deadline_ms(r) == NOW_NEVER);
    struct conf_host four = host("192.0.2.7:81"), six = host("[2001:db8::1]:82");
    assert_int_equal(io_resolve_add(r, &four, 0), 0);
    assert_int_equal(io_resolve_add(r, &six, 0), 0);
    assert_true(io_resolve_deadline_ms(r) == 0); /* there is something to take */
    assert_true(io_resolve_next(r, &addr));
    assert_string_equal(addr_text(&addr, text), "192.0.2.7:81");
    assert_true(io_resolve_next(r, &addr));
    assert_string_equal(addr_text(&addr, text), "[2001:db8::1]:82");
    assert_false(io_resolve_next(r, &addr));
    assert_true(io_resolve_deadline_ms(r) == NOW_NEVER);
    io_resolve_close(r);
}

static void test_a_name_in_a_thread(void **state)
{
    struct io_resolve *r;
    struct addr addr;
    (void)state;
    assert_int_equal(io_resolve_open(&r), 0);
    struct conf_host h = host("localhost:4000");
    assert_int_equal(io_resolve_add(r, &h, 1000), 0);
    assert_true(io_resolve_deadline_ms(r) == 1000);
    io_resolve_turn(r, 1000);
    assert_true(io_resolve_deadline_ms(r) == NOW_NEVER); /* asking */
    struct pollfd fd = { io_resolve_fd(r), POLLIN, 0 };
    assert_int_equal(poll(&fd, 1, 10000), 1);
    io_resolve_turn(r, 1001);
    assert_true(io_resolve_next(r, &addr));
    assert_int_equal(addr.port, 4000);
    assert_true(addr_is_local(&addr));
    while (io_resolve_next(r, &addr)) {}
    assert_true(io_resolve_deadline_ms(r) == NOW_NEVER); /* known: not asked again */
    io_resolve_close(r);
}

static void test_unknown_is_asked_again_later(void **state)
{
    struct io_resolve *r;
    struct addr addr;
    (void)state;
    assert_int_equal(io_resolve_open(&r), 0);
    struct conf_host h = host("nobody.invalid:1");
    assert_int_equal(io_resolve_add(r, &h, 0), 0);
    uint64_t now = 0, wait = IO_RESOLVE_AGAIN_MS;
    for (int i = 0; i < 3; i++) {
        io_resolve_turn(r, now);
        struct pollfd fd = { io_resolve_fd(r), POLLIN, 0 };
        if (poll(&fd, 1, 20000) != 1)
            skip(); /* a resolver that keeps one waiting longer than that */
        io_resolve_turn(r, now);
        assert_false(io_resolve_next(r, &addr));
        assert_true(io_resolve_deadline_ms(r) == now + wait);
        now += wait;
        wait *= 2;
    }
    io_resolve_close(r);
    assert_int_equal(io_resolve_now(&h, &addr), CAM_EINVAL);
    h = host("127.0.0.1:5");
    assert_int_equal(io_resolve_now(&h, &addr), 0);
    assert_int_equal(addr.port, 5);
}

static void test_bounded_and_closed_while_asking(void **state)
{
    struct io_resolve *r;
    (void)state;
    assert_int_equal(io_resolve_open(&r), 0);
    struct conf_host h = host("localhost:1");
    for (int i = 0; i < IO_RESOLVE_HOSTS_MAX; i++)
        assert_int_equal(io_resolve_add(r, &h, 0), 0);
    assert_int_equal(io_resolve_add(r, &h, 0), CAM_EFULL);
    io_resolve_turn(r, 0); /* as many threads */
    io_resolve_close(r);   /* they end by themselves, and nobody waits for them */
    poll(NULL, 0, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numeric_at_once),
        cmocka_unit_test(test_a_name_in_a_thread),
        cmocka_unit_test(test_unknown_is_asked_again_later),
        cmocka_unit_test(test_bounded_and_closed_while_asking),
    };
    signal(SIGPIPE, SIG_IGN); /* as the node does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
