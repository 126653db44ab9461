/// The kinds of nodes, as the index and the content id number them (spec section 4). For ever.
enum NodeKind: Int, Sendable {
    case dictionary = 1
    case list = 2
    case tuple = 3
    case record = 4
    case tensor = 5
    case null = 6
    case boolean = 7
    case integer = 8
    case unsignedInteger = 9
    case largerInteger = 10
    case double = 11
    case string = 12
    case bytes = 13
    case typedScalar = 14
    case typedArray = 15
    case stringArray = 16

    var isInner: Bool { rawValue <= NodeKind.record.rawValue }
}

/// A row of `node` after validation.
struct NodeRow: Sendable {
    let key: StateKey
    let position: Int
    let content: Content
    /// The id of the leaf's value in the table of large ones, if it stands there.
    var largeValue: Int? = nil

    // Indirect: rows are copied more often than they are looked into.
    indirect enum Content: Sendable {
        /// A dictionary, list, tuple or record with the id of its children's `parent`.
        case inner(NodeKind, id: Int, tag: String?)
        case tensor(TensorRow)
        case leaf(StateTree)
    }
}

/// A tensor in the index.
struct TensorRow: Sendable {
    let storage: Int
    let layout: TensorLayout
    let requiresGrad: Bool
    let tag: String?
}

/// A row of `storage` after validation.
struct StorageRow: Sendable {
    let id: Int
    let byteCount: Int
    let digest: Digest
}

/// A canonical JSON array of integers, as `shape` and `strides` have it.
enum IntegerList {
    static func encode(_ values: [Int]) -> String {
        "[" + values.lazy.map { String($0) }.joined(separator: ",") + "]"
    }

    /// The integers of a canonical list of at most `limit`; `nil` if the text is none.
    static func decode(_ text: String, limit: Int) -> [Int]? {
        let bytes = text.utf8
        guard bytes.count >= 2, bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") else { return nil }
        var values: [Int] = []
        if bytes.count == 2 { return values }
        var value: Int?
        for byte in bytes.dropFirst() {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                // A further digit after a leading zero is not canonical.
                if value == 0 { return nil }
                let (tenfold, overflow) = (value ?? 0).multipliedReportingOverflow(by: 10)
                let (sum, overflowOfSum) = tenfold.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
                if overflow || overflowOfSum { return nil }
                value = sum
            case UInt8(ascii: ","), UInt8(ascii: "]"):
                guard let complete = value, values.count < limit else { return nil }
                values.append(complete)
                value = nil
            default: return nil
            }
        }
        // The last bracket is the text's last byte; another one before it would be followed by an empty number.
        return bytes.dropLast().contains(UInt8(ascii: "]")) ? nil : values
    }
}

/// The `value` of a string array: a count, the lengths, the bytes.
enum StringArray {
    static func encode(_ strings: [String]) -> [UInt8]? {
        guard let count = UInt32(exactly: strings.count) else { return nil }
        var bytes: [UInt8] = []
        bytes.append(littleEndian: count)
        for string in strings {
            guard let length = UInt32(exactly: string.utf8.count) else { return nil }
            bytes.append(littleEndian: length)
        }
        for string in strings { bytes += string.utf8 }
        return bytes
    }

    static func decode(_ bytes: [UInt8]) -> [String]? {
        bytes.withRawSpan { (span: RawSpan) -> [String]? in
            guard bytes.count >= 4 else { return nil }
            let count = Int(span.littleEndian(at: 0, as: UInt32.self))
            guard count <= (bytes.count - 4) / 4 else { return nil }
            var strings: [String] = []
            strings.reserveCapacity(count)
            var position = 4 + 4 * count
            for index in 0..<count {
                let length = Int(span.littleEndian(at: 4 + 4 * index, as: UInt32.self))
                guard length <= bytes.count - position,
                    let string = String(validating: bytes[position..<position + length], as: UTF8.self)
                else { return nil }
                strings.append(string)
                position += length
            }
            return position == bytes.count ? strings : nil
        }
    }
}
