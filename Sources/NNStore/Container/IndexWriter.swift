/// Builds the index of a container: an in-memory database that becomes the image at the file's end.
final class IndexWriter {
    private let database: Database
    private var storageRows: Statement
    private var chunkRows: Statement
    private var largeValues = 0

    init(version: FormatVersion) throws(StoreError) {
        database = try Database.inMemory()
        try database.execute("PRAGMA application_id = \(IndexSchema.applicationID)")
        try database.execute("PRAGMA user_version = \(version.major)")
        try database.execute("BEGIN")
        for object in IndexSchema.objects { try database.execute(object.sql) }
        storageRows = try database.prepare("INSERT INTO storage(id, nbytes, digest) VALUES (?, ?, ?)")
        chunkRows = try database.prepare(
            "INSERT INTO chunk(\(RowValidation.chunkColumns)) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)")
    }

    func addStorage(_ storage: StorageRow) throws(StoreError) {
        try storageRows.run(.integer(storage.id), .integer(storage.byteCount), .blob(storage.digest.bytes))
    }

    func addChunk(_ chunk: ChunkRow, storage: Int) throws(StoreError) {
        try chunkRows.run(
            .integer(storage), .integer(chunk.sequence), .integer(chunk.extent.lowerBound),
            .integer(chunk.extent.count), .integer(chunk.encoding.planes.map { $0.isRotated ? 2 : 1 } ?? 0),
            .integer(chunk.encoding.planes?.width ?? 1), .blob(ChunkParts.encode(chunk.encoding.parts)),
            .blob(chunk.digest.bytes))
    }

    /// Adds a value to the table of large ones.
    ///
    /// - Returns: its id.
    func addLarge(_ value: Statement.Value) throws(StoreError) -> Int {
        largeValues += 1
        var rows = try database.prepare("INSERT INTO large(id, value) VALUES (?, ?)")
        try rows.run(.integer(largeValues), value)
        return largeValues
    }

    func addExtra(_ key: String, _ value: Statement.Value) throws(StoreError) {
        var rows = try database.prepare("INSERT INTO extra(key, value) VALUES (?, ?)")
        try rows.run(.text(key), value)
    }

    func addHistory(_ steps: [HistoryStep]) throws(StoreError) {
        var rows = try database.prepare(
            "INSERT INTO history(seq, action, from_version, to_version, by) VALUES (?, ?, ?, ?, ?)")
        for (index, step) in steps.enumerated() {
            try rows.run(
                .integer(index + 1), .text(step.action), step.fromVersion.map { .text($0) } ?? .null,
                .text(step.toVersion), .text(step.by))
        }
    }

    /// Adds both trees and the dtypes that they use.
    ///
    /// - Parameter storageID: the id of the storage of a tensor.
    func addTrees(
        state: StateTree, metadata: StateTree, storageID: (StateTensor, StatePath) throws(StoreError) -> Int
    ) throws(StoreError) {
        var rows = try database.prepare(
            "INSERT INTO node(parent, key, position, kind, tag, value, storage, dtype, shape, strides, offset, nbytes, "
                + "flags) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        var dtypes: [String: DType] = [:]
        var innerNodes = 0

        // Preorder: ids of inner nodes and of large values count up on the way.
        func add(_ node: StateTree, key: StateKey, position: Int, parent: Int, path: StatePath) throws(StoreError) {
            guard path.keys.count <= StateTree.maximumDepth else {
                throw .invalidTree(
                    path: String(path.flatName.prefix(80)) + "...",
                    reason: "it is more than \(StateTree.maximumDepth) levels below the root")
            }
            if node.kind.isInner { innerNodes += 1 }
            let id = innerNodes
            if let dtype = node.dtype, let other = dtypes.updateValue(dtype, forKey: dtype.name), other != dtype {
                throw .invalidTree(
                    path: path.flatName, reason: "dtype \(dtype) has other figures here than elsewhere in the tree")
            }
            var columns = try NodeColumns(
                node, key: key, position: position, parent: parent, id: id, path: path, storageID: storageID)
            if columns.hasLargeValue { columns.value = .integer(try addLarge(columns.value)) }
            for (index, column) in columns.values.enumerated() { try rows.bind(column, at: index + 1) }
            _ = try rows.step()
            rows.reset()
            guard node.kind.isInner else { return }
            for (position, child) in node.children.enumerated() {
                try add(
                    child.value, key: child.key, position: position, parent: id,
                    path: StatePath(path.keys + [child.key]))
            }
        }
        try add(state, key: 0, position: 0, parent: 0, path: StatePath())
        try add(metadata, key: 1, position: 0, parent: 0, path: StatePath())

        var dtypeRows = try database.prepare("INSERT INTO dtype(name, elements, bytes) VALUES (?, ?, ?)")
        for dtype in dtypes.values.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            try dtypeRows.run(.text(dtype.name), .integer(dtype.elementsPerBlock), .integer(dtype.bytesPerBlock))
        }
    }

    /// The finished image: the database's pages, each with its checksum.
    func image(contentID: Digest) throws(StoreError) -> [UInt8] {
        // Fills the pages, in one order whatever the order of insertion was. In memory: see Database.inMemory.
        try database.execute("COMMIT; VACUUM")
        var image = try database.serialized()
        guard image.count % FileLayout.block == 0, image[20] == UInt8(FileLayout.block - FileLayout.pageContent) else {
            throw .library(name: "SQLite", operation: "lay out the index", message: "pages have no room for checksums")
        }
        for page in 0..<image.count / FileLayout.block {
            let start = page * FileLayout.block
            let end = start + FileLayout.pageContent
            let seed = PageReader.seed(page: page + 1, salt: contentID.high)
            var checksum: [UInt8] = []
            image.withRawSpan { Checksum64(of: $0.extracting(start..<end), seed: seed) }.append(to: &checksum)
            image.replaceSubrange(end..<start + FileLayout.block, with: checksum)
        }
        return image
    }
}
