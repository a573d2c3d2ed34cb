/* Host names to addresses without waiting: each name in a helper thread of its own, since getaddrinfo can
 * take half a minute and cannot be stopped. Letting go of a resolver never waits for its threads.
 *
 *     err = io_resolver_new(&r);
 *     err = io_resolver_ask(r, &host, 7);                    // 7: the caller's tag
 *     epoll: io_resolver_fd(r) readable -> while (io_resolver_next(r, &answer)) ...
 */
#ifndef CORE_IO_RESOLVE_H
#define CORE_IO_RESOLVE_H
#include "core/addr.h"
#include "core/conf.h"

#define IO_RESOLVE_ADDRS_MAX 8  /* kept of a name */
#define IO_RESOLVE_THREADS_MAX 32

struct io_resolver;

struct io_resolved {
    int tag;
    int count;    /* 0: not found, or not now */
    struct addr addrs[IO_RESOLVE_ADDRS_MAX];
};

int io_resolver_new(struct io_resolver **ret);     /* CAM_ESYS */
void io_resolver_free(struct io_resolver *r);      /* NULL is fine; answers still to come are dropped */
int io_resolver_fd(const struct io_resolver *r);   /* poll for readable */
/* A numeric address is answered at once, without a thread (io_resolver_fd becomes readable). CAM_EFULL,
 * CAM_ESYS. */
int io_resolver_ask(struct io_resolver *r, const struct conf_host *host, int tag);
bool io_resolver_next(struct io_resolver *r, struct io_resolved *ret);

/* Numeric only, without a resolver. CAM_EINVAL for a name. */
int io_resolve_numeric(const struct conf_host *host, struct addr *ret);

#endif
