/* The rescue's sockets: UDP on a free port of its own for each family, open only while it looks, and the
 * names of routers resolved in threads. One descriptor stands for all of it.
 *
 *     io_rescue_new(&r);                                      // watch io_rescue_fd(r)
 *     io_rescue_open(r, &listen, &listen6, routers, count, mono_ms);
 *     loop: io_rescue_turn(r, mono_ms);  while (io_rescue_router(r, &addr)) rescue_join(...);
 *           while (io_rescue_next(r, &from, &data)) rescue_recv(...);
 *           io_rescue_send(r, &to, data);  io_rescue_flush(r);
 *     io_rescue_close(r);
 */
#ifndef CLI_IO_RESCUE_H
#define CLI_IO_RESCUE_H
#include "core/addr.h"
#include "core/conf.h"

struct io_rescue;

int io_rescue_new(struct io_rescue **ret); /* CAM_ESYS */
void io_rescue_free(struct io_rescue *r);
/* On the same addresses as the node, port 0; one of family 0 is left out. CAM_ESYS: none could be opened. */
int io_rescue_open(struct io_rescue *r, const struct addr *listen, const struct addr *listen6,
                   const struct conf_host *routers, int count, uint64_t mono_ms);
void io_rescue_close(struct io_rescue *r);
int io_rescue_fd(const struct io_rescue *r); /* readable: io_rescue_turn has something to do */
bool io_rescue_ready(const struct io_rescue *r); /* io_rescue_next may have more */
uint64_t io_rescue_deadline_ms(const struct io_rescue *r);
void io_rescue_turn(struct io_rescue *r, uint64_t mono_ms);
bool io_rescue_router(struct io_rescue *r, struct addr *ret); /* a router's address that was just resolved */
/* What it points to is valid until the next call. */
bool io_rescue_next(struct io_rescue *r, struct addr *ret_from, struct span *ret_data);
void io_rescue_send(struct io_rescue *r, const struct addr *to, struct span data);
void io_rescue_flush(struct io_rescue *r);

#endif
