/* What a terminal would be given: bounded, valid, without controls, and the same when it is printed again;
 * and the layout of it stays within its columns. */
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t columns = 2 + *data % 80; /* two: a character may be that wide */
    enum text_mode mode = *data & 128 ? TEXT_LINE : TEXT_LINES;
    data++;
    size--;

    char *out = text_print_new(data, size, mode);
    size_t n = strlen(out);
    require(n < TEXT_PRINT_SIZE(size) && text_print(NULL, 0, data, size, mode) == n);
    uint32_t c;
    for (size_t at = 0; at < n;) {
        at += text_decode(out + at, n - at, &c);
        require(c != TEXT_INVALID && (c >= 0x20 || (c == '\n' && mode == TEXT_LINES)) && !(c >= 0x7f && c < 0xa0));
        require(!(c >= 0x202a && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069));
    }
    char *again = text_print_new(out, n, mode);
    require(strcmp(again, out) == 0);
    free(again);

    struct text_wrap wrap = text_wrap(out, n, columns);
    struct span line;
    while (text_wrap_next(&wrap, &line)) {
        require(text_check_utf8(line.data, line.size) == 0);
        char fitted[400];
        size_t m = text_fit(fitted, sizeof fitted, line.data, line.size, columns, true);
        require(m < sizeof fitted && text_check_utf8(fitted, m) == 0 && text_width(fitted, m) <= columns);
    }
    free(out);
    return 0;
}
