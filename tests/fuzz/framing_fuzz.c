/* The parser of frames alone: what it says of a stream that grows a byte at a time. */
#include "core/framing.h"
#include "fuzz/cutter.h"
#include "fuzz/fuzz.h"

/* Of a front of the stream: unfinished, or as it will be for ever. */
static int64_t as_cutter(int64_t said, size_t size)
{
    return said > 0 && (uint64_t)said > size ? 0 : said;
}

static void check_growing(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size)
{
    int64_t settled = 0;
    uint32_t scanned = 0;
    for (size_t there = 1; there <= size; there++) {
        uint32_t afresh = 0;
        int64_t again = wr_framing_next(framing, max_message, bytes, there, &afresh);
        int64_t said = settled ? again : wr_framing_next(framing, max_message, bytes, there, &scanned);
        FUZZ_CHECK(said == again, "%lld with what was scanned, %lld without", (long long)said, (long long)again);
        FUZZ_CHECK(scanned <= there && scanned <= max_message, "%u bytes scanned", scanned);
        if (framing->kind == WEIR_FRAMING_NONE) {
            FUZZ_CHECK(said == (int64_t)(there < max_message ? there : max_message), "%lld", (long long)said);
            continue;
        }
        FUZZ_CHECK(said <= (int64_t)max_message, "a message of %lld bytes", (long long)said);
        int64_t expected = cutter_next(framing, max_message, bytes, there);
        FUZZ_CHECK(as_cutter(said, there) == expected, "%lld instead of %lld for %zu bytes", (long long)said,
                   (long long)expected, there);
        FUZZ_CHECK(!settled || said == settled, "%lld, and %lld later", (long long)settled, (long long)said);
        settled = said;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = { data, size };
    weir_framing framing = cutter_framing(&input), own = framing;
    uint32_t max_message = 1 + fuzz_u16(&input);
    const char *why = NULL;
    int error = wr_framing_check(&framing, &why);
    bool accepted = cutter_accepts(&own);
    FUZZ_CHECK((error == 0) == accepted, "%s: %s", weir_error_name(error), why ? why : "");
    FUZZ_CHECK((error != 0) == (why != NULL), "a refusal has its reason");
    if (!accepted) return 0;
    FUZZ_CHECK(framing.kind != WEIR_FRAMING_LENGTH || framing.header_size == own.header_size, "header_size %u",
               framing.header_size);
    check_growing(&framing, max_message, input.bytes, input.size);
    return 0;
}
