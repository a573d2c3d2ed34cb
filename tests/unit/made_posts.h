/* For tests of timeline/: authors with keys from a small number, and chains of signed posts by them. */
#ifndef TESTS_UNIT_MADE_POSTS_H
#define TESTS_UNIT_MADE_POSTS_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/identity.h"
#include "core/snowflake.h"
#include "timeline/feed.h"
#include "timeline/post.h"

#define MADE_T0 UINT64_C(1700000000000) /* when post 1 was written; each next one a second later */

struct made_post {
    struct post_header h;
    uint8_t header[POST_HEADER_SIZE];
    uint8_t body[POST_BODY_MAX];
    size_t body_size;
    uint8_t hash[HASH_SIZE];
};

static inline struct identity *made_author(uint8_t number)
{
    uint8_t seed[KEY_SIZE] = { number };
    return identity_from_seed(seed);
}

static inline uint64_t made_id(uint64_t wall_ms) { return snowflake_floor(wall_ms); }

static inline struct now made_now(uint64_t wall_ms)
{
    return (struct now){ .mono_ms = wall_ms % 1000000000, .wall_ms = wall_ms };
}

/* Fills in and signs p after prev (NULL: the first). p->h.kind, lifespan_s and device may be set before. */
static inline void made_sign(struct made_post *p, const struct identity *author, const struct made_post *prev,
                             uint64_t wall_ms, const struct post_body *body)
{
    struct bytes_out out = bytes_out(p->body, sizeof p->body);
    post_body_encode(&out, body);
    p->body_size = out.size;
    p->h.seq = prev ? prev->h.seq + 1 : 1;
    p->h.id = made_id(wall_ms) | (uint64_t)p->h.device << 12;
    if (prev)
        memcpy(p->h.prev, prev->hash, HASH_SIZE);
    else
        memset(p->h.prev, 0, HASH_SIZE);
    post_header_set_body(&p->h, span(p->body, p->body_size));
    post_header_sign(&p->h, author, p->header);
    post_hash(p->header, p->hash);
}

/* posts[0] is seq 1, a second between two. The caller frees it. `from`: the post to go on from. */
static inline struct made_post *made_chain_from(const struct identity *author, const struct made_post *from,
                                                size_t n, uint32_t lifespan_s, const char *text)
{
    struct made_post *posts = calloc(n, sizeof *posts);
    for (size_t i = 0; posts && i < n; i++) {
        char line[64];
        const struct made_post *prev = i ? &posts[i - 1] : from;
        uint64_t seq = prev ? prev->h.seq + 1 : 1;
        snprintf(line, sizeof line, "%s %llu", text, (unsigned long long)seq);
        posts[i].h.lifespan_s = lifespan_s;
        made_sign(&posts[i], author, prev, MADE_T0 + (seq - 1) * 1000,
                  &(struct post_body){ .text = span_str(line) });
    }
    return posts;
}

static inline struct made_post *made_chain(const struct identity *author, size_t n)
{
    return made_chain_from(author, NULL, n, 0, "post");
}

/* Those of `posts` (a chain, or a part of one) from seq `to` down to `from`, as a run. Returns how many. */
static inline size_t made_run(struct feed_item *items, const struct made_post *posts, uint64_t from,
                              uint64_t to)
{
    size_t n = 0;
    for (uint64_t seq = to; seq >= from && seq > 0; seq--, n++) {
        const struct made_post *p = &posts[seq - posts[0].h.seq];
        items[n] = (struct feed_item){ .header = span(p->header, POST_HEADER_SIZE), .state = POST_HELD,
                                       .body = span(p->body, p->body_size) };
    }
    return n;
}

#endif
