/* What every command shares: Ctrl-C, opening the home, asking the node. */
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "core/err.h"
#include "core/io_os.h"

/* ---- Ctrl-C ------------------------------------------------------------------------------------------- */

volatile sig_atomic_t cli_interrupted;
static volatile sig_atomic_t interrupt_soft;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    if (!interrupt_soft)
        _exit(130); /* nothing is half written: files are replaced in one step */
    cli_interrupted = 1;
}

void cli_interrupt_mode(bool soft)
{
    interrupt_soft = soft;
    cli_interrupted = 0;
    struct sigaction action = { .sa_handler = on_interrupt }; /* no SA_RESTART: waiting ends */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

/* ---- asking the node ---------------------------------------------------------------------------------- */

int cli_node_error(struct cli *cli, int err)
{
    const char *why = NULL;
    if (err == CAM_ENONODE)
        why = io_os_exists(cli->home.key) ? "no node is running here: camellia login"
                                          : "no node is running and no user is here: camellia register NAME";
    else if (err == CAM_ETIMEOUT)
        why = "the node does not answer; its log may say why (camellia.log in its home)";
    else if (err == CAM_ETOOBIG)
        why = "that is more than fits in one request";
    return view_error(&cli->view, err, why);
}

struct printing {
    struct cli *cli;
    enum view_kind kind;
    int rows;
};

static bool print_row(void *ctx, json_t *row)
{
    struct printing *p = ctx;
    view_row(&p->cli->view, p->kind, row);
    p->rows++;
    return !cli_interrupted;
}

/* What is said when all went well and there was nothing to show. */
static const char *empty_words(const struct cli_args *args)
{
    if (args->before)
        return "no older posts";
    return args->unread ? "nothing unread" : args->command->empty;
}

int cli_call(struct cli *cli, const struct cli_args *args, json_t *request, int timeout_ms)
{
    struct io_api_client *api;
    struct io_api_reply end;
    struct printing printing = { cli, args->command->kind, 0 };
    int err = io_api_connect(&cli->home, &api);
    if (err) {
        json_decref(request);
        return cli_node_error(cli, err);
    }
    err = io_api_call(api, request, timeout_ms, print_row, &printing, &end);
    int status;
    if (err) {
        status = cli_node_error(cli, err);
    } else {
        const char *message = end.message;
        if (!end.status && !printing.rows && empty_words(args))
            message = empty_words(args);
        if (!end.status && printing.kind == VIEW_POSTED)
            message = NULL; /* its row says as much */
        status = view_done(&cli->view, end.status, end.error, message);
        io_api_reply_clear(&end);
    }
    io_api_close(api);
    return status;
}

static bool keep_row(void *ctx, json_t *row)
{
    json_t **kept = ctx;
    json_decref(*kept);
    *kept = json_incref(row);
    return !cli_interrupted;
}

int cli_ask_node(struct cli *cli, json_t *request, struct io_api_reply *ret, json_t **ret_row)
{
    struct io_api_client *api;
    json_t *row = NULL;
    int err = io_api_connect(&cli->home, &api);
    if (err) {
        json_decref(request);
        return err;
    }
    err = io_api_call(api, request, CLI_ANSWER_MS, keep_row, &row, ret);
    io_api_close(api);
    if (!err && ret_row)
        *ret_row = json_incref(row);
    json_decref(row);
    return err;
}

/* ---- running a command -------------------------------------------------------------------------------- */

int command_run(struct cli *cli, const struct cli_args *args)
{
    const struct command *command = args->command;
    char why[HOME_WHY_MAX];
    cli->view.lone_answer = command->lone_answer;
    if (command->run == run_help)
        return run_help(cli, args); /* help needs no home */
    int err = home_open(args->home, &cli->home, why);
    if (err)
        return view_error(&cli->view, err, why);
    return command->run(cli, args);
}
