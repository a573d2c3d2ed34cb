/* How many columns text takes, and cutting and wrapping by columns. */
#include "core/text.h"

#include <string.h>
#include <utf8proc.h>

#define ELLIPSIS "\xe2\x80\xa6"

struct cluster { /* a character as a reader sees it (UAX 29, section 3): a letter with its marks, a flag */
    size_t size, columns;
    uint32_t base;
};

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }

static int bound_class(uint32_t c) { return (int)utf8proc_get_property((utf8proc_int32_t)c)->boundclass; }

/* utf8proc_charwidth, never less than what the C library and so ncurses and most terminals count. */
static size_t columns_of(uint32_t c)
{
    if (c < 0x7f || c == TEXT_INVALID)
        return 1; /* a newline that strayed in here is shown as a space */
    if ((c >= 0x3248 && c <= 0x324f) || (c >= 0x4dc0 && c <= 0x4dff))
        return 2; /* circled numbers, hexagrams: narrow in the tables, drawn wide */
    int columns = utf8proc_charwidth((utf8proc_int32_t)c);
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN: /* younger than our tables: where emoji and ideographs go it will be wide */
        return (c >= 0x1f000 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd) ? 2 : 1;
    case UTF8PROC_CATEGORY_MC:
        return 1;
    case UTF8PROC_CATEGORY_CF: /* the signs that span the digits after them have a shape */
        return bound_class(c) == UTF8PROC_BOUNDCLASS_PREPEND || c == 0x70f || columns > 0;
    default:
        return columns > 0 ? (size_t)columns : 0;
    }
}

static struct cluster cluster_at(const uint8_t *p, size_t size)
{
    if (p[0] < 0x7f && (size == 1 || p[1] < 0x80))
        return (struct cluster){ .size = 1, .columns = 1, .base = p[0] };

    struct cluster cl;
    cl.size = text_decode(p, size, &cl.base);
    cl.columns = columns_of(cl.base);
    uint32_t last = cl.base;
    int state = 0;
    while (cl.size < size && last != TEXT_INVALID) {
        uint32_t c;
        size_t step = text_decode(p + cl.size, size - cl.size, &c);
        if (c == TEXT_INVALID ||
            utf8proc_grapheme_break_stateful((utf8proc_int32_t)last, (utf8proc_int32_t)c, &state))
            break;
        int class = bound_class(c);
        if (c == 0xfe0f && cl.columns == 1)
            cl.columns = 2; /* "draw it as an emoji" */
        else if (class != UTF8PROC_BOUNDCLASS_V && class != UTF8PROC_BOUNDCLASS_T)
            cl.columns += columns_of(c); /* the later letters of a Hangul syllable share its square */
        cl.size += step;
        last = c;
    }
    if (bound_class(cl.base == TEXT_INVALID ? 0xfffd : cl.base) == UTF8PROC_BOUNDCLASS_REGIONAL_INDICATOR)
        cl.columns = 2; /* a flag, or half of one */
    return cl;
}

size_t text_width(const void *text, size_t size)
{
    const uint8_t *p = text;
    size_t columns = 0;
    for (size_t at = 0; at < size;) {
        struct cluster cl = cluster_at(p + at, size - at);
        columns += cl.columns;
        at += cl.size;
    }
    return columns;
}

size_t text_fit(char *ret, size_t cap, const void *text, size_t size, size_t columns, bool pad)
{
    const size_t mark_size = sizeof ELLIPSIS - 1;
    const uint8_t *p = text;
    size_t at = 0, used = 0;           /* what fits as it is */
    size_t cut_at = 0, cut_used = 0;   /* what fits with an ellipsis behind it */
    while (at < size) {
        struct cluster cl = cluster_at(p + at, size - at);
        if (used + cl.columns > columns || at + cl.size >= cap)
            break;
        at += cl.size;
        used += cl.columns;
        if (used + 1 <= columns && at + mark_size < cap) {
            cut_at = at;
            cut_used = used;
        }
    }

    bool cut = at < size;
    bool mark = cut && columns > 0 && mark_size < cap;
    size_t n = mark ? cut_at : at;
    for (size_t i = 0; i < n; i++)
        ret[i] = (char)(p[i] < 0x20 ? ' ' : p[i]);
    if (mark) {
        memcpy(ret + n, ELLIPSIS, mark_size);
        n += mark_size;
        used = cut_used + 1;
    }
    for (; pad && used < columns && n + 1 < cap; used++)
        ret[n++] = ' ';
    ret[n] = '\0';
    return n;
}

struct text_wrap text_wrap(const void *text, size_t size, size_t columns)
{
    const uint8_t *at = text;
    return (struct text_wrap){ .at = at, .end = size ? at + size : at, .columns = columns ? columns : 1 };
}

/* Between ideographs and the like a line may end anywhere, but not so that it ends with an opening bracket
 * or that the next begins with closing punctuation. */
static bool may_break_between(const struct cluster *a, const struct cluster *b)
{
    if (a->columns < 2 && b->columns < 2)
        return false;
    if (a->base == TEXT_INVALID || b->base == TEXT_INVALID)
        return true;
    utf8proc_category_t left = category(a->base), right = category(b->base);
    return left != UTF8PROC_CATEGORY_PS && left != UTF8PROC_CATEGORY_PI && right != UTF8PROC_CATEGORY_PE &&
           right != UTF8PROC_CATEGORY_PF && right != UTF8PROC_CATEGORY_PO;
}

bool text_wrap_next(struct text_wrap *wrap, struct span *ret_line)
{
    if (wrap->at == wrap->end)
        return false;

    const uint8_t *start = wrap->at, *at = start;
    const uint8_t *end = NULL, *resume = NULL; /* the last place to end this line, and begin the next */
    struct cluster last = { .size = 0 };       /* the word so far ends with it; size 0 after a space */
    bool word = false;                         /* more than indentation was seen */
    size_t used = 0;

    for (;;) {
        if (at == wrap->end || *at == '\n') {
            end = at;
            resume = at == wrap->end ? at : at + 1;
            break;
        }
        struct cluster cl = cluster_at(at, (size_t)(wrap->end - at));
        if (cl.base == ' ' && cl.size == 1) {
            if (word) {
                end = at; /* spaces before it go below */
                resume = at + 1;
            }
            last.size = 0;
        } else {
            if (last.size && may_break_between(&last, &cl))
                end = resume = at;
            if (used + cl.columns > wrap->columns && at > start) {
                if (!end)
                    end = resume = at;
                break;
            }
            last = cl;
            word = true;
        }
        used += cl.columns;
        at += cl.size;
    }

    while (end > start && end[-1] == ' ')
        end--;
    *ret_line = span(start, (size_t)(end - start));
    wrap->at = resume;
    return true;
}
