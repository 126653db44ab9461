/// Builds the index of a container: an in-memory database that becomes the image at the file's end.
///
/// Rows go in in the order of their keys, so that the pages are filled and equal contents give equal images.
final class IndexWriter {
    private let database: Database
    private var storageRows: Statement
    private var chunkRows: Statement

    init(version: FormatVersion) throws(StoreError) {
        database = try Database.inMemory()
        try database.execute("PRAGMA application_id = \(IndexSchema.applicationID)")
        try database.execute("PRAGMA user_version = \(version.major)")
        try database.execute("BEGIN")
        for object in IndexSchema.objects { try database.execute(object.sql) }
        storageRows = try database.prepare("INSERT INTO storage(id, nbytes, digest) VALUES (?, ?, ?)")
        chunkRows = try database.prepare(
            "INSERT INTO chunk(\(RowValidation.chunkColumns)) VALUES (?, ?, 0, ?, ?, 0, 1, ?, ?)")
    }

    func addStorage(_ storage: StorageRow) throws(StoreError) {
        try storageRows.run(.integer(storage.id), .integer(storage.byteCount), .blob(storage.digest.bytes))
    }

    func addChunk(_ chunk: ChunkRow, storage: Int) throws(StoreError) {
        try chunkRows.run(
            .integer(storage), .integer(chunk.sequence), .integer(chunk.extent.lowerBound),
            .integer(chunk.extent.count),
            .blob(ChunkParts.encode(chunk.coding, length: chunk.extent.count, checksum: chunk.checksum)),
            .blob(chunk.digest.bytes))
    }

    func addExtra(_ key: String, _ value: Statement.Value) throws(StoreError) {
        var rows = try database.prepare("INSERT INTO extra(key, value) VALUES (?, ?)")
        try rows.run(.text(key), value)
    }

    func addHistory(_ steps: [HistoryStep]) throws(StoreError) {
        var rows = try database.prepare("INSERT INTO history(seq, action, from_version, to_version, by) VALUES (?, ?, ?, ?, ?)")
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
        var numbering = TreeNumbering()
        let roots = [try numbering.number(state), try numbering.number(metadata)]
        var rows = try database.prepare(
            "INSERT INTO node(\(RowValidation.nodeColumns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        var dtypes: [String: DType] = [:]
        func add(_ child: TreeNumbering.Child, parent: Int, path: StatePath) throws(StoreError) {
            if let dtype = child.node.dtype, let other = dtypes.updateValue(dtype, forKey: dtype.name), other != dtype {
                throw .invalidTree(
                    path: path.flatName, reason: "dtype \(dtype) has other figures here than elsewhere in the tree")
            }
            let columns = try NodeColumns(child, parent: parent, path: path, storageID: storageID).values
            for (index, column) in columns.enumerated() { try rows.bind(column, at: index + 1) }
            _ = try rows.step()
            rows.reset()
        }
        for (key, root) in roots.enumerated() {
            try add(
                TreeNumbering.Child(key: .integer(key), position: 0, node: root.node, id: root.id), parent: 0,
                path: StatePath())
        }
        for parent in numbering.innerNodes {
            for child in parent.children.sorted(by: { $0.key < $1.key }) {
                try add(child, parent: parent.id, path: StatePath(parent.path.keys + [child.key]))
            }
        }
        var dtypeRows = try database.prepare("INSERT INTO dtype(name, elements, bytes) VALUES (?, ?, ?)")
        for dtype in dtypes.values.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            try dtypeRows.run(.text(dtype.name), .integer(dtype.elementsPerBlock), .integer(dtype.bytesPerBlock))
        }
    }

    /// The finished image: the database's pages, each with its checksum.
    func image() throws(StoreError) -> [UInt8] {
        try database.execute("COMMIT")
        var image = try database.serialized()
        guard image.count % FileLayout.block == 0, image[20] == UInt8(FileLayout.block - FileLayout.pageContent) else {
            throw .library(name: "SQLite", operation: "lay out the index", message: "pages have no room for checksums")
        }
        for page in 0..<image.count / FileLayout.block {
            let start = page * FileLayout.block
            let end = start + FileLayout.pageContent
            var checksum: [UInt8] = []
            image.withRawSpan { Checksum64(of: $0.extracting(start..<end), seed: UInt64(page + 1)) }.append(to: &checksum)
            image.replaceSubrange(end..<start + FileLayout.block, with: checksum)
        }
        return image
    }
}
