/// Bytes that go to a device in one copy: parts that stand side by side there.
struct DeviceCopy<Part: Sendable>: Sendable {
    let upload: any DeviceUpload
    let address: UInt64
    fileprivate(set) var byteCount: Int
    /// The parts, and where in the copied bytes they begin.
    fileprivate(set) var parts: [(offset: Int, part: Part)]
}

/// Groups bytes that go to devices into copies: what a copy costs does not depend on its size while that is small.
struct DeviceCopies<Part: Sendable> {
    private(set) var copies: [DeviceCopy<Part>] = []
    private var uploads: [ObjectIdentifier: any DeviceUpload] = [:]
    /// What the last copy goes to, and how many of the bytes behind it are nobody's.
    private var allocation: ObjectIdentifier?
    private var padding = 0

    /// Adds `byteCount` bytes that go to a place in a storage.
    mutating func add(_ part: Part, _ byteCount: Int, to backing: any DeviceBacking, at offset: Int) throws {
        let upload = try uploads[backing.device] ?? backing.beginUpload()
        uploads[backing.device] = upload
        guard byteCount <= upload.largestCopy else {
            throw StoreError.invalidArgument(
                reason:
                    "a piece of \(byteCount) bytes does not fit a copy of \(upload.largestCopy) to \(backing.deviceName)"
            )
        }
        let address = backing.address + UInt64(offset)
        defer {
            allocation = backing.allocation
            padding = offset + byteCount == backing.byteCount ? backing.padding ?? 0 : 0
        }
        if let last = copies.last, allocation == backing.allocation, address >= last.address {
            let distance = Int(address - last.address)
            if distance >= last.byteCount, distance - last.byteCount <= padding,
                distance + byteCount <= upload.largestCopy
            {
                copies[copies.count - 1].byteCount = distance + byteCount
                copies[copies.count - 1].parts.append((distance, part))
                return
            }
        }
        copies.append(DeviceCopy(upload: upload, address: address, byteCount: byteCount, parts: [(0, part)]))
    }

    /// Calls `body`, which makes the copies, and finishes them whatever happens.
    func finishing(_ body: () throws -> Void) throws {
        let result = Result(catching: body)
        var failure: (any Error)?
        for upload in uploads.values {
            do { try upload.finish() } catch { failure = failure ?? error }
        }
        try result.get()
        if let failure { throw failure }
    }
}
