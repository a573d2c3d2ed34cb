/* Published vectors: SHA-1 (FIPS 180, RFC 3174), BLAKE2b-256, CRC-32C (RFC 3720 appendix B.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/hash.h"

static void sha1(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t want[SHA1_SIZE], got[SHA1_SIZE];
        size_t size = strlen(rows[i][0]);
        assert_int_equal(hex_decode(want, sizeof want, rows[i][1]), 0);
        hash_sha1(got, rows[i][0], size);
        assert_memory_equal(got, want, sizeof want);
        for (size_t cut = 0; cut <= size; cut++) { /* the parts do not matter, only what they make */
            hash_sha1_2(got, span(rows[i][0], cut), span(rows[i][0] + cut, size - cut));
            assert_memory_equal(got, want, sizeof want);
        }
    }
    uint8_t got[SHA1_SIZE];
    hash_sha1(got, NULL, 0);
    assert_int_equal(got[0], 0xda);
}

static void blake2b(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8" },
        { "abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t want[HASH_SIZE], got[HASH_SIZE];
        assert_int_equal(hex_decode(want, sizeof want, rows[i][1]), 0);
        hash_blake2b(got, rows[i][0], strlen(rows[i][0]));
        assert_memory_equal(got, want, sizeof want);
    }
}

static void crc32c(void **state)
{
    (void)state;
    assert_int_equal(hash_crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(hash_crc32c(NULL, 0), 0);
    uint8_t block[32] = { 0 };
    assert_int_equal(hash_crc32c(block, 32), 0x8a9136aa);
    memset(block, 0xff, 32);
    assert_int_equal(hash_crc32c(block, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        block[i] = (uint8_t)i;
    assert_int_equal(hash_crc32c(block, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        block[i] = (uint8_t)(31 - i);
    assert_int_equal(hash_crc32c(block, 32), 0x113fdb5c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1),
        cmocka_unit_test(blake2b),
        cmocka_unit_test(crc32c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
