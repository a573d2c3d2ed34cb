/* The operating system at the edge: clocks, kernel randomness, files, locks, the log's sinks.
 * (Where a home's files lie: io_home.h. Starting the node in the background: io_proc.h.)
 *
 *     struct now now = io_os_now();
 *     struct rng rng = io_os_rng();
 *     err = io_os_write_atomic(path, data, size, 0600);      // the old file or the new one, never half
 */
#ifndef CORE_IO_OS_H
#define CORE_IO_OS_H
#include "core/log.h"
#include "core/now.h"
#include "core/rng.h"
#include <stdbool.h>
#include <sys/types.h>

/* mono_ms counts through suspend (CLOCK_BOOTTIME): a laptop that slept finds its time-outs over. */
struct now io_os_now(void);
uint64_t io_os_mono_us(void);   /* the same clock as mono_ms, finer */
uint64_t io_os_wall_ns(void);   /* the system's clock */

struct rng io_os_rng(void);     /* getrandom; never fails, waits at boot */

/* The whole file with a NUL behind it (not counted); the caller frees. CAM_ENOFILE, CAM_EIO (unreadable, a
 * directory), CAM_ETOOBIG (over max_bytes), CAM_ESYS (memory). */
int io_os_read(const char *path, size_t max_bytes, uint8_t **ret_data, size_t *ret_size);

/* Replaces the file in one step that a crash cannot split: a temporary beside it, fsync, rename, fsync of
 * the directory. On CAM_EIO (disk full, no permission) the old file stands and the temporary is gone. */
int io_os_write_atomic(const char *path, const void *data, size_t size, mode_t mode);

/* The directory and its parents, 0700 where it makes them; one that is there stays as it is. CAM_EIO. */
int io_os_mkdir(const char *path);
/* A directory that must be ours alone: made 0700, or there, a real directory of this user without access for
 * others. CAM_EIO otherwise: in a shared place someone else may have put it there first. */
int io_os_mkdir_private(const char *path);
bool io_os_exists(const char *path);
/* 0 when the file is ours and closed to others, else CAM_EIO; CAM_ENOFILE. For key files. */
int io_os_check_private(const char *path);

/* A lock that ends with the process, however it ends. The file holds the pid and is never removed.
 * CAM_EAGAIN when another holds it; CAM_EIO. The lock lives as long as *ret_fd (close-on-exec). */
int io_os_lock(const char *path, int *ret_fd);
void io_os_unlock(int fd); /* -1 is fine */
/* Who holds it, without touching it: 0 and the pid (0 where it is not written yet), CAM_ENOENT for nobody. */
int io_os_lock_holder(const char *path, pid_t *ret_pid);

/* Sinks for struct log. The file is opened for appending, 0600; past IO_OS_LOG_BYTES it becomes PATH.1. */
#define IO_OS_LOG_BYTES (8 << 20)
struct io_os_log {
    int fd;
    char *path;
    uint64_t size;
};
int io_os_log_open(struct io_os_log *log, const char *path); /* CAM_EIO */
void io_os_log_close(struct io_os_log *log);
void io_os_log_sink(void *ctx, const char *line, size_t size);        /* ctx: struct io_os_log */
void io_os_log_stderr_sink(void *ctx, const char *line, size_t size); /* ctx: unused */

int io_os_nonblock(int fd);     /* O_NONBLOCK and close-on-exec; CAM_ESYS */

#endif
