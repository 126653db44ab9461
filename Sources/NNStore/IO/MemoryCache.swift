import Synchronization

/// Memory that was freed and waits to be used again. A program that calculates frees and wants blocks of the same sizes over and
/// over, and fresh ones from the kernel cost more than most calculations, because it clears them.
package final class MemoryCache: Sendable {
    /// Smaller blocks are left to the C library, which keeps them itself.
    private static let smallest = 64 << 10
    /// More blocks are not kept, so that looking for one stays short.
    private static let mostBlocks = 256

    private struct State {
        /// The oldest first.
        var blocks: [Memory] = []
        var byteCount = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    /// A cache that keeps at most `limit` bytes.
    package init(limit: Int) { self.limit = limit }

    /// Memory that holds anything. The caller writes all of it before anybody reads it.
    ///
    /// - Throws: ``StoreError/system(operation:path:errno:)`` if there is not enough.
    package func allocate(_ byteCount: Int) throws(StoreError) -> Memory {
        if byteCount < MemoryCache.smallest { return try Memory.allocateUninitialized(byteCount) }
        let cached = state.withLock { state -> Memory? in
            guard let place = state.blocks.lastIndex(where: { $0.byteCount == byteCount }) else { return nil }
            state.byteCount -= byteCount
            return state.blocks.remove(at: place)
        }
        if let cached { return cached.recycled(to: self) }
        return try Memory.allocateUninitialized(byteCount).recycled(to: self)
    }

    /// Keeps a block that nobody uses any more, in the place of the oldest ones if need be.
    func take(_ block: Memory) {
        if block.byteCount > limit { return }
        // Freed after the lock is given up.
        var dropped: [Memory] = []
        state.withLock { state in
            while state.byteCount + block.byteCount > limit || state.blocks.count == MemoryCache.mostBlocks {
                let oldest = state.blocks.removeFirst()
                state.byteCount -= oldest.byteCount
                dropped.append(oldest)
            }
            state.blocks.append(block)
            state.byteCount += block.byteCount
        }
        dropped = []
    }

    /// Gives all that is kept back to the system.
    package func empty() {
        let blocks = state.withLock { state in
            defer { state = State() }
            return state.blocks
        }
        withExtendedLifetime(blocks) {}
    }

    /// The number of bytes that are kept.
    package var byteCount: Int { state.withLock { $0.byteCount } }
}
