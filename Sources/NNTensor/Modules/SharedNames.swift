import NNStore
import OrderedCollections

/// Which names stand for the same memory.
struct SharedNames {
    /// For each name the others that its memory is shared with, and itself, in order.
    private var groups: [String: [String]] = [:]
    private let names: [String]

    init(_ tensors: [(name: String, tensor: Tensor)]) {
        names = tensors.map(\.name)
        var byStorage: OrderedDictionary<Storage, [Int]> = [:]
        for (place, entry) in tensors.enumerated() where !entry.tensor.isUninitialized {
            byStorage[entry.tensor.storage, default: []].append(place)
        }
        for places in byStorage.values where places.count > 1 {
            for group in SharedNames.groups(places.map { ($0, tensors[$0].tensor.layout) }) where group.count > 1 {
                let members = group.sorted().map { tensors[$0].name }
                for name in members { groups[name] = members }
            }
        }
    }

    /// Which of the views of one storage see an element in common, if need be by way of others.
    private static func groups(_ views: [(place: Int, layout: TensorLayout)]) -> [[Int]] {
        let inOrder = views.sorted {
            ($0.layout.byteRange.lowerBound, $0.place) < ($1.layout.byteRange.lowerBound, $1.place)
        }
        var finished: [[Int]] = []
        var groups: [(layouts: [TensorLayout], end: Int, members: [Int])] = []
        for (place, layout) in inOrder {
            let start = layout.byteRange.lowerBound
            // What ends before it has nothing in common with what comes later either.
            finished += groups.filter { $0.end <= start }.map(\.members)
            groups.removeAll { $0.end <= start }
            var joined = (layouts: [layout], end: layout.byteRange.upperBound, members: [place])
            groups.removeAll { group in
                guard group.layouts.contains(where: { $0.overlaps(layout) }) else { return false }
                joined.layouts += group.layouts.filter { $0 != layout }
                joined.end = max(joined.end, group.end)
                joined.members += group.members
                return true
            }
            groups.append(joined)
        }
        return finished + groups.map(\.members)
    }

    /// The names whose memory a name shares, and itself, in order.
    func group(of name: String) -> [String] { groups[name] ?? [name] }

    /// The groups of this one that are others there.
    func differences(from state: SharedNames) -> [StateMismatch.Sharing] {
        var found: [StateMismatch.Sharing] = []
        var seen = Set<String>()
        for name in names where !seen.contains(name) {
            let (here, there) = (group(of: name), state.group(of: name))
            if here == there { continue }
            found.append(.init(model: here, state: there))
            seen.formUnion(here + there)
        }
        return found
    }

    /// The groups of several names that are the same here and there.
    func common(with state: SharedNames) -> [[String]] {
        var seen = Set<String>()
        return names.compactMap { name in
            let here = group(of: name)
            guard here.count > 1, here == state.group(of: name), seen.insert(here[0]).inserted else { return nil }
            return here
        }
    }
}
