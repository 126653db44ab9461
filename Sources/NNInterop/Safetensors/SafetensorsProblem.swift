/// A rule of the safetensors format that a file breaks: one case each.
///
/// Offsets called `offset` are in bytes from the start of the file, spans in bytes from the start of its data.
public enum SafetensorsProblem: Sendable, Equatable {
    /// The file is too short for the length of its header.
    case tooShort(byteCount: Int)
    /// The header is longer than any may be.
    case headerTooLong(length: UInt64)
    /// The header reaches past the end of the file.
    case headerOutsideFile(length: Int, byteCount: Int)
    /// The header does not begin with `{`.
    case headerStart(found: UInt8?)
    /// Something other than spaces is behind the header's object.
    case headerEnd(offset: Int, found: UInt8)
    /// An entry is no object.
    case entryType(tensor: String, offset: Int, found: String)
    /// An entry has a field that the format does not know.
    case unknownField(tensor: String, offset: Int, field: String)
    /// An entry lacks a field.
    case missingField(tensor: String, offset: Int, field: String)
    /// A field has another type than it should.
    case fieldType(tensor: String, offset: Int, field: String, expected: String)
    /// `__metadata__` is no object of strings.
    case metadataType(offset: Int, key: String?)
    /// A dtype that the format does not know.
    case unknownDType(tensor: String, dtype: String)
    /// More dimensions than this library supports.
    case tooManyDimensions(tensor: String, offset: Int)
    /// The product of the shape overflows, or could not be handled.
    case shapeTooLarge(tensor: String, shape: [Int])
    /// Elements smaller than a byte that do not fill their last byte.
    case partialByte(tensor: String, dtype: String, elementCount: Int)
    /// A span that ends before it begins.
    case reversedSpan(tensor: String, begin: Int, end: Int)
    /// A span whose length is not that of the elements.
    case spanLength(tensor: String, found: Int, expected: Int)
    /// Bytes that belong to no tensor.
    case gap(tensor: String, begin: Int, expected: Int)
    /// Two tensors over the same bytes.
    case overlap(tensor: String, other: String, begin: Int)
    /// The last span does not end where the file does.
    case dataEnd(expected: Int, found: Int)

    /// A short name for the rule that will not change between versions.
    public var code: String {
        switch self {
        case .tooShort: "too-short"
        case .headerTooLong: "header-too-long"
        case .headerOutsideFile: "header-outside-file"
        case .headerStart: "header-start"
        case .headerEnd: "header-end"
        case .entryType: "entry-type"
        case .unknownField: "unknown-field"
        case .missingField: "missing-field"
        case .fieldType: "field-type"
        case .metadataType: "metadata-type"
        case .unknownDType: "unknown-dtype"
        case .tooManyDimensions: "too-many-dimensions"
        case .shapeTooLarge: "shape-too-large"
        case .partialByte: "partial-byte"
        case .reversedSpan: "reversed-span"
        case .spanLength: "span-length"
        case .gap: "gap"
        case .overlap: "overlap"
        case .dataEnd: "data-end"
        }
    }
}

extension SafetensorsProblem: CustomStringConvertible {
    /// The message for a person, without the file's name.
    public var description: String {
        switch self {
        case .tooShort(let byteCount):
            "it has \(byteCount) bytes, the length of the header alone takes 8; it was cut"
        case .headerTooLong(let length):
            "the header is said to have \(length) bytes, at most \(SafetensorsHeader.maximumSize) are allowed"
        case .headerOutsideFile(let length, let byteCount):
            "the header is said to have \(length) bytes, but the file ends \(byteCount - 8) bytes behind its start; it was cut"
        case .headerStart(let found):
            "the header begins with \(SafetensorsProblem.name(found)) instead of \"{\" (byte 8)"
        case .headerEnd(let offset, let found):
            "\(SafetensorsProblem.name(found)) is behind the header's object (byte \(offset)), only spaces may be there"
        case .entryType(let tensor, let offset, let found):
            "the entry of \(quoted(tensor)) is \(found) instead of an object (byte \(offset)); "
                + "some readers let that pass, the format does not define it"
        case .unknownField(let tensor, let offset, let field):
            "\(quoted(tensor)) has the field \(quoted(field)) (byte \(offset)); dtype, shape and data_offsets are the only ones"
        case .missingField(let tensor, let offset, let field):
            "\(quoted(tensor)) has no \(field) (byte \(offset))"
        case .fieldType(let tensor, let offset, let field, let expected):
            "\(field) of \(quoted(tensor)) is not \(expected) (byte \(offset))"
        case .metadataType(let offset, let key):
            key.map { "the metadata \(quoted($0)) is no string (byte \(offset))" }
                ?? "__metadata__ is no object (byte \(offset))"
        case .unknownDType(let tensor, let dtype):
            "\(quoted(tensor)) has the dtype \(quoted(dtype)), which the format does not know"
        case .tooManyDimensions(let tensor, let offset):
            "\(quoted(tensor)) has more dimensions than 64, the most that are supported (byte \(offset))"
        case .shapeTooLarge(let tensor, let shape):
            "the product of shape \(shape) of \(quoted(tensor)) overflows 63 bits"
        case .partialByte(let tensor, let dtype, let elementCount):
            "\(quoted(tensor)) has \(elementCount) elements of \(dtype), which do not fill whole bytes"
        case .reversedSpan(let tensor, let begin, let end):
            "data_offsets of \(quoted(tensor)) end before they begin: [\(begin), \(end)]"
        case .spanLength(let tensor, let found, let expected):
            "data_offsets of \(quoted(tensor)) span \(found) bytes, its dtype and shape take \(expected)"
        case .gap(let tensor, let begin, let expected):
            "the data of \(quoted(tensor)) begins at \(begin), but what is before it ends at \(expected): "
                + "the bytes between belong to nothing"
        case .overlap(let tensor, let other, let begin):
            "the data of \(quoted(tensor)) begins at \(begin), inside that of \(quoted(other))"
        case .dataEnd(let expected, let found):
            "the tensors take \(expected) bytes of data, the file has \(found); "
                + (found < expected ? "it was cut" : "something was appended to it")
        }
    }

    private static func name(_ byte: UInt8?) -> String {
        guard let byte else { return "nothing" }
        return (0x21...0x7e).contains(byte) ? "\"\(Unicode.Scalar(byte))\"" : "byte 0x\(String(byte, radix: 16))"
    }
}
