/* A world for whole nodes: virtual time, datagrams and links as queues with latency, loss, duplication and partitions,
 * nodes that crash and come back. Each node is the real one: node_turn() over its table of I/O functions, with
 * an SQLite store in memory that survives a crash as a disk would, without what was not committed.
 *
 * Invariants: all that happens is an event with a time; events of one time keep the order they were made in; every
 * random choice comes from a stream of the seed, one for each kind of choice. So one seed is one run, bit for bit,
 * and sim_hash() tells two runs apart.
 *
 *     struct sim *s = sim_new(&(struct sim_options){.seed = 1, .nodes = 10, .loss = 0.05});
 *     for (size_t i = 0; i < 10; i++) sim_start(s, i);
 *     uint64_t tag = sim_call(s, 0, json_pack("{s:s}", "do", "status"));
 *     sim_run(s, 1000);                               // a second
 */
#ifndef TESTS_SIM_NET_H
#define TESTS_SIM_NET_H
#include <jansson.h>

#include "cli/node.h"

struct sim;

struct sim_options {
    uint64_t seed;
    size_t nodes;
    double loss, duplication;          /* of datagrams, 0..1 */
    uint32_t latency_ms, jitter_ms;    /* one way; every packet draws its own jitter, so they overtake each other */
    /* A reply to sim_call: `row` is NULL in the last one. Borrowed. */
    void (*reply)(void *ctx, size_t node, uint64_t tag, json_t *row, bool done, int status);
    void *ctx;
};

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *s);

void sim_start(struct sim *s, size_t node);  /* with what its store holds; bootstraps by node 0's address of the start */
void sim_crash(struct sim *s, size_t node);  /* kill -9: nothing uncommitted survives; its links break */
/* The same in the middle of a turn: at the `calls`-th function of its I/O table that it calls from now on. */
void sim_crash_within(struct sim *s, size_t node, uint32_t calls);
bool sim_is_up(const struct sim *s, size_t node);
/* Cuts the world in two: nodes of different sides do not hear each other. `sides` NULL heals. */
void sim_partition(struct sim *s, const bool *sides);
void sim_set_loss(struct sim *s, double loss, double duplication);

const struct identity *sim_identity(const struct sim *s, size_t node);
size_t sim_user_of(const struct sim *s, const char *user_id); /* node number, or SIZE_MAX */
/* A request to the node's local API; takes `request`. Lost, unanswered, when the node crashes. Returns its tag. */
uint64_t sim_call(struct sim *s, size_t node, json_t *request);
void sim_run(struct sim *s, uint64_t ms);
uint64_t sim_now_ms(const struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t bound); /* from the stream of the users' choices */

/* What a node has sent and received, from the start of the world. A real link is closed when nothing was sent
 * on it for IO_ZMQ_IDLE_MS, and connects again for the next message; one of these stays, and counts as if it
 * had. */
struct sim_traffic {
    uint64_t datagrams, datagram_bytes;
    uint64_t messages, message_bytes, connections;
    uint64_t open_ms;                  /* of all its links, both ways, together */
};

void sim_traffic(const struct sim *s, size_t node, struct sim_traffic *ret);

uint64_t sim_events(const struct sim *s);
void sim_hash(const struct sim *s, char ret_hex[65]); /* of all that was delivered so far */

#endif
