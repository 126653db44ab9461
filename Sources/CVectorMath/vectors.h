#ifndef NNSTORE_VECTORS_H
#define NNSTORE_VECTORS_H

// A product and a sum stay two roundings, on every processor.
#pragma STDC FP_CONTRACT OFF

#define INLINE static inline __attribute__((always_inline))

// Compiled for several processors; the loader takes the best one that this machine has. Not under ThreadSanitizer, which is
// not there yet when the loader asks.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NNSTORE_ONE_PROCESSOR
#endif
#endif
#if defined(__x86_64__) && defined(__linux__) && !defined(NNSTORE_ONE_PROCESSOR)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

// Loops that call the C library (erf, pow, functions of doubles) can't become vector code, whatever PARALLEL says.
#pragma clang diagnostic ignored "-Wpass-failed"

// Before a loop whose steps don't depend on each other: it may write where it reads, but nothing that another step reads.
#define PARALLEL _Pragma("clang loop vectorize(assume_safety) interleave(enable)")

#endif
