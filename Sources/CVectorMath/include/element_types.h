#ifndef NNSTORE_ELEMENT_TYPES_H
#define NNSTORE_ELEMENT_TYPES_H

/// The types of elements that loops exist for. Booleans are bytes that are 0 or 1.
typedef enum nnstore_element {
    nnstore_f64,
    nnstore_f32,
    nnstore_f16,
    nnstore_bf16,
    nnstore_i64,
    nnstore_i32,
    nnstore_i16,
    nnstore_i8,
    nnstore_u64,
    nnstore_u32,
    nnstore_u16,
    nnstore_u8,
    nnstore_bool,
    nnstore_element_count,
} nnstore_element;

#endif
