/* camelliad: the node. One process for a home; everything of a person's is in the home, nothing on the
 * terminal. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/io_api.h"
#include "cli/io_node.h"
#include "cli/version.h"
#include "core/err.h"
#include "core/io_os.h"
#include "core/io_proc.h"

#define RESTARTS_MAX 5        /* after failures of the disk, before it gives up ... */
#define RESTARTS_FORGET_MS 600000 /* ... but a node that ran this long begins to count anew */
#define RESTART_WAIT_S 1
#define FILES_WANTED 65536    /* descriptors: two a link, and those who connect, until they are turned away */

struct options {
    const char *home, *config, *listen;
    struct conf_host join[CONF_JOIN_MAX];
    int join_count;
    int ready_fd;   /* -1: in the foreground */
    int restarts;
    bool background, verbose;
};

static const char usage[] =
    "camelliad [--home DIR] [--config FILE] [--listen HOST:PORT] [--join HOST:PORT]... [--ready-fd FD] [-v]\n"
    "\n"
    "The Camellia node. `camellia login` starts it in the background, `camellia node` in the foreground.\n"
    "\n"
    "  --home DIR          where config, keys and posts lie (otherwise the XDG folders)\n"
    "  --config FILE       another config.ini\n"
    "  --listen HOST:PORT  an address of this machine; UDP and TCP; port 0 picks a free one\n"
    "  --join HOST:PORT    a node to enter the network by\n"
    "  --background        log to the home's file, and end with `camellia logout`\n"
    "  --ready-fd FD       the same, and write to FD when ready\n"
    "  --foreground        log to stderr, and stay after `camellia logout`: the default\n"
    "  -v                  log more\n";

enum {
    OPT_HOME = 256,
    OPT_CONFIG,
    OPT_LISTEN,
    OPT_JOIN,
    OPT_READY_FD,
    OPT_FOREGROUND,
    OPT_BACKGROUND,
    OPT_RESTARTS,
    OPT_VERSION
};

static const struct option long_options[] = {
    { "home", required_argument, NULL, OPT_HOME },
    { "config", required_argument, NULL, OPT_CONFIG },
    { "listen", required_argument, NULL, OPT_LISTEN },
    { "join", required_argument, NULL, OPT_JOIN },
    { "ready-fd", required_argument, NULL, OPT_READY_FD },
    { "foreground", no_argument, NULL, OPT_FOREGROUND },
    { "background", no_argument, NULL, OPT_BACKGROUND },
    { "restarts", required_argument, NULL, OPT_RESTARTS },
    { "verbose", no_argument, NULL, 'v' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 },
};

static int number(const char *text, int max)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    return errno || end == text || *end || v < 0 || v > max ? -1 : (int)v;
}

/* 0, CAM_EUSAGE with everything said, or 1: nothing is left to do. */
static int options_parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){ .ready_fd = -1 };
    for (int c; (c = getopt_long(argc, argv, "vh", long_options, NULL)) != -1;) {
        switch (c) {
        case OPT_HOME: o->home = optarg; break;
        case OPT_CONFIG: o->config = optarg; break;
        case OPT_LISTEN: o->listen = optarg; break;
        case OPT_FOREGROUND: o->background = false; break;
        case OPT_BACKGROUND: o->background = true; break;
        case 'v': o->verbose = true; break;
        case OPT_JOIN:
            if (o->join_count == CONF_JOIN_MAX || conf_host_parse(optarg, 0, &o->join[o->join_count])) {
                fprintf(stderr, "camelliad: --join %s: HOST:PORT, at most %d of them\n", optarg,
                        CONF_JOIN_MAX);
                return CAM_EUSAGE;
            }
            o->join_count++;
            break;
        case OPT_READY_FD:
            o->ready_fd = number(optarg, 1023);
            o->background = true;
            if (o->ready_fd >= 0)
                break;
            fprintf(stderr, "camelliad: --ready-fd %s: a descriptor\n", optarg);
            return CAM_EUSAGE;
        case OPT_RESTARTS:
            o->restarts = number(optarg, RESTARTS_MAX);
            if (o->restarts >= 0)
                break;
            return CAM_EUSAGE;
        case 'h': fputs(usage, stdout); return 1;
        case OPT_VERSION: puts("camelliad " CAMELLIA_VERSION); return 1;
        default: fputs("camelliad: --help shows what it takes\n", stderr); return CAM_EUSAGE;
        }
    }
    if (optind == argc)
        return 0;
    fprintf(stderr, "camelliad: %s: no such argument, --help shows what it takes\n", argv[optind]);
    return CAM_EUSAGE;
}

/* Keys live in this process: it leaves no core behind and nobody else attaches to it. */
static void process_harden(void)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    umask(0077);
}

static void process_resources(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_WANTED) {
        files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    mallopt(M_ARENA_MAX, 1); /* few threads that allocate little: one arena keeps the process small */
}

/* Which address: the one asked for, else the one in config.ini, else the one it had last, else the default.
 * Only an address that is a mere memory may give way to another port. */
static int listen_choose(const struct options *o, const struct io_home *home, struct conf *conf,
                         bool *ret_may_move, char why[HOME_WHY_MAX])
{
    struct conf defaults;
    struct addr last;
    bool has_last = home_address(home, &last) == 0;

    conf_defaults(&defaults);
    *ret_may_move = false;
    if (o->listen) {
        if (addr_parse(o->listen, &conf->listen)) {
            snprintf(why, HOME_WHY_MAX,
                     "--listen %.200s: an address of this machine and a port, like 0.0.0.0:8000", o->listen);
            return CAM_EUSAGE;
        }
    } else if (addr_equal(&conf->listen, &defaults.listen) && has_last) {
        conf->listen = last;
        *ret_may_move = true;
    }
    /* Port 0 is picked once: the next start returns to it. */
    if (conf->listen.port == 0 && has_last && addr_same_ip(&conf->listen, &last)) {
        conf->listen.port = last.port;
        *ret_may_move = true;
    }
    return 0;
}

struct startup {
    struct io_home home;
    struct conf conf;
    struct io_os_log file;
    struct log log;
    struct io_node_config config;
};

static int start(const struct options *o, struct startup *s, struct io_node **ret, char why[HOME_WHY_MAX])
{
    bool may_move;
    int err = home_open(o->home, &s->home, why);

    if (!err)
        err = home_config(&s->home, o->config, &s->conf, why);
    if (!err)
        err = listen_choose(o, &s->home, &s->conf, &may_move, why);
    if (err)
        return err;
    s->log = (struct log){ o->verbose ? LOG_DEBUG : s->conf.log_level, io_os_log_stderr_sink, NULL };
    if (o->background && io_os_log_open(&s->file, s->home.log) == 0) {
        s->log.sink = io_os_log_sink;
        s->log.ctx = &s->file;
    }
    for (int i = 0; i < s->conf.note_count; i++)
        log_write(&s->log, LOG_WARN, io_os_now().wall_ms, "config", "%s", s->conf.notes[i]);
    s->config = (struct io_node_config){ .home = &s->home,
                                         .conf = &s->conf,
                                         .join = o->join,
                                         .join_count = o->join_count,
                                         .may_move = may_move,
                                         .stays = !o->background,
                                         .log = &s->log };
    return io_node_open(&s->config, ret, why);
}

static void say_ready(const struct options *o, const struct startup *s, const struct io_node *n)
{
    struct addr at = io_node_address(n);
    char text[ADDR_TEXT_SIZE], line[IO_PROC_TEXT_SIZE];

    addr_text(&at, text);
    snprintf(line, sizeof line, "%s%s", text, io_node_moved(n) ? " (the port it had last is taken)" : "");
    log_write(&s->log, io_node_moved(n) ? LOG_WARN : LOG_INFO, io_os_now().wall_ms, "node",
              "ready at %s, version %s, pid %d", line, CAMELLIA_VERSION, (int)getpid());
    if (o->ready_fd >= 0) {
        io_proc_ready(o->ready_fd, 0, line);
    } else if (!o->background) {
        printf("camelliad: ready at %s\n", line);
        fflush(stdout);
    }
}

/* The same program again, with a clean view of the disk. It has said that it was ready; it cannot say so
 * twice. */
static int restart(const struct options *o, uint64_t ran_ms)
{
    int before = ran_ms > RESTARTS_FORGET_MS ? 0 : o->restarts;
    char count[16], join[CONF_JOIN_MAX][CONF_HOST_MAX + 16];
    const char *argv[16 + 2 * CONF_JOIN_MAX];
    int n = 0;

    if (before >= RESTARTS_MAX)
        return CAM_EIO;
    sleep(RESTART_WAIT_S);
    snprintf(count, sizeof count, "%d", before + 1);
    argv[n++] = "camelliad";
    argv[n++] = "--restarts";
    argv[n++] = count;
    if (o->background)
        argv[n++] = "--background";
    if (o->home) { argv[n++] = "--home"; argv[n++] = o->home; }
    if (o->config) { argv[n++] = "--config"; argv[n++] = o->config; }
    if (o->listen) { argv[n++] = "--listen"; argv[n++] = o->listen; }
    for (int i = 0; i < o->join_count; i++) {
        if (conf_host_text(&o->join[i], join[i], sizeof join[i]))
            continue;
        argv[n++] = "--join";
        argv[n++] = join[i];
    }
    if (o->verbose)
        argv[n++] = "-v";
    argv[n] = NULL;
    char *copy[16 + 2 * CONF_JOIN_MAX];
    memcpy(copy, argv, sizeof copy); /* execv's type says char *const: it changes nothing */
    execv("/proc/self/exe", copy);
    return CAM_EIO;
}

static int fail(const struct options *o, int err, const char *why)
{
    fprintf(stderr, "camelliad: %s\n", why);
    if (o->ready_fd >= 0)
        io_proc_ready(o->ready_fd, err, why);
    return err == CAM_EAGAIN ? err_status(CAM_ESYS) : err_status(err);
}

int main(int argc, char **argv)
{
    struct options o;
    struct startup s;
    struct io_node *n;
    char why[HOME_WHY_MAX] = "";

    int err = options_parse(argc, argv, &o);
    if (err)
        return err > 0 ? 0 : err_status(err);
    process_harden();
    process_resources();
    memset(&s, 0, sizeof s);
    io_api_wipe_json();
    if (sodium_init() < 0)
        return fail(&o, CAM_ESYS, "libsodium does not start");
    err = start(&o, &s, &n, why);
    if (err) {
        if (s.file.path)
            io_os_log_close(&s.file);
        return fail(&o, err, why);
    }
    say_ready(&o, &s, n);
    uint64_t began_ms = io_os_now().mono_ms;
    err = io_node_run(n);
    io_node_close(n);
    log_write(&s.log, err ? LOG_ERROR : LOG_INFO, io_os_now().wall_ms, "node",
              err ? "the store failed" : "ended");
    if (s.file.path)
        io_os_log_close(&s.file);
    return err ? err_status(restart(&o, io_os_now().mono_ms - began_ms)) : 0;
}
