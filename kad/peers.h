/* Peers of an info-hash (BEP 5): who else has announced itself under it, and announcing ourselves. Both are a
 * lookup that asks with `get_peers`; it ends when the k closest have answered.
 *
 *     get_peers   every address that the answers name rises once, as it comes; at the end how many nodes
 *                 named any
 *     announce    `announce_peer` to the k closest, with the tokens they gave; here too if we are among them
 *
 *     request_new ---> LOOKING --peers_value--> LOOKING ... --peers_looked_up--> (final event: get_peers)
 *                        ^                                       |
 *                        +-- nobody named any: once more         +---> WRITING --peers_written--> (final:
 *                            over four disjoint paths                                           announce)
 *
 * - A peer proves nothing: it is an address that somebody says. It is taken if it has the form and the family
 *   of the answer (BEP 32), can be sent to, and is not in a local range unless the node that names it is
 *   there too.
 * - One node can name PEERS_ANSWER_MAX, all together PEERS_FOUND_MAX of a family: one liar cannot
 *   fill the answer.
 */
#ifndef KAD_PEERS_H
#define KAD_PEERS_H
#include "kad/request.h"

#define PEERS_ANSWER_MAX 64  /* peers taken from one answer: ours name at most 50 */
#define PEERS_FOUND_MAX 1024 /* peers of one family that rise from one request */

struct peers {
    bool implied;     /* announced is the port that we send from */
    uint16_t port[2]; /* by family: announced, or said beside `implied` to those who want one there */
    uint16_t n[2];    /* found, by family */
    uint16_t cap[2];
    struct peers_found { uint8_t ip[16]; uint16_t port; } *found[2];
};

/* CAM_ESYS. port 0: the one that we send from. */
int peers_for_get(struct request *r);
int peers_for_announce(struct request *r, uint16_t port);
void peers_free(struct peers *p);
void peers_begin(struct kad *k, struct request *r);            /* our own store is a source too */
void peers_query(const struct request *r, struct krpc_msg *q); /* the arguments of its get_peers */
void peers_value(struct kad *k, struct request *r, const struct addr *from, const struct krpc_msg *m);
bool peers_lacks(const struct request *r);                     /* nothing was found yet that was looked for */
void peers_looked_up(struct kad *k, struct request *r);
/* m NULL: no answer. */
void peers_written(struct kad *k, struct request *r, struct request_node at, const struct krpc_msg *m);
/* The announce_peer to one node, for the first time or again. */
void peers_announce_query(const struct request *r, const struct lookup_node *node, struct krpc_msg *q);

#endif
