/* Preloaded into the program under test: ends it by SIGKILL as soon as a sync has returned that made the record durable
 * which begins like KILL_AFTER.
 *
 * Nothing runs between the sync and the kill, whichever thread syncs: what waits for the record is never done. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Says whether the file behind fd holds the text. The journal is open for writing only: it is opened again by name. */
static int holds(int fd, const char *text)
{
    char name[64];
    struct stat about;
    int found = 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int file = open(name, O_RDONLY);
    if (file < 0)
        return 0;
    if (fstat(file, &about) == 0 && about.st_size > 0) {
        char *all = malloc(about.st_size);
        ssize_t size = all ? pread(file, all, about.st_size, 0) : -1;
        found = size > 0 && memmem(all, size, text, strlen(text)) != NULL;
        free(all);
    }
    close(file);
    return found;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    const char *text = getenv("KILL_AFTER");
    if (result == 0 && text && holds(fd, text))
        kill(getpid(), SIGKILL);
    return result;
}
