/* A way back when everybody this node knew is gone: it looks for others of its network on the public
 * BitTorrent DHT, announced there under SHA1 of the network's name, and announces itself (DESIGN: promise 5).
 * A second `struct kad`, of the public network and read-only (BEP 43: it is there for minutes), on a port of
 * its own. Pure; cli/node.c drives it.
 *
 *         rescue_peers(false), then after_ms        rescue_peers(true)       written, the next tick
 *     (idle) ----------------------------> (open) ------------------> (closing) -------------------> (idle)
 *
 *     open:  RESTING --in touch, and its time has come--> ANNOUNCING --KAD_EVENT_ANNOUNCE--> ASKING
 *               ^                                                                               |
 *               +------- what was found is handed out; again after 30 s, 1, 2 ... 10 minutes ---+
 *
 * - Announcing comes before asking, so of two that look at the same time at least one finds the other.
 * - What is found is hearsay: of a round a random RESCUE_FOUND_MAX are handed out, for kad_hint. Whoever
 *   names thousands cannot be sure to hide the one that is real, and nobody named is bothered for long.
 * - Contacts of the public network are remembered in records of their own; RESCUE_KEY begins their keys.
 *
 *     rescue_load(r, key, value);                            // at the start, what was saved
 *     loop: rescue_recv(r, now, &from, data, size);  rescue_tick(r, now);
 *           while (rescue_next_found(r, &addr)) kad_hint(kad, now, &addr);
 *           while (rescue_next_out(r, &d)) send from its own socket;
 *           while (rescue_next_dirty(r, &dirty)) write in this turn's transaction
 */
#ifndef CLI_RESCUE_H
#define CLI_RESCUE_H
#include "kad/kad.h"

#define RESCUE_FOUND_MAX 64        /* addresses handed out in a round */
#define RESCUE_ROUND_MIN_MS 30000  /* from one round to the next: this, then twice as long ... */
#define RESCUE_ROUND_MAX_MS 600000 /* ... up to this */
#define RESCUE_KEY "rescue/"       /* before the keys of what it saves */

struct rescue;

struct rescue_config {
    const char *network;   /* of the main node; "" has nobody to look for */
    uint64_t after_ms;     /* without a peer for so long; 0: never */
    uint16_t port;         /* of the main node: announced */
    bool use_v4, use_v6;
};

struct rescue_status {
    bool on, open;
    uint32_t contacts;     /* on the public network */
    uint32_t rounds, found; /* since it was opened: rounds ended, addresses handed out */
    uint64_t opens_ms;     /* mono_ms when it will open, NOW_NEVER: it has no reason to */
};

/* NULL: no memory. */
struct rescue *rescue_new(const struct rescue_config *config, const struct rng *rng, struct now now);
void rescue_free(struct rescue *r);
/* One record that rescue_next_dirty gave in an earlier life; keeps a copy. CAM_EFORMAT: not one of them. */
int rescue_load(struct rescue *r, struct span key, struct span value);

/* The main node has peers (again), or has lost its last one. */
void rescue_peers(struct rescue *r, struct now now, bool any);
bool rescue_is_open(const struct rescue *r); /* it wants a socket */
void rescue_give_up(struct rescue *r, struct now now); /* there is no socket: tries again after after_ms */
/* An address to enter the public network by. */
void rescue_join(struct rescue *r, struct now now, const struct addr *addr);
void rescue_recv(struct rescue *r, struct now now, const struct addr *from, const uint8_t *buf, size_t size);
void rescue_tick(struct rescue *r, struct now now);
uint64_t rescue_deadline_ms(const struct rescue *r);
bool rescue_next_out(struct rescue *r, struct kad_datagram *ret_out);
bool rescue_next_found(struct rescue *r, struct addr *ret);
bool rescue_next_dirty(struct rescue *r, struct kad_dirty *ret_dirty);
void rescue_status(const struct rescue *r, struct rescue_status *ret);
void rescue_check(const struct rescue *r); /* asserts its invariants */

#endif
