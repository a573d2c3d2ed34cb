#include "tests/hostile/forge.h"
#include <stdlib.h>
#include <string.h>
#include "core/snowflake.h"
#include "timeline/record.h"

struct span made_header(const struct made *m) { return span(m->header, POST_HEADER_SIZE); }
struct span made_body(const struct made *m) { return span(m->body, m->body_bytes); }

/* post_header_sign would put the signer's name in; a forger leaves the victim's. */
void made_resign(struct made *m, const struct identity *signer)
{
    uint8_t text[16 + POST_SIGNED_SIZE];
    memcpy(text, POST_SIGNED_PREFIX, 16);
    post_header_encode(&m->h, m->header);
    memcpy(text + 16, m->header, POST_SIGNED_SIZE);
    identity_sign(signer, text, sizeof text, m->h.sig);
    post_header_encode(&m->h, m->header);
    post_hash(m->header, m->hash);
}

static void finish(struct made *m, const struct made *prev, const uint8_t *author, const struct identity *signer,
                   uint64_t at_ms)
{
    m->h.seq = prev ? prev->h.seq + 1 : 1;
    m->h.id = snowflake_floor(at_ms) + 1;
    memcpy(m->h.author, author, KEY_SIZE);
    if (prev)
        memcpy(m->h.prev, prev->hash, HASH_SIZE);
    post_header_set_body(&m->h, made_body(m));
    made_resign(m, signer);
}

void made_post(struct made *ret, const struct made *prev, const uint8_t author[KEY_SIZE], const struct identity *signer,
               const char *text, uint64_t at_ms)
{
    struct made m = { .h.kind = POST_KIND_POST };
    struct bytes_out out = bytes_out(m.body, sizeof m.body);
    post_body_encode(&out, &(struct post_body){ .text = span_str(text) });
    if (out.err)
        die("a post that does not fit");
    m.body_bytes = out.size;
    finish(&m, prev, author, signer, at_ms);
    *ret = m;
}

void made_delete(struct made *ret, const struct made *prev, const struct made *target, const struct identity *signer)
{
    struct made m = { .h.kind = POST_KIND_DELETE };
    struct post_body body = { .has_target = true, .target_id = target->h.id };
    struct bytes_out out = bytes_out(m.body, sizeof m.body);
    memcpy(body.target_author, target->h.author, KEY_SIZE);
    post_body_encode(&out, &body);
    m.body_bytes = out.size;
    finish(&m, prev, target->h.author, signer, snowflake_time_ms(prev->h.id) + 1);
    *ret = m;
}

struct chain *chain_new(const struct identity *author, size_t n, size_t text_bytes, uint64_t first_ms)
{
    struct chain *c = calloc(1, sizeof *c + n * sizeof c->at[0]);
    char text[4001];
    if (!c || text_bytes >= sizeof text)
        die("no memory for a chain");
    c->n = n;
    for (size_t i = 0; i < n; i++) {
        size_t used = (size_t)snprintf(text, sizeof text, "genuine %zu", i + 1);
        if (used < text_bytes) {
            memset(text + used, '.', text_bytes - used);
            text[text_bytes] = 0;
        }
        made_post(&c->at[i], i ? &c->at[i - 1] : NULL, author->pk, author, text, first_ms + i * 10);
    }
    return c;
}

/* ---- messages -------------------------------------------------------------------------------------------- */

struct span forge_encode(const struct message *m, uint8_t *buf, size_t cap)
{
    struct bytes_out out = bytes_out(buf, cap);
    message_encode(&out, m);
    if (out.err)
        die("a message that does not fit");
    return span(out.buf, out.size);
}

struct span forge_post(const struct made *header, const struct made *body, uint8_t *buf, size_t cap)
{
    struct message m = { .kind = MESSAGE_POST, .post = { .header = made_header(header), .body = made_body(body),
                                                         .range = message_range_all() } };
    return forge_encode(&m, buf, cap);
}

struct span forge_have(const uint8_t author[KEY_SIZE], struct span header, uint8_t *buf, size_t cap)
{
    struct bytes_out out = bytes_out(buf, cap);
    struct message_have_writer w;
    struct message_feed feed = { .header = header };
    memcpy(feed.author, author, KEY_SIZE);
    message_have_begin(&w, &out, false);
    if (message_have_add(&w, &feed))
        die("a HAVE that does not fit");
    message_have_end(&w);
    return span(out.buf, out.size);
}

/* message_batch_add would refuse some of what is written here, so the list is made by hand. */
struct span forge_batch(const uint8_t author[KEY_SIZE], const struct forged_item *items, size_t n, uint64_t floor_seq,
                        uint8_t *buf, size_t cap)
{
    struct bytes_out out = bytes_out(buf, cap);
    ben_put_dict(&out);
    ben_put_key(&out, "a");
    ben_put_str(&out, author, KEY_SIZE);
    ben_put_key(&out, "d");
    ben_put_int(&out, 0);
    ben_put_key(&out, "f");
    ben_put_int(&out, (int64_t)floor_seq);
    ben_put_key(&out, "m");
    ben_put_text(&out, "batch");
    ben_put_key(&out, "p");
    ben_put_list(&out);
    for (size_t i = 0; i < n; i++) {
        ben_put_list(&out);
        ben_put_str(&out, items[i].header.data, items[i].header.size);
        if (items[i].state == POST_HELD)
            ben_put_str(&out, items[i].body.data, items[i].body.size);
        else
            ben_put_int(&out, items[i].state);
        if (items[i].state == POST_DELETED && items[i].proof_header.size) {
            ben_put_list(&out);
            ben_put_str(&out, items[i].proof_header.data, items[i].proof_header.size);
            ben_put_str(&out, items[i].proof_body.data, items[i].proof_body.size);
            ben_put_end(&out);
        }
        ben_put_end(&out);
    }
    ben_put_end(&out);
    ben_put_key(&out, "t");
    ben_put_int(&out, 0);
    ben_put_end(&out);
    if (out.err)
        die("a BATCH that does not fit");
    return span(out.buf, out.size);
}

/* ---- records --------------------------------------------------------------------------------------------- */

void forge_connection(const uint8_t pk[KEY_SIZE], const struct identity *signer, const struct addr *addr,
                      const uint8_t key[LINK_KEY_SIZE], int64_t seq, uint8_t buf[KAD_OWN_VALUE_MAX],
                      struct kad_item *ret)
{
    struct record_connection c = { .addr = *addr, .reachable = true, .expires_s = unix_s() + RECORD_LIFE_CONNECTION_S };
    struct bytes_out out = bytes_out(buf, KAD_OWN_VALUE_MAX);
    memcpy(c.transport_key, key, LINK_KEY_SIZE);
    record_put_connection(&out, &c);
    *ret = (struct kad_item){ .is_mutable = true, .salt = span_str("connections/0"), .seq = seq, .v = span(buf, out.size) };
    if (out.err || kad_item_sign(ret, signer))
        die("a connection record that cannot be made");
    memcpy(ret->pk, pk, KEY_SIZE);
}

void forge_follow(const uint8_t pk[KEY_SIZE], const struct identity *signer, const uint8_t owner[KEY_SIZE], int64_t seq,
                  bool deleted, uint8_t buf[KAD_SET_VALUE_MAX], struct kad_entry *ret)
{
    struct record_follow f = { .deleted = deleted, .name = "mallory", .expires_s = unix_s() + RECORD_LIFE_FOLLOW_S };
    struct bytes_out out = bytes_out(buf, KAD_SET_VALUE_MAX);
    uint8_t root[KAD_ID_SIZE];
    record_put_follow(&out, &f);
    record_followers_root(owner, root);
    *ret = (struct kad_entry){ .seq = seq, .v = span(buf, out.size) };
    if (out.err || kad_entry_sign(ret, root, signer))
        die("an entry that cannot be made");
    memcpy(ret->pk, pk, KEY_SIZE);
}
