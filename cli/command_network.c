/* The node and the network it is part of. */
#include <string.h>

#include "cli/command.h"
#include "cli/io_resolve.h"
#include "core/err.h"
#include "core/identity.h"

#define ID_HEX 40 /* hex digits of a Kademlia id */
#define KEY_HEX 64 /* of a public key */

int run_status(struct cli *cli, const struct cli_args *args)
{
    return cli_call(cli, args, json_pack("{s:s}", "do", "status"), CLI_ANSWER_MS);
}

/* The nodes; for people also what goes on between them, which a script gets from `status`. */
int run_peers(struct cli *cli, const struct cli_args *args)
{
    struct io_api_reply end;
    json_t *row = NULL;
    int status = cli_call(cli, args, json_pack("{s:s}", "do", "peers"), CLI_ANSWER_MS);
    if (status || cli->view.mode == VIEW_JSON ||
        cli_ask_node(cli, json_pack("{s:s}", "do", "status"), &end, &row))
        return status;
    io_api_reply_clear(&end);
    if (row)
        view_row(&cli->view, VIEW_NETWORK, row);
    json_decref(row);
    return 0;
}

static bool is_hex(const char *text, size_t digits)
{
    return strlen(text) == digits && strspn(text, "0123456789abcdefABCDEF") == digits;
}

static int call_with(struct cli *cli, const struct cli_args *args, const char *verb, const char *key,
                     const char *text)
{
    json_t *value = json_string(text);
    if (!value)
        return view_error(&cli->view, CAM_EINVAL, "the argument is not valid UTF-8");
    json_t *request = json_pack("{s:s, s:o}", "do", verb, key, value);
    if (args->trace)
        json_object_set_new(request, "trace", json_true());
    if (args->salt)
        json_object_set_new(request, "salt", json_string(args->salt));
    if (args->port)
        json_object_set_new(request, "port", json_integer(args->port));
    return cli_call(cli, args, request, CLI_ANSWER_MS);
}

int run_dht_ping(struct cli *cli, const struct cli_args *args)
{
    struct conf_host host;
    struct addr addr;
    char text[ADDR_TEXT_SIZE], why[CONF_HOST_MAX + 64];
    if (conf_host_parse(args->arg[0], 0, &host))
        return view_error(&cli->view, CAM_EINVAL, "that is no address: HOST:PORT, like 127.0.0.1:8000");
    if (io_resolve_now(&host, &addr)) { /* here, where waiting holds up nobody; the node takes numbers only */
        snprintf(why, sizeof why, "%s has no address: is the name right, is there a network?", host.host);
        return view_error(&cli->view, CAM_ENET, why);
    }
    return call_with(cli, args, "dht_ping", "address", addr_text(&addr, text));
}

int run_dht_find(struct cli *cli, const struct cli_args *args)
{
    if (!is_hex(args->arg[0], ID_HEX))
        return view_error(&cli->view, CAM_EINVAL, "an id is 40 hex digits");
    return call_with(cli, args, "dht_find", "id", args->arg[0]);
}

int run_dht_get(struct cli *cli, const struct cli_args *args)
{
    uint8_t pk[KEY_SIZE];
    bool target = is_hex(args->arg[0], ID_HEX);
    if (!target && !is_hex(args->arg[0], KEY_HEX) && user_id_parse(args->arg[0], pk))
        return view_error(&cli->view, CAM_EINVAL,
                          "a target is 40 hex digits; a user's id 52 characters a-z 2-7, "
                          "a key 64 hex digits");
    return call_with(cli, args, "dht_get", target ? "target" : "id", args->arg[0]);
}

int run_dht_put(struct cli *cli, const struct cli_args *args)
{
    return call_with(cli, args, "dht_put", "value", args->arg[0]);
}

static int call_with_hash(struct cli *cli, const struct cli_args *args, const char *verb)
{
    if (!is_hex(args->arg[0], ID_HEX))
        return view_error(&cli->view, CAM_EINVAL, "an info-hash is 40 hex digits");
    return call_with(cli, args, verb, "info_hash", args->arg[0]);
}

int run_dht_peers(struct cli *cli, const struct cli_args *args)
{
    return call_with_hash(cli, args, "dht_peers");
}

int run_dht_announce(struct cli *cli, const struct cli_args *args)
{
    return call_with_hash(cli, args, "dht_announce");
}
