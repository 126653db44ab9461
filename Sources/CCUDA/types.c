// SwiftPM wants a source in every target; this one has types only.
#include "cuda_driver.h"

_Static_assert(sizeof(nnstore_cu_pool_properties) == 88, "the size that the driver expects");
