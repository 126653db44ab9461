import NNStore

// Operators can't throw usefully in the middle of a formula, so they stop the program where shapes or dtypes do not fit; the
// message names both. Swift numbers take part as they are: they have no dtype of their own, as in PyTorch.

extension Tensor {
    /// The negative elements.
    public static prefix func - (tensor: Tensor) -> Tensor { orStop { try UnaryOperation.negative(tensor) } }

    /// The truth values reversed.
    public static prefix func .! (tensor: Tensor) -> Tensor { orStop { try UnaryOperation.not(tensor) } }
}

/// Elementwise not.
prefix operator .!
/// Elementwise and.
infix operator .& : LogicalConjunctionPrecedence
/// Elementwise or.
infix operator .| : LogicalDisjunctionPrecedence
/// Elementwise exclusive or.
infix operator .^ : LogicalDisjunctionPrecedence

// MARK: Arithmetic

extension Tensor {
    /// The sum of the elements, broadcast.
    public static func + (left: Tensor, right: Tensor) -> Tensor { orStop { try BinaryOperation.add(left, right) } }
    /// The sum of each element and a number.
    public static func + (left: Tensor, right: Double) -> Tensor { left + Tensor(number: right) }
    /// The sum of a number and each element.
    public static func + (left: Double, right: Tensor) -> Tensor { Tensor(number: left) + right }
    /// The sum of each element and a number.
    public static func + (left: Tensor, right: Float) -> Tensor { left + Tensor(number: Double(right)) }
    /// The sum of a number and each element.
    public static func + (left: Float, right: Tensor) -> Tensor { Tensor(number: Double(left)) + right }
    /// The sum of each element and a number.
    public static func + (left: Tensor, right: Int) -> Tensor { left + Tensor(number: right) }
    /// The sum of a number and each element.
    public static func + (left: Int, right: Tensor) -> Tensor { Tensor(number: left) + right }

    /// The difference of the elements, broadcast.
    public static func - (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.subtract(left, right) }
    }
    /// The difference of each element and a number.
    public static func - (left: Tensor, right: Double) -> Tensor { left - Tensor(number: right) }
    /// The difference of a number and each element.
    public static func - (left: Double, right: Tensor) -> Tensor { Tensor(number: left) - right }
    /// The difference of each element and a number.
    public static func - (left: Tensor, right: Float) -> Tensor { left - Tensor(number: Double(right)) }
    /// The difference of a number and each element.
    public static func - (left: Float, right: Tensor) -> Tensor { Tensor(number: Double(left)) - right }
    /// The difference of each element and a number.
    public static func - (left: Tensor, right: Int) -> Tensor { left - Tensor(number: right) }
    /// The difference of a number and each element.
    public static func - (left: Int, right: Tensor) -> Tensor { Tensor(number: left) - right }

    /// The product of the elements, broadcast.
    public static func * (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.multiply(left, right) }
    }
    /// The product of each element and a number.
    public static func * (left: Tensor, right: Double) -> Tensor { left * Tensor(number: right) }
    /// The product of a number and each element.
    public static func * (left: Double, right: Tensor) -> Tensor { Tensor(number: left) * right }
    /// The product of each element and a number.
    public static func * (left: Tensor, right: Float) -> Tensor { left * Tensor(number: Double(right)) }
    /// The product of a number and each element.
    public static func * (left: Float, right: Tensor) -> Tensor { Tensor(number: Double(left)) * right }
    /// The product of each element and a number.
    public static func * (left: Tensor, right: Int) -> Tensor { left * Tensor(number: right) }
    /// The product of a number and each element.
    public static func * (left: Int, right: Tensor) -> Tensor { Tensor(number: left) * right }

    /// The quotient, a float of the elements, broadcast.
    public static func / (left: Tensor, right: Tensor) -> Tensor { orStop { try BinaryOperation.divide(left, right) } }
    /// The quotient, a float of each element and a number.
    public static func / (left: Tensor, right: Double) -> Tensor { left / Tensor(number: right) }
    /// The quotient, a float of a number and each element.
    public static func / (left: Double, right: Tensor) -> Tensor { Tensor(number: left) / right }
    /// The quotient, a float of each element and a number.
    public static func / (left: Tensor, right: Float) -> Tensor { left / Tensor(number: Double(right)) }
    /// The quotient, a float of a number and each element.
    public static func / (left: Float, right: Tensor) -> Tensor { Tensor(number: Double(left)) / right }
    /// The quotient, a float of each element and a number.
    public static func / (left: Tensor, right: Int) -> Tensor { left / Tensor(number: right) }
    /// The quotient, a float of a number and each element.
    public static func / (left: Int, right: Tensor) -> Tensor { Tensor(number: left) / right }
}

// MARK: Arithmetic in place

// The left side is a reference, not inout, so that `net.weight += 1` works on a constant. It is written to in place.

extension Tensor {
    /// Makes the sum of the elements the value, in place; the right side is broadcast.
    public static func += (left: Tensor, right: Tensor) { orStop { try left.update(.add, right) } }
    /// Makes the sum of each element and a number the value, in place.
    public static func += (left: Tensor, right: Double) { left += Tensor(number: right) }
    /// Makes the sum of each element and a number the value, in place.
    public static func += (left: Tensor, right: Float) { left += Tensor(number: Double(right)) }
    /// Makes the sum of each element and a number the value, in place.
    public static func += (left: Tensor, right: Int) { left += Tensor(number: right) }

    /// Makes the difference of the elements the value, in place; the right side is broadcast.
    public static func -= (left: Tensor, right: Tensor) { orStop { try left.update(.subtract, right) } }
    /// Makes the difference of each element and a number the value, in place.
    public static func -= (left: Tensor, right: Double) { left -= Tensor(number: right) }
    /// Makes the difference of each element and a number the value, in place.
    public static func -= (left: Tensor, right: Float) { left -= Tensor(number: Double(right)) }
    /// Makes the difference of each element and a number the value, in place.
    public static func -= (left: Tensor, right: Int) { left -= Tensor(number: right) }

    /// Makes the product of the elements the value, in place; the right side is broadcast.
    public static func *= (left: Tensor, right: Tensor) { orStop { try left.update(.multiply, right) } }
    /// Makes the product of each element and a number the value, in place.
    public static func *= (left: Tensor, right: Double) { left *= Tensor(number: right) }
    /// Makes the product of each element and a number the value, in place.
    public static func *= (left: Tensor, right: Float) { left *= Tensor(number: Double(right)) }
    /// Makes the product of each element and a number the value, in place.
    public static func *= (left: Tensor, right: Int) { left *= Tensor(number: right) }

    /// Makes the quotient of the elements the value, in place; the right side is broadcast.
    public static func /= (left: Tensor, right: Tensor) { orStop { try left.update(.divide, right) } }
    /// Makes the quotient of each element and a number the value, in place.
    public static func /= (left: Tensor, right: Double) { left /= Tensor(number: right) }
    /// Makes the quotient of each element and a number the value, in place.
    public static func /= (left: Tensor, right: Float) { left /= Tensor(number: Double(right)) }
    /// Makes the quotient of each element and a number the value, in place.
    public static func /= (left: Tensor, right: Int) { left /= Tensor(number: right) }
}

// MARK: Comparison

// Floats on the left of < and the like are generic: a concrete Double there would win over Swift's own comparison in
// `loss.item() < 0.5`, where the literal can be a tensor as well.

extension Tensor {
    /// Whether the elements are equal, BOOL.
    public static func .== (left: Tensor, right: Tensor) -> Tensor { orStop { try BinaryOperation.equal(left, right) } }
    /// Whether the elements are equal, BOOL; the right side is a number.
    public static func .== (left: Tensor, right: Double) -> Tensor { left .== Tensor(number: right) }
    /// Whether the elements are equal, BOOL; the left side is a number.
    public static func .== (left: Double, right: Tensor) -> Tensor { Tensor(number: left) .== right }
    /// Whether the elements are equal, BOOL; the right side is a number.
    public static func .== (left: Tensor, right: Float) -> Tensor { left .== Tensor(number: Double(right)) }
    /// Whether the elements are equal, BOOL; the left side is a number.
    public static func .== (left: Float, right: Tensor) -> Tensor { Tensor(number: Double(left)) .== right }
    /// Whether the elements are equal, BOOL; the right side is a number.
    public static func .== (left: Tensor, right: Int) -> Tensor { left .== Tensor(number: right) }
    /// Whether the elements are equal, BOOL; the left side is a number.
    public static func .== (left: Int, right: Tensor) -> Tensor { Tensor(number: left) .== right }

    /// Whether the elements are different, BOOL.
    public static func .!= (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.notEqual(left, right) }
    }
    /// Whether the elements are different, BOOL; the right side is a number.
    public static func .!= (left: Tensor, right: Double) -> Tensor { left .!= Tensor(number: right) }
    /// Whether the elements are different, BOOL; the left side is a number.
    public static func .!= (left: Double, right: Tensor) -> Tensor { Tensor(number: left) .!= right }
    /// Whether the elements are different, BOOL; the right side is a number.
    public static func .!= (left: Tensor, right: Float) -> Tensor { left .!= Tensor(number: Double(right)) }
    /// Whether the elements are different, BOOL; the left side is a number.
    public static func .!= (left: Float, right: Tensor) -> Tensor { Tensor(number: Double(left)) .!= right }
    /// Whether the elements are different, BOOL; the right side is a number.
    public static func .!= (left: Tensor, right: Int) -> Tensor { left .!= Tensor(number: right) }
    /// Whether the elements are different, BOOL; the left side is a number.
    public static func .!= (left: Int, right: Tensor) -> Tensor { Tensor(number: left) .!= right }

    /// Whether, of the elements, the left one is less, BOOL.
    public static func < (left: Tensor, right: Tensor) -> Tensor { orStop { try BinaryOperation.less(left, right) } }
    /// Whether, of the elements, the left one is less, BOOL; the right side is a number.
    public static func < (left: Tensor, right: Double) -> Tensor { left < Tensor(number: right) }
    /// Whether, of the elements, the left one is less, BOOL; the left side is a number.
    public static func < <Number: BinaryFloatingPoint>(left: Number, right: Tensor) -> Tensor {
        Tensor(number: Double(left)) < right
    }
    /// Whether, of the elements, the left one is less, BOOL; the right side is a number.
    public static func < (left: Tensor, right: Float) -> Tensor { left < Tensor(number: Double(right)) }
    /// Whether, of the elements, the left one is less, BOOL; the right side is a number.
    public static func < (left: Tensor, right: Int) -> Tensor { left < Tensor(number: right) }
    /// Whether, of the elements, the left one is less, BOOL; the left side is a number.
    public static func < (left: Int, right: Tensor) -> Tensor { Tensor(number: left) < right }

    /// Whether, of the elements, the left one is less or equal, BOOL.
    public static func <= (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.lessOrEqual(left, right) }
    }
    /// Whether, of the elements, the left one is less or equal, BOOL; the right side is a number.
    public static func <= (left: Tensor, right: Double) -> Tensor { left <= Tensor(number: right) }
    /// Whether, of the elements, the left one is less or equal, BOOL; the left side is a number.
    public static func <= <Number: BinaryFloatingPoint>(left: Number, right: Tensor) -> Tensor {
        Tensor(number: Double(left)) <= right
    }
    /// Whether, of the elements, the left one is less or equal, BOOL; the right side is a number.
    public static func <= (left: Tensor, right: Float) -> Tensor { left <= Tensor(number: Double(right)) }
    /// Whether, of the elements, the left one is less or equal, BOOL; the right side is a number.
    public static func <= (left: Tensor, right: Int) -> Tensor { left <= Tensor(number: right) }
    /// Whether, of the elements, the left one is less or equal, BOOL; the left side is a number.
    public static func <= (left: Int, right: Tensor) -> Tensor { Tensor(number: left) <= right }

    /// Whether, of the elements, the left one is greater, BOOL.
    public static func > (left: Tensor, right: Tensor) -> Tensor { orStop { try BinaryOperation.greater(left, right) } }
    /// Whether, of the elements, the left one is greater, BOOL; the right side is a number.
    public static func > (left: Tensor, right: Double) -> Tensor { left > Tensor(number: right) }
    /// Whether, of the elements, the left one is greater, BOOL; the left side is a number.
    public static func > <Number: BinaryFloatingPoint>(left: Number, right: Tensor) -> Tensor {
        Tensor(number: Double(left)) > right
    }
    /// Whether, of the elements, the left one is greater, BOOL; the right side is a number.
    public static func > (left: Tensor, right: Float) -> Tensor { left > Tensor(number: Double(right)) }
    /// Whether, of the elements, the left one is greater, BOOL; the right side is a number.
    public static func > (left: Tensor, right: Int) -> Tensor { left > Tensor(number: right) }
    /// Whether, of the elements, the left one is greater, BOOL; the left side is a number.
    public static func > (left: Int, right: Tensor) -> Tensor { Tensor(number: left) > right }

    /// Whether, of the elements, the left one is greater or equal, BOOL.
    public static func >= (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.greaterOrEqual(left, right) }
    }
    /// Whether, of the elements, the left one is greater or equal, BOOL; the right side is a number.
    public static func >= (left: Tensor, right: Double) -> Tensor { left >= Tensor(number: right) }
    /// Whether, of the elements, the left one is greater or equal, BOOL; the left side is a number.
    public static func >= <Number: BinaryFloatingPoint>(left: Number, right: Tensor) -> Tensor {
        Tensor(number: Double(left)) >= right
    }
    /// Whether, of the elements, the left one is greater or equal, BOOL; the right side is a number.
    public static func >= (left: Tensor, right: Float) -> Tensor { left >= Tensor(number: Double(right)) }
    /// Whether, of the elements, the left one is greater or equal, BOOL; the right side is a number.
    public static func >= (left: Tensor, right: Int) -> Tensor { left >= Tensor(number: right) }
    /// Whether, of the elements, the left one is greater or equal, BOOL; the left side is a number.
    public static func >= (left: Int, right: Tensor) -> Tensor { Tensor(number: left) >= right }
}

// MARK: Truth values

extension Tensor {
    /// Whether both elements are true; both sides are BOOL.
    public static func .& (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.multiply(left.requireBooleans(".&"), right.requireBooleans(".&")) }
    }

    /// Whether one element is true, or both; both sides are BOOL.
    public static func .| (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.add(left.requireBooleans(".|"), right.requireBooleans(".|")) }
    }

    /// Whether just one element is true; both sides are BOOL.
    public static func .^ (left: Tensor, right: Tensor) -> Tensor {
        orStop { try BinaryOperation.exclusiveOr(left.requireBooleans(".^"), right.requireBooleans(".^")) }
    }

    private func requireBooleans(_ operation: String) throws -> Tensor {
        guard dtype == .bool else {
            throw TensorError.dtypeMismatch(
                operation: operation, dtypes: [dtype], reason: "both sides must be BOOL: comparisons, or to(.bool)")
        }
        return self
    }
}
