/* Whom one follows, and who they are. */
#include <string.h>

#include "cli/command.h"
#include "core/err.h"
#include "core/identity.h"

/* A request about WHO, or about oneself when none is given. */
static int call_who(struct cli *cli, const struct cli_args *args, const char *verb)
{
    struct who who;
    json_t *request = json_pack("{s:s}", "do", verb);
    if (args->arg_count) {
        if (who_parse(args->arg[0], &who)) {
            json_decref(request);
            return view_error(&cli->view, CAM_EINVAL,
                              "that names nobody: a name (a-z 0-9 _ -, at most 32), a name with "
                              "its tag (ana#k7q4m2xz) or an id of 52 characters");
        }
        json_object_set_new(request, "who", json_string(args->arg[0]));
    }
    if (args->private_follow)
        json_object_set_new(request, "private", json_true());
    return cli_call(cli, args, request, CLI_ANSWER_MS);
}

int run_follow(struct cli *cli, const struct cli_args *args) { return call_who(cli, args, "follow"); }
int run_unfollow(struct cli *cli, const struct cli_args *args) { return call_who(cli, args, "unfollow"); }
int run_followers(struct cli *cli, const struct cli_args *args) { return call_who(cli, args, "followers"); }
int run_following(struct cli *cli, const struct cli_args *args) { return call_who(cli, args, "following"); }
int run_profile(struct cli *cli, const struct cli_args *args) { return call_who(cli, args, "profile"); }

int run_suggest(struct cli *cli, const struct cli_args *args)
{
    json_t *request = json_pack("{s:s}", "do", "suggest");
    if (args->n)
        json_object_set_new(request, "n", json_integer(args->n));
    return cli_call(cli, args, request, CLI_ANSWER_MS);
}
