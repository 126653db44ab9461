/// Finds names that somebody may have meant.
package enum NameSimilarity {
    /// Up to three of `names` that are most like `name`: by how many letters would have to change (Levenshtein 1966),
    /// if that is at most a third of them; then those that end like it.
    package static func closest(to name: String, among names: [String]) -> [String] {
        guard !name.isEmpty, name.utf8.count <= 200 else { return [] }
        let letters = Array(name.lowercased().utf8)
        let last = "." + (name.split(separator: ".").last.map(String.init) ?? name)
        let ranked = names.compactMap { candidate -> (distance: Int, name: String)? in
            if candidate.isEmpty || candidate.utf8.count > 400 { return nil }
            let most = max(1, letters.count / 3)
            let other = Array(candidate.lowercased().utf8)
            if abs(other.count - letters.count) <= most {
                let distance = distance(letters, other, atMost: most)
                if distance <= most { return (distance, candidate) }
            }
            // A path that lacks its beginning, or a part of the name.
            return candidate.hasSuffix("." + name) || candidate.hasSuffix(last) || candidate.contains(name)
                ? (letters.count, candidate) : nil
        }
        return ranked.enumerated()
            .sorted { ($0.element.distance, $0.offset) < ($1.element.distance, $1.offset) }
            .prefix(3).map(\.element.name)
    }

    private static func distance(_ a: [UInt8], _ b: [UInt8], atMost limit: Int) -> Int {
        var row = Array(0...b.count)
        for (i, letter) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let cost = diagonal + (letter == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(cost, row[j] + 1, row[j + 1] + 1)
            }
            if row.min()! > limit { return limit + 1 }
        }
        return row[b.count]
    }
}
