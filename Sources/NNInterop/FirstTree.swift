import NNStore
import Synchronization

/// The tree that opening a file had to make to validate it, for whoever asks first: each one who asks gets storages of his own.
final class FirstTree: Sendable {
    private let tree: Mutex<StateTree?>

    init(_ tree: StateTree) { self.tree = Mutex(tree) }

    /// The tree, to the first one who asks.
    func take() -> StateTree? {
        tree.withLock { tree in
            defer { tree = nil }
            return tree
        }
    }
}
