/* Text: what is let in, that nothing which comes out can touch the terminal, and columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/rng.h"
#include "core/text.h"

#define S(text) (text), sizeof(text) - 1

static void strict_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "plain", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "ni\xc3\xb1o \xf0\x9f\x8c\xb8",
    };
    static const char *const bad[] = {
        "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xc2\xc2", "\xe0\x80\x80", "\xe0\x9f\xbf",
        "\xe0\xa0", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff", "ok\xe2\x82", "\xe2\x82ok",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(text_check_utf8(good[i], strlen(good[i])), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(text_check_utf8(bad[i], strlen(bad[i])), CAM_EINVAL);
    assert_int_equal(text_check_utf8("a\0b", 3), 0);
    assert_int_equal(text_check_utf8(NULL, 0), 0);
}

static void every_code_point_decodes_to_itself(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x110000; c++) {
        uint8_t raw[4];
        size_t size;
        if (c < 0x80) {
            raw[0] = (uint8_t)c;
            size = 1;
        } else if (c < 0x800) {
            raw[0] = (uint8_t)(0xc0 | c >> 6);
            size = 2;
        } else if (c < 0x10000) {
            raw[0] = (uint8_t)(0xe0 | c >> 12);
            size = 3;
        } else {
            raw[0] = (uint8_t)(0xf0 | c >> 18);
            size = 4;
        }
        for (size_t i = 1; i < size; i++)
            raw[i] = (uint8_t)(0x80 | (c >> 6 * (size - 1 - i) & 0x3f));
        uint8_t *exact = malloc(size); /* so that looking too far is seen */
        memcpy(exact, raw, size);
        uint32_t got;
        size_t took = text_decode(exact, size, &got);
        bool valid = c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
        if (valid ? got != c || took != size : got != TEXT_INVALID || took != 1)
            fail_msg("U+%04X: %zu bytes, %x", (unsigned)c, took, (unsigned)got);
        for (size_t cut = 1; valid && cut < size; cut++) {
            took = text_decode(exact, cut, &got);
            if (got != TEXT_INVALID || took != cut)
                fail_msg("U+%04X cut to %zu: %zu bytes", (unsigned)c, cut, took);
        }
        free(exact);
    }
}

static void what_a_post_may_hold(void **state)
{
    (void)state;
    assert_int_equal(text_check_post(S("")), 0);
    assert_int_equal(text_check_post(S("two\nlines\tand a tab")), 0);
    assert_int_equal(text_check_post(S("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb \xd9\x85\xd8\xb1")), 0);
    for (int c = 0; c < 256; c++) {
        char one[3] = { 'a', (char)c, 'b' };
        bool allowed = c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f);
        assert_int_equal(text_check_post(one, 3), allowed ? 0 : CAM_EINVAL);
    }
    for (int c = 0x80; c < 0xa0; c++) { /* C1, well-formed */
        char one[2] = { '\xc2', (char)c };
        assert_int_equal(text_check_post(one, 2), CAM_EINVAL);
    }
    assert_int_equal(text_check_post(S("\xc2\xa0")), 0);

    char *big = malloc(TEXT_POST_MAX + 1);
    memset(big, 'x', TEXT_POST_MAX + 1);
    assert_int_equal(text_check_post(big, TEXT_POST_MAX), 0);
    assert_int_equal(text_check_post(big, TEXT_POST_MAX + 1), CAM_ETOOBIG);
    free(big);
}

static void prints(const char *text, size_t size, enum text_mode mode, const char *want)
{
    char got[400];
    size_t n = text_print(got, sizeof got, text, size, mode);
    assert_string_equal(got, want);
    assert_int_equal(n, strlen(want));
    char *heap = text_print_new(text, size, mode);
    assert_string_equal(heap, want);
    free(heap);
}

static void dangerous_text_is_shown_not_obeyed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *want;
    } rows[] = {
        { S(""), "" },
        { S("plain text, ~ and all"), "plain text, ~ and all" },
        { S("a\x1b[31mred"), "a\xe2\x90\x9b[31mred" },
        { S("\x1b]0;title\a"), "\xe2\x90\x9b]0;title\xe2\x90\x87" },
        { S("a\0b"), "a\xe2\x90\x80" "b" },
        { S("a\rb\x7f"), "a\xe2\x90\x8d" "b\xe2\x90\xa1" },
        { S("\xc2\x9b" "31m"), "<U+009B>31m" },   /* CSI in one code point */
        { S("\x9b" "31m"), "\xef\xbf\xbd" "31m" }, /* and as a bare byte */
        { S("\xc2\x85"), "<U+0085>" },
        { S("\xe2\x80\xae" "evil"), "<U+202E>evil" },
        { S("\xe2\x80\xaa\xe2\x81\xa6\xe2\x81\xa9"), "<U+202A><U+2066><U+2069>" },
        { S("\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c"), "<U+200E><U+200F><U+061C>" },
        { S("\xe2\x80\xa8\xe2\x80\xa9"), "<U+2028><U+2029>" },
        { S("a\xe2\x80\x8b\xef\xbb\xbf\xe2\x81\xa0\xc2\xad"), "a<U+200B><U+FEFF><U+2060><U+00AD>" },
        { S("\xf3\xa0\x80\x81\xf3\xa0\x81\x81"), "<U+E0001><U+E0041>" },
        { S("\xe3\x85\xa4\xe1\x85\x9f"), "<U+3164><U+115F>" },
        { S("\xef\xbf\xbe\xef\xb7\x90\xf4\x8f\xbf\xbf"), "<U+FFFE><U+FDD0><U+10FFFF>" },
        { S("\xff\xfe"), "\xef\xbf\xbd\xef\xbf\xbd" },
        { S("\xe2\x82z"), "\xef\xbf\xbdz" },                         /* one for what belongs together */
        { S("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* a surrogate never began */
        { S("\xf0\x9f\x98"), "\xef\xbf\xbd" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        prints(rows[i].text, rows[i].size, TEXT_LINE, rows[i].want);
        prints(rows[i].text, rows[i].size, TEXT_LINES, rows[i].want);
    }
    prints(S("a\nb\tc"), TEXT_LINE, "a b c");
    prints(S("a\nb\tc"), TEXT_LINES, "a\nb    c");
    prints(S("\r\n"), TEXT_LINES, "\xe2\x90\x8d\n");
}

static void text_that_needs_its_joiners_keeps_them(void **state)
{
    (void)state;
    static const char *const same[] = {
        "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",         /* family */
        "\xe2\x9d\xa4\xef\xb8\x8f\xe2\x80\x8d\xf0\x9f\x94\xa5",                             /* heart VS16 ZWJ fire */
        "\xf0\x9f\x91\xa9\xf0\x9f\x8f\xbd\xe2\x80\x8d\xf0\x9f\x92\xbb",                     /* woman, skin, ZWJ, laptop */
        "\xf0\x9f\x8f\xb3\xef\xb8\x8f\xe2\x80\x8d\xf0\x9f\x8c\x88",                         /* rainbow flag */
        "1\xef\xb8\x8f\xe2\x83\xa3",                                                        /* keycap */
        "\xf0\x9f\x87\xaa\xf0\x9f\x87\xb8",                                                 /* flag */
        "\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae\xd9\x88\xd8\xa7\xd9\x87\xd9\x85",             /* Persian with ZWNJ */
        "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7",                                 /* Hindi with ZWJ */
        "e\xcc\x81", "\xe6\xbc\xa2\xe5\xad\x97", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
        "\xe8\x91\x9b\xf3\xa0\x84\x80",                                                     /* ideographic variant */
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        prints(same[i], strlen(same[i]), TEXT_LINE, same[i]);

    /* The same joiners where nothing calls for them. */
    prints(S("a\xe2\x80\x8d" "b"), TEXT_LINE, "a<U+200D>b");
    prints(S("\xe2\x80\x8d"), TEXT_LINE, "<U+200D>");
    prints(S("pay\xe2\x80\x8cpal"), TEXT_LINE, "pay<U+200C>pal");
    prints(S("\xf0\x9f\x91\xa8\xe2\x80\x8d"), TEXT_LINE, "\xf0\x9f\x91\xa8<U+200D>");
    prints(S("\xf0\x9f\x91\xa8\xe2\x80\x8d\xe2\x80\x8d\xf0\x9f\x91\xa9"), TEXT_LINE,
           "\xf0\x9f\x91\xa8<U+200D><U+200D>\xf0\x9f\x91\xa9");
    prints(S("\xef\xb8\x8f"), TEXT_LINE, "<U+FE0F>");
    prints(S("a\xef\xb8\x8f\xef\xb8\x8f"), TEXT_LINE, "a\xef\xb8\x8f<U+FE0F>");
    prints(S("a\xf3\xa0\x84\x80"), TEXT_LINE, "a<U+E0100>");
    /* Before a mark that is one too many, and so is replaced. */
#define FATHA "\xd9\x8e"
#define EIGHT FATHA FATHA FATHA FATHA FATHA FATHA FATHA FATHA
    prints(S("\xd9\x85" EIGHT "\xe2\x80\x8c" FATHA), TEXT_LINE,
           "\xd9\x85" EIGHT "<U+200C>\xe2\x97\x8c" FATHA);
}

static void marks_stay_on_their_own_base(void **state)
{
    (void)state;
    prints(S("\xcc\x81"), TEXT_LINE, "\xe2\x97\x8c\xcc\x81");
    prints(S("a\n\xcc\x81"), TEXT_LINES, "a\n\xe2\x97\x8c\xcc\x81");
    prints(S("\x1b\xcc\x81"), TEXT_LINE, "\xe2\x90\x9b\xe2\x97\x8c\xcc\x81");

    char text[1 + 2 * 20], want[100] = "a";
    text[0] = 'a';
    for (int i = 0; i < 20; i++) {
        memcpy(text + 1 + 2 * i, "\xcc\x81", 2);
        strcat(want, i < 8 ? "\xcc\x81" : "\xef\xbf\xbd");
    }
    prints(text, sizeof text, TEXT_LINE, want);
}

/* As snprintf: the whole length whatever the room, a terminator, never half a character or escape. */
static void room_for_every_length(void **state)
{
    (void)state;
    static const char text[] = "ab\xc3\xb1\x1b\xe2\x80\xae\xf0\x9f\x8c\xb8zz\xff.";
    char whole[100];
    size_t want = text_print(whole, sizeof whole, S(text), TEXT_LINE);
    assert_int_equal(text_print(NULL, 0, S(text), TEXT_LINE), want);
    size_t before = 0;
    for (size_t cap = 1; cap <= want + 2; cap++) {
        char *got = malloc(cap);
        assert_int_equal(text_print(got, cap, S(text), TEXT_LINE), want);
        size_t size = strlen(got);
        assert_true(size < cap && size >= before);
        assert_memory_equal(got, whole, size);
        assert_int_equal(text_check_utf8(got, size), 0);
        char *open = strrchr(got, '<');
        assert_true(!open || strchr(open, '>'));
        before = size;
        free(got);
    }
    assert_int_equal(before, want);
}

/* Random bytes and random mixtures of awkward code points: whatever goes in, what comes out is valid, has
 * no control, bidi or invisible character, is a fixed point, and has the length that was promised. */
static void nothing_dangerous_comes_out(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "a", " ", "\n", "\t", "\x1b[2J", "\x9b", "\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\x8d", "\xe2\x80\x8c",
        "\xef\xb8\x8f", "\xcc\x81", "\xf0\x9f\x91\xa8", "\xf0\x9f\x8f\xbd", "\xf3\xa0\x84\x80", "\xd9\x85",
        "\xe6\xbc\xa2", "\xed\xa0\x80", "\xf0\x9f", "\xe2\x80\xa8", "\xf3\xa0\x81\x81", "\xf0\x9f\x87\xaa", "\0",
    };
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 9);
    for (int round = 0; round < 20000; round++) {
        uint8_t text[200];
        size_t size = 0;
        if (round % 2) {
            size = rng_below(&rng, 64);
            rng_fill(&rng, text, size);
        } else {
            for (uint32_t n = rng_below(&rng, 24); n > 0; n--) {
                const char *piece = pieces[rng_below(&rng, sizeof pieces / sizeof pieces[0])];
                size_t piece_size = *piece ? strlen(piece) : 1;
                memcpy(text + size, piece, piece_size);
                size += piece_size;
            }
        }
        char out[TEXT_PRINT_SIZE(200)], again[TEXT_PRINT_SIZE(200)];
        size_t n = text_print(out, TEXT_PRINT_SIZE(size), text, size, TEXT_LINES);
        assert_true(n < TEXT_PRINT_SIZE(size)); /* the promised growth holds */
        assert_int_equal(strlen(out), n);
        uint32_t c, last = 0;
        for (size_t at = 0; at < n;) {
            at += text_decode(out + at, n - at, &c);
            assert_true(c != TEXT_INVALID);
            assert_true(c >= 0x20 || c == '\n');
            assert_false(c >= 0x7f && c < 0xa0);
            assert_false(c == 0x200b || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e));
            assert_false((c >= 0x2060 && c <= 0x206f) || c == 0x61c || c == 0xfeff);
            assert_false(c >= 0xe0000 && c < 0xe0100);
            assert_false((c == 0x200d || c == 0x200c) && last < 0x80);
            last = c;
        }
        assert_int_equal(text_print(again, sizeof again, out, n, TEXT_LINES), n);
        assert_string_equal(again, out);
        /* And the layout holds for it, at any width. */
        size_t columns = rng_below(&rng, 30);
        struct text_wrap wrap = text_wrap(out, n, columns);
        struct span line;
        const uint8_t *seen = (const uint8_t *)out;
        while (text_wrap_next(&wrap, &line)) {
            assert_true(line.data >= seen && line.data + line.size <= (const uint8_t *)out + n);
            for (; seen < line.data; seen++) /* only spaces and newlines are ever left out */
                assert_true(*seen == ' ' || *seen == '\n');
            seen = line.data + line.size;
            assert_int_equal(text_check_utf8(line.data, line.size), 0);
        }
        for (; seen < (const uint8_t *)out + n; seen++)
            assert_true(*seen == ' ' || *seen == '\n');
    }
}

static void widths(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t columns;
    } rows[] = {
        { "", 0 }, { "plain", 5 }, { "ma\xc3\xb1" "ana", 6 }, { "e\xcc\x81", 1 }, { "\xe6\xbc\xa2\xe5\xad\x97", 4 },
        { "\xf0\x9f\x8c\xb8", 2 },                                  /* emoji */
        { "\xf0\x9f\x87\xaa\xf0\x9f\x87\xb8", 2 },                  /* a flag */
        { "\xf0\x9f\x87\xaa\xf0\x9f\x87\xb8\xf0\x9f\x87\xab\xf0\x9f\x87\xb7", 4 }, /* two */
        { "\xf0\x9f\x87\xaa", 2 },                                  /* half a flag */
        { "\xe2\x9d\xa4", 1 }, { "\xe2\x9d\xa4\xef\xb8\x8f", 2 },   /* a heart, as text and as emoji */
        { "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7", 6 },
        { "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", 2 },              /* one Hangul syllable in three letters */
        { "\xed\x95\x9c", 2 }, { "\xef\xbd\xb1", 1 },               /* and in one; half-width katakana */
        { "\xe0\xa4\xa8\xe0\xa4\xbe", 2 },                          /* a vowel sign that takes its place */
        { "\xe2\x80\xa6", 1 }, { "\xef\xbf\xbd", 1 }, { "\xe2\x90\x9b", 1 },
        { "a\xf0\x9f\x8c\xb8" "b", 4 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_width(rows[i].text, strlen(rows[i].text)) != rows[i].columns)
            fail_msg("row %zu: %zu columns", i, text_width(rows[i].text, strlen(rows[i].text)));
}

static void fits(const char *text, size_t columns, bool pad, const char *want)
{
    char got[200];
    size_t n = text_fit(got, sizeof got, text, strlen(text), columns, pad);
    assert_string_equal(got, want);
    assert_int_equal(n, strlen(want));
}

static void cutting_to_a_width(void **state)
{
    (void)state;
    fits("hello", 5, false, "hello");
    fits("hello", 4, false, "hel\xe2\x80\xa6");
    fits("hello", 1, false, "\xe2\x80\xa6");
    fits("hello", 0, false, "");
    fits("hello", 8, true, "hello   ");
    fits("", 3, true, "   ");
    fits("", 3, false, "");
    fits("\xe6\xbc\xa2\xe5\xad\x97", 4, false, "\xe6\xbc\xa2\xe5\xad\x97");
    fits("\xe6\xbc\xa2\xe5\xad\x97", 3, true, "\xe6\xbc\xa2\xe2\x80\xa6");
    fits("\xe6\xbc\xa2\xe5\xad\x97", 2, true, "\xe2\x80\xa6 ");     /* no half of a wide character */
    fits("e\xcc\x81xy", 2, false, "e\xcc\x81\xe2\x80\xa6");         /* the mark stays */
    fits("\xf0\x9f\x87\xaa\xf0\x9f\x87\xb8xy", 3, false, "\xf0\x9f\x87\xaa\xf0\x9f\x87\xb8\xe2\x80\xa6");
    fits("\xf0\x9f\x87\xaa\xf0\x9f\x87\xb8xy", 2, false, "\xe2\x80\xa6"); /* a flag is not cut in two */
    fits("one\ntwo", 7, false, "one two");

    static const char text[] = "a\xc3\xb1\xf0\x9f\x8c\xb8z\xe6\xbc\xa2";
    for (size_t cap = 1; cap < 24; cap++)
        for (size_t columns = 0; columns < 10; columns++) {
            char *got = malloc(cap);
            size_t n = text_fit(got, cap, S(text), columns, true);
            assert_true(n < cap);
            assert_int_equal(strlen(got), n);
            assert_int_equal(text_check_utf8(got, n), 0);
            assert_true(text_width(got, n) <= columns);
            if (cap > 20)
                assert_int_equal(text_width(got, n), columns);
            free(got);
        }
}

static void wraps(const char *text, size_t columns, const char *want)
{
    char got[400];
    size_t size = 0;
    struct text_wrap wrap = text_wrap(text, strlen(text), columns);
    struct span line;
    while (text_wrap_next(&wrap, &line)) {
        memcpy(got + size, line.data, line.size);
        size += line.size;
        got[size++] = '|';
    }
    got[size] = '\0';
    assert_string_equal(got, want);
    assert_false(text_wrap_next(&wrap, &line));
}

static void wrapping(void **state)
{
    (void)state;
    wraps("", 10, "");
    wraps("one", 10, "one|");
    wraps("one two three", 7, "one two|three|");
    wraps("one two three", 8, "one two|three|");
    wraps("one two three", 6, "one|two|three|");
    wraps("one  two   three", 7, "one|two|three|"); /* spaces at a break are not shown */
    wraps("one   two", 9, "one   two|");            /* elsewhere they are */
    wraps("ab cd    ", 5, "ab cd|");
    wraps("one\ntwo", 10, "one|two|");
    wraps("one\n\ntwo", 10, "one||two|");
    wraps("one\n", 10, "one|");
    wraps("\n", 10, "|");
    wraps("\n\n", 10, "||");
    wraps("  indented text", 10, "  indented|text|");
    wraps("  abcdef", 4, "  ab|cdef|"); /* indentation is no place to break */
    wraps("abcdefghij", 4, "abcd|efgh|ij|");
    wraps("a abcdefghij", 4, "a|abcd|efgh|ij|");
    wraps("abc", 0, "a|b|c|");
    wraps("abcd efg", 4, "abcd|efg|");
    wraps("     x", 3, "|x|");
    wraps("   ", 2, "|");
    wraps("caf\xc3\xa9 ol\xc3\xa9", 4, "caf\xc3\xa9|ol\xc3\xa9|");
    wraps("\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2", 4, "\xe6\xbc\xa2\xe5\xad\x97|\xe6\xbc\xa2|");
    wraps("\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2", 5, "\xe6\xbc\xa2\xe5\xad\x97|\xe6\xbc\xa2|");
    wraps("\xe6\xbc\xa2", 1, "\xe6\xbc\xa2|"); /* too wide for any line: alone on one */
    /* An ideographic full stop does not begin a line. */
    wraps("\xe6\xbc\xa2\xe5\xad\x97\xe3\x80\x82", 4, "\xe6\xbc\xa2|\xe5\xad\x97\xe3\x80\x82|");
    wraps("go \xf0\x9f\x87\xaa\xf0\x9f\x87\xb8\xf0\x9f\x87\xab\xf0\x9f\x87\xb7", 5,
          "go \xf0\x9f\x87\xaa\xf0\x9f\x87\xb8|\xf0\x9f\x87\xab\xf0\x9f\x87\xb7|");
    wraps("ab\xe6\xbc\xa2 cd", 4, "ab\xe6\xbc\xa2|cd|");
}

static void wrapped_lines_are_no_wider(void **state)
{
    (void)state;
    static const char *const words[] = { "a", "word", " ", "  ", "\n", "\xe6\xbc\xa2", "\xf0\x9f\x87\xaa\xf0\x9f\x87\xb8",
                                         "e\xcc\x81", "longer-than-most", "\xe3\x80\x82", "\xe2\x9d\xa4\xef\xb8\x8f" };
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 10);
    for (int round = 0; round < 10000; round++) {
        char text[800] = "";
        for (uint32_t n = rng_below(&rng, 40); n > 0; n--)
            strcat(text, words[rng_below(&rng, sizeof words / sizeof words[0])]);
        size_t columns = 2 + rng_below(&rng, 30);
        struct text_wrap wrap = text_wrap(text, strlen(text), columns);
        struct span line;
        while (text_wrap_next(&wrap, &line)) {
            assert_true(text_width(line.data, line.size) <= columns);
            assert_true(line.size == 0 || line.data[line.size - 1] != ' ');
            assert_null(memchr(line.data, '\n', line.size));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strict_utf8),
        cmocka_unit_test(every_code_point_decodes_to_itself),
        cmocka_unit_test(what_a_post_may_hold),
        cmocka_unit_test(dangerous_text_is_shown_not_obeyed),
        cmocka_unit_test(text_that_needs_its_joiners_keeps_them),
        cmocka_unit_test(marks_stay_on_their_own_base),
        cmocka_unit_test(room_for_every_length),
        cmocka_unit_test(nothing_dangerous_comes_out),
        cmocka_unit_test(widths),
        cmocka_unit_test(cutting_to_a_width),
        cmocka_unit_test(wrapping),
        cmocka_unit_test(wrapped_lines_are_no_wider),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
