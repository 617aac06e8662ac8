/* Preloaded into the program under test: ends it by SIGKILL when its journal's sync number KILL_AT_SYNC has returned.
 *
 * The count is the process's, whichever thread syncs, and nothing runs between the sync and the kill. The size the
 * file had at each sync goes to the file named by SYNCS, a line each: that tells which records shared one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int count;

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    const char *at = getenv("KILL_AT_SYNC"), *syncs = getenv("SYNCS");
    struct stat about;
    if (result == 0 && at && syncs && fstat(fd, &about) == 0) {
        int log = open(syncs, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dprintf(log, "%lld\n", (long long)about.st_size);
        close(log);
        if (atomic_fetch_add(&count, 1) + 1 == atoi(at))
            kill(getpid(), SIGKILL);
    }
    return result;
}
