/* Makes every fsync and fdatasync of a process SLOW_FSYNC_MS milliseconds slower, as an SD card would: LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int sync_function(int);

static int slowly(const char *name, int file)
{
    const char *text = getenv("SLOW_FSYNC_MS");
    long ms = text ? atol(text) : 0;
    struct timespec delay = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&delay, &delay)) {
        /* a signal woke us: sleep the rest */
    }
    return ((sync_function *)dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return slowly("fsync", file); }
int fdatasync(int file) { return slowly("fdatasync", file); }
