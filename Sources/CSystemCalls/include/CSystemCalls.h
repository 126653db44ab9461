#ifndef NNSTORE_CSYSTEM_H
#define NNSTORE_CSYSTEM_H

#include <stddef.h>
#include <sys/types.h>

// What Swift's Glibc does not show. Each function returns what the call returns and leaves errno as it does.

/// Renames `from` to `to` and fails with EEXIST if `to` exists, in one step (renameat2, RENAME_NOREPLACE).
/// Fails with EINVAL or ENOSYS where the file system or kernel has no such call.
int nnstore_rename_noreplace(const char *from, const char *to);

/// Takes an exclusive lock on the whole file without waiting (open-file-description lock: it belongs to the open
/// file, not to the process). Fails with EAGAIN or EACCES if another open file holds one.
int nnstore_lock_exclusive(int descriptor);

/// Takes an exclusive lock on an open folder without waiting (flock, which needs no write access). Fails with EWOULDBLOCK
/// if another open file holds one.
int nnstore_lock_folder(int descriptor);

/// Advises the kernel to back the range with huge pages. Advice: a failure may be ignored.
int nnstore_advise_huge_pages(void *start, size_t length);

/// Switches writing past the page cache on (1) or off (0) for an open file. Fails with EINVAL or ENOSYS where the file
/// system or the system has no such thing; a file system may also refuse only the writes, with EINVAL.
int nnstore_set_direct(int descriptor, int on);

/// The number of processors that this process may run on, at least 1.
int nnstore_processor_count(void);

#endif
