/// Rules that give entries of a state tree other names.
///
/// A rule is two paths, `encoder.attn=encoder.attention`: what is at the first one, and all below it, goes to the second one.
/// In the first path `*` stands for one part of a name between dots and `**` for any number of them; in the second one they
/// stand for what the first one's did, in order: `layers.*.fc=layers.*.linear`, `**.gamma=**.weight`. Rules are applied one
/// after another, each to the names that the ones before it made.
public struct PathRenaming: Sendable {
    /// A rule.
    public struct Rule: Sendable, Hashable, CustomStringConvertible {
        let old: [Substring]
        let new: [Substring]

        /// The rule in a text, `old=new`.
        ///
        /// - Throws: ``StoreError/invalidArgument(reason:)`` if the text is no rule.
        public init(_ text: String) throws(StoreError) {
            let sides = text.split(separator: "=", omittingEmptySubsequences: false)
            guard sides.count == 2 else {
                throw .invalidArgument(reason: "\"\(text)\" is no rule; one looks like encoder.attn=encoder.attention")
            }
            old = sides[0].split(separator: ".", omittingEmptySubsequences: false)
            new = sides[1].split(separator: ".", omittingEmptySubsequences: false)
            func wildcards(_ path: [Substring]) -> [Substring] { path.filter { $0 == "*" || $0 == "**" } }
            guard !(old + new).contains("") else {
                throw .invalidArgument(reason: "the rule \"\(text)\" has an empty part; names go between dots")
            }
            guard wildcards(old) == wildcards(new), wildcards(old).count(where: { $0 == "**" }) < 2 else {
                throw .invalidArgument(
                    reason: "the rule \"\(text)\" should have the same * and ** on both sides, and ** once at most")
            }
        }

        /// `old=new`
        public var description: String { "\(old.joined(separator: "."))=\(new.joined(separator: "."))" }

        /// How many parts of a path from its beginning the rule is about, more than `count` of them, and what they become;
        /// `nil` if it is not about the path.
        func match(_ path: [Substring], beyond count: Int) -> (length: Int, replacement: [Substring])? {
            // Without ** there is one length; with it, the shortest counts.
            let fixed = old.count - (old.contains("**") ? 1 : 0)
            for length in max(count + 1, fixed)..<max(path.count + 1, max(count + 1, fixed) + 1) {
                guard length <= path.count, length == fixed || old.contains("**") else { return nil }
                if let found = captures(path[..<length], skipping: length - fixed) {
                    var captured = found[...]
                    let replacement = new.flatMap { part -> [Substring] in
                        part == "*" || part == "**" ? captured.removeFirst() : [part]
                    }
                    return (length, replacement)
                }
            }
            return nil
        }

        /// What the wildcards stand for, if the whole path is what the rule says; `**` stands for `skipped` parts.
        private func captures(_ path: ArraySlice<Substring>, skipping skipped: Int) -> [[Substring]]? {
            var rest = path
            var captures: [[Substring]] = []
            for part in old {
                switch part {
                case "**":
                    captures.append(Array(rest.prefix(skipped)))
                    rest = rest.dropFirst(skipped)
                case "*":
                    guard let first = rest.popFirst() else { return nil }
                    captures.append([first])
                default:
                    guard let first = rest.popFirst(), first.utf8.elementsEqual(part.utf8) else { return nil }
                }
            }
            return rest.isEmpty ? captures : nil
        }
    }

    /// The rules, in order.
    public let rules: [Rule]

    /// Rules in order.
    public init(_ rules: [Rule]) { self.rules = rules }

    /// The tree with other names, and how many nodes each rule renamed.
    ///
    /// - Throws: ``StoreError/invalidTree(path:reason:)`` if two nodes would get one name, or if one would go to another
    ///   dictionary than it is in.
    public func applied(to tree: StateTree) throws(StoreError) -> (tree: StateTree, counts: [Int]) {
        var tree = tree
        var counts: [Int] = []
        for rule in rules {
            var count = 0
            tree = try PathRenaming.rename(tree, rule, [], &count)
            counts.append(count)
        }
        return (tree, counts)
    }

    /// A module's path with another name: its own, or that of a module that it is in.
    public func applied(to path: String) -> String {
        var parts = path.split(separator: ".", omittingEmptySubsequences: false)
        for rule in rules {
            if let (length, replacement) = rule.match(parts, beyond: 0) { parts = replacement + parts[length...] }
        }
        return parts.joined(separator: ".")
    }

    private static func rename(
        _ node: StateTree, _ rule: Rule, _ path: [Substring], _ count: inout Int
    ) throws(StoreError) -> StateTree {
        func renamed(_ entries: StateDictionary, _ count: inout Int) throws(StoreError) -> StateDictionary {
            var renamed = StateDictionary(tag: entries.tag)
            for (key, value) in entries {
                let old = path + key.description.split(separator: ".", omittingEmptySubsequences: false)
                var newKey = key
                if let (length, replacement) = rule.match(old, beyond: path.count) {
                    let new = replacement + old[length...]
                    guard new.count > path.count, new.starts(with: path) else {
                        throw .invalidTree(
                            path: old.joined(separator: "."),
                            reason: "the rule \(rule) would move it out of its dictionary "
                                + "\"\(path.joined(separator: "."))\", which a renaming can't")
                    }
                    newKey = .text(new[path.count...].joined(separator: "."))
                    count += 1
                }
                guard renamed[newKey] == nil else {
                    throw .invalidTree(
                        path: old.joined(separator: "."),
                        reason: "by the rule \(rule) it would get the name \"\(newKey)\", which another entry has")
                }
                renamed[newKey] = try rename(value, rule, old, &count)
            }
            return renamed
        }
        func renamed(_ elements: [StateTree], _ count: inout Int) throws(StoreError) -> [StateTree] {
            var renamed: [StateTree] = []
            for (index, element) in elements.enumerated() {
                renamed.append(try rename(element, rule, path + [Substring("\(index)")], &count))
            }
            return renamed
        }
        switch node {
        case .dictionary(let entries): return .dictionary(try renamed(entries, &count))
        case .record(let type, let entries): return .record(type: type, try renamed(entries, &count))
        case .list(let elements, let tag): return .list(try renamed(elements, &count), tag: tag)
        case .tuple(let elements, let tag): return .tuple(try renamed(elements, &count), tag: tag)
        default: return node
        }
    }
}
