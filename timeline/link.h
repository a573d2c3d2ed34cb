/* Links: how messages travel between nodes, as the pure side sees them. The real thing is ZeroMQ PUSH/PULL
 * with CURVE (io_zmq.h); the simulator has queues. Only the loop touches either.
 *
 * The contract is weak on purpose, because that is what PUSH/PULL gives: at most once, in order for one
 * connection, whole messages; on a disconnect any number may vanish without a word. So acknowledgement,
 * deduplication and repair live in our messages.
 */
#ifndef TIMELINE_LINK_H
#define TIMELINE_LINK_H
#include "core/addr.h"

#define LINK_KEY_SIZE 32
#define LINK_MESSAGE_MAX (256 * 1024) /* bytes of one message; the receiving socket refuses more */
#define LINK_PARKED_MAX 8             /* messages kept for a destination that is still connecting */
#define LINK_OPEN_MAX 512             /* destinations with an open socket */

struct link_dest {
    struct addr addr;           /* TCP */
    uint8_t key[LINK_KEY_SIZE]; /* the CURVE public key that must be there */
};

enum link_event_kind {
    LINK_RECEIVED, /* a message came in: from_key, bytes */
    LINK_UP,       /* dest finished its handshake */
    LINK_DOWN,     /* dest was lost or refused; what was sent may or may not have arrived */
    LINK_UNSENT,   /* `bytes` for dest was given up: it could not be parked or its connection failed */
};

struct link_event {
    enum link_event_kind kind;
    uint8_t from_key[LINK_KEY_SIZE]; /* RECEIVED: the transport key that ZAP proved, whatever is said in it */
    struct link_dest dest;           /* UP, DOWN, UNSENT */
    struct span bytes;               /* borrowed until the next call of the source */
};

struct link_send {
    struct link_dest to;
    struct span bytes;
};

static inline bool link_dest_equal(const struct link_dest *a, const struct link_dest *b)
{
    if (!addr_equal(&a->addr, &b->addr))
        return false;
    for (int i = 0; i < LINK_KEY_SIZE; i++)
        if (a->key[i] != b->key[i])
            return false;
    return true;
}

#endif
