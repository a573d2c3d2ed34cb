#include "core/identity.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "core/err.h"

static_assert(KEY_SIZE == crypto_sign_PUBLICKEYBYTES, "Ed25519");
static_assert(KEY_SIZE == crypto_sign_SEEDBYTES, "Ed25519");
static_assert(SECRET_SIZE == crypto_sign_SECRETKEYBYTES, "Ed25519");
static_assert(SIG_SIZE == crypto_sign_BYTES, "Ed25519");
static_assert(USER_ID_SIZE == BASE32_CHARS(KEY_SIZE) + 1, "an id is the key in base32");
static_assert(WHO_SIZE >= USER_ID_SIZE && WHO_SIZE >= NAME_MAX_CHARS + 1 + TAG_SIZE, "either fits");

#define TAG_CHARS (TAG_SIZE - 1)

struct identity *identity_from_seed(const uint8_t seed[KEY_SIZE])
{
    if (sodium_init() < 0)
        return NULL;
    struct identity *id = sodium_malloc(sizeof *id);
    if (!id)
        return NULL;
    crypto_sign_seed_keypair(id->pk, id->sk, seed);
    return id;
}

struct identity *identity_new(const struct rng *rng)
{
    uint8_t seed[KEY_SIZE];
    rng_fill(rng, seed, sizeof seed);
    struct identity *id = identity_from_seed(seed);
    sodium_memzero(seed, sizeof seed);
    return id;
}

void identity_free(struct identity *id) { sodium_free(id); }

void identity_sign(const struct identity *id, const void *msg, size_t size, uint8_t ret_sig[SIG_SIZE])
{
    crypto_sign_detached(ret_sig, NULL, msg, size, id->sk);
}

int identity_verify(const uint8_t pk[KEY_SIZE], const void *msg, size_t size, const uint8_t sig[SIG_SIZE])
{
    return crypto_sign_verify_detached(sig, msg, size, pk) ? CAM_EAUTH : 0;
}

void user_id_text(const uint8_t pk[KEY_SIZE], char ret[USER_ID_SIZE]) { base32_encode(ret, pk, KEY_SIZE); }

int user_id_parse(const char *text, uint8_t ret_pk[KEY_SIZE])
{
    return base32_decode(ret_pk, KEY_SIZE, text, strnlen(text, USER_ID_SIZE)) ? CAM_EINVAL : 0;
}

void user_tag(const uint8_t pk[KEY_SIZE], char ret[TAG_SIZE])
{
    base32_encode(ret, pk, TAG_CHARS * 5 / 8);
}

void user_text(const char *name, const uint8_t pk[KEY_SIZE], char ret[WHO_SIZE])
{
    size_t name_size = name ? strnlen(name, NAME_SIZE) : 0;
    if (name_check(name, name_size) != 0) {
        user_id_text(pk, ret); /* nameless, or a name nobody may have */
        return;
    }
    memcpy(ret, name, name_size);
    ret[name_size] = '#';
    user_tag(pk, ret + name_size + 1);
}

int name_check(const void *name, size_t size)
{
    const char *c = name;
    if (size < 1 || size > NAME_MAX_CHARS || c[0] < 'a' || c[0] > 'z')
        return CAM_EINVAL;
    for (size_t i = 1; i < size; i++) {
        bool allowed = (c[i] >= 'a' && c[i] <= 'z') || (c[i] >= '0' && c[i] <= '9') || c[i] == '_' ||
                       c[i] == '-';
        if (!allowed)
            return CAM_EINVAL;
    }
    return 0;
}

int who_parse(const char *text, struct who *ret)
{
    struct who who = { .has_pk = false };
    size_t size = strnlen(text, WHO_SIZE);
    if (size == USER_ID_SIZE - 1) {
        if (user_id_parse(text, who.pk))
            return CAM_EINVAL;
        who.has_pk = true;
        *ret = who;
        return 0;
    }

    const char *hash = memchr(text, '#', size);
    size_t name_size = hash ? (size_t)(hash - text) : size;
    if (name_check(text, name_size))
        return CAM_EINVAL;
    memcpy(who.name, text, name_size);

    if (hash) {
        /* Through the bytes and back: what is not base32 is refused, capitals become small. */
        uint8_t head[TAG_CHARS * 5 / 8];
        if (base32_decode(head, sizeof head, hash + 1, size - name_size - 1))
            return CAM_EINVAL;
        base32_encode(who.tag, head, sizeof head);
    }
    *ret = who;
    return 0;
}
