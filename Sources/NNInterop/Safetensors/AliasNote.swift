import NNStore

/// Tensors over one storage, as a safetensors file can note them.
struct AliasGroup: Sendable, Equatable {
    struct Member: Sendable, Equatable {
        /// The tensor's number in the header.
        let entry: Int
        /// How it looks into the storage.
        let layout: TensorLayout
    }

    /// The size of the storage in bytes.
    let byteCount: Int
    /// At least two.
    let members: [Member]
}

extension AliasGroup {
    /// The group over the smallest storage that does, as a container would save it (spec section 5), members in the
    /// order of the header: two groups say the same exactly if their normalised forms are equal.
    func normalised() throws(StoreError) -> AliasGroup {
        let seeing = members.map(\.layout).filter { !$0.isEmpty }
        let lower = seeing.map(\.byteRange.lowerBound).min() ?? 0
        let upper = seeing.map(\.byteRange.upperBound).max() ?? 0
        // 24 is the least common multiple of all sizes that the format has: 1, 2, 3, 4 and 8. Those in use divide it.
        let unit = (1...24).first { unit in seeing.allSatisfy { unit % $0.dtype.bytesPerBlock == 0 } } ?? 24
        let start = lower / unit * unit
        var moved: [Member] = []
        for member in members.sorted(by: { $0.entry < $1.entry }) {
            let layout = member.layout
            let distance = layout.isEmpty ? 0 : start / layout.dtype.bytesPerBlock * layout.dtype.elementsPerBlock
            moved.append(
                Member(
                    entry: member.entry,
                    layout: try TensorLayout(
                        layout.dtype, shape: layout.shape, strides: layout.strides, offset: layout.offset - distance)))
        }
        return AliasGroup(byteCount: upper - start, members: moved)
    }

    /// All groups normalised, in the order of their first members.
    static func normalised(_ groups: [AliasGroup]) throws(StoreError) -> [AliasGroup] {
        try groups.map { group throws(StoreError) in try group.normalised() }
            .sorted { $0.members[0].entry < $1.members[0].entry }
    }

    /// The most bytes that a storage may have whose tensors hold `dataSize` bytes: what no tensor sees is in no file,
    /// so a small file must not ask for endless memory.
    static func maximumByteCount(dataSize: Int) -> Int {
        let (product, overflow) = dataSize.multipliedReportingOverflow(by: 64)
        let (sum, overflowOfSum) = product.addingReportingOverflow(1 << 20)
        return overflow || overflowOfSum ? .max : sum
    }
}

/// The note in `__metadata__` of a safetensors file that says which tensors share a storage.
///
/// The format has no way to say it, and the data are written for every name, so other readers see plain tensors. The
/// value is JSON: an array with an object for each storage, `nbytes` its size in bytes and `tensors` an array with
/// `name`, `offset` and `strides` (both in elements) for each tensor over it.
enum AliasNote {
    /// The note's key in `__metadata__`.
    static let key = "nnstore.aliases"

    /// The note's text.
    static func text(of groups: [AliasGroup], names: [String]) -> String {
        func tensor(_ member: AliasGroup.Member) -> JSONValue {
            .object([
                "name": .string(names[member.entry]), "offset": .integer(member.layout.offset),
                "strides": .array(member.layout.strides.map { .integer($0) }),
            ])
        }
        return JSONValue.array(
            groups.map { group in
                .object(["nbytes": .integer(group.byteCount), "tensors": .array(group.members.map(tensor))])
            }
        ).text()
    }

    /// The groups that `text` notes for the tensors of a file.
    ///
    /// - Throws: ``InteropError/invalidAliasNote(file:problem:)`` if the text is no such note, or does not fit the
    ///   tensors; ``InteropError/invalidJSON(file:offset:problem:)`` if it is no JSON.
    static func groups(
        _ text: String, for entries: [SafetensorsHeader.Entry], file: String
    ) throws(InteropError) -> [AliasGroup] {
        var parser = AliasNoteParser(entries, file: file)
        return try parser.groups(text)
    }
}

private struct AliasNoteParser {
    private let entries: [SafetensorsHeader.Entry]
    private let file: String
    private var numbers: [StateKey: Int] = [:]
    private var used: Set<Int> = []

    init(_ entries: [SafetensorsHeader.Entry], file: String) {
        self.entries = entries
        self.file = file
        for (number, entry) in entries.enumerated() { numbers[.text(entry.name)] = number }
    }

    private func error(_ problem: String) -> InteropError { .invalidAliasNote(file: file, problem: problem) }

    private func require(_ rule: Bool, _ problem: @autoclosure () -> String) throws(InteropError) {
        if !rule { throw error(problem()) }
    }

    mutating func groups(_ text: String) throws(InteropError) -> [AliasGroup] {
        var reader = JSONReader(Array(text.utf8), name: "\(file), metadata \(AliasNote.key)")
        try require(try reader.kind() == .array, "it is no array")
        var groups: [AliasGroup] = []
        try reader.array { (reader) throws(InteropError) in groups.append(try group(&reader)) }
        try reader.end()
        return groups
    }

    private mutating func group(_ reader: inout JSONReader) throws(InteropError) -> AliasGroup {
        try require(try reader.kind() == .object, "a group is no object")
        var byteCount: Int?
        var members: [AliasGroup.Member] = []
        try reader.object { (reader, key, _) throws(InteropError) in
            switch key {
            case "nbytes": byteCount = try size(&reader, "nbytes")
            case "tensors":
                try require(try reader.kind() == .array, "the tensors of a group are no array")
                try reader.array { (reader) throws(InteropError) in members.append(try member(&reader)) }
            default: throw error("a group has the unknown field \(quoted(key))")
            }
        }
        guard let byteCount else { throw error("a group has no nbytes") }
        try require(members.count >= 2, "a group has \(members.count) tensors, sharing takes two")
        var dataSize = 0
        for member in members {
            let name = quoted(entries[member.entry].name)
            try require(
                member.layout.byteRange.upperBound <= byteCount,
                "\(name) reaches byte \(member.layout.byteRange.upperBound) of a storage of \(byteCount)")
            // Spans lie in the file apart from each other, so their sum can't overflow.
            dataSize += member.layout.byteCount
        }
        let limit = AliasGroup.maximumByteCount(dataSize: dataSize)
        try require(
            byteCount <= limit,
            "a storage of \(byteCount) bytes for tensors with \(dataSize) bytes of data, at most \(limit) are allowed")
        return AliasGroup(byteCount: byteCount, members: members)
    }

    private mutating func member(_ reader: inout JSONReader) throws(InteropError) -> AliasGroup.Member {
        try require(try reader.kind() == .object, "a tensor of a group is no object")
        var name: String?
        var offset: Int?
        var strides: [Int]?
        try reader.object { (reader, key, _) throws(InteropError) in
            switch key {
            case "name":
                try require(try reader.kind() == .string, "the name of a tensor is no string")
                name = try reader.string()
            case "offset": offset = try size(&reader, "offset")
            case "strides":
                try require(try reader.kind() == .array, "the strides of a tensor are no array")
                var values: [Int] = []
                try reader.array { (reader) throws(InteropError) in
                    try require(values.count < TensorLayout.maximumRank, "a tensor has more strides than 64")
                    values.append(try size(&reader, "a stride"))
                }
                strides = values
            default: throw error("a tensor of a group has the unknown field \(quoted(key))")
            }
        }
        guard let name, let offset, let strides else {
            throw error("a tensor of a group lacks name, offset or strides")
        }
        guard let entry = numbers[.text(name)] else { throw error("the file has no tensor \(quoted(name))") }
        try require(used.insert(entry).inserted, "\(quoted(name)) is in it twice")
        do {
            let own = entries[entry].layout
            let layout = try TensorLayout(own.dtype, shape: own.shape, strides: strides, offset: offset)
            return AliasGroup.Member(entry: entry, layout: layout)
        } catch {
            throw self.error("\(quoted(name)): \(error)")
        }
    }

    private func size(_ reader: inout JSONReader, _ what: String) throws(InteropError) -> Int {
        guard try reader.kind() == .number, let value = try reader.number().integer, value >= 0 else {
            throw error("\(what) is no integer from 0 to 2^63 - 1")
        }
        return value
    }
}
