// One step of an optimizer, in the order of operations of CVectorMath's optimizers.c.

#include "kernel.h"

FUNCTION float root_of(float x) { return sqrtf(x); }
FUNCTION double root_of(double x) { return sqrt(x); }

template <typename T> FUNCTION void sgd(const nnstore_kernel_sgd &step) {
    T *parameters = (T *)step.parameter, *momenta = (T *)step.first;
    const T *gradients = (const T *)step.gradient;
    T rate = (T)step.learning_rate, decay = (T)step.weight_decay, kept = (T)step.momentum;
    T fresh = (T)(1 - step.dampening);
    EACH(i, step.count) {
        T slope = gradients[i] + decay * parameters[i];
        if (!momenta) {
            parameters[i] -= rate * slope;
            continue;
        }
        T momentum = step.is_first ? slope : kept * momenta[i] + fresh * slope;
        momenta[i] = momentum;
        parameters[i] -= rate * (step.is_nesterov ? slope + kept * momentum : momentum);
    }
}

template <typename T> FUNCTION void adam(const nnstore_kernel_adam &step) {
    T *parameters = (T *)step.parameter, *means = (T *)step.mean, *squares = (T *)step.square;
    const T *gradients = (const T *)step.gradient;
    T shrink = step.is_decoupled ? (T)(1 - step.learning_rate * step.weight_decay) : (T)1;
    T decay = step.is_decoupled ? (T)0 : (T)step.weight_decay;
    T toward1 = (T)(1 - step.beta1), kept2 = (T)step.beta2, fresh2 = (T)(1 - step.beta2);
    T rate = (T)(step.learning_rate / step.correction1), root2 = (T)root_of(step.correction2);
    T epsilon = (T)step.epsilon;
    EACH(i, step.count) {
        T value = parameters[i] * shrink, slope = gradients[i] + decay * value;
        T first = means[i] + toward1 * (slope - means[i]);
        T second = kept2 * squares[i] + fresh2 * slope * slope;
        means[i] = first;
        squares[i] = second;
        parameters[i] = value - rate * (first / (root_of(second) / root2 + epsilon));
    }
}

KERNEL(sgd_f32, nnstore_kernel_sgd) { sgd<float>(arguments); }
KERNEL(sgd_f64, nnstore_kernel_sgd) { sgd<double>(arguments); }
KERNEL(adam_f32, nnstore_kernel_adam) { adam<float>(arguments); }
KERNEL(adam_f64, nnstore_kernel_adam) { adam<double>(arguments); }
