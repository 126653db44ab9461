#ifndef NNSTORE_OPTIMIZERS_H
#define NNSTORE_OPTIMIZERS_H

#include <stdbool.h>
#include <stddef.h>

// One step of an optimizer for `count` contiguous elements, in the order of operations of PyTorch's torch.optim.

/// What a step of stochastic gradient descent with momentum is made of.
typedef struct nnstore_sgd {
    double learning_rate, momentum, dampening, weight_decay;
    bool nesterov;
    /// Whether the momentum is just the first gradient.
    bool is_first;
} nnstore_sgd;

/// What a step of Adam is made of. The corrections are 1 - beta^step.
typedef struct nnstore_adam {
    double learning_rate, beta1, beta2, epsilon, weight_decay, correction1, correction2;
    /// Whether the weight decay shrinks the parameter itself (AdamW) and not by way of the gradient.
    bool is_decoupled;
} nnstore_adam;

/// `momentum` is NULL where there is none.
void nnstore_sgd_f32(const nnstore_sgd *step, size_t count, float *parameter, const float *gradient, float *momentum);
void nnstore_sgd_f64(const nnstore_sgd *step, size_t count, double *parameter, const double *gradient, double *momentum);

/// `mean` and `square` are the running means of the gradient and of its square.
void nnstore_adam_f32(
    const nnstore_adam *step, size_t count, float *parameter, const float *gradient, float *mean, float *square);
void nnstore_adam_f64(
    const nnstore_adam *step, size_t count, double *parameter, const double *gradient, double *mean, double *square);

#endif
