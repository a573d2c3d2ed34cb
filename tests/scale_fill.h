/* A network as it is when everybody has joined and settled, made without a datagram: the steps of joining are taken
 * at their virtual times, each table hearing of those whom it would have heard of. How like real joins it is at
 * 10,000 nodes is in docs/scale.md.
 *
 *     struct scale_net *net = scale_net_new(&config);
 *     scale_fill(net, NULL);
 */
#ifndef TESTS_SCALE_FILL_H
#define TESTS_SCALE_FILL_H
#include "tests/scale_net.h"

/* Starts a node in every slot, which must all be down. */
/* like: ids to give them, of another network that has as many slots and whose first nodes all live; NULL: drawn. */
void scale_fill(struct scale_net *net, const struct scale_ids *like);

#endif
