#ifndef NNSTORE_CONVERSION_H
#define NNSTORE_CONVERSION_H

#include <stddef.h>

#include "element_types.h"

/// Converts `count` elements at `from` to elements at `to`.
typedef void (*nnstore_conversion)(
    size_t count, const void *from, size_t from_stride, void *to, size_t to_stride);

/// The loop that converts between two types; between equal ones it copies.
///
/// Floats are rounded to the nearest, ties to even. Floats become integers by dropping what stands behind the point; what
/// does not fit I64 is the nearest that does, NaN is 0, and shorter integers take the lowest bits of it, as integers of
/// other lengths do. Everything but 0 becomes the boolean true.
nnstore_conversion nnstore_conversion_loop(nnstore_element from, nnstore_element to);

#endif
