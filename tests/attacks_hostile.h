/* What attackers say. A ring is a number of hosts that know of one another and speak KRPC by kad/krpc.h:
 *
 *     HOSTILE_PALS    to every lookup they name the members of the ring closest to its target
 *     HOSTILE_FORGED  they name nodes that do not exist, as close to the target as BEP 42 lets an address stand
 *     HOSTILE_FREE    (where ids are not bound to addresses) they name one another under ids right beside any target,
 *                     and answer under them
 *
 * A value they either do not have, or they serve an old one; a put they accept and forget.
 *
 *     struct hostile_ring ring; hostile_ring_init(&ring, HOSTILE_PALS);
 *     hostile_place(target, i, &addr, id);
 *     hostile_join(a, &ring, &addr, id);
 *     hostile_greet(a, &ring);                       // so that honest tables have a chance to take them in
 */
#ifndef TESTS_ATTACKS_HOSTILE_H
#define TESTS_ATTACKS_HOSTILE_H
#include "tests/attacks_arena.h"

#define HOSTILE_MAX 1024

enum hostile_names { HOSTILE_PALS, HOSTILE_FORGED, HOSTILE_FREE };

struct hostile_ring {
    struct hostile what;                /* ctx: the ring */
    enum hostile_names names;
    uint32_t hosts[HOSTILE_MAX];
    uint32_t n;
    const struct arena_record *old;     /* served for its target */
    uint32_t claims_split;              /* of shards they are asked for, one in so many times; 0: never */
    bool lies_address;                  /* tells others a wrong address of theirs */
    uint32_t wake_ms;                   /* each asks some honest node something so often; 0: never */
    struct scale_rand rand;
};

void hostile_ring_init(struct hostile_ring *ring, enum hostile_names names);
uint32_t hostile_join(struct arena *a, struct hostile_ring *ring, const struct addr *addr, const uint8_t *id);
/* A node that was honest joins the ring. */
void hostile_take_over(struct arena *a, struct hostile_ring *ring, uint32_t host);
/* Each member asks each honest node something, once. */
void hostile_greet(struct arena *a, const struct hostile_ring *ring);
/* From now on each member asks some honest node every wake_ms. */
void hostile_busy(struct arena *a, struct hostile_ring *ring, uint32_t wake_ms);
void hostile_leave(struct arena *a, struct hostile_ring *ring);

#define HOSTILE_PLACES 640              /* distinct subnets from which one can stand beside a target */

/* The i-th address, and an id that fits it, that agrees with target in the 21 bits that BEP 42 looks at and in all
 * others but a few at the end. No two of one target share a /24. */
void hostile_place(const uint8_t target[KAD_ID_SIZE], uint32_t i, struct addr *ret_addr, uint8_t ret_id[KAD_ID_SIZE]);

/* What an attacker makes of the i-th /24 that it could get hold of, wherever that is: the host number and the id in it
 * that stand closest to the target. Each gives 2,048 of the 2^21 prefixes that BEP 42 binds. */
void hostile_choose(const uint8_t target[KAD_ID_SIZE], uint32_t i, struct addr *ret_addr, uint8_t ret_id[KAD_ID_SIZE]);

/* One query as an attacker's, encoded. Returns its size. */
size_t hostile_query(const struct arena *a, uint32_t host, struct krpc_msg *q, uint8_t buf[KAD_DATAGRAM_MAX]);

#endif
