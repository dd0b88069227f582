/* weir_buf, inside. */
#ifndef WR_BUFFER_H
#define WR_BUFFER_H

#include <stdatomic.h>
#include <stdint.h>
#include <weir/buffer.h>

struct weir_buf {
    _Atomic uint32_t references;
    uint32_t size;
    _Alignas(16) unsigned char bytes[];
};

#endif
