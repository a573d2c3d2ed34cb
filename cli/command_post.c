/* Writing and reading posts. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/text.h"

#define STDIN_MAX (16u << 20)      /* read so far to be able to say how large it was */
#define LEASE_RENEW_MS 10000       /* a live timeline is a lease of 30 s */
#define LIVE_TAG 1
#define RESUME_ROWS 4096           /* as many as the node gives at once */

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

struct live { /* a timeline that is followed */
    struct io_api_client *api;
    json_t *request;
    uint64_t tag;        /* of the reading that runs: each has its own */
    uint64_t first_id, last_id; /* the lowest and highest shown; 0: none yet */
    uint64_t resumed_id; /* the highest when this reading began; 0: the first one, or nothing came yet */
    bool is_resumed;
    int64_t renewed_ms;
};

static int live_ask(struct live *l)
{
    l->renewed_ms = mono_ms();
    return io_api_send(l->api, json_deep_copy(l->request), l->tag);
}

/* The node has forgotten this reader, who was stopped (Ctrl-Z) for longer than a lease: it asks anew, for as
 * much as there may be, and shows what it has not. */
static int live_resume(struct live *l)
{
    l->tag++;
    l->is_resumed = true;
    l->resumed_id = 0;
    json_object_set_new(l->request, "n", json_integer(RESUME_ROWS));
    return live_ask(l);
}

static int live_renew(struct live *l)
{
    int64_t age_ms = mono_ms() - l->renewed_ms;
    if (age_ms >= API_LEASE_MS)
        return live_resume(l);
    if (age_ms < LEASE_RENEW_MS)
        return 0;
    l->renewed_ms += age_ms;
    return io_api_send(l->api, json_pack("{s:s}", "do", "renew"), l->tag);
}

/* Not shown yet? In a reading that was resumed: newer than all that was, or unread and no older than that. */
static bool live_is_new(struct live *l, const struct io_api_reply *reply)
{
    const char *text = json_string_value(json_object_get(reply->row, "id"));
    uint64_t id = text ? strtoull(text, NULL, 10) : 0;
    if (!id)
        return !l->is_resumed; /* a gap */
    if (l->is_resumed && reply->tag == l->tag) {
        if (!l->resumed_id)
            l->resumed_id = l->last_id ? l->last_id : 1;
        bool is_unread = json_is_true(json_object_get(reply->row, "unread"));
        if (id <= l->resumed_id && !(is_unread && id > l->first_id))
            return false;
    }
    if (!l->first_id || id < l->first_id)
        l->first_id = id;
    if (id > l->last_id)
        l->last_id = id;
    return true;
}

/* Rows as they come, until Ctrl-C; the node forgets a reader that does not renew its lease. */
static int read_live(struct cli *cli, const struct cli_args *args, struct live *l)
{
    int err = live_ask(l);
    for (;;) {
        struct io_api_reply reply;
        if (!err)
            err = cli_interrupted ? CAM_EINTR : live_renew(l);
        if (!err) {
            int64_t left_ms = l->renewed_ms + LEASE_RENEW_MS - mono_ms();
            err = io_api_recv(l->api, left_ms > 0 ? (int)left_ms : 0, &reply);
        }
        if (err == CAM_EINTR && cli_interrupted) {
            json_t *cancel = json_pack("{s:s, s:I}", "do", "cancel", "cancel", (json_int_t)l->tag);
            io_api_send(l->api, cancel, l->tag + 1);
            return err_status(CAM_EINTR);
        }
        if (err == CAM_ETIMEOUT || err == CAM_EINTR) { /* time to renew; another signal, as of the window */
            err = 0;
            continue;
        }
        if (err)
            return cli_node_error(cli, err);
        if (reply.row && live_is_new(l, &reply))
            view_row(&cli->view, args->command->kind, reply.row);
        bool done = reply.done && reply.tag == l->tag;
        bool lapsed = done && reply.error && strcmp(reply.error, err_word(CAM_ETIMEOUT)) == 0;
        if (lapsed)
            err = live_resume(l);
        int status = done && !lapsed ? view_done(&cli->view, reply.status, reply.error, reply.message) : 0;
        io_api_reply_clear(&reply);
        if (done && !lapsed)
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

    struct live live = { .request = request, .tag = LIVE_TAG };
    int err = request ? io_api_connect(&cli->home, &live.api) : CAM_ESYS;
    if (err) {
        json_decref(request);
        return cli_node_error(cli, err);
    }
    cli_interrupt_mode(true);
    int status = read_live(cli, args, &live);
    cli_interrupt_mode(false);
    io_api_close(live.api);
    json_decref(request);
    return status;
}

int run_outbox(struct cli *cli, const struct cli_args *args)
{
    return cli_call(cli, args, json_pack("{s:s}", "do", "outbox"), CLI_ANSWER_MS);
}
