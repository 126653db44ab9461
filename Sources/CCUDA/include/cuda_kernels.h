#ifndef NNSTORE_CUDA_KERNELS_H
#define NNSTORE_CUDA_KERNELS_H

// What the kernels of kernels/*.cu are given: one structure each, by value. The same text is compiled by NVRTC, which has no
// headers of its own.
#ifdef __CUDACC_RTC__
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
#else
#include <stdint.h>
#endif

enum {
    /// The most dimensions that a kernel walks through, after those that can be are joined.
    nnstore_kernel_dimensions = 8,
    /// The types of elements, numbered as in CVectorMath's element_types.h.
    nnstore_kernel_f64 = 0,
    nnstore_kernel_f32 = 1,
    nnstore_kernel_f16 = 2,
    nnstore_kernel_bf16 = 3,
    nnstore_kernel_i64 = 4,
    nnstore_kernel_i32 = 5,
    nnstore_kernel_i16 = 6,
    nnstore_kernel_i8 = 7,
    nnstore_kernel_u64 = 8,
    nnstore_kernel_u32 = 9,
    nnstore_kernel_u16 = 10,
    nnstore_kernel_u8 = 11,
    nnstore_kernel_bool = 12,
    /// What an elementwise kernel does: copies, or an operation of one or two operands, numbered as in CVectorMath's
    /// elementwise.h, or a selection.
    nnstore_kernel_copy = 0,
    nnstore_kernel_unary = 1,
    nnstore_kernel_binary = 2,
    nnstore_kernel_select = 3,
};

/// A tensor, or a number that stands for one.
typedef struct {
    /// Of the first element; 0 for a number.
    uint64_t address;
    int32_t type;
    int32_t reserved;
    double number;
    int64_t integer;
    /// In elements, by dimension of the loop.
    int64_t strides[nnstore_kernel_dimensions];
} nnstore_kernel_operand;

typedef struct {
    uint64_t count;
    int32_t kind;
    int32_t operation;
    /// 0 if each operand's elements lie one after another, or are one for all (stride 0 in the first dimension).
    int32_t rank;
    int32_t reserved;
    int64_t extents[nnstore_kernel_dimensions];
    /// The result first.
    nnstore_kernel_operand operands[4];
} nnstore_kernel_elementwise;

/// Some dimensions of a tensor.
typedef struct {
    uint64_t count;
    int32_t rank;
    int32_t reserved;
    int64_t extents[nnstore_kernel_dimensions];
    int64_t strides[nnstore_kernel_dimensions];
} nnstore_kernel_walk;

typedef struct {
    nnstore_kernel_walk kept, reduced;
    uint64_t from, to, positions;
    /// Of an extreme: the positions of the elements, in the same places; 0 if they are numbered.
    uint64_t candidates;
    int32_t from_type, to_type;
    /// How many results are made in the place of each; they stand one after another, and are made one by a second kernel.
    uint64_t parts;
    double factor;
    /// Whether neighbouring threads take neighbouring results; else, parts of one.
    int32_t is_by_columns;
    /// Of an extreme: whether the largest is wanted.
    int32_t is_largest;
} nnstore_kernel_reduction;

/// Rows of one type without gaps. A gradient is calculated of what `from` then has: the results.
typedef struct {
    uint64_t rows, length;
    uint64_t from, gradient, to;
    int32_t is_logarithm;
    int32_t reserved;
} nnstore_kernel_rows;

typedef struct {
    uint64_t address;
    int64_t row, column;
    int64_t batch[nnstore_kernel_dimensions];
} nnstore_kernel_matrices;

/// result = left right, or that added to what is there. The result's matrices are contiguous, one after another.
typedef struct {
    uint64_t rows, columns, inner, batch;
    int32_t batch_rank;
    int32_t is_adding;
    int64_t batch_extents[nnstore_kernel_dimensions];
    nnstore_kernel_matrices left, right;
    uint64_t result;
} nnstore_kernel_product;

/// Everything contiguous as [outer, extent, inner].
typedef struct {
    uint64_t outer, extent, index_extent, inner;
    uint64_t from, indices, to;
    /// Where the first bad index is noted: that there is one, the index, and the extent.
    uint64_t problem;
    /// The bytes of an element.
    int32_t size;
    /// Whether each element has its own index, or each position one for all of `outer` and `inner`.
    int32_t is_by_element;
    /// Additions are shared out by index among so many threads; a power of two.
    uint64_t parts;
} nnstore_kernel_indexing;

typedef struct {
    uint64_t channels, height, width;
    uint64_t kernel_height, kernel_width;
    uint64_t stride_height, stride_width;
    uint64_t padding_height, padding_width;
    uint64_t dilation_height, dilation_width;
    uint64_t out_height, out_width;
    /// How many images there are, each with its channels.
    uint64_t images;
    uint64_t image, columns, positions;
} nnstore_kernel_windows;

typedef struct {
    uint64_t count;
    uint64_t parameter, gradient, first, second;
    double learning_rate, momentum, dampening, weight_decay;
    int32_t is_nesterov, is_first;
} nnstore_kernel_sgd;

typedef struct {
    uint64_t count;
    uint64_t parameter, gradient, mean, square;
    double learning_rate, beta1, beta2, epsilon, weight_decay, correction1, correction2;
    int32_t is_decoupled;
    int32_t reserved;
} nnstore_kernel_adam;

#endif
