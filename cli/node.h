/* A node: kad, timeline, store and local API, and the one loop that joins them. Everything outside comes in
 * through a table of functions, so camelliad (sockets, real clocks) and the simulator (queues, virtual time)
 * run the same node_turn(); nothing in here asks a clock or touches a socket.
 *
 * Invariants: what promises "stored" (acknowledgements, replies to puts, answers to the local user, the first
 * send of our own posts) leaves only after the commit of the turn that wrote it; a turn is bounded; nothing
 * in a turn blocks but the commit.
 *
 *     struct node *n;
 *     if ((err = node_new(&config, store, &io, &rng, now, &n))) return err;
 *     for (;;) {
 *         if (!node_busy(n)) wait_until(node_deadline_ms(n));        // or something arrives
 *         if ((err = node_turn(n, clocks()))) break;                 // CAM_EIO: exit and start again
 *         if (node_stopping(n)) break;
 *     }
 *     node_close(n, clocks());                                       // the last commit
 *     node_free(n);
 */
#ifndef CLI_NODE_H
#define CLI_NODE_H
#include "cli/rescue.h"
#include "core/log.h"
#include "core/sntp.h"
#include "kad/kad.h"
#include "timeline/timeline.h"

#define NODE_BATCH_MAX 256  /* datagrams, link messages and requests read in one round of a turn */
#define NODE_ROUNDS_MAX 64  /* rounds a turn may take while its time is not spent */
#define NODE_TURN_MS 20     /* how much work goes into one commit */

/* What `next` functions point to stays valid until their next call. */
struct node_io {
    void *ctx;
    bool (*udp_next)(void *ctx, struct addr *ret_from, struct span *ret_data);
    void (*udp_send)(void *ctx, const struct addr *to, struct span data);
    bool (*link_next)(void *ctx, struct link_event *ret_event);
    void (*link_send)(void *ctx, const struct link_send *send); /* failures come back as LINK_UNSENT */
    bool (*api_next)(void *ctx, uint64_t *ret_client, struct span *ret_text);
    int (*api_send)(void *ctx, uint64_t client, struct span text); /* an error: the client is gone */
    bool (*spent)(void *ctx);  /* has this turn used its NODE_TURN_MS? May be NULL: one round a turn */
    void (*flush)(void *ctx);  /* a burst of sends is over. May be NULL */
};

/* The socket on the public network, there only while the rescue looks (cli/rescue.h). */
struct node_public_io {
    void *ctx;
    int (*open)(void *ctx);    /* CAM_ESYS: there is none to be had */
    void (*close)(void *ctx);
    bool (*next)(void *ctx, struct addr *ret_from, struct span *ret_data);
    void (*send)(void *ctx, const struct addr *to, struct span data);
    void (*flush)(void *ctx);
};

struct node_config {
    struct kad_config kad;
    struct timeline_config timeline;
    const struct log *log;     /* borrowed, may be NULL */
    const struct sntp *clock;  /* borrowed; NULL: no server is configured */
    struct addr address;       /* as bound, for `status` */
    int64_t pid;               /* for `hello` and `status` */
    const struct node_public_io *public_io; /* borrowed; NULL: no rescue */
    uint64_t rescue_after_ms;  /* 0: never */
    bool stays;                /* run by hand or by systemd: goes on after `logout` */
};

struct node;

/* Takes up what the store holds. `store`, `io` and `rng` are borrowed and outlive the node. CAM_ESYS no
 * memory, CAM_EIO or CAM_EFORMAT: the store cannot be read. */
int node_new(const struct node_config *config, struct store *store, const struct node_io *io,
             const struct rng *rng, struct now now, struct node **ret);
void node_free(struct node *n);

/* One turn. 0, or CAM_EIO when the commit failed: callers were told, memory was read back, and the process
 * had better start again. */
int node_turn(struct node *n, struct now now);
uint64_t node_deadline_ms(const struct node *n); /* mono_ms of the next turn, whatever arrives until then */
bool node_busy(const struct node *n);            /* the last turn left something unread: do not wait */
bool node_has_room(const struct node *n);        /* takes requests; without room they wait in their sockets */
bool node_stopping(const struct node *n);        /* someone asked it to end, and was answered */
/* Writes what is only written at times (the routing table). 0 or CAM_EIO. */
int node_close(struct node *n, struct now now);

/* To enter the public network by, while the rescue is open. */
void node_rescue_join(struct node *n, struct now now, const struct addr *addr);

struct kad *node_kad(struct node *n);
struct timeline *node_timeline(struct node *n);
bool node_admits(const struct node *n, const uint8_t transport_key[LINK_KEY_SIZE]);
void node_check(const struct node *n); /* asserts the invariants of all parts */

#endif
