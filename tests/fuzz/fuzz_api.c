/* Lines of whatever text as requests of three clients to a whole node (in memory, without a network): it never
 * falls, every reply is JSON of the right form, and no request is answered more often than it was made. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/node.h"
#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLIENTS 3
#define TURNS 6
#define TURN_MS 400

struct input {
    const uint8_t *at, *end;
    uint64_t line;
    uint64_t asked, ended;
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool no_datagram(void *ctx, struct addr *from, struct span *data)
{
    (void)ctx, (void)from, (void)data;
    return false;
}

static void drop_datagram(void *ctx, const struct addr *to, struct span data) { (void)ctx, (void)to, (void)data; }

static bool no_link(void *ctx, struct link_event *event)
{
    (void)ctx, (void)event;
    return false;
}

static void drop_message(void *ctx, const struct link_send *send) { (void)ctx, (void)send; }

static bool next_line(void *ctx, uint64_t *ret_client, struct span *ret_text)
{
    struct input *in = ctx;
    if (in->at == in->end)
        return false;
    const uint8_t *stop = memchr(in->at, '\n', (size_t)(in->end - in->at));
    *ret_text = span(in->at, (size_t)((stop ? stop : in->end) - in->at));
    *ret_client = in->line++ % CLIENTS;
    in->at = stop ? stop + 1 : in->end;
    in->asked++;
    return true;
}

static int take_reply(void *ctx, uint64_t client, struct span text)
{
    struct input *in = ctx;
    json_t *reply = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    require(client < CLIENTS);
    require(json_is_object(reply));
    require(json_integer_value(json_object_get(reply, "v")) == 1);
    require(json_is_integer(json_object_get(reply, "tag")));
    if (json_is_true(json_object_get(reply, "done"))) {
        in->ended++;
        json_int_t status = json_integer_value(json_object_get(reply, "status"));
        require(status >= 0 && status <= 130);
        require((status == 0) == !json_object_get(reply, "error"));
    } else {
        require(json_is_object(json_object_get(reply, "row")));
    }
    json_decref(reply);
    return client == 2 && in->ended % 7 == 6 ? CAM_ENOENT : 0; /* one client goes away now and then */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { .at = data, .end = data + size };
    struct node_io io = { .ctx = &in, .udp_next = no_datagram, .udp_send = drop_datagram, .link_next = no_link,
                          .link_send = drop_message, .api_next = next_line, .api_send = take_reply };
    struct node_config config = { .kad = { .network = "camellia", .use_v4 = true }, .pid = 1 };
    struct now now = { 1000000, UINT64_C(1700000000000) };
    struct rng_seeded seed;
    struct rng rng = rng_seeded(&seed, 1);
    char why[STORE_MESSAGE_SIZE];
    struct store *store;
    struct node *node;

    require(store_open(":memory:", &store, why) == 0);
    require(node_new(&config, store, &io, &rng, now, &node) == 0);
    for (int i = 0; i < TURNS; i++) {
        require(node_turn(node, now) == 0);
        now.mono_ms += TURN_MS;
        now.wall_ms += TURN_MS;
    }
    node_check(node);
    require(in.ended <= in.asked);
    node_free(node);
    store_close(store);
    return 0;
}
