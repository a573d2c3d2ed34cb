/* The SNTP client on real sockets: against chronyd itself, a chronyd with a wrong clock (libfaketime), and
 * servers of our own that lie, mumble, forge or say nothing. Loopback only. */
#include "core/io_sntp.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/io_resolve.h"
#include "core/io_udp.h"
#include <setjmp.h>
#include <stdarg.h>
#include <glob.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define CHRONYD "/usr/sbin/chronyd"
#define SECOND_US 1000000

static const struct sntp_timing quick = { .gap_ms = 30, .poll_min_ms = 300, .poll_max_ms = 600, .poll_idle_ms = 600 };
static char dir[] = "/tmp/camellia-sntp-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* chronyd */

struct chrony {
    pid_t pid;
    uint16_t port;
};

static uint16_t free_port(void)
{
    struct addr any;
    struct io_udp u;
    assert_int_equal(addr_parse("127.0.0.1:0", &any), 0);
    assert_int_equal(io_udp_open(&any, &u), 0);
    io_udp_close(&u);
    return u.addr.port;
}

/* `fake` as libfaketime has it ("+30s"), or NULL for the true time. */
static struct chrony chrony_start(const char *fake)
{
    struct chrony c = { .port = free_port() };
    char path[64], preload[300] = "", log[64];
    if (access(CHRONYD, X_OK) != 0)
        fail_msg("%s is not there: etc/install-deps.sh --test", CHRONYD);
    if (fake) {
        glob_t found;
        if (glob("/usr/lib/*/faketime/libfaketime.so.1", 0, NULL, &found) != 0)
            fail_msg("libfaketime is not there: etc/install-deps.sh --test");
        snprintf(preload, sizeof preload, "%s", found.gl_pathv[0]);
        globfree(&found);
    }
    snprintf(path, sizeof path, "%s/%u.conf", dir, c.port);
    snprintf(log, sizeof log, "%s/%u.log", dir, c.port);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "port %u\nbindaddress 127.0.0.1\nlocal stratum 5\nallow 127.0.0.1\ncmdport 0\nbindcmdaddress /\n"
               "pidfile %s/%u.pid\n", c.port, dir, c.port);
    assert_int_equal(fclose(f), 0);
    struct passwd *me = getpwuid(geteuid());
    assert_non_null(me);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        if (!freopen(log, "w", stdout) || dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
            _exit(126);
        if (fake) {
            setenv("LD_PRELOAD", preload, 1);
            setenv("FAKETIME", fake, 1);
            setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
        }
        execl(CHRONYD, CHRONYD, "-x", "-U", "-n", "-u", me->pw_name, "-f", path, (char *)NULL);
        _exit(127);
    }
    return c;
}

static void chrony_stop(struct chrony *c)
{
    int status;
    kill(c->pid, SIGTERM);
    for (int i = 0; i < 400; i++) {
        if (waitpid(c->pid, &status, WNOHANG) == c->pid)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    kill(c->pid, SIGKILL);
    waitpid(c->pid, &status, 0);
    fail_msg("chronyd did not end");
}

/* A server of our own */

struct responder {
    struct io_udp udp;
    int64_t wrong_us;
    bool silent;
    void (*bend)(uint8_t wire[SNTP_PACKET_SIZE]); /* spoils the answer; byte offsets as in sntp_packet.c */
    size_t size;             /* of the answer, when not SNTP_PACKET_SIZE */
    struct io_udp *forger;   /* sends the first, wrong answer from another address */
    int asked;
    uint16_t ports[64];
};

struct world {
    struct io_sntp *t;
    struct io_udp_batch *batch;
    struct responder r[4];
    int count;
};

static void respond(struct world *w, struct responder *r)
{
    int n = io_udp_recv(&r->udp, w->batch);
    for (int i = 0; i < n; i++) {
        const struct io_udp_in *in = &w->batch->in[i];
        struct sntp_packet query;
        uint8_t wire[128] = { 0 };
        r->ports[r->asked++ % 64] = in->peer.port;
        assert_int_equal(sntp_decode(in->data, in->size, &query), 0);
        assert_true(query.mode == 3 && query.version == 4 && query.transmit != 0 && query.receive == 0 && query.origin == 0);
        if (r->silent)
            continue;
        int64_t now_us = (int64_t)(io_os_wall_ns() / 1000) + r->wrong_us;
        struct sntp_packet a = { .version = 4, .mode = 4, .stratum = 2, .precision = -20, .refid = { 127, 127, 1, 1 },
                                 .reference = sntp_from_unix_us(now_us - SECOND_US), .origin = query.transmit,
                                 .receive = sntp_from_unix_us(now_us), .transmit = sntp_from_unix_us(now_us) };
        if (r->forger) { /* all of it right but whom it comes from, and the time */
            struct sntp_packet lie = a;
            lie.receive = lie.transmit = sntp_from_unix_us(now_us + 3600 * INT64_C(1000000));
            sntp_encode(&lie, wire);
            io_udp_send(r->forger, w->batch, &in->peer, wire, SNTP_PACKET_SIZE);
            io_udp_flush(w->batch);
        }
        sntp_encode(&a, wire);
        if (r->bend)
            r->bend(wire);
        io_udp_send(&r->udp, w->batch, &in->peer, wire, r->size ? r->size : SNTP_PACKET_SIZE);
        io_udp_flush(w->batch);
    }
}

static struct responder *responder_add(struct world *w, int64_t wrong_us)
{
    struct responder *r = &w->r[w->count++];
    struct addr any;
    *r = (struct responder){ .wrong_us = wrong_us };
    assert_int_equal(addr_parse("127.0.0.1:0", &any), 0);
    assert_int_equal(io_udp_open(&any, &r->udp), 0);
    return r;
}

static struct conf_host host(const char *name, uint16_t port)
{
    struct conf_host h = { .port = port };
    snprintf(h.host, sizeof h.host, "%s", name);
    return h;
}

/* The responders that were added, and what `more` names. */
static void world_start(struct world *w, const struct conf_host *more, int more_count)
{
    struct conf_host hosts[SNTP_SERVERS_MAX];
    int n = 0;
    for (int i = 0; i < w->count; i++)
        hosts[n++] = host("127.0.0.1", w->r[i].udp.addr.port);
    for (int i = 0; i < more_count; i++)
        hosts[n++] = more[i];
    assert_int_equal(io_sntp_new(hosts, n, &quick, io_os_now(), &w->t), 0);
}

static struct sntp_status status(struct world *w)
{
    struct sntp_status st;
    sntp_status(io_sntp_clock(w->t), io_os_now(), &st);
    return st;
}

/* On a busy machine a sample may be bad; then its bound says so. */
static void assert_near(struct sntp_status st, int64_t want_ms)
{
    int64_t off = st.offset_ms - want_ms;
    assert_true(st.synced);
    assert_in_range(st.error_ms, 1, 400);
    assert_in_range(off < 0 ? -off : off, 0, st.error_ms + 5);
}

/* One turn of a node's loop. */
static void turn(struct world *w)
{
    struct pollfd fds[5] = { { .fd = io_sntp_fd(w->t), .events = POLLIN } };
    uint64_t now_ms = io_os_now().mono_ms, at = io_sntp_deadline_ms(w->t);
    uint64_t wait = at > now_ms ? at - now_ms : 0;
    for (int i = 0; i < w->count; i++)
        fds[i + 1] = (struct pollfd){ .fd = w->r[i].udp.fd, .events = POLLIN };
    poll(fds, (nfds_t)w->count + 1, wait > 50 ? 50 : (int)wait);
    uint64_t before = io_os_mono_us();
    io_sntp_turn(w->t, io_os_now());
    assert_in_range(io_os_mono_us() - before, 0, SECOND_US / 5); /* whatever happens, it does not wait */
    for (int i = 0; i < w->count; i++)
        respond(w, &w->r[i]);
}

/* For so long, or only until it is synchronized. */
static void run(struct world *w, uint64_t ms, bool until_synced)
{
    uint64_t end = io_os_now().mono_ms + ms;
    while (io_os_now().mono_ms < end && !(until_synced && status(w).synced))
        turn(w);
}

static int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    if (!w || !(w->batch = io_udp_batch_new()))
        return -1;
    *state = w;
    return 0;
}

static int world_teardown(void **state)
{
    struct world *w = *state;
    io_sntp_free(w->t);
    for (int i = 0; i < w->count; i++)
        io_udp_close(&w->r[i].udp);
    io_udp_batch_free(w->batch);
    free(w);
    return 0;
}

/* One chronyd with the right time, alone; then one 30 s ahead; then the first, the second, a silent one and one of
 * ours, together. A failed assertion must not leave a chronyd behind, so results are looked at after the end. */
static void test_chronyd(void **state)
{
    struct world *w = *state;
    struct chrony right = chrony_start(NULL), ahead = chrony_start("+30s");
    struct sntp_status alone, alone_ahead, four;
    struct conf_host servers[2] = { host("127.0.0.1", right.port), host("127.0.0.1", ahead.port) };
    world_start(w, servers, 1);
    run(w, 5000, true);
    run(w, 400, false); /* the round to its end */
    alone = status(w);
    io_sntp_free(w->t);

    world_start(w, servers + 1, 1);
    run(w, 5000, true);
    run(w, 400, false);
    alone_ahead = status(w);
    io_sntp_free(w->t);

    responder_add(w, 0);
    responder_add(w, 0)->silent = true;
    world_start(w, servers, 2);
    run(w, 5000, true);
    run(w, 1500, false);
    four = status(w);
    chrony_stop(&right);
    chrony_stop(&ahead);

    assert_near(alone, 0);
    assert_int_equal(alone.agreeing, 1);
    assert_near(alone_ahead, 30000);
    assert_int_equal(alone_ahead.agreeing, 1);
    assert_near(four, 0);
    assert_int_equal(four.answering, 3);
    assert_int_equal(four.agreeing, 2);
    assert_true(w->r[1].asked >= 2); /* the silent one was asked, a second each */
}

static void test_one_lies_among_four(void **state)
{
    struct world *w = *state;
    responder_add(w, 0);
    responder_add(w, -INT64_C(2000000));
    responder_add(w, 0);
    responder_add(w, 0);
    world_start(w, NULL, 0);
    run(w, 5000, true);
    run(w, 800, false);
    assert_near(status(w), 0);
    assert_int_equal(status(w).answering, 4);
    assert_int_equal(status(w).agreeing, 3);
}

static void bend_mode(uint8_t *b) { b[0] = 0x23; }
static void bend_version(uint8_t *b) { b[0] = 0x2c; }
static void bend_leap(uint8_t *b) { b[0] |= 0xc0; }
static void bend_stratum_0(uint8_t *b) { b[1] = 0; }
static void bend_stratum(uint8_t *b) { b[1] = 16; }
static void bend_root(uint8_t *b) { b[9] = 2; }
static void bend_origin(uint8_t *b) { b[31] ^= 1; }
static void bend_receive(uint8_t *b) { memset(b + 32, 0, 8); }
static void bend_transmit(uint8_t *b) { memset(b + 40, 0, 8); }
static void bend_all(uint8_t *b) { memset(b, 0xff, SNTP_PACKET_SIZE); }
static void bend_zero(uint8_t *b) { memset(b, 0, SNTP_PACKET_SIZE); }

static void test_malformed(void **state)
{
    struct world *w = *state;
    static void (*const bends[])(uint8_t *) = { bend_mode, bend_version, bend_leap, bend_stratum_0, bend_stratum, bend_root,
        bend_origin, bend_receive, bend_transmit, bend_all, bend_zero };
    static const size_t sizes[] = { 1, 47, 49, 68, 128 };
    struct responder *r = responder_add(w, 0);
    for (size_t i = 0; i < sizeof bends / sizeof *bends + sizeof sizes / sizeof *sizes; i++) {
        size_t bend_count = sizeof bends / sizeof *bends;
        r->bend = i < bend_count ? bends[i] : NULL;
        r->size = i < bend_count ? 0 : sizes[i - bend_count];
        r->asked = 0;
        world_start(w, NULL, 0);
        run(w, 100, false);
        if (status(w).synced || status(w).bad == 0 || r->asked == 0)
            fail_msg("case %zu: synced %d, bad %u, asked %d", i, status(w).synced, status(w).bad, r->asked);
        io_sntp_free(w->t);
        w->t = NULL;
    }
    /* The same server mends its ways. */
    r->bend = bend_leap;
    r->size = 0;
    world_start(w, NULL, 0);
    run(w, 200, false);
    assert_false(status(w).synced);
    r->bend = NULL;
    run(w, 5000, true);
    assert_true(status(w).synced);
}

static void test_forged(void **state)
{
    struct world *w = *state;
    struct responder *r = responder_add(w, 0);
    struct addr any;
    struct io_udp forger;
    assert_int_equal(addr_parse("127.0.0.1:0", &any), 0);
    assert_int_equal(io_udp_open(&any, &forger), 0);
    r->forger = &forger;
    world_start(w, NULL, 0);
    run(w, 5000, true);
    run(w, 300, false);
    assert_near(status(w), 0);
    assert_int_equal(status(w).bad, 0); /* a connected socket never shows it to us */
    /* Every query from a port of its own. */
    assert_true(r->asked >= SNTP_SAMPLES);
    int distinct = 0;
    for (int i = 0; i < SNTP_SAMPLES; i++) {
        int same = 0;
        for (int j = 0; j < i; j++)
            same += r->ports[i] == r->ports[j];
        distinct += same == 0;
    }
    assert_in_range(distinct, SNTP_SAMPLES - 1, SNTP_SAMPLES);
    io_udp_close(&forger);
}

/* The loop was busy while the answer lay in the socket: the kernel's stamp knows when it came. */
static void test_busy_loop(void **state)
{
    struct world *w = *state;
    struct responder *r = responder_add(w, 0);
    world_start(w, NULL, 0);
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL); /* see stamps_on in io_sntp.c */
    while (r->asked == 0)
        turn(w);
    nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    io_sntp_turn(w->t, io_os_now());
    assert_true(status(w).synced);
    assert_in_range(status(w).offset_ms + 20, 0, 40); /* 150 otherwise */
    assert_in_range(status(w).error_ms, 1, 40);
}

static void test_nobody_there(void **state)
{
    struct world *w = *state;
    struct conf_host servers[] = { host("127.0.0.1", free_port()), host("::1", free_port()) };
    world_start(w, servers, 2);
    run(w, 600, false);
    assert_false(status(w).synced);
    assert_int_equal(status(w).answering, 0);
    struct now now = io_os_now(); /* on its own clock, and says so */
    assert_true(sntp_wall_ms(io_sntp_clock(w->t), now) == now.wall_ms);
    assert_true(status(w).error_ms == UINT64_MAX);
}

/* Names: one from /etc/hosts, one that cannot be; nothing waits for either. */
static void test_names(void **state)
{
    struct world *w = *state;
    struct responder *r = responder_add(w, 0);
    struct conf_host servers[] = { host("localhost", r->udp.addr.port), host("no-such-host.invalid", 123) };
    assert_int_equal(io_sntp_new(servers, 2, &quick, io_os_now(), &w->t), 0);
    run(w, 5000, true); /* ::1 comes first, perhaps, and nobody is there: the next address is tried */
    assert_near(status(w), 0);
    /* Leaving while names are being looked up. */
    for (int i = 0; i < 20; i++) {
        struct io_sntp *t;
        uint64_t before = io_os_mono_us();
        assert_int_equal(io_sntp_new(servers, 2, NULL, io_os_now(), &t), 0);
        if (i % 2)
            io_sntp_turn(t, io_os_now());
        io_sntp_free(t);
        assert_in_range(io_os_mono_us() - before, 0, SECOND_US / 2);
    }
    struct io_sntp *none = NULL;
    assert_int_equal(io_sntp_new(servers, 0, NULL, io_os_now(), &none), CAM_EINVAL);
    assert_int_equal(io_sntp_new(servers, SNTP_SERVERS_MAX + 1, NULL, io_os_now(), &none), CAM_EINVAL);
    assert_null(none);
}

static void test_resolver(void **state)
{
    (void)state;
    struct io_resolver *r;
    struct io_resolved got;
    struct addr want;
    struct conf_host hosts[] = { host("127.0.0.1", 8000), host("localhost", 8001), host("::1", 8002),
                                 host("no-such-host.invalid", 8003) };
    bool seen[4] = { false };
    assert_int_equal(io_resolver_new(&r), 0);
    assert_false(io_resolver_next(r, &got));
    for (int i = 0; i < 4; i++)
        assert_int_equal(io_resolver_ask(r, &hosts[i], i), 0);
    uint64_t end = io_os_now().mono_ms + 30000; /* a machine may take its time over the one that cannot be */
    for (int n = 0; n < 4 && io_os_now().mono_ms < end;) {
        struct pollfd p = { .fd = io_resolver_fd(r), .events = POLLIN };
        if (poll(&p, 1, seen[0] && seen[1] && seen[2] ? 1500 : 5000) <= 0)
            break;
        while (io_resolver_next(r, &got)) {
            assert_in_range(got.tag, 0, 3);
            assert_false(seen[got.tag]);
            seen[got.tag] = true;
            n++;
            if (got.tag == 3) {
                assert_int_equal(got.count, 0);
                continue;
            }
            assert_true(got.count >= 1);
            for (int i = 0; i < got.count; i++)
                assert_int_equal(got.addrs[i].port, 8000 + got.tag);
        }
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    assert_int_equal(io_resolve_numeric(&hosts[2], &want), 0);
    assert_int_equal(want.family, 6);
    assert_int_equal(io_resolve_numeric(&hosts[1], &want), CAM_EINVAL);
    io_resolver_free(r);
    io_resolver_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_chronyd, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_one_lies_among_four, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_malformed, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_forged, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_busy_loop, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_nobody_there, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_names, world_setup, world_teardown),
        cmocka_unit_test(test_resolver),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
