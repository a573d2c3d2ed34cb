/* Records about people: the first byte picks the kind; whatever decodes is in bounds, and what is encoded from it
 * decodes to the same bytes again. */
#include <stdlib.h>
#include <string.h>

#include "timeline/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Decodes v as that kind and encodes what came out. False when it is not of that kind. */
static bool again(unsigned kind, struct span v, struct bytes_out *out)
{
    struct record_profile p;
    struct record_connection c;
    struct record_head h;
    struct record_following fg;
    struct record_follow f;
    struct record_claim cl;
    switch (kind) {
    case 0:
        if (record_get_profile(v, &p))
            return false;
        require(p.bio.size <= RECORD_BIO_MAX && p.n_devices <= RECORD_DEVICES_MAX);
        require(name_check(p.name, strlen(p.name)) == 0);
        record_put_profile(out, &p);
        break;
    case 1:
        if (record_get_connection(v, &c))
            return false;
        require(addr_is_usable(&c.addr));
        record_put_connection(out, &c);
        break;
    case 2:
        if (record_get_head(v, &h))
            return false;
        record_put_head(out, &h);
        break;
    case 3:
        if (record_get_following(v, &fg))
            return false;
        require(fg.n <= RECORD_PAGE_KEYS);
        record_put_following(out, &fg);
        break;
    case 4:
        if (record_get_follow(v, &f))
            return false;
        require(f.n_hints <= RECORD_HINTS_MAX && (f.deleted || name_check(f.name, strlen(f.name)) == 0));
        record_put_follow(out, &f);
        break;
    default:
        if (record_get_claim(v, &cl))
            return false;
        record_put_claim(out, &cl);
        break;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t once[KAD_VALUE_MAX * 2], twice[KAD_VALUE_MAX * 2];
    if (size < 1)
        return 0;
    unsigned kind = data[0] % 6;
    struct bytes_out a = bytes_out(once, sizeof once), b = bytes_out(twice, sizeof twice);
    /* Keys that are not known are lost on the way, so the second encoding is what must equal the first. */
    if (!again(kind, span(data + 1, size - 1), &a))
        return 0;
    require(!a.err && a.size <= size - 1);
    require(again(kind, span(once, a.size), &b));
    require(!b.err && a.size == b.size && memcmp(once, twice, a.size) == 0);
    return 0;
}
