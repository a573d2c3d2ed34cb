/* Row 10, second half: what the node of a user who follows 50 sends and receives when nobody posts. Whole
 * nodes, by the simulator's code (tests/sim_net.h), under virtual time: all register, each of the followed
 * has ten or eleven followers and one post, four hours settle, and then a day is counted.
 *
 *   bench_follows [HOURS]
 *
 * Counted are both ways: datagrams with the 28 bytes of their IPv4 and UDP headers, and links with what
 * ZeroMQ, CURVE and TCP add. That was measured once, by strace on a PUSH and a PULL of libzmq 4.3.4 over
 * loopback. A segment has 52 bytes of headers; acknowledgements that travel with data are not counted. What
 * becomes due once a day, the 50 entries that are put again, is not in it; the reading of whom the
 * followed follow, once a day too, is. */
#include <sodium.h>
#include <stdio.h>

#include "tests/bench/bench.h"
#include "tests/sim_net.h"
#include "timeline/io_zmq.h"

#define FOLLOWS 50
#define NODES (FOLLOWS + 2)
#define FOLLOWS_OF_OTHERS 10
#define HOUR_MS (3600 * 1000)
#define SETTLE_MS (4 * HOUR_MS)
#define BUDGET_B_PER_S 500

#define DATAGRAM_EXTRA 28
#define MESSAGE_EXTRA (42 + 2 * 52)               /* CURVE's and ZMTP's, a segment and its acknowledgement */
#define CONNECTION_BYTES (838 + 10 * 52 + 8 * 60) /* greetings and handshake in 10 segments; and TCP's own */
#define HEARTBEAT_BYTES (2 * (42 + 40) + 4 * 52)  /* each end sends a PING and a PONG */

static unsigned done_ok, done_badly;

static void on_reply(void *ctx, size_t node, uint64_t tag, json_t *row, bool done, int status)
{
    (void)ctx, (void)node, (void)tag, (void)row;
    done_ok += done && status == 0;
    done_badly += done && status != 0;
}

static void do_register(struct sim *s, size_t node)
{
    char name[16], secret[2 * SECRET_SIZE + 1];

    snprintf(name, sizeof name, "u%zu", node);
    hex_encode(secret, sim_identity(s, node)->sk, SECRET_SIZE);
    sim_call(s, node, json_pack("{s:s, s:s, s:s, s:i}", "do", "register", "name", name, "secret", secret,
                                "device", 0));
}

static void do_follow(struct sim *s, size_t node, size_t whom)
{
    char id[USER_ID_SIZE];

    user_id_text(sim_identity(s, whom)->pk, id);
    sim_call(s, node, json_pack("{s:s, s:s}", "do", "follow", "who", id));
}

static struct sim *settled(void)
{
    struct sim *s = sim_new(&(struct sim_options){.seed = 10, .nodes = NODES, .latency_ms = 20,
                                                  .jitter_ms = 20, .reply = on_reply});

    for (size_t i = 0; i < NODES; i++) {
        sim_start(s, i);
        sim_run(s, 200);
    }
    for (size_t i = 0; i < NODES; i++) {
        do_register(s, i);
        sim_run(s, 2000);
    }
    for (size_t f = 1; f <= FOLLOWS; f++) {
        for (size_t i = 0; i < NODES && (i == 0 || f <= FOLLOWS_OF_OTHERS); i++)
            do_follow(s, i, (i + f) % NODES);
        sim_run(s, 3000);
    }
    for (size_t i = 0; i < NODES; i++) {
        sim_call(s, i, json_pack("{s:s, s:s}", "do", "post", "text", "hello"));
        sim_run(s, 1000);
    }
    sim_run(s, SETTLE_MS);
    return s;
}

int main(int argc, char **argv)
{
    static struct series each;
    double hours = argc > 1 ? atof(argv[1]) : 24, seconds = hours * HOUR_MS / 1000;
    struct sim_traffic from, to;

    if (sodium_init() < 0)
        return 1;
    struct sim *s = settled();
    sim_traffic(s, 0, &from);
    sim_run(s, (uint64_t)(hours * HOUR_MS));
    sim_traffic(s, 0, &to);
    sim_free(s);

    double datagrams = (double)(to.datagrams - from.datagrams) / seconds;
    double messages = (double)(to.messages - from.messages) / seconds;
    double connections = (double)(to.connections - from.connections) / seconds;
    double heartbeats = (double)(to.open_ms - from.open_ms) / IO_ZMQ_HEARTBEAT_MS / seconds;
    double by_udp = (double)(to.datagram_bytes - from.datagram_bytes) / seconds + DATAGRAM_EXTRA * datagrams;
    double by_links = (double)(to.message_bytes - from.message_bytes) / seconds + MESSAGE_EXTRA * messages +
                      CONNECTION_BYTES * connections + HEARTBEAT_BYTES * heartbeats;
    series_add(&each, by_udp + by_links);
    bench_row("10", "idle, a user with 50 follows", "B/s", &each, NULL, "<= 500 B/s",
              done_badly == 0 && series_median(&each) <= BUDGET_B_PER_S);
    printf("     a second %.1f datagrams, %.0f B; on links %.0f B, %.2f messages, %.2f connections\n", datagrams,
           by_udp, by_links, messages, connections);
    if (done_badly)
        printf("     %u of %u requests failed\n", done_badly, done_ok + done_badly);
    return 0;
}
