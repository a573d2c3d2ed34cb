#include "core/keyfile.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"

/*  The sealed key file
 *
 *  offset size
 *       0    8  "CamelKey"
 *       8    1  version = 1
 *       9    1  key derivation = 2 (Argon2id 1.3, one lane)
 *      10    2  device
 *      12    8  Argon2id passes            } as crypto_pwhash's
 *      20    8  Argon2id memory in bytes   } opslimit and memlimit
 *      28   16  Argon2id salt
 *      44   24  XChaCha20-Poly1305 nonce
 *      68   32  public key
 *     100    1  bytes of the name, 1..32
 *     101   32  name, padded with zeros
 *     133    3  zero
 *     136   48  sealed: the 32-byte Ed25519 seed, then the tag; bytes 0..135 are the additional data
 *     184    4  CRC-32C of bytes 0..183
 */
#define HEADER_SIZE 136
#define SEALED_SIZE (KEY_SIZE + crypto_aead_xchacha20poly1305_ietf_ABYTES)
#define VERSION 1
#define CRC_SIZE 4

static const uint8_t key_magic[8] = { 'C', 'a', 'm', 'e', 'l', 'K', 'e', 'y' };
static const uint8_t net_magic[8] = { 'C', 'a', 'm', 'e', 'l', 'N', 'e', 't' };

static_assert(KEYFILE_SIZE == HEADER_SIZE + SEALED_SIZE + CRC_SIZE, "as drawn");

struct header {
    uint16_t device;
    uint64_t ops, mem_bytes;
    uint8_t salt[crypto_pwhash_SALTBYTES];
    uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
    uint8_t pk[KEY_SIZE];
    char name[NAME_SIZE];
};

static void header_encode(const struct header *h, struct bytes_out *out)
{
    static const uint8_t zero[NAME_MAX_CHARS];
    size_t name_size = strlen(h->name);
    bytes_put(out, key_magic, sizeof key_magic);
    bytes_put_u8(out, VERSION);
    bytes_put_u8(out, crypto_pwhash_ALG_ARGON2ID13);
    bytes_put_u16(out, h->device);
    bytes_put_u64(out, h->ops);
    bytes_put_u64(out, h->mem_bytes);
    bytes_put(out, h->salt, sizeof h->salt);
    bytes_put(out, h->nonce, sizeof h->nonce);
    bytes_put(out, h->pk, sizeof h->pk);
    bytes_put_u8(out, (uint8_t)name_size);
    bytes_put(out, h->name, name_size);
    bytes_put(out, zero, NAME_MAX_CHARS - name_size);
    bytes_put(out, zero, 3);
}

static bool all_zero(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

/* The size is right and the checksum at the end fits what is before it. */
static int crc_check(const void *buf, size_t size, size_t want_size)
{
    const uint8_t *p = buf;
    if (size != want_size || be32(p + size - CRC_SIZE) != hash_crc32c(p, size - CRC_SIZE))
        return CAM_EFORMAT;
    return 0;
}

static int header_decode(const void *buf, size_t size, struct header *ret)
{
    if (crc_check(buf, size, KEYFILE_SIZE))
        return CAM_EFORMAT;

    struct header h = { .device = 0 };
    struct bytes_in in = bytes_in(buf, HEADER_SIZE);
    const uint8_t *magic = bytes_get(&in, sizeof key_magic);
    uint8_t version = bytes_get_u8(&in);
    uint8_t derivation = bytes_get_u8(&in);
    h.device = bytes_get_u16(&in);
    h.ops = bytes_get_u64(&in);
    h.mem_bytes = bytes_get_u64(&in);
    bytes_copy(&in, h.salt, sizeof h.salt);
    bytes_copy(&in, h.nonce, sizeof h.nonce);
    bytes_copy(&in, h.pk, sizeof h.pk);
    size_t name_size = bytes_get_u8(&in);
    const uint8_t *name = bytes_get(&in, NAME_MAX_CHARS);
    const uint8_t *reserved = bytes_get(&in, 3);
    if (bytes_end(&in))
        return CAM_EFORMAT;

    if (memcmp(magic, key_magic, sizeof key_magic) != 0 || version != VERSION ||
        derivation != crypto_pwhash_ALG_ARGON2ID13 || h.device > KEYFILE_DEVICE_MAX)
        return CAM_EFORMAT;
    if (h.ops < crypto_pwhash_OPSLIMIT_MIN || h.ops > KEYFILE_OPS_MAX ||
        h.mem_bytes < crypto_pwhash_MEMLIMIT_MIN || h.mem_bytes > KEYFILE_MEM_MAX)
        return CAM_EFORMAT;
    if (name_check(name, name_size) || !all_zero(name + name_size, NAME_MAX_CHARS - name_size) ||
        !all_zero(reserved, 3))
        return CAM_EFORMAT;

    memcpy(h.name, name, name_size);
    *ret = h;
    return 0;
}

static int derive(const struct header *h, struct span passphrase, uint8_t ret_key[KEY_SIZE])
{
    static_assert(KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "one size of key");
    const char *text = passphrase.size ? (const char *)passphrase.data : "";
    if (crypto_pwhash(ret_key, KEY_SIZE, text, passphrase.size, h->salt, h->ops, (size_t)h->mem_bytes,
                      crypto_pwhash_ALG_ARGON2ID13))
        return CAM_ESYS;
    return 0;
}

int keyfile_seal(const struct identity *id, const char *name, uint16_t device, struct span passphrase,
                 enum keyfile_cost cost, const struct rng *rng, void *ret_buf, size_t cap, size_t *ret_size)
{
    size_t name_size = strnlen(name, NAME_SIZE);
    if (name_check(name, name_size) || device > KEYFILE_DEVICE_MAX)
        return CAM_EINVAL;
    if (passphrase.size > KEYFILE_PASSPHRASE_MAX)
        return CAM_ETOOBIG;
    if (cap < KEYFILE_SIZE)
        return CAM_ENOSPC;
    if (sodium_init() < 0)
        return CAM_ESYS;

    struct header h = { .device = device };
    bool moderate = cost == KEYFILE_MODERATE;
    h.ops = moderate ? crypto_pwhash_OPSLIMIT_MODERATE : crypto_pwhash_OPSLIMIT_INTERACTIVE;
    h.mem_bytes = moderate ? crypto_pwhash_MEMLIMIT_MODERATE : crypto_pwhash_MEMLIMIT_INTERACTIVE;
    rng_fill(rng, h.salt, sizeof h.salt);
    rng_fill(rng, h.nonce, sizeof h.nonce);
    memcpy(h.pk, id->pk, KEY_SIZE);
    memcpy(h.name, name, name_size);

    uint8_t seed[KEY_SIZE], key[KEY_SIZE], sealed[SEALED_SIZE];
    uint8_t file[KEYFILE_SIZE];
    struct bytes_out out = bytes_out(file, sizeof file);
    header_encode(&h, &out);
    assert(out.size == HEADER_SIZE);

    int err = derive(&h, passphrase, key);
    if (err)
        goto out;
    crypto_sign_ed25519_sk_to_seed(seed, id->sk);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, seed, sizeof seed, file, HEADER_SIZE, NULL,
                                               h.nonce, key);
    bytes_put(&out, sealed, sizeof sealed);
    bytes_put_u32(&out, hash_crc32c(file, out.size));
    assert(!out.err && out.size == KEYFILE_SIZE);
    memcpy(ret_buf, file, sizeof file);
    *ret_size = sizeof file;

out:
    sodium_memzero(key, sizeof key);
    sodium_memzero(seed, sizeof seed);
    return err;
}

int keyfile_open(const void *buf, size_t size, struct span passphrase, struct identity **ret)
{
    struct header h;
    int err = header_decode(buf, size, &h);
    if (err)
        return err;
    if (passphrase.size > KEYFILE_PASSPHRASE_MAX)
        return CAM_EPASS; /* none so long ever sealed one */
    if (sodium_init() < 0)
        return CAM_ESYS;

    const uint8_t *file = buf;
    uint8_t seed[KEY_SIZE], key[KEY_SIZE];
    struct identity *id = NULL;
    err = derive(&h, passphrase, key);
    if (err)
        goto out;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(seed, NULL, NULL, file + HEADER_SIZE, SEALED_SIZE, file,
                                                   HEADER_SIZE, h.nonce, key)) {
        err = CAM_EPASS;
        goto out;
    }
    id = identity_from_seed(seed);
    if (!id) {
        err = CAM_ESYS;
        goto out;
    }
    if (memcmp(id->pk, h.pk, KEY_SIZE) != 0) { /* sealed by something that mixed up two keys */
        identity_free(id);
        err = CAM_EFORMAT;
        goto out;
    }
    *ret = id;

out:
    sodium_memzero(key, sizeof key);
    sodium_memzero(seed, sizeof seed);
    return err;
}

int keyfile_peek(const void *buf, size_t size, char ret_name[NAME_SIZE], uint8_t ret_pk[KEY_SIZE],
                 uint16_t *ret_device)
{
    struct header h;
    int err = header_decode(buf, size, &h);
    if (err)
        return err;
    if (ret_name)
        memcpy(ret_name, h.name, NAME_SIZE);
    if (ret_pk)
        memcpy(ret_pk, h.pk, KEY_SIZE);
    if (ret_device)
        *ret_device = h.device;
    return 0;
}

/* A CURVE key pair is a crypto_box one: any 32 bytes, and the base point times them (RFC 7748, 6.1). */
void transport_new(const struct rng *rng, struct transport *ret)
{
    static_assert(KEY_SIZE == crypto_scalarmult_BYTES && KEY_SIZE == crypto_scalarmult_SCALARBYTES, "X25519");
    rng_fill(rng, ret->sk, sizeof ret->sk);
    crypto_scalarmult_base(ret->pk, ret->sk);
    ret->instance = rng_u64(rng);
}

void transport_clear(struct transport *t) { sodium_memzero(t, sizeof *t); }

/*  The transport key file
 *
 *  offset size
 *       0    8  "CamelNet"
 *       8    1  version = 1
 *       9    7  zero
 *      16   32  CURVE public key
 *      48   32  CURVE secret key
 *      80    8  instance
 *      88    4  CRC-32C of bytes 0..87
 */
void keyfile_transport_encode(const struct transport *t, uint8_t ret[KEYFILE_TRANSPORT_SIZE])
{
    static const uint8_t zero[7];
    struct bytes_out out = bytes_out(ret, KEYFILE_TRANSPORT_SIZE);
    bytes_put(&out, net_magic, sizeof net_magic);
    bytes_put_u8(&out, VERSION);
    bytes_put(&out, zero, sizeof zero);
    bytes_put(&out, t->pk, sizeof t->pk);
    bytes_put(&out, t->sk, sizeof t->sk);
    bytes_put_u64(&out, t->instance);
    bytes_put_u32(&out, hash_crc32c(ret, out.size));
    assert(!out.err && out.size == KEYFILE_TRANSPORT_SIZE);
}

int keyfile_transport_decode(const void *buf, size_t size, struct transport *ret)
{
    if (crc_check(buf, size, KEYFILE_TRANSPORT_SIZE))
        return CAM_EFORMAT;

    struct transport t;
    struct bytes_in in = bytes_in(buf, size - CRC_SIZE);
    const uint8_t *magic = bytes_get(&in, sizeof net_magic);
    uint8_t version = bytes_get_u8(&in);
    const uint8_t *reserved = bytes_get(&in, 7);
    bytes_copy(&in, t.pk, sizeof t.pk);
    bytes_copy(&in, t.sk, sizeof t.sk);
    t.instance = bytes_get_u64(&in);
    uint8_t pk[KEY_SIZE];
    int err = bytes_end(&in);
    if (!err &&
        (memcmp(magic, net_magic, sizeof net_magic) != 0 || version != VERSION || !all_zero(reserved, 7)))
        err = CAM_EFORMAT;
    if (!err) {
        crypto_scalarmult_base(pk, t.sk);
        if (memcmp(pk, t.pk, sizeof pk) != 0)
            err = CAM_EFORMAT;
    }
    if (!err)
        *ret = t;
    transport_clear(&t);
    return err;
}
