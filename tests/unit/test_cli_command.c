/* The command line: what is understood, what is refused, and that every table is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/menu.h"
#include "core/err.h"

static struct cli_args args;
static char why[CLI_WHY_MAX];

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static int parse(const char *const argv[])
{
    int argc = 0;
    while (argv[argc])
        argc++;
    why[0] = '\0';
    return command_parse(argc, argv, &args, why);
}

static void test_plain_command(void **state)
{
    (void)state;
    assert_int_equal(PARSE("whoami"), 0);
    assert_string_equal(args.command->name, "whoami");
    assert_int_equal(args.arg_count, 0);
    assert_int_equal(args.passphrase_fd, -1);
}

static void test_nothing_is_the_menu(void **state)
{
    (void)state;
    assert_int_equal(command_parse(0, NULL, &args, why), 0);
    assert_null(args.command);
    assert_int_equal(PARSE("--home", "/tmp/x"), 0);
    assert_null(args.command);
    assert_string_equal(args.home, "/tmp/x");
    assert_int_equal(PARSE("--listen", "127.0.0.1:1"), CAM_EUSAGE);
}

static void test_flags_before_and_behind(void **state)
{
    (void)state;
    assert_int_equal(PARSE("--home", "h", "timeline", "-n", "5", "--json", "--unread"), 0);
    assert_true(args.json && args.unread && !args.plain && !args.follow);
    assert_int_equal(args.n, 5);
    assert_int_equal(PARSE("timeline", "-n7", "--home=h2", "--before=12"), 0);
    assert_int_equal(args.n, 7);
    assert_string_equal(args.home, "h2");
    assert_string_equal(args.before, "12");
}

static void test_wait(void **state)
{
    (void)state;
    assert_int_equal(PARSE("post", "hi"), 0);
    assert_false(args.wait);
    assert_int_equal(PARSE("post", "hi", "--wait"), 0);
    assert_true(args.wait && args.wait_s == 10);
    assert_int_equal(PARSE("post", "--wait=3", "hi"), 0);
    assert_int_equal(args.wait_s, 3);
    assert_string_equal(args.arg[0], "hi");
    assert_int_equal(PARSE("post", "--wait=", "hi"), CAM_EUSAGE);
    assert_int_equal(PARSE("post", "--wait=0", "hi"), CAM_EUSAGE);
    assert_int_equal(PARSE("post", "--wait=3601", "hi"), CAM_EUSAGE);
}

static void test_dashes(void **state)
{
    (void)state;
    assert_int_equal(PARSE("post", "-"), 0);
    assert_string_equal(args.arg[0], "-");
    assert_int_equal(PARSE("post", "-text"), CAM_EUSAGE);
    assert_non_null(strstr(why, "--")); /* says how it is done */
    assert_int_equal(PARSE("post", "--", "-text"), 0);
    assert_string_equal(args.arg[0], "-text");
    assert_int_equal(PARSE("post", "--", "--json"), 0);
    assert_false(args.json);
}

static void test_joins(void **state)
{
    (void)state;
    assert_int_equal(
        PARSE("register", "ana", "--join", "a.example:1", "--join", "[::1]:2", "--listen", "127.0.0.1:0"), 0);
    assert_int_equal(args.join_count, 2);
    assert_string_equal(args.join[1], "[::1]:2");
    const char *argv[2 * (CONF_JOIN_MAX + 1) + 1];
    int argc = 0;
    argv[argc++] = "node";
    for (int i = 0; i <= CONF_JOIN_MAX; i++)
        argv[argc++] = "--join", argv[argc++] = "h:1";
    assert_int_equal(command_parse(argc, argv, &args, why), CAM_EUSAGE);
    assert_int_equal(args.join_count, CONF_JOIN_MAX);
    assert_int_equal(command_parse(argc - 2, argv, &args, why), 0);
}

static void test_two_words(void **state)
{
    (void)state;
    assert_int_equal(PARSE("dht", "get", "00"), 0);
    assert_int_equal(PARSE("dht", "find", "00", "--trace"), 0);
    assert_true(args.trace);
    assert_int_equal(PARSE("dht", "get", "00", "--trace"), CAM_EUSAGE);
    assert_int_equal(PARSE("dht", "get", "00"), 0);
    assert_false(args.trace);
    assert_string_equal(args.command->name, "dht get");
    assert_int_equal(args.arg_count, 1);
    assert_string_equal(args.arg[0], "00");
    assert_int_equal(PARSE("dht", "get", "00", "--salt", "s"), 0);
    assert_string_equal(args.salt, "s");
    assert_int_equal(PARSE("dht", "peers", "00"), 0);
    assert_int_equal(PARSE("dht", "peers"), CAM_EUSAGE);
    assert_int_equal(PARSE("dht", "peers", "00", "--port", "1"), CAM_EUSAGE);
    assert_int_equal(PARSE("dht", "announce", "00"), 0);
    assert_int_equal(args.port, 0);
    assert_int_equal(PARSE("dht", "announce", "00", "--port=65535"), 0);
    assert_int_equal(args.port, 65535);
    assert_int_equal(PARSE("dht", "announce", "00", "--port", "65536"), CAM_EUSAGE);
    assert_int_equal(PARSE("dht", "announce", "00", "--port", "0"), CAM_EUSAGE);
    assert_int_equal(PARSE("dht"), CAM_EUSAGE);
    assert_int_equal(PARSE("dht", "steal", "x"), CAM_EUSAGE);
    assert_int_equal(PARSE("help", "dht", "get"), 0);
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(PARSE("frobnicate"), CAM_EUSAGE);
    assert_int_equal(PARSE("timelin"), CAM_EUSAGE);
    assert_non_null(strstr(why, "do you mean timeline"));
    assert_int_equal(PARSE(""), CAM_EUSAGE);
    assert_int_equal(PARSE("post", "hi", "--nope"), CAM_EUSAGE);
    assert_int_equal(PARSE("post", "hi", "--"), 0);
    assert_int_equal(PARSE("whoami", "--nope=1"), CAM_EUSAGE);
    assert_int_equal(PARSE("whoami", "-x"), CAM_EUSAGE);
    assert_int_equal(PARSE("whoami", "--json=yes"), CAM_EUSAGE);
    assert_int_equal(PARSE("whoami", "--home"), CAM_EUSAGE);
    assert_int_equal(PARSE("whoami", "-n", "3"), CAM_EUSAGE); /* a flag of another command */
    assert_non_null(strstr(why, "whoami"));
    assert_int_equal(PARSE("--json", "--plain", "whoami"), CAM_EUSAGE);
    assert_int_equal(PARSE("register"), CAM_EUSAGE);
    assert_int_equal(PARSE("register", "a", "b"), CAM_EUSAGE);
    assert_int_equal(PARSE("register", "a", "b", "c", "d", "e", "f", "g"), CAM_EUSAGE);
    assert_int_equal(PARSE("node", "--listen", "nonsense"), CAM_EUSAGE);
    assert_int_equal(PARSE("node", "--listen", "127.0.0.1:65536"), CAM_EUSAGE);
    assert_int_equal(PARSE("node", "--join", ""), CAM_EUSAGE);
    assert_int_equal(PARSE("login", "--passphrase-fd", "x"), CAM_EUSAGE);
    assert_int_equal(PARSE("login", "--passphrase-fd", "-1"), CAM_EUSAGE);
    assert_int_equal(PARSE("login", "--passphrase-fd", "3", "--passphrase-file", "f"), CAM_EUSAGE);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(PARSE("timeline", "-n", "10000"), 0);
    static const char *const bad[] = {
        "0", "10001", "-1", "+1", " 1", "1 ", "1x", "", "99999999999999999999", "0x10"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(PARSE("timeline", "-n", bad[i]), CAM_EUSAGE);
}

/* Whatever is wrong first, a --json anywhere decides how it is said. */
static void test_json_is_seen_behind_an_error(void **state)
{
    (void)state;
    assert_int_equal(PARSE("post", "--nope", "--json"), CAM_EUSAGE);
    assert_true(args.json);
    assert_int_equal(PARSE("frobnicate", "--json"), CAM_EUSAGE);
    assert_true(args.json);
}

static void test_a_long_word_fits_the_message(void **state)
{
    (void)state;
    static char word[20000];
    memset(word, 'x', sizeof word - 1);
    assert_int_equal(PARSE(word), CAM_EUSAGE);
    assert_true(strlen(why) < 400);
    word[0] = '-';
    assert_int_equal(PARSE("post", word), CAM_EUSAGE);
    assert_true(strlen(why) < 400);
}

static void test_every_command_is_whole(void **state)
{
    (void)state;
    int count = 0;
    for (const struct command *c = commands; c->name; c++, count++) {
        assert_true(*c->name && c->args && c->help && *c->help && c->run);
        assert_true(c->min_args <= c->max_args && c->max_args <= CLI_ARGS_MAX);
        assert_ptr_equal(command_find(c->name), c); /* no name twice */
        assert_true(c->max_args > 0 || !strstr(c->args, "WHO"));
        static const struct { const char *flag; uint32_t option;
        } shown[] = {
            { "--listen", OPT_LISTEN }, { "--join", OPT_JOIN },     { "--passphrase-file", OPT_PASSPHRASE },
            { "-n N", OPT_N },          { "--before", OPT_BEFORE }, { "--unread", OPT_UNREAD },
            { "--follow", OPT_FOLLOW }, { "--wait", OPT_WAIT },     { "--private", OPT_PRIVATE },
            { "--salt", OPT_SALT },
        };
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) /* help shows what the parser takes */
            assert_int_equal(!!strstr(c->args, shown[i].flag), !!(c->options & shown[i].option));
    }
    assert_true(count >= 20);
}

static void test_every_menu_item_is_whole(void **state)
{
    (void)state;
    const struct menu_item *menus[] = { menu_first, menu_main };
    assert_int_equal(menu_count(menu_first), 3);
    assert_int_equal(menu_count(menu_main), 7);
    for (size_t m = 0; m < 2; m++)
        for (const struct menu_item *item = menus[m]; item->label; item++) {
            assert_true(item->hint && *item->hint);
            if (!item->command)
                continue;
            const struct command *c = command_find(item->command);
            assert_non_null(c);
            size_t open = 0, secret = 0;
            for (size_t i = 0; i < MENU_QUESTIONS_MAX && item->questions[i].label; i++)
                item->questions[i].secret ? secret++ : open++;
            assert_true(open >= c->min_args && open <= c->max_args);
            assert_true(!secret || c->options & OPT_PASSPHRASE);
        }
}

static void test_help(void **state)
{
    (void)state;
    char *out, *err;
    size_t out_size, err_size;
    struct cli cli = { .may_prompt = false };
    FILE *out_file = open_memstream(&out, &out_size), *err_file = open_memstream(&err, &err_size);
    view_init(&cli.view, VIEW_PEOPLE, out_file, err_file);
    for (const struct command *c = commands; c->name; c++) {
        assert_int_equal(PARSE("help", c->name), 0);
        assert_int_equal(command_run(&cli, &args), 0);
        fflush(out_file);
        assert_non_null(strstr(out, c->help));
    }
    assert_int_equal(PARSE("help"), 0);
    assert_int_equal(command_run(&cli, &args), 0);
    assert_int_equal(PARSE("help", "dht"), 0);
    assert_int_equal(command_run(&cli, &args), 0);
    assert_int_equal(PARSE("help", "nothing"), 0);
    assert_int_equal(command_run(&cli, &args), 64);
    fclose(out_file);
    fclose(err_file);
    free(out);
    free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_command),
        cmocka_unit_test(test_nothing_is_the_menu),
        cmocka_unit_test(test_flags_before_and_behind),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_dashes),
        cmocka_unit_test(test_joins),
        cmocka_unit_test(test_two_words),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_json_is_seen_behind_an_error),
        cmocka_unit_test(test_a_long_word_fits_the_message),
        cmocka_unit_test(test_every_command_is_whole),
        cmocka_unit_test(test_every_menu_item_is_whole),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
