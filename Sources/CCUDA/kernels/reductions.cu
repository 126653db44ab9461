// Sums and extremes over some dimensions. What is added to what depends on shapes alone.

#include "kernel.h"

/// Of the result's element that a piece of work is about, which one it is, and which part.
FUNCTION void divide(const nnstore_kernel_reduction &work, uint64_t index, uint64_t &kept, uint64_t &part) {
    if (work.is_by_columns) {
        kept = take_place(index, (int64_t)work.kept.count);
        part = index;
    } else {
        part = take_place(index, (int64_t)work.parts);
        kept = index;
    }
}

template <typename Sum, int32_t type> FUNCTION void sum(const nnstore_kernel_reduction &work) {
    EACH(index, work.kept.count * work.parts) {
        uint64_t kept, part;
        divide(work, index, kept, part);
        int64_t start = offset_in(work.kept, kept);
        // Several sums, so that the next elements are read before the last ones are added.
        Sum sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        uint64_t number = part, step = work.parts;
        if (work.reduced.rank <= 1) {
            int64_t stride = work.reduced.rank ? work.reduced.strides[0] : 0;
            for (; number + 7 * step < work.reduced.count; number += 8 * step)
#pragma unroll
                for (int i = 0; i < 8; i++)
                    sums[i] += load_of_type<Sum, type>(
                        work.from, work.from_type, start + (int64_t)(number + i * step) * stride);
        }
        for (; number < work.reduced.count; number += step)
            sums[0] += load_of_type<Sum, type>(work.from, work.from_type, start + offset_in(work.reduced, number));
        Sum total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        store<Sum>(work.to, work.to_type, (int64_t)(kept * work.parts + part), (Sum)(total * (Sum)work.factor));
    }
}

KERNEL(sum_float, nnstore_kernel_reduction) {
    switch (arguments.from_type) {
    case nnstore_kernel_f32: return sum<double, nnstore_kernel_f32>(arguments);
    case nnstore_kernel_f64: return sum<double, nnstore_kernel_f64>(arguments);
    case nnstore_kernel_bf16: return sum<double, nnstore_kernel_bf16>(arguments);
    default: return sum<double, any_type>(arguments);
    }
}

KERNEL(sum_integer, nnstore_kernel_reduction) { sum<int64_t, any_type>(arguments); }

// NaN is the most extreme; of equals the one of the smallest position counts.
template <typename T> FUNCTION void extreme(const nnstore_kernel_reduction &work) {
    const int64_t *candidates = (const int64_t *)work.candidates;
    EACH(index, work.kept.count * work.parts) {
        uint64_t kept, part;
        divide(work, index, kept, part);
        int64_t start = offset_in(work.kept, kept);
        T best = 0;
        int64_t position = -1;
        for (uint64_t number = part; number < work.reduced.count; number += work.parts) {
            int64_t offset = start + offset_in(work.reduced, number);
            T value = load<T>(work.from, work.from_type, offset);
            int64_t place = candidates ? candidates[offset] : (int64_t)number;
            bool is_better = work.is_largest ? value > best : value < best;
            bool is_equal = value == best || (value != value && best != best);
            if (position < 0 || is_better || (value != value && best == best) || (is_equal && place < position)) {
                best = value;
                position = place;
            }
        }
        store<T>(work.to, work.to_type, (int64_t)(kept * work.parts + part), best);
        ((int64_t *)work.positions)[kept * work.parts + part] = position;
    }
}

KERNEL(extreme_float, nnstore_kernel_reduction) { extreme<double>(arguments); }
KERNEL(extreme_integer, nnstore_kernel_reduction) { extreme<int64_t>(arguments); }
