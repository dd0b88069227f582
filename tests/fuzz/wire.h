/* A completion queue with no kernel under it, for fuzz targets: one stream at a time, which receives what the target
 * says, cut as the target says. It stands in the place of the system's backend (wire.c defines wr_cq_backends), so that
 * everything above it is the real thing. */
#ifndef WR_FUZZ_WIRE_H
#define WR_FUZZ_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/weir.h>

enum { WIRE_CUTS = 4 };

/* What the next connection receives. The bytes must live until its end. */
typedef struct wire_script {
    const uint8_t *bytes;
    size_t size;
    uint8_t cuts[WIRE_CUTS]; /* sizes of the pieces, in turn: see wire_piece */
    bool resets;             /* the peer ends with a reset, not with FIN */
} wire_script;

/* What was sent on it. */
typedef struct wire_sent {
    uint8_t *bytes;
    size_t size, room;
    bool finished; /* FIN */
    bool reset;    /* closed by a reset */
    bool closed;
} wire_sent;

/* wire_load: sets the script for the connection that is opened next, and empties what was sent. */
void wire_load(const wire_script *script);

/* wire_sent_now: of the connection that was opened last. */
const wire_sent *wire_sent_now(void);

/* wire_piece: the size that a byte of `cuts` stands for: 1 to 128 one by one, 0: all that is there, else up to 4 KiB in
 * steps of 32. */
size_t wire_piece(uint8_t cut);

/* wire_settled: no receive buffer is leased and no socket is open. */
bool wire_settled(void);

/* wire_runtime: a manual runtime on the wire. Its allocator counts, and refuses after so many allocations as
 * wire_refuse says (negative: never). */
weir_runtime *wire_runtime(void);
void wire_refuse(int64_t after);

/* wire_memory: bytes that the runtime holds. */
size_t wire_memory(void);

#endif
