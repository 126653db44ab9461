#include "optimizers.h"

#include <math.h>

#include "vectors.h"

#define OPTIMIZERS(name, T, SQRT)                                                                                      \
    CLONES void nnstore_sgd_##name(                                                                                    \
        const nnstore_sgd *step, size_t count, T *parameter, const T *gradient, T *momentum) {                         \
        T rate = (T)step->learning_rate, decay = (T)step->weight_decay, kept = (T)step->momentum;                      \
        T fresh = (T)(1 - step->dampening);                                                                            \
        if (!momentum) {                                                                                               \
            PARALLEL for (size_t i = 0; i < count; i++)                                                                \
                parameter[i] -= rate * (gradient[i] + decay * parameter[i]);                                           \
            return;                                                                                                    \
        }                                                                                                              \
        if (step->is_first) {                                                                                          \
            PARALLEL for (size_t i = 0; i < count; i++) momentum[i] = gradient[i] + decay * parameter[i];              \
        } else {                                                                                                       \
            PARALLEL for (size_t i = 0; i < count; i++)                                                                \
                momentum[i] = kept * momentum[i] + fresh * (gradient[i] + decay * parameter[i]);                       \
        }                                                                                                              \
        if (step->nesterov) {                                                                                          \
            PARALLEL for (size_t i = 0; i < count; i++)                                                                \
                parameter[i] -= rate * (gradient[i] + decay * parameter[i] + kept * momentum[i]);                      \
        } else {                                                                                                       \
            PARALLEL for (size_t i = 0; i < count; i++) parameter[i] -= rate * momentum[i];                            \
        }                                                                                                              \
    }                                                                                                                  \
                                                                                                                       \
    CLONES void nnstore_adam_##name(                                                                                   \
        const nnstore_adam *step, size_t count, T *parameter, const T *gradient, T *mean, T *square) {                 \
        T shrink = step->is_decoupled ? (T)(1 - step->learning_rate * step->weight_decay) : 1;                         \
        T decay = step->is_decoupled ? 0 : (T)step->weight_decay;                                                      \
        T toward1 = (T)(1 - step->beta1), kept2 = (T)step->beta2, fresh2 = (T)(1 - step->beta2);                       \
        T rate = (T)(step->learning_rate / step->correction1), root2 = (T)sqrt(step->correction2);                     \
        T epsilon = (T)step->epsilon;                                                                                  \
        PARALLEL for (size_t i = 0; i < count; i++) {                                                                  \
            T value = parameter[i] * shrink, slope = gradient[i] + decay * value;                                      \
            T first = mean[i] + toward1 * (slope - mean[i]);                                                           \
            T second = kept2 * square[i] + fresh2 * slope * slope;                                                     \
            mean[i] = first;                                                                                           \
            square[i] = second;                                                                                        \
            parameter[i] = value - rate * (first / (SQRT(second) / root2 + epsilon));                                  \
        }                                                                                                              \
    }

OPTIMIZERS(f32, float, sqrtf)
OPTIMIZERS(f64, double, sqrt)
