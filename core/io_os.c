#include "core/io_os.h"
#include "core/err.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct now io_os_now(void)
{
    return (struct now){ .mono_ms = clock_ns(CLOCK_BOOTTIME) / 1000000,
                         .wall_ms = clock_ns(CLOCK_REALTIME) / 1000000 };
}

uint64_t io_os_mono_us(void)
{
    return clock_ns(CLOCK_BOOTTIME) / 1000;
}

uint64_t io_os_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

static void kernel_fill(void *ctx, void *buf, size_t size)
{
    (void)ctx;
    unsigned char *at = buf;
    while (size) {
        ssize_t n = getrandom(at, size, 0);
        if (n < 0 && errno != EINTR)
            abort(); /* a kernel without it: nothing we do could be kept secret */
        if (n > 0)
            at += n, size -= (size_t)n;
    }
}

struct rng io_os_rng(void)
{
    return (struct rng){ kernel_fill, NULL };
}

int io_os_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return CAM_ESYS;
    return 0;
}

/* Files */

int io_os_read(const char *path, size_t max_bytes, uint8_t **ret_data, size_t *ret_size)
{
    uint8_t *data = NULL;
    size_t size = 0, cap = 0;
    int err = CAM_EIO;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO must not hold us */
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? CAM_ENOFILE : CAM_EIO;
    for (;;) {
        if (size == cap) { /* one byte more than allowed tells that there is more; one for the terminator */
            cap = cap ? cap * 2 : 4096;
            cap = cap < max_bytes + 1 ? cap : max_bytes + 1;
            uint8_t *grown = realloc(data, cap + 1);
            if (!grown) {
                err = CAM_ESYS;
                goto out;
            }
            data = grown;
        }
        ssize_t n = read(fd, data + size, cap - size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            goto out;
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > max_bytes) {
            err = CAM_ETOOBIG;
            goto out;
        }
    }
    data[size] = 0;
    *ret_data = data;
    *ret_size = size;
    data = NULL;
    err = 0;
out:
    free(data);
    close(fd);
    return err;
}

static int write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CAM_EIO;
        at += n, size -= (size_t)n;
    }
    return 0;
}

/* "/a/b" -> "/a", "b" -> ".", "/b" -> "/" */
static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 || fsync(fd) < 0 ? CAM_EIO : 0;
    if (fd >= 0)
        close(fd);
    return err;
}

int io_os_write_atomic(const char *path, const void *data, size_t size, mode_t mode)
{
    char *temp = NULL, *dir = dir_of(path);
    int fd, err = CAM_EIO;
    if (!dir || asprintf(&temp, "%s.XXXXXX", path) < 0) {
        temp = NULL;
        err = CAM_ESYS;
        goto out;
    }
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        goto out;
    err = write_all(fd, data, size) || fchmod(fd, mode) < 0 || fsync(fd) < 0 ? CAM_EIO : 0;
    if (close(fd) < 0)
        err = CAM_EIO;
    if (!err && rename(temp, path) < 0)
        err = CAM_EIO;
    if (err)
        unlink(temp);
    else
        err = sync_dir(dir);
out:
    free(temp);
    free(dir);
    return err;
}

int io_os_mkdir(const char *path)
{
    char *copy = strdup(path);
    struct stat st;
    int err = 0;
    if (!copy)
        return CAM_ESYS;
    for (char *at = copy + 1; *copy && !err; at++) {
        bool last = !*at;
        if (*at != '/' && !last)
            continue;
        *at = 0;
        if (mkdir(copy, 0700) < 0 && stat(copy, &st) < 0)
            err = CAM_EIO;
        if (last)
            break;
        *at = '/';
    }
    if (!err && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
        err = CAM_EIO;
    free(copy);
    return err;
}

int io_os_mkdir_private(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return CAM_EIO;
    /* lstat: a link would let its owner point us elsewhere. */
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        return CAM_EIO;
    return 0;
}

bool io_os_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int io_os_check_private(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? CAM_ENOFILE : CAM_EIO;
    return S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077) ? 0 : CAM_EIO;
}

/* Locks: an open file description's (F_OFD_SETLK), because one of the process would be lost as soon as any
 * part of it closed the file, and because asking who holds it takes nothing from anybody. */

static struct flock whole_file(void)
{
    return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

int io_os_lock(const char *path, int *ret_fd)
{
    struct flock lock = whole_file();
    char text[24];
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return CAM_EIO;
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        int err = errno == EAGAIN || errno == EACCES ? CAM_EAGAIN : CAM_EIO;
        close(fd);
        return err;
    }
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)size, 0) != size) {
        close(fd);
        return CAM_EIO;
    }
    *ret_fd = fd;
    return 0;
}

void io_os_unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}

int io_os_lock_holder(const char *path, pid_t *ret_pid)
{
    struct flock lock = whole_file();
    char text[24] = "";
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? CAM_ENOENT : CAM_EIO;
    int err = fcntl(fd, F_OFD_GETLK, &lock) < 0 ? CAM_EIO : lock.l_type == F_UNLCK ? CAM_ENOENT : 0;
    ssize_t n = err ? -1 : pread(fd, text, sizeof text - 1, 0);
    close(fd);
    if (!err)
        *ret_pid = n > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
    return err;
}

/* Sinks of the log: failing to log is no reason to fail. */

static int log_open_file(struct io_os_log *log)
{
    struct stat st;
    log->fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd < 0)
        return CAM_EIO;
    log->size = fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return 0;
}

int io_os_log_open(struct io_os_log *log, const char *path)
{
    *log = (struct io_os_log){ .fd = -1, .path = strdup(path) };
    int err = log->path ? log_open_file(log) : CAM_ESYS;
    if (err) {
        free(log->path);
        log->path = NULL;
    }
    return err;
}

void io_os_log_close(struct io_os_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    free(log->path);
    *log = (struct io_os_log){ .fd = -1 };
}

void io_os_log_sink(void *ctx, const char *line, size_t size)
{
    struct io_os_log *log = ctx;
    char *old = NULL;
    if (log->fd < 0)
        return;
    if (log->size + size > IO_OS_LOG_BYTES && asprintf(&old, "%s.1", log->path) >= 0) {
        if (rename(log->path, old) == 0) {
            close(log->fd);
            log_open_file(log);
        }
        free(old);
    }
    if (log->fd >= 0 && write(log->fd, line, size) > 0)
        log->size += size;
}

void io_os_log_stderr_sink(void *ctx, const char *line, size_t size)
{
    (void)ctx;
    (void)write_all(STDERR_FILENO, line, size);
}
