/* Text that others wrote: what is let in, how it is made safe to show, and how wide it is.
 *
 * Whatever came from a peer goes through text_print before it reaches a terminal. Its output is valid
 * UTF-8 in which every byte below 0x20 is a newline that was asked for, and in which nothing can move the
 * cursor, change a colour, turn the reading direction or hide: what could is written out, as in
 * "<U+202E>". text_width, text_fit and text_wrap work on such output.
 *
 *     char safe[TEXT_PRINT_SIZE(TEXT_POST_MAX)]; struct span line;
 *     size_t size = text_print(safe, sizeof safe, body, body_size, TEXT_LINES);
 *     struct text_wrap wrap = text_wrap(safe, size, 72);
 *     while (text_wrap_next(&wrap, &line)) printf("  %.*s\n", (int)line.size, (const char *)line.data);
 */
#ifndef CORE_TEXT_H
#define CORE_TEXT_H
#include "core/bytes.h"

#define TEXT_POST_MAX 4000 /* bytes: a body is at most 4,096, and its other keys need room */

/* What text_print may need for `size` bytes, with the terminator: nothing grows more than fourfold. */
#define TEXT_PRINT_SIZE(size) ((size) * 4 + 1)

/* Coming in */

/* Strict UTF-8 (Unicode 15, table 3-7): no overlong form, no surrogate, none above U+10FFFF. CAM_EINVAL. */
int text_check_utf8(const void *text, size_t size);

/* What the text of a post or of a profile may hold: valid UTF-8 without control characters (C0, DEL, C1)
 * other than newline and tab. CAM_EINVAL; CAM_ETOOBIG above TEXT_POST_MAX. Empty text passes. */
int text_check_post(const void *text, size_t size);

/* Reads one code point; `size` > 0. Returns the bytes it took. For bytes that are no UTF-8 *ret is
 * TEXT_INVALID and the result is how many belong together (Unicode 15, section 3.9, "maximal subpart"). */
#define TEXT_INVALID UINT32_MAX
size_t text_decode(const void *text, size_t size, uint32_t *ret);

/* Going out */

enum text_mode {
    TEXT_LINE,  /* newline and tab become a space: names, one-line lists */
    TEXT_LINES, /* newline is kept, tab becomes four spaces: the body of a post */
};

/* Makes any bytes safe for a terminal. As snprintf: writes at most `cap` bytes with the terminator, whole
 * characters only, and returns the length that all of it has (so >= cap means that it was cut).
 *
 *   bytes that are no UTF-8              U+FFFD
 *   C0 controls and DEL                  their picture: ESC is shown as U+241B
 *   C1, bidi controls, U+2028/9, tags,   "<U+XXXX>"
 *     other invisible formatting
 *   ZWJ, ZWNJ, variation selectors       kept where emoji and scripts need them, else "<U+XXXX>"
 *   a combining mark with no base        on a dotted circle, so it cannot touch what we printed before it
 *   more than 8 marks on one base        U+FFFD for each one more
 */
size_t text_print(char *ret, size_t cap, const void *text, size_t size, enum text_mode mode);

/* The same on the heap: the caller frees it. NULL when out of memory. */
char *text_print_new(const void *text, size_t size, enum text_mode mode);

/* Columns. The input is what text_print made (anything else is measured as if it were one line of it).
 * A sequence is counted as a terminal draws it that does not join it (a family of three is six columns):
 * one that does draws less, so a line never runs over. Flags are two columns everywhere. */

size_t text_width(const void *text, size_t size);

/* Writes the text cut to `columns`, its last column then an ellipsis, and a terminator; with `pad`, spaces
 * up to `columns`. Cuts between characters as a reader sees them, and earlier when `cap` is too small.
 * Returns the bytes written, without the terminator. cap > 0. */
size_t text_fit(char *ret, size_t cap, const void *text, size_t size, size_t columns, bool pad);

/* Word wrap. Lines end at newlines, at spaces (not shown there), beside wide characters, and inside a word
 * only when it is longer than a line. An empty line is an empty span; a newline at the very end adds none. */
struct text_wrap {
    const uint8_t *at, *end;
    size_t columns;
};
struct text_wrap text_wrap(const void *text, size_t size, size_t columns); /* columns 0 counts as 1 */
bool text_wrap_next(struct text_wrap *wrap, struct span *ret_line);        /* borrowed from the text */

#endif
