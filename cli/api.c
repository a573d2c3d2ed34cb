#include "cli/api.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "cli/api_impl.h"
#include "core/err.h"

_Static_assert(API_REQUESTS_MAX <= 65536, "a request's place has 16 bits");

/* ---- the table of running requests ------------------------------------------------------------------ */

uint64_t api_request_id(const struct api *api, const struct api_request *r)
{
    return (uint64_t)r->generation << 16 | (uint64_t)(r - api->requests);
}

struct api_request *api_request_of(struct api *api, uint64_t id)
{
    id &= ~TIMELINE_TAG_FOREIGN;
    uint64_t place = id & 0xffff;
    if (place >= api->touched)
        return NULL;
    struct api_request *r = &api->requests[place];
    return r->kind != API_FREE && r->generation == id >> 16 ? r : NULL;
}

struct api_request *api_request_begin(struct api *api, uint64_t client, int64_t tag)
{
    assert(api_has_room(api));
    bool used_before = api->free_request < API_REQUESTS_MAX;
    struct api_request *r = &api->requests[used_before ? api->free_request : api->touched++];
    uint32_t generation = r->generation + 1;
    if (used_before)
        api->free_request = r->next_free;
    memset(r, 0, sizeof *r);
    r->generation = generation;
    r->kind = API_TIMELINE;
    r->client = client;
    r->tag = tag;
    api->running++;
    return r;
}

void api_request_end(struct api *api, struct api_request *r)
{
    api_dht_free(r);
    r->kind = API_FREE;
    r->next_free = api->free_request;
    api->free_request = (uint32_t)(r - api->requests);
    api->running--;
}

bool api_has_room(const struct api *api) { return api->running < API_REQUESTS_MAX; }
uint32_t api_running(const struct api *api) { return api->running; }

/* ---- replies ---------------------------------------------------------------------------------------- */

static void json_free_text(char *text)
{
    json_free_t release;
    json_get_alloc_funcs(NULL, &release); /* the one that wipes, when the program chose it */
    release(text);
}

/* Takes `json`. Without memory the reply is lost, and its client with it: better than a node that ends. */
static void reply_push(struct api *api, uint64_t client, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return;
    if (api->out_count == api->out_cap) {
        size_t cap = api->out_cap ? api->out_cap * 2 : 64;
        struct api_out *bigger = malloc(cap * sizeof *bigger);
        if (!bigger) {
            json_free_text(text);
            return;
        }
        for (size_t i = 0; i < api->out_count; i++)
            bigger[i] = api->out[(api->out_at + i) % api->out_cap];
        free(api->out);
        api->out = bigger;
        api->out_cap = cap;
        api->out_at = 0;
    }
    api->out[(api->out_at + api->out_count++) % api->out_cap] = (struct api_out){ client, text };
}

void api_row(struct api *api, const struct api_request *r, json_t *row)
{
    if (row)
        reply_push(api, r->client,
                   json_pack("{s:i, s:I, s:o}", "v", API_VERSION, "tag", (json_int_t)r->tag, "row", row));
}

void api_reply_done(struct api *api, uint64_t client, int64_t tag, int status, const char *word,
                       const char *message)
{
    json_t *json = json_pack("{s:i, s:I, s:b, s:i}", "v", API_VERSION, "tag", (json_int_t)tag, "done", 1,
                             "status", status);
    if (status)
        json_object_set_new(json, "error", json_string(word));
    if (*message)
        json_object_set_new(json, "message", api_text_json(span_str(message)));
    reply_push(api, client, json);
}

void api_done_status(struct api *api, struct api_request *r, int status, const char *word,
                     const char *message)
{
    if (r->ends_node && status == 0 && !api->config.stays)
        api->stopping = true;
    api_reply_done(api, r->client, r->tag, status, word, message);
    api_request_end(api, r);
}

void api_done(struct api *api, struct api_request *r, int err, const char *message)
{
    if (!message)
        message = err ? err_text(err) : "";
    api_done_status(api, r, err ? err_status(err) : 0, err ? err_word(err) : "", message);
}

bool api_next_reply(struct api *api, struct api_reply *ret)
{
    if (api->given)
        json_free_text(api->given);
    api->given = NULL;
    if (!api->out_count)
        return false;
    struct api_out *out = &api->out[api->out_at];
    api->out_at = (api->out_at + 1) % api->out_cap;
    api->out_count--;
    api->given = out->text;
    ret->client = out->client;
    ret->text = span_str(out->text);
    return true;
}

bool api_stopping(const struct api *api) { return api->stopping && api->out_count == 0; }

void api_cancel(struct api *api, struct now now, struct api_request *r)
{
    uint64_t id = api_request_id(api, r);
    bool timelines = r->kind == API_TIMELINE;
    struct timeline_command cancel = { .verb = TL_CANCEL, .client = id };
    api_request_end(api, r); /* first: whatever the cancelled one still says is late */
    if (timelines)
        timeline_command(api->timeline, now, &cancel);
}

/* ---- answers ---------------------------------------------------------------------------------------- */

void api_answer(struct api *api, struct now now, const struct timeline_answer *answer)
{
    struct api_request *r = api_request_of(api, answer->client);

    if (!r || r->kind != API_TIMELINE)
        return; /* cancelled, or its client is gone */
    if (answer->row.kind != TL_ROW_NONE)
        api_row(api, r, api_row_json(api, now, &answer->row));
    if (!answer->last)
        return;
    const char *message = answer->message;
    if (answer->status < 0)
        api_done(api, r, answer->status, *message ? message : NULL);
    else
        api_done_status(api, r, answer->status, answer->status ? api_status_word(answer->status) : "",
                        message);
}

bool api_kad_event(struct api *api, struct now now, const struct kad_event *event)
{
    if (!(event->tag & TIMELINE_TAG_FOREIGN))
        return false;
    struct api_request *r = api_request_of(api, event->tag);
    if (r)
        api_dht_event(api, now, r, event);
    return true;
}

void api_client_gone(struct api *api, struct now now, uint64_t client)
{
    for (uint32_t i = 0; i < api->touched; i++) {
        struct api_request *r = &api->requests[i];
        if (r->kind != API_FREE && r->client == client)
            api_cancel(api, now, r);
    }
}

void api_tick(struct api *api, struct now now)
{
    if (now.mono_ms < api->lease_ms)
        return;
    api->lease_ms = NOW_NEVER;
    for (uint32_t i = 0; i < api->touched; i++) {
        struct api_request *r = &api->requests[i];
        if (r->kind == API_FREE || !r->live)
            continue;
        if (now.mono_ms < r->lease_ms) {
            if (r->lease_ms < api->lease_ms)
                api->lease_ms = r->lease_ms;
            continue;
        }
        api_reply_done(api, r->client, r->tag, err_status(CAM_ETIMEOUT), err_word(CAM_ETIMEOUT),
                   "nobody renewed this reading");
        api_cancel(api, now, r);
    }
}

uint64_t api_deadline_ms(const struct api *api) { return api->lease_ms; }

/* ---- life ------------------------------------------------------------------------------------------- */

struct api *api_new(const struct api_config *config, struct kad *kad, struct timeline *timeline)
{
    struct api *api = calloc(1, sizeof *api);

    if (!api)
        return NULL;
    api->config = *config;
    api->kad = kad;
    api->timeline = timeline;
    api->lease_ms = NOW_NEVER;
    api->requests = calloc(API_REQUESTS_MAX, sizeof *api->requests);
    if (!api->requests) {
        free(api);
        return NULL;
    }
    api->free_request = API_REQUESTS_MAX;
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    for (struct api_reply r; api_next_reply(api, &r);) {}
    for (uint32_t i = 0; i < api->touched; i++)
        if (api->requests[i].kind != API_FREE)
            api_request_end(api, &api->requests[i]);
    free(api->requests);
    free(api->out);
    free(api);
}

void api_check(const struct api *api)
{
    uint32_t running = 0, unused = 0;
    for (uint32_t i = 0; i < api->touched; i++) {
        const struct api_request *r = &api->requests[i];
        if (r->kind != API_FREE)
            running++;
        assert(r->kind == API_DHT_PUT || !r->item);
        assert(r->kind == API_DHT_FIND || !r->trace);
        assert(r->kind == API_FREE || !r->live || r->lease_ms >= api->lease_ms);
    }
    for (uint32_t i = api->free_request; i < API_REQUESTS_MAX; i = api->requests[i].next_free)
        unused++;
    assert(running == api->running);
    assert(running + unused == api->touched);
}
