/* The two key files of a home, as bytes: nothing here touches a disk.
 *
 * The sealed key file holds the user's secret key under a passphrase (Argon2id, XChaCha20-Poly1305). Name,
 * public key and device stand in its header in the clear, so a node can say whose it is before anyone logs
 * in; the header is authenticated with the secret. A checksum over everything tells damage apart from a
 * wrong passphrase. What it cannot tell apart is a file that somebody altered on purpose, checksum
 * included: that is reported as a wrong passphrase.
 *
 * The transport key file holds what a node needs to serve without anybody's passphrase.
 *
 *     uint8_t buf[KEYFILE_SIZE]; size_t size;
 *     err = keyfile_seal(id, "ana", 0, passphrase, KEYFILE_MODERATE, rng, buf, sizeof buf, &size);
 *     err = keyfile_open(buf, size, passphrase, &id);      // identity_free(id) when done
 */
#ifndef CORE_KEYFILE_H
#define CORE_KEYFILE_H
#include "core/bytes.h"
#include "core/identity.h"
#include "core/rng.h"

#define KEYFILE_SIZE 188          /* every sealed key file has this size */
#define KEYFILE_TRANSPORT_SIZE 92 /* every transport key file has this size */
#define KEYFILE_DEVICE_MAX 1023
#define KEYFILE_PASSPHRASE_MAX 1024 /* bytes */

/* A file may ask for at most this much work; checked before anything is allocated. */
#define KEYFILE_OPS_MAX 16
#define KEYFILE_MEM_MAX (1024u * 1024 * 1024)

enum keyfile_cost {
    KEYFILE_INTERACTIVE, /* 64 MiB, some 0.1 s: tests */
    KEYFILE_MODERATE,    /* 256 MiB, some 0.7 s: the default */
};

/* Seals. CAM_EINVAL for a name or device that is not allowed, CAM_ETOOBIG for the passphrase,
 * CAM_ENOSPC when cap < KEYFILE_SIZE, CAM_ESYS when there is no memory for the key derivation. */
int keyfile_seal(const struct identity *id, const char *name, uint16_t device, struct span passphrase,
                 enum keyfile_cost cost, const struct rng *rng, void *ret_buf, size_t cap, size_t *ret_size);

/* Opens. The identity passes to the caller. CAM_EFORMAT when damaged (or asking for absurd work),
 * CAM_EPASS for a wrong passphrase, CAM_ESYS when there is no memory for the key derivation. */
int keyfile_open(const void *buf, size_t size, struct span passphrase, struct identity **ret);

/* Whose file it is, without the passphrase and so unproven. Each ret may be NULL. CAM_EFORMAT. */
int keyfile_peek(const void *buf, size_t size, char ret_name[NAME_SIZE], uint8_t ret_pk[KEY_SIZE],
                 uint16_t *ret_device);

/* Transport */

struct transport { /* a CURVE key pair as ZeroMQ takes it raw, and who this node is among copies of itself */
    uint8_t pk[KEY_SIZE];
    uint8_t sk[KEY_SIZE];
    uint64_t instance;
};

void transport_new(const struct rng *rng, struct transport *ret);
void transport_clear(struct transport *t); /* wipes */

void keyfile_transport_encode(const struct transport *t, uint8_t ret[KEYFILE_TRANSPORT_SIZE]);
int keyfile_transport_decode(const void *buf, size_t size, struct transport *ret); /* CAM_EFORMAT */

#endif
