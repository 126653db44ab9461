import NNStore

/// How much a pickle's values are once whatever is shared is written out for each place where it is used: a few kilobytes can
/// stand for more than fits anywhere. Counted without writing anything out, and before it.
struct PickleExpansion {
    /// Values, with all their parts.
    private(set) var valueCount = 0
    /// Bytes of texts and the like.
    private(set) var byteCount = 0
    /// Objects that are reached from inside of themselves, where such are allowed.
    private(set) var selfReferring: Set<Int> = []

    private struct Sum {
        var values = 1
        var bytes = 0
        var depth = 1

        mutating func add(_ other: Sum) {
            values = values.addingReportingOverflow(other.values).overflow ? .max : values + other.values
            bytes = bytes.addingReportingOverflow(other.bytes).overflow ? .max : bytes + other.bytes
            depth = max(depth, other.depth + 1)
        }
    }

    /// Deeper than trees may be, since calls are nested in what they make.
    private static let maximumDepth = StateTree.maximumDepth + 100

    /// Values and bytes a byte of the pickle may stand for, beyond what every pickle may.
    private static let valuesForByte = 8
    private static let bytesForByte = 64
    private static let freeValues = 1 << 16
    private static let freeBytes = 64 << 20

    /// Counts what `graph` stands for.
    ///
    /// - Parameter mayReferBack: whether an object may be reached from inside of itself.
    /// - Throws: if it contains itself somewhere, nests too deep, or stands for more than the options or its own size allow.
    init(
        _ graph: PickleGraph, pickleSize: Int, name: String, options: OpenOptions,
        mayReferBack: (PickleGraph.Node) -> Bool
    ) throws {
        let maximumValues =
            options.maximumExpandedValues
            ?? min(
                options.limits.maximumNodes, PickleExpansion.freeValues + PickleExpansion.valuesForByte * pickleSize)
        // Whatever is looked at stands in what is counted, so that counting ends where the limit is.
        var visited = 0
        var sums = [Sum?](repeating: nil, count: graph.nodes.count)
        var isOpen = [Bool](repeating: false, count: graph.nodes.count)
        // By hand, since a pickle may nest deeper than any stack.
        var path: [(node: Int, next: Int, children: [PickleValue], sum: Sum)] = []
        var total = Sum()

        func tooMany(_ count: Int) -> InteropError {
            .limitExceeded(
                file: name,
                what: "the number of values that shared lists and dictionaries stand for (ckpt-tool: --max-values)",
                limit: maximumValues, found: count == .max ? "more than 2^63" : "\(count)")
        }

        func enter(_ value: PickleValue, _ sum: inout Sum) throws {
            switch value {
            case .node(let number):
                if let known = sums[number] { return sum.add(selfReferring.contains(number) ? Sum() : known) }
                if isOpen[number], mayReferBack(graph.nodes[number]) {
                    selfReferring.insert(number)
                    return sum.add(Sum())
                }
                guard !isOpen[number] else {
                    throw InteropError.invalidPickle(file: name, .cycle(offset: graph.nodes[number].offset))
                }
                isOpen[number] = true
                visited += graph.nodes[number].childCount
                guard visited <= maximumValues else { throw tooMany(visited) }
                path.append((number, 0, graph.nodes[number].children, Sum()))
            case .text(let text): sum.add(Sum(bytes: text.utf8.count))
            case .brokenText(let bytes), .byteString(let bytes), .bytes(let bytes): sum.add(Sum(bytes: bytes.count))
            case .integer(let integer) where integer.int == nil: sum.add(Sum(bytes: integer.byteCount))
            default: sum.add(Sum())
            }
        }

        try enter(graph.root, &total)
        while let last = path.indices.last {
            if path[last].next < path[last].children.count {
                let child = path[last].children[path[last].next]
                path[last].next += 1
                var sum = path[last].sum
                try enter(child, &sum)
                path[last].sum = sum
            } else {
                let (number, _, _, sum) = path.removeLast()
                guard sum.depth <= PickleExpansion.maximumDepth else {
                    throw InteropError.invalidPickle(file: name, .depth(offset: graph.nodes[number].offset))
                }
                sums[number] = sum
                isOpen[number] = false
                if path.isEmpty { total.add(sum) } else { path[path.count - 1].sum.add(sum) }
            }
        }
        valueCount = total.values
        byteCount = total.bytes

        guard valueCount <= maximumValues else { throw tooMany(valueCount) }
        let maximumBytes =
            options.maximumLogicalByteCount ?? PickleExpansion.freeBytes + PickleExpansion.bytesForByte * pickleSize
        guard byteCount <= maximumBytes else {
            throw InteropError.limitExceeded(
                file: name, what: "the bytes that shared texts stand for (ckpt-tool: --max-logical-bytes)",
                limit: maximumBytes, found: byteCount == .max ? "more than 2^63" : "\(byteCount)")
        }
    }
}

extension PickleGraph.Node {
    /// How many values ``children`` has, at least.
    fileprivate var childCount: Int { elements.count + 2 * pairs.count + arguments.count + states.count }

    /// Everything that the node is made of.
    fileprivate var children: [PickleValue] {
        var children = elements
        for pair in pairs { children += [pair.key, pair.value] }
        children += arguments
        children += states
        switch kind {
        case .persistent(let value): children.append(value)
        case .object(let callee, let keywords):
            children.append(callee)
            if let keywords { children.append(keywords) }
        default: break
        }
        return children
    }
}
