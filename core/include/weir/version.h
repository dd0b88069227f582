/* The version of these headers; weir_version() is that of the library that was linked. */
#ifndef WEIR_VERSION_H
#define WEIR_VERSION_H

#include <weir/export.h>

#define WEIR_VERSION_MAJOR 0
#define WEIR_VERSION_MINOR 1
#define WEIR_VERSION_PATCH 0
#define WEIR_VERSION       "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* weir_version: the linked library's version, such as "0.1.0". Static storage. [any] */
WEIR_API const char *weir_version(void);

#ifdef __cplusplus
}
#endif

#endif
