import NNStore
import Synchronization

/// The pinned memory through which bytes go to devices and back: slots that are lent, filled, copied from by a device, and
/// lent again when the device has copied them.
///
/// It is made when it is first needed and kept for the life of the driver. However large a checkpoint is, no more memory of
/// the process than this is used for it; whoever wants a slot while all are in use waits.
final class StagingRing: Sendable {
    /// The bytes of a slot: enough that a copy runs at full speed, little enough that it stays in the caches of a core.
    static let slotSize = 4 << 20
    private static let mostSlots = 32

    /// One piece of the ring, which one thread has to itself.
    final class Slot: Sendable {
        fileprivate let memory: Memory
        fileprivate let events = Mutex<[ObjectIdentifier: Event]>([:])

        fileprivate init(_ memory: Memory) { self.memory = memory }

        /// The slot's event of a device.
        func event(_ context: DeviceContext) throws(DeviceError) -> Event {
            try events.withLock { events throws(DeviceError) in
                if let event = events[ObjectIdentifier(context)] { return event }
                let event = try Event(context)
                events[ObjectIdentifier(context)] = event
                return event
            }
        }
    }

    private struct State: Sendable {
        var free: [Slot] = []
        /// The oldest first.
        var copying: [(slot: Slot, event: Event)] = []
    }

    private let driver: Driver
    private let memory = Mutex<Memory?>(nil)
    private let slots = ConditionLock(State())

    init(_ driver: Driver) { self.driver = driver }

    /// How many slots there are: each worker fills one while its last one is copied, and some more.
    private static var count: Int { min(2 * Workers.defaultCount + 4, mostSlots) }

    private func makeSlots(_ context: DeviceContext) throws {
        try memory.withLock { memory in
            if memory != nil { return }
            let made = try PinnedMemory.allocate(StagingRing.count * StagingRing.slotSize, context)
            let free = (0..<StagingRing.count).map { number in
                Slot(made.part(in: number * StagingRing.slotSize..<(number + 1) * StagingRing.slotSize))
            }
            memory = made
            slots.change { state in
                state.free = free
                return ((), wakes: true)
            }
        }
    }

    /// Whether memory is a part of the ring. Whoever has a slot already must not wait for another one: all others may do the
    /// same.
    func contains(_ other: Memory) -> Bool {
        memory.withLock { memory in
            guard let memory, let start = unsafe memory.address, let place = unsafe other.address else { return false }
            let offset = UInt(bitPattern: place) &- UInt(bitPattern: start)
            return offset <= UInt(memory.byteCount) && UInt(other.byteCount) <= UInt(memory.byteCount) - offset
        }
    }

    /// Lends a slot, and the memory that it is, until `body` returns; if it returns an event, until the device has come to
    /// that.
    func withSlot(_ context: DeviceContext, _ body: (Slot, Memory) throws -> Event?) throws {
        try makeSlots(context)
        let (slot, event) = slots.wait(until: { !$0.free.isEmpty || !$0.copying.isEmpty }) {
            state -> ((Slot, Event?), wakes: Bool) in
            if let slot = state.free.popLast() { return ((slot, nil), wakes: false) }
            let oldest = state.copying.removeFirst()
            return ((oldest.slot, oldest.event), wakes: false)
        }
        // Whoever began the copy hears of its failure; after one, no device uses the slot any more.
        try? event?.wait()
        let result = Result { try body(slot, slot.memory) }
        // A copy may have been begun before the error.
        if case .failure = result { context.settle() }
        slots.change { state in
            if case .success(let event?) = result {
                state.copying.append((slot, event))
            } else {
                state.free.append(slot)
            }
            return ((), wakes: true)
        }
        _ = try result.get()
    }
}
