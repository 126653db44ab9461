#ifndef NNSTORE_CUDA_DRIVER_H
#define NNSTORE_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

// What NNDevices uses of NVIDIA's driver interface: types and numbers, no functions. The library is opened when the
// program runs, so nothing here is linked. Names and numbers are those of the CUDA Driver API reference, version 12.0
// (docs.nvidia.com/cuda/cuda-driver-api), which later versions keep.

/// A return code; 0 is success.
typedef int nnstore_cu_result;
/// The number of a device in the driver.
typedef int nnstore_cu_device;
/// An address in a device's memory.
typedef uint64_t nnstore_cu_pointer;

typedef struct nnstore_cu_context_object *nnstore_cu_context;
typedef struct nnstore_cu_stream_object *nnstore_cu_stream;
typedef struct nnstore_cu_event_object *nnstore_cu_event;
typedef struct nnstore_cu_pool_object *nnstore_cu_pool;
typedef struct nnstore_cu_module_object *nnstore_cu_module;
typedef struct nnstore_cu_function_object *nnstore_cu_function;

/// CUuuid
typedef struct {
    uint8_t bytes[16];
} nnstore_cu_uuid;

/// CUmemPoolProps, 88 bytes. What is not named is zero.
typedef struct {
    /// CUmemAllocationType; 1 is pinned.
    int allocation_type;
    /// CUmemAllocationHandleType; 0 is none.
    int handle_types;
    /// CUmemLocation: a type, 1 being a device, and its number.
    int location_type;
    int location;
    /// An address, for Windows.
    uint64_t security_attributes;
    uint8_t reserved[64];
} nnstore_cu_pool_properties;

enum {
    /// CUresult
    nnstore_cu_success = 0,
    nnstore_cu_out_of_memory = 2,
    nnstore_cu_not_ready = 600,

    /// CUdevice_attribute
    nnstore_cu_attribute_multiprocessors = 16,
    nnstore_cu_attribute_capability_major = 75,
    nnstore_cu_attribute_capability_minor = 76,
    nnstore_cu_attribute_memory_pools = 115,

    /// CUstream_flags
    nnstore_cu_stream_non_blocking = 1,
    /// CUevent_flags
    nnstore_cu_event_blocking_sync = 1,
    nnstore_cu_event_disable_timing = 2,
    /// CU_MEMHOSTREGISTER_PORTABLE, CU_MEMHOSTALLOC_PORTABLE
    nnstore_cu_host_portable = 1,
    /// CU_MEMHOSTALLOC_DEVICEMAP
    nnstore_cu_host_mapped = 2,
    /// CUmemPool_attribute
    nnstore_cu_pool_release_threshold = 4,
};

// The functions, under the names that they are looked up by.
typedef nnstore_cu_result (*nnstore_cuGetProcAddress)(
    const char *name, void **function, int version, uint64_t flags, int *status);
typedef nnstore_cu_result (*nnstore_cuInit)(unsigned int flags);
typedef nnstore_cu_result (*nnstore_cuDriverGetVersion)(int *version);
typedef nnstore_cu_result (*nnstore_cuGetErrorText)(nnstore_cu_result error, const char **text);
typedef nnstore_cu_result (*nnstore_cuDeviceGetCount)(int *count);
typedef nnstore_cu_result (*nnstore_cuDeviceGet)(nnstore_cu_device *device, int ordinal);
typedef nnstore_cu_result (*nnstore_cuDeviceGetName)(char *name, int length, nnstore_cu_device device);
typedef nnstore_cu_result (*nnstore_cuDeviceGetUuid)(nnstore_cu_uuid *uuid, nnstore_cu_device device);
typedef nnstore_cu_result (*nnstore_cuDeviceGetAttribute)(int *value, int attribute, nnstore_cu_device device);
typedef nnstore_cu_result (*nnstore_cuDeviceTotalMem)(size_t *bytes, nnstore_cu_device device);
typedef nnstore_cu_result (*nnstore_cuDevicePrimaryCtxRetain)(nnstore_cu_context *context, nnstore_cu_device device);
typedef nnstore_cu_result (*nnstore_cuDevicePrimaryCtxRelease)(nnstore_cu_device device);
typedef nnstore_cu_result (*nnstore_cuCtxPushCurrent)(nnstore_cu_context context);
typedef nnstore_cu_result (*nnstore_cuCtxPopCurrent)(nnstore_cu_context *context);
typedef nnstore_cu_result (*nnstore_cuStreamCreate)(nnstore_cu_stream *stream, unsigned int flags);
typedef nnstore_cu_result (*nnstore_cuStreamDestroy)(nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuStreamWaitEvent)(
    nnstore_cu_stream stream, nnstore_cu_event event, unsigned int flags);
typedef nnstore_cu_result (*nnstore_cuEventCreate)(nnstore_cu_event *event, unsigned int flags);
typedef nnstore_cu_result (*nnstore_cuEventDestroy)(nnstore_cu_event event);
typedef nnstore_cu_result (*nnstore_cuEventRecord)(nnstore_cu_event event, nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuEventQuery)(nnstore_cu_event event);
typedef nnstore_cu_result (*nnstore_cuEventSynchronize)(nnstore_cu_event event);
typedef nnstore_cu_result (*nnstore_cuMemGetInfo)(size_t *free, size_t *total);
typedef nnstore_cu_result (*nnstore_cuMemAlloc)(nnstore_cu_pointer *address, size_t bytes);
typedef nnstore_cu_result (*nnstore_cuMemFree)(nnstore_cu_pointer address);
typedef nnstore_cu_result (*nnstore_cuMemPoolCreate)(
    nnstore_cu_pool *pool, const nnstore_cu_pool_properties *properties);
typedef nnstore_cu_result (*nnstore_cuMemPoolDestroy)(nnstore_cu_pool pool);
typedef nnstore_cu_result (*nnstore_cuMemPoolSetAttribute)(nnstore_cu_pool pool, int attribute, void *value);
typedef nnstore_cu_result (*nnstore_cuMemPoolTrimTo)(nnstore_cu_pool pool, size_t bytes);
typedef nnstore_cu_result (*nnstore_cuMemAllocFromPoolAsync)(
    nnstore_cu_pointer *address, size_t bytes, nnstore_cu_pool pool, nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuMemFreeAsync)(nnstore_cu_pointer address, nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuMemHostRegister)(void *address, size_t bytes, unsigned int flags);
typedef nnstore_cu_result (*nnstore_cuMemHostUnregister)(void *address);
typedef nnstore_cu_result (*nnstore_cuMemHostAlloc)(void **address, size_t bytes, unsigned int flags);
typedef nnstore_cu_result (*nnstore_cuMemFreeHost)(void *address);
typedef nnstore_cu_result (*nnstore_cuMemcpyHtoDAsync)(
    nnstore_cu_pointer destination, const void *source, size_t bytes, nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuMemcpyDtoHAsync)(
    void *destination, nnstore_cu_pointer source, size_t bytes, nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuMemcpyDtoDAsync)(
    nnstore_cu_pointer destination, nnstore_cu_pointer source, size_t bytes, nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuMemsetD8Async)(
    nnstore_cu_pointer destination, unsigned char value, size_t bytes, nnstore_cu_stream stream);
typedef nnstore_cu_result (*nnstore_cuModuleLoadData)(nnstore_cu_module *module, const void *image);
typedef nnstore_cu_result (*nnstore_cuModuleUnload)(nnstore_cu_module module);
typedef nnstore_cu_result (*nnstore_cuModuleGetFunction)(
    nnstore_cu_function *function, nnstore_cu_module module, const char *name);
typedef nnstore_cu_result (*nnstore_cuLaunchKernel)(
    nnstore_cu_function function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
    unsigned int block_y, unsigned int block_z, unsigned int shared_bytes, nnstore_cu_stream stream, void **parameters,
    void **extra);

/// The files of kernels, each a module of its own, so that only what is used is compiled for the device.
typedef enum {
    nnstore_elementwise_kernels,
    nnstore_indexing_kernels,
    nnstore_matrices_kernels,
    nnstore_optimizers_kernels,
    nnstore_reductions_kernels,
    nnstore_rows_kernels,
    nnstore_windows_kernels,
} nnstore_kernels;

/// The PTX of a file of kernels.
const char *nnstore_kernels_text(nnstore_kernels module);

#endif
