/* The commands of camellia: one table with a row for each, read by the parser, by `help` and by the menu.
 *
 * A handler is given the parsed flags and an open home, talks to the node through cli_call, writes rows and
 * words to the view and returns the exit status. It may be run many times in one process (the menu does).
 *
 *     struct cli cli = { .may_prompt = true }; struct cli_args args; char why[CLI_WHY_MAX];
 *     int err = command_parse(argc, argv, &args, why);
 *     view_init(&cli.view, VIEW_PEOPLE, stdout, stderr);
 *     return err ? view_error(&cli.view, err, why) : command_run(&cli, &args);
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include "cli/home.h"
#include "cli/io_api.h"
#include "cli/view.h"
#include "core/conf.h"

#define CLI_WHY_MAX (HOME_WHY_MAX + 64)
#define CLI_ARGS_MAX 4
#define CLI_ANSWER_MS 60000 /* a node that says nothing for so long is not coming back */

struct cli_args { /* what was typed; strings are borrowed from argv */
    const struct command *command; /* NULL: none was given */
    const char *home, *config, *listen, *join[CONF_JOIN_MAX], *passphrase_file, *before, *salt;
    int join_count;
    int passphrase_fd;             /* -1: none */
    bool json, plain, quiet, verbose, help, version;
    bool unread, follow, private_follow, wait, trace;
    uint32_t n;                    /* 0: the default */
    uint32_t wait_s;
    uint32_t port;                 /* 0: none */
    const char *arg[CLI_ARGS_MAX];
    int arg_count;
    const char *passphrase;        /* typed into the menu; never from argv */
};

struct cli {
    struct io_home home;
    struct view view;
    bool may_prompt;               /* a person is there to be asked */
};

struct command {
    const char *name, *args, *help; /* name may be two words; help: one line */
    const char *more;               /* further lines for `help COMMAND`, or NULL */
    const char *empty;              /* said when it ended well without a row, or NULL */
    int (*run)(struct cli *cli, const struct cli_args *args); /* returns an exit status */
    uint8_t min_args, max_args;
    uint32_t options;               /* enum cli_option bits it takes besides the global ones */
    enum view_kind kind;            /* of its rows */
    bool lone_answer;               /* one row at most: see struct view */
};

enum cli_option {
    OPT_GLOBAL = 1u << 0,
    OPT_LISTEN = 1u << 1,
    OPT_JOIN = 1u << 2,
    OPT_PASSPHRASE = 1u << 3,
    OPT_N = 1u << 4,
    OPT_BEFORE = 1u << 5,
    OPT_UNREAD = 1u << 6,
    OPT_FOLLOW = 1u << 7,
    OPT_WAIT = 1u << 8,
    OPT_PRIVATE = 1u << 9,
    OPT_SALT = 1u << 10,
    OPT_TRACE = 1u << 11,
    OPT_PORT = 1u << 12,
};

extern const struct command commands[]; /* ends with a row whose name is NULL */
const struct command *command_find(const char *name); /* NULL when there is none */

/* argv without the program's name. 0, or CAM_EUSAGE with ret_why; `ret` is set as far as it was read, so that
 * --json is obeyed by the error too. Touches nothing. */
int command_parse(int argc, const char *const argv[], struct cli_args *ret, char ret_why[CLI_WHY_MAX]);

/* Opens the home and runs the handler. Returns the exit status; what is wrong was said to the view. A handler
 * looks at its arguments before it asks the node, so bad input is told as such whether or not a node runs. */
int command_run(struct cli *cli, const struct cli_args *args);

/* ---- for handlers -------------------------------------------------------------------------------------- */

/* Sends `request` (taken) to the node of this home and hands its rows to the view, as the command's row says.
 * timeout_ms counts from the last reply. Returns the exit status. */
int cli_call(struct cli *cli, const struct cli_args *args, json_t *request, int timeout_ms);
/* The same without a word to the view. 0 and `ret` (to be cleared) when the node answered, whatever its
 * status. `ret_row`, unless NULL, gets the last row (the caller's, json_decref) or NULL. */
int cli_ask_node(struct cli *cli, json_t *request, struct io_api_reply *ret, json_t **ret_row);
/* Why the node could not be asked, said to the view. Returns the exit status. */
int cli_node_error(struct cli *cli, int err);

/* Starts a node in this home unless one runs, and returns when it is ready. On an error the view has been
 * told. Returns 0 or an exit status. */
int cli_node_start(struct cli *cli, const struct cli_args *args, bool *ret_started);
/* Ends the node that was started for nothing. */
void cli_node_stop(struct cli *cli);
/* Does the node here go on after `logout`, since somebody started it by hand? False too when none answers. */
bool cli_node_stays(struct cli *cli);
/* Waits until no node runs here. 0 or an exit status. */
int cli_node_gone(struct cli *cli);

/* Set by Ctrl-C while `soft`; otherwise Ctrl-C ends the program with 130 at once. */
extern volatile sig_atomic_t cli_interrupted;
void cli_interrupt_mode(bool soft);

/* The handlers, by file. */
int run_register(struct cli *cli, const struct cli_args *args); /* command_account.c */
int run_login(struct cli *cli, const struct cli_args *args);
int run_logout(struct cli *cli, const struct cli_args *args);
int run_whoami(struct cli *cli, const struct cli_args *args);
int run_node(struct cli *cli, const struct cli_args *args);     /* command_node.c */
int run_post(struct cli *cli, const struct cli_args *args);     /* command_post.c */
int run_timeline(struct cli *cli, const struct cli_args *args);
int run_outbox(struct cli *cli, const struct cli_args *args);
int run_follow(struct cli *cli, const struct cli_args *args);   /* command_people.c */
int run_unfollow(struct cli *cli, const struct cli_args *args);
int run_followers(struct cli *cli, const struct cli_args *args);
int run_following(struct cli *cli, const struct cli_args *args);
int run_profile(struct cli *cli, const struct cli_args *args);
int run_suggest(struct cli *cli, const struct cli_args *args);
int run_status(struct cli *cli, const struct cli_args *args);   /* command_network.c */
int run_peers(struct cli *cli, const struct cli_args *args);
int run_dht_ping(struct cli *cli, const struct cli_args *args);
int run_dht_find(struct cli *cli, const struct cli_args *args);
int run_dht_get(struct cli *cli, const struct cli_args *args);
int run_dht_put(struct cli *cli, const struct cli_args *args);
int run_dht_peers(struct cli *cli, const struct cli_args *args);
int run_dht_announce(struct cli *cli, const struct cli_args *args);
int run_help(struct cli *cli, const struct cli_args *args);     /* command_help.c */

#endif
