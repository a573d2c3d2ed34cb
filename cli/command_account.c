/* register, login, logout, whoami: the key file is made and opened here, in the client; the node is only
 * handed the key. Argon2id takes its time and its memory in this process, not in the node's loop. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/command.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/keyfile.h"

struct account { /* what the key file says, and its bytes */
    char name[NAME_SIZE];
    uint8_t pk[KEY_SIZE];
    uint16_t device;
    uint8_t *file;
    size_t file_size;
};

static void account_clear(struct account *account)
{
    free(account->file); /* sealed: nothing to wipe */
    account->file = NULL;
}

/* Reads the home's key file as far as nobody's passphrase is needed. 0, or an exit status with all said. */
static int account_read(struct cli *cli, struct account *ret)
{
    char why[CLI_WHY_MAX];
    *ret = (struct account){ .file = NULL };
    int err = io_os_read(cli->home.key, 4096, &ret->file, &ret->file_size);
    if (err == CAM_ENOFILE)
        return view_error(&cli->view, CAM_ENOENT, "no user in this home: camellia register NAME");
    if (err == CAM_EIO) {
        snprintf(why, sizeof why, "cannot read %s: look at its owner and its mode", cli->home.key);
        return view_error(&cli->view, err, why);
    }
    if (!err)
        err = keyfile_peek(ret->file, ret->file_size, ret->name, ret->pk, &ret->device);
    if (err) {
        account_clear(ret);
        snprintf(why, sizeof why, "%s is damaged: put a copy of it back, or move it away and register anew",
                 cli->home.key);
        return view_error(&cli->view, CAM_EFORMAT, why);
    }
    return 0;
}

static struct ask_source ask_source(const struct cli *cli, const struct cli_args *args)
{
    return (struct ask_source){ .file = args->passphrase_file,
                                .fd = args->passphrase_fd,
                                .typed = args->passphrase,
                                .may_prompt = cli->may_prompt };
}

/* {"do": verb, "name", "secret", "device"}: the one request that carries the secret key. */
static json_t *request_with_key(const char *verb, const char *name, const struct identity *id,
                                uint16_t device)
{
    char secret[2 * SECRET_SIZE + 1];
    hex_encode(secret, id->sk, SECRET_SIZE);
    json_t *request =
        json_pack("{s:s, s:s, s:s, s:i}", "do", verb, "name", name, "secret", secret, "device", device);
    sodium_memzero(secret, sizeof secret);
    return request;
}

/* ---- register ------------------------------------------------------------------------------------------ */

static int check_new(struct cli *cli, const char *name)
{
    char why[CLI_WHY_MAX], who[WHO_SIZE];
    struct account account;
    if (name_check(name, strlen(name)))
        return view_error(&cli->view, CAM_EINVAL,
                          "that name is not allowed: 1-32 characters of a-z 0-9 _ -, starting with a letter");
    if (!io_os_exists(cli->home.key))
        return 0;
    int status = account_read(cli, &account);
    if (status)
        return status;
    user_text(account.name, account.pk, who);
    account_clear(&account);
    snprintf(why, sizeof why, "this home already holds %s: camellia login, or --home DIR for another user",
             who);
    return view_error(&cli->view, CAM_ETAKEN, why);
}

/* Is the name free? With nobody to ask that is found out later, when the node meets a peer. */
static int check_free(struct cli *cli, const char *name)
{
    struct io_api_reply end;
    int err = cli_ask_node(cli, json_pack("{s:s, s:s}", "do", "name_check", "name", name), &end, NULL);
    if (err)
        return cli_node_error(cli, err);
    int status = end.status == err_status(CAM_ENET) ? 0 : end.status;
    if (status)
        view_done(&cli->view, status, end.error, end.message);
    io_api_reply_clear(&end);
    return status;
}

static int make_key(struct cli *cli, const struct conf *conf, const char *name,
                    const struct ask_passphrase *passphrase, struct identity **ret)
{
    struct rng rng = io_os_rng();
    char why[CLI_WHY_MAX];
    uint8_t file[KEYFILE_SIZE];
    size_t size;
    struct identity *id = identity_new(&rng);
    if (!id)
        return view_error(&cli->view, CAM_ESYS, "no memory that can be locked for the key (ulimit -l)");
    int err = keyfile_seal(id, name, 0, ask_span(passphrase), conf->key_cost, &rng, file, sizeof file, &size);
    if (err) {
        identity_free(id);
        return view_error(&cli->view, err, "the key could not be sealed: not enough memory for Argon2id");
    }
    err = io_os_write_atomic(cli->home.key, file, size, 0600);
    if (err) {
        identity_free(id);
        snprintf(why, sizeof why, "cannot write %s: is the disk full? Nothing was registered", cli->home.key);
        return view_error(&cli->view, err, why);
    }
    *ret = id;
    return 0;
}

int run_register(struct cli *cli, const struct cli_args *args)
{
    const char *name = args->arg[0];
    char prompt[NAME_SIZE + 64], why[ASK_WHY_MAX];
    struct conf conf;
    char conf_why[HOME_WHY_MAX];
    struct ask_passphrase *passphrase = NULL;
    struct identity *id = NULL;
    bool started = false;
    int status = check_new(cli, name);
    if (status)
        return status;
    int err = home_config(&cli->home, args->config, &conf, conf_why);
    if (err)
        return view_error(&cli->view, err, conf_why); /* before anything is asked or started */
    struct ask_source from = ask_source(cli, args);
    snprintf(prompt, sizeof prompt, "New passphrase for %s", name);
    err = ask_passphrase(&from, prompt, true, &passphrase, why);
    if (err)
        return view_error(&cli->view, err, why);

    status = cli_node_start(cli, args, &started);
    if (!status)
        status = check_free(cli, name);
    if (!status)
        status = make_key(cli, &conf, name, passphrase, &id);
    ask_passphrase_free(passphrase);
    if (status) {
        if (started)
            cli_node_stop(cli);
        return status;
    }
    status = cli_call(cli, args, request_with_key("register", name, id, 0), CLI_ANSWER_MS);
    identity_free(id);
    if (status == err_status(CAM_ETAKEN)) { /* somebody was faster: the key was never used */
        unlink(cli->home.key);
        if (started)
            cli_node_stop(cli);
    } else if (!status || status == err_status(CAM_EPENDING)) {
        view_note(&cli->view,
                  "public from now on: your name, whom you follow, who follows you, and this node's address");
    }
    return status;
}

/* ---- login, logout, whoami ----------------------------------------------------------------------------- */

int run_login(struct cli *cli, const struct cli_args *args)
{
    struct account account;
    struct ask_passphrase *passphrase = NULL;
    struct identity *id = NULL;
    char who[WHO_SIZE], prompt[WHO_SIZE + 64], why[CLI_WHY_MAX];
    bool started;
    int status = account_read(cli, &account);
    if (status)
        return status;
    user_text(account.name, account.pk, who);
    if (args->arg_count && strcmp(args->arg[0], account.name) != 0) {
        snprintf(why, sizeof why, "this home holds %s, not %.64s: give the other home with --home DIR", who,
                 args->arg[0]);
        status = view_error(&cli->view, CAM_ENOENT, why);
        goto out;
    }
    if (io_os_check_private(cli->home.key) != 0)
        view_note(&cli->view, "note: others can read %s: chmod 600 it", cli->home.key);
    struct ask_source from = ask_source(cli, args);
    snprintf(prompt, sizeof prompt, "Passphrase for %s", who);
    int err = ask_passphrase(&from, prompt, false, &passphrase, why);
    if (!err) {
        err = keyfile_open(account.file, account.file_size, ask_span(passphrase), &id);
        if (err == CAM_EPASS)
            snprintf(why, sizeof why, "wrong passphrase for %s", who);
        else if (err == CAM_ESYS)
            snprintf(why, sizeof why, "not enough memory to open the key (Argon2id)");
        else if (err)
            snprintf(why, sizeof why, "%s is damaged: put a copy of it back", cli->home.key);
    }
    ask_passphrase_free(passphrase);
    if (err) {
        status = view_error(&cli->view, err, why);
        goto out;
    }
    status = cli_node_start(cli, args, &started);
    if (status)
        goto out;
    status = cli_call(cli, args, request_with_key("login", account.name, id, account.device), CLI_ANSWER_MS);
    if (status && started && status != err_status(CAM_EPENDING))
        cli_node_stop(cli);
out:
    identity_free(id);
    account_clear(&account);
    return status;
}

int run_logout(struct cli *cli, const struct cli_args *args)
{
    bool stays = cli_node_stays(cli); /* asked first: afterwards one that ends may be half gone */
    int status = cli_call(cli, args, json_pack("{s:s}", "do", "logout"), CLI_ANSWER_MS);
    if (!status && stays)
        view_note(&cli->view, "the key is forgotten; the node goes on, as `camellia node` started it");
    else if (!status)
        status = cli_node_gone(cli);
    if (!status)
        view_note(&cli->view, "logged out");
    return status;
}

int run_whoami(struct cli *cli, const struct cli_args *args)
{
    struct account account;
    pid_t pid;
    char id[USER_ID_SIZE], tag[TAG_SIZE];
    int status = account_read(cli, &account);
    if (status)
        return status;
    account_clear(&account);
    if (home_node(&cli->home, &pid) == 0)
        return cli_call(cli, args, json_pack("{s:s}", "do", "whoami"), CLI_ANSWER_MS);
    user_id_text(account.pk, id);
    user_tag(account.pk, tag);
    json_t *row = json_pack("{s:i, s:s, s:s, s:s, s:i, s:n, s:s}", "v", 1, "user", account.name, "id", id,
                            "tag", tag, "device", account.device, "address", "node", "stopped");
    view_row(&cli->view, args->command->kind, row);
    json_decref(row);
    return view_done(&cli->view, 0, NULL, NULL);
}
