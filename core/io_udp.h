/* UDP sockets in batches: up to 64 datagrams a system call, in and out, never blocking.
 *
 * A socket is small (10,000 of them fit in a process); the buffers are in a batch that any number of sockets
 * of one thread share. Loss is UDP's right: what cannot be sent is counted and gone, except that a full
 * send buffer keeps up to a batch for the next flush.
 *
 *     struct io_udp udp; struct io_udp_batch *batch = io_udp_batch_new();
 *     err = io_udp_open(&listen, &udp);                              // udp.addr is what was bound
 *     n = io_udp_recv(&udp, batch);
 *     for (int i = 0; i < n; i++)
 *         kad_recv(kad, now, &batch->in[i].peer, batch->in[i].data, batch->in[i].size);
 *     while (kad_next_out(kad, &out)) io_udp_send(&udp, batch, &out.to, out.data, out.size);
 *     io_udp_flush(batch);                                           // before waiting
 */
#ifndef CORE_IO_UDP_H
#define CORE_IO_UDP_H
#include "core/addr.h"

#define IO_UDP_BATCH 64
#define IO_UDP_DATAGRAM_MAX 1500       /* longer ones are dropped and counted */
#define IO_UDP_BUFFER_BYTES (4 << 20)  /* asked of the kernel, both ways; it may give less */

struct io_udp {
    int fd;            /* for epoll: readable; writable too where io_udp_pending says so */
    struct addr addr;  /* as bound, with the port that was picked */
};

struct io_udp_in { /* valid until the next io_udp_recv with this batch */
    struct addr peer;
    const uint8_t *data;
    size_t size;
};

struct io_udp_counters {
    uint64_t received, sent;  /* datagrams */
    uint64_t oversize;        /* received, longer than IO_UDP_DATAGRAM_MAX */
    uint64_t refused;         /* the kernel would not send: no route, no permission, too big */
    uint64_t dropped;         /* send buffer full and the batch too */
};

struct io_udp_batch {
    struct io_udp_in in[IO_UDP_BATCH];
    struct io_udp_counters count;
    struct io_udp_buffers *buffers; /* private */
};

struct io_udp_batch *io_udp_batch_new(void); /* NULL when out of memory */
void io_udp_batch_free(struct io_udp_batch *b); /* what was not flushed is lost */

/* Port 0: the system picks. CAM_ESYS: port occupied, address not ours, out of descriptors (errno tells). */
int io_udp_open(const struct addr *listen, struct io_udp *ret);
void io_udp_close(struct io_udp *u); /* after flushing a batch that was used with it */

/* Up to IO_UDP_BATCH datagrams into b->in; their number, 0 when none wait. IO_UDP_BATCH: ask again. */
int io_udp_recv(const struct io_udp *u, struct io_udp_batch *b);

/* Copies the datagram; it leaves with the batch, at the latest at io_udp_flush, or when another socket's turn
 * comes. CAM_EINVAL: family does not fit or it is too big; CAM_EFULL: dropped. */
int io_udp_send(const struct io_udp *u, struct io_udp_batch *b, const struct addr *to, const void *data,
                size_t size);
void io_udp_flush(struct io_udp_batch *b);
int io_udp_pending(const struct io_udp_batch *b); /* datagrams that wait for a full send buffer */

#endif
