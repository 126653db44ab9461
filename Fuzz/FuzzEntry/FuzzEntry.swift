import Foundation
import FuzzTargets

/// The target that the environment names.
private let target: FuzzTarget = {
    let name = ProcessInfo.processInfo.environment["NNSTORE_FUZZ_TARGET"] ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        stop("NNSTORE_FUZZ_TARGET is \"\(name)\", none of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

@_silgen_name("nnstore_count_memory") private func countMemory()
@_silgen_name("nnstore_begin_counting") private func beginCounting() -> Int
@_silgen_name("nnstore_peak") private func peak() -> Int

/// Ends the program. libFuzzer's functions have no way to fail: a crash is how it is told that an input is to be kept.
private func stop(_ finding: String) -> Never { fatalError(finding) }

/// What libFuzzer calls with each input. Stops where one takes more memory than the library may: 64 MiB and four times the
/// file's size, and what was asked for, which is 16 MiB; or more of the processor's time than a second, which is what a
/// megabyte may take: an input has an eighth of it, and the sanitizer makes everything about eight times slower.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ input: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: input, count: count))
    let before = beginCounting()
    let start = clock()
    do {
        try target.run(bytes)
    } catch {
        stop("\(error)")
    }
    let ticks = clock() - start
    if ticks > CLOCKS_PER_SEC {
        stop("\(Double(ticks) / Double(CLOCKS_PER_SEC)) seconds of the processor's time for an input of \(count)")
    }
    let used = peak() - before
    if used > 80 << 20 + 4 * count {
        stop("\(used) bytes of memory for an input of \(count)")
    }
    return 0
}

/// What libFuzzer calls first.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(_ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutableRawPointer) -> CInt {
    countMemory()
    return 0
}

@_silgen_name("LLVMFuzzerMutate")
private func libFuzzerMutate(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ maximum: Int) -> Int

/// What libFuzzer calls to change an input.
@_cdecl("LLVMFuzzerCustomMutator")
public func mutate(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ maximum: Int, _ seed: CUnsignedInt) -> Int {
    guard target.takesContainers else { return libFuzzerMutate(bytes, count, maximum) }
    var mutator = ContainerMutator(seed: UInt64(seed)) { part in
        var copy = part
        let size = copy.withUnsafeMutableBufferPointer { libFuzzerMutate($0.baseAddress!, part.count, part.count) }
        return Array(copy.prefix(size))
    }
    let mutated = mutator.mutated(Array(UnsafeBufferPointer(start: bytes, count: count)))
    guard !mutated.isEmpty, mutated.count <= maximum else { return count }
    mutated.withUnsafeBufferPointer { bytes.update(from: $0.baseAddress!, count: mutated.count) }
    return mutated.count
}
