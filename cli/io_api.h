/* The local API's transport: JSON over ZeroMQ on an ipc:// socket in a 0700 folder, ROUTER in the node,
 * DEALER in a client, one frame of JSON a message. What the messages mean is cli/api.h's.
 *
 * Requests {"v":1,"tag":7,"do":"post",...} end in exactly one {"tag":7,"done":true,"status":0,...} after any
 * number of {"tag":7,"row":{...}}; the replies to one client keep the order in which they were made. Memory
 * that held JSON, which may hold a secret key, is wiped when it is freed (io_api_wipe_json, called by both
 * ends).
 *
 *     struct io_api_client *api;
 *     if ((err = io_api_connect(&home, &api))) return err;            // CAM_ENONODE: say `camellia login`
 *     json_t *request = json_pack("{s:s, s:s}", "do", "post", "text", "hello");
 *     err = io_api_send(api, request, 1);                             // takes the request
 *     struct io_api_reply reply;
 *     while ((err = io_api_recv(api, 10000, &reply)) == 0) {
 *         if (reply.row) print(reply.row);
 *         bool done = reply.done; status = reply.status;
 *         io_api_reply_clear(&reply);
 *         if (done) break;
 *     }
 *     io_api_close(api);
 */
#ifndef CLI_IO_API_H
#define CLI_IO_API_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cli/home.h"

#define IO_API_MESSAGE_MAX (64 * 1024) /* bytes of one JSON message, either way */

/* From now on jansson's memory is wiped when freed. Before the first JSON value is made. */
void io_api_wipe_json(void);

/* ---- client ----------------------------------------------------------------------------------------- */

struct io_api_client;

struct io_api_reply {
    json_t *json;        /* the whole message; owned, freed by io_api_reply_clear */
    uint64_t tag;
    json_t *row;         /* borrowed from json; NULL when there is none */
    bool done;           /* the last reply to this tag */
    int status;          /* of the last one: exit status */
    const char *error;   /* borrowed; a word, NULL when status is 0 */
    const char *message; /* borrowed; for a person, never NULL */
};

/* To the node of this home, after a look at its lock. CAM_ENONODE; CAM_ESYS. */
int io_api_connect(const struct io_home *home, struct io_api_client **ret);
/* Takes `request` (freed in every case), adds "v" and "tag". CAM_ETOOBIG, CAM_ENONODE. */
int io_api_send(struct io_api_client *c, json_t *request, uint64_t tag);
/* The next reply to any tag; timeout_ms < 0 waits for ever, 0 polls. CAM_ETIMEOUT; CAM_ENONODE when the node
 * ended meanwhile (seen within half a second, whatever the time-out); CAM_EINTR when a signal came. */
int io_api_recv(struct io_api_client *c, int timeout_ms, struct io_api_reply *ret);
void io_api_reply_clear(struct io_api_reply *reply);
/* For poll(): readable means "call io_api_recv(c, 0, ...) until CAM_ETIMEOUT". */
int io_api_fd(const struct io_api_client *c);
/* Sends `request` (taken), calls `row` for each row, waits for the end. timeout_ms counts from the last
 * reply. 0 and ret_done (to be cleared) when the node answered, whatever the status; else as io_api_recv.
 * `row` may be NULL; when it returns false the request is cancelled and CAM_EINTR comes back. */
int io_api_call(struct io_api_client *c, json_t *request, int timeout_ms,
                bool (*row)(void *ctx, json_t *row), void *ctx, struct io_api_reply *ret_done);
void io_api_close(struct io_api_client *c);

/* ---- node ------------------------------------------------------------------------------------------- */

struct io_api_server;

/* `zmq_ctx` is libzmq's context. CAM_ESYS with the reason in ret_why. The caller holds the home's lock. */
int io_api_bind(const struct io_home *home, void *zmq_ctx, struct io_api_server **ret,
                char ret_why[HOME_WHY_MAX]);
int io_api_server_fd(const struct io_api_server *s); /* poll for readable, but not while io_api_ready */
/* A request may wait that the descriptor will not tell of again. */
bool io_api_ready(struct io_api_server *s);
/* The next request, borrowed until the next call; false: none waiting. `ret_client` names who asked. */
bool io_api_next(struct io_api_server *s, uint64_t *ret_client, const char **ret_text, size_t *ret_size);
/* A reply. CAM_ENOENT: the client is gone; CAM_EAGAIN: it does not read and its queue is full. */
int io_api_reply(struct io_api_server *s, uint64_t client, const char *text, size_t size);
void io_api_unbind(struct io_api_server *s);

#endif
