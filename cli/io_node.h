/* A node on real sockets, clocks and disk: opens all that node_turn() needs, in the right order, and runs it.
 *
 * Order of opening: lock, store, keys, links (ZAP proven before the bind), sockets, what the store holds, and
 * the local API last, so that whoever reaches it reaches a node that is ready. Closing goes the other way.
 *
 *     struct io_node *n; char why[HOME_WHY_MAX];
 *     if ((err = io_node_open(&config, &n, why))) return err;
 *     io_proc_ready(fd, 0, addr_text(...));
 *     err = io_node_run(n);          // 0: asked to end; CAM_EIO: start again
 *     io_node_close(n);
 */
#ifndef CLI_IO_NODE_H
#define CLI_IO_NODE_H
#include "cli/home.h"
#include "core/log.h"

#define IO_NODE_PORT_TRIES 32   /* of finding a port that is free for UDP and TCP */
#define IO_NODE_DISK_MIN_BYTES (1 << 20) /* less than this left: the disk is full, not broken */

struct io_node;

struct io_node_config { /* all borrowed, and needed until io_node_close */
    const struct io_home *home;
    const struct conf *conf;     /* listen and listen6 as decided; port 0: pick one */
    const struct conf_host *join;
    int join_count;
    bool may_move;               /* the port is only a memory: when it is taken, pick another and say so */
    bool stays;                  /* does not end with `logout` */
    const struct log *log;
};

/* CAM_EAGAIN: another node runs in this home. CAM_ESYS: port occupied, ... CAM_EIO, CAM_EFORMAT: a file of
 * the home. ret_why says what and what to do. */
int io_node_open(const struct io_node_config *config, struct io_node **ret, char ret_why[HOME_WHY_MAX]);
struct addr io_node_address(const struct io_node *n); /* as bound */
bool io_node_moved(const struct io_node *n);          /* it is another than wanted */
/* Until a signal, `stop` or `logout`: 0. CAM_EIO: the store failed and the process should start again. */
int io_node_run(struct io_node *n);
void io_node_close(struct io_node *n);

#endif
