/* A network as it is after everybody has joined and lived in it for a while, made without the joining: each table
 * is filled with true contacts, as many of each bucket as it would hold, drawn at random from those there are.
 * Shown equal to real joins at 10,000 nodes in docs/scale.md.
 *
 *     struct scale_net *net = scale_net_new(&config);
 *     scale_fill(net);
 */
#ifndef TESTS_SCALE_FILL_H
#define TESTS_SCALE_FILL_H
#include "tests/scale_net.h"

/* Starts a node in every slot, which must all be down. */
void scale_fill(struct scale_net *net);

#endif
