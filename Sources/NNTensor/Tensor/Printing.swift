import NNStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

extension Tensor: CustomStringConvertible {
    /// The values as PyTorch prints them: four digits behind the point, large tensors shortened to three elements at each
    /// end, dtype and history where they are not the usual ones. Dtypes have their names here (`F16`).
    public var description: String {
        if isUninitialized { return "<UninitializedParameter>" }
        let name = self is Parameter ? "Parameter containing:\n" : ""
        if storage.byteCount == 0 && count > 0 { return name + "tensor(..., \(dtype) \(shape))" }
        guard dtype.elementType != nil else { return name + "tensor(..., size=\(shape), dtype=\(dtype))" }
        do {
            return name + (try TensorText(self).text)
        } catch {
            return name + "tensor(..., size=\(shape), dtype=\(dtype), unreadable: \(error))"
        }
    }
}

/// A tensor's text in the layout of PyTorch (`torch._tensor_str`).
private struct TensorText {
    /// The most elements that are all shown, and as many of each end of a dimension otherwise.
    private static let threshold = 1000
    private static let edge = 3
    private static let lineWidth = 80

    let text: String

    init(_ tensor: Tensor) throws {
        let prefix = "tensor("
        var suffixes: [String] = []
        if tensor.count == 0 && tensor.rank != 1 {
            suffixes.append("size=(\(tensor.shape.map(String.init).joined(separator: ", ")))")
        }
        let isUsual = tensor.dtype == .f32 || tensor.dtype == .bool || tensor.dtype == .i64 && tensor.count > 0
        if tensor.device.isGPU { suffixes.append("device='\(tensor.device)'") }
        if !isUsual { suffixes.append("dtype=\(tensor.dtype)") }
        if let operation = tensor.gradientOperation {
            suffixes.append("grad_fn=<\(operation.prefix(1).uppercased())\(operation.dropFirst())Backward>")
        } else if tensor.requiresGrad {
            suffixes.append("requires_grad=True")
        }
        var body = "[]"
        if tensor.count > 0 {
            let isShortened = tensor.count > TensorText.threshold
            let plain = tensor.detach()
            let shown = isShortened ? try TensorText.edges(plain) : plain
            let format = try NumberFormat(shown)
            let values = try NumberFormat.texts(shown, format)
            var place = 0
            body = TensorText.lines(values, &place, shown.shape, plain.shape, isShortened, prefix.count, format.width)
        }
        text = TensorText.closed(prefix + body, suffixes, prefix.count)
    }

    /// The elements that are shown of a large tensor.
    private static func edges(_ tensor: Tensor) throws -> Tensor {
        var result = tensor
        for axis in 0..<tensor.rank where tensor.shape[axis] > 2 * edge {
            let extent = tensor.shape[axis]
            result = try concatenate(
                [result.narrow(axis, 0..<edge), result.narrow(axis, extent - edge..<extent)], dimension: axis)
        }
        return result
    }

    /// `shown` is the shape of the values, `whole` that of the tensor.
    private static func lines(
        _ values: [String], _ place: inout Int, _ shown: [Int], _ whole: [Int], _ isShortened: Bool, _ indent: Int,
        _ width: Int
    ) -> String {
        if shown.isEmpty {
            place += 1
            return values[place - 1]
        }
        let isCut = isShortened && whole[0] > 2 * edge
        if shown.count == 1 {
            let perLine = max(1, (lineWidth - indent) / (width + 2))
            var row = Array(values[place..<place + shown[0]])
            place += shown[0]
            if isCut { row.insert(" ...", at: edge) }
            let pieces = stride(from: 0, to: row.count, by: perLine).map {
                row[$0..<min(row.count, $0 + perLine)].joined(separator: ", ")
            }
            return "[" + pieces.joined(separator: ",\n" + String(repeating: " ", count: indent + 1)) + "]"
        }
        var slices: [String] = []
        for _ in 0..<shown[0] {
            slices.append(
                lines(values, &place, Array(shown[1...]), Array(whole[1...]), isShortened, indent + 1, width))
        }
        if isCut { slices.insert("...", at: edge) }
        let gap = "," + String(repeating: "\n", count: shown.count - 1) + String(repeating: " ", count: indent + 1)
        return "[" + slices.joined(separator: gap) + "]"
    }

    private static func closed(_ text: String, _ suffixes: [String], _ indent: Int) -> String {
        var result = text
        var lineLength =
            text.count - (text.lastIndex(of: "\n").map { text.distance(from: text.startIndex, to: $0) } ?? -1)
        for suffix in suffixes {
            if lineLength + suffix.count + 2 > lineWidth {
                result += ",\n" + String(repeating: " ", count: indent) + suffix
                lineLength = indent + suffix.count
            } else {
                result += ", " + suffix
                lineLength += suffix.count + 2
            }
        }
        return result + ")"
    }
}

/// How the numbers of one tensor are written, so that they stand below each other.
private struct NumberFormat {
    enum Style { case integer, wholeFloat, fixed, scientific }
    let style: Style
    private(set) var width = 1

    init(_ tensor: Tensor) throws {
        guard tensor.dtype.isFloatingPoint else {
            style = .integer
            width = try NumberFormat.integers(tensor).map(\.count).max() ?? 1
            return
        }
        let values = try tensor.elements(as: Double.self).filter { $0.isFinite && $0 != 0 }
        guard let largest = values.lazy.map({ Swift.abs($0) }).max(),
            let smallest = values.lazy.map({ Swift.abs($0) }).min()
        else {
            style = .wholeFloat
            return
        }
        let isWide = largest / smallest > 1000 || largest > 1e8
        if values.allSatisfy({ $0 == $0.rounded(.up) }) {
            style = isWide ? .scientific : .wholeFloat
        } else {
            style = isWide || smallest < 1e-4 ? .scientific : .fixed
        }
        // Whole numbers get a point.
        width = max(1, values.map { NumberFormat.text($0, style).count }.max() ?? 1)
    }

    /// The texts of all elements, in row-major order.
    static func texts(_ tensor: Tensor, _ format: NumberFormat) throws -> [String] {
        let texts =
            format.style == .integer
            ? try integers(tensor) : try tensor.elements(as: Double.self).map { text($0, format.style) }
        return texts.map { String(repeating: " ", count: max(0, format.width - $0.count)) + $0 }
    }

    private static func integers(_ tensor: Tensor) throws -> [String] {
        if tensor.dtype == .bool { return try tensor.booleans().map { $0 ? "True" : "False" } }
        if tensor.dtype == .u64 { return try tensor.elements(as: UInt64.self).map(String.init) }
        return try tensor.elements(as: Int64.self).map(String.init)
    }

    private static func text(_ value: Double, _ style: Style) -> String {
        guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
        return switch style {
        case .integer, .wholeFloat: printed("%.0f.", value)
        case .fixed: printed("%.4f", value)
        case .scientific: printed("%.4e", value)
        }
    }

    private static func printed(_ format: String, _ value: Double) -> String {
        // The largest double has 309 digits in front of its point.
        var buffer = [CChar](repeating: 0, count: 400)
        let length = unsafe withVaList([value]) { unsafe vsnprintf(&buffer, buffer.count, format, $0) }
        return String(decoding: buffer[..<Int(length)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
