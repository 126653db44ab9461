import NNStore

/// The header of a NumPy array, and every rule about it. Source: numpy/lib/format.py, NEP 1.
struct NumPyHeader {
    let version: Int
    let element: NumPyElement
    /// The layout of the elements from the first one on; void bytes as an opaque dtype `V2`.
    let layout: TensorLayout
    /// Where the elements begin, in bytes from the start of the array.
    let dataOffset: Int

    /// NumPy itself reads no longer ones (`max_header_size`).
    static let maximumSize = 10_000
    /// So many bytes of an array always hold its header.
    static let maximumStart = 12 + maximumSize

    static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    /// - Parameters:
    ///   - start: the array's first bytes: ``maximumStart``, or all if there are fewer.
    ///   - name: what messages call it.
    ///   - dtype: what void bytes are to be read as, if that was said.
    init(_ start: [UInt8], file name: String, dtype: DType?) throws(InteropError) {
        func error(_ problem: NumPyProblem) -> InteropError { .invalidNumPy(file: name, problem) }
        guard start.count >= 10, start.starts(with: NumPyHeader.magic) else { throw error(.start(found: start.count)) }
        let (major, minor) = (start[6], start[7])
        guard (1...3).contains(major), minor == 0 else { throw error(.version(major: major, minor: minor)) }
        version = Int(major)
        let lengthSize = major == 1 ? 2 : 4
        guard start.count >= 8 + lengthSize else { throw error(.start(found: start.count)) }
        let length = start[8..<8 + lengthSize].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= NumPyHeader.maximumSize else { throw error(.headerTooLong(length: length)) }
        dataOffset = 8 + lengthSize + length
        guard start.count >= dataOffset else { throw error(.start(found: start.count)) }
        let literal: PythonLiteral
        do {
            literal = try PythonLiteralReader.read(
                Array(start[8 + lengthSize..<dataOffset]), base: 8 + lengthSize, isLatin1: major < 3)
        } catch {
            throw .invalidNumPy(file: name, .literal(offset: error.offset, problem: error.problem))
        }
        guard case .dictionary(let entries) = literal else {
            throw error(.literal(offset: 8 + lengthSize, problem: "it is no dictionary"))
        }
        var fields: [String: PythonLiteral] = [:]
        for entry in entries {
            guard ["descr", "fortran_order", "shape"].contains(entry.key),
                fields.updateValue(entry.value, forKey: entry.key) == nil
            else { throw error(.keys(offset: entry.offset, key: entry.key)) }
        }
        guard let description = fields["descr"], let order = fields["fortran_order"], let shape = fields["shape"] else {
            let missing = ["descr", "fortran_order", "shape"].first { fields[$0] == nil } ?? ""
            throw error(.keys(offset: 8 + lengthSize, key: missing))
        }
        guard case .boolean(let isFortran) = order else {
            throw error(.field(key: "fortran_order", expected: "True or False"))
        }
        let extents = try NumPyHeader.extents(shape, error)
        element = try NumPyHeader.element(description, error)
        do {
            layout = try NumPyHeader.layout(element, extents, isFortran: isFortran, dtype, error)
        } catch StoreError.invalidLayout(let reason) {
            throw .invalidNumPy(file: name, .shape(reason))
        } catch let problem as InteropError {
            throw problem
        } catch {
            throw .invalidNumPy(file: name, .shape("\(error)"))
        }
    }

    private static func extents(
        _ shape: PythonLiteral, _ error: (NumPyProblem) -> InteropError
    ) throws(InteropError) -> [Int] {
        guard case .tuple(let elements) = shape else { throw error(.field(key: "shape", expected: "a tuple")) }
        guard elements.count <= TensorLayout.maximumRank else {
            throw error(.shape("\(elements.count) dimensions, at most \(TensorLayout.maximumRank) are possible"))
        }
        var extents: [Int] = []
        for element in elements {
            guard case .integer(let extent) = element, extent >= 0 else {
                throw error(.field(key: "shape", expected: "made of integers from 0 to 2^63 - 1"))
            }
            extents.append(extent)
        }
        return extents
    }

    private static func element(
        _ description: PythonLiteral, _ error: (NumPyProblem) -> InteropError
    ) throws(InteropError) -> NumPyElement {
        switch description {
        case .text(let text):
            guard let element = NumPyElement(describedBy: text) else { throw error(.dtype(meaning(of: text))) }
            switch element.kind {
            case .number, .void: return element
            case .text, .bytes: throw error(.dtype(meaning(of: text)))
            }
        case .list: throw error(.dtype("a structure of several fields"))
        default: throw error(.field(key: "descr", expected: "the description of a dtype"))
        }
    }

    /// What a person calls the dtypes that no tensor has.
    private static func meaning(of text: String) -> String {
        let letters = text.drop { "<>=|".contains($0) }
        let kind =
            switch letters.first {
            case "U", "S", "a": "texts"
            case "M", "m": "times"
            case "O": "objects, which only a program could make"
            case "f", "c", "g", "G": "floating-point numbers of a size that only some machines have"
            default: "of a dtype that is not known"
            }
        return "\(kind) (\(quoted(text)))"
    }

    private static func layout(
        _ element: NumPyElement, _ shape: [Int], isFortran: Bool, _ wanted: DType?,
        _ error: (NumPyProblem) -> InteropError
    ) throws -> TensorLayout {
        var dtype: DType
        switch element.kind {
        case .number(let known, _): dtype = known
        case .void(let length):
            // It may be bfloat16 or any 8-bit float, or something else: not to be guessed.
            dtype = try DType(name: "V\(length)", elementsPerBlock: 1, bytesPerBlock: length)
            if let wanted {
                guard wanted.elementsPerBlock == 1, wanted.bytesPerBlock == length else {
                    throw error(.field(key: "descr", expected: "of the size of \(wanted), as which it is to be read"))
                }
                dtype = wanted
            }
        case .text, .bytes: throw error(.dtype(element.name))
        }
        let isColumns = isFortran && shape.count > 1
        let strides = isColumns ? Array(try TensorLayout.contiguousStrides(of: shape.reversed()).reversed()) : nil
        return try TensorLayout(dtype, shape: shape, strides: strides)
    }
}
