// Sums and extremes over some dimensions. What is added to what depends on shapes alone.

#include "kernel.h"

template <typename Sum> FUNCTION void sum(const nnstore_kernel_reduction &work) {
    EACH(index, work.kept.count * work.parts) {
        uint64_t kept = work.is_by_columns ? index % work.kept.count : index / work.parts;
        uint64_t part = work.is_by_columns ? index / work.kept.count : index % work.parts;
        int64_t start = offset_in(work.kept, kept);
        Sum total = 0;
        for (uint64_t number = part; number < work.reduced.count; number += work.parts)
            total += load<Sum>(work.from, work.from_type, start + offset_in(work.reduced, number));
        store<Sum>(work.to, work.to_type, (int64_t)(kept * work.parts + part), (Sum)(total * (Sum)work.factor));
    }
}

KERNEL(sum_float, nnstore_kernel_reduction) { sum<double>(arguments); }
KERNEL(sum_integer, nnstore_kernel_reduction) { sum<int64_t>(arguments); }

// NaN is the most extreme; of equals the first one counts.
template <typename T> FUNCTION void extreme(const nnstore_kernel_reduction &work) {
    EACH(index, work.kept.count) {
        int64_t start = offset_in(work.kept, index);
        T best = load<T>(work.from, work.from_type, start + offset_in(work.reduced, 0));
        int64_t position = 0;
        for (uint64_t number = 1; number < work.reduced.count; number++) {
            T value = load<T>(work.from, work.from_type, start + offset_in(work.reduced, number));
            bool is_better = work.is_largest ? value > best : value < best;
            if (is_better || (value != value && best == best)) {
                best = value;
                position = (int64_t)number;
            }
        }
        store<T>(work.to, work.to_type, (int64_t)index, best);
        ((int64_t *)work.positions)[index] = position;
    }
}

KERNEL(extreme_float, nnstore_kernel_reduction) { extreme<double>(arguments); }
KERNEL(extreme_integer, nnstore_kernel_reduction) { extreme<int64_t>(arguments); }
