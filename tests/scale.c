/* The network at scale: unmodified kad/ objects by the thousands under virtual time, with churn, faults and a million
 * nodes where there is memory for them. One seed is one run, bit for bit.
 *
 *   scale --nodes N --seed S --hours H     a network in life: keys with and without repair, lookups, all measured
 *         [--keys N] [--mean S] [--loss P] [--duplicate P] [--reorder P] [--returns P] [--cuts N] [--fill | --join]
 *   scale --curve [--nodes MAX]            lookups by the size of the network, 1,000 to MAX: the rows of docs/scale.tsv
 *   scale --alike [--nodes N] [--hours H]  networks that joined and lived beside one filled directly
 *   scale --seeds                          what every commit must pass; ends with "N passed, N failed"
 */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scale_seeds.h"
#include "tests/scale_shape.h"
#include "tests/scale_world.h"

#define JOIN_NODES_MAX 20000   /* beyond, tables are filled directly unless --join */
#define SAMPLE 500             /* gets in an hour of life */
#define FINDS 2000
#define HOLDERS_MAX KAD_K

struct options {
    struct scale_world_config world;
    uint32_t keys, cuts;
    double hours;
    bool fill, join, curve, alike, seeds;
};

static struct scale_tally run_batch(struct scale_world *w, enum scale_kind kind, uint32_t first, uint32_t n, bool mortal,
                                    double per_s)
{
    struct scale_batch batch = {.kind = kind, .first_key = first, .n = n, .mortal = mortal, .per_s = per_s};
    struct scale_tally t;

    scale_work_run(w->work, &batch, &t);
    return t;
}

/* ---- a network in life --------------------------------------------------------------------------------- */

static void progress(struct scale_world *w, double hour, const struct scale_tally *gets, uint64_t sent, double span_s,
                     double since_s)
{
    struct scale_shape s;

    scale_shape_take(w->net, &s);
    printf("%6.2f %9u %8.1f %6.2f%% %9.2f %9.3f%% %7.1f %8.0f %8.1f  %016llx\n", hour, w->net->up,
           scale_shape_mean(s.size, s.n), 100 * s.dead, (double)sent / span_s / w->net->up, 100 * scale_tally_share(gets),
           gets->ended ? (double)gets->holders / (double)gets->ended : 0, scale_resident_mib(), scale_real_s() - since_s,
           (unsigned long long)w->net->hash);
    fflush(stdout);
    scale_shape_clear(&s);
}

/* An hour with a cut network in its middle, if there is one; the sample of gets counts after it has healed. */
static void live(struct scale_world *w, double seconds, bool cut)
{
    if (!cut) {
        scale_world_run(w, seconds);
        return;
    }
    scale_world_run(w, seconds / 3);
    w->net->cut = true;
    w->net->cut_salt++;
    scale_world_run(w, seconds / 3);
    w->net->cut = false;
    scale_world_run(w, seconds / 3);
}

static void report_finds(struct scale_world *w)
{
    struct scale_tally t = run_batch(w, SCALE_FIND, 0, FINDS, false, 100);

    printf("lookups                        %9llu   hops to the first of the k closest %.2f, nodes asked %.1f\n",
           (unsigned long long)t.ended, scale_tally_hops(&t), t.ended ? (double)t.answers / (double)t.ended : 0);
    printf("  of the true k closest, named %8.3f%%   p50 %u ms, p99 %u ms\n",
           t.closest ? 100 * (double)t.named / (double)t.closest : 0, scale_tally_latency_ms(&t, 0.5),
           scale_tally_latency_ms(&t, 0.99));
    scale_tally_clear(&t);
}

/* Keys that nobody holds any more, and how many holders the others have. */
static uint32_t count_lost(struct scale_world *w, uint32_t keys, bool mortal, double *ret_holders)
{
    uint32_t lost = 0;
    uint64_t holders = 0;

    for (uint32_t i = 0; i < keys; i++) {
        uint32_t n = scale_work_holders(w->work, i, mortal);
        lost += n == 0;
        holders += n;
    }
    *ret_holders = keys ? (double)holders / keys : 0;
    return lost;
}

static int sim(const struct options *o)
{
    struct scale_world w;
    struct scale_world_config config = o->world;
    double begun_s = scale_real_s(), kept_holders, mortal_holders;
    uint32_t keys = o->keys;

    config.fill = o->fill || (!o->join && config.net.slots > JOIN_NODES_MAX);
    scale_world_open(&w, &config);
    printf("%u nodes %s: %.0f s, %.0f MiB, %.0f bytes of heap a node\n", w.net->up,
           config.fill ? "filled directly" : "joined", scale_real_s() - begun_s, scale_resident_mib(),
           scale_heap_bytes() / w.net->up);
    double rate = keys / 120.0 > 50 ? keys / 120.0 : 50;
    struct scale_tally kept = run_batch(&w, SCALE_PUT, 0, keys, false, rate);
    struct scale_tally mortal = run_batch(&w, SCALE_PUT, 0, keys, true, rate);
    printf("%u keys put and kept up (%llu stored), %u put and left to die (%llu stored)\n", keys,
           (unsigned long long)kept.good, keys, (unsigned long long)mortal.good);
    printf("  hour     nodes contacts    dead  dgram/s/n gets found holders      MiB     real  rolling hash\n");
    w.net->swallow = scale_work_swallow;
    scale_life_begin(w.life);
    uint64_t life_ms = w.net->wheel.now_ms, sent = w.net->counts.sent;
    double step_s = o->hours < 1 ? o->hours * 3600 : 3600;
    uint64_t gets_asked = 0, gets_good = 0, wrong = 0;
    for (uint32_t hour = 0; (hour + 0.5) * step_s < o->hours * 3600; hour++) {
        uint64_t before = w.net->counts.sent, from_ms = w.net->wheel.now_ms;
        uint64_t end_ms = life_ms + (uint64_t)((hour + 1) * step_s * 1000);
        live(&w, (double)(end_ms - from_ms) / 1000, o->cuts && hour % o->cuts == o->cuts - 1);
        double span_s = (double)(w.net->wheel.now_ms - from_ms) / 1000;
        uint64_t quiet = w.net->counts.sent - before;
        struct scale_tally gets = run_batch(&w, SCALE_GET, keys > SAMPLE ? hour * SAMPLE % (keys - SAMPLE) : 0,
                                            keys < SAMPLE ? keys : SAMPLE, false, 50);
        gets_asked += gets.asked - gets.gone;
        gets_good += gets.good;
        wrong += gets.wrong;
        progress(&w, (hour + 1) * step_s / 3600, &gets, quiet, span_s, begun_s);
        scale_tally_clear(&gets);
    }
    double lived_s = (double)(w.net->wheel.now_ms - life_ms) / 1000;
    uint64_t sent_in_life = w.net->counts.sent - sent;
    uint32_t kept_lost = count_lost(&w, keys, false, &kept_holders);
    uint32_t mortal_lost = count_lost(&w, keys, true, &mortal_holders);
    struct scale_tally all = run_batch(&w, SCALE_GET, 0, keys, false, rate);

    printf("\n%u nodes, seed %llu, %.2f virtual hours, mean session %.0f s; loss %.3g, twice %.3g, late %.3g\n",
           w.net->config.slots, (unsigned long long)config.net.seed, lived_s / 3600, config.life.mean_s, config.net.loss,
           config.net.duplicate, config.net.reorder);
    printf("came %llu, left %llu, crashed %llu, returned %llu\n", (unsigned long long)w.life->joined,
           (unsigned long long)w.life->left, (unsigned long long)w.life->crashed, (unsigned long long)w.life->returned);
    printf("datagrams sent in life         %9.0f k   %.2f a second and node\n", (double)sent_in_life / 1e3,
           (double)sent_in_life / lived_s / w.net->config.slots);
    printf("keys with hourly repair        %9u   lost %u; holders each %.1f; found by gets %llu of %llu\n", keys, kept_lost,
           kept_holders, (unsigned long long)all.good, (unsigned long long)(all.asked - all.gone));
    printf("keys without repair            %9u   lost %.2f%%; the residual-life formula says %.2f%%\n", keys,
           keys ? 100.0 * mortal_lost / keys : 0,
           config.life.mean_s > 0 && config.life.returns == 0
               ? 100 * scale_unrepaired_loss(config.life.mean_s, lived_s, HOLDERS_MAX) : 0);
    printf("gets in life                   %9llu   found %.3f%%; values never put: %llu\n", (unsigned long long)gets_asked,
           gets_asked ? 100 * (double)gets_good / (double)gets_asked : 0, (unsigned long long)wrong);
    report_finds(&w);
    printf("memory                         %9.0f MiB resident, %.0f bytes of heap a node; %.0f s of real time\n",
           scale_resident_mib(), scale_heap_bytes() / w.net->up, scale_real_s() - begun_s);
    printf("rolling hash                   %016llx\n", (unsigned long long)w.net->hash);
    scale_tally_clear(&kept);
    scale_tally_clear(&mortal);
    scale_tally_clear(&all);
    scale_world_close(&w);
    return kept_lost || wrong ? 1 : 0;
}

/* ---- the curve ----------------------------------------------------------------------------------------- */

static int curve(const struct options *o)
{
    static const uint32_t sizes[] = {1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000};

    printf("nodes\tready_s\tmib\tbytes_a_node\tcontacts\tputs\tgets\tfound\thops\tasked\tnamed\tp50_ms\tp99_ms\treal_s\n");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && sizes[i] <= o->world.net.slots; i++) {
        struct scale_world_config config = o->world;
        struct scale_world w;
        struct scale_shape s;
        double begun_s = scale_real_s();
        config.net.slots = sizes[i];
        config.fill = true;
        config.life.mean_s = 0;
        scale_world_open(&w, &config);
        double ready_s = scale_real_s() - begun_s;
        struct scale_tally puts = run_batch(&w, SCALE_PUT, 0, FINDS, false, 400);
        struct scale_tally gets = run_batch(&w, SCALE_GET, 0, FINDS, false, 400);
        struct scale_tally finds = run_batch(&w, SCALE_FIND, 0, FINDS, false, 400);
        scale_shape_take(w.net, &s);
        printf("%u\t%.1f\t%.0f\t%.0f\t%.1f\t%llu\t%llu\t%llu\t%.3f\t%.2f\t%.5f\t%u\t%u\t%.1f\n", sizes[i], ready_s,
               scale_resident_mib(), scale_heap_bytes() / w.net->up, scale_shape_mean(s.size, s.n),
               (unsigned long long)puts.good, (unsigned long long)gets.ended, (unsigned long long)gets.good,
               scale_tally_hops(&finds), (double)finds.answers / (double)finds.ended,
               (double)finds.named / (double)finds.closest, scale_tally_latency_ms(&gets, 0.5),
               scale_tally_latency_ms(&gets, 0.99), scale_real_s() - begun_s);
        fflush(stdout);
        scale_shape_clear(&s);
        scale_tally_clear(&puts);
        scale_tally_clear(&gets);
        scale_tally_clear(&finds);
        scale_world_close(&w);
    }
    return 0;
}

/* ---- joined and filled --------------------------------------------------------------------------------- */

static void show_shape(struct scale_world *w, const char *name, const struct scale_shape *beside, struct scale_shape *s)
{
    scale_shape_take(w->net, s);
    struct scale_tally t = run_batch(w, SCALE_FIND, 0, FINDS, false, 200);
    printf("%-24s contacts %6.1f (p10 %3u p90 %3u)  known by %6.1f (p10 %3u p90 %3u)  near %7.3f%%  hops %.2f"
           "  p50 %u ms", name, scale_shape_mean(s->size, s->n), scale_shape_at(s->size, s->n, 0.1),
           scale_shape_at(s->size, s->n, 0.9), scale_shape_mean(s->known, s->n), scale_shape_at(s->known, s->n, 0.1),
           scale_shape_at(s->known, s->n, 0.9), 100 * s->near, scale_tally_hops(&t), scale_tally_latency_ms(&t, 0.5));
    if (beside)
        printf("  apart: size %.3f, known %.3f", scale_shape_apart(s->size, s->n, beside->size, beside->n),
               scale_shape_apart(s->known, s->n, beside->known, beside->n));
    printf("\n%24s contacts by bucket:", "");
    for (unsigned b = 0; b < SCALE_BUCKETS && s->bucket[b] >= 0.01; b++)
        printf(" %.2f", s->bucket[b]);
    printf("\n%24s sixteenths covered:", "");
    for (unsigned b = 0; b < SCALE_BUCKETS && s->bucket[b] >= 0.01; b++)
        printf(" %.2f", s->spread[b]);
    printf("\n");
    fflush(stdout);
    scale_tally_clear(&t);
}

static int alike(const struct options *o)
{
    struct scale_world_config config = o->world;
    struct scale_world w;
    struct scale_shape filled, s;
    char name[32];

    config.fill = true;
    scale_world_open(&w, &config);
    show_shape(&w, "filled directly", NULL, &filled);
    scale_world_close(&w);
    config.fill = false;
    scale_world_open(&w, &config);
    show_shape(&w, "joined, settled", &filled, &s);
    scale_shape_clear(&s);
    scale_life_begin(w.life);
    for (unsigned hour = 1; hour <= (unsigned)o->hours; hour++) {
        /* Every node looks something up about each quarter of an hour. */
        struct scale_tally t = run_batch(&w, SCALE_FIND, 0, 4 * config.net.slots, false, config.net.slots / 800.0);
        scale_tally_clear(&t);
        snprintf(name, sizeof name, "lived for %u h", hour);
        show_shape(&w, name, &filled, &s);
        scale_shape_clear(&s);
    }
    scale_shape_clear(&filled);
    scale_world_close(&w);
    return 0;
}

/* ---- the command line ---------------------------------------------------------------------------------- */

static const struct option long_options[] = {
    {"nodes", required_argument, NULL, 'n'},  {"seed", required_argument, NULL, 's'},
    {"hours", required_argument, NULL, 'h'},  {"keys", required_argument, NULL, 'k'},
    {"mean", required_argument, NULL, 'm'},   {"loss", required_argument, NULL, 'l'},
    {"duplicate", required_argument, NULL, 'd'}, {"reorder", required_argument, NULL, 'r'},
    {"returns", required_argument, NULL, 'R'}, {"cuts", required_argument, NULL, 'c'},
    {"mutable", required_argument, NULL, 'M'}, {"fill", no_argument, NULL, 'f'},
    {"join", no_argument, NULL, 'j'},         {"curve", no_argument, NULL, 'C'},
    {"alike", no_argument, NULL, 'A'},        {"seeds", no_argument, NULL, 'S'},
    {NULL, 0, NULL, 0},
};

static bool parse(int argc, char **argv, struct options *o)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 'n': o->world.net.slots = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 's': o->world.net.seed = strtoull(optarg, NULL, 10); break;
        case 'h': o->hours = atof(optarg); break;
        case 'k': o->keys = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'm': o->world.life.mean_s = atof(optarg); break;
        case 'l': o->world.net.loss = atof(optarg); break;
        case 'd': o->world.net.duplicate = atof(optarg); break;
        case 'r': o->world.net.reorder = atof(optarg); break;
        case 'R': o->world.life.returns = atof(optarg); break;
        case 'c': o->cuts = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'M': o->world.mutable_every = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'f': o->fill = true; break;
        case 'j': o->join = true; break;
        case 'C': o->curve = true; break;
        case 'A': o->alike = true; break;
        case 'S': o->seeds = true; break;
        default: return false;
        }
    }
    return optind == argc && o->world.net.slots > 0;
}

int main(int argc, char **argv)
{
    struct options o = {
        .world = {.net = {.slots = 1000, .seed = 1}, .life = {.mean_s = SCALE_SESSION_MEAN_S, .away_s = 600, .moves = 0.3}},
        .keys = 1000, .hours = 24,
    };

    if (sodium_init() < 0 || !parse(argc, argv, &o)) {
        fputs("scale --nodes N --seed S --hours H | --curve | --alike | --seeds   (see the head of tests/scale.c)\n", stderr);
        return 64;
    }
    if (o.seeds)
        return scale_seeds();
    if (o.curve)
        return curve(&o);
    return o.alike ? alike(&o) : sim(&o);
}
