import Foundation
import FuzzTargets

/// The target that the environment names.
private let target: FuzzTarget = {
    let name = ProcessInfo.processInfo.environment["NNSTORE_FUZZ_TARGET"] ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        fatalError("NNSTORE_FUZZ_TARGET is \"\(name)\", none of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target.run(Array(UnsafeBufferPointer(start: start, count: count)))
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
