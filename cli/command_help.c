/* help: the command table, read aloud. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "core/err.h"
#include "core/text.h"

#define PROSE_MAX 1024    /* bytes of a command's further lines */
#define PROSE_COLUMNS 80
#define PROSE_COLUMNS_MIN 40

static void list_all(FILE *out)
{
    fputs("usage: camellia [--home DIR] [--json | --plain] [-q | -v] COMMAND\n"
          "       camellia                alone, on a terminal: the menu\n\n", out);
    for (const struct command *c = commands; c->name; c++)
        fprintf(out, "  %-13s %s\n", c->name, c->help);
    fputs("\n  --home DIR   keep this user's key, store, settings and log in DIR\n"
          "  --json       one JSON object a line, no questions\n"
          "  --plain      no full screen, no colour, no wrapping\n"
          "  -q, -v       fewer words, more words\n\n"
          "camellia help COMMAND says more.\n", out);
}

/* The text of the table, wrapped as wide as the screen is. */
static void put_prose(FILE *out, const char *text, size_t columns)
{
    char flat[PROSE_MAX];
    struct span line;
    snprintf(flat, sizeof flat, "%s", text);
    for (char *at = flat; *at; at++)
        if (*at == '\n')
            *at = ' ';
    struct text_wrap wrap = text_wrap(flat, strlen(flat), columns);
    fputc('\n', out);
    while (text_wrap_next(&wrap, &line))
        fprintf(out, "    %.*s\n", (int)line.size, (const char *)line.data);
}

static void list_one(const struct view *v, const struct command *c)
{
    size_t columns =
        v->columns > PROSE_COLUMNS_MIN && v->columns < PROSE_COLUMNS ? v->columns : PROSE_COLUMNS;
    fprintf(v->out, "camellia %s%s%s\n    %s\n", c->name, *c->args ? " " : "", c->args, c->help);
    if (c->more)
        put_prose(v->out, c->more, columns - 4);
}

int run_help(struct cli *cli, const struct cli_args *args)
{
    FILE *out = cli->view.out;
    if (args->arg_count == 0) {
        list_all(out);
        return 0;
    }
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", args->arg[0], args->arg_count > 1 ? " " : "",
             args->arg_count > 1 ? args->arg[1] : "");
    const struct command *c = command_find(name);
    if (c) {
        list_one(&cli->view, c);
        return 0;
    }
    size_t size = strlen(name);
    int family = 0; /* `help dht` shows the four of them */
    for (c = commands; c->name; c++)
        if (!strncmp(c->name, name, size) && c->name[size] == ' ')
            list_one(&cli->view, c), family++;
    if (family)
        return 0;
    return view_error(&cli->view, CAM_EUSAGE, "there is no such command: camellia help lists them");
}
