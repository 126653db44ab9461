import NNInterop
import NNStore

/// What differs between two checkpoints, for a person.
struct ComparisonText {
    private(set) var lines: [String] = []
    /// What follows the files' names in the last line.
    private(set) var summary: String

    /// - Parameter limit: the most rows of each section.
    init(_ comparison: CheckpointComparison, limit: Int) {
        let groups = [
            ("shared only in the first", comparison.aliasGroupsOnlyInFirst),
            ("shared only in the second", comparison.aliasGroupsOnlyInSecond),
        ]
        let groupCount = groups.reduce(0) { $0 + $1.1.count }
        if comparison.isEqual {
            summary = "are equal"
            summary += comparison.equalEntryCount.map { ": \(ComparisonText.entries($0))" } ?? ", by their content ids"
        } else {
            func count(_ change: EntryDifference.Change) -> Int {
                comparison.entries.count { $0.change == change }
            }
            var parts = EntryDifference.Change.allCases.reversed().compactMap { change in
                count(change) == 0 ? nil : "\(Quantities.grouped(count(change))) \(change.rawValue)"
            }
            if !comparison.metadata.isEmpty {
                parts.append("\(ComparisonText.entries(comparison.metadata.count)) of metadata")
            }
            if groupCount > 0 { parts.append(Quantities.count(groupCount, "alias group")) }
            summary = "differ: \(parts.joined(separator: ", "))"
            if let equal = comparison.equalEntryCount { summary += "; \(ComparisonText.entries(equal)) equal" }
        }
        append(ComparisonText.table(comparison.entries, limit), count: comparison.entries.count, limit)
        if !comparison.metadata.isEmpty {
            lines.append("metadata")
            append(
                ComparisonText.table(comparison.metadata, limit).map { "  " + $0 }, count: comparison.metadata.count,
                limit)
        }
        if groupCount > 0 {
            var table = Table(columns: 2)
            let all = groups.flatMap { label, groups in groups.map { (label, $0) } }
            for (label, group) in all.prefix(limit) {
                table.add([label, group.map(ComparisonText.name).joined(separator: ", ")])
            }
            lines.append("memory")
            append(table.lines.map { "  " + $0 }, count: all.count, limit)
        }
    }

    private static func entries(_ count: Int) -> String {
        "\(Quantities.grouped(count)) \(count == 1 ? "entry" : "entries")"
    }

    private mutating func append(_ rows: [String], count: Int, _ limit: Int) {
        lines += rows
        if count > limit { lines.append("... and \(Quantities.grouped(count - limit)) more (--limit)") }
    }

    private static func table(_ differences: [EntryDifference], _ limit: Int) -> [String] {
        var table = Table(columns: 4)
        for difference in differences.prefix(limit) {
            let (what, details) = description(of: difference)
            table.add([difference.change.rawValue, name(difference.name), what, details])
        }
        return table.lines
    }

    private static func name(_ name: String) -> String { name.isEmpty ? "(root)" : printable(name) }

    /// What the entry is, and what is different about it.
    private static func description(of difference: EntryDifference) -> (what: String, details: String) {
        guard let first = difference.first, let second = difference.second else {
            return ((difference.first ?? difference.second).map(TreeText.describe) ?? "", "")
        }
        var what: String?
        var details: [String] = []
        for aspect in difference.aspects {
            switch aspect {
            case .kind(let old, let new): what = "\(old) → \(new)"
            case .dtype, .shape: what = "\(tensor(first)) → \(tensor(second))"
            case .value(let old, let new):
                details.append("\(printable(old)) → \(printable(new))")
            case .tag(let old, let new):
                details.append("type \(old.map(printable) ?? "none") → \(new.map(printable) ?? "none")")
            case .requiresGrad(_, let new): details.append(new ? "requires grad now" : "requires no grad now")
            case .values(let values): details.append(text(values))
            }
        }
        return (what ?? (first.tensor == nil ? first.kindName : tensor(first)), details.joined(separator: ", "))
    }

    private static func tensor(_ node: StateTree) -> String { node.tensor.map { "\($0.dtype) \($0.shape)" } ?? "" }

    private static func text(_ values: ElementDifferences) -> String {
        let noun = values.countsBlocks ? "block" : "element"
        var text = "\(Quantities.grouped(values.differingCount)) of \(Quantities.count(values.count, noun))"
        if let largest = values.largestDifference {
            let exact = values.exactLargestDifference.map { String($0) } ?? Quantities.value(largest)
            text += ", largest difference \(exact)"
        }
        if let relative = values.largestRelativeDifference {
            text += " (relative \(Quantities.value(100 * relative)) %)"
        }
        for (count, what) in [
            (values.becameNaNCount, "became NaN"), (values.wasNaNCount, "no longer NaN"),
            (values.becameInfiniteCount, "became infinite"), (values.wasInfiniteCount, "no longer infinite"),
            (values.infiniteSignCount, "infinite with the other sign"),
        ] where count > 0 { text += ", \(Quantities.grouped(count)) \(what)" }
        return text
    }
}

/// What differs between two checkpoints, for other tools.
enum ComparisonJSON {
    static func object(_ comparison: CheckpointComparison, _ first: String, _ second: String) -> JSONValue {
        func groups(_ groups: [[String]]) -> JSONValue {
            .array(groups.map { .array($0.map { .string($0) }) })
        }
        return .object([
            "first": .string(first), "second": .string(second), "equal": .bool(comparison.isEqual),
            "entries": .array(comparison.entries.map(entry)), "metadata": .array(comparison.metadata.map(entry)),
            "aliases": .object([
                "only_first": groups(comparison.aliasGroupsOnlyInFirst),
                "only_second": groups(comparison.aliasGroupsOnlyInSecond),
            ]),
        ])
    }

    private static func entry(_ difference: EntryDifference) -> JSONValue {
        var values = JSONValue.null
        var texts: (String?, String?)
        for aspect in difference.aspects {
            if case .values(let found) = aspect { values = object(found) }
            if case .value(let old, let new) = aspect { texts = (old, new) }
        }
        let path = difference.path.keys.map { key in
            switch key {
            case .text(let text): JSONValue.string(text)
            case .integer(let value): JSONValue.integer(value)
            }
        }
        return .object([
            "name": .string(difference.name), "path": .array(path), "change": .string(difference.change.rawValue),
            "first": node(difference.first, texts.0), "second": node(difference.second, texts.1),
            "differs": .array(difference.aspects.map { .string(name($0)) }), "values": values,
        ])
    }

    private static func name(_ aspect: EntryDifference.Aspect) -> String {
        switch aspect {
        case .kind: "kind"
        case .tag: "tag"
        case .dtype: "dtype"
        case .shape: "shape"
        case .requiresGrad: "requires_grad"
        case .values: "values"
        case .value: "value"
        }
    }

    /// - Parameter text: of a plain value that changed, the text that shows the difference.
    private static func node(_ node: StateTree?, _ text: String?) -> JSONValue {
        guard let node else { return .null }
        let tensor = node.tensor
        return .object([
            "kind": .string(node.kindName), "tag": JSONOutput.text(node.tag),
            "dtype": JSONOutput.text(tensor?.dtype.name),
            "shape": tensor.map { .array($0.shape.map { .integer($0) }) } ?? .null,
            "requires_grad": tensor.map { .bool($0.requiresGrad) } ?? .null,
            "text": JSONOutput.text(text ?? (tensor == nil ? TreeText.describe(node) : nil)),
        ])
    }

    private static func object(_ values: ElementDifferences) -> JSONValue {
        .object([
            "count": .integer(values.count), "of": .string(values.countsBlocks ? "blocks" : "elements"),
            "differing": .integer(values.differingCount),
            "largest_difference": values.exactLargestDifference.map { .number(JSONNumber($0)) }
                ?? JSONOutput.number(values.largestDifference),
            "largest_relative_difference": JSONOutput.number(values.largestRelativeDifference),
            "became_nan": .integer(values.becameNaNCount), "was_nan": .integer(values.wasNaNCount),
            "became_infinite": .integer(values.becameInfiniteCount), "was_infinite": .integer(values.wasInfiniteCount),
            "infinite_with_other_sign": .integer(values.infiniteSignCount),
        ])
    }
}
