/* UDP in batches, on loopback. */
#include "core/io_udp.h"
#include "core/err.h"
#include "core/io_os.h"
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct io_udp opened(const char *text)
{
    struct addr addr;
    struct io_udp u;
    assert_int_equal(addr_parse(text, &addr), 0);
    assert_int_equal(io_udp_open(&addr, &u), 0);
    assert_true(u.addr.port != 0);
    return u;
}

static void wait_readable(const struct io_udp *u)
{
    struct pollfd p = { .fd = u->fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, 2000), 1);
}

static int setup(void **state)
{
    *state = io_udp_batch_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    io_udp_batch_free(*state);
    return 0;
}

static void exchange(struct io_udp_batch *b, const char *where)
{
    struct io_udp x = opened(where), y = opened(where);
    uint8_t data[IO_UDP_DATAGRAM_MAX];
    assert_int_equal(io_udp_recv(&y, b), 0); /* nothing, at once */
    int put = 0, seen = 0;
    while (seen < 1000) {
        for (; put < 1000 && put < seen + 100; put++) { /* what the smallest receive buffer holds */
            memset(data, put & 255, sizeof data);
            assert_int_equal(io_udp_send(&x, b, &y.addr, data, (size_t)(put * 37 % (IO_UDP_DATAGRAM_MAX + 1))), 0);
        }
        io_udp_flush(b);
        assert_int_equal(io_udp_pending(b), 0);
        wait_readable(&y);
        int n = io_udp_recv(&y, b);
        assert_in_range(n, 1, IO_UDP_BATCH);
        for (int i = 0; i < n; i++, seen++) {
            assert_true(addr_equal(&b->in[i].peer, &x.addr));
            assert_int_equal(b->in[i].size, seen * 37 % (IO_UDP_DATAGRAM_MAX + 1));
            for (size_t j = 0; j < b->in[i].size; j++)
                assert_int_equal(b->in[i].data[j], seen & 255);
        }
    }
    assert_int_equal(io_udp_recv(&y, b), 0);
    assert_true(b->count.sent == 1000 && b->count.received == 1000);
    /* An answer goes to where it came from. */
    assert_int_equal(io_udp_send(&y, b, &x.addr, "pong", 4), 0);
    io_udp_flush(b);
    wait_readable(&x);
    assert_int_equal(io_udp_recv(&x, b), 1);
    assert_true(addr_equal(&b->in[0].peer, &y.addr));
    assert_memory_equal(b->in[0].data, "pong", 4);
    io_udp_close(&x);
    io_udp_close(&y);
    io_udp_close(&y);
}

static void test_v4(void **state)
{
    exchange(*state, "127.0.0.1:0");
}

static void test_v6(void **state)
{
    struct addr any;
    struct io_udp probe;
    assert_int_equal(addr_parse("[::1]:0", &any), 0);
    if (io_udp_open(&any, &probe)) {
        print_message("no IPv6 on this machine\n");
        skip();
    }
    io_udp_close(&probe);
    exchange(*state, "[::1]:0");

    /* Both families on one port: :: alone does not take IPv4's. */
    struct io_udp six = opened("[::]:0"), four;
    assert_int_equal(addr_parse("0.0.0.0:0", &any), 0);
    any.port = six.addr.port;
    assert_int_equal(io_udp_open(&any, &four), 0);
    assert_int_equal(io_udp_send(&six, *state, &four.addr, "x", 1), CAM_EINVAL);
    io_udp_close(&six);
    io_udp_close(&four);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct io_udp x = opened("127.0.0.1:0"), y = { .fd = -7 };
    errno = 0;
    assert_int_equal(io_udp_open(&x.addr, &y), CAM_ESYS);
    assert_int_equal(errno, EADDRINUSE);
    struct addr elsewhere, none = { .family = 0 };
    assert_int_equal(addr_parse("192.0.2.1:0", &elsewhere), 0);
    assert_int_equal(io_udp_open(&elsewhere, &y), CAM_ESYS);
    assert_int_equal(errno, EADDRNOTAVAIL);
    assert_int_equal(io_udp_open(&none, &y), CAM_EINVAL);
    assert_int_equal(y.fd, -7);
    int flags = fcntl(x.fd, F_GETFL), bytes = 0;
    socklen_t size = sizeof bytes;
    assert_true(flags & O_NONBLOCK);
    assert_true(fcntl(x.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(x.fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size), 0);
    assert_true(bytes >= 200 * 1024);
    io_udp_close(&x);
}

static void test_oversize(void **state)
{
    struct io_udp_batch *b = *state;
    struct io_udp x = opened("127.0.0.1:0"), y = opened("127.0.0.1:0");
    static uint8_t big[4000];
    assert_int_equal(io_udp_send(&x, b, &y.addr, big, IO_UDP_DATAGRAM_MAX + 1), CAM_EINVAL);
    int raw = socket(AF_INET, SOCK_DGRAM, 0); /* a stranger's */
    assert_true(raw >= 0);
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(y.addr.port) };
    memcpy(&sa.sin_addr, y.addr.ip, 4);
    for (size_t size = IO_UDP_DATAGRAM_MAX; size <= IO_UDP_DATAGRAM_MAX + 1; size++)
        assert_int_equal(sendto(raw, big, size, 0, (struct sockaddr *)&sa, sizeof sa), size);
    close(raw);
    wait_readable(&y);
    assert_int_equal(io_udp_recv(&y, b), 1);
    assert_int_equal(b->in[0].size, IO_UDP_DATAGRAM_MAX);
    assert_int_equal(io_udp_recv(&y, b), 0);
    assert_true(b->count.oversize == 1 && b->count.received == 1);
    io_udp_close(&x);
    io_udp_close(&y);
}

/* Peers that are gone, addresses that cannot be: the others in the batch still get theirs. */
static void test_one_bad_costs_nobody(void **state)
{
    struct io_udp_batch *b = *state;
    struct io_udp x = opened("127.0.0.1:0"), y = opened("127.0.0.1:0"), gone = opened("127.0.0.1:0");
    struct addr nowhere = x.addr;
    io_udp_close(&gone);
    assert_int_equal(addr_parse("127.0.0.1:1", &nowhere), 0);
    nowhere.port = 0; /* EINVAL from the kernel */
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 10; i++) {
            assert_int_equal(io_udp_send(&x, b, &gone.addr, "lost", 4), 0);
            assert_int_equal(io_udp_send(&x, b, &nowhere, "lost", 4), 0);
            assert_int_equal(io_udp_send(&x, b, &y.addr, "kept", 4), 0);
        }
        io_udp_flush(b);
        assert_int_equal(io_udp_pending(b), 0);
        assert_int_equal(io_udp_recv(&x, b), 0); /* refusals are not ours to see */
    }
    int seen = 0;
    while (seen < 50) {
        wait_readable(&y);
        int n = io_udp_recv(&y, b);
        for (int i = 0; i < n; i++)
            assert_memory_equal(b->in[i].data, "kept", 4);
        seen += n;
    }
    assert_int_equal(seen, 50);
    assert_true(b->count.refused == 50);
    io_udp_close(&x);
    io_udp_close(&y);
}

/* Two sockets share a batch: what the first queued leaves from the first. */
static void test_shared_batch(void **state)
{
    struct io_udp_batch *b = *state;
    struct io_udp x = opened("127.0.0.1:0"), y = opened("127.0.0.1:0"), to = opened("127.0.0.1:0");
    for (int i = 0; i < 20; i++)
        assert_int_equal(io_udp_send(i % 2 ? &x : &y, b, &to.addr, &i, sizeof i), 0);
    io_udp_flush(b);
    for (int seen = 0; seen < 20;) {
        wait_readable(&to);
        int n = io_udp_recv(&to, b);
        for (int i = 0; i < n; i++, seen++) {
            int got;
            memcpy(&got, b->in[i].data, sizeof got);
            assert_int_equal(got, seen);
            assert_true(addr_equal(&b->in[i].peer, got % 2 ? &x.addr : &y.addr));
        }
    }
    io_udp_close(&x);
    io_udp_close(&y);
    io_udp_close(&to);
}

/* A flood at somebody who does not read: never blocks, the receiver's loss. */
static void test_flood(void **state)
{
    struct io_udp_batch *b = *state;
    struct io_udp x = opened("127.0.0.1:0"), y = opened("127.0.0.1:0");
    static uint8_t data[1232];
    uint64_t before = io_os_mono_us();
    for (int i = 0; i < 50000; i++)
        io_udp_send(&x, b, &y.addr, data, sizeof data);
    io_udp_flush(b);
    assert_in_range(io_os_mono_us() - before, 0, 5000000);
    assert_true(b->count.sent + b->count.dropped + (uint64_t)io_udp_pending(b) == 50000);
    int seen = 0;
    for (int n; (n = io_udp_recv(&y, b)) > 0;)
        seen += n;
    assert_in_range(seen, 50, 50000); /* SO_RCVBUF's worth at least */
    io_udp_close(&x);
    io_udp_close(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_v4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v6, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_bad_costs_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
