/* `dht peers` and `dht announce` (BEP 5): who announced itself under an info-hash, and announcing ours. */
#include <inttypes.h>
#include <stdio.h>
#include "cli/api_impl.h"
#include "core/err.h"

static bool want_hash(struct api *api, struct api_request *r, const json_t *args, uint8_t ret[KAD_ID_SIZE])
{
    if (!api_arg_id(args, "info_hash", ret))
        return true;
    api_done(api, r, CAM_EINVAL, "an info-hash is 40 hex digits");
    return false;
}

void api_dht_peers(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    uint8_t hash[KAD_ID_SIZE];

    if (!want_hash(api, r, args, hash))
        return;
    r->kind = API_DHT_PEERS;
    int err = kad_get_peers(api->kad, now, hash, api_dht_tag(api, r));
    if (err)
        api_done(api, r, err, NULL);
}

void api_dht_announce(struct api *api, struct now now, struct api_request *r, const json_t *args)
{
    const json_t *port = json_object_get(args, "port");
    uint8_t hash[KAD_ID_SIZE];

    if (!want_hash(api, r, args, hash))
        return;
    if (port &&
        (!json_is_integer(port) || json_integer_value(port) < 1 || json_integer_value(port) > UINT16_MAX)) {
        api_done(api, r, CAM_EINVAL, "a port is a number from 1 to 65535");
        return;
    }
    r->kind = API_DHT_ANNOUNCE;
    r->port = (uint16_t)json_integer_value(port);
    int err = kad_announce(api->kad, now, hash, r->port, api_dht_tag(api, r));
    if (err)
        api_done(api, r, err, NULL);
}

void api_dht_peers_event(struct api *api, struct api_request *r, const struct kad_event *e)
{
    char words[64];

    for (size_t i = 0; i < e->n_peers; i++)
        api_row(api, r, json_pack("{s:i, s:o}", "v", API_VERSION, "address", api_addr_json(&e->peers[i])));
    if (!e->last)
        return;
    snprintf(words, sizeof words, "named by %" PRIu32 " %s", e->holders, e->holders == 1 ? "node" : "nodes");
    if (e->status && e->status != CAM_ENOENT) /* nobody announced is an answer too */
        api_done(api, r, e->status, e->status == CAM_ENET ? API_NOBODY : NULL);
    else
        api_done(api, r, 0, e->status || !e->holders ? "" : words);
}

void api_dht_announce_event(struct api *api, struct api_request *r, const struct kad_event *e)
{
    if (e->status) {
        api_done(api, r, e->status,
                 e->status == CAM_ENET ? "no peer took it: camellia node --join HOST:PORT" : NULL);
        return;
    }
    api_row(api, r,
            json_pack("{s:i, s:o, s:o, s:i}", "v", API_VERSION, "info_hash",
                      api_hex_json(e->target, KAD_ID_SIZE), "port",
                      r->port ? json_integer(r->port) : json_null(), "holders", (int)e->holders));
    api_done(api, r, 0, "");
}
