/* The shape of a simulated network: what its routing tables look like, seen from above. By it a network that was
 * filled directly is compared with one whose nodes really joined.
 *
 *     struct scale_shape a, b;
 *     scale_shape_take(joined, &a);  scale_shape_take(filled, &b);
 *     double d = scale_shape_apart(a.size, a.n, b.size, b.n);     // Kolmogorov-Smirnov: 0 equal, 1 apart
 */
#ifndef TESTS_SCALE_SHAPE_H
#define TESTS_SCALE_SHAPE_H
#include "tests/scale_net.h"

#define SCALE_BUCKETS 32

struct scale_shape {
    uint32_t n;                      /* nodes up */
    uint32_t *size;                  /* contacts of each, ascending */
    uint32_t *known;                 /* in how many tables each is, ascending */
    double bucket[SCALE_BUCKETS];    /* mean contacts in the bucket of so many shared bits */
    double spread[SCALE_BUCKETS];    /* mean number of sixteenths of a bucket's range in which there is a contact */
    double dead;                     /* share of contacts that are not up any more */
    double near;                     /* share of each node's true k closest neighbours that it knows */
};

void scale_shape_take(const struct scale_net *net, struct scale_shape *ret);
void scale_shape_clear(struct scale_shape *s);
double scale_shape_mean(const uint32_t *v, uint32_t n);
static inline uint32_t scale_shape_at(const uint32_t *v, uint32_t n, double share)
{
    return n ? v[(uint32_t)(share * (n - 1) + 0.5)] : 0;
}
double scale_shape_apart(const uint32_t *a, uint32_t n_a, const uint32_t *b, uint32_t n_b);

#endif
