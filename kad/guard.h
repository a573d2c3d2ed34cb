/* Who may make this node do how much: write tokens, and budgets by address.
 *
 * An address is known by its ip (IPv6 by its /64); in the loopback, private and link-local ranges, where many
 * nodes share one, by ip and port. Until it has proven that it is where it says it is (it answered a query of
 * ours, or returned a live token) it gets 2 KiB in any minute, and beyond that no more
 * bytes than it sent: so nobody gains by sending us queries in another's name. A proven one has a generous
 * bucket, so has what it may ask. The table of addresses starts empty, is bounded (proven and unproven apart,
 * so that made-up addresses cannot push out real ones) and forgets idle addresses; while addresses have to be
 * forgotten early, new ones start without the 2 KiB.
 *
 *     if (!kad_guard_recv(g, now, from, size)) drop();
 *     if (reply is ours) kad_guard_prove(g, now, from);
 *     if (kad_guard_send(g, now, to, size)) send();     // replies; our queries do not count
 *     kad_guard_token(g, now, from, token);  ...  if (!kad_guard_token_ok(g, now, from, token)) error 203
 */
#ifndef KAD_GUARD_H
#define KAD_GUARD_H
#include "core/addr.h"
#include "core/now.h"
#include "core/rng.h"

#define KAD_TOKEN_SIZE 8
#define KAD_TOKEN_EPOCH_MS 300000 /* a token is good for 5 to 10 minutes */
#define KAD_GUARD_SECRET_SIZE 16
#define KAD_GUARD_BURST_BYTES 1408       /* at once, unproven: a reply with the largest value ... */
#define KAD_GUARD_REFILL_BYTES 640       /* ... and a minute: both together are 2 KiB in any minute */
#define KAD_GUARD_CREDIT_BYTES 65536     /* unproven: bytes received that may still be answered, at most */
#define KAD_GUARD_PROVEN_BYTES_S 1048576 /* proven: bytes a second, and four times that at once */
#define KAD_GUARD_DATAGRAMS_S 5000       /* received from one address a second, and twice that at once */
#define KAD_GUARD_STORES_S 64            /* puts from one address a second */
#define KAD_GUARD_STORES_BURST 4096
#define KAD_GUARD_BAD_STORE 64       /* what a put with a bad signature costs */
#define KAD_GUARD_PROVEN_MS 180000   /* a proof is good for so long; that of a contact while it answers */
#define KAD_GUARD_IDLE_MS 60000      /* an unproven address that owes us is forgotten after */
#define KAD_GUARD_CLEAN_MS 1000      /* one that was not, after */
#define KAD_GUARD_ADDRESSES_MAX 4096 /* of each sort */

struct kad_guard;

struct kad_guard *kad_guard_new(const struct rng *rng); /* NULL: no memory. Draws the secrets. */
void kad_guard_free(struct kad_guard *g);
void kad_guard_disarm(struct kad_guard *g); /* for experiments: every budget is endless */

/* The token secret, to be saved and set again at start, so that tokens outlive a restart. */
void kad_guard_secret(const struct kad_guard *g, uint8_t ret_secret[KAD_GUARD_SECRET_SIZE]);
void kad_guard_set_secret(struct kad_guard *g, const uint8_t secret[KAD_GUARD_SECRET_SIZE]);

void kad_guard_token(const struct kad_guard *g, struct now now, const struct addr *addr,
                     uint8_t ret_token[KAD_TOKEN_SIZE]);
/* A good token also proves the address. */
bool kad_guard_token_ok(struct kad_guard *g, struct now now, const struct addr *addr, struct span token);

/* A datagram came from addr: false when it sends too many, to be dropped unread. */
bool kad_guard_recv(struct kad_guard *g, struct now now, const struct addr *addr, size_t bytes);
/* May a reply of that many bytes go to addr? Counted when true. */
bool kad_guard_send(struct kad_guard *g, struct now now, const struct addr *addr, size_t bytes);
/* How large a reply may be now (a shorter one may still fit); counts nothing. */
size_t kad_guard_room(struct kad_guard *g, struct now now, const struct addr *addr);
/* addr answered a query of ours. */
void kad_guard_prove(struct kad_guard *g, struct now now, const struct addr *addr);
bool kad_guard_is_proven(struct kad_guard *g, struct now now, const struct addr *addr);
/* May addr put one more record? Counted when true; false: error 202. Call before kad_store_put. */
bool kad_guard_store(struct kad_guard *g, struct now now, const struct addr *addr);
/* Its signature was bad (kad_store_put said 206): the verification was for nothing. */
void kad_guard_bad_store(struct kad_guard *g, struct now now, const struct addr *addr);

/* Forgets idle addresses; cheap; call now and then (each tick is fine). Has no deadline of its own. */
void kad_guard_tick(struct kad_guard *g, struct now now);
size_t kad_guard_addresses(const struct kad_guard *g); /* in the table now */
void kad_guard_check(const struct kad_guard *g);

#endif
