/* The SNTP client at work: sockets and names for core/sntp.h.
 *
 * Every query has a connected socket and a port of its own (RFC 9109), closed with its answer or time-out, so
 * an answer can only come from the one asked. Names are resolved by helper threads; nothing here
 * ever waits. One descriptor tells when there is something to do.
 *
 *     struct io_sntp *t;
 *     err = io_sntp_new(conf.sntp, conf.sntp_count, NULL, now, &t);
 *     epoll: io_sntp_fd(t) readable, or io_sntp_deadline_ms(t) reached -> io_sntp_turn(t, now);
 *     now.wall_ms = sntp_wall_ms(io_sntp_clock(t), now);
 */
#ifndef CORE_IO_SNTP_H
#define CORE_IO_SNTP_H
#include "core/conf.h"
#include "core/now.h"
#include "core/sntp.h"

struct io_sntp;

/* `count` 1..SNTP_SERVERS_MAX. `timing` NULL for the usual. CAM_EINVAL, CAM_ESYS. */
int io_sntp_new(const struct conf_host *servers, int count, const struct sntp_timing *timing, struct now now,
                struct io_sntp **ret);
void io_sntp_free(struct io_sntp *t); /* NULL is fine; never waits for a resolver */

int io_sntp_fd(const struct io_sntp *t); /* poll for readable */
uint64_t io_sntp_deadline_ms(const struct io_sntp *t);
void io_sntp_turn(struct io_sntp *t, struct now now); /* when readable or at the deadline; cheap otherwise */
const struct sntp *io_sntp_clock(const struct io_sntp *t); /* for sntp_wall_ms and sntp_status; borrowed */

#endif
