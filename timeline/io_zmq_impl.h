/* Inside the ZeroMQ links: what io_zmq.c (receiving, events, life), io_zmq_push.c (the cache of sending
 * links) and io_zmq_accept.c (who has connected) share. The states of a link are drawn in io_zmq.h.
 */
#ifndef TIMELINE_IO_ZMQ_IMPL_H
#define TIMELINE_IO_ZMQ_IMPL_H
#include <zmq.h>
#include "timeline/io_zmq.h"

#define ZMQ_ENDPOINT_SIZE (ADDR_TEXT_SIZE + 8)
#define ZLINK_SLOTS 1024      /* hash slots of the cache; a power of two */
#define ZLINK_NONE (-1)
#define ZHEARD_MAX 32         /* keys remembered as just heard */
#define ZACCEPT_CROWDS 1024   /* hash slots for the addresses of those who connected */

/* In our epoll, beside the places of links. */
#define ZEPOLL_ACCEPT (UINT32_MAX - 2)
#define ZEPOLL_PULL (UINT32_MAX - 1)
#define ZEPOLL_ZAP UINT32_MAX

enum zlink_state { ZLINK_FREE, ZLINK_CONNECTING, ZLINK_UP };

struct zparcel { /* owned bytes */
    uint8_t *data;
    size_t size;
};

struct zlink {
    enum zlink_state state;
    struct link_dest dest;
    void *push;
    int fd;
    int next;              /* in its hash slot, or in the free list */
    uint64_t since_ms;     /* CONNECTING: when it began */
    uint64_t last_send_ms;
    uint64_t stalled_ms;   /* UP: not writable since then; 0: writable */
    uint64_t sent;         /* messages given to this connection; after a pause half a queue at most */
    bool touched;          /* sent to since its events were last looked at */
    bool redialled;        /* CONNECTING: begun anew once, see link_redial */
    int parked_count, parked_cap;
    size_t parked_bytes;
    struct zparcel *parked; /* oldest first */
};

struct zevent {
    enum link_event_kind kind;
    struct link_dest dest;
    struct zparcel parcel; /* UNSENT */
};

struct zheard { /* a key that something came from */
    uint8_t key[LINK_KEY_SIZE];
    uint64_t at_ms;
};

struct zaccepted { /* a connection that came in; its place is its descriptor */
    uint8_t state;
    uint16_t crowd;  /* hash slot of its address */
    uint32_t since_ms; /* mono, its lower half */
};

struct zaccept {
    void *monitor;
    struct zaccepted *sockets;
    int files;       /* how many of those */
    int top;         /* the highest descriptor seen */
    int max, count;  /* connections that are let be, and that are there */
    uint16_t crowds[ZACCEPT_CROWDS]; /* how many of an address */
};

struct io_zmq {
    void *ctx;
    void *pull;
    struct zaccept accept;
    struct io_zap *zap;
    int epoll;
    uint8_t pk[LINK_KEY_SIZE], sk[LINK_KEY_SIZE];
    uint64_t mono_ms;
    uint64_t timer_ms;      /* the earliest moment a link may need attention */
    bool pull_more;         /* the last read from PULL found something */
    bool turn_more;         /* a bounded step of the last turn left something */
    zmq_msg_t in;           /* what the last RECEIVED points to */
    struct zparcel given;   /* what the last UNSENT points to */

    struct zlink links[LINK_OPEN_MAX];
    int slots[ZLINK_SLOTS];
    int free_link, open_count, connecting_count;
    int touched[LINK_OPEN_MAX];
    int touched_count;
    struct zheard heard[ZHEARD_MAX]; /* a ring of the last ones */
    int heard_at;

    struct zevent *events;  /* a ring */
    size_t events_cap, events_at, events_count;
    struct io_zmq_counters count;
};

/* io_zmq.c: events for the loop. push takes the parcel, unsent copies the bytes. */
void io_zmq_event_push(struct io_zmq *z, enum link_event_kind kind, const struct link_dest *dest,
                    struct zparcel parcel);
void io_zmq_event_unsent(struct io_zmq *z, const struct link_dest *dest, struct span bytes);
bool io_zmq_set_int(void *socket, int option, int value);
void io_zmq_endpoint(const struct addr *addr, char ret[ZMQ_ENDPOINT_SIZE]); /* "tcp://IP:PORT" */

/* io_zmq_accept.c: after pull_open; close before PULL is. turn: true when it left something. */
bool io_zmq_accept_open(struct io_zmq *z);
void io_zmq_accept_close(struct io_zmq *z);
bool io_zmq_accept_turn(struct io_zmq *z);
void io_zmq_accept_heard(struct io_zmq *z, int fd); /* a message came on it: it is somebody */

/* io_zmq_push.c */
void zlinks_init(struct io_zmq *z);
void zlinks_free(struct io_zmq *z, int linger_ms);
void zlink_wake(struct io_zmq *z, uint32_t index);  /* its descriptor told of something */
void zlinks_look(struct io_zmq *z);                 /* at all that were woken or sent to */
void zlinks_time_passes(struct io_zmq *z);
void zlinks_heard(struct io_zmq *z, const uint8_t key[LINK_KEY_SIZE]); /* something came from this key */

#endif
