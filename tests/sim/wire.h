/* wire: messages that say whose they are. The body of each names the end that sent it, its place in that end's order
 * and its size; every further byte follows from these. So whoever receives one knows whether it is whole, in its place,
 * and at the right address. Bytes of a body have their highest bit set: no delimiter is among them. */
#ifndef WR_TEST_WIRE_H
#define WR_TEST_WIRE_H

#include <weir/framing.h>

#include "sim/choice.h"

enum {
    WIRE_BODY_MIN = 12,           /* the numbers */
    WIRE_NUMBER_MAX = 1 << 24,    /* each is below */
    WIRE_SHARED = (1 << 24) - 1,  /* `end` of a shared buffer, whose number is in `place` */
    WIRE_MESSAGE_MAX = 80 * 1024, /* of any wire */
};

/* How the two ends of a connection cut their stream. */
typedef struct wire_format {
    weir_framing framing;
    uint32_t max_message; /* the protocol's */
    uint32_t least, most; /* sizes of whole messages, header and delimiter included */
} wire_format;

typedef struct wire_label {
    uint32_t end;
    uint32_t channel; /* 0 or 1 */
    uint32_t place;
    uint32_t size; /* of the whole message */
} wire_label;

/* Bytes as they come, to one who has no framing: what is known of the message that is coming. */
typedef struct wire_piece {
    wire_label label;
    uint32_t have;
    uint8_t head[64 + WIRE_BODY_MIN]; /* up to the end of the numbers */
} wire_piece;

/* wire_choose: one of every kind of framing. */
wire_format wire_choose(choice *from);

/* wire_write: the message of that label, label->size bytes. */
void wire_write(const wire_format *wire, const wire_label *label, uint8_t *out);

/* wire_read: the label of a whole message; NULL, or else what is wrong with it. */
const char *wire_read(const wire_format *wire, const uint8_t *bytes, size_t size, wire_label *out);

/* wire_feed: takes bytes of a stream, up to the end of a message; returns how many. `*whole`: it is all there; begin
 * the next one with a zeroed piece. `*wrong` as of wire_read. */
size_t wire_feed(const wire_format *wire, wire_piece *piece, const uint8_t *bytes, size_t size, bool *whole,
                 const char **wrong);

/* wire_spoil: bytes that are no message of this framing, and the WEIR_E… that the receiver is to end with; 0 bytes
 * where nothing is malformed. `room` of out: WIRE_MESSAGE_MAX + 64. */
size_t wire_spoil(const wire_format *wire, choice *from, uint8_t *out, int *error);

#endif
