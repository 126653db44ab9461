import NNStore

extension JSONValue {
    /// The nearest JSON for a tree of plain values.
    ///
    /// Numbers stay numbers where JSON has them; NaN and the infinities become strings, bytes a string of hexadecimal
    /// digits, a record an object of its type and its parts, and a tensor its dtype and shape.
    ///
    /// - Throws: ``InteropError/invalidTree(path:reason:)`` if the tree is deeper than any may be.
    package init(_ tree: StateTree) throws(InteropError) { try self.init(tree, depth: 0) }

    private init(_ tree: StateTree, depth: Int) throws(InteropError) {
        guard depth <= StateTree.maximumDepth else {
            throw .invalidTree(path: "", reason: "it is deeper than \(StateTree.maximumDepth) levels")
        }
        switch tree {
        case .null: self = .null
        case .boolean(let value): self = .bool(value)
        case .integer(let value):
            // Integers of more than a thousand bytes have hexadecimal digits, which JSON has no number for.
            let digits = value.description
            self = digits.utf8.contains(UInt8(ascii: "x")) ? .string(digits) : .number(JSONNumber(checked: digits))
        case .double(let value): self = JSONValue(value)
        case .string(let text): self = .string(text)
        case .bytes(let bytes): self = .string(hexadecimal(bytes))
        case .scalar(let value): self = value.numbers.first ?? .null
        case .array(let values): self = .array(values.numbers)
        case .strings(let texts): self = .array(texts.map { .string($0) })
        case .list(let elements, _), .tuple(let elements, _):
            self = .array(try elements.map { element throws(InteropError) in try JSONValue(element, depth: depth + 1) })
        case .dictionary(let entries): self = try JSONValue(entries, depth: depth + 1)
        case .record(let type, let parts):
            self = .object(["type": .string(type), "parts": try JSONValue(parts, depth: depth + 1)])
        case .tensor(let tensor):
            self = .object([
                "dtype": .string(tensor.dtype.name), "shape": .array(tensor.shape.map { .integer($0) }),
            ])
        }
    }

    private init(_ entries: StateDictionary, depth: Int) throws(InteropError) {
        var members: [JSONMember] = []
        var keys: Set<StateKey> = []
        for (key, value) in entries {
            members.append(JSONMember(key.description, try JSONValue(value, depth: depth)))
            keys.insert(.text(key.description))
        }
        // The integer 1 beside the text "1": an object can't hold both, pairs can.
        self =
            keys.count == members.count
            ? .object(members) : .array(members.map { .array([.string($0.key), $0.value]) })
    }

    /// A number by the shortest digits that give it back, or the text `NaN`, `Infinity` or `-Infinity`.
    package init(_ value: some BinaryFloatingPoint & CustomStringConvertible) {
        if value.isFinite {
            self = .number(JSONNumber(checked: value.description))
        } else {
            self = .string(value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity")
        }
    }
}

extension TypedValue {
    /// The elements as numbers, those of dtypes that are seldom outside tensors as hexadecimal digits.
    fileprivate var numbers: [JSONValue] {
        let size = dtype.bytesPerBlock
        return stride(from: 0, to: bytes.count, by: size).map { start in
            let element = bytes[start..<start + size]
            let bits = element.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return switch dtype {
            case .bool where bits < 2: .bool(bits == 1)
            case .u8, .u16, .u32, .u64: .number(JSONNumber(bits))
            case .i8: .number(JSONNumber(Int8(truncatingIfNeeded: bits)))
            case .i16: .number(JSONNumber(Int16(truncatingIfNeeded: bits)))
            case .i32: .number(JSONNumber(Int32(truncatingIfNeeded: bits)))
            case .i64: .number(JSONNumber(Int64(bitPattern: bits)))
            case .f64: JSONValue(Double(bitPattern: bits))
            case .f32: JSONValue(Float(bitPattern: UInt32(bits)))
            case .bf16: JSONValue(Float(bitPattern: UInt32(bits) << 16))
            case .f16: JSONValue(half(UInt16(bits)))
            default: .string(hexadecimal(Array(element)))
            }
        }
    }
}

/// The value of an IEEE 754 binary16. Swift's Float16 is not there on every platform.
func half(_ bits: UInt16) -> Float {
    let exponent = Int(bits >> 10) & 31
    let fraction = Float(bits & 1023) / 1024
    let magnitude: Float =
        switch exponent {
        case 0: fraction * 0x1p-14
        case 31: fraction == 0 ? .infinity : .nan
        default: (1 + fraction) * Float(sign: .plus, exponent: exponent - 15, significand: 1)
        }
    return bits >> 15 == 0 ? magnitude : -magnitude
}

/// Two digits a byte.
func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
