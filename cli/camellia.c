/* camellia: the commands and the menu. See cli/command.h for the table, cli/menu.h for the menu. */
#include <langinfo.h>
#include <locale.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/menu.h"
#include "cli/version.h"
#include "core/err.h"

/* Text is UTF-8 here whatever the locale says; a locale without it only decides how wide it is drawn. */
static void set_locale(void)
{
    if (!setlocale(LC_ALL, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

/* What was printed must have arrived: a full disk behind stdout is an error too. */
static int flush_output(int status)
{
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (!lost || status)
        return status;
    fputs("camellia: cannot write the output: is the disk full?\n", stderr);
    return err_status(CAM_EIO);
}

int main(int argc, char *argv[])
{
    struct cli cli = { .may_prompt = false };
    struct cli_args args;
    char why[CLI_WHY_MAX];
    int status;

    set_locale();
    io_api_wipe_json();
    int err = command_parse(argc - 1, (const char *const *)argv + 1, &args, why);
    view_init(&cli.view, args.json ? VIEW_JSON : args.plain ? VIEW_PLAIN : VIEW_PEOPLE, stdout, stderr);
    cli.view.quiet = args.quiet;
    cli.view.verbose = args.verbose;
    bool on_terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    cli.may_prompt = on_terminal && !args.json;
    cli_interrupt_mode(false);
    if (err) {
        status = view_error(&cli.view, err, why);
    } else if (sodium_init() < 0) {
        status = view_error(&cli.view, CAM_ESYS, "libsodium did not start");
    } else if (args.version) {
        printf("camellia %s\n", CAMELLIA_VERSION);
        status = 0;
    } else if (args.help) {
        struct cli_args help = { .command = command_find("help") };
        if (args.command)
            help.arg[help.arg_count++] = args.command->name;
        status = command_run(&cli, &help);
    } else if (args.command) {
        status = command_run(&cli, &args);
    } else if (on_terminal && isatty(STDOUT_FILENO) && !args.json) {
        status = menu_run(&args);
    } else {
        status = view_error(&cli.view, CAM_EUSAGE,
                            "no command: camellia help lists them (the menu needs a terminal)");
    }
    view_clear(&cli.view);
    return flush_output(status);
}
