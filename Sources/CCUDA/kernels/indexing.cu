// Gathering and adding by index. An index that is not there is noted, and 0 taken for it, so that nothing outside is touched;
// whoever reads a value next hears of it.

#include "kernel.h"

FUNCTION uint64_t checked(const nnstore_kernel_indexing &work, int64_t index) {
    if (index >= 0 && (uint64_t)index < work.extent) return (uint64_t)index;
    int64_t *problem = (int64_t *)work.problem;
    if (!problem[0]) {
        problem[1] = index;
        problem[2] = (int64_t)work.extent;
        problem[0] = 1;
    }
    return 0;
}

/// to[o, i, n] = from[o, index, n]
KERNEL(gather, nnstore_kernel_indexing) {
    const int64_t *indices = (const int64_t *)arguments.indices;
    EACH(position, arguments.outer * arguments.index_extent * arguments.inner) {
        uint64_t n = position % arguments.inner, i = position / arguments.inner % arguments.index_extent;
        uint64_t o = position / arguments.inner / arguments.index_extent;
        uint64_t index = checked(arguments, indices[arguments.is_by_element ? position : i]);
        uint64_t place = (o * arguments.extent + index) * arguments.inner + n;
        if (!arguments.extent) continue;
        switch (arguments.size) {
        case 1: ((uint8_t *)arguments.to)[position] = ((const uint8_t *)arguments.from)[place]; break;
        case 2: ((uint16_t *)arguments.to)[position] = ((const uint16_t *)arguments.from)[place]; break;
        case 4: ((uint32_t *)arguments.to)[position] = ((const uint32_t *)arguments.from)[place]; break;
        default: ((uint64_t *)arguments.to)[position] = ((const uint64_t *)arguments.from)[place]; break;
        }
    }
}

/// to[o, index, n] += from[o, i, n], in the order of i: no atomic additions, whose order would change from run to run.
/// Each thread looks at all indices of a column, and adds at those that are its own.
template <typename T> FUNCTION void add(const nnstore_kernel_indexing &work) {
    const int64_t *indices = (const int64_t *)work.indices;
    const T *from = (const T *)work.from;
    T *to = (T *)work.to;
    const uint64_t columns = work.outer * work.inner;
    EACH(number, columns * work.parts) {
        uint64_t column = number % columns, part = number / columns;
        uint64_t n = column % work.inner, o = column / work.inner;
        for (uint64_t i = 0; i < work.index_extent; i++) {
            uint64_t position = (o * work.index_extent + i) * work.inner + n;
            uint64_t index = checked(work, indices[work.is_by_element ? position : i]);
            if (!work.extent || (index & (work.parts - 1)) != part) continue;
            to[(o * work.extent + index) * work.inner + n] += from[position];
        }
    }
}

KERNEL(add_at_f32, nnstore_kernel_indexing) { add<float>(arguments); }
KERNEL(add_at_f64, nnstore_kernel_indexing) { add<double>(arguments); }
