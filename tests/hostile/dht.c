/* Writing to what is not ours, one put at a time. Every line is "what code": the code that BEP 44 and
 * docs/protocol.md give for it; 0 is what may be stored, because it is the attacker's own. */
#include <sodium.h>
#include <string.h>
#include "core/err.h"
#include "core/io_os.h"
#include "kad/set.h"
#include "tests/hostile/hostile.h"
#include "timeline/record.h"

#define DAY_S 86400
#define VALUE_SIZE 1200

static struct dht dht;
static const struct identity *me;

static void say(const char *what, int code) { printf("%s %d\n", what, code); }

/* A value that reads well: a dict with `exp`, and `n` of the wanted size. */
static struct span value(uint8_t buf[VALUE_SIZE], int64_t exp_s, size_t size, bool tombstone)
{
    struct bytes_out out = bytes_out(buf, VALUE_SIZE);
    ben_put_dict(&out);
    if (tombstone) {
        ben_put_key(&out, "del");
        ben_put_int(&out, 1);
    }
    ben_put_key(&out, "exp");
    ben_put_int(&out, exp_s);
    if (size > out.size + 8) {
        static uint8_t fill[VALUE_SIZE];
        memset(fill, 'x', sizeof fill);
        ben_put_key(&out, "n");
        ben_put_str(&out, fill, size - out.size - (size - out.size < 104 ? 4 : size - out.size < 1005 ? 5 : 6));
    }
    ben_put_end(&out);
    if (out.err || (size && out.size != size))
        die("a value has the wrong size");
    return span(buf, out.size);
}

static struct span plain(uint8_t buf[VALUE_SIZE]) { return value(buf, unix_s() + DAY_S, 0, false); }

/* The attacker's own item, well signed whatever is wrong with it. */
static struct kad_item own(const char *salt, int64_t seq, struct span v)
{
    struct kad_item item = { .is_mutable = true, .salt = span_str(salt), .seq = seq, .v = v };
    uint8_t buf[2048];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    memcpy(item.pk, me->pk, KEY_SIZE);
    if (item.salt.size) { /* kad_item_sign would refuse what is too long */
        ben_put_text(&out, "salt");
        ben_put_str(&out, item.salt.data, item.salt.size);
    }
    ben_put_text(&out, "seq");
    ben_put_int(&out, seq);
    ben_put_text(&out, "v");
    bytes_put(&out, v.data, v.size);
    identity_sign(me, out.buf, out.size, item.sig);
    return item;
}

static void put(const char *what, const struct kad_item *item, const int64_t *cas)
{
    say(what, dht_put(&dht, item, cas));
}

/* ---- items ----------------------------------------------------------------------------------------------- */

/* What the node holds of its victims, and attempts to change it. */
static void attack_item(const struct victim *v, const char *salt)
{
    struct kad_item held, item;
    uint8_t v_buf[VALUE_SIZE], other[VALUE_SIZE], bytes[VALUE_SIZE];
    char what[64];
    if (dht_get(&dht, v->pk, salt, &held) || held.v.size > sizeof bytes)
        die("the record to attack is not there");
    memcpy(bytes, held.v.data, held.v.size); /* the next answer overwrites it */
    held.v.data = bytes;
    held.salt = span_str(salt);

    item = own(salt, held.seq + 1, value(v_buf, unix_s() + 3600, 0, false)); /* signed by the wrong key */
    memcpy(item.pk, v->pk, KEY_SIZE);
    snprintf(what, sizeof what, "%s:signed-by-another", salt);
    put(what, &item, NULL);

    item = held; /* the signature of what is held, over another value and seq */
    item.seq++;
    snprintf(what, sizeof what, "%s:seq-raised", salt);
    put(what, &item, NULL);
    item = held;
    item.v = value(other, unix_s() + 7000, 0, false);
    item.seq++;
    snprintf(what, sizeof what, "%s:value-changed", salt);
    put(what, &item, NULL);
    item = held;
    item.sig[63] ^= 1;
    item.seq++;
    snprintf(what, sizeof what, "%s:signature-changed", salt);
    put(what, &item, NULL);
    item = held; /* the same version: the signature must be looked at, the one that is held must stay */
    item.sig[0] ^= 1;
    snprintf(what, sizeof what, "%s:same-version-bad-signature", salt);
    put(what, &item, NULL);
    item = held;
    item.seq--;
    snprintf(what, sizeof what, "%s:seq-lowered", salt);
    put(what, &item, NULL);
    item = held;
    item.seq++;
    int64_t wrong = held.seq - 1;
    snprintf(what, sizeof what, "%s:wrong-cas", salt);
    put(what, &item, &wrong);
    item = held; /* a well signed record, moved to another place */
    item.salt = span_str("public2");
    snprintf(what, sizeof what, "%s:moved-to-another-salt", salt);
    put(what, &item, NULL);
}

static void attack_own_items(void)
{
    uint8_t a[VALUE_SIZE], b[VALUE_SIZE];
    struct kad_item item = own("mine", 5, plain(a));
    char salt[80];

    put("own:first", &item, NULL);
    item = own("mine", 4, plain(a));
    put("own:old-seq", &item, NULL);
    int64_t wrong = 4, right = 5;
    item = own("mine", 6, plain(a));
    put("own:wrong-cas", &item, &wrong);
    put("own:right-cas", &item, &right);

    memset(salt, 's', sizeof salt);
    salt[65] = 0;
    item = own(salt, 1, plain(a));
    put("own:salt-65", &item, NULL);
    salt[64] = 0;
    item = own(salt, 1, plain(a));
    put("own:salt-64", &item, NULL);
    item = own("big", 1, value(a, unix_s() + DAY_S, KAD_VALUE_MAX + 1, false));
    put("own:value-1001", &item, NULL);
    item = own("big", 1, value(a, unix_s() + DAY_S, KAD_VALUE_MAX, false));
    put("own:value-1000", &item, NULL);

    item = own("late", 1, value(a, unix_s() + 401 * DAY_S, 0, false));
    put("own:exp-401-days", &item, NULL);
    item = own("late", 1, value(a, unix_s() - 1, 0, false));
    put("own:exp-past", &item, NULL);
    item = own("connections/7", 1, value(a, unix_s() + 3 * 3600, 0, false));
    put("own:connection-3-hours", &item, NULL);
    item = own("seq", -1, plain(a));
    put("own:seq-negative", &item, NULL);
    dht.wait_ms = 300; /* what is no bencode is no KRPC, and gets no answer */
    item = own("form", 1, span("d3:expi00e", 10));
    put("own:not-canonical", &item, NULL);
    item = own("form", 1, span("d3:expi9ee1:x", 13));
    put("own:two-values", &item, NULL);
    dht.wait_ms = ANSWER_MS;
    struct kad_item immutable = { .v = value(b, unix_s() + 401 * DAY_S, 0, false) };
    put("immutable:exp-401-days", &immutable, NULL);
}

/* ---- tokens ---------------------------------------------------------------------------------------------- */

static void attack_tokens(const struct victim *v)
{
    uint8_t a[VALUE_SIZE];
    struct kad_item item = own("token", 1, plain(a));
    struct dht other;
    struct krpc_msg q = { .method = KRPC_PUT, .v = { item.v.data, item.v.size }, .k = item.pk, .sig = item.sig,
                          .salt = item.salt, .has_seq = true, .seq = 1 };
    struct krpc_msg ask = { .method = KRPC_GET, .target = dht.id };

    say("token:none", dht_ask(&dht, &q));
    q.token = span("", 0);
    say("token:empty", dht_ask(&dht, &q));
    dht_open(&other, &v->addr);
    if (dht_ask(&other, &ask))
        die("the node gives no token");
    q.token = span(other.token, other.token_size);
    say("token:of-another-port", dht_ask(&dht, &q));
    dht_close(&other);
    uint8_t bent[KRPC_TOKEN_MAX];
    int accepted = 0;
    for (size_t bit = 0; bit < 8 * dht.token_size; bit++) {
        memcpy(bent, dht.token, dht.token_size);
        bent[bit / 8] ^= (uint8_t)(1 << bit % 8);
        q.token = span(bent, dht.token_size);
        accepted += dht_ask(&dht, &q) != 203;
    }
    say("token:any-bit-changed", accepted ? accepted : 203);
    q.token = span(dht.token, dht.token_size - 1);
    say("token:cut", dht_ask(&dht, &q));
    q.token = span(dht.token, dht.token_size);
    say("token:good", dht_ask(&dht, &q));
    q.method = KRPC_SPUT;
    q.target = dht.id;
    q.has_depth = true;
    q.token = span(NULL, 0);
    say("token:none-sput", dht_ask(&dht, &q));
    struct krpc_msg announce = { .method = KRPC_ANNOUNCE_PEER, .target = dht.id, .port = 9, .token = span(bent, 8) };
    say("token:bad-announce", dht_ask(&dht, &announce));
}

/* ---- set entries ----------------------------------------------------------------------------------------- */

static struct kad_entry signed_entry(const struct identity *by, const uint8_t *as, const uint8_t *root, int64_t seq,
                                     struct span v)
{
    struct kad_entry e = { .seq = seq, .v = v };
    uint8_t buf[2048];
    struct bytes_out out = bytes_out(buf, sizeof buf);
    ben_put_text(&out, "root");
    ben_put_str(&out, root, KAD_ID_SIZE);
    ben_put_text(&out, "seq");
    ben_put_int(&out, seq);
    ben_put_text(&out, "v");
    bytes_put(&out, v.data, v.size);
    identity_sign(by, out.buf, out.size, e.sig);
    memcpy(e.pk, as, KEY_SIZE);
    return e;
}

static void sput(const char *what, const uint8_t *root, const struct kad_entry *e)
{
    say(what, dht_sput(&dht, root, e));
}

static void attack_sets(const struct victim *v)
{
    uint8_t root[KAD_ID_SIZE], elsewhere[KAD_ID_SIZE], a[VALUE_SIZE];
    struct identity *other = identity_named("somebody else");
    record_followers_root(v->pk, elsewhere); /* who follows the victim */
    record_followers_root(me->pk, root);     /* who follows the attacker */

    struct kad_entry e = signed_entry(me, v->pk, root, unix_s(), plain(a));
    sput("set:the-victim-follows-me", root, &e);
    e = signed_entry(me, other->pk, elsewhere, unix_s(), plain(a));
    sput("set:another-follows-the-victim", elsewhere, &e);
    e = signed_entry(me, other->pk, elsewhere, unix_s() + FAR_S, value(a, unix_s() + DAY_S, 0, true));
    sput("set:forged-tombstone", elsewhere, &e);
    e = signed_entry(me, me->pk, root, 10, plain(a)); /* signed for another set */
    sput("set:of-another-root", elsewhere, &e);

    sput("set:own", root, &e);
    e = signed_entry(me, me->pk, root, 9, plain(a));
    sput("set:own-old-seq", root, &e);
    e = signed_entry(me, me->pk, root, 11, value(a, unix_s() + 401 * DAY_S, 0, false));
    sput("set:exp-401-days", root, &e);
    e = signed_entry(me, me->pk, root, 11, value(a, unix_s() - 5, 0, false));
    sput("set:exp-past", root, &e);
    e = signed_entry(me, me->pk, root, 11, value(a, unix_s() + DAY_S, KAD_SET_VALUE_MAX + 1, false));
    sput("set:value-301", root, &e);
    e = signed_entry(me, me->pk, root, 11, span("de", 2));
    sput("set:no-exp", root, &e);
    e = signed_entry(me, me->pk, root, 11, span("3:abc", 5));
    sput("set:not-a-dict", root, &e);
    identity_free(other);
}

int attack_dht(struct victim *v)
{
    struct identity *mallory = identity_named("mallory");
    me = mallory;
    dht_open(&dht, &v->addr);
    attack_item(v, "public");
    attack_item(v, "connections/0");
    attack_own_items();
    attack_tokens(v);
    attack_sets(v);
    dht_close(&dht);
    identity_free(mallory);
    return 0;
}
