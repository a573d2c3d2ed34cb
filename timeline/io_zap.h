/* Who may open a link to us: the ZAP handler (ZeroMQ RFC 27) that libzmq's I/O thread asks in every CURVE
 * handshake. It is a ROUTER on inproc://zeromq.zap.01, served by the loop itself, so that the question can be
 * put to timeline.
 *
 * Cheapest check first: mechanism and sizes, then a bucket of handshakes by address, then the caller's answer
 * about the key. The proven key becomes the "User-Id" of every message of that connection.
 *
 *     io_zap_open(zmq_ctx, &zap);            // before any CURVE server binds
 *     io_zap_probe(zap, zmq_ctx, mono_ms)    // 0: a refused key stays out, an admitted one comes in
 *     io_zap_admit(zap, ask_timeline, t);
 *     loop: io_zap_turn(zap, mono_ms);       // when io_zap_fd is readable
 */
#ifndef TIMELINE_IO_ZAP_H
#define TIMELINE_IO_ZAP_H
#include <stdbool.h>
#include <stdint.h>
#include "core/addr.h"
#include "timeline/link.h"

#define IO_ZAP_DOMAIN "camellia"
#define IO_ZAP_ENFORCE_DOMAIN 93                  /* libzmq's option; zmq.h 4.3.4 names it for drafts only */
#define IO_ZAP_USER_ID_CHARS (2 * LINK_KEY_SIZE) /* the key in hex: metadata are C strings */
#define IO_ZAP_ADDRESSES_MAX 1024                /* addresses whose handshakes are counted */
#define IO_ZAP_BURST 40                          /* handshakes at once from one address (v6: /64) ... */
#define IO_ZAP_PER_S 4                           /* ... and in a second after that */
#define IO_ZAP_LOCAL_FACTOR 25                   /* loopback, private: many nodes share an address */

struct io_zap;

struct io_zap_counters {
    uint64_t admitted, refused, limited, malformed;
};

int io_zap_open(void *zmq_ctx, struct io_zap **ret); /* CAM_ESYS: the context has a handler already */
void io_zap_close(struct io_zap *zap);
/* Until this is called nobody is admitted. */
void io_zap_admit(struct io_zap *zap, bool (*admits)(void *ctx, const uint8_t key[LINK_KEY_SIZE]), void *ctx);
/* Proves on two loopback connections that the handler is asked and obeyed. CAM_ESYS when it is not. */
int io_zap_probe(struct io_zap *zap, void *zmq_ctx);
int io_zap_fd(const struct io_zap *zap);
bool io_zap_turn(struct io_zap *zap, uint64_t mono_ms); /* true: more wait, call again without waiting */
void io_zap_counters(const struct io_zap *zap, struct io_zap_counters *ret);

#endif
