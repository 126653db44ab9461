/// The objects of the index (spec section 3). Part of the format: they are compared to the letter.
enum IndexSchema {
    /// "NNCK", for `file` and its like.
    static let applicationID: UInt32 = 0x4e4e_434b

    struct Object: Sendable, Hashable {
        let type: String
        let name: String
        let sql: String
    }

    /// Texts and blobs of nodes with more bytes than this stand in the table `large`.
    static let largestInlineValue = 512
    /// The most bytes of a key or tag.
    static let maximumKeySize = 1 << 20
    /// The most bytes of a value, so that SQLite can hold its row.
    static let maximumValueSize = 999_000_000

    static let objects: [Object] = [
        Object(
            type: "table", name: "node",
            sql: "CREATE TABLE node(parent INTEGER NOT NULL, key ANY NOT NULL, position INTEGER NOT NULL, "
                + "kind INTEGER NOT NULL, tag TEXT, value ANY, storage INTEGER, dtype TEXT, shape TEXT, strides TEXT, "
                + "offset INTEGER, nbytes INTEGER, flags INTEGER, PRIMARY KEY(parent, key)) STRICT, WITHOUT ROWID"),
        Object(
            type: "table", name: "dtype",
            sql: "CREATE TABLE dtype(name TEXT PRIMARY KEY NOT NULL, elements INTEGER NOT NULL, "
                + "bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID"),
        Object(
            type: "table", name: "storage",
            sql: "CREATE TABLE storage(id INTEGER PRIMARY KEY NOT NULL, nbytes INTEGER NOT NULL, "
                + "digest BLOB NOT NULL) STRICT"),
        Object(
            type: "table", name: "chunk",
            sql: "CREATE TABLE chunk(storage INTEGER NOT NULL, seq INTEGER NOT NULL, source INTEGER NOT NULL, "
                + "offset INTEGER NOT NULL, length INTEGER NOT NULL, transform INTEGER NOT NULL, "
                + "width INTEGER NOT NULL, parts BLOB NOT NULL, digest BLOB NOT NULL, "
                + "PRIMARY KEY(storage, seq)) STRICT, WITHOUT ROWID"),
        Object(
            type: "table", name: "extra",
            sql: "CREATE TABLE extra(key TEXT PRIMARY KEY NOT NULL, value ANY) STRICT, WITHOUT ROWID"),
        Object(
            type: "table", name: "history",
            sql: "CREATE TABLE history(seq INTEGER PRIMARY KEY NOT NULL, action TEXT NOT NULL, from_version TEXT, "
                + "to_version TEXT NOT NULL, by TEXT NOT NULL) STRICT"),
        Object(
            type: "table", name: "large",
            sql: "CREATE TABLE large(id INTEGER PRIMARY KEY NOT NULL, value ANY NOT NULL) STRICT"),
        Object(
            type: "view", name: "tensors",
            sql: "CREATE VIEW tensors AS WITH RECURSIVE entry(name, depth, position, kind, value, dtype, shape, "
                + "strides, offset, nbytes, storage) AS (SELECT '', 0, position, kind, value, dtype, shape, strides, "
                + "offset, nbytes, storage FROM node WHERE parent = 0 AND key = 0 UNION ALL SELECT CASE depth WHEN 0 "
                + "THEN CAST(node.key AS TEXT) ELSE entry.name || '.' || node.key END, depth + 1, node.position, "
                + "node.kind, node.value, node.dtype, node.shape, node.strides, node.offset, node.nbytes, "
                + "node.storage FROM entry JOIN node ON node.parent = entry.value WHERE entry.kind <= 4 "
                + "AND (node.kind > 4 OR node.value > entry.value) ORDER BY 2 DESC, 3) SELECT name, dtype, shape, strides, offset, nbytes AS size, storage "
                + "FROM entry WHERE kind = 5"),
    ]
}
