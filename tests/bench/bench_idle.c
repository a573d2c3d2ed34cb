/* Row 10, first half (the second is bench_follows.c): what a node without a user sends and receives when nobody asks anything of it. By the
 * simulator's code (tests/scale_*): everybody joins, the network settles, and then an hour passes in virtual time.
 *
 *   bench_idle [NODES [HOURS]]
 *
 * Counted are both ways, every datagram with the 28 bytes of its IPv4 and UDP headers. A network that holds records
 * is measured as well: as many as there are nodes, so k at each, which their holders see to hourly. */
#include <sodium.h>
#include <stdio.h>

#include "tests/bench/bench.h"
#include "tests/scale_world.h"

#define NODES 1000
#define HOURS 1
#define HEADERS 28      /* IPv4 and UDP */
#define SETTLE_S 3600   /* the first hour has lookups that later ones have not */

static double bytes_per_s(const struct scale_net *net, const struct scale_counts *before, double seconds)
{
    double sent = (double)(net->counts.sent - before->sent), bytes = (double)(net->counts.bytes - before->bytes);

    return 2 * (bytes + HEADERS * sent) / net->config.slots / seconds; /* what one sends another receives */
}

static void measure(struct scale_world *w, double hours, const char *with)
{
    static struct series each;
    struct scale_counts before = w->net->counts;
    char what[64];

    scale_world_run(w, hours * 3600);
    each.n = 0;
    series_add(&each, bytes_per_s(w->net, &before, hours * 3600));
    snprintf(what, sizeof what, "idle, no user, %u nodes%s", w->net->config.slots, with);
    bench_row("10", what, "B/s", &each, NULL, "<= 300 B/s", series_median(&each) <= 300);
    printf("     %.3f datagrams a second leave each\n",
           (double)(w->net->counts.sent - before.sent) / w->net->config.slots / hours / 3600);
}

int main(int argc, char **argv)
{
    uint32_t nodes = argc > 1 ? (uint32_t)atol(argv[1]) : NODES;
    double hours = argc > 2 ? atof(argv[2]) : HOURS;
    struct scale_world w;
    struct scale_tally puts;

    if (sodium_init() < 0)
        return 1;
    scale_world_open(&w, &(struct scale_world_config){.net = {.slots = nodes, .seed = 10}, .life = {.entries = 1},
                                                      .mutable_every = 4});
    scale_world_run(&w, SETTLE_S);
    measure(&w, hours, "");
    scale_work_run(w.work, &(struct scale_batch){.kind = SCALE_PUT, .n = nodes, .per_s = 100}, &puts);
    bool stored = puts.good == nodes;
    scale_tally_clear(&puts);
    scale_world_run(&w, SETTLE_S);
    measure(&w, hours, ", a record each");
    scale_world_close(&w);
    return stored ? 0 : 1;
}
