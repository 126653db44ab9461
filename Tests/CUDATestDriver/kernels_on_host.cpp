// The kernels, compiled as C++: what the test driver runs in their place. Each is called once for a launch and does all the
// work of its threads.

#include "kernels_on_host.h"

#include <cstring>
#include <string>

#include "../../Sources/CCUDA/kernels/elementwise.cu"
#include "../../Sources/CCUDA/kernels/indexing.cu"
#include "../../Sources/CCUDA/kernels/matrices.cu"
#include "../../Sources/CCUDA/kernels/optimizers.cu"
#include "../../Sources/CCUDA/kernels/reductions.cu"
#include "../../Sources/CCUDA/kernels/rows.cu"
#include "../../Sources/CCUDA/kernels/windows.cu"

namespace {

template <typename Arguments, void (*kernel)(const Arguments)> void call(const void *bytes) {
    Arguments arguments;
    std::memcpy(&arguments, bytes, sizeof arguments);
    kernel(arguments);
}

#define ENTRY(name, Arguments) \
    { "nnstore_kernel_" #name, sizeof(Arguments), call<Arguments, nnstore_kernel_##name> }
#define FLOAT_ENTRIES(name, Arguments) ENTRY(name##_f32, Arguments), ENTRY(name##_f64, Arguments)

const host_kernel kernels[] = {
    FLOAT_ENTRIES(elementwise, nnstore_kernel_elementwise),
    ENTRY(elementwise_i64, nnstore_kernel_elementwise),
    ENTRY(gather, nnstore_kernel_indexing),
    FLOAT_ENTRIES(add_at, nnstore_kernel_indexing),
    FLOAT_ENTRIES(product, nnstore_kernel_product),
    ENTRY(product_i64, nnstore_kernel_product),
    FLOAT_ENTRIES(sgd, nnstore_kernel_sgd),
    FLOAT_ENTRIES(adam, nnstore_kernel_adam),
    ENTRY(sum_float, nnstore_kernel_reduction),
    ENTRY(sum_integer, nnstore_kernel_reduction),
    ENTRY(extreme_float, nnstore_kernel_reduction),
    ENTRY(extreme_integer, nnstore_kernel_reduction),
    FLOAT_ENTRIES(softmax, nnstore_kernel_rows),
    FLOAT_ENTRIES(long_softmax, nnstore_kernel_rows),
    FLOAT_ENTRIES(softmax_gradient, nnstore_kernel_rows),
    FLOAT_ENTRIES(long_softmax_gradient, nnstore_kernel_rows),
    FLOAT_ENTRIES(unfold, nnstore_kernel_windows),
    FLOAT_ENTRIES(fold, nnstore_kernel_windows),
    FLOAT_ENTRIES(max_pool, nnstore_kernel_windows),
};

} // namespace

const host_kernel *host_kernel_named(const char *name) {
    for (const host_kernel &kernel : kernels)
        if (!std::strcmp(kernel.name, name)) return &kernel;
    return nullptr;
}

int ptx_has_entry(const char *text, const char *name, size_t bytes) {
    // .visible .entry NAME(
    //     .param .align 8 .b8 NAME_param_0[BYTES]
    std::string entry = std::string(".visible .entry ") + name + "(";
    const char *found = std::strstr(text, entry.c_str());
    if (!found) return 0;
    std::string parameter = std::string(name) + "_param_0[" + std::to_string(bytes) + "]";
    const char *end = std::strchr(found, ')');
    const char *place = std::strstr(found, parameter.c_str());
    return place && end && place < end;
}
