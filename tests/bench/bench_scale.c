/* Rows 5 to 8: networks of unmodified kad/ objects under virtual time, by the simulator's own code (tests/scale_*).
 * What is measured are counts and shares, which virtual time does not bend, and the processor time of a join, in
 * which the simulator's own part is included. */
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/io_udp.h"
#include "tests/bench/bench.h"
#include "tests/scale_memory.h"
#include "tests/scale_world.h"

#define NODES 10000
#define KEYS 1000
#define JOINERS 1000
#define JOIN_K 8          /* row 6: the bucket size, and the contacts each is to have */
#define JOIN_MS_MAX 10000
#define SETTLE_MS 60000
#define JOIN_RTT_MS 1     /* one machine */
#define IDLE_S 1200

static void one(struct series *s, double v)
{
    s->n = 0;
    series_add(s, v);
}

static struct scale_tally run_batch(struct scale_world *w, enum scale_kind kind, uint32_t n)
{
    struct scale_batch batch = {.kind = kind, .n = n, .per_s = 500};
    struct scale_tally t;

    scale_work_run(w->work, &batch, &t);
    return t;
}

/* ---- row 5: what was stored is found, from anywhere ---------------------------------------------------- */

static bool row_found(uint32_t nodes)
{
    static struct series found;
    struct scale_world w;
    char what[64];

    scale_world_open(&w, &(struct scale_world_config){.net = {.slots = nodes, .seed = nodes}, .mutable_every = 2});
    struct scale_tally puts = run_batch(&w, SCALE_PUT, KEYS), gets = run_batch(&w, SCALE_GET, KEYS);
    bool good = puts.good == KEYS && gets.good == KEYS;
    one(&found, 100.0 * (double)gets.good / KEYS);
    snprintf(what, sizeof what, "gets that find, %u nodes, random origin", nodes);
    bench_row("5", what, "%", &found, NULL, "100 %", good);
    scale_tally_clear(&puts);
    scale_tally_clear(&gets);
    scale_world_close(&w);
    return good;
}

/* ---- row 6: joining ------------------------------------------------------------------------------------ */

/* A thousand nodes join one after another through one address each, one a millisecond. Counted for each is what it
 * sent and received until it had its contacts, whoever began it, and all that anybody sent until everybody had settled. */
static void row_join(void)
{
    static struct series cost, each, all;
    struct scale_net *net = scale_net_new(&(struct scale_config){.slots = JOINERS, .seed = 6, .k = JOIN_K,
                                                                 .rtt_ms = JOIN_RTT_MS});
    struct scale_life *life = scale_life_new(net, &(struct scale_life_config){.entries = 1});
    bool ready[JOINERS] = {false};
    uint32_t n_ready = 0;
    double start_s = scale_cpu_s();

    for (uint32_t ms = 0; ms < JOIN_MS_MAX && n_ready < JOINERS; ms++) {
        if (ms < JOINERS)
            scale_life_join(life, ms);
        scale_net_run(net, net->wheel.now_ms + 1);
        for (uint32_t i = 0; i < JOINERS && i <= ms; i++) {
            struct kad_stats s;
            if (ready[i])
                continue;
            kad_stats(net->nodes[i].kad, &s);
            if (s.contacts < JOIN_K)
                continue;
            ready[i] = true;
            n_ready++;
            series_add(&each, (double)(s.in_datagrams + s.out_datagrams));
        }
    }
    one(&cost, (scale_cpu_s() - start_s) * 1e3 / JOINERS);
    scale_net_run(net, net->wheel.now_ms + SETTLE_MS);
    one(&all, (double)net->counts.sent / JOINERS);
    bench_row("6", "a join, 1,000 nodes, k = 8, each 8 contacts", "ms", &cost, NULL, "<= 1 ms",
              n_ready == JOINERS && series_median(&cost) <= 1);
    bench_row("6", "its datagrams, until it has its 8 contacts", "", &each, NULL, "<= 40",
              n_ready == JOINERS && series_median(&each) <= 40);
    bench_row("6", "datagrams a node, until all have settled", "", &all, NULL, "-", true);
    scale_life_free(life);
    scale_net_free(net);
}

/* ---- row 7: memory of an idle node --------------------------------------------------------------------- */

/* Sockets are opened and kept beside the nodes, so that both fit in a process together; traffic is simulated. */
static void row_memory(void)
{
    static struct series bytes;
    const struct scale_world_config config = {.net = {.slots = NODES, .seed = 7}, .fill = true};
    const struct addr any = {.family = 4, .ip = {127, 0, 0, 1}};
    struct io_udp *sockets = scale_alloc(NODES, sizeof *sockets);
    struct scale_world w;
    uint32_t opened = 0;

    while (opened < NODES && io_udp_open(&any, &sockets[opened]) == 0)
        opened++;
    struct scale_net *empty = scale_net_new(&config.net);
    double heap = scale_heap_bytes();
    scale_net_free(empty);
    heap -= scale_heap_bytes(); /* what the simulator needs for itself */
    double before = scale_heap_bytes() + heap;
    scale_world_open(&w, &config);
    scale_world_run(&w, IDLE_S);
    one(&bytes, (scale_heap_bytes() - before) / NODES / 1024 + sizeof *sockets / 1024.0);
    bench_row("7", "an idle node's memory, 10,000 with sockets", "KiB", &bytes, NULL, "<= 12 KiB",
              opened == NODES && series_median(&bytes) <= 12);
    if (opened < NODES)
        printf("     only %u sockets could be opened\n", opened);
    scale_world_close(&w);
    while (opened > 0)
        io_udp_close(&sockets[--opened]);
    free(sockets);
}

/* ---- row 8: ten thousand nodes; a million are `scale --curve` and docs/scale.md ------------------------- */

static bool row_scale(void)
{
    static struct series took, found, hops;
    struct scale_world w;
    double start_s = scale_cpu_s();

    scale_world_open(&w, &(struct scale_world_config){.net = {.slots = NODES, .seed = 8}, .life = {.entries = 1},
                                                      .mutable_every = 4});
    struct scale_tally puts = run_batch(&w, SCALE_PUT, KEYS), gets = run_batch(&w, SCALE_GET, KEYS),
                       finds = run_batch(&w, SCALE_FIND, KEYS);
    one(&took, scale_cpu_s() - start_s);
    one(&found, 100 * scale_tally_share(&gets));
    one(&hops, scale_tally_hops(&finds));
    bench_row("8", "10,000 nodes join, 3,000 operations: CPU", "s", &took, NULL, "<= 60 s", series_median(&took) <= 60);
    bench_row("8", "lookups that find, 10,000 nodes", "%", &found, NULL, ">= 99.9 %", series_median(&found) >= 99.9);
    bench_row("8", "hops to the first of the k closest", "", &hops, NULL, "2.0 +- 0.3",
              series_median(&hops) >= 1.7 && series_median(&hops) <= 2.3);
    bool good = series_median(&found) >= 99.9;
    scale_tally_clear(&puts);
    scale_tally_clear(&gets);
    scale_tally_clear(&finds);
    scale_world_close(&w);
    return good;
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    row_memory(); /* first, while the heap is whole */
    bool good = row_found(300) & row_found(1000);
    row_join();
    good &= row_scale();
    return good ? 0 : 1;
}
