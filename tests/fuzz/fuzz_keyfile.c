/* Both key files. The checksum is set right first, or nothing would get past it; and a file that would be
 * opened is made cheap to try, or Argon2id would be all that is tested. */
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t file[512], again[KEYFILE_TRANSPORT_SIZE];
    char name[NAME_SIZE];
    uint16_t device;
    struct transport t;
    struct identity *id = NULL;

    keyfile_peek(data, size, name, NULL, &device);
    if (size < 5 || size > sizeof file)
        return 0;
    memcpy(file, data, size);
    put_be32(file + size - 4, hash_crc32c(file, size - 4));

    if (keyfile_transport_decode(file, size, &t) == 0) {
        keyfile_transport_encode(&t, again);
        require(size == sizeof again && memcmp(file, again, size) == 0);
    }
    if (keyfile_peek(file, size, name, NULL, &device) == 0) {
        require(size == KEYFILE_SIZE && device <= KEYFILE_DEVICE_MAX && name_check(name, strlen(name)) == 0);
        put_be64(file + 12, 1);
        put_be64(file + 20, 8192);
        put_be32(file + size - 4, hash_crc32c(file, size - 4));
        int err = keyfile_open(file, size, span_str("x"), &id);
        require(err == CAM_EPASS || err == CAM_EFORMAT || (err == 0 && id));
        identity_free(id);
    }
    return 0;
}
