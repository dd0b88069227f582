/* What the fuzz targets share. A target is one file, NAME_fuzz.c, with one function: it gets bytes, takes them for its
 * input, and aborts if weir does anything but what its documents say. With clang and libFuzzer (the preset fuzz) the
 * bytes are invented; in all other builds replay.c hands it the files of corpus/NAME/, so that what was found once
 * stays found. */
#ifndef WR_FUZZ_H
#define WR_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* LLVMFuzzerTestOneInput: the target, by libFuzzer's name. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* FUZZ_CHECK: says what is wrong, and aborts, which both runners take for a finding. */
#define FUZZ_CHECK(condition, ...)                                 \
    do {                                                           \
        if (!(condition)) {                                        \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);        \
            fprintf(stderr, __VA_ARGS__);                          \
            fprintf(stderr, "\n  it must hold: %s\n", #condition); \
            abort();                                               \
        }                                                          \
    } while (0)

/* The input, taken from the front. What is not there any more is 0. */
typedef struct fuzz_input {
    const uint8_t *bytes;
    size_t size;
} fuzz_input;

static inline uint8_t fuzz_u8(fuzz_input *input)
{
    if (input->size == 0) return 0;
    input->size--;
    return *input->bytes++;
}

static inline uint16_t fuzz_u16(fuzz_input *input)
{
    uint8_t low = fuzz_u8(input), high = fuzz_u8(input);
    return (uint16_t)(high << 8 | low);
}

static inline uint32_t fuzz_u32(fuzz_input *input)
{
    uint32_t low = fuzz_u16(input);
    return (uint32_t)fuzz_u16(input) << 16 | low;
}

#endif
