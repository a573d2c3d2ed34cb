/* The local API's meaning: JSON requests in, timeline commands and kad requests out; rows and answers back to
 * JSON. Pure: cli/io_api.h carries the text. `api_verbs` in api_request.c is the table of words.
 *
 * Invariants: every request that can be read ends in exactly one {"done":true} with its tag, in the order in
 * which the answers were made; `renew` alone has no reply of its own. A client that is gone leaves nothing
 * running.
 *
 *     struct api *api = api_new(&config, kad, timeline);
 *     loop: while (api_has_room(api) && io_next(&client, &text)) api_request(api, now, client, text);
 *           while (kad_next_event(kad, &e)) if (!api_kad_event(api, now, &e)) timeline_kad_event(...);
 *           api_tick(api, now);
 *           ... commit ...
 *           while (timeline_next_answer(timeline, &a)) api_answer(api, &a);
 *           while (api_next_reply(api, &r)) if (send(r.client, r.text)) api_client_gone(api, now, r.client);
 */
#ifndef CLI_API_H
#define CLI_API_H
#include "cli/rescue.h"
#include "core/sntp.h"
#include "kad/kad.h"
#include "timeline/timeline.h"

#define API_REQUESTS_MAX 4096     /* running at once; with more, requests wait in their sockets */
#define API_MESSAGE_MAX (64 * 1024)
#define API_LEASE_MS 30000        /* a live timeline ends unless renewed */
#define API_LIMIT_MAX 100000      /* rows one request may ask for */
#define API_WAIT_MAX_MS 3600000

struct api;

struct api_config {
    int64_t pid;
    struct addr address;      /* as bound */
    const struct sntp *clock; /* borrowed, may be NULL */
    uint64_t started_mono_ms;
    bool stays;               /* does not end with `logout` */
    const struct rescue *rescue; /* borrowed, may be NULL */
};

struct api_reply {
    uint64_t client;
    struct span text; /* JSON; borrowed until the next call into the same api */
};

/* NULL: no memory. kad and timeline are borrowed. */
struct api *api_new(const struct api_config *config, struct kad *kad, struct timeline *timeline);
void api_free(struct api *api);

bool api_has_room(const struct api *api);
void api_request(struct api *api, struct now now, uint64_t client, struct span text);
void api_answer(struct api *api, struct now now, const struct timeline_answer *answer);
/* True when the event is the answer to a request of the API's own (`dht`); false: it is timeline's. */
bool api_kad_event(struct api *api, struct now now, const struct kad_event *event);
void api_client_gone(struct api *api, struct now now, uint64_t client);
void api_tick(struct api *api, struct now now);
uint64_t api_deadline_ms(const struct api *api);
bool api_next_reply(struct api *api, struct api_reply *ret);
/* `stop`, or `logout` of a node that does not stay, was asked for, and all replies were taken. */
bool api_stopping(const struct api *api);
uint32_t api_running(const struct api *api);
void api_check(const struct api *api);

#endif
