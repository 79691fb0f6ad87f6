/* Writes below $POWER_ROOT, some of it synced, for the test of `power.rs`. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static void write_file(const char *name, int synced) {
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    must(file, name);
    must(write(file, "text", strlen("text")), "write");
    if (synced)
        must(fsync(file), "fsync");
    must(close(file), "close");
}

static void sync_directory(const char *name) {
    int directory = open(name, O_RDONLY);
    must(directory, name);
    must(fsync(directory), "fsync");
    must(close(directory), "close");
}

/* A path below the root. Stays valid for three calls more. */
static const char *below(const char *name) {
    static char paths[4][4096];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", getenv("POWER_ROOT"), name);
    return path;
}

int main(void) {
    must(mkdir(below("kept"), 0755), "kept");
    write_file(below("kept/synced"), 1);
    write_file(below("kept/empty"), 0);
    write_file(below("kept/renamed.new"), 1);
    sync_directory(below("kept"));
    sync_directory(getenv("POWER_ROOT"));
    must(rename(below("kept/renamed.new"), below("kept/renamed")), "rename");
    write_file(below("kept/nameless"), 1);
    must(mkdir(below("late"), 0755), "late");
    write_file(below("late/file"), 1);
    sync_directory(below("late"));
    return 0;
}
