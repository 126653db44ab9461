#include "cuda_driver.h"

// The compiled kernels, as texts that end in a zero byte.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const char elementwise[] = {
#embed "kernels/elementwise.ptx" suffix(, 0)
};
static const char indexing[] = {
#embed "kernels/indexing.ptx" suffix(, 0)
};
static const char matrices[] = {
#embed "kernels/matrices.ptx" suffix(, 0)
};
static const char optimizers[] = {
#embed "kernels/optimizers.ptx" suffix(, 0)
};
static const char reductions[] = {
#embed "kernels/reductions.ptx" suffix(, 0)
};
static const char rows[] = {
#embed "kernels/rows.ptx" suffix(, 0)
};
static const char windows[] = {
#embed "kernels/windows.ptx" suffix(, 0)
};

const char *nnstore_kernels_text(nnstore_kernels module) {
    switch (module) {
    case nnstore_elementwise_kernels: return elementwise;
    case nnstore_indexing_kernels: return indexing;
    case nnstore_matrices_kernels: return matrices;
    case nnstore_optimizers_kernels: return optimizers;
    case nnstore_reductions_kernels: return reductions;
    case nnstore_rows_kernels: return rows;
    case nnstore_windows_kernels: return windows;
    }
    return 0;
}

_Static_assert(sizeof(nnstore_cu_pool_properties) == 88, "the size that the driver expects");
