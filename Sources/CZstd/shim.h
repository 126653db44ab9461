#ifndef NNSTORE_CZSTD_SHIM_H
#define NNSTORE_CZSTD_SHIM_H

#include <zstd.h>
#include <zstd_errors.h>

/// Casts and renamings in macros, which Swift does not import.
static const unsigned long long nnstore_zstd_content_size_unknown = ZSTD_CONTENTSIZE_UNKNOWN;
static const unsigned long long nnstore_zstd_content_size_error = ZSTD_CONTENTSIZE_ERROR;

#endif
