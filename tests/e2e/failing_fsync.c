/* Preloaded into a node: while the file named by FAILING_FSYNC is there, fsync and fdatasync fail as on a dying disk. */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_or_fail(long call, int fd)
{
    const char *mark = getenv("FAILING_FSYNC");

    if (mark && access(mark, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return sync_or_fail(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_or_fail(SYS_fdatasync, fd);
}
