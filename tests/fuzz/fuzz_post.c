/* Post headers and bodies, alone and as a run: 188 bytes of header and then a body, or headers one after
 * another (first byte odd). Nothing that was not signed gets into a feed. */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "timeline/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void one_post(const uint8_t *data, size_t size)
{
    struct post_header h;
    struct post_body body;
    struct span header = span(data, size < POST_HEADER_SIZE ? size : POST_HEADER_SIZE);
    struct span rest = span(data + header.size, size - header.size);
    if (post_body_decode(rest, &body) == 0) {
        uint8_t again[POST_BODY_MAX];
        struct bytes_out out = bytes_out(again, sizeof again);
        post_body_encode(&out, &body);
        require(!out.err && out.size <= rest.size);
    }
    if (post_header_decode(header, &h))
        return;
    uint8_t again[POST_HEADER_SIZE];
    post_header_encode(&h, again);
    require(memcmp(again, data, POST_HEADER_SIZE) == 0);
    require(h.seq >= 1 && h.seq <= POST_SEQ_MAX && h.body_bytes <= POST_BODY_MAX);
    (void)post_is_shown(&h, rest);
    (void)post_expires_ms(&h, 5);
}

static void one_run(const uint8_t *data, size_t size)
{
    static struct feed_item items[FEED_RUN_MAX + 1];
    struct feed_rules rules = { .lifespan_s = 60 };
    struct feed_verdict v;
    struct feed feed;
    size_t n = size / POST_HEADER_SIZE;
    if (n == 0 || n > FEED_RUN_MAX)
        return;
    for (size_t i = 0; i < n; i++)
        items[i] = (struct feed_item){ .header = span(data + i * POST_HEADER_SIZE, POST_HEADER_SIZE),
                                       .state = (enum post_state)(1 + i % 3) };
    feed_init(&feed, data + 24, be16(data + 2));
    struct now now = { .mono_ms = 0, .wall_ms = UINT64_C(1700000100000) };
    if (feed_check_run(&feed, items, n, &rules, now, &v))
        return;
    require(v.signature_checked && post_header_verify(data) == 0);
    feed_apply_run(&feed, items, n, &v);
    feed_check(&feed);
    require(feed_check_run(&feed, items, n, &rules, now, &v) == CAM_EDUP);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (*data % 2)
        one_run(data + 1, size - 1);
    else
        one_post(data + 1, size - 1);
    return 0;
}
