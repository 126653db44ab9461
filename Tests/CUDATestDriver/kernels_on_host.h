#ifndef KERNELS_ON_HOST_H
#define KERNELS_ON_HOST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name;
    size_t argument_bytes;
    void (*run)(const void *arguments);
} host_kernel;

/// The kernel of a name, or NULL.
const host_kernel *host_kernel_named(const char *name);

/// Whether a text of PTX has an entry of this name that takes one argument of this size.
int ptx_has_entry(const char *text, const char *name, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
