#ifndef NNSTORE_CCODEC_H
#define NNSTORE_CCODEC_H

// The codec's inner loops. They are C because they gain much from instructions (AVX2, BMI2) that Swift can't ask for
// without unsafe flags; each function takes what the processor has.

#include "checksums.h"
#include "huffman.h"
#include "huffman_encoding.h"
#include "planes.h"

#endif
