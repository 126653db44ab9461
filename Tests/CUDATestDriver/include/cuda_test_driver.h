#ifndef CUDA_TEST_DRIVER_H
#define CUDA_TEST_DRIVER_H

#include <stddef.h>
#include <stdint.h>

// A test double of NVIDIA's driver: the entry points that NNDevices uses, over memory of this process. Streams are threads, so
// copies are as asynchronous as on a device. It watches how it is used, and fails where it is told to. It calculates nothing
// and says nothing about a real driver's speed.

/// What the double pretends to be.
typedef struct {
    /// The number of devices, at most 4.
    int devices;
    /// Whether they have memory pools.
    int has_pools;
    /// What cuInit answers.
    int start_result;
    /// The version of the interface, such as 12020.
    int version;
    /// The bytes of each device's memory.
    size_t memory;
    /// How long each piece of work waits before it is done, in microseconds, to make races show.
    unsigned int delay;
    /// Whether registering memory fails, so that the driver has to allocate it.
    int refuses_registering;
} cuda_test_configuration;

/// Forgets everything and begins anew. Nobody may use the double meanwhile.
void cuda_test_reset(cuda_test_configuration configuration);

/// Lets the call of this number (from 1 on, counted from now) of an entry point fail with a code; of any entry point that can
/// fail if `entry` is NULL. For ever after, too, if `stays` is not 0.
void cuda_test_fail(const char *entry, long call, int code, int stays);

/// How many calls of an entry point there were since the beginning or the last cuda_test_fail; of all together for NULL.
long cuda_test_calls(const char *entry);

/// What was done wrong, one line each; an empty text if nothing was. Valid until the next call.
const char *cuda_test_misuse(void);

/// What was made and not given back: allocations, events, streams, pools, pinned memory, contexts; an empty text if nothing.
const char *cuda_test_leaks(void);

/// Forks, calls `body` in the child, and gives the child's exit code, which is what `body` returned; -1 if it did not exit.
int cuda_test_in_child(int (*body)(void));

/// The double's cuGetProcAddress_v2, through which all its entry points are found.
int cuda_test_get_proc_address(const char *name, void **function, int version, uint64_t flags, int *status);

#endif
