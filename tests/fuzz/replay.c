/* The main of a fuzz target where there is no libFuzzer: runs it on files, and on all files of folders. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

enum { INPUT_MAX = 1 << 20, PATH_LONGEST = 4096 };

static unsigned replayed;

static void give_up(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(2);
}

/* The input lies in a block of its very size, so that AddressSanitizer sees a read beyond it. */
static void replay_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) give_up(path);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    uint8_t *input = malloc(size ? size : 1);
    if (!input) give_up(path);
    memcpy(input, bytes, size);
    fprintf(stderr, "%s\n", path); /* the last one is what failed */
    (void)LLVMFuzzerTestOneInput(input, size);
    free(input);
    replayed++;
}

static void replay(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) give_up(path);
    if (!S_ISDIR(status.st_mode)) {
        replay_file(path);
        return;
    }
    DIR *folder = opendir(path);
    if (!folder) give_up(path);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char inner[PATH_LONGEST];
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        replay(inner);
    }
    (void)closedir(folder);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE-OR-FOLDER...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) replay(argv[i]);
    printf("%u inputs\n", replayed);
    return replayed ? 0 : 1;
}
