/* Links for real: ZeroMQ PUSH/PULL with CURVE, as timeline/link.h describes them.
 *
 * One PULL takes everything that comes in; what arrives is credited to the transport key that ZAP proved
 * (io_zap.h). One PUSH for each destination, in a cache of LINK_OPEN_MAX: opened by the first send, closed
 * after IO_ZMQ_IDLE_MS without one, polled by an epoll of its own over the sockets' ZMQ_FDs.
 *
 *                       writable                       not writable, less sent than the queue holds; or
 *     CONNECTING  -------------------->  UP            for STALL_MS whatever was sent; or idle
 *      | sends are parked (8), then       | sends go ------------------------------> closed, LINK_DOWN
 *      | given back as LINK_UNSENT        | to libzmq; when its queue is full they park
 *      '---- CONNECT_MS passed: LINK_UNSENT for each parked one, LINK_DOWN, closed
 *
 * A send to a link that is CONNECTING while its peer has just been heard begins the connection anew, once.
 *
 * A PUSH with ZMQ_IMMEDIATE is writable exactly while a finished connection has room, which says "up" without
 * a monitor socket for each. libzmq's own reconnecting waits longer than STALL_MS, so a link that is writable
 * again is the same connection and nothing vanished in between; a lost one is closed here and opened by the
 * next send.
 *
 * libzmq takes in whoever connects, before ZAP is asked, and each holds a descriptor. One too many makes
 * room: of the address that holds a good part of them, else of all, first such as have said nothing
 * (io_zmq_accept.c).
 *
 *     if ((err = io_zmq_new(pk, sk, mono_ms, &z, why)) || (err = io_zmq_bind(z, &listen, why))) ...
 *     io_zmq_admit(z, ask_timeline, t);
 *     loop: io_zmq_turn(z, mono_ms);
 *           while (io_zmq_next(z, &event)) timeline_recv(t, now, &event);
 *           io_zmq_send(z, &send);
 *           wait for io_zmq_fd(z), io_zmq_deadline_ms(z); not at all while io_zmq_ready(z)
 */
#ifndef TIMELINE_IO_ZMQ_H
#define TIMELINE_IO_ZMQ_H
#include "timeline/link.h"

#define IO_ZMQ_WHY_MAX 256
#define IO_ZMQ_CONNECT_MS 3000   /* also the time a handshake may take */
#define IO_ZMQ_STALL_MS 900      /* below libzmq's first reconnect */
#define IO_ZMQ_RECONNECT_MS 1000
#define IO_ZMQ_IDLE_MS 60000
#define IO_ZMQ_HEARTBEAT_MS 20000
#define IO_ZMQ_SEND_QUEUE 32     /* messages libzmq keeps for a slow destination: it counts no bytes */
#define IO_ZMQ_WAITING_MAX 4096  /* messages that wait behind them here ... */
#define IO_ZMQ_WAITING_BYTES_MAX (16 * 1024 * 1024) /* ... and their bytes */
#define IO_ZMQ_CONNECTING_MAX (LINK_OPEN_MAX / 2) /* the dead leave room for those who answer */
#define IO_ZMQ_DOUBT_MS 500      /* still connecting after that: gives way when many are */
#define IO_ZMQ_RECV_QUEUE 256    /* messages libzmq reads ahead from one sender */
#define IO_ZMQ_ACCEPTED_MAX 2048 /* connections that came in; half of our descriptors where that is less */
#define IO_ZMQ_EVENTS_MAX 8192   /* events waiting for the loop; more UNSENT are dropped, as links may */

struct io_zmq;

struct io_zmq_counters {
    uint64_t received, sent, unsent, opened, lost, evicted;
    uint64_t turned_away; /* connections that were one too many */
    uint64_t no_key; /* messages without a proven key: always 0, or something is very wrong */
};

/* Context, ZAP handler and its proof. Keys are raw CURVE keys, copied. CAM_ESYS. */
int io_zmq_new(const uint8_t pk[LINK_KEY_SIZE], const uint8_t sk[LINK_KEY_SIZE], uint64_t mono_ms,
               struct io_zmq **ret, char ret_why[IO_ZMQ_WHY_MAX]);
/* Closes everything; what was sent last gets a fifth of a second to leave. */
void io_zmq_free(struct io_zmq *z);
/* Listens at addr (port > 0); may be called for one address of each family. CAM_ESYS: occupied, not ours. */
int io_zmq_bind(struct io_zmq *z, const struct addr *addr, char ret_why[IO_ZMQ_WHY_MAX]);
void io_zmq_unbind(struct io_zmq *z, const struct addr *addr);
void io_zmq_admit(struct io_zmq *z, bool (*admits)(void *ctx, const uint8_t key[LINK_KEY_SIZE]), void *ctx);

void io_zmq_turn(struct io_zmq *z, uint64_t mono_ms); /* handshakes, ups and downs, timers */
bool io_zmq_next(struct io_zmq *z, struct link_event *ret);
void io_zmq_send(struct io_zmq *z, const struct link_send *send);

int io_zmq_fd(const struct io_zmq *z);    /* an epoll: readable when there may be something to do */
bool io_zmq_ready(struct io_zmq *z);      /* something waits that the descriptor will not tell of again */
uint64_t io_zmq_deadline_ms(const struct io_zmq *z);
void *io_zmq_context(struct io_zmq *z);   /* libzmq's, for the local API, which must close before this does */
void io_zmq_counters(const struct io_zmq *z, struct io_zmq_counters *ret);
int io_zmq_open_count(const struct io_zmq *z);

#endif
