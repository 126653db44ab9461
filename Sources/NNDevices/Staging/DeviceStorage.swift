import CCUDA
import NNStore

/// The bytes of a storage in the memory of a GPU: a block, or a part of one that small storages share.
package final class DeviceStorage: DeviceBacking {
    package let gpu: GPU
    private let memory: DeviceMemory
    private let offset: Int
    package let byteCount: Int
    package let padding: Int?
    /// When the bytes are there and stay as they are; `nil` if work of the compute lane may change them.
    private let ready: Event?

    private init(
        _ gpu: GPU, _ memory: DeviceMemory, _ offset: Int, _ byteCount: Int, padding: Int?, ready: Event? = nil
    ) {
        self.ready = ready
        self.gpu = gpu
        self.memory = memory
        self.offset = offset
        self.byteCount = byteCount
        self.padding = padding
    }

    /// Whether small storages share blocks. A checker of memory accesses sees only those outside of blocks.
    @TaskLocal package static var sharesBlocks = true

    /// Storages that are as large have a block of their own.
    private static let smallestAlone = 1 << 20
    private static let largestArena = 32 << 20
    /// What CUDA aligns allocations to, and more than any access needs.
    private static let alignment = 256

    /// Storages of the given sizes, with any contents. Small ones share blocks, in the order given.
    package static func allocate(_ byteCounts: [Int], on gpu: GPU) throws(DeviceError) -> [DeviceStorage] {
        let context = try gpu.context()
        var storages = [DeviceStorage?](repeating: nil, count: byteCounts.count)
        var arena: [(number: Int, offset: Int)] = []
        var end = 0
        func makeArena() throws(DeviceError) {
            let memory = try DeviceMemory(context, byteCount: end)
            for (place, part) in arena.enumerated() {
                let next = place + 1 < arena.count ? arena[place + 1].offset : end
                let size = byteCounts[part.number]
                storages[part.number] = DeviceStorage(
                    gpu, memory, part.offset, size, padding: next - part.offset - size)
            }
            (arena, end) = ([], 0)
        }
        for (number, byteCount) in byteCounts.enumerated() {
            if byteCount >= smallestAlone || !sharesBlocks {
                let memory = try DeviceMemory(context, byteCount: byteCount)
                storages[number] = DeviceStorage(gpu, memory, 0, byteCount, padding: nil)
                continue
            }
            if end + byteCount > largestArena { try makeArena() }
            arena.append((number, end))
            end += (byteCount + alignment - 1) / alignment * alignment
        }
        try makeArena()
        return storages.map { $0! }
    }

    /// One storage of its own, with any contents.
    package static func allocate(_ byteCount: Int, on gpu: GPU) throws(DeviceError) -> DeviceStorage {
        DeviceStorage(gpu, try DeviceMemory(gpu.context(), byteCount: byteCount), 0, byteCount, padding: nil)
    }

    package var deviceName: String { memory.context.name }
    package var device: ObjectIdentifier { ObjectIdentifier(memory.context) }
    package var allocation: ObjectIdentifier { ObjectIdentifier(memory) }
    package var address: UInt64 { memory.address + UInt64(offset) }

    package func snapshot(of range: Range<Int>) throws -> (any DeviceBacking)? {
        let context = memory.context
        let room = try context.memoryInfo()
        // Training needs room as well.
        guard room.free - range.count >= room.total / 16 else { return nil }
        let copy: DeviceMemory
        do throws(DeviceError) {
            copy = try DeviceMemory(context, byteCount: range.count)
        } catch {
            if case .outOfMemory = error { return nil }
            throw error
        }
        if range.isEmpty { return DeviceStorage(gpu, copy, 0, 0, padding: nil) }
        try context.with { functions throws(DeviceError) in
            // Sound: both are released in the lane in which they are copied.
            try context.check(
                unsafe functions.copyOnDevice(
                    copy.address, address + UInt64(range.lowerBound), range.count, context.stream(.compute)),
                "copying \(range.count) bytes on the device")
        }
        // Saving waits for the copy and not for the training that goes on.
        let ready = try Event(context)
        try ready.record(on: .compute)
        return DeviceStorage(gpu, copy, 0, range.count, padding: nil, ready: ready)
    }

    package func beginUpload() throws -> any DeviceUpload { try Upload(gpu) }

    package func read(_ range: Range<Int>, into destination: inout MutableRawSpan) throws {
        var start = range.lowerBound
        while start < range.upperBound {
            let count = min(StagingRing.slotSize, range.upperBound - start)
            try readPiece(start, count, &destination, start - range.lowerBound)
            start += count
        }
    }

    private func readPiece(
        _ start: Int, _ count: Int, _ destination: inout MutableRawSpan, _ place: Int
    ) throws {
        let context = memory.context
        try Memory.withBorrowed(&destination) { whole in
            let piece = whole.part(in: place..<place + count)
            if gpu.ring.contains(piece) {
                return try copy(start, count, to: piece, try Event(context))
            }
            try gpu.ring.withSlot(context) { slot, pinned in
                try copy(start, count, to: pinned, slot.event(context))
                pinned.withBytes(in: 0..<count) { bytes in
                    piece.withMutableBytes(in: 0..<count) { $0.copy(bytes) }
                }
                return nil
            }
        }
    }

    /// Copies bytes to pinned memory, and waits.
    private func copy(_ start: Int, _ count: Int, to pinned: Memory, _ event: Event) throws {
        let context = memory.context
        do {
            if let ready {
                try ready.hold(.download)
            } else {
                try event.record(on: .compute)
                try event.hold(.download)
            }
            try context.with { functions throws(DeviceError) in
                // Sound: nobody else uses the memory until this returns, and by then the copy is over or the device lost.
                try context.check(
                    unsafe functions.copyToHost(
                        pinned.address!, address + UInt64(start), count, context.stream(.download)),
                    "copying \(count) bytes from the device")
            }
            try event.record(on: .download)
            try event.wait()
        } catch {
            context.settle()
            throw error
        }
        gpu.copies.release()
        try context.indexProblem.check(context.name)
    }

    package func readAll(into destination: inout MutableRawSpan) throws {
        do {
            try read(0..<byteCount, into: &destination)
        } catch let error as DeviceError {
            // Whoever asks for values has heard of it now.
            if case .indexOutOfRange = error { forgetIndexProblem() }
            throw error
        }
    }

    /// Lets reading go on after a bad index was told of.
    func forgetIndexProblem() { memory.context.indexProblem.forget() }
}
