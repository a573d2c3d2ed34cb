/* Host names to addresses in helper threads, so that the loop never waits for a resolver. Numeric addresses
 * take no thread. Answers come through a pipe; a name that fails is tried again, at longer and longer
 * intervals.
 *
 *     io_resolve_open(&r);  io_resolve_add(r, &host, now.mono_ms);
 *     loop: when io_resolve_fd(r) is readable or its deadline has come:
 *           io_resolve_turn(r, now.mono_ms);
 *           while (io_resolve_next(r, &addr)) kad_join(kad, now, &addr);
 */
#ifndef CLI_IO_RESOLVE_H
#define CLI_IO_RESOLVE_H
#include "core/addr.h"
#include "core/conf.h"

#define IO_RESOLVE_HOSTS_MAX 32
#define IO_RESOLVE_ADDRS_MAX 8  /* of one name */
#define IO_RESOLVE_AGAIN_MS 2000
#define IO_RESOLVE_AGAIN_MAX_MS 120000

struct io_resolve;

int io_resolve_open(struct io_resolve **ret); /* CAM_ESYS */
void io_resolve_close(struct io_resolve *r);  /* does not wait for threads: they end by themselves */
int io_resolve_add(struct io_resolve *r, const struct conf_host *host, uint64_t mono_ms); /* CAM_EFULL */
int io_resolve_fd(const struct io_resolve *r);
uint64_t io_resolve_deadline_ms(const struct io_resolve *r);
void io_resolve_turn(struct io_resolve *r, uint64_t mono_ms);
bool io_resolve_next(struct io_resolve *r, struct addr *ret);

/* For a client, which may wait: the first address of a name. CAM_EINVAL: there is none. */
int io_resolve_now(const struct conf_host *host, struct addr *ret);

#endif
