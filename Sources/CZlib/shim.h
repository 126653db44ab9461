#ifndef NNSTORE_CZLIB_SHIM_H
#define NNSTORE_CZLIB_SHIM_H

#include <zlib.h>

/// A macro of zlib's that Swift does not import: raw deflate, as zip archives have it, has no header.
static inline int nnstore_inflate_begin(z_stream *stream) { return inflateInit2(stream, -MAX_WBITS); }

#endif
