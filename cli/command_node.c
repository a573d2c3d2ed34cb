/* The node as a process: in the background for register and login, in the foreground for `camellia node`. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/io_proc.h"

#define NODE_PROGRAM "camelliad"
#define NODE_START_MS 30000 /* a large store may have to be recovered first */
#define NODE_END_MS 15000
#define NODE_ENDING_MS 1500 /* another that is about to end gets before it is in the way */
#define ARGV_MAX (16 + 2 * CONF_JOIN_MAX)

struct node_argv {
    char program[IO_HOME_PATH_SIZE];
    const char *argv[ARGV_MAX];
    int count;
};

static void argv_add(struct node_argv *a, const char *flag, const char *value)
{
    if (!value)
        return;
    a->argv[a->count++] = flag;
    a->argv[a->count++] = value;
}

/* camelliad lies beside camellia; both were installed together. */
static int argv_fill(struct cli *cli, const struct cli_args *args, struct node_argv *a)
{
    memset(a, 0, sizeof *a);
    int err = io_proc_beside(NODE_PROGRAM, a->program, sizeof a->program);
    if (err)
        return view_error(&cli->view, err, "camelliad is not beside camellia: install both");
    a->argv[a->count++] = a->program;
    argv_add(a, "--home", args->home ? cli->home.dir : NULL); /* absolute: the node may run elsewhere */
    argv_add(a, "--config", args->config);
    argv_add(a, "--listen", args->listen);
    for (int i = 0; i < args->join_count; i++)
        argv_add(a, "--join", args->join[i]);
    return 0;
}

/* One that was killed keeps its lock until the last of its threads is gone, a moment after its pid looks
 * dead: a node that runs is one that answers. CAM_ENONODE when there is none, or none any more. */
static int node_answers(struct cli *cli)
{
    struct io_api_reply end;
    int err = cli_ask_node(cli, json_pack("{s:s}", "do", "hello"), &end, NULL);
    if (!err)
        io_api_reply_clear(&end);
    return err;
}

int cli_node_start(struct cli *cli, const struct cli_args *args, bool *ret_started)
{
    struct node_argv a;
    char text[IO_PROC_TEXT_SIZE];
    pid_t pid;
    *ret_started = false;
    int answer = node_answers(cli);
    if (answer != CAM_ENONODE)
        return answer ? cli_node_error(cli, answer) : 0;
    int status = argv_fill(cli, args, &a);
    if (status)
        return status;
    argv_add(&a, "--ready-fd", IO_PROC_READY_TEXT);
    int err = io_proc_spawn(a.argv, cli->home.log, NODE_START_MS, &pid, text);
    if (err) {
        pid_t other; /* somebody else may have started it in the same moment */
        if (home_node(&cli->home, &other) == 0) {
            if (err == CAM_EAGAIN)
                return 0;
            /* It has said why it ends; the next try must not take it for one that runs. */
            if (err != CAM_ETIMEOUT && other)
                io_proc_wait_gone(other, NODE_ENDING_MS);
        }
        return view_error(&cli->view, err, *text ? text : "the node did not start");
    }
    *ret_started = true;
    if (args->verbose)
        view_note(&cli->view, "node started at %s, pid %d, log in %s", text, (int)pid, cli->home.log);
    return 0;
}

void cli_node_stop(struct cli *cli)
{
    struct io_api_reply end;
    if (cli_ask_node(cli, json_pack("{s:s}", "do", "stop"), &end, NULL) == 0)
        io_api_reply_clear(&end);
    pid_t pid;
    if (home_node(&cli->home, &pid) == 0 && pid)
        io_proc_wait_gone(pid, NODE_END_MS);
}

bool cli_node_stays(struct cli *cli)
{
    struct io_api_reply end;
    json_t *row = NULL;
    if (cli_ask_node(cli, json_pack("{s:s}", "do", "hello"), &end, &row))
        return false;
    bool stays = view_bool(row, "stays");
    io_api_reply_clear(&end);
    json_decref(row);
    return stays;
}

int cli_node_gone(struct cli *cli)
{
    pid_t pid;
    if (home_node(&cli->home, &pid) != 0 || !pid)
        return 0;
    if (io_proc_wait_gone(pid, NODE_END_MS) == 0)
        return 0;
    return view_error(&cli->view, CAM_ETIMEOUT, "the key is forgotten, but the node has not ended yet");
}

int run_node(struct cli *cli, const struct cli_args *args)
{
    struct node_argv a;
    pid_t pid;
    if (home_node(&cli->home, &pid) == 0)
        return view_error(&cli->view, CAM_EAGAIN, "a node runs in this home already: camellia status");
    int status = argv_fill(cli, args, &a);
    if (status)
        return status;
    if (args->verbose)
        a.argv[a.count++] = "-v";
    char *argv[ARGV_MAX];
    memcpy(argv, a.argv, sizeof argv); /* execv's type says char *const: it changes nothing */
    execv(a.program, argv);
    char why[IO_HOME_PATH_SIZE + 128];
    snprintf(why, sizeof why, "cannot run %s: %s", a.program, strerror(errno));
    return view_error(&cli->view, CAM_ESYS, why);
}
