// Products of matrices, where cuBLAS is not to be had: each thread makes a tile of the result, in the order of the inner
// extent.

#include "kernel.h"

enum { tile = 4 };

template <typename T> FUNCTION void product(const nnstore_kernel_product &work) {
    uint64_t down = (work.rows + tile - 1) / tile, right = (work.columns + tile - 1) / tile;
    EACH(index, down * right * work.batch) {
        uint64_t number = index / (down * right), place = index % (down * right);
        uint64_t row = place / right * tile, column = place % right * tile;
        int64_t left_start = 0, right_start = 0;
        uint64_t rest = number;
        for (int32_t dimension = work.batch_rank - 1; dimension >= 0; dimension--) {
            uint64_t extent = (uint64_t)work.batch_extents[dimension];
            int64_t step = (int64_t)(rest % extent);
            rest /= extent;
            left_start += step * work.left.batch[dimension];
            right_start += step * work.right.batch[dimension];
        }
        const T *a = (const T *)work.left.address + left_start;
        const T *b = (const T *)work.right.address + right_start;
        T *c = (T *)work.result + number * work.rows * work.columns;
        uint64_t height = work.rows - row < tile ? work.rows - row : tile;
        uint64_t width = work.columns - column < tile ? work.columns - column : tile;
        T sums[tile][tile];
        for (int i = 0; i < tile; i++)
            for (int j = 0; j < tile; j++) sums[i][j] = 0;
        for (uint64_t inner = 0; inner < work.inner; inner++) {
            T lefts[tile], rights[tile];
            // Outside of the matrices the nearest element stands for one that is not there.
            for (uint64_t i = 0; i < tile; i++)
                lefts[i] = a[(int64_t)(row + (i < height ? i : height - 1)) * work.left.row
                             + (int64_t)inner * work.left.column];
            for (uint64_t j = 0; j < tile; j++)
                rights[j] = b[(int64_t)inner * work.right.row
                              + (int64_t)(column + (j < width ? j : width - 1)) * work.right.column];
            for (int i = 0; i < tile; i++)
                for (int j = 0; j < tile; j++) sums[i][j] += lefts[i] * rights[j];
        }
        for (uint64_t i = 0; i < height; i++)
            for (uint64_t j = 0; j < width; j++) {
                T *to = c + (row + i) * work.columns + column + j;
                *to = work.is_adding ? *to + sums[i][j] : sums[i][j];
            }
    }
}

KERNEL(product_f32, nnstore_kernel_product) { product<float>(arguments); }
KERNEL(product_f64, nnstore_kernel_product) { product<double>(arguments); }
KERNEL(product_i64, nnstore_kernel_product) { product<uint64_t>(arguments); }
