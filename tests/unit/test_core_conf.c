/* config.ini: the sample is the defaults, every key does what it says, every wrong line is named. */
#include "core/conf.h"
#include "core/err.h"
#include "core/rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct conf parsed(const char *text)
{
    struct conf conf;
    char why[CONF_ERROR_SIZE] = "";
    int err = conf_parse(text, strlen(text), &conf, why);
    if (err)
        fail_msg("%s", why);
    return conf;
}

static void refused(const char *text, const char *want)
{
    struct conf conf, before;
    char why[CONF_ERROR_SIZE] = "";
    memset(&conf, 0x5a, sizeof conf);
    memcpy(&before, &conf, sizeof conf);
    assert_int_equal(conf_parse(text, strlen(text), &conf, why), CAM_ECONF);
    assert_string_equal(why, want);
    assert_memory_equal(&conf, &before, sizeof conf);
}

static char *slurp(const char *path, size_t *ret_size)
{
    char *text = malloc(CONF_SIZE_MAX);
    FILE *f = fopen(path, "rb");
    assert_non_null(text);
    if (!f)
        fail_msg("%s: run me from the top of the source tree", path);
    *ret_size = fread(text, 1, CONF_SIZE_MAX, f);
    fclose(f);
    return text;
}

static void test_sample_is_defaults(void **state)
{
    (void)state;
    size_t size;
    char why[CONF_ERROR_SIZE] = "", *text = slurp("etc/config.ini", &size);
    struct conf defaults, sample;
    conf_defaults(&defaults);
    if (conf_parse(text, size, &sample, why))
        fail_msg("%s", why);
    assert_true(conf_equal(&sample, &defaults));
    assert_true(conf_equal(&(struct conf){ 0 }, &defaults) == false);
    assert_int_equal(defaults.lifespan_s, 30 * 86400);

    /* Every key that can be listed stands in it, with its default, once. */
    const char *section, *key;
    int count = 0;
    for (; conf_key(count, &section, &key); count++) {
        char value[256], line[512], head[64];
        snprintf(head, sizeof head, "[%s]", section);
        assert_non_null(strstr(text, head));
        assert_int_equal(conf_get(&defaults, section, key, value, sizeof value), 0);
        snprintf(line, sizeof line, "\n%s =%s%s\n", key, *value ? " " : "", value);
        text[size] = 0;
        if (!strstr(strstr(text, head), line))
            fail_msg("etc/config.ini lacks%s", line);
    }
    assert_int_equal(count, 24);
    free(text);
}

static void test_empty(void **state)
{
    (void)state;
    struct conf defaults;
    conf_defaults(&defaults);
    const char *const nothing[] = { "", "\n", "\r\n\r\n", "# only\n; comments", "  # indented\n\t; too\n", "   \n\t\n",
                                    "[DEFAULT]\n[LOG]", "\xef\xbb\xbf[DEFAULT]\n", "\xef\xbb\xbf" };
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        struct conf conf = parsed(nothing[i]);
        assert_true(conf_equal(&conf, &defaults));
        assert_int_equal(conf.note_count, 0);
    }
}

static void test_every_key(void **state)
{
    (void)state;
    struct conf c = parsed("[DEFAULT]\r\nnetwork = gar den \xc3\xa4; not a comment\r\nIp: 127.0.0.1\nPort=8003\n"
                           "IP6 = ::1 ; a comment\n[BOOTSTRAP]\nJOIN = 10.0.0.1:8000, node.example:7\nJOIN=[::1]:9 [2001:db8::1]:10\n"
                           "RESCUE = off\nRESCUE_AFTER=3\nrescue join = router.example:1 127.0.0.1:2\nRESCUE_JOIN=[::1]:3\n[message_lifespan]\nYEARS=1\nMONTHS=2\nWEEKS=3\nDAYS=4\nHOURS=5\nMINUTES=6\n"
                           "SECONDS=7\n[SNTP]\nSERVER = time.example\nSERVER = 127.0.0.1:1123 ::1\n[KADEMLIA]\nK=8\nALPHA=3\n"
                           "READ_ONLY=yes\n[KEY]\nCOST=Interactive\n[STORE]\nMAX_MEGABYTES=5000\n[LOG]\nLEVEL=DEBUG");
    assert_string_equal(c.network, "gar den \xc3\xa4; not a comment");
    struct addr want;
    assert_int_equal(addr_parse("127.0.0.1:8003", &want), 0);
    assert_true(addr_equal(&c.listen, &want));
    assert_int_equal(addr_parse("[::1]:8003", &want), 0);
    assert_true(addr_equal(&c.listen6, &want));
    assert_int_equal(c.join_count, 4);
    assert_string_equal(c.join[0].host, "10.0.0.1");
    assert_int_equal(c.join[0].port, 8000);
    assert_string_equal(c.join[1].host, "node.example");
    assert_string_equal(c.join[2].host, "::1");
    assert_int_equal(c.join[2].port, 9);
    assert_string_equal(c.join[3].host, "2001:db8::1");
    assert_false(c.rescue);
    assert_int_equal(c.rescue_after_s, 3);
    assert_int_equal(c.rescue_join_count, 3);
    assert_string_equal(c.rescue_join[0].host, "router.example");
    assert_int_equal(c.rescue_join[2].port, 3);
    assert_int_equal(c.lifespan_s, ((((365 + 60 + 21 + 4) * 24 + 5) * 60) + 6) * 60 + 7);
    assert_int_equal(c.sntp_count, 3);
    assert_string_equal(c.sntp[0].host, "time.example");
    assert_int_equal(c.sntp[0].port, 123);
    assert_int_equal(c.sntp[1].port, 1123);
    assert_string_equal(c.sntp[2].host, "::1");
    assert_int_equal(c.k, 8);
    assert_int_equal(c.alpha, 3);
    assert_true(c.read_only);
    assert_int_equal(c.key_cost, KEYFILE_INTERACTIVE);
    assert_true(c.store_max_bytes == UINT64_C(5000) << 20);
    assert_int_equal(c.log_level, LOG_DEBUG);
    assert_int_equal(c.note_count, 0);
    assert_string_equal(parsed("[DEFAULT]\nNETWORK =\n").network, "");
}

/* A config.ini as the original has it. */
static void test_original(void **state)
{
    (void)state;
    struct conf c = parsed("[DEFAULT]\nIP = 127.0.0.1\nPORT = 8003\nLISTENING IP = 127.0.0.1\nLISTENING_PORT = 7000\n\n"
                           "[BOOTSTRAP]\nIP = 127.0.0.1\nPORT = 8000\n\n[MESSAGE_LIFESPAN]\nACTIVE = 1\nYEARS = 0\nMONTHS = 0\n"
                           "DAYS = 0\nHOURS = 0\nMINUTES = 3\nSECONDS = 0\n");
    assert_int_equal(c.lifespan_s, 180);
    assert_int_equal(c.join_count, 1);
    assert_string_equal(c.join[0].host, "127.0.0.1");
    assert_int_equal(c.join[0].port, 8000);
    assert_int_equal(c.listen.port, 8003);
    assert_int_equal(c.note_count, 2);
    assert_string_equal(c.notes[0],
                        "config.ini line 4: [DEFAULT] LISTENING_IP is not used: posts arrive where IP and PORT say");
    c = parsed("[BOOTSTRAP]\nIP = ::1\nJOIN = a:1\n");
    assert_int_equal(c.join_count, 2);
    assert_string_equal(c.join[1].host, "::1");
    assert_int_equal(c.join[1].port, CONF_BOOTSTRAP_PORT);
}

static void test_lifespan(void **state)
{
    (void)state;
    assert_int_equal(parsed("[MESSAGE_LIFESPAN]\nSECONDS = 5\n").lifespan_s, 5);
    assert_int_equal(parsed("[MESSAGE_LIFESPAN]\nSECONDS = 5\nDAYS = 1").lifespan_s, 86405);
    assert_int_equal(parsed("[MESSAGE_LIFESPAN]\nACTIVE = 0\n").lifespan_s, 0);
    assert_int_equal(parsed("[MESSAGE_LIFESPAN]\nACTIVE = no\nSECONDS=5\n").lifespan_s, 0);
    assert_int_equal(parsed("[MESSAGE_LIFESPAN]\nACTIVE = 0\nSECONDS=0\n").lifespan_s, 0);
    assert_int_equal(parsed("[MESSAGE_LIFESPAN]\nACTIVE = 1\n").lifespan_s, 30 * 86400);
    assert_true(parsed("[MESSAGE_LIFESPAN]\nYEARS = 100\n").lifespan_s == UINT32_C(3153600000));
    refused("[MESSAGE_LIFESPAN]\nACTIVE = 1\nSECONDS = 0\n",
            "config.ini line 3: [MESSAGE_LIFESPAN] is zero in all; to keep everything say ACTIVE = 0");
    refused("[MESSAGE_LIFESPAN]\nYEARS = 100\nMONTHS = 1200\n\n",
            "config.ini line 3: [MESSAGE_LIFESPAN] is over 136 years in all; to keep everything say ACTIVE = 0");
}

static void test_sntp(void **state)
{
    (void)state;
    assert_int_equal(parsed("[SNTP]\nACTIVE = 0\n").sntp_count, 0);
    assert_int_equal(parsed("[SNTP]\nACTIVE = 0\nSERVER = a\n").sntp_count, 0);
    assert_int_equal(parsed("[SNTP]\nSERVER = a b c d e f g h\n").sntp_count, 8);
    refused("[SNTP]\nSERVER = a b c d e f g\nSERVER = h i",
            "config.ini line 3: [SNTP] SERVER = i: one more than the 8 there can be");
    refused("[SNTP]\nSERVER = ok, a..b:1\n", "config.ini line 2: [SNTP] SERVER = a..b:1: not HOST or HOST:PORT");
}

static void test_wrong_values(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } cases[] = {
        { "[MESSAGE_LIFESPAN]\nDAYS = x\n", "2: [MESSAGE_LIFESPAN] DAYS = x: not a number from 0 to 36500" },
        { "[MESSAGE_LIFESPAN]\nDAYS = 36501\n", "2: [MESSAGE_LIFESPAN] DAYS = 36501: not a number from 0 to 36500" },
        { "[MESSAGE_LIFESPAN]\nDAYS = -1\n", "2: [MESSAGE_LIFESPAN] DAYS = -1: not a number from 0 to 36500" },
        { "[MESSAGE_LIFESPAN]\nDAYS =\n", "2: [MESSAGE_LIFESPAN] DAYS = : not a number from 0 to 36500" },
        { "[MESSAGE_LIFESPAN]\nDAYS = 1 # one\n", "2: [MESSAGE_LIFESPAN] DAYS = 1 # one: not a number from 0 to 36500" },
        { "[MESSAGE_LIFESPAN]\nSECONDS = 99999999999\n",
          "2: [MESSAGE_LIFESPAN] SECONDS = 99999999999: not a number from 0 to 3153600000" },
        { "[MESSAGE_LIFESPAN]\nACTIVE = maybe\n",
          "2: [MESSAGE_LIFESPAN] ACTIVE = maybe: not one of 0, 1, no, yes, false, true, off, on" },
        { "[DEFAULT]\nPORT = 65536\n", "2: [DEFAULT] PORT = 65536: not a number from 0 to 65535" },
        { "[DEFAULT]\nIP = 1.2.3\n", "2: [DEFAULT] IP = 1.2.3: not a numeric IP address" },
        { "[DEFAULT]\nIP = localhost\n", "2: [DEFAULT] IP = localhost: not a numeric IP address" },
        { "[DEFAULT]\nIP =\n", "2: [DEFAULT] IP = : not a numeric IP address" },
        { "[DEFAULT]\nIP6 = 127.0.0.1\n", "2: [DEFAULT] IP6 = 127.0.0.1: not a numeric IPv6 address" },
        { "[DEFAULT]\nNETWORK = 12345678901234567890123456789012345678901234567890123456789012345\n",
          "2: [DEFAULT] NETWORK = 123456789012345678901234567890123456789012345678...: too long" },
        { "[DEFAULT]\nLISTENING PORT = x\n", "2: [DEFAULT] LISTENING_PORT = x: not a number from 0 to 65535" },
        { "[BOOTSTRAP]\nJOIN = a:1, b\n", "2: [BOOTSTRAP] JOIN = b: not HOST:PORT" },
        { "[BOOTSTRAP]\nJOIN = a:0\n", "2: [BOOTSTRAP] JOIN = a:0: not HOST:PORT" },
        { "[BOOTSTRAP]\nIP = a:8000\n", "2: [BOOTSTRAP] IP = a:8000: not a host name or an address (the port goes into PORT)" },
        { "[BOOTSTRAP]\nPORT = 8000\n", "2: [BOOTSTRAP] PORT without IP" },
        { "[KADEMLIA]\nK = 0\n", "2: [KADEMLIA] K = 0: not a number from 1 to 32" },
        { "[KEY]\nCOST = low\n", "2: [KEY] COST = low: not one of interactive, moderate" },
        { "[LOG]\nLEVEL = loud\n", "2: [LOG] LEVEL = loud: not one of error, warn, info, debug" },
        { "[LOG]\nLEVEL = \xe2\x80\xae\xc3\xa4\n", "2: [LOG] LEVEL = ?????: not one of error, warn, info, debug" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[CONF_ERROR_SIZE];
        snprintf(want, sizeof want, "config.ini line %s", cases[i].want);
        refused(cases[i].text, want);
    }
}

static void test_wrong_lines(void **state)
{
    (void)state;
    refused("PORT = 1\n", "config.ini line 1: PORT stands before any [SECTION]");
    refused("[DEFAULT]\n\n# x\nPROT = 1\n",
            "config.ini line 4: [DEFAULT] has no key PROT; it has NETWORK, IP, PORT, IP6, LISTENING_IP, LISTENING_PORT");
    refused("[LOG]\nPORT = 1\n", "config.ini line 2: [LOG] has no key PORT; it has LEVEL");
    refused("[LOGS]\n", "config.ini line 1: there is no section [LOGS]; there are DEFAULT, BOOTSTRAP, MESSAGE_LIFESPAN, SNTP, "
            "KADEMLIA, KEY, STORE, LOG");
    refused("[]\n", "config.ini line 1: there is no section []; there are DEFAULT, BOOTSTRAP, MESSAGE_LIFESPAN, SNTP, "
            "KADEMLIA, KEY, STORE, LOG");
    refused("[LOG\nLEVEL=info\n", "config.ini line 1: neither [SECTION] nor KEY = VALUE nor a comment");
    refused("[LOG] LEVEL = debug\n", "config.ini line 1: something stands behind [LOG]");
    refused("[LOG]\nLEVEL\nPROT = 1\n", "config.ini line 2: neither [SECTION] nor KEY = VALUE nor a comment");
    refused("[LOG]\nPROT = 1\nLEVEL\n", "config.ini line 2: [LOG] has no key PROT; it has LEVEL");
    refused("[LOG]\nLEVEL = info\n[DEFAULT]\n[log]\nlevel = info\n", "config.ini line 5: [LOG] LEVEL was given before, in line 2");
    refused("[LOG]\nLEVEL = info\n warn\n",
            "config.ini line 3: \"warn\" is indented; a key begins at the margin and a value ends with its line");
    refused("[LOG]\n\tLEVEL = info\n",
            "config.ini line 2: \"LEVEL = info\" is indented; a key begins at the margin and a value ends with its line");
}

static void test_bytes(void **state)
{
    (void)state;
    struct conf conf;
    char why[CONF_ERROR_SIZE];
    assert_int_equal(conf_parse("[LOG]\nLEVEL = info\0\n", 20, &conf, why), CAM_ECONF);
    assert_string_equal(why, "config.ini line 2: a control byte (0x00)");
    refused("[LOG]\n\n# \x1b[31m\n", "config.ini line 3: a control byte (0x1b)");
    refused("[LOG]\n# \x7f\n", "config.ini line 2: a control byte (0x7f)");
    refused("[LOG]\nLEVEL = info\rLEVEL = warn\n", "config.ini line 2: a control byte (0x0d)");
    refused("[LOG]\r", "config.ini line 1: a control byte (0x0d)");
    refused("# \xff\n", "config.ini line 1: not valid UTF-8");
    refused("[LOG]\n# \xed\xa0\x80\n", "config.ini line 2: not valid UTF-8");
    refused("[LOG]\n# \xc3", "config.ini line 2: not valid UTF-8");

    char *big = malloc(CONF_SIZE_MAX + 1);
    assert_non_null(big);
    memset(big, '\n', CONF_SIZE_MAX + 1);
    assert_int_equal(conf_parse(big, CONF_SIZE_MAX, &conf, why), 0);
    assert_int_equal(conf_parse(big, CONF_SIZE_MAX + 1, &conf, why), CAM_ETOOBIG);
    assert_string_equal(why, "config.ini: larger than 65536 bytes");
    free(big);
}

/* At the length where libinih would begin to cut. */
static void test_long_lines(void **state)
{
    (void)state;
    char line[400], want[CONF_ERROR_SIZE];
    for (int ends = 0; ends < 3; ends++) {
        for (int size = 150; size < 300; size++) {
            snprintf(line, sizeof line, "%-*s", size, "LEVEL = debug ;");
            for (int i = 15; i < size; i++)
                line[i] = 'x';
            char text[500];
            snprintf(text, sizeof text, "[LOG]\n%s%s[DEFAULT]\nPORT = 7\n", line, ends == 0 ? "\n" : "\r\n");
            if (size <= CONF_LINE_MAX) {
                struct conf conf = parsed(text);
                assert_int_equal(conf.log_level, LOG_DEBUG);
                assert_int_equal(conf.listen.port, 7);
            } else {
                snprintf(want, sizeof want, "config.ini line 2: longer than %d bytes", CONF_LINE_MAX);
                refused(text, want);
            }
        }
    }
    /* A value that fills its line arrives whole. */
    snprintf(line, sizeof line, "[BOOTSTRAP]\nJOIN=");
    size_t used = strlen(line);
    memset(line + used, 'h', CONF_LINE_MAX - 5);
    memcpy(line + used + CONF_LINE_MAX - 5 - 4, ":123", 5);
    struct conf conf = parsed(line);
    assert_int_equal(strlen(conf.join[0].host), CONF_LINE_MAX - 5 - 4);
    assert_int_equal(conf.join[0].port, 123);
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const good[] = { "a:1", "node.example:65535", "127.0.0.1:8000", "[::1]:8000", "xn--a_b-c.d.:9", "1a:1" };
    static const char *const bad[] = { "", ":", "a", "a:", "a:0", "a:65536", "a:x", "a:-1", "a:1:2", "a :1", "a.b..c:1", ".a:1",
        "[::1]", "[::1]:", "[::1]x:1", "[::1", "[a]:1", "[]:1", "::1", "1.2.3:1", "256.1.1.1:1", "a/b:1", "\xc3\xa4:1",
        "a:000001", "%eth0:1", "127.0.0.1:8000 " };
    struct conf_host host;
    char text[256];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (conf_host_parse(good[i], 0, &host))
            fail_msg("%s", good[i]);
        assert_int_equal(conf_host_text(&host, text, sizeof text), 0);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (conf_host_parse(bad[i], 0, &host) != CAM_EINVAL)
            fail_msg("%s", bad[i]);
    assert_int_equal(conf_host_parse("::1", 123, &host), 0);
    assert_string_equal(host.host, "::1");
    assert_int_equal(host.port, 123);
    assert_int_equal(conf_host_parse("[::1]", 123, &host), 0);
    assert_int_equal(conf_host_parse("a", 123, &host), 0);
    assert_int_equal(host.port, 123);
    assert_int_equal(conf_host_text(&host, text, 5), CAM_ENOSPC);
    memset(text, 'a', sizeof text);
    text[CONF_HOST_MAX] = 0;
    assert_int_equal(conf_host_parse(text, 1, &host), 0);
    text[CONF_HOST_MAX] = 'a', text[CONF_HOST_MAX + 1] = 0;
    assert_int_equal(conf_host_parse(text, 1, &host), CAM_EINVAL);
}

/* What conf_get says of a conf, put into a file, is that conf again. */
static void test_get_round_trip(void **state)
{
    (void)state;
    struct conf c = parsed("[DEFAULT]\nNETWORK=n\nIP=::\nPORT=1\nIP6=2001:db8::5\n[BOOTSTRAP]\nIP=h\nPORT=2\nJOIN=[::1]:4 a:3\nRESCUE=0\nRESCUE_AFTER=7\nRESCUE_JOIN=r:1\n"
                           "[MESSAGE_LIFESPAN]\nSECONDS=100000\n[SNTP]\nSERVER=x:9,::1\n[KADEMLIA]\nK=9\nALPHA=2\nREAD_ONLY=1\n"
                           "[KEY]\nCOST=interactive\n[STORE]\nMAX_MEGABYTES=3\n[LOG]\nLEVEL=warn\n");
    struct bytes_out out;
    char file[4096], value[512];
    out = bytes_out(file, sizeof file);
    const char *section, *key;
    for (int i = 0; conf_key(i, &section, &key); i++) {
        assert_int_equal(conf_get(&c, section, key, value, sizeof value), 0);
        char line[1024];
        snprintf(line, sizeof line, "[%s]\n%s = %s\n", section, key, value);
        bytes_put(&out, line, strlen(line));
    }
    bytes_put_u8(&out, 0);
    assert_int_equal(out.err, 0);
    struct conf again = parsed(file);
    assert_true(conf_equal(&again, &c));

    assert_int_equal(conf_get(&c, "default", "ip6", value, sizeof value), 0);
    assert_string_equal(value, "2001:db8::5");
    assert_int_equal(conf_get(&c, "BOOTSTRAP", "JOIN", value, sizeof value), 0);
    assert_string_equal(value, "[::1]:4, a:3, h:2");
    assert_int_equal(conf_get(&c, "MESSAGE_LIFESPAN", "HOURS", value, sizeof value), 0);
    assert_string_equal(value, "3");
    assert_int_equal(conf_get(&c, "BOOTSTRAP", "JOIN", value, 17), CAM_ENOSPC);
    assert_int_equal(conf_get(&c, "BOOTSTRAP", "IP", value, sizeof value), CAM_ENOENT);
    assert_int_equal(conf_get(&c, "DEFAULT", "NOPE", value, sizeof value), CAM_ENOENT);
}

/* Half of the sample with bytes changed at random: never a crash, and an error is always a whole line. */
static void test_mutations(void **state)
{
    (void)state;
    struct rng_seeded seeded;
    struct rng rng = rng_seeded(&seeded, 3);
    size_t size;
    char *sample = slurp("etc/config.ini", &size), why[CONF_ERROR_SIZE];
    for (int i = 0; i < 3000; i++) {
        char *text = malloc(size);
        assert_non_null(text);
        memcpy(text, sample, size);
        for (uint32_t n = rng_below(&rng, 4) + 1; n; n--)
            text[rng_below(&rng, (uint32_t)size)] = (char)rng_u32(&rng);
        struct conf conf;
        size_t cut = rng_below(&rng, (uint32_t)size + 1);
        char *exact = malloc(cut + 1);
        assert_non_null(exact);
        memcpy(exact, text, cut);
        char *shrunk = realloc(exact, cut ? cut : 1); /* so that reading one byte too far is seen */
        memset(why, 0, sizeof why);
        int err = conf_parse(shrunk, cut, &conf, why);
        assert_true(err == 0 || err == CAM_ECONF);
        if (err)
            assert_true(strncmp(why, "config.ini line ", 16) == 0 && strlen(why) < CONF_ERROR_SIZE);
        for (size_t j = 0; why[j]; j++)
            assert_true(why[j] >= 0x20 && why[j] < 0x7f);
        free(shrunk);
        free(text);
    }
    free(sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_is_defaults),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_original),
        cmocka_unit_test(test_lifespan),
        cmocka_unit_test(test_sntp),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_get_round_trip),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
