/* Preloaded into the program under test: ends it by SIGKILL as soon as a sync has returned that made the record durable
 * which begins like KILL_AFTER, or a record that is of a kind and a step which the file KILL_AFTER_NEW does not name yet; it
 * does then, so that one run can be ended after each of its records in turn. After those records that begin like a line of
 * STOP_AFTER it is stopped by SIGSTOP, once after each, and goes on when it is told to.
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

/* Returns all of a file as text; NULL where it cannot be read. */
static char *all_of(const char *name)
{
    struct stat about;
    char *all = NULL;
    int file = open(name, O_RDONLY);
    if (file < 0)
        return NULL;
    if (fstat(file, &about) == 0 && (all = malloc(about.st_size + 1)) != NULL) {
        ssize_t size = pread(file, all, about.st_size, 0);
        all[size > 0 ? size : 0] = 0;
    }
    close(file);
    return all;
}

/* Copies the text that follows `before` up to the next quote; an empty one where there is none. */
static void quoted(const char *line, const char *before, char *into, size_t size)
{
    const char *at = strstr(line, before);
    size_t length = at ? strcspn(at + strlen(before), "\"") : 0;
    snprintf(into, size, "%.*s", (int)length, at ? at + strlen(before) : "");
}

/* Says whether the journal behind fd holds a whole record of a kind and step the file does not name, and names them. */
static int has_new(int fd, const char *known)
{
    char link[64], name[4096], kind[64], step[128], told[256];
    int found = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return 0;
    name[length] = 0;
    if (!strstr(name, "/journal.jsonl"))
        return 0;
    char *journal = all_of(name);
    for (char *line = journal; line && *line;) {
        char *end = strchr(line, '\n');
        if (!end)
            break;
        *end = 0;
        quoted(line, "\"event\":{\"kind\":\"", kind, sizeof kind);
        quoted(line, "\"step\":\"", step, sizeof step);
        snprintf(told, sizeof told, "\n%s %s\n", kind, step);
        char *all = all_of(known);
        if (!all || !strstr(all, told)) {
            FILE *file = fopen(known, "a");
            if (file) {
                fputs(told, file);
                fclose(file);
            }
            found = 1;
        }
        free(all);
        line = end + 1;
    }
    free(journal);
    return found;
}

/* Says whether the file behind fd holds the text of a line that none of its like was seen to hold before. */
static int holds_next(int fd, const char *texts)
{
    static int seen;
    char line[256];
    int number = 0, found = 0;
    for (const char *at = texts; *at; number++) {
        size_t length = strcspn(at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, at);
        if (!(seen & 1 << number) && holds(fd, line)) {
            seen |= 1 << number;
            found = 1;
        }
        at += length + (at[length] != 0);
    }
    return found;
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    const char *text = getenv("KILL_AFTER");
    const char *known = getenv("KILL_AFTER_NEW");
    const char *texts = getenv("STOP_AFTER");
    if (result == 0 && ((text && holds(fd, text)) || (known && has_new(fd, known))))
        kill(getpid(), SIGKILL);
    if (result == 0 && texts && holds_next(fd, texts))
        kill(getpid(), SIGSTOP);
    return result;
}
