/* Link messages: whatever decodes is in bounds, its lists can be walked to their counts, and encoding it
 * gives a message that decodes to the same. */
#include <stdlib.h>
#include <string.h>

#include "core/snowflake.h"
#include "timeline/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_within(struct span part, const uint8_t *data, size_t size)
{
    require(part.size == 0 || (part.data >= data && part.data + part.size <= data + size));
}

static void check_lists(const struct message *m, const uint8_t *data, size_t size)
{
    size_t n = 0;
    if (m->kind == MESSAGE_HAVE) {
        struct message_feed feed;
        for (struct ben_iter it = message_feeds(&m->have); message_feed_next(&it, &feed); n++) {
            require(feed.device <= SNOWFLAKE_DEVICE_MAX && feed.floor_seq <= POST_SEQ_MAX);
            require(feed.header.size == 0 || feed.header.size == POST_HEADER_SIZE);
            require_within(feed.header, data, size);
        }
        require(n == m->have.n_feeds && n <= MESSAGE_HAVE_MAX);
    } else if (m->kind == MESSAGE_BATCH) {
        struct message_item item;
        for (struct ben_iter it = message_items(&m->batch); message_item_next(&it, &item); n++) {
            require(item.header.size == POST_HEADER_SIZE && item.body.size <= POST_BODY_MAX);
            require((item.state == POST_HELD) == (item.body.size > 0));
            require_within(item.header, data, size);
            require_within(item.body, data, size);
            require_within(item.proof_header, data, size);
            require_within(item.proof_body, data, size);
        }
        require(n == m->batch.n_posts && n <= MESSAGE_BATCH_POSTS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t once[LINK_MESSAGE_MAX], twice[LINK_MESSAGE_MAX];
    struct message m, again;
    if (message_decode(span(data, size), &m))
        return 0;
    require(m.kind > MESSAGE_NONE && m.kind < MESSAGE_KINDS);
    check_lists(&m, data, size);

    /* Keys that are not known are lost on the way, so the second encoding is what must equal the first. */
    struct bytes_out out = bytes_out(once, sizeof once);
    message_encode(&out, &m);
    require(!out.err && out.size <= size);
    require(message_decode(span(once, out.size), &again) == 0 && again.kind == m.kind);
    struct bytes_out out2 = bytes_out(twice, sizeof twice);
    message_encode(&out2, &again);
    require(!out2.err && out2.size == out.size && memcmp(once, twice, out.size) == 0);
    return 0;
}
