/* A fuzz target without a fuzzer, for every build: its seeds, each cut short at every length and with each of its
 * bytes changed in turn, for as long as it is given. `make fuzz` searches further.
 *
 *   fuzz_NAME SECONDS DIR...     ends with "stat::number_of_executed_units: N", as libFuzzer does
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INPUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long runs;
static time_t end;

/* From a copy of exactly this size, so that the sanitizer sees a read beyond it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void vary(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size && time(NULL) < end; i++) {
        run(data, i);
        data[i] ^= (uint8_t)(1u << i % 8);
        run(data, size);
        data[i] ^= (uint8_t)(1u << i % 8);
    }
}

static size_t read_seed(const char *dir, const char *name, uint8_t *ret)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t size = fread(ret, 1, INPUT_MAX, f);
    fclose(f);
    return size;
}

/* All seeds as they are, or varied. */
static void each_seed(const char *dir, uint8_t *buf, bool varied)
{
    struct dirent *entry;
    DIR *d = opendir(dir);

    if (!d) {
        perror(dir);
        exit(1);
    }
    while ((entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        size_t size = read_seed(dir, entry->d_name, buf);
        if (varied)
            vary(buf, size);
        else
            run(buf, size);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    uint8_t *buf = malloc(INPUT_MAX);

    if (argc < 3 || !buf)
        return 2;
    end = time(NULL) + atoi(argv[1]);
    for (int varied = 0; varied < 2; varied++)
        for (int i = 2; i < argc; i++)
            each_seed(argv[i], buf, varied);
    free(buf);
    printf("stat::number_of_executed_units: %lu\n", runs);
    return 0;
}
