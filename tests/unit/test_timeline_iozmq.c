/* Links over real ZeroMQ on loopback: who gets in, who is credited, what happens when the other side is slow,
 * gone, wrong or absent. Time is ours: io_zmq_turn is told what time it is, so no test waits for a time-out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>
#include "core/err.h"
#include "timeline/io_zap.h"
#include "timeline/io_zmq.h"

#define WAIT_MS 5000
#define DIALS_AT_ONCE 20

struct peer {
    struct io_zmq *z;
    struct link_dest dest; /* where it is */
    uint8_t sk[LINK_KEY_SIZE];
    uint8_t refuse[LINK_KEY_SIZE];
    uint64_t skew_ms;      /* added to its clock */
    int up, down, unsent, received;
    struct link_dest last_dest;
    uint8_t last_from[LINK_KEY_SIZE];
    uint8_t last[64];
    size_t last_size;
    uint32_t expect;       /* of numbered messages: the next */
    bool ordered;
};

static uint64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint16_t free_port(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    getsockname(fd, (struct sockaddr *)&in, &size);
    close(fd);
    return ntohs(in.sin_port);
}

static bool admit(void *ctx, const uint8_t key[LINK_KEY_SIZE])
{
    struct peer *p = ctx;
    return memcmp(key, p->refuse, LINK_KEY_SIZE) != 0;
}

static void key_pair(uint8_t pk[LINK_KEY_SIZE], uint8_t sk[LINK_KEY_SIZE])
{
    char p[41], s[41];
    assert_int_equal(zmq_curve_keypair(p, s), 0);
    zmq_z85_decode(pk, p);
    zmq_z85_decode(sk, s);
}

static void peer_open(struct peer *p)
{
    char why[IO_ZMQ_WHY_MAX] = "";
    memset(p, 0, sizeof *p);
    p->ordered = true;
    key_pair(p->dest.key, p->sk);
    assert_int_equal(io_zmq_new(p->dest.key, p->sk, mono_ms(), &p->z, why), 0);
    p->dest.addr = (struct addr){ .family = 4, .ip = { 127, 0, 0, 1 }, .port = free_port() };
    assert_int_equal(io_zmq_bind(p->z, &p->dest.addr, why), 0);
    io_zmq_admit(p->z, admit, p);
}

static void peer_turn(struct peer *p)
{
    struct link_event e;
    io_zmq_turn(p->z, mono_ms() + p->skew_ms);
    while (io_zmq_next(p->z, &e)) {
        switch (e.kind) {
        case LINK_UP: p->up++; p->last_dest = e.dest; break;
        case LINK_DOWN: p->down++; p->last_dest = e.dest; break;
        case LINK_UNSENT: p->unsent++; p->last_dest = e.dest; break;
        case LINK_RECEIVED:
            p->received++;
            memcpy(p->last_from, e.from_key, LINK_KEY_SIZE);
            p->last_size = e.bytes.size;
            memcpy(p->last, e.bytes.data, e.bytes.size < sizeof p->last ? e.bytes.size : sizeof p->last);
            if (e.bytes.size >= 4) {
                if (be32(e.bytes.data) < p->expect)
                    p->ordered = false;
                p->expect = be32(e.bytes.data) + 1;
            }
            break;
        }
    }
}

/* Runs both (b may be NULL) until *value reaches `want`, waiting only on their descriptors. */
static void pump(struct peer *a, struct peer *b, const int *value, int want)
{
    uint64_t end = mono_ms() + WAIT_MS;
    while (*value < want && mono_ms() < end) {
        peer_turn(a);
        if (b && b->z)
            peer_turn(b);
        if (*value >= want || io_zmq_ready(a->z) || (b && b->z && io_zmq_ready(b->z)))
            continue;
        struct pollfd fds[2] = { { io_zmq_fd(a->z), POLLIN, 0 },
                                 { b && b->z ? io_zmq_fd(b->z) : -1, POLLIN, 0 } };
        poll(fds, 2, 200);
    }
    assert_true(*value >= want);
}

static void pump_for(struct peer *a, struct peer *b, uint64_t ms)
{
    for (uint64_t end = mono_ms() + ms; mono_ms() < end;) {
        peer_turn(a);
        if (b)
            peer_turn(b);
        struct pollfd fds[2] = { { io_zmq_fd(a->z), POLLIN, 0 }, { b ? io_zmq_fd(b->z) : -1, POLLIN, 0 } };
        poll(fds, 2, 10);
    }
}

static void send_text(struct peer *from, const struct link_dest *to, const char *text)
{
    struct link_send s = { *to, span_str(text) };
    io_zmq_send(from->z, &s);
}

static void test_message_and_credit(void **state)
{
    struct peer a, b;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    send_text(&a, &b.dest, "hello");
    pump(&a, &b, &b.received, 1);
    assert_int_equal(a.up, 1);
    assert_true(link_dest_equal(&a.last_dest, &b.dest));
    assert_int_equal(b.last_size, 5);
    assert_memory_equal(b.last, "hello", 5);
    assert_memory_equal(b.last_from, a.dest.key, LINK_KEY_SIZE); /* what ZAP proved */
    send_text(&b, &a.dest, "back");
    pump(&a, &b, &a.received, 1);
    assert_memory_equal(a.last_from, b.dest.key, LINK_KEY_SIZE);
    send_text(&a, &b.dest, "");
    pump(&a, &b, &b.received, 2);
    assert_int_equal(b.last_size, 0);
    assert_int_equal(a.down + a.unsent, 0);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

static void test_flat_out(void **state)
{
    enum { COUNT = 20000 };
    struct peer a, b;
    uint8_t bytes[300] = { 0 };
    struct link_send s;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    send_text(&a, &b.dest, "up");
    pump(&a, &b, &b.received, 1);
    b.expect = 0;
    s.to = b.dest;
    s.bytes = span(bytes, sizeof bytes);
    for (uint32_t i = 0; i < COUNT; i++) {
        put_be32(bytes, i);
        io_zmq_send(a.z, &s);
        if (i % 500 == 499)
            pump(&a, &b, &b.received, (int)i - 3000 > 0 ? (int)i - 3000 - a.unsent : 0);
    }
    pump(&a, &b, &b.received, COUNT + 1 - a.unsent);
    assert_int_equal(b.received + a.unsent, COUNT + 1); /* each arrived or was given back */
    assert_true(b.ordered);
    assert_int_equal(a.down, 0);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

static void test_big_messages(void **state)
{
    struct peer a, b;
    uint8_t *big = calloc(1, LINK_MESSAGE_MAX);
    (void)state;
    peer_open(&a);
    peer_open(&b);
    struct link_send s = { b.dest, span(big, LINK_MESSAGE_MAX) };
    io_zmq_send(a.z, &s);
    pump(&a, &b, &b.received, 1);
    assert_int_equal(b.last_size, LINK_MESSAGE_MAX);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
    free(big);
}

static void test_refused_key(void **state)
{
    struct peer a, b;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    memcpy(b.refuse, a.dest.key, LINK_KEY_SIZE);
    send_text(&a, &b.dest, "let me in");
    pump_for(&a, &b, 300);
    assert_int_equal(a.up, 0);
    assert_int_equal(b.received, 0);
    a.skew_ms = IO_ZMQ_CONNECT_MS + 1; /* then what was parked comes back */
    pump(&a, &b, &a.down, 1);
    assert_int_equal(a.unsent, 1);
    assert_int_equal(io_zmq_open_count(a.z), 0);
    memset(b.refuse, 0, sizeof b.refuse); /* a later try on a new socket is admitted */
    send_text(&a, &b.dest, "again");
    pump(&a, &b, &b.received, 1);
    assert_memory_equal(b.last, "again", 5);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

static void test_nobody_admitted_before_admit(void **state)
{
    struct peer a, b;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    io_zmq_admit(b.z, NULL, NULL);
    send_text(&a, &b.dest, "early");
    pump_for(&a, &b, 300);
    assert_int_equal(a.up, 0);
    assert_int_equal(b.received, 0);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

static void test_wrong_server_key(void **state)
{
    struct peer a, b;
    struct link_dest wrong;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    wrong = b.dest;
    wrong.key[3] ^= 1;
    send_text(&a, &wrong, "for somebody else");
    pump_for(&a, &b, 300);
    assert_int_equal(a.up, 0);
    assert_int_equal(b.received, 0);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

/* A socket without CURVE, and one with a key but no secret to it, bring nothing in. */
static void test_strangers_sockets(void **state)
{
    struct peer b;
    const int zero = 0, one = 1;
    char endpoint[64], pk[41], sk[41], server[41];
    (void)state;
    peer_open(&b);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", b.dest.addr.port);
    zmq_curve_keypair(pk, sk);
    zmq_z85_encode(server, b.dest.key, LINK_KEY_SIZE);
    void *ctx = zmq_ctx_new(), *plain = zmq_socket(ctx, ZMQ_PUSH), *liar = zmq_socket(ctx, ZMQ_PUSH);
    zmq_setsockopt(plain, ZMQ_LINGER, &zero, sizeof zero);
    zmq_connect(plain, endpoint);
    zmq_send(plain, "psst", 4, ZMQ_DONTWAIT);
    zmq_setsockopt(liar, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(liar, ZMQ_IMMEDIATE, &one, sizeof one);
    zmq_setsockopt(liar, ZMQ_CURVE_SERVERKEY, server, sizeof server);
    zmq_setsockopt(liar, ZMQ_CURVE_PUBLICKEY, server, sizeof server); /* b's own public key */
    zmq_setsockopt(liar, ZMQ_CURVE_SECRETKEY, sk, sizeof sk);
    zmq_connect(liar, endpoint);
    pump_for(&b, NULL, 300);
    assert_int_equal(zmq_send(liar, "psst", 4, ZMQ_DONTWAIT), -1);
    assert_int_equal(b.received, 0);
    zmq_close(plain);
    zmq_close(liar);
    zmq_ctx_term(ctx);
    io_zmq_free(b.z);
}

static void test_peer_goes_and_returns(void **state)
{
    struct peer a, b;
    char why[IO_ZMQ_WHY_MAX];
    (void)state;
    peer_open(&a);
    peer_open(&b);
    send_text(&a, &b.dest, "one");
    pump(&a, &b, &b.received, 1);
    io_zmq_free(b.z);
    b.z = NULL;
    pump(&a, NULL, &a.down, 1); /* told at once, without a send or a time-out */
    assert_int_equal(io_zmq_open_count(a.z), 0);
    assert_int_equal(io_zmq_new(b.dest.key, b.sk, mono_ms(), &b.z, why), 0);
    assert_int_equal(io_zmq_bind(b.z, &b.dest.addr, why), 0);
    io_zmq_admit(b.z, admit, &b);
    send_text(&a, &b.dest, "two");
    pump(&a, &b, &b.received, 2);
    assert_int_equal(a.up, 2);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

/* Refused while the peer was away; when the peer speaks, the answer does not wait for libzmq's next try. */
static void test_peer_that_speaks_is_dialled_at_once(void **state)
{
    struct peer a, b;
    char why[IO_ZMQ_WHY_MAX];
    (void)state;
    peer_open(&a);
    peer_open(&b);
    io_zmq_free(b.z);
    b.z = NULL;
    send_text(&a, &b.dest, "anyone?");
    pump_for(&a, NULL, 200);
    assert_int_equal(io_zmq_new(b.dest.key, b.sk, mono_ms(), &b.z, why), 0);
    assert_int_equal(io_zmq_bind(b.z, &b.dest.addr, why), 0);
    io_zmq_admit(b.z, admit, &b);
    send_text(&b, &a.dest, "I am back");
    pump(&a, &b, &a.received, 1);
    uint64_t spoke_ms = mono_ms();
    send_text(&a, &b.dest, "welcome");
    pump(&a, &b, &b.received, 2); /* what was parked, too */
    assert_true(mono_ms() - spoke_ms < IO_ZMQ_RECONNECT_MS / 2);
    assert_int_equal(a.unsent, 0);
    assert_int_equal(a.down, 0);
    assert_int_equal(io_zmq_open_count(a.z), 1);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

static void test_absent_peer_parks_a_few(void **state)
{
    struct peer a;
    struct link_dest nowhere = { .addr = { .family = 4, .ip = { 127, 0, 0, 1 } } };
    (void)state;
    peer_open(&a);
    nowhere.addr.port = free_port();
    memcpy(nowhere.key, a.dest.key, LINK_KEY_SIZE);
    for (int i = 0; i < LINK_PARKED_MAX + 3; i++)
        send_text(&a, &nowhere, "anyone?");
    peer_turn(&a);
    assert_int_equal(a.unsent, 3); /* no room: given back at once */
    a.skew_ms = IO_ZMQ_CONNECT_MS + 1;
    assert_true(io_zmq_deadline_ms(a.z) <= mono_ms() + a.skew_ms);
    pump(&a, NULL, &a.down, 1);
    assert_int_equal(a.unsent, LINK_PARKED_MAX + 3);
    assert_int_equal(a.down, 1);
    nowhere.addr.port = 0; /* not an address to send to */
    send_text(&a, &nowhere, "x");
    pump(&a, NULL, &a.down, 2);
    assert_int_equal(a.unsent, LINK_PARKED_MAX + 4);
    io_zmq_free(a.z);
}

static void test_idle_link_closes(void **state)
{
    struct peer a, b;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    send_text(&a, &b.dest, "x");
    pump(&a, &b, &b.received, 1);
    a.skew_ms = IO_ZMQ_CONNECT_MS + 10; /* past the first timer: still up */
    peer_turn(&a);
    assert_int_equal(io_zmq_open_count(a.z), 1);
    a.skew_ms = IO_ZMQ_IDLE_MS + IO_ZMQ_CONNECT_MS + 20;
    peer_turn(&a);
    assert_int_equal(io_zmq_open_count(a.z), 0);
    assert_int_equal(a.down, 1);
    assert_int_equal(a.unsent, 0);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

/* A peer that does not read: its queue fills, the rest comes back, and after a while it counts as gone. */
static void test_peer_that_does_not_read(void **state)
{
    enum { COUNT = 1500, SIZE = 64 * 1024 };
    struct peer a, b;
    uint8_t *bytes = calloc(1, SIZE);
    struct io_zmq_counters count;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    send_text(&a, &b.dest, "x");
    pump(&a, &b, &a.up, 1);
    struct link_send s = { b.dest, span(bytes, SIZE) };
    for (int i = 0; i < COUNT; i++) {
        io_zmq_send(a.z, &s);
        if (i % 64 == 0)
            peer_turn(&a); /* b takes no turns */
    }
    peer_turn(&a);
    io_zmq_counters(a.z, &count);
    assert_true(a.unsent > 0);
    /* libzmq has what its queue, the kernel's and b's reading ahead hold; the rest that waits is bounded. */
    assert_true(count.sent < IO_ZMQ_SEND_QUEUE + IO_ZMQ_RECV_QUEUE + 300);
    assert_true(COUNT + 1 - a.unsent - (int)count.sent <= IO_ZMQ_WAITING_BYTES_MAX / SIZE);
    assert_int_equal(a.down, 0); /* full is not gone ... */
    a.skew_ms = IO_ZMQ_STALL_MS + 1;
    pump(&a, NULL, &a.down, 1); /* ... but it may not stay full */
    io_zmq_counters(a.z, &count);
    assert_int_equal(count.lost, 1);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
    free(bytes);
}

static void test_port_occupied(void **state)
{
    struct peer a, b;
    char why[IO_ZMQ_WHY_MAX] = "", text[ADDR_TEXT_SIZE];
    (void)state;
    peer_open(&a);
    peer_open(&b);
    assert_int_equal(io_zmq_bind(b.z, &a.dest.addr, why), CAM_ESYS);
    assert_non_null(strstr(why, addr_text(&a.dest.addr, text)));
    assert_non_null(strstr(why, "in use"));
    struct addr not_ours = { .family = 4, .ip = { 192, 0, 2, 1 }, .port = 9 };
    assert_int_equal(io_zmq_bind(b.z, &not_ours, why), CAM_ESYS);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

/* A crowd that cannot be reached: half of the table is theirs, whoever has long been trying gives way to a
 * newcomer, and the links that stand are not touched. */
static void test_crowd_of_the_dead(void **state)
{
    struct peer a, b;
    struct link_dest d = { .addr = { .family = 4, .ip = { 127, 0, 0, 2 } } };
    struct io_zmq_counters count;
    const int refused = LINK_OPEN_MAX - IO_ZMQ_CONNECTING_MAX;
    (void)state;
    peer_open(&a);
    peer_open(&b);
    send_text(&a, &b.dest, "x");
    pump(&a, &b, &b.received, 1);
    for (int i = 0; i < LINK_OPEN_MAX; i++) {
        d.addr.port = (uint16_t)(10000 + i);
        put_be32(d.key + 4, (uint32_t)i);
        send_text(&a, &d, "y");
    }
    peer_turn(&a);
    assert_int_equal(io_zmq_open_count(a.z), IO_ZMQ_CONNECTING_MAX + 1);
    assert_int_equal(a.unsent, refused);
    assert_int_equal(a.down, refused);
    a.skew_ms = IO_ZMQ_DOUBT_MS + 1;
    peer_turn(&a);
    send_text(&a, &d, "z");
    peer_turn(&a);
    assert_int_equal(io_zmq_open_count(a.z), IO_ZMQ_CONNECTING_MAX + 1);
    io_zmq_counters(a.z, &count);
    assert_int_equal(count.evicted, 1);
    assert_int_equal(a.down, refused + 1);
    send_text(&a, &b.dest, "still there");
    pump(&a, &b, &b.received, 2);
    assert_int_equal(b.received, 2);
    assert_int_equal(a.down, refused + 1);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

/* The handler's own door: questions as libzmq would put them, from addresses that loopback cannot have. */
static void ask(struct peer *p, const char *version, const char *address, const char *mechanism,
                size_t key_size, char ret_status[8])
{
    const int zero = 0;
    uint8_t key[64] = { 7 };
    void *req = zmq_socket(io_zmq_context(p->z), ZMQ_REQ);
    zmq_setsockopt(req, ZMQ_LINGER, &zero, sizeof zero);
    assert_int_equal(zmq_connect(req, "inproc://zeromq.zap.01"), 0);
    zmq_send(req, version, strlen(version), ZMQ_SNDMORE);
    zmq_send(req, "1", 1, ZMQ_SNDMORE);
    zmq_send(req, IO_ZAP_DOMAIN, strlen(IO_ZAP_DOMAIN), ZMQ_SNDMORE);
    zmq_send(req, address, strlen(address), ZMQ_SNDMORE);
    zmq_send(req, "", 0, ZMQ_SNDMORE);
    zmq_send(req, mechanism, strlen(mechanism), ZMQ_SNDMORE);
    zmq_send(req, key, key_size, 0);
    peer_turn(p);
    char frame[80];
    int n, i = 0, more = 1;
    size_t size = sizeof more;
    while (more && (n = zmq_recv(req, frame, sizeof frame, ZMQ_DONTWAIT)) >= 0) {
        if (i++ == 2) {
            assert_int_equal(n, 3);
            memcpy(ret_status, frame, 3);
            ret_status[3] = '\0';
        }
        zmq_getsockopt(req, ZMQ_RCVMORE, &more, &size);
    }
    assert_int_equal(i, 6);
    zmq_close(req);
}

static void test_zap_rate_and_malformed(void **state)
{
    struct peer a;
    char status[8];
    (void)state;
    peer_open(&a);
    for (int i = 0; i < IO_ZAP_BURST; i++) {
        ask(&a, "1.0", "203.0.113.9", "CURVE", 32, status);
        assert_string_equal(status, "200");
    }
    ask(&a, "1.0", "203.0.113.9", "CURVE", 32, status);
    assert_string_equal(status, "300");
    ask(&a, "1.0", "::ffff:203.0.113.9", "CURVE", 32, status); /* the same machine, dressed as IPv6 */
    assert_string_equal(status, "300");
    ask(&a, "1.0", "203.0.113.10", "CURVE", 32, status); /* its neighbour does not pay for it */
    assert_string_equal(status, "200");
    a.skew_ms = 1000;
    peer_turn(&a);
    for (int i = 0; i < IO_ZAP_PER_S; i++) {
        ask(&a, "1.0", "203.0.113.9", "CURVE", 32, status);
        assert_string_equal(status, "200");
    }
    ask(&a, "1.0", "not an address", "CURVE", 32, status);
    assert_string_equal(status, "300");
    ask(&a, "1.1", "203.0.113.11", "CURVE", 32, status);
    assert_string_equal(status, "400");
    ask(&a, "1.0", "203.0.113.11", "PLAIN", 32, status);
    assert_string_equal(status, "400");
    ask(&a, "1.0", "203.0.113.11", "CURVE", 31, status);
    assert_string_equal(status, "400");
    io_zmq_free(a.z);
}

static void test_admitted_ipv6(void **state)
{
    struct peer a, b;
    char why[IO_ZMQ_WHY_MAX];
    (void)state;
    peer_open(&a);
    peer_open(&b);
    struct link_dest six = b.dest;
    six.addr = (struct addr){ .family = 6, .ip = { [15] = 1 }, .port = b.dest.addr.port };
    if (io_zmq_bind(b.z, &six.addr, why)) { /* a machine without IPv6 */
        io_zmq_free(a.z);
        io_zmq_free(b.z);
        skip();
    }
    /* Both wildcards at one port, as IP = 0.0.0.0 and IP6 = :: ask for. */
    struct addr any4 = { .family = 4, .port = free_port() }, any6 = { .family = 6, .port = any4.port };
    assert_int_equal(io_zmq_bind(a.z, &any4, why), 0);
    assert_int_equal(io_zmq_bind(a.z, &any6, why), 0);
    assert_int_equal(io_zmq_bind(b.z, &any6, why), CAM_ESYS);
    io_zmq_unbind(a.z, &any6);
    send_text(&a, &six, "six");
    pump(&a, &b, &b.received, 1);
    assert_memory_equal(b.last_from, a.dest.key, LINK_KEY_SIZE);
    io_zmq_free(a.z);
    io_zmq_free(b.z);
}

/* A process that connects `n` times to the port read from `in`, some at a time, each time saying so and
 * waiting for a byte; and holds on until `in` ends. */
static void dial_many(int in, int out, int n, bool from_everywhere)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in from = { .sin_family = AF_INET };
    char go;
    if (read(in, &to.sin_port, sizeof to.sin_port) != sizeof to.sin_port)
        _exit(1);
    for (int i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + (uint32_t)i % 200);
        if (from_everywhere && bind(fd, (struct sockaddr *)&from, sizeof from))
            _exit(1);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
            _exit(1);
        if (i % DIALS_AT_ONCE == DIALS_AT_ONCE - 1 && (write(out, "", 1) != 1 || read(in, &go, 1) != 1))
            _exit(1);
    }
    _exit(read(in, &go, 1) != 0);
}

static int files_open(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* Connections that say nothing take at most their part of our descriptors, and a newcomer is heard; of one
 * address's, one that has spoken stays. */
static void bare_connections(bool from_everywhere)
{
    enum { FILES = 600, DIALS = 1500 };
    struct peer a, b, c;
    struct rlimit files, less;
    struct io_zmq_counters count;
    int to[2], from[2], most = 0, batches = 0;
    char said;
    assert_int_equal(pipe(to) | pipe2(from, O_NONBLOCK), 0);
    pid_t child = fork();
    if (child == 0) {
        close(to[1]);
        dial_many(to[0], from[1], DIALS, from_everywhere);
    }
    close(to[0]);
    getrlimit(RLIMIT_NOFILE, &files);
    less = (struct rlimit){ FILES, files.rlim_max };
    setrlimit(RLIMIT_NOFILE, &less);
    peer_open(&b);
    peer_open(&a);
    peer_open(&c);
    send_text(&a, &b.dest, "first");
    pump(&a, &b, &b.received, 1);
    uint16_t port = htons(b.dest.addr.port);
    assert_int_equal(write(to[1], &port, sizeof port), sizeof port);
    for (uint64_t end = mono_ms() + 4 * WAIT_MS; batches < DIALS / DIALS_AT_ONCE && mono_ms() < end;) {
        pump_for(&b, &a, 1);
        most = files_open() > most ? files_open() : most;
        if (read(from[0], &said, 1) == 1 && ++batches)
            assert_int_equal(write(to[1], "", 1), 1);
    }
    assert_int_equal(batches, DIALS / DIALS_AT_ONCE);
    assert_true(most < FILES - 5); /* never without one for ourselves */
    pump_for(&b, &a, 50); /* that its link is gone, if it is */
    send_text(&a, &b.dest, "second");
    send_text(&c, &b.dest, "newcomer");
    for (uint64_t end = mono_ms() + WAIT_MS; b.received < 3 && mono_ms() < end;) {
        pump_for(&a, &b, 2);
        peer_turn(&c);
    }
    assert_int_equal(b.received, 3);
    assert_true(from_everywhere || a.down == 0);
    io_zmq_counters(b.z, &count);
    assert_in_range(count.turned_away, DIALS - FILES / 2, DIALS);
    close(to[1]);
    close(from[0]);
    close(from[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    pump_for(&b, &a, 300);
    assert_true(files_open() < 80); /* those that ended are not held */
    io_zmq_free(a.z);
    io_zmq_free(b.z);
    io_zmq_free(c.z);
    setrlimit(RLIMIT_NOFILE, &files);
}

static void test_bare_connections(void **state)
{
    (void)state;
    bare_connections(false);
}

static void test_connections_from_everywhere(void **state)
{
    (void)state;
    bare_connections(true);
}

int main(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_and_credit),
        cmocka_unit_test(test_flat_out),
        cmocka_unit_test(test_big_messages),
        cmocka_unit_test(test_refused_key),
        cmocka_unit_test(test_nobody_admitted_before_admit),
        cmocka_unit_test(test_wrong_server_key),
        cmocka_unit_test(test_strangers_sockets),
        cmocka_unit_test(test_peer_goes_and_returns),
        cmocka_unit_test(test_peer_that_speaks_is_dialled_at_once),
        cmocka_unit_test(test_absent_peer_parks_a_few),
        cmocka_unit_test(test_idle_link_closes),
        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_port_occupied),
        cmocka_unit_test(test_crowd_of_the_dead),
        cmocka_unit_test(test_zap_rate_and_malformed),
        cmocka_unit_test(test_admitted_ipv6),
        cmocka_unit_test(test_bare_connections),
        cmocka_unit_test(test_connections_from_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
