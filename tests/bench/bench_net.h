/* Many nodes on real UDP sockets in one process, each with a socket of its own on loopback: the network that rows 1
 * to 4 and 7 are measured in. One epoll, as in the node's own loop; no disk.
 *
 *     struct bench_net net; bench_net_open(&net, &(struct bench_net_config){.nodes = 128, .k = 8, .rng = rng});
 *     kad_put(net.kad[i], bench_net_now(&net), ...);  bench_net_turn(&net, i);
 *     while (!done) bench_net_pump(&net, 1);                  // events go to config.on_event
 *     bench_net_close(&net);
 */
#ifndef TESTS_BENCH_NET_H
#define TESTS_BENCH_NET_H
#include "core/io_udp.h"
#include "kad/kad.h"

#define BENCH_TAPE_MAX 1024 /* sizes of datagrams remembered */

struct bench_net_config {
    size_t nodes;
    uint8_t k;               /* 0: the default */
    struct rng rng;
    bool own_time;           /* the nodes' clock is this process's processor time: what other work on the machine
                              * takes away does not look like a slow network. For a program that never waits */
    void (*on_event)(void *ctx, size_t node, const struct kad_event *e); /* may be NULL */
    void *ctx;
};

struct bench_net {
    struct bench_net_config config;
    struct kad **kad;
    struct io_udp *udp;
    struct io_udp_batch *batch;
    size_t n;                /* opened so far */
    int epoll;
    uint64_t next_sweep_ms;
    uint64_t skipped_ms;     /* how far the nodes' clock is ahead of the real one */
    uint64_t datagrams;      /* sent by anybody */
    size_t taped;            /* sizes of the first BENCH_TAPE_MAX since it was last set to 0 */
    uint16_t tape[BENCH_TAPE_MAX];
};

struct now bench_net_now(const struct bench_net *net);
/* Makes room for the nodes; bench_net_add starts them, one at a time. The program ends when that fails. */
void bench_net_open(struct bench_net *net, const struct bench_net_config *config);
/* One more node; it joins through `entry`, a node there is, unless it is the first. */
void bench_net_add(struct bench_net *net, size_t entry);
/* A tick of one node, and what it has to send and to say: after every call into its kad. */
void bench_net_turn(struct bench_net *net, size_t node);
/* One wait of at most wait_ms for datagrams, and what follows from them; the turns of those whose time has come.
 * False: nothing came and nothing was sent. */
bool bench_net_pump(struct bench_net *net, int wait_ms);
void bench_net_settle(struct bench_net *net); /* until no datagram waits */
void bench_net_run(struct bench_net *net, double seconds);
/* Lives through so many seconds of the nodes' clock, which is set forward whenever no datagram waits: idle time
 * passes quickly, and nothing on its way is taken for lost. */
void bench_net_idle(struct bench_net *net, double seconds);
void bench_net_close(struct bench_net *net);

#endif
