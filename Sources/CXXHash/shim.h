#ifndef NNSTORE_CXXHASH_SHIM_H
#define NNSTORE_CXXHASH_SHIM_H

#include <xxhash.h>

#endif
