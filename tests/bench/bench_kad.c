/* Rows 1 to 4: put, get and lookup among 128 real nodes in one process on loopback UDP, k = 8, no disk.
 *
 * The floor is what the operation cannot do without: the same number of datagrams of the same mean size through
 * sendto and recvfrom on the same sockets, and the same Ed25519 work, with nothing between them. */
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bencode.h"
#include "core/io_os.h"
#include "core/io_udp.h"
#include "kad/kad.h"
#include "tests/bench/bench.h"

#define NODES 128
#define K 8
#define OPERATIONS 400
#define WARM_MS 3000
#define OPERATION_MS 5000

struct net {
    struct kad *kad[NODES];
    struct io_udp udp[NODES];
    struct io_udp_batch *batch;
    size_t n; /* opened so far */
    int epoll;
    uint64_t next_sweep_ms;
};

struct outcome { /* of the operation under way */
    bool first, done;
    int status;
    uint32_t holders;
    double first_us, done_us;
    uint64_t datagrams_at_first;
};

static struct net net;
static struct rng rng;
static struct outcome outcome;
static uint64_t datagrams, datagram_bytes; /* sent by anybody */

static struct now now_real(void)
{
    struct timespec m, w;
    clock_gettime(CLOCK_MONOTONIC, &m);
    clock_gettime(CLOCK_REALTIME, &w);
    return (struct now){.mono_ms = (uint64_t)m.tv_sec * 1000 + (uint64_t)m.tv_nsec / 1000000,
                        .wall_ms = (uint64_t)w.tv_sec * 1000 + (uint64_t)w.tv_nsec / 1000000};
}

static void drain(size_t i)
{
    struct kad_datagram out;
    struct kad_event event;
    struct kad_dirty dirty;
    while (kad_next_out(net.kad[i], &out)) {
        datagrams++;
        datagram_bytes += out.size;
        io_udp_send(&net.udp[i], net.batch, &out.to, out.data, out.size);
    }
    io_udp_flush(net.batch);
    while (kad_next_event(net.kad[i], &event)) {
        if (event.kind == KAD_EVENT_FIRST) {
            outcome.first = true;
            outcome.first_us = bench_us();
            outcome.datagrams_at_first = datagrams;
        }
        if (event.kind == KAD_EVENT_GET || event.kind == KAD_EVENT_PUT) {
            outcome.done = true;
            outcome.done_us = bench_us();
            outcome.status = event.status;
            outcome.holders = event.holders;
        }
    }
    while (kad_next_dirty(net.kad[i], &dirty)) {}
}

/* One wait for packets and what follows from it; every 20 ms each node is asked whether its time has come. */
static void pump(int wait_ms)
{
    struct epoll_event ready[64];
    int n = epoll_wait(net.epoll, ready, 64, wait_ms);
    struct now now = now_real();
    for (int e = 0; e < n; e++) {
        size_t i = ready[e].data.u32;
        int got = io_udp_recv(&net.udp[i], net.batch);
        for (int d = 0; d < got; d++)
            kad_recv(net.kad[i], now, &net.batch->in[d].peer, net.batch->in[d].data, net.batch->in[d].size);
        kad_tick(net.kad[i], now);
        drain(i);
    }
    if (now.mono_ms < net.next_sweep_ms) return;
    net.next_sweep_ms = now.mono_ms + 20;
    for (size_t i = 0; i < net.n; i++)
        if (kad_deadline_ms(net.kad[i]) <= now.mono_ms) {
            kad_tick(net.kad[i], now);
            drain(i);
        }
}

static void open_net(void)
{
    struct kad_config config = {.network = "bench", .k = K, .use_v4 = true};
    struct addr any;
    addr_parse("127.0.0.1:0", &any);
    net.epoll = epoll_create1(EPOLL_CLOEXEC);
    net.batch = io_udp_batch_new();
    for (size_t i = 0; i < NODES; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        net.kad[i] = kad_new(&config, &rng, now_real());
        if (!net.kad[i] || io_udp_open(&any, &net.udp[i])) {
            fprintf(stderr, "bench: cannot open node %zu\n", i);
            exit(71);
        }
        epoll_ctl(net.epoll, EPOLL_CTL_ADD, net.udp[i].fd, &ev);
        net.n++;
        if (i > 0) kad_join(net.kad[i], now_real(), &net.udp[0].addr);
        kad_tick(net.kad[i], now_real());
        drain(i);
        for (int p = 0; p < 20; p++) pump(0);
    }
    for (double end = bench_us() + WARM_MS * 1e3; bench_us() < end;) pump(5);
}

static bool wait_done(void)
{
    for (double end = bench_us() + OPERATION_MS * 1e3; !outcome.done && bench_us() < end;) pump(1);
    return outcome.done;
}

/* `count` datagrams of `size` bytes there and back on raw sockets, `sign` signatures and `verify` checks. */
static double floor_us(size_t count, size_t size, size_t sign, size_t verify)
{
    static int fd[2] = {-1, -1};
    static struct sockaddr_in at[2];
    static struct identity *id;
    uint8_t buf[KAD_DATAGRAM_MAX] = {0}, sig[SIG_SIZE];
    if (fd[0] < 0) {
        for (int s = 0; s < 2; s++) {
            socklen_t len = sizeof at[s];
            fd[s] = socket(AF_INET, SOCK_DGRAM, 0);
            at[s] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
            bind(fd[s], (struct sockaddr *)&at[s], sizeof at[s]);
            getsockname(fd[s], (struct sockaddr *)&at[s], &len);
        }
        id = identity_new(&rng);
    }
    identity_sign(id, buf, 200, sig);
    double start = bench_us();
    for (size_t i = 0; i < count; i++) {
        int from = (int)(i & 1);
        if (sendto(fd[from], buf, size, 0, (struct sockaddr *)&at[!from], sizeof at[0]) < 0) exit(71);
        if (recv(fd[!from], buf, sizeof buf, 0) < 0) exit(71);
    }
    for (size_t i = 0; i < sign; i++) identity_sign(id, buf, 200, sig);
    memset(buf, 0, 200);
    for (size_t i = 0; i < verify; i++)
        if (identity_verify(id->pk, buf, 200, sig) && sign == 0 && count == 0) exit(70);
    return bench_us() - start;
}

int main(void)
{
    static struct series put, put_floor, first, first_floor, full, put_sent, first_sent, full_sent;
    rng = io_os_rng();
    open_net();
    size_t failed = 0;
    for (uint32_t op = 0; op < OPERATIONS; op++) {
        struct identity *id = identity_new(&rng);
        uint8_t text[64], target[KAD_ID_SIZE];
        struct bytes_out out = bytes_out(text, sizeof text);
        ben_put_str(&out, "a value of forty bytes, more or less ....", 40);
        struct kad_item item = {.is_mutable = true, .seq = 1, .v = span(text, out.size)};
        uint32_t writer = rng_below(&rng, NODES), reader = rng_below(&rng, NODES);

        memset(&outcome, 0, sizeof outcome);
        uint64_t before = datagrams, before_bytes = datagram_bytes;
        double start = bench_us();
        kad_item_sign(&item, id);
        if (kad_put(net.kad[writer], now_real(), &item, NULL, 1)) return 70;
        kad_tick(net.kad[writer], now_real());
        drain(writer);
        if (!wait_done() || outcome.status) failed++;
        series_add(&put, outcome.done_us - start);
        series_add(&put_sent, (double)(datagrams - before));
        size_t mean = (datagram_bytes - before_bytes) / (datagrams > before ? datagrams - before : 1);
        series_add(&put_floor, floor_us(datagrams - before, mean, 1, K));

        kad_item_target(&item, target);
        memset(&outcome, 0, sizeof outcome);
        before = datagrams;
        before_bytes = datagram_bytes;
        start = bench_us();
        if (kad_get(net.kad[reader], now_real(), target, id->pk, span(NULL, 0), 2)) return 70;
        kad_tick(net.kad[reader], now_real());
        drain(reader);
        if (!wait_done() || outcome.status || !outcome.first) failed++;
        else {
            mean = (datagram_bytes - before_bytes) / (datagrams > before ? datagrams - before : 1);
            series_add(&first, outcome.first_us - start);
            series_add(&first_sent, (double)(outcome.datagrams_at_first - before));
            series_add(&first_floor, floor_us(outcome.datagrams_at_first - before, mean, 0, 1));
            series_add(&full, (outcome.done_us - start) / 1e3);
            series_add(&full_sent, (double)(datagrams - before));
        }
        identity_free(id);
        for (int p = 0; p < 5; p++) pump(0);
    }
    bench_row("1", "signed put, 128 nodes, k = 8", "us", &put, &put_floor, "<= 1.5 x floor",
              series_median(&put) <= 1.5 * series_median(&put_floor));
    bench_row("2", "get, first verified value", "us", &first, &first_floor, "<= 1.5 x floor",
              series_median(&first) <= 1.5 * series_median(&first_floor));
    bench_row("3", "whole lookup with verify", "ms", &full, NULL, "<= 0.3 ms", series_median(&full) <= 0.3);
    bench_row("4", "datagrams of a put", "", &put_sent, NULL, "<= 40", series_median(&put_sent) <= 40);
    bench_row("4", "datagrams to the first value", "", &first_sent, NULL, "<= 10", series_median(&first_sent) <= 10);
    bench_row("4", "datagrams of a full get", "", &full_sent, NULL, "<= 24", series_median(&full_sent) <= 24);
    printf("     %zu of %d operations failed\n", failed, 2 * OPERATIONS);
    for (size_t i = 0; i < NODES; i++) {
        kad_free(net.kad[i]);
        io_udp_close(&net.udp[i]);
    }
    io_udp_batch_free(net.batch);
    close(net.epoll);
    return failed ? 1 : 0;
}
