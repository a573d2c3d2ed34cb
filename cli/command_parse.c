/* argv to struct cli_args, driven by two tables: the commands and the flags. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "core/err.h"

#define N_MAX 10000
#define WAIT_S_DEFAULT 10
#define WAIT_S_MAX 3600
#define FD_MAX 65535

enum flag_id {
    FLAG_HOME,
    FLAG_CONFIG,
    FLAG_JSON,
    FLAG_PLAIN,
    FLAG_QUIET,
    FLAG_VERBOSE,
    FLAG_HELP,
    FLAG_VERSION,
    FLAG_LISTEN,
    FLAG_JOIN,
    FLAG_PASSPHRASE_FILE,
    FLAG_PASSPHRASE_FD,
    FLAG_N,
    FLAG_BEFORE,
    FLAG_UNREAD,
    FLAG_FOLLOW,
    FLAG_WAIT,
    FLAG_PRIVATE,
    FLAG_SALT,
    FLAG_TRACE,
    FLAG_PORT,
};

static const struct flag {
    const char *name;
    enum flag_id id;
    enum { NO_VALUE, VALUE, MAYBE_VALUE } value; /* MAYBE_VALUE: only as --flag=VALUE */
    uint32_t option;
} flags[] = {
    { "--home", FLAG_HOME, VALUE, OPT_GLOBAL },
    { "--config", FLAG_CONFIG, VALUE, OPT_GLOBAL },
    { "--json", FLAG_JSON, NO_VALUE, OPT_GLOBAL },
    { "--plain", FLAG_PLAIN, NO_VALUE, OPT_GLOBAL },
    { "-q", FLAG_QUIET, NO_VALUE, OPT_GLOBAL },
    { "-v", FLAG_VERBOSE, NO_VALUE, OPT_GLOBAL },
    { "-h", FLAG_HELP, NO_VALUE, OPT_GLOBAL },
    { "--help", FLAG_HELP, NO_VALUE, OPT_GLOBAL },
    { "--version", FLAG_VERSION, NO_VALUE, OPT_GLOBAL },
    { "--listen", FLAG_LISTEN, VALUE, OPT_LISTEN },
    { "--join", FLAG_JOIN, VALUE, OPT_JOIN },
    { "--passphrase-file", FLAG_PASSPHRASE_FILE, VALUE, OPT_PASSPHRASE },
    { "--passphrase-fd", FLAG_PASSPHRASE_FD, VALUE, OPT_PASSPHRASE },
    { "-n", FLAG_N, VALUE, OPT_N },
    { "--before", FLAG_BEFORE, VALUE, OPT_BEFORE },
    { "--unread", FLAG_UNREAD, NO_VALUE, OPT_UNREAD },
    { "--follow", FLAG_FOLLOW, NO_VALUE, OPT_FOLLOW },
    { "--wait", FLAG_WAIT, MAYBE_VALUE, OPT_WAIT },
    { "--private", FLAG_PRIVATE, NO_VALUE, OPT_PRIVATE },
    { "--salt", FLAG_SALT, VALUE, OPT_SALT },
    { "--trace", FLAG_TRACE, NO_VALUE, OPT_TRACE },
    { "--port", FLAG_PORT, VALUE, OPT_PORT },
};

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++)
        if (!strcmp(c->name, name))
            return c;
    return NULL;
}

static int fail(char why[CLI_WHY_MAX], const char *format, const char *a, const char *b)
{
    /* The caller's format takes at most two strings; both were typed by the user and are shown cut. */
    char a_cut[120], b_cut[120];
    snprintf(a_cut, sizeof a_cut, "%s", a);
    snprintf(b_cut, sizeof b_cut, "%s", b);
    const char *in[] = { a_cut, b_cut };
    size_t n = 0, used = 0;
    for (const char *p = format; *p && used + 1 < CLI_WHY_MAX; p++) {
        if (*p != '@') {
            why[used++] = *p;
            continue;
        }
        int put = snprintf(why + used, CLI_WHY_MAX - used, "%s", n < 2 ? in[n] : "");
        used += (size_t)put < CLI_WHY_MAX - used ? (size_t)put : CLI_WHY_MAX - used - 1;
        n++;
    }
    why[used] = '\0';
    return CAM_EUSAGE;
}

static int number(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return CAM_EUSAGE; /* strtoul would take blanks and a minus sign */
    unsigned long v = strtoul(text, &end, 10);
    if (*end || v < min || v > max)
        return CAM_EUSAGE;
    *ret = (uint32_t)v;
    return 0;
}

static int set_flag(struct cli_args *args, enum flag_id id, const char *value, char why[CLI_WHY_MAX])
{
    struct conf_host host;
    struct addr addr;
    uint32_t v;
    switch (id) {
    case FLAG_HOME: args->home = value; break;
    case FLAG_CONFIG: args->config = value; break;
    case FLAG_JSON: args->json = true; break;
    case FLAG_PLAIN: args->plain = true; break;
    case FLAG_QUIET: args->quiet = true; break;
    case FLAG_VERBOSE: args->verbose = true; break;
    case FLAG_HELP: args->help = true; break;
    case FLAG_VERSION: args->version = true; break;
    case FLAG_UNREAD: args->unread = true; break;
    case FLAG_FOLLOW: args->follow = true; break;
    case FLAG_PRIVATE: args->private_follow = true; break;
    case FLAG_PASSPHRASE_FILE: args->passphrase_file = value; break;
    case FLAG_BEFORE: args->before = value; break;
    case FLAG_SALT: args->salt = value; break;
    case FLAG_TRACE: args->trace = true; break;
    case FLAG_LISTEN:
        if (addr_parse(value, &addr)) /* port 0 is fine here: any free one */
            return fail(why, "--listen @: give a numeric address and a port, like 0.0.0.0:8000", value, "");
        args->listen = value;
        break;
    case FLAG_JOIN:
        if (conf_host_parse(value, 0, &host))
            return fail(why, "--join @: give a host and a port, like example.org:8000", value, "");
        if (args->join_count == CONF_JOIN_MAX)
            return fail(why, "--join is given too often", "", "");
        args->join[args->join_count++] = value;
        break;
    case FLAG_PASSPHRASE_FD:
        if (number(value, 0, FD_MAX, &v))
            return fail(why, "--passphrase-fd @: not a descriptor's number", value, "");
        args->passphrase_fd = (int)v;
        break;
    case FLAG_PORT:
        if (number(value, 1, UINT16_MAX, &args->port))
            return fail(why, "--port @: not a number from 1 to 65535", value, "");
        break;
    case FLAG_N:
        if (number(value, 1, N_MAX, &args->n))
            return fail(why, "-n @: not a number from 1 to 10000", value, "");
        break;
    case FLAG_WAIT:
        args->wait = true;
        args->wait_s = WAIT_S_DEFAULT;
        if (value && number(value, 1, WAIT_S_MAX, &args->wait_s))
            return fail(why, "--wait=@: not a number of seconds from 1 to 3600", value, "");
        break;
    }
    return 0;
}

/* One flag, its value perhaps in the next word. `seen` collects what the command must allow. */
static int parse_flag(struct cli_args *args, const char *word, const char *next, bool *ret_took_next,
                      uint32_t *seen, char why[CLI_WHY_MAX])
{
    size_t name_size = strcspn(word, "=");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const struct flag *f = &flags[i];
        const char *value = NULL;
        if (!strncmp(f->name, word, name_size) && !f->name[name_size]) {
            value = word[name_size] ? word + name_size + 1 : NULL;
        } else if (f->value == VALUE && f->name[1] != '-' && !strncmp(f->name, word, 2)) {
            value = word + 2; /* -n5 */
        } else {
            continue;
        }
        if (value && f->value == NO_VALUE)
            return fail(why, "@ takes no value", f->name, "");
        if (!value && f->value == VALUE) {
            if (!next)
                return fail(why, "@ needs a value", f->name, "");
            value = next;
            *ret_took_next = true;
        }
        *seen |= f->option;
        return set_flag(args, f->id, value, why);
    }
    return fail(why, "unknown flag @ (camellia help; a text that begins with - comes after --)", word, "");
}

static const char *flag_of(uint32_t options)
{
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (flags[i].option & options)
            return flags[i].name;
    return "";
}

/* How many letters must be changed, put in or taken out: small words only, one row of the table kept. */
static size_t distance(const char *a, const char *b)
{
    size_t row[32], n = strlen(b);
    if (n >= sizeof row / sizeof *row)
        return n;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < step ? change : step;
        }
    }
    return row[n];
}

static const char *nearest(const char *name)
{
    const char *best = NULL;
    size_t best_distance = 3;
    for (const struct command *c = commands; c->name; c++) {
        size_t d = distance(name, c->name);
        if (d < best_distance)
            best_distance = d, best = c->name;
    }
    return best;
}

/* The command's name may be two words ("dht get"); takes them off the arguments. */
static int find_command(struct cli_args *args, char why[CLI_WHY_MAX])
{
    char two[64];
    if (args->arg_count == 0)
        return 0;
    int words = 1;
    args->command = command_find(args->arg[0]);
    if (!args->command && args->arg_count > 1) {
        snprintf(two, sizeof two, "%s %s", args->arg[0], args->arg[1]);
        args->command = command_find(two);
        words = 2;
    }
    if (!args->command) {
        bool family = !strcmp(args->arg[0], "dht");
        if (family)
            return fail(why, "dht ping HOST:PORT, dht find ID, dht get TARGET or dht put VALUE", "", "");
        const char *near = nearest(args->arg[0]);
        if (near)
            return fail(why, "unknown command @: do you mean @?", args->arg[0], near);
        return fail(why, "unknown command @ (camellia help lists them)", args->arg[0], "");
    }
    args->arg_count -= words;
    memmove(args->arg, args->arg + words, (size_t)args->arg_count * sizeof *args->arg);
    return 0;
}

int command_parse(int argc, const char *const argv[], struct cli_args *ret, char ret_why[CLI_WHY_MAX])
{
    *ret = (struct cli_args){ .passphrase_fd = -1 };
    const char **words = ret->arg;
    bool flags_end = false, too_many = false;
    uint32_t seen = 0;
    int err = 0;
    for (int i = 0; i < argc; i++) {
        if (!flags_end && !strcmp(argv[i], "--")) {
            flags_end = true;
        } else if (!flags_end && argv[i][0] == '-' && argv[i][1]) {
            bool took_next = false;
            char why[CLI_WHY_MAX];
            int bad = parse_flag(ret, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &took_next, &seen, why);
            if (bad && !err) { /* read on: a --json further behind decides how this is said */
                err = bad;
                memcpy(ret_why, why, sizeof why);
            }
            if (took_next)
                i++;
        } else if (ret->arg_count < CLI_ARGS_MAX) {
            words[ret->arg_count++] = argv[i];
        } else {
            too_many = true;
        }
    }
    if (err)
        return err;
    if (ret->json && ret->plain)
        return fail(ret_why, "--json or --plain, not both", "", "");
    err = find_command(ret, ret_why);
    if (err || ret->help || ret->version)
        return err;
    const struct command *c = ret->command;
    if (!c)
        return seen & ~(uint32_t)OPT_GLOBAL ? fail(ret_why, "@ without a command (camellia help)",
                                                    flag_of(seen & ~(uint32_t)OPT_GLOBAL), "") : 0;
    uint32_t foreign = seen & ~(c->options | OPT_GLOBAL);
    if (foreign)
        return fail(ret_why, "camellia @ does not take @", c->name, flag_of(foreign));
    if (ret->passphrase_file && ret->passphrase_fd >= 0)
        return fail(ret_why, "--passphrase-file or --passphrase-fd, not both", "", "");
    if (ret->arg_count < c->min_args)
        return fail(ret_why, "it is: camellia @ @", c->name, c->args);
    if (ret->arg_count > c->max_args || too_many)
        return fail(ret_why, "too many words; it is: camellia @ @ (quote a text of several words)", c->name,
                    c->args);
    return 0;
}
