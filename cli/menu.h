/* The menu that `camellia` alone opens: a list to choose from, plain questions, pages to read.
 *
 * It does nothing of its own. An item names a command of cli/command.h and the questions whose answers are
 * its arguments; what the command prints is shown on a page. Two front-ends draw it: ncursesw on a terminal
 * that can, numbered lines elsewhere (--plain, TERM=dumb, screen readers).
 *
 *     return menu_run(&args);       // args: the global flags; the exit status
 */
#ifndef CLI_MENU_H
#define CLI_MENU_H
#include <stdbool.h>
#include <stddef.h>
#include "cli/command.h"

int menu_run(const struct cli_args *globals);

/* ---- what the front-ends see --------------------------------------------------------------------------- */

#define MENU_TITLE_SIZE 160
#define MENU_ANSWER_SIZE 4097 /* bytes of an answer, with the terminator: a post fits */
#define MENU_QUESTIONS_MAX 3

struct menu_question {
    const char *label;      /* NULL: no more questions */
    bool secret, may_be_empty;
};

struct menu_item {
    const char *label, *hint;
    const char *command;    /* a row of the command table, or NULL: join */
    struct menu_question questions[MENU_QUESTIONS_MAX];
    bool may_reload;        /* a page that one wants to see again as it is now */
};

enum menu_key { MENU_BACK, MENU_CHOSEN, MENU_RELOAD, MENU_RESIZED, MENU_STALE, MENU_INTERRUPTED };

/* A front-end. All text it is given is safe to print. */
struct menu_ui {
    /* Waits for a choice. MENU_CHOSEN with *ret_index, MENU_BACK, MENU_INTERRUPTED; MENU_STALE now and then,
     * so that the caller can bring the title up to date and ask again. `*ret_index` is where the bar stands.
     */
    enum menu_key (*choose)(const char *title, const struct menu_item *items, size_t count, const char *note,
                            size_t *ret_index);
    /* MENU_CHOSEN with the answer, MENU_BACK, MENU_INTERRUPTED. */
    enum menu_key (*ask)(const char *title, const struct menu_question *question, char ret[MENU_ANSWER_SIZE]);
    /* MENU_BACK, MENU_RELOAD, MENU_INTERRUPTED; MENU_RESIZED when the text is to be wrapped for other
     * columns. `*place`: how far down the page begins, from 0 to 1, which outlives a wrapping. */
    enum menu_key (*page)(const char *title, const char *text, bool may_reload, double *place);
    void (*busy)(const char *title);
    size_t (*columns)(void); /* that a page has; 0: do not wrap */
    void (*close)(void);
};

const struct menu_ui *menu_screen_open(void); /* menu_screen.c; NULL when the terminal cannot */
const struct menu_ui *menu_plain_open(void);  /* menu_plain.c */

extern const struct menu_item menu_first[], menu_main[]; /* each ends with a row whose label is NULL */
size_t menu_count(const struct menu_item *items);

#endif
