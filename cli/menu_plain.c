/* The menu in numbered lines: for screen readers, TERM=dumb and --plain. */
#include <bsd/readpassphrase.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/menu.h"
#include "core/err.h"

static enum menu_key key_of(int err)
{
    return err == CAM_EINTR || cli_interrupted ? MENU_INTERRUPTED
                                               : MENU_BACK; /* the end of input leads out, too */
}

static enum menu_key choose(const char *title, const struct menu_item *items, size_t count, const char *note,
                            size_t *ret_index)
{
    char line[64];
    if (*note)
        printf("%s\n", note);
    printf("\n%s\n", title);
    for (size_t i = 0; i < count; i++)
        printf("  %zu  %-16s %s\n", i + 1, items[i].label, items[i].hint);
    fflush(stdout);
    for (;;) {
        int err = ask_line("Number, or q to quit: ", line, sizeof line);
        if (err && err != CAM_ETOOBIG)
            return key_of(err);
        if (!strcmp(line, "q"))
            return MENU_BACK;
        char *end;
        unsigned long n = strtoul(line, &end, 10);
        if (!err && *line >= '1' && *line <= '9' && !*end && n <= count) {
            *ret_index = n - 1;
            return MENU_CHOSEN;
        }
        printf("1 to %zu, or q\n", count);
        fflush(stdout);
    }
}

static enum menu_key ask(const char *title, const struct menu_question *question, char ret[MENU_ANSWER_SIZE])
{
    char prompt[128];
    (void)title;
    snprintf(prompt, sizeof prompt, "%s: ", question->label);
    if (question->secret)
        return readpassphrase(prompt, ret, MENU_ANSWER_SIZE, 0) ? MENU_CHOSEN : key_of(0);
    int err = ask_line(prompt, ret, MENU_ANSWER_SIZE);
    return err ? key_of(err) : MENU_CHOSEN;
}

static enum menu_key page(const char *title, const char *text, bool may_reload, double *place)
{
    (void)place;
    (void)may_reload; /* it is one number away */
    printf("\n%s\n%s", title, text);
    fflush(stdout);
    return MENU_BACK;
}

static void busy(const char *title) { (void)title; }
static size_t columns(void) { return 0; }
static void nothing(void) {}

static const struct menu_ui ui = { choose, ask, page, busy, columns, nothing };

const struct menu_ui *menu_plain_open(void) { return &ui; }
