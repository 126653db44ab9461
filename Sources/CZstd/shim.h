#ifndef NNSTORE_CZSTD_SHIM_H
#define NNSTORE_CZSTD_SHIM_H

// For ZSTD_compressSequences, which makes frames of literals only, without a search for matches.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

/// Casts and renamings in macros, which Swift does not import.
static const unsigned long long nnstore_zstd_content_size_unknown = ZSTD_CONTENTSIZE_UNKNOWN;
static const unsigned long long nnstore_zstd_content_size_error = ZSTD_CONTENTSIZE_ERROR;
static const ZSTD_cParameter nnstore_zstd_block_delimiters = ZSTD_c_blockDelimiters;

#endif
