/* The operating system's edge on real files and processes: io_os, io_home, io_proc. */
#include "core/io_os.h"
#include "core/err.h"
#include "core/io_home.h"
#include "core/io_proc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/camellia-test-XXXXXX";

static char *in_dir(const char *name) /* a ring of four, enough for one statement */
{
    static char paths[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", dir, name);
    return paths[next];
}

static void put_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    fchmod(fd, mode);
    close(fd);
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static int setup(void **state)
{
    (void)state;
    unsetenv("XDG_RUNTIME_DIR");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void test_clocks_and_rng(void **state)
{
    (void)state;
    struct now a = io_os_now();
    uint64_t us = io_os_mono_us(), ns = io_os_wall_ns();
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    struct now b = io_os_now();
    assert_in_range(b.mono_ms - a.mono_ms, 19, 2000);
    assert_true(us / 1000 >= a.mono_ms && us / 1000 <= b.mono_ms);
    assert_true(ns / 1000000 >= a.wall_ms && ns / 1000000 <= b.wall_ms + 1);
    assert_true(a.wall_ms > UINT64_C(1577836800000));

    struct rng rng = io_os_rng();
    uint8_t x[64] = { 0 }, y[64] = { 0 };
    rng_fill(&rng, x, sizeof x);
    rng_fill(&rng, y, sizeof y);
    assert_memory_not_equal(x, y, sizeof x);
}

static void test_read(void **state)
{
    (void)state;
    uint8_t *data = NULL;
    size_t size = 99;
    assert_int_equal(io_os_read(in_dir("none"), 10, &data, &size), CAM_ENOFILE);
    assert_int_equal(io_os_read(in_dir("none/below"), 10, &data, &size), CAM_ENOFILE);
    assert_int_equal(io_os_read(dir, 10, &data, &size), CAM_EIO);
    put_file(in_dir("ten"), "0123456789", 0600);
    assert_int_equal(io_os_read(in_dir("ten/x"), 10, &data, &size), CAM_ENOFILE);
    assert_int_equal(io_os_read(in_dir("ten"), 9, &data, &size), CAM_ETOOBIG);
    assert_null(data);
    assert_int_equal(size, 99);
    assert_int_equal(io_os_read(in_dir("ten"), 10, &data, &size), 0);
    assert_int_equal(size, 10);
    assert_string_equal((char *)data, "0123456789"); /* a NUL stands behind */
    free(data);
    put_file(in_dir("empty"), "", 0600);
    assert_int_equal(io_os_read(in_dir("empty"), 0, &data, &size), 0);
    assert_int_equal(size, 0);
    free(data);
    for (size_t want = 4094; want <= 4098; want++) { /* around the first allocation */
        char *text = calloc(1, want + 1);
        assert_non_null(text);
        memset(text, 'x', want);
        put_file(in_dir("big"), text, 0600);
        assert_int_equal(io_os_read(in_dir("big"), 1 << 20, &data, &size), 0);
        assert_int_equal(size, want);
        free(data);
        assert_int_equal(io_os_read(in_dir("big"), want - 1, &data, &size), CAM_ETOOBIG);
        free(text);
    }
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_int_equal(io_os_read(in_dir("fifo"), 10, &data, &size), 0); /* nobody writes: empty, no waiting */
    free(data);
    if (geteuid() != 0) {
        put_file(in_dir("closed"), "x", 0);
        assert_int_equal(io_os_read(in_dir("closed"), 10, &data, &size), CAM_EIO);
    }
}

static void test_write_atomic(void **state)
{
    (void)state;
    struct stat st;
    uint8_t *data;
    size_t size;
    assert_int_equal(mkdir(in_dir("w"), 0700), 0);
    mode_t mask = umask(077);
    assert_int_equal(io_os_write_atomic(in_dir("w/f"), "one", 3, 0644), 0);
    umask(mask);
    assert_int_equal(stat(in_dir("w/f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(io_os_write_atomic(in_dir("w/f"), "second", 6, 0600), 0);
    assert_int_equal(stat(in_dir("w/f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(count_entries(in_dir("w")), 1);

    /* The disk is full in the middle: the old file stands, nothing is left behind. */
    struct rlimit before, full;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    full = before;
    full.rlim_cur = 1000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    char big[4000];
    memset(big, 'x', sizeof big);
    int err = io_os_write_atomic(in_dir("w/f"), big, sizeof big, 0600);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(err, CAM_EIO);
    assert_int_equal(count_entries(in_dir("w")), 1);
    assert_int_equal(io_os_read(in_dir("w/f"), 100, &data, &size), 0);
    assert_string_equal((char *)data, "second");
    free(data);

    assert_int_equal(io_os_write_atomic(in_dir("none/f"), "x", 1, 0600), CAM_EIO);
    assert_int_equal(mkdir(in_dir("w/d"), 0700), 0);
    assert_int_equal(io_os_write_atomic(in_dir("w/d"), "x", 1, 0600), CAM_EIO); /* a directory is in the way */
    assert_int_equal(count_entries(in_dir("w")), 2);
    /* A bare name lands in the current directory. */
    char cwd[512];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(in_dir("w")), 0);
    assert_int_equal(io_os_write_atomic("bare", "x", 1, 0600), 0);
    assert_int_equal(chdir(cwd), 0);
    assert_true(io_os_exists(in_dir("w/bare")));
}

static void test_mkdir(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(io_os_mkdir(in_dir("a/b//c/")), 0);
    assert_int_equal(stat(in_dir("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(in_dir("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(io_os_mkdir(in_dir("a/b/c")), 0);
    assert_int_equal(io_os_mkdir("/"), 0);
    put_file(in_dir("a/file"), "", 0600);
    assert_int_equal(io_os_mkdir(in_dir("a/file")), CAM_EIO);
    assert_int_equal(io_os_mkdir(in_dir("a/file/x")), CAM_EIO);
    assert_int_equal(io_os_mkdir(""), CAM_EIO);

    assert_int_equal(io_os_mkdir_private(in_dir("p")), 0);
    assert_int_equal(io_os_mkdir_private(in_dir("p")), 0);
    chmod(in_dir("p"), 0750);
    assert_int_equal(io_os_mkdir_private(in_dir("p")), CAM_EIO);
    chmod(in_dir("p"), 0700);
    assert_int_equal(symlink(in_dir("p"), in_dir("link")), 0);
    assert_int_equal(io_os_mkdir_private(in_dir("link")), CAM_EIO);
    assert_int_equal(io_os_mkdir_private(in_dir("a/file")), CAM_EIO);

    put_file(in_dir("key"), "x", 0600);
    assert_int_equal(io_os_check_private(in_dir("key")), 0);
    chmod(in_dir("key"), 0640);
    assert_int_equal(io_os_check_private(in_dir("key")), CAM_EIO);
    assert_int_equal(io_os_check_private(in_dir("no key")), CAM_ENOFILE);
    assert_int_equal(io_os_check_private(in_dir("p")), CAM_EIO);
}

static void test_lock(void **state)
{
    (void)state;
    int fd = -1, second = -1, ends[2];
    pid_t pid = -1;
    char byte;
    const char *path = in_dir("lock");
    char file[512];
    snprintf(file, sizeof file, "%s", path);
    assert_int_equal(io_os_lock_holder(file, &pid), CAM_ENOENT);
    assert_int_equal(io_os_lock(file, &fd), 0);
    assert_int_equal(io_os_lock_holder(file, &pid), 0);
    assert_int_equal(pid, getpid());
    assert_int_equal(io_os_lock(file, &second), CAM_EAGAIN);
    assert_int_equal(second, -1);
    io_os_unlock(fd);
    assert_int_equal(io_os_lock_holder(file, &pid), CAM_ENOENT);
    io_os_unlock(-1);

    /* A process that is killed lets go of it. */
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        int held;
        if (io_os_lock(file, &held) == 0 && write(ends[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(io_os_lock_holder(file, &pid), 0);
    assert_int_equal(pid, child);
    assert_int_equal(io_os_lock(file, &fd), CAM_EAGAIN);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(io_os_lock_holder(file, &pid), CAM_ENOENT);
    assert_int_equal(io_os_lock(file, &fd), 0);
    io_os_unlock(fd);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(io_os_lock(in_dir("none/lock"), &fd), CAM_EIO);
}

static void test_log_file(void **state)
{
    (void)state;
    struct io_os_log file;
    struct stat st;
    assert_int_equal(io_os_log_open(&file, in_dir("none/x.log")), CAM_EIO);
    assert_int_equal(io_os_log_open(&file, in_dir("x.log")), 0);
    struct log log = { LOG_INFO, io_os_log_sink, &file };
    log_write(&log, LOG_INFO, 0, "test", "one");
    uint8_t *data;
    size_t size;
    assert_int_equal(io_os_read(in_dir("x.log"), 1000, &data, &size), 0);
    assert_string_equal((char *)data, "1970-01-01T00:00:00.000Z info test: one\n");
    free(data);
    char text[900];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (uint64_t written = 0; written < IO_OS_LOG_BYTES + 5000; written += sizeof text)
        log_write(&log, LOG_INFO, 0, "test", "%s", text);
    io_os_log_close(&file);
    assert_int_equal(stat(in_dir("x.log.1"), &st), 0);
    assert_in_range(st.st_size, IO_OS_LOG_BYTES - 2000, IO_OS_LOG_BYTES);
    assert_int_equal(stat(in_dir("x.log"), &st), 0);
    assert_in_range(st.st_size, 1, IO_OS_LOG_BYTES / 2);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* It goes on where it was. */
    assert_int_equal(io_os_log_open(&file, in_dir("x.log")), 0);
    assert_true(file.size == (uint64_t)st.st_size);
    io_os_log_close(&file);
    io_os_log_close(&file);
}

/* Homes */

static void check_socket(const struct io_home *home)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct stat st;
    assert_true(strlen(home->socket) <= IO_HOME_SOCKET_MAX);
    assert_int_equal(io_home_make(home), 0);
    assert_int_equal(io_home_make(home), 0);
    assert_int_equal(stat(home->run, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    memcpy(un.sun_path, home->socket, strlen(home->socket) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
    unlink(home->socket);
}

static void test_home(void **state)
{
    (void)state;
    struct io_home home, again;
    char want[600], cwd[512];
    assert_int_equal(io_home_paths(in_dir("h1/ana/"), &home), 0);
    snprintf(want, sizeof want, "%s/h1/ana/user.key", dir);
    assert_string_equal(home.key, want);
    snprintf(want, sizeof want, "%s/h1/ana/run/node.sock", dir);
    assert_string_equal(home.socket, want);
    assert_false(io_os_exists(in_dir("h1"))); /* computing touches nothing */
    check_socket(&home);

    /* However it is spelled, it is the same home. */
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(symlink(in_dir("h1"), in_dir("h1link")), 0);
    assert_int_equal(io_home_paths(in_dir("h1link/../h1/ana"), &again), 0);
    assert_string_equal(again.dir, home.dir);
    assert_int_equal(chdir(in_dir("h1")), 0);
    int err = io_home_paths("ana", &again);
    int err_dot = io_home_paths(".", &home);
    assert_int_equal(chdir(cwd), 0);
    assert_int_equal(err, 0);
    assert_int_equal(err_dot, 0);
    assert_memory_equal(again.lock + strlen(again.dir), "/lock", 6);
    snprintf(want, sizeof want, "%s/h1", dir);
    assert_string_equal(home.dir, want);

    assert_int_equal(io_home_paths("/", &home), 0);
    assert_string_equal(home.dir, "/");
    assert_int_equal(io_home_paths("/no such place at all/deep", &home), 0);
    assert_string_equal(home.dir, "/no such place at all/deep");
    assert_int_equal(io_home_paths("", &home), CAM_EINVAL);
    char *long_path = malloc(3000);
    assert_non_null(long_path);
    memset(long_path, 'x', 2999);
    long_path[2999] = 0;
    assert_int_equal(io_home_paths(long_path, &home), CAM_EINVAL);
    long_path[IO_HOME_PATH_SIZE - 4] = 0;
    long_path[0] = '/';
    assert_int_equal(io_home_paths(long_path, &home), CAM_EINVAL);
    free(long_path);

    /* Others may look into run: refused, not used. */
    assert_int_equal(io_home_paths(in_dir("h2"), &home), 0);
    assert_int_equal(io_os_mkdir(home.run), 0);
    chmod(home.run, 0755);
    assert_int_equal(io_home_make(&home), CAM_EIO);
}

static void test_home_long(void **state)
{
    (void)state;
    struct io_home home, other;
    char name[200], deep[600];
    memset(name, 'd', sizeof name - 1);
    name[sizeof name - 1] = 0;
    snprintf(deep, sizeof deep, "%s/%s", dir, name);
    assert_int_equal(io_home_paths(deep, &home), 0);
    assert_true(strlen(home.run_base) > 0);
    check_socket(&home);
    rmdir(home.run);
    snprintf(deep, sizeof deep, "%s/%s2", dir, name);
    assert_int_equal(io_home_paths(deep, &other), 0);
    assert_string_not_equal(home.socket, other.socket);

    /* $XDG_RUNTIME_DIR where it is ours, and not where others can write to it. */
    assert_int_equal(mkdir(in_dir("rt"), 0700), 0);
    setenv("XDG_RUNTIME_DIR", in_dir("rt"), 1);
    assert_int_equal(io_home_paths(deep, &home), 0);
    assert_memory_equal(home.socket, in_dir("rt/camellia/"), strlen(in_dir("rt/camellia/")));
    check_socket(&home);
    assert_int_equal(io_home_paths(in_dir("short"), &other), 0); /* does not depend on the environment */
    assert_memory_equal(other.socket, in_dir("short/run/"), strlen(in_dir("short/run/")));
    chmod(in_dir("rt"), 0770);
    assert_int_equal(io_home_paths(deep, &other), 0);
    assert_string_not_equal(other.socket, home.socket);
    unsetenv("XDG_RUNTIME_DIR");
    /* Somebody was there first with a link in the place of the shared parent. */
    assert_int_equal(symlink(dir, in_dir("planted")), 0);
    snprintf(home.run_base, sizeof home.run_base, "%s", in_dir("planted"));
    assert_int_equal(io_home_make(&home), CAM_EIO);
}

static void test_home_xdg(void **state)
{
    (void)state;
    struct io_home home;
    char want[600], *old = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    setenv("HOME", in_dir("person"), 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_STATE_HOME");
    setenv("XDG_DATA_HOME", "not/absolute", 1);
    assert_int_equal(io_home_paths(NULL, &home), 0);
    snprintf(want, sizeof want, "%s/person/.local/share/camellia/store.db", dir);
    assert_string_equal(home.store, want);
    snprintf(want, sizeof want, "%s/person/.config/camellia/config.ini", dir);
    assert_string_equal(home.config, want);
    snprintf(want, sizeof want, "%s/person/.local/state/camellia/camellia.log", dir);
    assert_string_equal(home.log, want);
    check_socket(&home);
    assert_true(io_os_exists(in_dir("person/.config/camellia")));
    assert_true(io_os_exists(in_dir("person/.local/state/camellia")));
    setenv("XDG_DATA_HOME", in_dir("data"), 1);
    setenv("XDG_CONFIG_HOME", in_dir("conf"), 1);
    assert_int_equal(io_home_paths(NULL, &home), 0);
    snprintf(want, sizeof want, "%s/data/camellia/lock", dir);
    assert_string_equal(home.lock, want);
    snprintf(want, sizeof want, "%s/conf/camellia/config.ini", dir);
    assert_string_equal(home.config, want);
    unsetenv("HOME");
    assert_int_equal(io_home_paths(NULL, &home), CAM_EINVAL); /* no place for the log */
    unsetenv("XDG_DATA_HOME");
    unsetenv("XDG_CONFIG_HOME");
    if (old)
        setenv("HOME", old, 1);
    free(old);
}

/* Processes */

static int spawn(const char *script, uint64_t timeout_ms, pid_t *pid, char text[IO_PROC_TEXT_SIZE])
{
    const char *argv[] = { "/bin/sh", "-c", script, NULL };
    return io_proc_spawn(argv, in_dir("node.log"), timeout_ms, pid, text);
}

static void end_process(pid_t pid)
{
    kill(pid, SIGTERM);
    assert_int_equal(io_proc_wait_gone(pid, 5000), 0);
}

static void test_spawn(void **state)
{
    (void)state;
    char text[IO_PROC_TEXT_SIZE], want[64];
    pid_t pid = -1, died;
    uint8_t *log;
    size_t size;
    int leak = open("/dev/null", O_RDONLY); /* must not be inherited */
    int at_nine = dup2(leak, 9);
    assert_int_equal(spawn("echo to-log; echo to-err >&2; "
                           "for f in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$f ] && printf \"$f \"; done; "
                           "read line; echo \"[$line]\"; "
                           "echo '0 127.0.0.1:8000' >&3; exec 3>&-; exec sleep 60", 5000, &pid, text), 0);
    assert_string_equal(text, "127.0.0.1:8000");
    assert_true(io_proc_alive(pid));
    assert_true(getsid(pid) != getsid(0));
    assert_true(waitpid(pid, NULL, WNOHANG) < 0 && errno == ECHILD); /* not ours to wait for */
    assert_int_equal(io_os_read(in_dir("node.log"), 1000, &log, &size), 0);
    if (strcmp((char *)log, "to-log\nto-err\n0 1 2 3 []\n") != 0)
        fail_msg("log: %s", (char *)log);
    free(log);
    assert_int_equal(io_proc_wait_gone(pid, 20), CAM_ETIMEOUT);
    end_process(pid);
    assert_false(io_proc_alive(pid));
    close(leak);
    close(at_nine);

    /* It says what is wrong; it dies in silence; it cannot be run; it takes too long. */
    died = -1;
    snprintf(want, sizeof want, "echo '%d port 8000 is taken by another program' >&3", CAM_ESYS);
    assert_int_equal(spawn(want, 5000, &died, text), CAM_ESYS);
    assert_string_equal(text, "port 8000 is taken by another program");
    assert_int_equal(spawn("exit 3", 5000, &died, text), CAM_ESYS);
    assert_non_null(strstr(text, "ended before it was ready"));
    assert_non_null(strstr(text, "node.log"));
    const char *missing[] = { "/nonexistent/camelliad", NULL };
    assert_int_equal(io_proc_spawn(missing, in_dir("node.log"), 5000, &died, text), CAM_ESYS);
    assert_string_equal(text, "cannot run /nonexistent/camelliad: No such file or directory");
    const char *argv[] = { "/bin/true", NULL };
    assert_int_equal(io_proc_spawn(argv, in_dir("none/log"), 5000, &died, text), CAM_EIO);
    assert_int_equal(died, -1);
    uint64_t before = io_os_now().mono_ms;
    assert_int_equal(spawn("exec sleep 60", 200, &died, text), CAM_ETIMEOUT);
    assert_in_range(io_os_now().mono_ms - before, 200, 3000);
    const char *number = strstr(text, "(process ");
    assert_non_null(number);
    died = (pid_t)atoi(number + 9);
    assert_true(io_proc_alive(died));
    end_process(died);
}

/* The child's side, and many words in one. */
static void test_ready(void **state)
{
    (void)state;
    int ends[2];
    char got[IO_PROC_TEXT_SIZE + 8] = "", *big = malloc(2000);
    assert_non_null(big);
    assert_int_equal(pipe(ends), 0);
    io_proc_ready(ends[1], CAM_ECONF, "config.ini line 3:\nwrong");
    assert_true(read(ends[0], got, sizeof got - 1) > 0);
    assert_string_equal(got, "-18 config.ini line 3: wrong\n");
    assert_int_equal(read(ends[0], got, 1), 0); /* and it is closed */
    close(ends[0]);

    memset(big, 'y', 1999);
    big[1999] = 0;
    assert_int_equal(pipe(ends), 0);
    io_proc_ready(ends[1], 0, big);
    memset(got, 0, sizeof got);
    assert_int_equal(read(ends[0], got, sizeof got), IO_PROC_TEXT_SIZE);
    assert_int_equal(got[IO_PROC_TEXT_SIZE - 1], '\n');
    close(ends[0]);

    assert_int_equal(pipe(ends), 0); /* nobody listens any more: no SIGPIPE */
    close(ends[0]);
    io_proc_ready(ends[1], 0, "too late");
    free(big);
}

static void test_alive(void **state)
{
    (void)state;
    assert_true(io_proc_alive(getpid()));
    assert_true(io_proc_alive(1));
    assert_false(io_proc_alive(0));
    assert_false(io_proc_alive(-1));
    pid_t zombie = fork();
    if (zombie == 0)
        _exit(0);
    for (int i = 0; i < 500 && io_proc_alive(zombie); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    assert_false(io_proc_alive(zombie));
    assert_int_equal(kill(zombie, 0), 0); /* the kernel still knows it */
    waitpid(zombie, NULL, 0);

    char path[600];
    const char *self = strrchr(program_invocation_name, '/');
    assert_int_equal(io_proc_beside(self ? self + 1 : program_invocation_name, path, sizeof path), 0);
    assert_true(io_os_exists(path));
    assert_int_equal(io_proc_beside("no-such-program", path, sizeof path), CAM_ENOFILE);
    assert_int_equal(io_proc_beside("x", path, 2), CAM_ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks_and_rng),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_write_atomic),
        cmocka_unit_test(test_mkdir),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_log_file),
        cmocka_unit_test(test_home),
        cmocka_unit_test(test_home_long),
        cmocka_unit_test(test_home_xdg),
        cmocka_unit_test(test_spawn),
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_alive),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
