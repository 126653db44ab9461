import OrderedCollections

/// The name of a child in a state tree: a text or an integer. A text is never equal to an integer.
///
/// Texts are compared by their UTF-8 bytes, so a composed and a decomposed "é" are two keys, as they are in Python and
/// in the file.
public enum StateKey: Sendable {
    /// A text.
    case text(String)
    /// An integer.
    case integer(Int)
}

extension StateKey: Hashable, Comparable {
    /// Whether both are the same integer or the same UTF-8 bytes.
    public static func == (left: StateKey, right: StateKey) -> Bool {
        switch (left, right) {
        case (.integer(let left), .integer(let right)): left == right
        case (.text(let left), .text(let right)): left.utf8.elementsEqual(right.utf8)
        default: false
        }
    }

    /// Hashes the integer or the UTF-8 bytes.
    public func hash(into hasher: inout Hasher) {
        switch self {
        case .integer(let value): hasher.combine(value)
        case .text(var text):
            text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }

    /// The order of the index: integers first, texts by their UTF-8 bytes.
    public static func < (left: StateKey, right: StateKey) -> Bool {
        switch (left, right) {
        case (.integer(let left), .integer(let right)): left < right
        case (.text(let left), .text(let right)): left.utf8.lexicographicallyPrecedes(right.utf8)
        case (.integer, .text): true
        case (.text, .integer): false
        }
    }
}

extension StateKey: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, CustomStringConvertible {
    /// A text key.
    public init(stringLiteral value: String) { self = .text(value) }
    /// An integer key.
    public init(integerLiteral value: Int) { self = .integer(value) }

    /// The text, if it is one.
    public var text: String? {
        if case .text(let text) = self { text } else { nil }
    }

    /// The key as it stands in a flat name.
    public var description: String {
        switch self {
        case .text(let text): text
        case .integer(let value): String(value)
        }
    }
}

/// An ordered dictionary from keys to state trees, with the foreign type that it stood for.
public struct StateDictionary: Sendable {
    /// The foreign type (`collections.OrderedDict`), if it was not a plain dictionary. Not used in records.
    public var tag: String?
    private var entries: OrderedDictionary<StateKey, StateTree> = [:]

    /// An empty dictionary.
    public init(tag: String? = nil) { self.tag = tag }

    /// A dictionary with text keys, in order.
    ///
    /// - Precondition: no key occurs twice.
    public init(_ entries: [(String, StateTree)], tag: String? = nil) {
        self.init(keyed: entries.map { (.text($0.0), $0.1) }, tag: tag)
    }

    /// A dictionary in the given order.
    ///
    /// - Precondition: no key occurs twice.
    public init(keyed entries: [(StateKey, StateTree)], tag: String? = nil) {
        self.tag = tag
        self.entries = OrderedDictionary(uniqueKeysWithValues: entries)
    }

    /// The value under a key. Setting appends a new key at the end and replaces a present one in its place.
    public subscript(key: StateKey) -> StateTree? {
        get { entries[key] }
        set { entries[key] = newValue }
    }

    /// The value under a text key.
    public subscript(key: String) -> StateTree? {
        get { entries[.text(key)] }
        set { entries[.text(key)] = newValue }
    }

    /// The entries of metadata that are the user's: without those that the library keeps for itself (spec section 8).
    package var withoutLibraryEntries: StateDictionary {
        let kept = filter { !($0.key.text.map(LibraryMetadata.isReserved) ?? false) }
        return StateDictionary(keyed: kept.map { ($0.key, $0.value) }, tag: tag)
    }

    /// The keys in order.
    public var keys: [StateKey] { Array(entries.keys) }
}

extension StateDictionary: RandomAccessCollection {
    /// The position of the first entry.
    public var startIndex: Int { 0 }
    /// The position behind the last entry.
    public var endIndex: Int { entries.count }
    /// The entry at a position.
    public subscript(position: Int) -> (key: StateKey, value: StateTree) {
        let entry = entries.elements[position]
        return (entry.key, entry.value)
    }
}
