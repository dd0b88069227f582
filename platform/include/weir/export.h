/* WEIR_API marks what the shared library exports; everything else stays hidden.
 * An embedder who links the static library on Windows defines WEIR_STATIC; the CMake package and weir.pc do it. */
#ifndef WEIR_EXPORT_H
#define WEIR_EXPORT_H

#if defined(_WIN32) && !defined(WEIR_STATIC)
#ifdef WEIR_BUILDING
#define WEIR_API __declspec(dllexport)
#else
#define WEIR_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define WEIR_API __attribute__((visibility("default")))
#else
#define WEIR_API
#endif

#endif
