#include "tests/bench/bench_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define SWEEP_MS 20 /* how often each node is asked whether its time has come */
#define SKIP_MS 100
#define READY_MAX 64
#define OWN_START_MS 10000000            /* of a clock that is not the machine's */
#define OWN_WALL_MS UINT64_C(1750000000000)

static uint64_t clock_ms(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct now bench_net_now(const struct bench_net *net)
{
    if (net->config.own_time) {
        uint64_t ms = clock_ms(CLOCK_PROCESS_CPUTIME_ID) + net->skipped_ms;
        return (struct now){.mono_ms = OWN_START_MS + ms, .wall_ms = OWN_WALL_MS + ms};
    }
    return (struct now){.mono_ms = clock_ms(CLOCK_MONOTONIC) + net->skipped_ms,
                        .wall_ms = clock_ms(CLOCK_REALTIME) + net->skipped_ms};
}

static void fail(const char *what, size_t node)
{
    fprintf(stderr, "bench: %s (node %zu)\n", what, node);
    exit(71);
}

void bench_net_open(struct bench_net *net, const struct bench_net_config *config)
{
    *net = (struct bench_net){.config = *config};
    net->kad = calloc(config->nodes, sizeof *net->kad);
    net->udp = calloc(config->nodes, sizeof *net->udp);
    net->batch = io_udp_batch_new();
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!net->kad || !net->udp || !net->batch || net->epoll < 0)
        fail("no memory", 0);
}

void bench_net_close(struct bench_net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        kad_free(net->kad[i]);
        io_udp_close(&net->udp[i]);
    }
    free(net->kad);
    free(net->udp);
    io_udp_batch_free(net->batch);
    close(net->epoll);
}

/* In the order of the node's own loop: what happened rises first, then datagrams leave. */
static void drain(struct bench_net *net, size_t node)
{
    struct kad_datagram out;
    struct kad_event event;
    struct kad_dirty dirty;

    while (kad_next_event(net->kad[node], &event))
        if (net->config.on_event)
            net->config.on_event(net->config.ctx, node, &event);
    while (kad_next_out(net->kad[node], &out)) {
        net->datagrams++;
        if (net->taped < BENCH_TAPE_MAX)
            net->tape[net->taped++] = (uint16_t)out.size;
        io_udp_send(&net->udp[node], net->batch, &out.to, out.data, out.size);
    }
    io_udp_flush(net->batch);
    while (kad_next_dirty(net->kad[node], &dirty))
        ;
}

static void turn(struct bench_net *net, size_t node, struct now now)
{
    kad_tick(net->kad[node], now);
    drain(net, node);
}

void bench_net_turn(struct bench_net *net, size_t node)
{
    turn(net, node, bench_net_now(net));
}

void bench_net_add(struct bench_net *net, size_t entry)
{
    struct kad_config config = {.network = "bench", .k = net->config.k, .use_v4 = true};
    size_t node = net->n++;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u32 = (uint32_t)node};
    struct addr any;

    addr_parse("127.0.0.1:0", &any);
    net->kad[node] = kad_new(&config, &net->config.rng, bench_net_now(net));
    if (!net->kad[node] || io_udp_open(&any, &net->udp[node]))
        fail("cannot open a node", node);
    if (epoll_ctl(net->epoll, EPOLL_CTL_ADD, net->udp[node].fd, &ev))
        fail("cannot wait for a node", node);
    if (node > 0)
        kad_join(net->kad[node], bench_net_now(net), &net->udp[entry].addr);
    bench_net_turn(net, node);
}

bool bench_net_pump(struct bench_net *net, int wait_ms)
{
    struct epoll_event ready[READY_MAX];
    int n = epoll_wait(net->epoll, ready, READY_MAX, wait_ms);
    struct now now = bench_net_now(net);
    uint64_t before = net->datagrams;

    for (int e = 0; e < n; e++) {
        size_t node = ready[e].data.u32;
        int got;
        do {
            got = io_udp_recv(&net->udp[node], net->batch);
            for (int d = 0; d < got; d++) {
                const struct io_udp_in *in = &net->batch->in[d];
                kad_recv(net->kad[node], now, &in->peer, in->data, in->size);
            }
        } while (got == IO_UDP_BATCH);
        turn(net, node, now);
    }
    if (now.mono_ms < net->next_sweep_ms)
        return n > 0;
    net->next_sweep_ms = now.mono_ms + SWEEP_MS;
    for (size_t i = 0; i < net->n; i++)
        if (kad_deadline_ms(net->kad[i]) <= now.mono_ms)
            turn(net, i, now);
    return n > 0 || net->datagrams > before;
}

void bench_net_settle(struct bench_net *net)
{
    while (bench_net_pump(net, 0))
        ;
}

void bench_net_run(struct bench_net *net, double seconds)
{
    for (double end = bench_us() + seconds * 1e6; bench_us() < end;)
        bench_net_pump(net, 5);
}

void bench_net_idle(struct bench_net *net, double seconds)
{
    uint64_t end_ms = bench_net_now(net).mono_ms + (uint64_t)(seconds * 1e3);

    while (bench_net_now(net).mono_ms < end_ms) {
        bench_net_settle(net);
        net->skipped_ms += SKIP_MS;
    }
    bench_net_settle(net);
}
