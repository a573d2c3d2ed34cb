/* Who comes, goes, crashes and returns in a simulated network, and when the network itself is cut in two.
 *
 * Sessions are Weibull with shape 0.5, as measured in deployed networks (many short ones, few very long), with a mean
 * of 10,000 s unless told otherwise. A run begins in the middle of things: whoever is there at its start has a
 * residual lifetime, so that from the first second as many leave as ever after. Who leaves, leaves without a word.
 * Its slot goes to a stranger, who joins through random nodes; or, for a share of the nodes, it was a crash: the
 * same node is back after a while with what it had saved, at its old address or another, and asks nobody to join.
 *
 *     struct scale_life *life = scale_life_new(net, &(struct scale_life_config){.mean_s = 10000});
 *     scale_life_begin(life);
 *     scale_net_run(net, ...);
 */
#ifndef TESTS_SCALE_LIFE_H
#define TESTS_SCALE_LIFE_H
#include "tests/scale_net.h"

#define SCALE_SESSION_MEAN_S 10000.0
#define SCALE_GROWTH_S 10.0 /* joining: the network grows e times in this */
#define SCALE_SETTLE_MS 180000 /* after the last has joined: its lookups after 3 and 30 s, its gaps, one a second */
#define SCALE_ENTRIES 3 /* nodes a stranger is told to join through */

struct scale_life_config {
    double mean_s;          /* of a session; 0: nobody ever leaves */
    double returns;         /* share of the nodes that keep a disk and come back from it ... */
    double away_s;          /* ... after this long on average ... */
    double moves;           /* ... and share of those that come back at another address */
    unsigned entries;       /* nodes a stranger joins through; 0: SCALE_ENTRIES */
};

struct scale_life {
    struct scale_net *net;
    struct scale_life_config config;
    struct scale_rand sessions, crashes, entry; /* how long; who returns, when, where; who is asked to let one in */
    struct scale_disk *disks;                   /* by slot */
    uint64_t left, crashed, returned, joined;
};

/* Takes the hooks on_dirty and on_life of `net`. */
struct scale_life *scale_life_new(struct scale_net *net, const struct scale_life_config *config);
void scale_life_free(struct scale_life *life);

/* Has a stranger start in the slot and join through random nodes that are up. */
void scale_life_join(struct scale_life *life, uint32_t slot);
/* All slots join, one after another, the network growing by a tenth each second. */
void scale_life_join_all(struct scale_life *life);
/* From now on nodes come and go. */
void scale_life_begin(struct scale_life *life);
/* From now on nobody does; who is away stays away. */
void scale_life_end(struct scale_life *life);

/* The arithmetic of it. Weibull with shape 1/2 and scale c has the mean 2c; with u = sqrt(t / c) a session outlives t
 * with probability exp(-u), and a residual lifetime with (1 + u) exp(-u). */
double scale_session_s(struct scale_rand *r, double mean_s);
double scale_residual_s(struct scale_rand *r, double mean_s);
/* The share of keys gone after t when each had so many holders at the start and nobody repaired anything. */
double scale_unrepaired_loss(double mean_s, double t_s, unsigned holders);

#endif
