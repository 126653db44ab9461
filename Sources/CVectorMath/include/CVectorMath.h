#ifndef NNSTORE_CVECTORMATH_H
#define NNSTORE_CVECTORMATH_H

// The inner loops of tensors. They are C because they gain much from instructions that Swift can't ask for without
// unsafe flags (AVX2, AVX-512; each function takes what the processor has), and because Swift can't promise that a
// product and a sum are not contracted to one operation: here they never are, so a loop over elements gives the same bits
// on every processor.
//
// All counts and strides are in elements. Loops may write where they read (in place); apart from that the places that they
// write must not overlap what they read.

#include "conversion.h"
#include "elementwise.h"
#include "element_types.h"
#include "functions.h"
#include "normalization.h"
#include "optimizers.h"
#include "random.h"
#include "reductions.h"

#endif
