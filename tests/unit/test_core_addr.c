/* Addresses as text and in compact form, compared against the C library where it has an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "core/addr.h"
#include "core/err.h"
#include "core/rng.h"

static struct addr at(const char *text)
{
    struct addr a;
    if (addr_parse(text, &a))
        fail_msg("does not parse: %s", text);
    return a;
}

static void text_round_trip(void **state)
{
    (void)state;
    static const char *const same[] = {
        "127.0.0.1:8000", "0.0.0.0:0", "255.255.255.255:65535", "[::]:0", "[::1]:80", "[2001:db8::1]:6881",
        "[1:2:3:4:5:6:7:8]:1", "[1::8]:1", "[fe80::1:0:0:1]:9", "[::ffff:1.2.3.4]:5", "[1::]:2", "[0:1::]:2",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct addr a = at(same[i]);
        char text[ADDR_TEXT_SIZE];
        assert_ptr_equal(addr_text(&a, text), text);
        assert_string_equal(text, same[i]);
    }
    /* Other spellings of the same, and RFC 5952's for them. */
    static const char *const other[][2] = {
        { "[0:0:0:0:0:0:0:1]:80", "[::1]:80" },        { "[2001:0DB8::0001]:1", "[2001:db8::1]:1" },
        { "[1:0:0:2:0:0:0:3]:1", "[1:0:0:2::3]:1" },   { "[1:0:0:2:3:0:0:4]:1", "[1::2:3:0:0:4]:1" },
        { "[1:0:2:3:4:5:6:7]:1", "[1:0:2:3:4:5:6:7]:1" }, { "[64:ff9b::192.0.2.33]:1", "[64:ff9b::c000:221]:1" },
        { "[1:2:3:4:5:6:7::]:1", "[1:2:3:4:5:6:7:0]:1" },
    };
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        struct addr a = at(other[i][0]);
        char text[ADDR_TEXT_SIZE];
        assert_string_equal(addr_text(&a, text), other[i][1]);
    }
    struct addr none = { .family = 0 };
    char text[ADDR_TEXT_SIZE];
    assert_string_equal(addr_text(&none, text), "-");
}

static void text_that_is_no_address(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", ":", ":80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4: 1", "1.2.3.4:1 ",
        " 1.2.3.4:1", "1.2.3:1", "1.2.3.4.5:1", "256.1.1.1:1", "1.2.3.04:1", "01.2.3.4:1", "1..3.4:1", "0x1.2.3.4:1",
        "1.2.3.4:080", "1.2.3.4:1x", "localhost:80", "::1:80", "[::1]", "[::1]80", "[::1]:", "[::1:80", "[]:80", "[:]:80",
        "[:::]:80", "[1:::2]:1", "[1::2::3]:1", "[1:2:3:4:5:6:7]:1", "[1:2:3:4:5:6:7:8:9]:1", "[1:2:3:4:5:6:7:8::]:1",
        "[::1:2:3:4:5:6:7:8]:1", "[12345::]:1", "[g::]:1", "[1:]:1", "[:1]:1", "[1:2:3:4:5:6:7:]:1", "[::1.2.3]:1",
        "[::1.2.3.256]:1", "[1.2.3.4::]:1", "[1:2:3:4:5:6:7:1.2.3.4]:1", "[::1.2.3.4:5]:1", "[fe80::1%lo]:1",
        "[127.0.0.1]:80", "1.2.3.4:1\n", "99999999999999999999.1.1.1:1", "1.2.3.4:99999999999999999999",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct addr a = { .port = 7 };
        if (addr_parse(bad[i], &a) != CAM_EINVAL)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(a.port, 7);
    }
}

/* Random texts of an address's letters: we and inet_pton must agree, on whether and on what. */
static void agrees_with_the_c_library(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 5);
    unsigned both = 0;
    for (int round = 0; round < 200000; round++) {
        static const char letters[] = "::::::0001fa2.";
        char ip[20], text[32];
        size_t size = 2 + rng_below(&rng, 16);
        for (size_t i = 0; i < size; i++)
            ip[i] = letters[rng_below(&rng, sizeof letters - 1)];
        ip[size] = '\0';
        snprintf(text, sizeof text, "[%s]:1", ip);
        struct addr a;
        uint8_t theirs[16];
        bool ours_ok = addr_parse(text, &a) == 0, theirs_ok = inet_pton(AF_INET6, ip, theirs) == 1;
        if (ours_ok != theirs_ok)
            fail_msg("%s: %d, the C library %d", ip, ours_ok, theirs_ok);
        if (ours_ok) {
            both++;
            assert_memory_equal(a.ip, theirs, 16);
        }
    }
    assert_true(both > 500);

    for (int round = 0; round < 20000; round++) {
        struct addr a = { .family = 6, .port = 1 };
        char text[ADDR_TEXT_SIZE];
        for (int i = 0; i < 16; i += 2)
            if (rng_below(&rng, 2))
                put_be16(a.ip + i, (uint16_t)(rng_u32(&rng) >> rng_below(&rng, 16)));
        struct addr back = at(addr_text(&a, text));
        assert_memory_equal(back.ip, a.ip, 16);
        char theirs[INET6_ADDRSTRLEN], want[ADDR_TEXT_SIZE];
        inet_ntop(AF_INET6, a.ip, theirs, sizeof theirs);
        if (!strchr(theirs, '.')) { /* the obsolete ::1.2.3.4 form is the library's own */
            snprintf(want, sizeof want, "[%s]:1", theirs);
            assert_string_equal(text, want);
        }
    }
}

static void compact(void **state)
{
    (void)state;
    uint8_t raw[ADDR_COMPACT_MAX];
    struct addr a = at("1.2.3.4:258"), back;
    assert_int_equal(addr_compact(&a, raw), 6);
    assert_memory_equal(raw, "\x01\x02\x03\x04\x01\x02", 6);
    assert_int_equal(addr_from_compact(raw, 6, &back), 0);
    assert_true(addr_equal(&a, &back));
    a = at("[2001:db8::9]:65535");
    assert_int_equal(addr_compact(&a, raw), 18);
    assert_int_equal(addr_from_compact(raw, 18, &back), 0);
    assert_true(addr_equal(&a, &back));
    assert_memory_equal(&a.ip, &back.ip, 16);
    for (size_t size = 0; size <= 18; size++)
        assert_int_equal(addr_from_compact(raw, size, &back), size == 6 || size == 18 ? 0 : CAM_EFORMAT);
    struct addr none = { .family = 0 };
    assert_int_equal(addr_compact(&none, raw), 0);
}

static void equality(void **state)
{
    (void)state;
    struct addr a = at("1.2.3.4:5"), b = at("1.2.3.4:6"), c = at("1.2.3.5:5"), six = at("[102:304::]:5");
    struct addr none = { .family = 0 }, other_none = { .family = 0, .port = 3 };
    assert_true(addr_equal(&a, &a));
    assert_false(addr_equal(&a, &b));
    assert_true(addr_same_ip(&a, &b));
    assert_false(addr_same_ip(&a, &c));
    assert_false(addr_same_ip(&a, &six));
    assert_false(addr_equal(&a, &none));
    assert_true(addr_equal(&none, &other_none));
    assert_int_equal(addr_ip_size(&a), 4);
    assert_int_equal(addr_ip_size(&six), 16);
}

static void kinds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool local, any, usable;
    } rows[] = {
        { "127.0.0.1:1", true, false, true },        { "127.255.0.9:1", true, false, true },
        { "10.0.0.1:1", true, false, true },         { "11.0.0.1:1", false, false, true },
        { "172.15.0.1:1", false, false, true },      { "172.16.0.1:1", true, false, true },
        { "172.31.255.255:1", true, false, true },   { "172.32.0.1:1", false, false, true },
        { "192.168.3.4:1", true, false, true },      { "192.169.0.1:1", false, false, true },
        { "169.254.1.1:1", true, false, true },      { "8.8.8.8:53", false, false, true },
        { "8.8.8.8:0", false, false, false },        { "0.0.0.0:1", false, true, false },
        { "0.1.2.3:1", false, false, false },        { "223.255.255.255:1", false, false, true },
        { "224.0.0.1:1", false, false, false },      { "255.255.255.255:1", false, false, false },
        { "[::]:1", false, true, false },            { "[::1]:1", true, false, true },
        { "[::2]:1", false, false, true },           { "[fe80::1]:1", true, false, true },
        { "[febf::1]:1", true, false, true },        { "[fec0::1]:1", false, false, true },
        { "[fc00::1]:1", true, false, true },        { "[fdff::1]:1", true, false, true },
        { "[2001:db8::1]:1", false, false, true },   { "[ff02::1]:1", false, false, false },
        { "[::ffff:8.8.8.8]:1", false, false, false }, { "[2001:db8::1]:0", false, false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct addr a = at(rows[i].text);
        if (addr_is_local(&a) != rows[i].local || addr_is_any(&a) != rows[i].any ||
            addr_is_usable(&a) != rows[i].usable)
            fail_msg("%s: local %d, any %d, usable %d", rows[i].text, addr_is_local(&a), addr_is_any(&a),
                     addr_is_usable(&a));
    }
    struct addr none = { .family = 0, .port = 1 };
    assert_false(addr_is_local(&none));
    assert_false(addr_is_any(&none));
    assert_false(addr_is_usable(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_round_trip),
        cmocka_unit_test(text_that_is_no_address),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(compact),
        cmocka_unit_test(equality),
        cmocka_unit_test(kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
