// Softmax of whole rows, each by a warp or by a block of threads. What is added to what depends on the length alone.

#include "kernel.h"

FUNCTION float exponential(float x) { return exp_of(x); }
// Long, and used in many places.
CALLED_FUNCTION double exponential(double x) { return exp_of(x); }

struct Adding {
    static constexpr double nothing = 0;
    template <typename T> FUNCTION T of(T a, T b) { return a + b; }
};

struct Largest {
    static constexpr double nothing = -INFINITE;
    template <typename T> FUNCTION T of(T a, T b) { return a > b ? a : b; }
};

/// What the values of all lanes of a row make together, in each of them.
template <typename Operation, unsigned lanes, typename T> FUNCTION T together(T value) {
#ifdef __CUDACC_RTC__
    for (int distance = 16; distance > 0; distance /= 2)
        value = Operation::of(value, __shfl_xor_sync(0xffffffffu, value, distance));
    if (lanes == LANES_OF_WARP) return value;
    __shared__ T warps[LANES_OF_BLOCK / LANES_OF_WARP];
    // Nobody may still read what was there before.
    __syncthreads();
    if (threadIdx.x % LANES_OF_WARP == 0) warps[threadIdx.x / LANES_OF_WARP] = value;
    __syncthreads();
    value = (T)Operation::nothing;
    for (unsigned warp = 0; warp < LANES_OF_BLOCK / LANES_OF_WARP; warp++) value = Operation::of(value, warps[warp]);
#endif
    return value;
}

/// Calls `body` with each row, in all lanes of it.
template <unsigned lanes, typename Body> FUNCTION void each_row(const nnstore_kernel_rows &work, Body body) {
    for (uint64_t row = FIRST_INDEX / lanes; row < work.rows; row += INDEX_STEP / lanes) body(row * work.length);
}

/// As many elements are read before the first one is used.
static const unsigned ahead = 8;

/// Calls `body` with the number of the first of some elements of a row that a lane has, every `lanes`th one, and how many they
/// are: mostly `ahead`, which the compiler then knows.
template <unsigned lanes, typename Body> FUNCTION void each_few(uint64_t length, Body body) {
    uint64_t first = LANE(lanes);
    for (; first + (ahead - 1) * lanes < length; first += ahead * lanes) body(first, ahead);
    if (first < length) body(first, (unsigned)((length - first + lanes - 1) / lanes));
}

/// Those elements; `filler` for the ones that are not there.
template <unsigned lanes, typename T>
FUNCTION void read(T (&values)[ahead], const T *from, uint64_t first, unsigned count, T filler) {
#pragma unroll
    for (unsigned i = 0; i < ahead; i++) values[i] = i < count ? from[first + i * lanes] : filler;
}

template <unsigned lanes, typename T> FUNCTION void softmax(const nnstore_kernel_rows &work) {
    each_row<lanes>(work, [&](uint64_t start) {
        const T *from = (const T *)work.from + start;
        T *to = (T *)work.to + start;
        // The sum is one of exponentials of distances to the largest element so far. Where all are -infinity, zero takes its
        // place, so that NaN stays what it is.
        T top = (T)-INFINITE;
        double sum = 0;
        each_few<lanes>(work.length, [&](uint64_t first, unsigned count) {
            T values[ahead];
            read<lanes>(values, from, first, count, (T)-INFINITE);
            T better = top;
#pragma unroll
            for (unsigned i = 0; i < ahead; i++) better = Largest::of(values[i], better);
            T base = better == (T)-INFINITE ? (T)0 : better;
            if (better != top) sum *= (double)exponential(top - base);
            T part = 0;
#pragma unroll
            for (unsigned i = 0; i < ahead; i++) part += exponential(values[i] - base);
            sum += (double)part;
            top = better;
        });
        T all = together<Largest, lanes>(top);
        T base = all == (T)-INFINITE ? (T)0 : all;
        T own = top == (T)-INFINITE ? (T)0 : top;
        T total = (T)together<Adding, lanes>(top == all ? sum : sum * (double)exponential(own - base));
        T logarithm = work.is_logarithm ? log_of(total) : (T)0;
        each_few<lanes>(work.length, [&](uint64_t first, unsigned count) {
            T values[ahead];
            read<lanes>(values, from, first, count, (T)0);
#pragma unroll
            for (unsigned i = 0; i < ahead; i++) {
                T distance = values[i] - base;
                T value = work.is_logarithm ? distance - logarithm : exponential(distance) / total;
                if (i < count) to[first + i * lanes] = value;
            }
        });
    });
}

template <unsigned lanes, typename T> FUNCTION void softmax_gradient(const nnstore_kernel_rows &work) {
    each_row<lanes>(work, [&](uint64_t start) {
        const T *result = (const T *)work.from + start, *gradient = (const T *)work.gradient + start;
        T *to = (T *)work.to + start;
        double sum = 0;
        each_few<lanes>(work.length, [&](uint64_t first, unsigned count) {
            T results[ahead], gradients[ahead];
            read<lanes>(gradients, gradient, first, count, (T)0);
            read<lanes>(results, result, first, count, (T)0);
#pragma unroll
            for (unsigned i = 0; i < ahead; i++)
                sum += (double)gradients[i] * (work.is_logarithm ? 1.0 : (double)results[i]);
        });
        T total = (T)together<Adding, lanes>(sum);
        each_few<lanes>(work.length, [&](uint64_t first, unsigned count) {
            T results[ahead], gradients[ahead];
            read<lanes>(gradients, gradient, first, count, (T)0);
            read<lanes>(results, result, first, count, (T)0);
#pragma unroll
            for (unsigned i = 0; i < ahead; i++) {
                T slope = work.is_logarithm ? gradients[i] - exponential(results[i]) * total
                                            : results[i] * (gradients[i] - total);
                if (i < count) to[first + i * lanes] = slope;
            }
        });
    });
}

#define ROW_KERNELS(suffix, T)                                                                                         \
    KERNEL(softmax_##suffix, nnstore_kernel_rows) { softmax<LANES_OF_WARP, T>(arguments); }                            \
    KERNEL(long_softmax_##suffix, nnstore_kernel_rows) { softmax<LANES_OF_BLOCK, T>(arguments); }                      \
    KERNEL(softmax_gradient_##suffix, nnstore_kernel_rows) { softmax_gradient<LANES_OF_WARP, T>(arguments); }          \
    KERNEL(long_softmax_gradient_##suffix, nnstore_kernel_rows) { softmax_gradient<LANES_OF_BLOCK, T>(arguments); }

ROW_KERNELS(f32, float)
ROW_KERNELS(f64, double)
