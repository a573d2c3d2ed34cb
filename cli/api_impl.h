/* Inside the API: its table of running requests, and what the files api*.c need of one another. */
#ifndef CLI_API_IMPL_H
#define CLI_API_IMPL_H
#include <jansson.h>
#include "cli/api.h"

#define API_VERSION 1 /* "v" of every message */

enum api_kind { API_FREE, API_TIMELINE, API_DHT_PING, API_DHT_FIND, API_DHT_GET, API_DHT_PUT,
                API_DHT_PEERS, API_DHT_ANNOUNCE };

#define API_NOBODY "no peer to ask: camellia node --join HOST:PORT"

struct api_request {
    enum api_kind kind;
    uint32_t generation;  /* tells a late answer from one to the request that had this place before */
    uint32_t next_free;
    uint64_t client;
    int64_t tag;
    bool live;            /* a timeline that is followed: ends at lease_ms */
    bool ends_node;       /* logout: a good answer ends the node */
    uint64_t lease_ms;
    struct kad_item *item; /* DHT_PUT of a mutable item, for a try with a higher seq; owned, with its bytes */
    int tries;
    struct addr addr;     /* DHT_PING */
    uint16_t port;        /* DHT_ANNOUNCE; 0: the one that others see */
    struct api_trace *trace; /* DHT_FIND, hop by hop; owned */
};

struct api_out {
    uint64_t client;
    char *text;
};

struct api {
    struct api_config config;
    struct kad *kad;
    struct timeline *timeline;
    struct api_request *requests; /* API_REQUESTS_MAX; memory that was never used costs nothing */
    uint32_t touched;             /* places used so far */
    uint32_t free_request;        /* of those; API_REQUESTS_MAX: none */
    uint32_t running;
    struct api_out *out;          /* a ring */
    size_t out_cap, out_at, out_count;
    char *given;                  /* what the last reply points to */
    uint64_t lease_ms;            /* no later than the first lease ends */
    bool stopping;
};

/* The id that stands for a request below: place and generation, never with TIMELINE_TAG_FOREIGN's bit. */
uint64_t api_request_id(const struct api *api, const struct api_request *r);
struct api_request *api_request_of(struct api *api, uint64_t id); /* NULL: ended meanwhile */
struct api_request *api_request_begin(struct api *api, uint64_t client, int64_t tag); /* when it has room */
void api_request_end(struct api *api, struct api_request *r);
void api_cancel(struct api *api, struct now now, struct api_request *r); /* ends it without a word */

/* Replies. `row` is taken. api_done also ends the request. A NULL message is the error's own text. */
void api_row(struct api *api, const struct api_request *r, json_t *row);
void api_done(struct api *api, struct api_request *r, int err, const char *message);
void api_done_status(struct api *api, struct api_request *r, int status, const char *word,
                     const char *message);

void api_reply_done(struct api *api, uint64_t client, int64_t tag, int status, const char *word,
                    const char *message); /* the last reply to what has no place in the table */

/* api_row.c: rows as JSON. NULL when out of memory. */
json_t *api_row_json(const struct api *api, struct now now, const struct timeline_row *row);
json_t *api_text_json(struct span text); /* a string; what is no UTF-8 in it becomes U+FFFD */
json_t *api_hex_json(const void *data, size_t size);
json_t *api_addr_json(const struct addr *addr);
json_t *api_hello_json(const struct api *api);
json_t *api_contact_json(const struct kad_contact *contact, bool with_age);
const char *api_status_word(int status); /* for an answer that came with an exit status only */

/* api_dht.c: `dht ...` and `peers`. `args` is the request. */
void api_dht_ping(struct api *api, struct now now, struct api_request *r, const json_t *args);
void api_dht_find(struct api *api, struct now now, struct api_request *r, const json_t *args);
void api_dht_get(struct api *api, struct now now, struct api_request *r, const json_t *args);
void api_dht_put(struct api *api, struct now now, struct api_request *r, const json_t *args);
uint64_t api_dht_tag(const struct api *api, const struct api_request *r);
int api_arg_id(const json_t *args, const char *key, uint8_t ret[KAD_ID_SIZE]); /* 40 hex digits; CAM_EINVAL */
void api_peers(struct api *api, struct now now, struct api_request *r);
void api_dht_free(struct api_request *r); /* what a request of these holds */
void api_dht_event(struct api *api, struct now now, struct api_request *r, const struct kad_event *event);

/* api_announce.c: `dht peers`, `dht announce`. */
void api_dht_peers(struct api *api, struct now now, struct api_request *r, const json_t *args);
void api_dht_announce(struct api *api, struct now now, struct api_request *r, const json_t *args);
void api_dht_peers_event(struct api *api, struct api_request *r, const struct kad_event *event);
void api_dht_announce_event(struct api *api, struct api_request *r, const struct kad_event *event);

/* api_request.c: arguments. 0 also when missing (with the default); CAM_EUSAGE: another type, out of range.
 */
int api_arg_text(const json_t *args, const char *key, struct span *ret); /* missing: data NULL */
int api_arg_string(const json_t *args, const char *key, const char **ret); /* no NUL inside; missing: NULL */

#endif
