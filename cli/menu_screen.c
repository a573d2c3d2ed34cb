/* The menu on a full screen, with ncursesw. Every key is waited for 200 ms at a time, so that Ctrl-C and a
 * changed window are seen at once; nothing is drawn by a signal handler. */
#include <curses.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cli/menu.h"
#include "core/text.h"

#define POLL_MS 200
#define STALE_POLLS 15   /* the title is brought up to date every 3 s */
#define HINT_COLUMN 22   /* where the hints begin, on a screen that has room for them */
#define KEY_ESCAPE 27
#define KEY_CTRL(c) ((c) & 31)

/* One line cut to the screen, in one attribute over its whole width when `fill`. */
static void put_line(int row, int column, const char *text, attr_t attr, bool fill)
{
    char line[4 * 512];
    if (row < 0 || row >= LINES || column >= COLS)
        return;
    text_fit(line, sizeof line, text, strlen(text), (size_t)(COLS - column), fill);
    attron(attr);
    mvaddstr(row, column, line);
    attroff(attr);
}

static void frame(const char *title, const char *keys)
{
    char line[MENU_TITLE_SIZE + 2];
    erase();
    snprintf(line, sizeof line, " %s", title);
    put_line(0, 0, line, A_REVERSE, true);
    put_line(LINES - 1, 0, keys, A_DIM, false);
}

/* A key, a wide character or ERR after POLL_MS; KEY_CODE_YES tells a key from a character. */
static int read_key(wint_t *ret)
{
    timeout(POLL_MS);
    int kind = get_wch(ret);
    if (kind == KEY_CODE_YES && *ret == KEY_RESIZE)
        clear();
    return kind;
}

static bool is_char(int kind, wint_t key, wint_t c) { return kind == OK && key == c; }
static bool is_key(int kind, wint_t key, wint_t code) { return kind == KEY_CODE_YES && key == code; }

/* ---- choosing ------------------------------------------------------------------------------------------ */

static void draw_choice(const char *title, const struct menu_item *items, size_t count, const char *note,
                        size_t at)
{
    char line[128];
    frame(title, " arrows and Enter, or a digit    q quit (the node goes on)");
    for (size_t i = 0; i < count; i++) {
        snprintf(line, sizeof line, "%s %zu %s", i == at ? ">" : " ", i + 1, items[i].label);
        put_line(2 + (int)i, 1, line, i == at ? A_BOLD : A_NORMAL, false);
        if (COLS >= 60)
            put_line(2 + (int)i, 1 + HINT_COLUMN, items[i].hint, A_DIM, false);
    }
    /* The note wraps into what is left between the items and the last line. */
    struct text_wrap wrap = text_wrap(note, strlen(note), COLS > 4 ? (size_t)COLS - 4 : 1);
    struct span part;
    for (int row = 3 + (int)count; row < LINES - 1 && text_wrap_next(&wrap, &part); row++) {
        mvaddnstr(row, 2, (const char *)part.data, (int)part.size);
    }
    refresh();
}

static enum menu_key choose(const char *title, const struct menu_item *items, size_t count, const char *note,
                            size_t *ret_index)
{
    if (*ret_index >= count)
        *ret_index = 0;
    curs_set(0);
    for (int polls = 0;; polls++) {
        wint_t key;
        draw_choice(title, items, count, note, *ret_index);
        int kind = read_key(&key);
        if (cli_interrupted)
            return MENU_INTERRUPTED;
        if (kind == ERR) {
            if (polls >= STALE_POLLS)
                return MENU_STALE;
            continue;
        }
        polls = 0;
        if (is_key(kind, key, KEY_UP) || is_char(kind, key, L'k'))
            *ret_index = (*ret_index + count - 1) % count;
        else if (is_key(kind, key, KEY_DOWN) || is_char(kind, key, L'j'))
            *ret_index = (*ret_index + 1) % count;
        else if (is_key(kind, key, KEY_HOME))
            *ret_index = 0;
        else if (is_key(kind, key, KEY_END))
            *ret_index = count - 1;
        else if (is_key(kind, key, KEY_ENTER) || is_char(kind, key, L'\n') || is_char(kind, key, L'\r'))
            return MENU_CHOSEN;
        else if (is_char(kind, key, L'q') || is_char(kind, key, KEY_ESCAPE))
            return MENU_BACK;
        else if (kind == OK && key >= L'1' && key <= L'9' && key - L'1' < count) {
            *ret_index = key - L'1';
            return MENU_CHOSEN;
        }
    }
}

/* ---- asking -------------------------------------------------------------------------------------------- */

struct field { /* what is being typed: characters, and how many bytes they are as UTF-8 */
    wchar_t text[MENU_ANSWER_SIZE];
    size_t count, bytes;
};

static size_t utf8_size(wchar_t c)
{
    char buf[MB_LEN_MAX];
    mbstate_t state = { 0 };
    size_t size = wcrtomb(buf, c, &state);
    return size == (size_t)-1 ? 0 : size;
}

static void field_add(struct field *f, wchar_t c)
{
    size_t size = utf8_size(c);
    if (c < L' ' || c == 0x7f || !size || f->bytes + size >= MENU_ANSWER_SIZE)
        return;
    f->text[f->count++] = c;
    f->bytes += size;
}

static void field_drop(struct field *f)
{
    if (f->count)
        f->bytes -= utf8_size(f->text[--f->count]);
}

static void field_text(const struct field *f, char ret[MENU_ANSWER_SIZE])
{
    mbstate_t state = { 0 };
    size_t used = 0;
    for (size_t i = 0; i < f->count; i++)
        used += wcrtomb(ret + used, f->text[i], &state);
    ret[used] = '\0';
}

/* The question, and under it the end of the answer: as many lines as there is room for. */
static void draw_field(const char *title, const struct menu_question *question, const struct field *f)
{
    char text[MENU_ANSWER_SIZE], *safe = NULL;
    frame(title, " Enter done   Esc back   Ctrl-U clear");
    put_line(2, 2, question->label, A_BOLD, false);
    if (question->secret) {
        memset(text, '*', f->count);
        text[f->count] = '\0';
    } else {
        field_text(f, text);
    }
    safe = text_print_new(text, strlen(text), TEXT_LINE); /* a pasted character may be one that steers */
    if (!safe)
        return;
    size_t width = COLS > 6 ? (size_t)COLS - 5 : 1, lines = 0, room = LINES > 7 ? (size_t)LINES - 6 : 1, skip;
    struct span line;
    for (struct text_wrap w = text_wrap(safe, strlen(safe), width); text_wrap_next(&w, &line);)
        lines++;
    skip = lines > room ? lines - room : 0;
    int row = 4, column = 2;
    for (struct text_wrap w = text_wrap(safe, strlen(safe), width); text_wrap_next(&w, &line);) {
        if (skip) {
            skip--;
            continue;
        }
        mvaddnstr(row, 2, (const char *)line.data, (int)line.size);
        column = 2 + (int)text_width(line.data, line.size);
        row++;
    }
    size_t blanks = 0;
    for (size_t n = strlen(safe); n && safe[n - 1] == ' '; n--)
        blanks++; /* wrapping does not show them */
    if (row > 4)
        row--;
    move(row, column + (int)blanks < COLS ? column + (int)blanks : COLS - 1);
    free(safe);
    refresh();
}

static enum menu_key ask(const char *title, const struct menu_question *question, char ret[MENU_ANSWER_SIZE])
{
    static struct field f; /* static: large, and wiped below */
    enum menu_key result = MENU_STALE;
    memset(&f, 0, sizeof f);
    curs_set(1);
    while (result == MENU_STALE) {
        wint_t key;
        draw_field(title, question, &f);
        int kind = read_key(&key);
        if (cli_interrupted)
            result = MENU_INTERRUPTED;
        else if (kind == ERR)
            continue;
        else if (is_key(kind, key, KEY_ENTER) || is_char(kind, key, L'\n') || is_char(kind, key, L'\r'))
            result = MENU_CHOSEN;
        else if (is_char(kind, key, KEY_ESCAPE))
            result = MENU_BACK;
        else if (is_key(kind, key, KEY_BACKSPACE) || is_char(kind, key, 0x7f) || is_char(kind, key, 8))
            field_drop(&f);
        else if (is_char(kind, key, KEY_CTRL('U')))
            memset(&f, 0, sizeof f);
        else if (kind == OK)
            field_add(&f, (wchar_t)key);
    }
    if (result == MENU_CHOSEN)
        field_text(&f, ret);
    explicit_bzero(&f, sizeof f);
    return result;
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------ */

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text; n++)
        text += strcspn(text, "\n"), text += *text == '\n';
    return n;
}

static void draw_page(const char *title, const char *text, size_t top, bool may_reload)
{
    char line[4 * 512];
    frame(title, may_reload ? " arrows, PgUp PgDn   r reload   Esc back" : " arrows, PgUp PgDn   Esc back");
    size_t at = 0;
    for (const char *p = text; *p; at++) {
        size_t size = strcspn(p, "\n");
        if (at >= top && at - top + 3 <= (size_t)LINES) {
            snprintf(line, sizeof line, "%.*s", (int)size, p);
            put_line(1 + (int)(at - top), 1, line, A_NORMAL, false);
        }
        p += size + (p[size] == '\n');
    }
    refresh();
}

static enum menu_key page(const char *title, const char *text, bool may_reload, double *place)
{
    size_t lines = count_lines(text), top = (size_t)(*place * (double)lines + 0.5);
    int wrapped_for = COLS;
    curs_set(0);
    for (;;) {
        wint_t key;
        size_t room = LINES > 3 ? (size_t)LINES - 2 : 1, last = lines > room ? lines - room : 0;
        if (top > last)
            top = last;
        draw_page(title, text, top, may_reload);
        int kind = read_key(&key);
        if (cli_interrupted)
            return MENU_INTERRUPTED;
        if (COLS != wrapped_for) {
            *place = lines ? (double)top / (double)lines : 0;
            return MENU_RESIZED;
        }
        if (kind == ERR)
            continue;
        if (is_key(kind, key, KEY_UP) || is_char(kind, key, L'k'))
            top -= top > 0;
        else if (is_key(kind, key, KEY_DOWN) || is_char(kind, key, L'j'))
            top++;
        else if (is_key(kind, key, KEY_PPAGE))
            top -= top < room ? top : room;
        else if (is_key(kind, key, KEY_NPAGE) || is_char(kind, key, L' '))
            top += room;
        else if (is_key(kind, key, KEY_HOME) || is_char(kind, key, L'g'))
            top = 0;
        else if (is_key(kind, key, KEY_END) || is_char(kind, key, L'G'))
            top = last;
        else if (may_reload && is_char(kind, key, L'r'))
            return MENU_RELOAD;
        else if (is_char(kind, key, L'q') || is_char(kind, key, KEY_ESCAPE) || is_char(kind, key, L'\n') ||
                 is_char(kind, key, L'\r') || is_key(kind, key, KEY_ENTER)) return MENU_BACK;
    }
}

static void busy(const char *title)
{
    frame(title, " Ctrl-C stops waiting");
    put_line(2, 2, "working...", A_NORMAL, false);
    curs_set(0);
    refresh();
}

static size_t columns(void) { return COLS > 4 ? (size_t)COLS - 2 : 1; }

static SCREEN *screen;

static void close_screen(void)
{
    endwin();
    delscreen(screen);
    screen = NULL;
}

static const struct menu_ui ui = { choose, ask, page, busy, columns, close_screen };

const struct menu_ui *menu_screen_open(void)
{
    const char *term = getenv("TERM");
    if (!term || !*term || !strcmp(term, "dumb"))
        return NULL;
    screen = newterm(NULL, stdout, stdin); /* unlike initscr, it comes back from an unknown TERM */
    if (!screen)
        return NULL;
    set_term(screen);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    set_escdelay(50);
    return &ui;
}
