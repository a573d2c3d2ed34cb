/* The command table. A new command is a row here, a handler in one of the command_*.c files, and a verb of
 * the node's API (cli/api.h) when the node has to do something new for it. */
#include "cli/command.h"

#define LISTEN_JOIN "[--listen HOST:PORT] [--join HOST:PORT]..."
#define PASSPHRASE "[--passphrase-file F | --passphrase-fd N]"
#define WHO_HELP "WHO is a name, a name with its tag (ana#k7q4m2xz) or a full id."
#define NETWORK_HELP \
    "Of the network: table, nodes that answer and spares for them; holds, what is kept here for\n" \
    "others; lookups, how many found what they looked for and how fast; in and out, messages by\n" \
    "kind; dropped, datagrams not looked at; denied, records not stored. -v names what never came\n" \
    "too; camellia(1) explains each reason."

const struct command commands[] = {
    { .name = "register", .args = "NAME " LISTEN_JOIN " " PASSPHRASE, .help = "make a user in this home",
      .more = "Makes a key, seals it with a passphrase, starts the node and claims NAME: 1-32 characters of\n"
              "a-z 0-9 _ -, starting with a letter. Ends with 73 when the name is taken, with 75 when no\n"
              "peer could be reached: the key is made then, and the node claims the name later.",
      .run = run_register, .min_args = 1, .max_args = 1, .options = OPT_LISTEN | OPT_JOIN | OPT_PASSPHRASE,
      .kind = VIEW_ACCOUNT, .lone_answer = true },
    { .name = "login", .args = "[NAME] " LISTEN_JOIN " " PASSPHRASE,
      .help = "unlock your key, start the node",
      .more = "Starts the node in the background unless it runs, hands it the key, fetches what you missed.",
      .run = run_login, .max_args = 1, .options = OPT_LISTEN | OPT_JOIN | OPT_PASSPHRASE,
      .kind = VIEW_ACCOUNT, .lone_answer = true },
    { .name = "logout", .args = "", .help = "forget the key, end the node", .run = run_logout,
      .lone_answer = true },
    { .name = "whoami", .args = "", .help = "who this home's user is", .run = run_whoami,
      .kind = VIEW_ACCOUNT, .lone_answer = true },
    { .name = "node", .args = LISTEN_JOIN, .help = "run the node here until Ctrl-C",
      .more = "With or without a user: a node without one is a plain peer that others can join through.",
      .run = run_node, .options = OPT_LISTEN | OPT_JOIN },
    { .name = "post", .args = "[TEXT | -] [--wait[=SECONDS]]", .help = "write a post",
      .more = "- reads the text from standard input. When it returns, the post is on disk and the node goes\n"
              "on delivering it; --wait stays until every follower has it, and ends with 75 when some\n"
              "lack it.",
      .run = run_post, .max_args = 1, .options = OPT_WAIT, .kind = VIEW_POSTED, .lone_answer = true },
    { .name = "timeline", .args = "[-n N] [--before ID] [--unread] [--follow]", .help = "posts, newest first",
      .more = "--before ID goes on where a page ended; --follow stays and shows new posts until Ctrl-C. A\n"
              "post marked fork contradicts another: its author's key signed both under one number, which\n"
              "happens when the key is in use at two places.",
      .empty = "nothing here yet: camellia follow WHO, camellia suggest",
      .run = run_timeline, .options = OPT_N | OPT_BEFORE | OPT_UNREAD | OPT_FOLLOW, .kind = VIEW_POST },
    { .name = "follow", .args = "[--private] WHO", .help = "get somebody's posts", .more = WHO_HELP,
      .run = run_follow, .min_args = 1, .max_args = 1, .options = OPT_PRIVATE, .kind = VIEW_FOLLOW,
      .lone_answer = true },
    { .name = "unfollow", .args = "WHO", .help = "get them no more", .more = WHO_HELP,
      .run = run_unfollow, .min_args = 1, .max_args = 1, .kind = VIEW_FOLLOW, .lone_answer = true },
    { .name = "followers", .args = "[WHO]", .help = "who follows you, or them", .more = WHO_HELP,
      .empty = "no followers", .run = run_followers, .max_args = 1, .kind = VIEW_USER },
    { .name = "following", .args = "[WHO]", .help = "whom you follow, or they", .more = WHO_HELP,
      .empty = "nobody followed", .run = run_following, .max_args = 1, .kind = VIEW_USER },
    { .name = "profile", .args = "[WHO]", .help = "posts, followers and freshness of somebody",
      .more = WHO_HELP, .run = run_profile, .max_args = 1, .kind = VIEW_PROFILE, .lone_answer = true },
    { .name = "suggest", .args = "[-n N]", .help = "people you may want to follow, and why",
      .empty = "no suggestions yet: they come from the people you follow", .run = run_suggest,
      .options = OPT_N, .kind = VIEW_SUGGEST },
    { .name = "status", .args = "", .help = "how the node is",
      .more = NETWORK_HELP,
      .run = run_status, .kind = VIEW_STATUS, .lone_answer = true },
    { .name = "peers", .args = "", .help = "the nodes this one knows",
      .more = "A line each: id, address, round trip, and when it was last heard. " NETWORK_HELP,
      .empty = "no peers: camellia status", .run = run_peers, .kind = VIEW_PEER },
    { .name = "outbox", .args = "", .help = "posts that some followers do not have yet",
      .empty = "everything was received", .run = run_outbox, .kind = VIEW_OUTBOX },
    { .name = "dht ping", .args = "HOST:PORT", .help = "is a node there?", .run = run_dht_ping, .min_args = 1,
      .max_args = 1, .kind = VIEW_DHT_PING, .lone_answer = true },
    { .name = "dht find", .args = "ID [--trace]", .help = "the nodes closest to an id (40 hex digits)",
      .more = "--trace shows the way there: each answer in its turn, how many bits closer to ID its sender\n"
              "is than all before it (this node itself comes first), and how many new nodes it named.",
      .run = run_dht_find, .min_args = 1, .max_args = 1, .options = OPT_TRACE, .kind = VIEW_DHT_FIND },
    { .name = "dht get", .args = "TARGET | ID [--salt S]", .help = "the value stored at a target",
      .more = "ID, of a user, or a key as 64 hex digits: what its owner stored, under the salt if one is\n"
              "given. A value with a salt proves itself only to who knows the salt, so TARGET alone does\n"
              "not find it.",
      .run = run_dht_get, .min_args = 1, .max_args = 1, .options = OPT_SALT, .kind = VIEW_DHT_GET,
      .lone_answer = true },
    { .name = "dht put", .args = "VALUE [--salt S]", .help = "store a value; with --salt under your key",
      .run = run_dht_put, .min_args = 1, .max_args = 1, .options = OPT_SALT, .kind = VIEW_DHT_PUT,
      .lone_answer = true },
    { .name = "dht peers", .args = "HASH", .help = "who announced an info-hash (40 hex digits)",
      .more = "The addresses that nodes name; nothing vouches for them.",
      .empty = "nobody has announced it", .run = run_dht_peers, .min_args = 1, .max_args = 1,
      .kind = VIEW_DHT_PEER },
    { .name = "dht announce", .args = "HASH [--port N]", .help = "announce this machine under an info-hash",
      .more = "At its address as others see it, with the node's own port unless one is given. It is\n"
              "forgotten after half an hour.",
      .run = run_dht_announce, .min_args = 1, .max_args = 1, .options = OPT_PORT, .kind = VIEW_DHT_ANNOUNCE,
      .lone_answer = true },
    { .name = "help", .args = "[COMMAND]", .help = "this list, or more about one of them", .run = run_help,
      .max_args = 2 },
    { .name = NULL },
};
