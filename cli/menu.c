#include "cli/menu.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/io_os.h"
#include "core/keyfile.h"
#include "core/text.h"

const struct menu_item menu_first[] = {
    { .label = "Register", .hint = "make a user on this machine", .command = "register",
      .questions = { { .label = "Username" }, { .label = "Passphrase", .secret = true },
                     { .label = "Passphrase again", .secret = true } } },
    { .label = "Login", .hint = "unlock your key", .command = "login",
      .questions = { { .label = "Passphrase", .secret = true } } },
    { .label = "Join", .hint = "a network, by the address of one of its nodes",
      .questions = { { .label = "Address (HOST:PORT)" } } },
    { .label = NULL },
};

#define MENU_LOGIN 1 /* its place in menu_first: what somebody wants who has a user here */

const struct menu_item menu_main[] = {
    { .label = "New Post",
      .hint = "what's on your mind",
      .command = "post",
      .questions = { { .label = "Post" } } },
    { .label = "Follow User",
      .hint = "by name, name#tag or id",
      .command = "follow",
      .questions = { { .label = "Follow" } } },
    { .label = "Unfollow User",
      .hint = "get their posts no more",
      .command = "unfollow",
      .questions = { { .label = "Unfollow" } } },
    { .label = "View Timeline", .hint = "posts, newest first", .command = "timeline", .may_reload = true },
    { .label = "View Profile",
      .hint = "yours or another's",
      .command = "profile",
      .questions = { { .label = "Whose (empty: yours)", .may_be_empty = true } },
      .may_reload = true },
    { .label = "Get Suggestions",
      .hint = "people you may want to follow",
      .command = "suggest",
      .may_reload = true },
    { .label = "Logout", .hint = "forget the key, end the node", .command = "logout" },
    { .label = NULL },
};

#define TIMELINE_POSTS 200 /* on a page */

struct menu {
    const struct menu_ui *ui;
    const struct cli_args *globals;
    struct cli cli;
    bool logged_in;
    char user[NAME_SIZE];
    char title[MENU_TITLE_SIZE];
    char note[512];            /* how the last thing ended, one line */
    char join[MENU_ANSWER_SIZE]; /* given to the next node that is started */
};

size_t menu_count(const struct menu_item *items)
{
    size_t n = 0;
    while (items[n].label)
        n++;
    return n;
}

/* ---- where we are ------------------------------------------------------------------------------------- */

static void read_user(struct menu *m)
{
    uint8_t *file;
    size_t size;
    m->user[0] = '\0';
    if (io_os_read(m->cli.home.key, 4096, &file, &size))
        return;
    if (keyfile_peek(file, size, m->user, NULL, NULL))
        m->user[0] = '\0';
    free(file);
}

/* Asks the node; the title says what it answered. */
static void refresh(struct menu *m)
{
    struct io_api_reply end;
    json_t *row = NULL;
    read_user(m);
    m->logged_in = false;
    bool answered = cli_ask_node(&m->cli, json_pack("{s:s}", "do", "status"), &end, &row) == 0;
    if (answered)
        io_api_reply_clear(&end);
    if (row) {
        m->logged_in = *view_str(row, "user") && !view_bool(row, "locked");
        int peers = (int)view_int(row, "peers"), unread = (int)view_int(row, "unread");
        snprintf(m->title, sizeof m->title, "Camellia  %s%s   %s, %d %s, %d unread", m->user[0] ? "@" : "",
                 m->user, peers ? "online" : "alone", peers, peers == 1 ? "peer" : "peers", unread);
    } else if (m->user[0]) {
        snprintf(m->title, sizeof m->title, "Camellia  @%s   logged out", m->user);
    } else {
        snprintf(m->title, sizeof m->title, "Camellia   no user here yet");
    }
    json_decref(row);
}

/* ---- running a command and catching what it says ------------------------------------------------------ */

struct output {
    char *data, *words; /* its stdout and stderr */
    json_t *rows;       /* what data was made from */
    int status;
};

static void output_clear(struct output *o)
{
    free(o->data);
    free(o->words);
    json_decref(o->rows);
}

struct capture {
    FILE *out, *err;
    size_t out_size, err_size;
};

static int capture_begin(struct menu *m, struct capture *c, struct output *ret)
{
    *c = (struct capture){ .out = open_memstream(&ret->data, &c->out_size),
                           .err = open_memstream(&ret->words, &c->err_size) };
    if (!c->out || !c->err) {
        if (c->out)
            fclose(c->out);
        if (c->err)
            fclose(c->err);
        return CAM_ESYS;
    }
    m->cli.view =
        (struct view){ .out = c->out, .err = c->err, .mode = VIEW_PEOPLE, .columns = m->ui->columns() };
    m->cli.may_prompt = false;
    return 0;
}

static void capture_end(struct menu *m, struct capture *c)
{
    view_clear(&m->cli.view);
    fclose(c->out);
    fclose(c->err);
    cli_interrupted = 0; /* it ended the command, not the menu */
}

static int run_captured(struct menu *m, const struct cli_args *args, struct output *ret)
{
    struct capture c;
    if (capture_begin(m, &c, ret))
        return CAM_ESYS;
    m->cli.view.kept = ret->rows = json_array();
    ret->status = command_run(&m->cli, args);
    capture_end(m, &c);
    return 0;
}

/* The screen has another width: the same rows, wrapped for it. Without memory the page stays as it is. */
static void wrap_again(struct menu *m, const struct cli_args *args, struct output *o)
{
    struct output again = { 0 };
    struct capture c;
    json_t *row;
    size_t i;
    if (!json_array_size(o->rows) || capture_begin(m, &c, &again))
        return;
    json_array_foreach(o->rows, i, row) view_row(&m->cli.view, args->command->kind, row);
    capture_end(m, &c);
    free(again.words); /* what was said stays as it was said */
    free(o->data);
    o->data = again.data;
}

/* The last line of the words, without the program's name: it stands under the menu. */
static void set_note(struct menu *m, const char *words)
{
    static const char prefix[] = "camellia: ";
    if (!strncmp(words, prefix, sizeof prefix - 1))
        words += sizeof prefix - 1;
    size_t size = strcspn(words, "\n");
    snprintf(m->note, sizeof m->note, "%.*s", (int)size, words);
}

static void set_args(const struct menu *m, const char *command, struct cli_args *ret)
{
    *ret = (struct cli_args){ .passphrase_fd = -1, .home = m->globals->home, .config = m->globals->config };
    ret->command = command_find(command);
    if (m->join[0])
        ret->join[ret->join_count++] = m->join;
}

/* ---- items --------------------------------------------------------------------------------------------- */

/* Starts a node by that address unless one runs, and sees whether the address answers: whoever answers is in
 * the table from then on. */
static void join(struct menu *m, const char *address)
{
    struct conf_host host;
    struct cli_args args;
    struct output output = { 0 };
    struct capture c;
    bool started;
    if (conf_host_parse(address, 0, &host)) {
        snprintf(m->note, sizeof m->note, "an address is HOST:PORT, like 192.168.1.20:8000");
        return;
    }
    snprintf(m->join, sizeof m->join, "%s", address);
    set_args(m, "dht ping", &args);
    args.arg[args.arg_count++] = m->join;
    if (capture_begin(m, &c, &output))
        return;
    int status = cli_node_start(&m->cli, &args, &started);
    if (!status)
        status = command_run(&m->cli, &args);
    capture_end(m, &c);
    if (!status)
        snprintf(m->note, sizeof m->note, "joined: %.*s answers", CONF_HOST_MAX + 8, address);
    else
        set_note(m, output.words);
    output_clear(&output);
}

/* Asks the item's questions. MENU_CHOSEN when all are answered. */
static enum menu_key ask_all_of(struct menu *m, const struct menu_item *item,
                                char answers[MENU_QUESTIONS_MAX][MENU_ANSWER_SIZE])
{
    for (size_t i = 0; i < MENU_QUESTIONS_MAX && item->questions[i].label; i++) {
        enum menu_key key = m->ui->ask(item->label, &item->questions[i], answers[i]);
        if (key != MENU_CHOSEN)
            return key;
        if (!answers[i][0] && !item->questions[i].may_be_empty)
            return MENU_BACK;
    }
    return MENU_CHOSEN;
}

/* Runs the command and shows its page, again while the reader wants that. */
static enum menu_key run_and_show(struct menu *m, const struct menu_item *item, const struct cli_args *args)
{
    enum menu_key key = MENU_RELOAD;
    while (key == MENU_RELOAD) {
        struct output output = { 0 };
        m->ui->busy(item->label);
        if (run_captured(m, args, &output)) {
            snprintf(m->note, sizeof m->note, "out of memory");
            return MENU_BACK;
        }
        set_note(m, output.words);
        bool page = output.status == 0 && (item->may_reload || !strcmp(item->label, "Register"));
        if (page) {
            double place = 0;
            while ((key = m->ui->page(item->label, output.data[0] ? output.data : output.words,
                                      item->may_reload, &place)) == MENU_RESIZED)
                wrap_again(m, args, &output);
            m->note[0] = '\0';
        } else {
            if (!output.status && output.data[0])
                set_note(m, output.data);
            key = MENU_BACK;
        }
        output_clear(&output);
    }
    return key;
}

static enum menu_key run_item(struct menu *m, const struct menu_item *item)
{
    static char answers[MENU_QUESTIONS_MAX][MENU_ANSWER_SIZE]; /* may hold a passphrase: wiped below */
    struct cli_args args;
    memset(answers, 0, sizeof answers);
    m->note[0] = '\0';
    enum menu_key key = ask_all_of(m, item, answers);
    if (key == MENU_CHOSEN && !item->command) {
        m->ui->busy(item->label);
        join(m, answers[0]);
    } else if (key == MENU_CHOSEN) {
        set_args(m, item->command, &args);
        if (item->questions[2].secret && strcmp(answers[1], answers[2]) != 0) {
            snprintf(m->note, sizeof m->note, "the two passphrases differ: nothing was made");
        } else {
            for (size_t i = 0; i < MENU_QUESTIONS_MAX && item->questions[i].label; i++)
                if (item->questions[i].secret)
                    args.passphrase = answers[i];
                else if (answers[i][0])
                    args.arg[args.arg_count++] = answers[i];
            if (!strcmp(item->command, "timeline"))
                args.n = TIMELINE_POSTS;
            key = run_and_show(m, item, &args);
        }
    }
    sodium_memzero(answers, sizeof answers);
    return key;
}

int menu_run(const struct cli_args *globals)
{
    static struct menu m;
    char why[HOME_WHY_MAX];
    m = (struct menu){ .globals = globals };
    int err = home_open(globals->home, &m.cli.home, why);
    if (err) {
        fprintf(stderr, "camellia: %s\n", why);
        return err_status(err);
    }
    m.ui = globals->plain ? NULL : menu_screen_open();
    if (!m.ui)
        m.ui = menu_plain_open();
    cli_interrupt_mode(true);
    enum menu_key key;
    size_t at = 0;
    bool was_in = false, first = true;
    do {
        refresh(&m);
        if (m.logged_in != was_in || first)
            at = !m.logged_in && m.user[0] ? MENU_LOGIN : 0;
        first = false;
        was_in = m.logged_in;
        const struct menu_item *items = m.logged_in ? menu_main : menu_first;
        key = m.ui->choose(m.title, items, menu_count(items), m.note, &at);
        if (key == MENU_CHOSEN) {
            key = run_item(&m, &items[at]);
            if (key == MENU_BACK)
                key = MENU_CHOSEN; /* out of the item, not out of the menu */
        }
    } while (key != MENU_BACK && key != MENU_INTERRUPTED);
    m.ui->close();
    cli_interrupt_mode(false);
    return key == MENU_INTERRUPTED ? err_status(CAM_EINTR) : 0;
}
