// Softmax of whole rows, each by a warp or by a block of threads. What is added to what depends on the length alone.

#include "kernel.h"

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

template <unsigned lanes, typename T> FUNCTION void softmax(const nnstore_kernel_rows &work) {
    const uint64_t length = work.length;
    each_row<lanes>(work, [&](uint64_t start) {
        const T *from = (const T *)work.from + start;
        T *to = (T *)work.to + start;
        // The sum is one of exponentials of distances to the largest element so far. Where all are -infinity, zero takes its
        // place, so that NaN stays what it is.
        T top = (T)-INFINITE;
        double sum = 0;
        for (uint64_t first = LANE(lanes); first < length; first += 4 * lanes) {
            T values[4];
            T better = top;
            for (unsigned i = 0; i < 4; i++) {
                values[i] = first + i * lanes < length ? from[first + i * lanes] : (T)-INFINITE;
                better = Largest::of(values[i], better);
            }
            T base = better == (T)-INFINITE ? (T)0 : better;
            if (better != top) sum *= (double)exp_of(top - base);
            for (unsigned i = 0; i < 4; i++) sum += (double)exp_of(values[i] - base);
            top = better;
        }
        T all = together<Largest, lanes>(top);
        T base = all == (T)-INFINITE ? (T)0 : all;
        T own = top == (T)-INFINITE ? (T)0 : top;
        T total = (T)together<Adding, lanes>(top == all ? sum : sum * (double)exp_of(own - base));
        T logarithm = work.is_logarithm ? log_of(total) : (T)0;
        for (uint64_t i = LANE(lanes); i < length; i += lanes) {
            T distance = from[i] - base;
            to[i] = work.is_logarithm ? distance - logarithm : exp_of(distance) / total;
        }
    });
}

template <unsigned lanes, typename T> FUNCTION void softmax_gradient(const nnstore_kernel_rows &work) {
    const uint64_t length = work.length;
    each_row<lanes>(work, [&](uint64_t start) {
        const T *result = (const T *)work.from + start, *gradient = (const T *)work.gradient + start;
        T *to = (T *)work.to + start;
        double sums[4] = {0, 0, 0, 0};
        for (uint64_t first = LANE(lanes); first < length; first += 4 * lanes) {
            for (unsigned i = 0; i < 4; i++) {
                uint64_t place = first + i * lanes;
                if (place < length)
                    sums[i] += (double)gradient[place] * (work.is_logarithm ? 1.0 : (double)result[place]);
            }
        }
        T total = (T)together<Adding, lanes>((sums[0] + sums[1]) + (sums[2] + sums[3]));
        for (uint64_t i = LANE(lanes); i < length; i += lanes)
            to[i] = work.is_logarithm ? gradient[i] - exp_of(result[i]) * total : result[i] * (gradient[i] - total);
    });
}

#define ROW_KERNELS(suffix, T)                                                                                         \
    KERNEL(softmax_##suffix, nnstore_kernel_rows) { softmax<LANES_OF_WARP, T>(arguments); }                            \
    KERNEL(long_softmax_##suffix, nnstore_kernel_rows) { softmax<LANES_OF_BLOCK, T>(arguments); }                      \
    KERNEL(softmax_gradient_##suffix, nnstore_kernel_rows) { softmax_gradient<LANES_OF_WARP, T>(arguments); }          \
    KERNEL(long_softmax_gradient_##suffix, nnstore_kernel_rows) { softmax_gradient<LANES_OF_BLOCK, T>(arguments); }

ROW_KERNELS(f32, float)
ROW_KERNELS(f64, double)
