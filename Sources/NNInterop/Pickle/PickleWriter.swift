import NNStore

/// Writes a pickle of protocol 2, with the operations that torch.load reads without trusting the file.
struct PickleWriter {
    private(set) var bytes: [UInt8] = []
    private var memo: [StateKey: Int] = [:]

    init() { bytes = [PickleOperation.proto.rawValue, 2] }

    private mutating func append(_ operation: PickleOperation) { bytes.append(operation.rawValue) }

    mutating func operation(_ operation: PickleOperation) { append(operation) }

    mutating func finish() { append(.stop) }

    mutating func boolean(_ value: Bool) { append(value ? .newTrue : .newFalse) }

    mutating func integer(_ value: Int) {
        if let byte = UInt8(exactly: value) {
            append(.binInt1)
            bytes.append(byte)
        } else if let small = Int32(exactly: value) {
            append(.binInt)
            bytes.append(littleEndian: small)
        } else {
            _ = integer(StateInteger(value))
        }
    }

    /// Whether the integer could be written: those of more than 255 bytes can't.
    mutating func integer(_ value: StateInteger) -> Bool {
        if let small = value.int.flatMap({ Int32(exactly: $0) }) {
            integer(Int(small))
            return true
        }
        let digits = value.twosComplement
        guard digits.count <= 255 else { return false }
        append(.long1)
        bytes.append(UInt8(digits.count))
        bytes += digits
        return true
    }

    mutating func double(_ value: Double) {
        append(.binFloat)
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt64(shift)))
        }
    }

    mutating func text(_ value: String) {
        append(.binUnicode)
        bytes.append(littleEndian: UInt32(value.utf8.count))
        bytes += value.utf8
    }

    /// A text in UTF-8 that may have surrogates in it.
    mutating func brokenText(_ value: [UInt8]) {
        append(.binUnicode)
        bytes.append(littleEndian: UInt32(value.count))
        bytes += value
    }

    /// The name of a class or function; where it comes again, by its place.
    mutating func global(_ module: String, _ name: String) {
        let key = StateKey.text("\(module)\n\(name)\n")
        if let index = memo[key] {
            append(.longBinGet)
            bytes.append(littleEndian: UInt32(index))
            return
        }
        append(.global)
        bytes += "\(module)\n\(name)\n".utf8
        append(.longBinPut)
        bytes.append(littleEndian: UInt32(memo.count))
        memo[key] = memo.count
    }

    mutating func integers(_ values: [Int]) {
        append(.mark)
        for value in values { integer(value) }
        append(.tuple)
    }
}
