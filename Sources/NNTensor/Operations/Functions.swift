// Functions of each element. They throw ``TensorError/dtypeMismatch(operation:dtypes:reason:)`` for dtypes that they do not
// exist for; integers and booleans become F32 where the result is no integer.

/// The magnitude.
///
/// - Throws: ``TensorError``.
public func abs(_ x: Tensor) throws -> Tensor { try UnaryOperation.absolute(x) }

/// -1, 0 or 1, as the element is negative, zero (or NaN, as in PyTorch) or positive.
///
/// - Throws: ``TensorError``.
public func sign(_ x: Tensor) throws -> Tensor { try UnaryOperation.sign(x) }

/// The exponential function.
///
/// - Throws: ``TensorError``.
public func exp(_ x: Tensor) throws -> Tensor { try UnaryOperation.exp(x) }

/// The natural logarithm.
///
/// - Throws: ``TensorError``.
public func log(_ x: Tensor) throws -> Tensor { try UnaryOperation.log(x) }

/// The square root.
///
/// - Throws: ``TensorError``.
public func sqrt(_ x: Tensor) throws -> Tensor { try UnaryOperation.sqrt(x) }

/// The hyperbolic tangent.
///
/// - Throws: ``TensorError``.
public func tanh(_ x: Tensor) throws -> Tensor { try UnaryOperation.tanh(x) }

/// 1 / (1 + exp(-x)).
///
/// - Throws: ``TensorError``.
public func sigmoid(_ x: Tensor) throws -> Tensor { try UnaryOperation.sigmoid(x) }

/// The element where it is positive, 0 elsewhere.
///
/// - Throws: ``TensorError``.
public func relu(_ x: Tensor) throws -> Tensor { try UnaryOperation.relu(x) }

/// x Φ(x), with the normal distribution's Φ by the error function (D. Hendrycks, K. Gimpel: Gaussian Error Linear
/// Units, 2016).
///
/// - Throws: ``TensorError``.
public func gelu(_ x: Tensor) throws -> Tensor { try UnaryOperation.gelu(x) }

/// The error function.
///
/// - Throws: ``TensorError``.
public func erf(_ x: Tensor) throws -> Tensor { try UnaryOperation.erf(x) }

/// The sine.
///
/// - Throws: ``TensorError``.
public func sin(_ x: Tensor) throws -> Tensor { try UnaryOperation.sin(x) }

/// The cosine.
///
/// - Throws: ``TensorError``.
public func cos(_ x: Tensor) throws -> Tensor { try UnaryOperation.cos(x) }

/// The largest integer that is not larger; integers stay what they are.
///
/// - Throws: ``TensorError``.
public func floor(_ x: Tensor) throws -> Tensor { x.dtype.isInteger ? try x.clone() : try UnaryOperation.floor(x) }

/// The smallest integer that is not smaller; integers stay what they are.
///
/// - Throws: ``TensorError``.
public func ceil(_ x: Tensor) throws -> Tensor { x.dtype.isInteger ? try x.clone() : try UnaryOperation.ceil(x) }

/// The nearest integer, ties to even; integers stay what they are.
///
/// - Throws: ``TensorError``.
public func round(_ x: Tensor) throws -> Tensor { x.dtype.isInteger ? try x.clone() : try UnaryOperation.round(x) }

/// Whether the element is not a number, BOOL.
///
/// - Throws: ``TensorError``.
public func isNaN(_ x: Tensor) throws -> Tensor { try UnaryOperation.isNaN(x) }

/// Whether the element is neither infinite nor not a number, BOOL.
///
/// - Throws: ``TensorError``.
public func isFinite(_ x: Tensor) throws -> Tensor { try UnaryOperation.isFinite(x) }

/// The larger one of two elements, broadcast; NaN if one is NaN. Of equals, both get half of the gradient.
///
/// - Throws: ``TensorError``.
public func maximum(_ left: Tensor, _ right: Tensor) throws -> Tensor { try BinaryOperation.maximum(left, right) }

/// The smaller one of two elements, broadcast; NaN if one is NaN. Of equals, both get half of the gradient.
///
/// - Throws: ``TensorError``.
public func minimum(_ left: Tensor, _ right: Tensor) throws -> Tensor { try BinaryOperation.minimum(left, right) }

/// The elements to the power of those on the right, broadcast, as floats.
///
/// - Throws: ``TensorError``.
public func pow(_ left: Tensor, _ right: Tensor) throws -> Tensor { try BinaryOperation.power(left, right) }

/// The elements to the power of a number, as floats.
///
/// - Throws: ``TensorError``.
public func pow(_ x: Tensor, _ exponent: Double) throws -> Tensor {
    try BinaryOperation.power(x, Tensor(number: exponent))
}

/// The elements to the power of an integer, as floats.
///
/// - Throws: ``TensorError``.
public func pow(_ x: Tensor, _ exponent: Int) throws -> Tensor {
    try BinaryOperation.power(x, Tensor(number: exponent))
}

/// The elements, but none below `minimum` or above `maximum`. Those outside have no gradient.
///
/// - Throws: ``TensorError``.
public func clamp(_ x: Tensor, minimum: Double? = nil, maximum: Double? = nil) throws -> Tensor {
    var result = x
    if let minimum {
        result = try select(BinaryOperation.less(result, Tensor(number: minimum)), Tensor(number: minimum), result)
    }
    if let maximum {
        result = try select(BinaryOperation.greater(result, Tensor(number: maximum)), Tensor(number: maximum), result)
    }
    return result
}
