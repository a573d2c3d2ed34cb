/* Writing and reading posts. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/command.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/text.h"

#define STDIN_MAX (16u << 20)      /* read so far to be able to say how large it was */
#define LEASE_RENEW_MS 10000       /* a live timeline is a lease of 30 s */
#define LIVE_TAG 1

/* ---- post
 * --------------------------------------------------------------------------------------------------- */

/* What can be known wrong with a text before the node sees it. */
static int check_text(struct cli *cli, const char *text, size_t size)
{
    char why[160];
    if (size == 0)
        return view_error(&cli->view, CAM_EINVAL, "the post is empty: write some text");
    if (size > TEXT_POST_MAX) {
        snprintf(why, sizeof why, "the post has %zu bytes, %d is the limit: make two of it", size,
                 TEXT_POST_MAX);
        return view_error(&cli->view, CAM_ETOOBIG, why);
    }
    if (text_check_utf8(text, size))
        return view_error(&cli->view, CAM_EINVAL, "the post is not valid UTF-8");
    if (text_check_post(text, size))
        return view_error(&cli->view, CAM_EINVAL,
                          "the post holds control characters: only newline and tab may be in it");
    return 0;
}

/* The text: an argument, all of stdin for "-", or a line that is asked for. The caller frees. */
static int read_text(struct cli *cli, const struct cli_args *args, char **ret, size_t *ret_size)
{
    if (args->arg_count && strcmp(args->arg[0], "-") != 0) {
        *ret = strdup(args->arg[0]);
        *ret_size = strlen(args->arg[0]);
        return *ret ? 0 : view_error(&cli->view, CAM_ESYS, NULL);
    }
    if (!args->arg_count) {
        if (!cli->may_prompt)
            return view_error(&cli->view, CAM_EUSAGE, "no text: camellia post TEXT, or - for stdin");
        pid_t pid;
        if (home_node(&cli->home, &pid) != 0)
            return cli_node_error(cli, CAM_ENONODE); /* before anything is typed */
        char *line = malloc(ASK_LINE_MAX + 2);
        int err = line ? ask_line("Post: ", line, ASK_LINE_MAX + 2) : CAM_ESYS;
        if (err) {
            free(line);
            return view_error(&cli->view, err, err == CAM_ENOFILE ? "no text: nothing was posted" : NULL);
        }
        *ret = line;
        *ret_size = strlen(line);
        return 0;
    }
    int err = ask_all(STDIN_FILENO, STDIN_MAX, ret, ret_size);
    if (err == CAM_ETOOBIG) {
        char why[96];
        snprintf(why, sizeof why, "the post has over %u bytes, %d is the limit", STDIN_MAX, TEXT_POST_MAX);
        return view_error(&cli->view, err, why);
    }
    if (err)
        return view_error(&cli->view, err, "cannot read the text from standard input");
    if (*ret_size && (*ret)[*ret_size - 1] == '\n')
        (*ret)[--*ret_size] = '\0'; /* echo and editors add it */
    return 0;
}

int run_post(struct cli *cli, const struct cli_args *args)
{
    char *text = NULL;
    size_t size = 0;
    int status = read_text(cli, args, &text, &size);
    if (!status)
        status = check_text(cli, text, size);
    if (!status) {
        int wait_ms = args->wait ? (int)args->wait_s * 1000 : 0;
        json_t *request = json_pack("{s:s, s:s%, s:i}", "do", "post", "text", text, size, "wait_ms", wait_ms);
        status = request ? cli_call(cli, args, request, wait_ms + CLI_ANSWER_MS)
                         : view_error(&cli->view, CAM_EINVAL, "the post holds control characters");
    }
    free(text);
    return status;
}

/* ---- timeline
 * ----------------------------------------------------------------------------------------------- */

static int64_t mono_ms(void) { return (int64_t)io_os_now().mono_ms; }

/* Rows as they come, until Ctrl-C; the node forgets a reader that does not renew its lease. */
static int read_live(struct cli *cli, const struct cli_args *args, struct io_api_client *api)
{
    int64_t renew_at_ms = mono_ms() + LEASE_RENEW_MS;
    for (;;) {
        struct io_api_reply reply;
        int64_t left_ms = renew_at_ms - mono_ms();
        int err = cli_interrupted ? CAM_EINTR : io_api_recv(api, left_ms > 0 ? (int)left_ms : 0, &reply);
        if (err == CAM_ETIMEOUT) {
            renew_at_ms = mono_ms() + LEASE_RENEW_MS;
            err = io_api_send(api, json_pack("{s:s}", "do", "renew"), LIVE_TAG);
            if (!err)
                continue;
        }
        if (err == CAM_EINTR && !cli_interrupted)
            continue; /* another signal, as when the window changed */
        if (err == CAM_EINTR) {
            io_api_send(api, json_pack("{s:s, s:i}", "do", "cancel", "cancel", LIVE_TAG), LIVE_TAG + 1);
            return err_status(CAM_EINTR);
        }
        if (err)
            return cli_node_error(cli, err);
        if (reply.row)
            view_row(&cli->view, args->command->kind, reply.row);
        bool done = reply.done && reply.tag == LIVE_TAG;
        int status = done ? view_done(&cli->view, reply.status, reply.error, reply.message) : 0;
        io_api_reply_clear(&reply);
        if (done)
            return status;
    }
}

static bool is_post_id(const char *text)
{
    size_t size = strlen(text);
    return size >= 1 && size <= 19 && strspn(text, "0123456789") == size;
}

int run_timeline(struct cli *cli, const struct cli_args *args)
{
    if (args->before && !is_post_id(args->before))
        return view_error(&cli->view, CAM_EINVAL, "--before takes a post's id, a decimal number");
    if (args->before && args->follow)
        return view_error(&cli->view, CAM_EUSAGE, "--before goes back, --follow goes on: not both");
    json_t *request =
        json_pack("{s:s, s:b, s:b}", "do", "timeline", "unread", args->unread, "follow", args->follow);
    if (args->n)
        json_object_set_new(request, "n", json_integer(args->n));
    if (args->before)
        json_object_set_new(request, "before", json_string(args->before));
    if (!args->follow)
        return cli_call(cli, args, request, CLI_ANSWER_MS);

    struct io_api_client *api;
    int err = io_api_connect(&cli->home, &api);
    if (err) {
        json_decref(request);
        return cli_node_error(cli, err);
    }
    cli_interrupt_mode(true);
    err = io_api_send(api, request, LIVE_TAG);
    int status = err ? cli_node_error(cli, err) : read_live(cli, args, api);
    cli_interrupt_mode(false);
    io_api_close(api);
    return status;
}

int run_outbox(struct cli *cli, const struct cli_args *args)
{
    return cli_call(cli, args, json_pack("{s:s}", "do", "outbox"), CLI_ANSWER_MS);
}
