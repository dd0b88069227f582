/* message: messages that say whose they are. The body of each names the end that sent it, its place in that end's order
 * and its size; every further byte follows from these. So whoever receives one knows whether it is whole, in its place,
 * and at the right address. Bytes of a body have their highest bit set: no delimiter is among them. */
#ifndef WR_TEST_MESSAGE_H
#define WR_TEST_MESSAGE_H

#include <weir/framing.h>

#include "sim/choice.h"

enum {
    MESSAGE_BODY_MIN = 12,          /* the numbers */
    MESSAGE_NUMBER_MAX = 1 << 24,   /* each is below */
    MESSAGE_SHARED = (1 << 24) - 1, /* `end` of a shared buffer, whose number is in `place` */
    MESSAGE_GROUPS = 1 << 23,       /* and up: what was sent to the group of that number; `place`: the send */
    MESSAGE_MAX = 80 * 1024,        /* of any format */
};

/* How the two ends of a connection frame what they say. */
typedef struct message_format {
    weir_framing framing;
    uint32_t max_message; /* the protocol's */
    uint32_t least, most; /* sizes of whole messages, header and delimiter included */
} message_format;

typedef struct message_label {
    uint32_t end;
    uint32_t channel; /* 0 or 1 */
    uint32_t place;
    uint32_t size; /* of the whole message */
} message_label;

/* Bytes as they come, to one who has no framing: what is known of the message that is coming. */
typedef struct message_piece {
    message_label label;
    uint32_t have;
    uint8_t head[64 + MESSAGE_BODY_MIN]; /* up to the end of the numbers */
} message_piece;

/* message_choose: one of every kind of framing. */
message_format message_choose(choice *from);

/* message_write: the message of that label, label->size bytes. */
void message_write(const message_format *format, const message_label *label, uint8_t *out);

/* message_read: the label of a whole message; NULL, or else what is wrong with it. */
const char *message_read(const message_format *format, const uint8_t *bytes, size_t size, message_label *out);

/* message_feed: takes bytes of a stream, up to the end of a message; returns how many. `*whole`: it is all there; begin
 * the next one with a zeroed piece. `*wrong` as of message_read. */
size_t message_feed(const message_format *format, message_piece *piece, const uint8_t *bytes, size_t size, bool *whole,
                    const char **wrong);

/* message_spoil: bytes that are no message of this framing, and the WEIR_E… that the receiver is to end with; 0 bytes
 * where nothing is malformed. `room` of out: MESSAGE_MAX + 64. */
size_t message_spoil(const message_format *format, choice *from, uint8_t *out, int *error);

#endif
