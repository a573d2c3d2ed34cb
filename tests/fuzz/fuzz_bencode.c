/* Whatever the decoder accepts, the accessors can walk and the encoder writes back byte for byte. */
#include <stdlib.h>
#include <string.h>

#include "core/bencode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void rewrite(struct ben v, struct bytes_out *out, int depth)
{
    require(depth <= BEN_DEPTH_MAX);
    int64_t n;
    struct span s, key;
    struct ben item, again;
    struct ben_iter it = ben_iter(v);
    switch (ben_type(v)) {
    case BEN_INT:
        require(ben_int(v, &n) == 0);
        ben_put_int(out, n);
        break;
    case BEN_STR:
        require(ben_str(v, &s) == 0);
        ben_put_str(out, s.data, s.size);
        break;
    case BEN_LIST:
        ben_put_list(out);
        while (ben_next(&it, NULL, &item))
            rewrite(item, out, depth + 1);
        ben_put_end(out);
        break;
    case BEN_DICT:
        ben_put_dict(out);
        while (ben_next(&it, &key, &item)) {
            char text[64]; /* looking a key up finds what walking found */
            if (key.size < sizeof text && !memchr(key.data, 0, key.size)) {
                memcpy(text, key.data, key.size);
                text[key.size] = '\0';
                require(ben_get(v, text, &again) == 0 && again.data == item.data && again.size == item.size);
            }
            ben_put_str(out, key.data, key.size);
            rewrite(item, out, depth + 1);
        }
        ben_put_end(out);
        break;
    default:
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ben v;
    if (ben_parse(data, size, &v))
        return 0;
    uint8_t *back = malloc(size);
    struct bytes_out out = bytes_out(back, size);
    rewrite(v, &out, 0);
    require(!out.err && out.size == size && memcmp(back, data, size) == 0);
    free(back);
    return 0;
}
