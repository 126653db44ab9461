#ifndef NNSTORE_REDUCTIONS_H
#define NNSTORE_REDUCTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "element_types.h"

// Sums of floats are doubles; where elements are added in a row, sixteen sums run beside each other and are added in one
// order at the end, so the bits do not depend on the processor's vectors. Sums of integers and booleans are I64.

/// The sum of `count` elements is added to `*sum`, a double or an int64_t.
typedef void (*nnstore_sum_loop)(size_t count, const void *from, size_t stride, void *sum);

/// Each of `count` elements is added to the sum of its own at `sums`, doubles or int64_t one after another.
typedef void (*nnstore_sum_columns_loop)(size_t count, const void *from, size_t stride, void *sums);

/// The position and the value of the largest (smallest) of `count` > 0 elements: the first one of equals; NaN counts as
/// the largest (smallest). `from_position` is the position that the first element has; a better element replaces what
/// stands at `position` and `value`, which the caller sets for the first call to -1.
typedef void (*nnstore_extreme_loop)(
    size_t count, const void *from, size_t stride, int64_t from_position, int64_t *position, void *value);

/// NULL for types that have none: halves are converted to F32 before.
nnstore_sum_loop nnstore_sum(nnstore_element type);
nnstore_sum_columns_loop nnstore_sum_columns(nnstore_element type);
nnstore_extreme_loop nnstore_largest(nnstore_element type);
nnstore_extreme_loop nnstore_smallest(nnstore_element type);

#endif
