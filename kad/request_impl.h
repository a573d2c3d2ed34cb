/* What the files of a request share, and nobody else includes:
 *
 *     request.c        its life: queued, waiting for a contact, begun, finished
 *     request_legs.c   its lookups: whom each may ask, what they found together
 *     request_run.c    asking and answers, until the lookups have ended
 *     request_write.c  puts to the k closest
 */
#ifndef KAD_REQUEST_IMPL_H
#define KAD_REQUEST_IMPL_H
#include "kad/request.h"

#define PART_LOOKUP 0 /* rpc_tx.part of the queries of a lookup; others are of the second phase */

void request_free_legs(struct request *r);
/* One more lookup of the request's target; NULL: REQUEST_LEGS_MAX, or no memory. */
struct lookup *request_add_leg(struct kad *k, struct request *r, uint8_t family, uint8_t wanted,
                               uint8_t alpha);
/* A node for a leg, unless another leg has it. `by`: the node of that leg that named it, -1: we knew it. Its
 * index there, or -1. */
int request_offer(struct kad *k, struct request *r, unsigned leg, int by, const uint8_t *id,
                  const struct addr *addr);
/* Remembers for the next lookups who named the dead in these. */
void request_note_liars(struct kad *k, const struct request *r);
/* A get that found nothing goes once more, over paths that avoid everybody asked so far:
 * true when there are any. */
bool request_try_paths(struct kad *k, struct request *r);
/* Takes the nodes that the answer of `asked` names. `hop`: where to note up to `max` of them for a trace, or
 * NULL; returns how many were noted. */
size_t request_learn(struct kad *k, struct request *r, struct request_node asked, uint8_t family,
                     struct span list, struct kad_contact *hop, size_t max);

#endif
