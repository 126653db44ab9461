#ifndef NNSTORE_RANDOM_H
#define NNSTORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

// Philox 4x32-10 (J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel Random Numbers: As Easy as 1, 2, 3; SC 2011): the seed is
// the key, and each value of a counter gives four words, w0 to w3. Everything below has the same bits on all machines: only
// sums, differences, products, quotients and square roots of doubles, none of them contracted.
//
// `first` is the counter of the first block that is used. A block gives four elements of a 32-bit kind and two of a 64-bit
// kind; of the last one, what is not needed is dropped.

/// The four words of one block.
void nnstore_philox(uint64_t seed, uint64_t counter, uint32_t words[4]);

/// From [0, 1): the upper 24 bits of a word, the upper 53 bits of two (w0 has the lower ones).
void nnstore_uniform_f32(uint64_t seed, uint64_t first, size_t count, float *to);
void nnstore_uniform_f64(uint64_t seed, uint64_t first, size_t count, double *to);

/// Standard normal, by Box's and Muller's transformation of pairs: r cos(2πu), r sin(2πu), r = sqrt(-2 ln v), v in (0, 1].
void nnstore_normal_f32(uint64_t seed, uint64_t first, size_t count, float *to);
void nnstore_normal_f64(uint64_t seed, uint64_t first, size_t count, double *to);

/// Replaces each probability by the number that a standard normal variable is below with that probability.
void nnstore_normal_quantiles(size_t count, double *probabilities);

/// 64 bits each.
void nnstore_random_bits(uint64_t seed, uint64_t first, size_t count, uint64_t *to);

#endif
