#include "core/io_proc.h"
#include "core/err.h"
#include "core/io_os.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* What goes through the pipe: "PID\n" from the process that forks the child, "ERR TEXT\n" from the child. */
#define PIPE_BYTES (IO_PROC_TEXT_SIZE + 64)

static void say(int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        text += n, size -= (size_t)n;
    }
}

/* A number in decimal behind `ret`, without anything that is forbidden between fork and exec. */
static size_t decimal(char *ret, long n)
{
    char digits[24];
    size_t count = 0, size = 0;
    unsigned long rest = n < 0 ? -(unsigned long)n : (unsigned long)n;
    do
        digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0)
        ret[size++] = '-';
    while (count)
        ret[size++] = digits[--count];
    return size;
}

/* In the child's place, between fork and exec: only what is async-signal-safe, for other threads may hold
 * locks. */
static _Noreturn void become(const char *const argv[], int null_fd, int log_fd, int pipe_fd)
{
    char text[64];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    /* Out of the way of 0..3 first, so that no dup2 closes what a later one needs. */
    int in = fcntl(null_fd, F_DUPFD, 10), out = fcntl(log_fd, F_DUPFD, 10),
        ready = fcntl(pipe_fd, F_DUPFD, 10);
    if (in >= 0 && out >= 0 && ready >= 0 && dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0 &&
        dup2(ready, IO_PROC_READY_FD) >= 0 && close_range(IO_PROC_READY_FD + 1, ~0u, 0) == 0) {
        size_t size = decimal(text, getpid());
        text[size++] = '\n';
        say(IO_PROC_READY_FD, text, size);
        union { const char *const *in; char *const *out; } args = { argv };
        execve(argv[0], args.out, environ);
        int saved = errno;
        size = decimal(text, CAM_ESYS);
        text[size++] = ' ', text[size++] = '#'; /* "#ERRNO": the reader has strerror */
        size += decimal(text + size, saved);
        text[size++] = '\n';
        say(IO_PROC_READY_FD, text, size);
    }
    _exit(127);
}

/* Reads the pipe to its end or the child's line. false: time is up. */
static bool hear(int fd, uint64_t timeout_ms, char text[PIPE_BYTES])
{
    uint64_t until = io_os_now().mono_ms + timeout_ms;
    size_t size = 0;
    text[0] = 0;
    for (;;) {
        const char *first = strchr(text, '\n');
        if (first && strchr(first + 1, '\n'))
            return true;
        uint64_t now = io_os_now().mono_ms;
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        uint64_t left = until > now ? until - now : 0;
        int n = poll(&poll_fd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        ssize_t got = read(fd, text + size, PIPE_BYTES - 1 - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return true;
        size += (size_t)got;
        text[size] = 0;
    }
}

/* What was heard -> the result. */
static int understand(char *heard, bool in_time, const char *program, const char *log_path, pid_t *ret_pid,
                      char ret_text[IO_PROC_TEXT_SIZE])
{
    char *line = strchr(heard, '\n');
    pid_t pid = (pid_t)strtol(heard, NULL, 10);
    if (!in_time && line) {
        snprintf(ret_text, IO_PROC_TEXT_SIZE, "%s (process %ld) is still starting; see %s", program,
                 (long)pid, log_path);
        return CAM_ETIMEOUT;
    }
    char *end = line ? strchr(line + 1, '\n') : NULL;
    if (!end) {
        snprintf(ret_text, IO_PROC_TEXT_SIZE, "%s ended before it was ready; see %s", program, log_path);
        return CAM_ESYS;
    }
    *end = 0;
    char *text;
    int err = (int)strtol(line + 1, &text, 10);
    text += *text == ' ';
    if (*text == '#')
        snprintf(ret_text, IO_PROC_TEXT_SIZE, "cannot run %s: %s", program, strerror(atoi(text + 1)));
    else
        snprintf(ret_text, IO_PROC_TEXT_SIZE, "%s", text);
    if (!err)
        *ret_pid = pid;
    return err;
}

int io_proc_spawn(const char *const argv[], const char *log_path, uint64_t timeout_ms, pid_t *ret_pid,
                  char ret_text[IO_PROC_TEXT_SIZE])
{
    char heard[PIPE_BYTES];
    int ends[2] = { -1, -1 }, null_fd = -1, log_fd = -1, err = CAM_ESYS;
    snprintf(ret_text, IO_PROC_TEXT_SIZE, "cannot start %s: %s", argv[0], "out of descriptors or memory");
    log_fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log_fd < 0) {
        snprintf(ret_text, IO_PROC_TEXT_SIZE, "cannot write the log %s: %s", log_path, strerror(errno));
        err = CAM_EIO;
        goto out;
    }
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || pipe2(ends, O_CLOEXEC) < 0)
        goto out;
    pid_t middle = fork();
    if (middle < 0)
        goto out;
    if (middle == 0) { /* its child has no parent but init, so nobody here has to wait for it */
        setsid();
        pid_t child = fork();
        if (child == 0)
            become(argv, null_fd, log_fd, ends[1]);
        _exit(child < 0 ? 1 : 0);
    }
    while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
        ;
    close(ends[1]);
    ends[1] = -1;
    bool in_time = hear(ends[0], timeout_ms, heard);
    err = understand(heard, in_time, argv[0], log_path, ret_pid, ret_text);
out:
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    if (null_fd >= 0)
        close(null_fd);
    if (log_fd >= 0)
        close(log_fd);
    return err;
}

void io_proc_ready(int fd, int err, const char *text)
{
    char line[PIPE_BYTES];
    int size = snprintf(line, IO_PROC_TEXT_SIZE, "%d %s", err, text);
    if (size >= IO_PROC_TEXT_SIZE)
        size = IO_PROC_TEXT_SIZE - 1;
    for (int i = 0; i < size; i++)
        line[i] = line[i] == '\n' ? ' ' : line[i];
    line[size++] = '\n';
    /* Whoever waited may have given up: that must not end us. */
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    say(fd, line, (size_t)size);
    signal(SIGPIPE, before);
    close(fd);
}

bool io_proc_alive(pid_t pid)
{
    char path[64], *close_paren;
    uint8_t *stat = NULL;
    size_t size;
    if (pid <= 0 || (kill(pid, 0) < 0 && errno != EPERM))
        return false;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (io_os_read(path, 4096, &stat, &size))
        return io_os_exists("/proc/self/stat") ? false : true;
    close_paren = strrchr((char *)stat, ')'); /* "PID (NAME) STATE ...", and NAME may hold anything */
    bool dead = close_paren && (close_paren[2] == 'Z' || close_paren[2] == 'X');
    free(stat);
    return !dead;
}

int io_proc_wait_gone(pid_t pid, uint64_t timeout_ms)
{
    uint64_t until = io_os_now().mono_ms + timeout_ms;
    while (io_proc_alive(pid)) {
        if (io_os_now().mono_ms >= until)
            return CAM_ETIMEOUT;
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    return 0;
}

int io_proc_beside(const char *name, char *ret, size_t size)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return CAM_ENOFILE;
    self[n] = 0;
    char *slash = strrchr(self, '/');
    int used = snprintf(ret, size, "%.*s/%s", (int)(slash - self), self, name);
    if (used < 0 || (size_t)used >= size)
        return CAM_ENOSPC;
    return access(ret, X_OK) == 0 ? 0 : CAM_ENOFILE;
}
