/* Keys that are put once and then left to die: the simulator keeps their repair from happening, and says beforehand
 * how many will be lost. What comes of it checks the simulator itself, its lifetimes and its stores.
 *
 * Whoever sends a put of such a key after the start is answered by the simulator as if it had been stored, so that
 * nobody takes a holder for dead. (A hook of the network, not a change of kad/.)
 *
 * A key with h holders is gone after t with probability p^h, p being the chance that a residual lifetime ends by
 * then. Keys that lie close together share holders, and two keys whose h and h' holders have s in common are both
 * gone with p^(h + h' - s): so the number of lost keys strays more than that of coins would, in a small network much.
 *
 *     struct scale_mortal *m = scale_mortal_new(work, 10000);   // puts are done, life begins
 *     scale_life_begin(life);  ...
 *     struct scale_mortal_fate f = scale_mortal_expected(m, mean_s, lived_s);
 *     lost = scale_mortal_lost(m);
 */
#ifndef TESTS_SCALE_MORTAL_H
#define TESTS_SCALE_MORTAL_H
#include "tests/scale_work.h"

struct scale_mortal;

struct scale_mortal_fate {
    double share, deviation; /* lost, of all: expected, and the standard deviation of that */
};

/* The first n mortal keys, and who holds each now. Takes the hook `swallow` of the network. */
struct scale_mortal *scale_mortal_new(struct scale_work *w, uint32_t n);
void scale_mortal_free(struct scale_mortal *m);
double scale_mortal_holders(const struct scale_mortal *m); /* of a key at the start, on average */
/* Given those holders, and that whoever leaves never returns. */
struct scale_mortal_fate scale_mortal_expected(const struct scale_mortal *m, double mean_s, double t_s);
/* How many of them nobody holds any more. */
uint32_t scale_mortal_lost(const struct scale_mortal *m);
/* Copies held now by somebody who did not hold the key at the start: none, or repair slipped through. */
uint32_t scale_mortal_strays(const struct scale_mortal *m);

#endif
