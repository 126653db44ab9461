// Lets ThreadSanitizer see what Synchronization.Mutex does when two threads want it at once.
//
// A lock that nobody else wants is taken and given back by atomic operations that are compiled into our code, where the
// sanitizer sees them. For one that is wanted the library asks the kernel, and is not compiled for the sanitizer: then what
// the last owner wrote seems to be read without a lock. These functions stand before the library's in a program that is
// built for the sanitizer, call them, and say what they do. In every other program there is nothing of this.

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

#define HANDLE __attribute__((swift_context)) void *

// Synchronization._MutexHandle._lockSlow(_: UInt32) and _unlockSlow(); the handle begins with the atomic number that is the
// lock.
#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef __attribute__((swiftcall)) void lock_slow(uint32_t, HANDLE);
typedef __attribute__((swiftcall)) void unlock_slow(HANDLE);

__attribute__((swiftcall)) void nnstore_lock_slow(uint32_t thread, HANDLE handle) __asm__(LOCK_SLOW);
__attribute__((swiftcall)) void nnstore_unlock_slow(HANDLE handle) __asm__(UNLOCK_SLOW);

__attribute__((swiftcall)) void nnstore_lock_slow(uint32_t thread, HANDLE handle) {
    lock_slow *next = (lock_slow *)dlsym(RTLD_NEXT, LOCK_SLOW);
    next(thread, handle);
    __tsan_acquire(handle);
}

__attribute__((swiftcall)) void nnstore_unlock_slow(HANDLE handle) {
    unlock_slow *next = (unlock_slow *)dlsym(RTLD_NEXT, UNLOCK_SLOW);
    __tsan_release(handle);
    next(handle);
}

#endif
#endif
