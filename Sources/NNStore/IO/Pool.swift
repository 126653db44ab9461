import Synchronization

/// Things that are costly to make and that one thread at a time works with (encoders, decoders), used again and again.
///
/// Sound to send though the elements need not be: an element is either here, behind the lock, or lent to one caller.
final class Pool<Element>: Sendable {
    private struct Slot: @unchecked Sendable {
        let element: Element
    }

    private let free = Mutex<[Slot]>([])
    private let make: @Sendable () throws(StoreError) -> Element

    /// An empty pool, whose elements `make` makes when all others are lent.
    init(_ make: @escaping @Sendable () throws(StoreError) -> Element) { self.make = make }

    /// Lends `body` an element that no other thread uses meanwhile, and that it must not keep.
    func with<Result>(_ body: (Element) throws(StoreError) -> Result) throws(StoreError) -> Result {
        let slot =
            if let pooled = free.withLock({ $0.popLast() }) { pooled } else { Slot(element: try make()) }
        defer { free.withLock { $0.append(slot) } }
        return try body(slot.element)
    }
}
