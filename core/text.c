#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/err.h"

#define MARKS_MAX 8 /* on one base: beyond every living script, short of climbing over the lines above */

/* Coming in */

size_t text_decode(const void *text, size_t size, uint32_t *ret)
{
    const uint8_t *p = text;
    uint8_t lead = p[0];
    *ret = TEXT_INVALID;
    if (lead < 0x80) {
        *ret = lead;
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4)
        return 1;

    /* Only the second byte is restricted further: that is what rules out overlong forms, surrogates and
     * what lies above U+10FFFF. */
    size_t want = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    uint32_t c = lead & (0x7fu >> want);
    for (size_t i = 1; i < want; i++) {
        if (i == size || p[i] < low || p[i] > high)
            return i;
        c = c << 6 | (p[i] & 0x3f);
        low = 0x80;
        high = 0xbf;
    }
    *ret = c;
    return want;
}

int text_check_utf8(const void *text, size_t size)
{
    const uint8_t *p = text;
    uint32_t c;
    for (size_t at = 0; at < size;) {
        at += text_decode(p + at, size - at, &c);
        if (c == TEXT_INVALID)
            return CAM_EINVAL;
    }
    return 0;
}

static bool is_control(uint32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0); }

int text_check_post(const void *text, size_t size)
{
    if (size > TEXT_POST_MAX)
        return CAM_ETOOBIG;
    const uint8_t *p = text;
    uint32_t c;
    for (size_t at = 0; at < size;) {
        at += text_decode(p + at, size - at, &c);
        if (c == TEXT_INVALID || (is_control(c) && c != '\n' && c != '\t'))
            return CAM_EINVAL;
    }
    return 0;
}

/* Going out */

#define ZWNJ 0x200c
#define ZWJ 0x200d

static bool is_selector(uint32_t c) { return c >= 0xfe00 && c <= 0xfe0f; }

static bool is_ideographic_selector(uint32_t c) { return c >= 0xe0100 && c <= 0xe01ef; }

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }

static bool is_mark(uint32_t c)
{
    utf8proc_category_t cat = category(c);
    return cat == UTF8PROC_CATEGORY_MN || cat == UTF8PROC_CATEGORY_ME || cat == UTF8PROC_CATEGORY_MC;
}

static bool is_pictograph(uint32_t c)
{
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)c);
    return property->boundclass == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
}

static bool is_skin_tone(uint32_t c) { return c >= 0x1f3fb && c <= 0x1f3ff; }

/* What could hide, reorder or break a line: format characters but for the seven that have a shape of their
 * own, separators, fillers that look like nothing, default-ignorable code points yet to be assigned
 * (Unicode 15, section 5.21), and noncharacters. */
static bool is_hidden(uint32_t c)
{
    switch (c) {
    case 0x6dd: case 0x70f: case 0x890: case 0x891: case 0x8e2: case 0x110bd: case 0x110cd:
        return false;
    case 0x34f: case 0x115f: case 0x1160: case 0x17b4: case 0x17b5: case 0x2065: case 0x3164: case 0xffa0:
        return true;
    }
    if (c >= 0x600 && c <= 0x605)
        return false;
    if ((c >= 0x180b && c <= 0x180f) || (c >= 0xfff0 && c <= 0xfff8) || (c >= 0xe0000 && c <= 0xe0fff))
        return true;
    if ((c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe)
        return true;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return is_control(c);
    }
}

/* A letter or mark of the scripts from Hebrew on: where ZWJ and ZWNJ are spelling (Persian, Hindi). */
static bool is_joined_letter(uint32_t c)
{
    bool letter = category(c) == UTF8PROC_CATEGORY_LO || is_mark(c);
    return c >= 0x590 && letter && !is_hidden(c) && !is_selector(c);
}

struct printer {
    char *ret;
    size_t cap;   /* room, with the terminator */
    size_t size;  /* what was written */
    size_t total; /* what all of it takes; ahead of `size` once something did not fit */
    uint32_t last;   /* the code point before, as shown; 0 where nothing is to be built on */
    uint32_t before; /* the one before a selector or skin tone in `last` */
    unsigned marks;  /* on the present base */
};

/* One character, or one escape: it is written whole or not at all, and nothing after one that was not. */
static void emit(struct printer *pr, const void *text, size_t size)
{
    if (pr->total == pr->size && size < pr->cap - pr->size) {
        memcpy(pr->ret + pr->size, text, size);
        pr->size += size;
    }
    pr->total += size;
}

static void emit_escape(struct printer *pr, uint32_t c)
{
    char text[sizeof "<U+10FFFF>"];
    int size = snprintf(text, sizeof text, "<U+%04X>", (unsigned)(c & 0x1fffff));
    emit(pr, text, (size_t)size);
}

static void emit_replacement(struct printer *pr) { emit(pr, "\xef\xbf\xbd", 3); }

/* May this joiner stay, after what was shown and before what follows? */
static bool joins(const struct printer *pr, uint32_t joiner, uint32_t next)
{
    if (next == TEXT_INVALID || !pr->last)
        return false;
    if (is_joined_letter(pr->last) && is_joined_letter(next))
        return !is_mark(next) || pr->marks < MARKS_MAX; /* and not before what will be replaced */
    uint32_t base = is_selector(pr->last) || is_skin_tone(pr->last) ? pr->before : pr->last;
    return joiner == ZWJ && is_pictograph(base) && is_pictograph(next);
}

static void print_one(struct printer *pr, uint32_t c, const uint8_t *raw, size_t raw_size, uint32_t next)
{
    uint32_t last = pr->last;
    pr->last = 0; /* until something is shown that can be built on */

    if (c == TEXT_INVALID) {
        emit_replacement(pr);
    } else if (c < 0x20 || c == 0x7f) {
        uint8_t picture[3] = { 0xe2, 0x90, (uint8_t)(c == 0x7f ? 0xa1 : 0x80 + c) };
        emit(pr, picture, 3);
    } else if (c == ZWJ || c == ZWNJ) {
        pr->last = last;
        if (joins(pr, c, next)) {
            emit(pr, raw, raw_size);
            pr->last = c;
        } else {
            emit_escape(pr, c);
            pr->last = 0;
        }
    } else if (is_selector(c) || is_ideographic_selector(c)) {
        bool may = is_selector(c) ? last && last != ' ' && !is_selector(last) && last != ZWJ && last != ZWNJ
                                  : last >= 0x3400 && category(last) == UTF8PROC_CATEGORY_LO;
        if (may) {
            emit(pr, raw, raw_size);
            pr->before = last;
            pr->last = is_selector(c) ? c : 0;
        } else {
            emit_escape(pr, c);
        }
    } else if (is_hidden(c)) {
        emit_escape(pr, c);
    } else if (is_mark(c)) {
        if (!last) {
            emit(pr, "\xe2\x97\x8c", 3); /* the dotted circle stands for the base that is missing */
            pr->marks = 0;
        }
        if (pr->marks < MARKS_MAX) {
            emit(pr, raw, raw_size);
            pr->marks++;
            pr->last = c;
        } else {
            emit_replacement(pr);
            pr->last = 0xfffd; /* and no base to begin counting again on */
        }
    } else {
        emit(pr, raw, raw_size);
        pr->marks = 0;
        if (is_skin_tone(c))
            pr->before = last;
        pr->last = c;
    }
}

static bool is_plain(uint8_t b) { return b >= 0x20 && b < 0x7f; }

size_t text_print(char *ret, size_t cap, const void *text, size_t size, enum text_mode mode)
{
    const uint8_t *p = text;
    struct printer pr = { .ret = ret, .cap = cap };
    uint32_t c = 0, next = 0;
    size_t at = 0, step = size ? text_decode(p, size, &c) : 0;

    while (at < size) {
        size_t run = 0;
        while (at + run < size && is_plain(p[at + run]))
            run++;
        if (run > 1) {
            /* Plain text is most of what there is. Its last character goes the long way, because a mark
             * may follow it. */
            run--;
            if (pr.total == pr.size && run < cap - pr.size)
                emit(&pr, p + at, run);
            else
                for (size_t i = 0; i < run; i++)
                    emit(&pr, p + at + i, 1);
            at += run;
            step = text_decode(p + at, size - at, &c);
        }

        size_t next_at = at + step, next_step = 0;
        next = TEXT_INVALID;
        if (next_at < size)
            next_step = text_decode(p + next_at, size - next_at, &next);

        if (c == '\n' && mode == TEXT_LINES) {
            emit(&pr, "\n", 1);
            pr.last = 0;
        } else if (c == '\t' && mode == TEXT_LINES) {
            emit(&pr, "    ", 4);
            pr.last = 0;
        } else if (c == '\n' || c == '\t') {
            emit(&pr, " ", 1);
            pr.last = 0;
        } else {
            print_one(&pr, c, p + at, step, next);
        }
        at = next_at;
        step = next_step;
        c = next;
    }
    if (cap > 0)
        ret[pr.size] = '\0';
    return pr.total;
}

char *text_print_new(const void *text, size_t size, enum text_mode mode)
{
    size_t need = text_print(NULL, 0, text, size, mode);
    char *ret = malloc(need + 1);
    if (ret)
        text_print(ret, need + 1, text, size, mode);
    return ret;
}
