#include "cli/node.h"

#include <stdlib.h>
#include "cli/api.h"
#include "core/err.h"

#define NODE_EVENTS_MAX 4096 /* kad events taken in one turn; more wait for the next, which comes at once */

struct node {
    struct node_config config;
    const struct node_io *io;
    struct store *store;
    struct kad *kad;
    struct timeline *timeline;
    struct api *api;
    struct rescue *rescue;
    bool public_open;
    bool busy;
};

/* ---- the turn, in the order of the design ----------------------------------------------------------- */

/* One bounded batch of each kind. True when any of them may have more. */
static bool read_round(struct node *n, struct now now)
{
    const struct node_io *io = n->io;
    struct link_event event;
    struct addr from;
    struct span data;
    uint64_t client;
    const struct node_public_io *public_io = n->config.public_io;
    int udp = 0, links = 0, requests = 0, others = 0;

    /* What a stranger's datagram or message is refused for is counted where it is refused. */
    for (; udp < NODE_BATCH_MAX && io->udp_next(io->ctx, &from, &data); udp++)
        kad_recv(n->kad, now, &from, data.data, data.size);
    for (; n->public_open && others < NODE_BATCH_MAX && public_io->next(public_io->ctx, &from, &data);
         others++)
        rescue_recv(n->rescue, now, &from, data.data, data.size);
    for (; links < NODE_BATCH_MAX && io->link_next(io->ctx, &event); links++)
        timeline_recv(n->timeline, now, &event);
    for (; requests < NODE_BATCH_MAX && api_has_room(n->api) && io->api_next(io->ctx, &client, &data);
         requests++)
        api_request(n->api, now, client, data);
    return udp == NODE_BATCH_MAX || links == NODE_BATCH_MAX || requests == NODE_BATCH_MAX ||
           others == NODE_BATCH_MAX;
}

/* The rescue opens when nobody has been there for long, and closes when somebody is. */
static void rescue_turn(struct node *n, struct now now)
{
    const struct node_public_io *io = n->config.public_io;
    struct addr found;

    if (!io)
        return;
    rescue_tick(n->rescue, now);
    bool open = rescue_is_open(n->rescue);
    if (open != n->public_open)
        log_write(n->config.log, LOG_INFO, now.wall_ms, "rescue", "%s",
                  open ? "without a peer for long: looking for others of this network on the public DHT"
                       : "no longer looking on the public DHT");
    if (open && !n->public_open && io->open(io->ctx)) {
        log_write(n->config.log, LOG_WARN, now.wall_ms, "rescue", "no socket for that");
        rescue_give_up(n->rescue, now);
        open = false;
    }
    if (!open && n->public_open)
        io->close(io->ctx);
    n->public_open = open;
    /* Hearsay: one too many, or of a family we do not have, does not matter. */
    while (rescue_next_found(n->rescue, &found))
        kad_hint(n->kad, now, &found);
}

/* The number of events that rose. */
static int rise_events(struct node *n, struct now now)
{
    struct kad_event event;
    int count = 0;
    for (; count < NODE_EVENTS_MAX && kad_next_event(n->kad, &event); count++) {
        if (event.kind == KAD_EVENT_READY || event.kind == KAD_EVENT_ALONE)
            rescue_peers(n->rescue, now, event.kind == KAD_EVENT_READY);
        if (!api_kad_event(n->api, now, &event))
            timeline_kad_event(n->timeline, now, &event);
    }
    if (count == NODE_EVENTS_MAX)
        n->busy = true;
    return count;
}

/* Without `promises` those that say "stored" stay. */
static int send_datagrams(struct node *n, bool promises)
{
    struct kad_datagram out;
    int count = 0;
    for (; promises ? kad_next_out(n->kad, &out) : kad_next_plain(n->kad, &out); count++)
        n->io->udp_send(n->io->ctx, &out.to, span(out.data, out.size));
    return count;
}

static void send_public(struct node *n)
{
    const struct node_public_io *io = n->config.public_io;
    struct kad_datagram out;
    if (!n->public_open)
        return;
    while (rescue_next_out(n->rescue, &out))
        io->send(io->ctx, &out.to, span(out.data, out.size));
    io->flush(io->ctx);
}

static void send_links(struct node *n, bool promises)
{
    struct link_send send;
    while (timeline_next_out(n->timeline, promises, &send))
        n->io->link_send(n->io->ctx, &send);
}

static void flush(struct node *n)
{
    if (n->io->flush)
        n->io->flush(n->io->ctx);
}

struct load_args {
    struct kad *kad;
    struct rescue *rescue;
    struct now now;
    const struct log *log;
};

static int load_record(void *ctx, struct span key, struct span value)
{
    struct load_args *a = ctx;
    if (rescue_load(a->rescue, key, value) == 0)
        return 0;
    if (kad_load(a->kad, a->now, key, value))
        log_write(a->log, LOG_WARN, a->now.wall_ms, "kad",
                  "a saved record of %zu bytes is damaged and was left out", value.size);
    return 0;
}

static int load_records(struct node *n, struct now now)
{
    struct load_args args = { n->kad, n->rescue, now, n->config.log };
    return store_kad_each(n->store, load_record, &args);
}

/* One transaction for the whole turn, if anything was written. */
static int commit(struct node *n)
{
    struct kad_dirty dirty;
    int err = 0;
    while (!err && kad_next_dirty(n->kad, &dirty))
        err = store_kad_put(n->store, dirty.key, dirty.value);
    while (!err && rescue_next_dirty(n->rescue, &dirty))
        err = store_kad_put(n->store, dirty.key, dirty.value);
    if (err) {
        store_rollback(n->store);
        return CAM_EIO;
    }
    return store_is_dirty(n->store) ? store_commit(n->store) : 0;
}

/* Memory says more than the disk: go back to what is on disk. */
static void read_back(struct node *n, struct now now)
{
    kad_reset_store(n->kad, now);
    if (load_records(n, now))
        log_write(n->config.log, LOG_ERROR, now.wall_ms, "store",
                  "the network's records cannot be read back");
}

static void answer(struct node *n, struct now now)
{
    struct timeline_answer a;
    struct api_reply reply;
    while (timeline_next_answer(n->timeline, &a))
        api_answer(n->api, now, &a);
    while (api_next_reply(n->api, &reply))
        if (n->io->api_send(n->io->ctx, reply.client, reply.text))
            api_client_gone(n->api, now, reply.client);
}

int node_turn(struct node *n, struct now now)
{
    n->busy = false;
    for (int round = 1;; round++) {
        bool more = read_round(n, now);
        if (!more)
            break;
        if (!n->io->spent || n->io->spent(n->io->ctx) || round == NODE_ROUNDS_MAX) {
            n->busy = true;
            break;
        }
    }
    kad_tick(n->kad, now);
    rescue_turn(n, now);
    timeline_tick(n->timeline, now);
    api_tick(n->api, now);
    rise_events(n, now);

    send_datagrams(n, false);
    send_public(n);
    send_links(n, false);
    flush(n);

    int err = commit(n);
    if (err) {
        log_write(n->config.log, LOG_ERROR, now.wall_ms, "store", "a turn could not be written: %s",
                  err_text(err));
        read_back(n, now);
    }
    send_datagrams(n, true);
    timeline_committed(n->timeline, now, err);

    send_links(n, true);
    answer(n, now);
    /* What was committed may have set off requests to the network. What they write waits for the next turn's
     * commit, so that one comes at once. */
    if (rise_events(n, now) + send_datagrams(n, false) > 0 || store_is_dirty(n->store))
        n->busy = true;
    send_links(n, false);
    flush(n);
    return err ? CAM_EIO : 0;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t node_deadline_ms(const struct node *n)
{
    uint64_t others = n->config.public_io ? rescue_deadline_ms(n->rescue) : NOW_NEVER;
    return earlier(earlier(api_deadline_ms(n->api), others),
                   earlier(kad_deadline_ms(n->kad), timeline_deadline_ms(n->timeline)));
}

bool node_busy(const struct node *n) { return n->busy; }
bool node_has_room(const struct node *n) { return api_has_room(n->api); }
bool node_stopping(const struct node *n) { return api_stopping(n->api); }

/* ---- life ------------------------------------------------------------------------------------------- */

int node_new(const struct node_config *config, struct store *store, const struct node_io *io,
             const struct rng *rng, struct now now, struct node **ret)
{
    struct api_config api = { .pid = config->pid, .address = config->address, .clock = config->clock,
                              .started_mono_ms = now.mono_ms, .stays = config->stays };
    struct rescue_config rescue = { .network = config->kad.network ? config->kad.network : "",
                                    .after_ms = config->public_io ? config->rescue_after_ms : 0,
                                    .port = config->address.port, .use_v4 = config->kad.use_v4,
                                    .use_v6 = config->kad.use_v6 };
    struct node *n = calloc(1, sizeof *n);
    int err = CAM_ESYS;

    if (!n)
        return CAM_ESYS;
    n->config = *config;
    n->io = io;
    n->store = store;
    n->kad = kad_new(&config->kad, rng, now);
    n->rescue = rescue_new(&rescue, rng, now);
    if (!n->kad || !n->rescue)
        goto fail;
    err = load_records(n, now);
    if (err)
        goto fail;
    n->timeline = timeline_new(&config->timeline, n->kad, store, rng, now);
    if (!n->timeline) {
        err = CAM_EFORMAT; /* no memory, or the store is damaged: the latter is what a person can do something
                              about */
        goto fail;
    }
    err = CAM_ESYS;
    api.rescue = n->rescue;
    n->api = api_new(&api, n->kad, n->timeline);
    if (!n->api)
        goto fail;
    n->busy = true; /* the first turn is due at once */
    *ret = n;
    return 0;
fail:
    node_free(n);
    return err;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    api_free(n->api);
    timeline_free(n->timeline);
    rescue_free(n->rescue);
    kad_free(n->kad);
    free(n);
}

int node_close(struct node *n, struct now now)
{
    kad_flush(n->kad, now);
    int err = commit(n);
    if (err)
        kad_reset_store(n->kad, now); /* no "stored" for what is not */
    timeline_committed(n->timeline, now, err);
    send_links(n, true);
    answer(n, now);
    send_datagrams(n, true);
    flush(n);
    return err ? CAM_EIO : 0;
}

void node_rescue_join(struct node *n, struct now now, const struct addr *addr)
{
    rescue_join(n->rescue, now, addr);
}

struct kad *node_kad(struct node *n) { return n->kad; }
struct timeline *node_timeline(struct node *n) { return n->timeline; }
bool node_admits(const struct node *n, const uint8_t transport_key[LINK_KEY_SIZE])
{
    return timeline_admits(n->timeline, transport_key);
}

void node_check(const struct node *n)
{
    kad_check(n->kad);
    rescue_check(n->rescue);
    timeline_check(n->timeline);
    api_check(n->api);
}
