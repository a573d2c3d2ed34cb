/* The operations of rows 1 to 3 without sockets and clocks, for a profiler: 128 nodes whose datagrams go from queue
 * to queue, under a clock that advances by a millisecond a round, with seeded randomness. So the instructions of a
 * put and of a get can be counted, and two builds compared, whatever else the machine does:
 *
 *     valgrind --tool=callgrind --collect-atstart=no --toggle-collect=run_get .../tests/bench/bench_pure
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bencode.h"
#include "kad/kad.h"

#define NODES 128
#define K 8
#define OPERATIONS 200
#define ROUNDS_MAX 200      /* of one operation */
#define WARM_ROUNDS 60000   /* ms: the lookups after 3 and 30 s are over */
#define QUEUE_MAX 4096
#define FIRST_PORT 1000

struct datagram {
    struct addr from;
    size_t to;
    size_t size;
    uint8_t data[KAD_DATAGRAM_MAX];
};

static struct kad *kad[NODES];
static struct datagram queue[QUEUE_MAX];
static size_t queued;
static struct now now = {.mono_ms = 10000000, .wall_ms = 1750000000000};
static uint64_t sent;
static bool done;

static struct addr addr_of(size_t node)
{
    return (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = (uint16_t)(FIRST_PORT + node)};
}

static void drain(size_t node)
{
    struct kad_event event;
    struct kad_datagram out;
    struct kad_dirty dirty;

    while (kad_next_event(kad[node], &event))
        done = done || event.kind == KAD_EVENT_GET || event.kind == KAD_EVENT_PUT;
    while (kad_next_out(kad[node], &out)) {
        struct datagram *d = &queue[queued++];
        if (queued == QUEUE_MAX)
            exit(70);
        *d = (struct datagram){.from = addr_of(node), .to = out.to.port - FIRST_PORT, .size = out.size};
        memcpy(d->data, out.data, out.size);
        sent++;
    }
    while (kad_next_dirty(kad[node], &dirty))
        ;
}

static void turn(size_t node)
{
    kad_tick(kad[node], now);
    drain(node);
}

/* All datagrams on their way arrive, each in a turn of its own; then the clock moves. */
static void round_trip(bool deadlines)
{
    static struct datagram arriving[QUEUE_MAX];
    size_t n = queued;

    memcpy(arriving, queue, n * sizeof *queue);
    queued = 0;
    now.mono_ms++;
    now.wall_ms++;
    for (size_t i = 0; i < n; i++) {
        kad_recv(kad[arriving[i].to], now, &arriving[i].from, arriving[i].data, arriving[i].size);
        turn(arriving[i].to);
    }
    for (size_t i = 0; deadlines && i < NODES; i++)
        if (kad[i] && kad_deadline_ms(kad[i]) <= now.mono_ms)
            turn(i);
}

static bool run(size_t node)
{
    done = false;
    turn(node);
    for (int i = 0; i < ROUNDS_MAX && !done; i++)
        round_trip(false);
    return done;
}

__attribute__((noinline)) static bool run_put(size_t writer, struct kad_item *item, const struct identity *id)
{
    kad_item_sign(item, id);
    return kad_put(kad[writer], now, item, NULL, 1) == 0 && run(writer);
}

__attribute__((noinline)) static bool run_get(size_t reader, const struct kad_item *item)
{
    uint8_t target[KAD_ID_SIZE];

    kad_item_target(item, target);
    return kad_get(kad[reader], now, target, item->pk, span(NULL, 0), 2) == 0 && run(reader);
}

int main(void)
{
    static struct rng_seeded seed;
    struct rng rng = rng_seeded(&seed, 1);
    struct kad_config config = {.network = "bench", .k = K, .use_v4 = true};
    struct addr entry = addr_of(0);
    uint64_t put_sent = 0, get_sent = 0;

    for (size_t i = 0; i < NODES; i++) {
        kad[i] = kad_new(&config, &rng, now);
        if (i > 0)
            kad_join(kad[i], now, &entry);
        turn(i);
        for (int r = 0; r < 20; r++)
            round_trip(true);
    }
    for (int r = 0; r < WARM_ROUNDS; r++)
        round_trip(true);
    for (uint32_t op = 0; op < OPERATIONS; op++) {
        struct identity *id = identity_new(&rng);
        uint8_t text[64];
        struct bytes_out out = bytes_out(text, sizeof text);
        ben_put_str(&out, "a value of forty bytes, more or less ....", 40);
        struct kad_item item = {.is_mutable = true, .seq = 1, .v = span(text, out.size)};
        size_t writer = rng_below(&rng, NODES), reader = rng_below(&rng, NODES);

        uint64_t before = sent;
        if (!run_put(writer, &item, id))
            return 1;
        put_sent += sent - before;
        before = sent;
        if (!run_get(reader, &item))
            return 1;
        get_sent += sent - before;
        identity_free(id);
        for (int r = 0; r < 50; r++)
            round_trip(true);
    }
    printf("%d puts, %.1f datagrams each; as many gets, %.1f\n", OPERATIONS, (double)put_sent / OPERATIONS,
           (double)get_sent / OPERATIONS);
    for (size_t i = 0; i < NODES; i++)
        kad_free(kad[i]);
    return 0;
}
