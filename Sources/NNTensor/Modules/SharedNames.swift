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
        for places in byStorage.values {
            // Parts of one storage that do not touch each other are not shared with each other.
            let ranges = places.map { (place: $0, bytes: tensors[$0].tensor.layout.byteRange) }
                .sorted { ($0.bytes.lowerBound, $0.place) < ($1.bytes.lowerBound, $1.place) }
            var group: [Int] = []
            var end = 0
            func close() {
                let members = group.sorted().map { tensors[$0].name }
                for name in members { groups[name] = members }
            }
            for (place, bytes) in ranges {
                if bytes.lowerBound >= end {
                    close()
                    group = []
                }
                group.append(place)
                end = max(end, bytes.upperBound)
            }
            close()
        }
    }

    private func group(of name: String) -> [String] { groups[name] ?? [name] }

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
}
