import Foundation
import NNInterop
import NNStore
import Testing

@Suite("A PyTorch file can't make the reader do anything")
struct PyTorchHostileTests {
    private func error(_ bytes: [UInt8], _ options: OpenOptions = OpenOptions()) -> InteropError? {
        do {
            _ = try CheckpointFiles.open(MemorySource(bytes, name: "evil.pt"), options: options)
            return nil
        } catch {
            return error as? InteropError
        }
    }

    private func code(_ pickle: [UInt8]) -> String? { error(torchFile(pickle))?.code }

    private static let system = Pickle.global("os", "system")
    private static let command = Pickle.tuple(Pickle.text("touch nnstore-was-here"))

    private static func variants() -> [(String, [UInt8])] {
        let call = system + command + Pickle.reduce
        let tensor = Pickle.tensor(Pickle.storage(count: 1), shape: [1], strides: [1])
        func short(_ text: String) -> [UInt8] { [0x8c, UInt8(text.utf8.count)] + text.utf8 }
        return [
            ("a call", call),
            ("POSIX by its own name", Pickle.global("posix", "system") + command + Pickle.reduce),
            ("in a dictionary", Pickle.dict([("a", call)])),
            ("in a list in a tuple", Pickle.tuple(Pickle.list(call))),
            ("as a key", Pickle.emptyDict + call + Pickle.int(1) + Pickle.setItem),
            ("thrown away", call + [0x30] + Pickle.int(1)),
            ("beside a tensor", Pickle.dict([("w", tensor), ("x", call)])),
            ("by NEWOBJ", system + command + Pickle.newObject),
            ("by NEWOBJ_EX", system + command + Pickle.emptyDict + [0x92]),
            ("by OBJ", Pickle.mark + system + Pickle.text("true") + [0x6f]),
            ("by INST", Pickle.mark + Pickle.text("true") + [0x69] + Array("os\nsystem\n".utf8)),
            ("by STACK_GLOBAL", short("os") + short("system") + [0x93] + command + Pickle.reduce),
            (
                "by STACK_GLOBAL out of the memo",
                short("os") + [0x94, 0x30] + short("system") + [0x94, 0x30] + Pickle.get(0) + Pickle.get(1) + [0x93]
                    + command + Pickle.reduce
            ),
            ("by a dotted name", short("torch") + short("serialization.os.system") + [0x93] + command + Pickle.reduce),
            ("by the extension registry", [0x82, 1] + command + Pickle.reduce),
            ("by the extension registry, 2 bytes", [0x83, 1, 0] + command + Pickle.reduce),
            ("by the extension registry, 4 bytes", [0x84, 1, 0, 0, 0] + command + Pickle.reduce),
            ("eval", Pickle.global("__builtin__", "eval") + command + Pickle.reduce),
            ("getattr", Pickle.call("builtins", "getattr", Pickle.global("torch", "Size"), Pickle.text("__class__"))),
            ("an import", Pickle.call("builtins", "__import__", Pickle.text("os"))),
            (
                "copyreg",
                Pickle.call("copy_reg", "_reconstructor", system, Pickle.global("__builtin__", "object"), Pickle.none)
            ),
            ("__reduce_ex__ by BUILD", Pickle.noHooks + Pickle.dict([("__reduce_ex__", system)]) + Pickle.build),
            (
                "a state with __setstate__",
                Pickle.global("my", "Class") + Pickle.emptyTuple + Pickle.newObject + call + Pickle.build
            ),
            ("functools.partial", Pickle.call("functools", "partial", system, Pickle.text("true"))),
            ("a factory", Pickle.call("collections", "defaultdict", system)),
            (
                "rebuilt from a type",
                Pickle.call(
                    "torch._tensor", "_rebuild_from_type_v2", system, Pickle.global("torch", "Tensor"), command,
                    Pickle.none)
            ),
            (
                "a hook",
                Pickle.call("torch._utils", "_rebuild_parameter", tensor, Pickle.yes, Pickle.dict([("0", system)]))
            ),
            (
                "a class of storages",
                Pickle.tuple(Pickle.text("storage"), system, Pickle.text("0"), Pickle.text("cpu"), Pickle.int(1))
                    + Pickle.persistent
            ),
            ("runpy", Pickle.call("runpy", "run_path", Pickle.text("x.py"))),
            ("torch's own loader", Pickle.call("torch", "load", Pickle.text("x.pt"))),
            ("torch.hub", Pickle.call("torch.hub", "load", Pickle.text("x"), Pickle.text("y"))),
        ]
    }

    /// Those that do not ask for a name that is not allowed: the operation, or what is known, is refused for another reason.
    private static let otherCodes = [
        "by OBJ": ["refused-global"], "by INST": ["pickle-operation"],
        "by the extension registry": ["pickle-operation"],
        "by the extension registry, 2 bytes": ["pickle-operation"],
        "by the extension registry, 4 bytes": ["pickle-operation"],
    ]

    @Test("whatever calls os.system is refused, in all formats, and nothing runs", arguments: variants().map(\.0))
    func calls(_ name: String) throws {
        let value = try #require(PyTorchHostileTests.variants().first { $0.0 == name }).1
        let records = [("data/0", counting(4))]
        let expected = PyTorchHostileTests.otherCodes[name] ?? ["refused-global"]
        for prefix in [[0x80, 2], [0x80, 4], []] as [[UInt8]] {
            let pickle = prefix + value + Pickle.stop
            for file in [torchFile(pickle, records), legacyTorchFile(pickle, [("0", 1, counting(4))])] {
                let problem = try #require(error(file), "\(name) was read")
                #expect(expected.contains(problem.code), "\(name): \(problem)")
                #expect(problem.description.contains("byte"), "\(problem)")
            }
            // A pickle by itself is none of PyTorch's, whatever is in it.
            let bare = try #require(error(pickle), "\(name) was read")
            #expect(["unsupported", "unknown-format", "pickle-operation"].contains(bare.code), "\(name): \(bare)")
        }
        // A folder of this test's own is where a command would have left its trace.
        #expect(!FileManager.default.fileExists(atPath: "nnstore-was-here"))
    }

    @Test("a name that is refused is told with its place, and kept as a record nothing is made of it")
    func names() throws {
        let pickle = Pickle.whole(PyTorchHostileTests.system, PyTorchHostileTests.command, Pickle.reduce)
        guard case .refusedGlobal(let file, "os.system", 2)? = error(torchFile(pickle)) else {
            Issue.record("\(String(describing: error(torchFile(pickle))))")
            return
        }
        #expect(file == "evil.pt, archive/data.pkl")
        let kept = try CheckpointFiles.open(
            MemorySource(torchFile(pickle)), options: OpenOptions(keepsUnknownTypes: true)
        ).state()
        #expect(kept.recordType == "os.system" && kept["arguments"]?[0]?.string == "touch nnstore-was-here")
        #expect(!FileManager.default.fileExists(atPath: "nnstore-was-here"))
    }

    @Test("what a call was given does not change afterwards: other readers would see what it was before")
    func lateChanges() {
        let shape = Pickle.list(Pickle.int(2)) + Pickle.put(0) + [0x30]
        let size = Pickle.global("torch", "Size") + Pickle.get(0) + [0x85] + Pickle.reduce
        let later = Pickle.get(0) + Pickle.int(3) + [0x61, 0x30]
        #expect(code(Pickle.whole(shape, size)) == nil)
        #expect(code(Pickle.whole(shape, size, later)) == "pickle-operand")
        let inner = Pickle.global("torch", "Size") + Pickle.tuple(Pickle.tuple(Pickle.get(0))) + Pickle.reduce
        #expect(code(Pickle.whole(shape, inner, later)) == "pickle-operand")
    }

    @Test("the pickles before the one with the values are read by the same rules")
    func firstPickles() throws {
        let call = Pickle.whole(PyTorchHostileTests.system, PyTorchHostileTests.command, Pickle.reduce)
        #expect(error(call)?.description.contains("os.system") == true)
        let magic = Pickle.whole([0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19])
        #expect(error(magic + call)?.code == "refused-global")
        #expect(error(magic + Pickle.whole(Pickle.int(1001)) + call)?.code == "refused-global")
    }

    @Test("abuse of the stack, the memo and lengths has an error with its place")
    func abuse() {
        #expect(code([0x80, 2, 0x30, 0x2e]) == "pickle-stack")
        #expect(code([0x80, 2, 0x2e]) == "pickle-stack")
        #expect(code(Pickle.whole(Pickle.reduce)) == "pickle-stack")
        #expect(code(Pickle.whole(Pickle.int(1), Pickle.mark, [0x30, 0x30, 0x30])) == "pickle-stack")
        #expect(code(Pickle.whole(Pickle.int(1), Pickle.mark, [0x85])) == "pickle-stack")
        #expect(code(Pickle.whole(Pickle.tuple)) == "pickle-stack")
        #expect(code(Pickle.whole(Pickle.int(1), Pickle.int(2))) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.get(7))) == "pickle-memo")
        #expect(code(Pickle.whole([0x6a, 0xff, 0xff, 0xff, 0xff])) == "pickle-memo")
        #expect(code(Pickle.whole(Pickle.int(1), [0x72, 0xff, 0xff, 0xff, 0xff])) == nil)
        #expect(code([0x80, 9, 0x4e, 0x2e]) == "pickle-protocol")
        #expect(code([0x80, 2]) == "pickle-cut")
        #expect(code([0x80]) == "pickle-cut")
        #expect(code([]) == "pickle-cut")
        #expect(code([0x80, 2, 0x4e]) == "pickle-cut")
        #expect(code(Pickle.whole([0xff])) == "pickle-operation")
        #expect(code(Pickle.whole(Pickle.none, [0x97])) == "pickle-operation")
        #expect(code(Pickle.whole([0x58, 0xff, 0xff, 0xff, 0x7f])) == "pickle-length")
        #expect(code(Pickle.whole([0x8d, 0, 0, 0, 0, 0, 0, 0, 0x10])) == "pickle-length")
        #expect(code(Pickle.whole([0x8b, 0xff, 0xff, 0xff, 0xff])) == "pickle-length")
        #expect(code(Pickle.whole([0x8b, 0xff, 0xff, 0xff, 0x7f])) == "pickle-length")
        #expect(
            code(Pickle.whole([0x95, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Pickle.none)) == "pickle-length")
        #expect(code(Pickle.whole([0x4c], [UInt8](repeating: 0x39, count: 100_000), [0x0a])) == "pickle-length")
        #expect(code(Pickle.whole([0x49], Array("12x\n".utf8))) == "pickle-number")
        #expect(code(Pickle.whole([0x49], Array("\n".utf8))) == "pickle-number")
        #expect(code(Pickle.whole([0x67], Array("-1\n".utf8))) == "pickle-number")
        #expect(code(Pickle.whole([0x46], Array("0x1p3\n".utf8))) == "pickle-number")
        #expect(code(Pickle.whole([0x58, 1, 0, 0, 0, 0xff])) == "pickle-text")
        #expect(code(Pickle.whole([0x53], Array("'abc\n".utf8))) == "pickle-text")
        #expect(code(Pickle.whole([0x53], Array("eval('1')\n".utf8))) == "pickle-text")
        #expect(code(Pickle.whole(Pickle.emptyTuple, Pickle.int(1), [0x61])) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.emptyList, Pickle.int(1), Pickle.int(2), Pickle.setItem)) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.emptyDict, Pickle.mark, Pickle.int(1), [0x75])) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.int(1), Pickle.emptyDict, Pickle.build)) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.emptyList, Pickle.emptyDict, Pickle.build)) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.int(1), Pickle.int(2), [0x93])) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.global("torch", "Size"), Pickle.int(2), Pickle.reduce)) == "pickle-operand")
        #expect(code(Pickle.whole(Pickle.none) + Pickle.whole(Pickle.none)) == "pickle-trailing")
        #expect(code(Pickle.whole(Pickle.noHooks, Pickle.int(1), Pickle.build)) == "pickle-value")
        #expect(code(Pickle.whole(Pickle.tuple(Pickle.int(1)), Pickle.persistent)) == "pickle-value")
        #expect(code(Pickle.whole(Pickle.text("x"), Pickle.persistent)) == "pickle-value")
    }

    @Test("what contains itself, and what nests without end, is refused")
    func nesting() {
        #expect(code(Pickle.whole(Pickle.emptyList, Pickle.put(0), Pickle.get(0), [0x61])) == "pickle-cycle")
        #expect(
            code(Pickle.whole(Pickle.emptyDict, Pickle.put(0), Pickle.text("a"), Pickle.get(0), Pickle.setItem))
                == "pickle-cycle")
        let deep = [UInt8](repeating: 0x5d, count: 200_000) + [UInt8](repeating: 0x61, count: 199_999)
        #expect(code([0x80, 2] + deep + Pickle.stop) == "pickle-depth")
        #expect(
            code([0x80, 2] + Pickle.emptyTuple + [UInt8](repeating: 0x85, count: 300_000) + Pickle.stop)
                == "pickle-depth")
        #expect(code([0x80, 2] + [UInt8](repeating: 0x28, count: 300_000) + Pickle.stop) == "pickle-stack")
        // By way of the memo, which no stack shows.
        var chain: [UInt8] = [0x80, 2] + Pickle.emptyList + Pickle.put(0) + [0x71, 1]
        for _ in 0..<50_000 { chain += Pickle.get(1) + Pickle.emptyList + Pickle.put(1) + [0x61, 0x30] }
        #expect(code(chain + Pickle.get(0) + [0x31, 0x2e]) != nil)
        let reduced =
            [0x80, 2] + Pickle.int(1)
            + (0..<1000).flatMap { _ in
                // x -> Parameter(x, True, {})
                Pickle.put(0) + [0x30]
                    + Pickle.call("torch._utils", "_rebuild_parameter", Pickle.get(0), Pickle.yes, Pickle.emptyDict)
            }
        #expect(code(reduced + Pickle.stop) == "pickle-depth")
    }

    @Test("a few kilobytes can't stand for more than fits anywhere")
    func bombs() throws {
        // Sixty levels of lists that have their child twice.
        var lists: [UInt8] = [0x80, 2] + Pickle.emptyList + Pickle.put(0) + [0x30]
        for level in 1...60 {
            lists +=
                Pickle.list(Pickle.get(UInt8(level - 1)), Pickle.get(UInt8(level - 1))) + Pickle.put(UInt8(level)) + [
                    0x30
                ]
        }
        #expect(code(lists + Pickle.get(60) + Pickle.stop) == "limit-exceeded")
        let twelve = torchFile(lists + Pickle.get(16) + Pickle.stop)
        #expect(error(twelve)?.code == "limit-exceeded")
        #expect(error(twelve, OpenOptions(maximumExpandedValues: 1 << 20)) == nil)
        // A long text many times.
        let text = Pickle.text(String(repeating: "a", count: 100_000)) + Pickle.put(0)
        let many =
            [0x80, 2] + Pickle.emptyList + Pickle.mark + text + (0..<50_000).flatMap { _ in Pickle.get(0) }
            + Pickle.appends
        #expect(code(many + Pickle.stop) == "limit-exceeded")
        // Arguments that many calls share, and a key that stands in many names.
        let arguments = Pickle.mark + (0..<50_000).flatMap { _ in Pickle.none } + Pickle.tuple + Pickle.put(0) + [0x30]
        let calls = (0..<20_000).flatMap { _ in [0x68, 1] + Pickle.get(0) + Pickle.reduce }
        let shared =
            arguments + Pickle.global("torch", "Size") + Pickle.put(1) + [0x30] + Pickle.emptyList + Pickle.mark + calls
            + Pickle.appends
        #expect(code(Pickle.whole(shared)) == "limit-exceeded")
        let one = Pickle.tensor(Pickle.storage(count: 1), shape: [1], strides: [1]) + Pickle.put(0) + [0x30]
        let named =
            one + Pickle.emptyDict + Pickle.text(String(repeating: "k", count: 100_000)) + Pickle.emptyList
            + Pickle.mark
            + (0..<2000).flatMap { _ in Pickle.get(0) } + Pickle.appends + Pickle.setItem
        #expect(error(torchFile(Pickle.whole(named), [("data/0", counting(4))]))?.code == "limit-exceeded")
        // A tensor of terabytes over four bytes, in both formats.
        let expanded = Pickle.whole(Pickle.tensor(Pickle.storage(count: 1), shape: [1_000_000_000_000], strides: [0]))
        #expect(error(torchFile(expanded, [("data/0", counting(4))]))?.code == "limit-exceeded")
        #expect(error(legacyTorchFile(expanded, [("0", 1, counting(4))]))?.code == "limit-exceeded")
        let allowed = OpenOptions(maximumLogicalByteCount: 1 << 43)
        #expect(error(torchFile(expanded, [("data/0", counting(4))]), allowed) == nil)
        // A smaller one many times.
        let tensor = Pickle.tensor(Pickle.storage(count: 1), shape: [1_000_000_000], strides: [0])
        let often = Pickle.whole(
            Pickle.emptyList, Pickle.mark, tensor, Pickle.put(0), (0..<50).flatMap { _ in Pickle.get(0) },
            Pickle.appends)
        #expect(error(torchFile(often, [("data/0", counting(4))]))?.code == "limit-exceeded")
    }

    @Test("flipped and cut bytes of a good file never trap")
    func damage() throws {
        let storage = Pickle.storage(count: 4)
        let pickle = Pickle.whole(
            Pickle.dict([
                ("w", Pickle.tensor(storage, shape: [2, 2], strides: [2, 1])),
                ("s", Pickle.call("torch", "Size", Pickle.ints([1, 2]))),
                ("l", Pickle.list(Pickle.int(1), Pickle.double(2))),
            ]))
        for file in [torchFile(pickle, [("data/0", counting(16))]), legacyTorchFile(pickle, [("0", 4, counting(16))])] {
            for position in file.indices {
                for bit in [0, 3, 7] {
                    var damaged = file
                    damaged[position] ^= 1 << UInt8(bit)
                    _ = error(damaged, OpenOptions(keepsUnknownTypes: bit == 3))
                }
                _ = error(Array(file[..<position]))
            }
        }
    }

    @Test("exported programs and distributed checkpoints are named")
    func others() throws {
        let exported = ZipBytes([ZipBytes.Entry("m/archive_format", Array("pt2".utf8))])
        #expect(error(exported.bytes)?.description.contains("torch.export") == true)
        let folder = try TemporaryFolder()
        _ = try folder.file(".metadata", [1])
        _ = try folder.file("__0_0.distcp", [1])
        do {
            _ = try CheckpointFiles.open(folder.url.path)
            Issue.record("a distributed checkpoint was opened")
        } catch let error as InteropError {
            #expect(error.description.contains("distributed"))
        }
        #expect(
            error(torchFile(Pickle.whole(Pickle.none), [("version", Array("3\n".utf8))]))?.code == "archive-duplicate")
        let twoPickles = ZipBytes([
            ZipBytes.Entry("a/data.pkl", Pickle.whole(Pickle.none)),
            ZipBytes.Entry("b/data.pkl", Pickle.whole(Pickle.none)),
        ])
        #expect(error(twoPickles.bytes)?.code == "invalid-pytorch")
        let future = ZipBytes([
            ZipBytes.Entry("a/data.pkl", Pickle.whole(Pickle.none)), ZipBytes.Entry("a/version", Array("11\n".utf8)),
        ])
        #expect(error(future.bytes)?.code == "unsupported")
    }

    @Test("what hides a pickle from scanners hides nothing here, since there is one reader and it refuses")
    func scanners() throws {
        let evil = Pickle.whole(PyTorchHostileTests.system, PyTorchHostileTests.command, Pickle.reduce)
        let good = Pickle.whole(Pickle.none)
        func archive(_ entries: [ZipBytes.Entry]) -> String? { error(ZipBytes(entries).bytes)?.code }
        // CVE-2025-1889: a pickle under another ending. Only data.pkl is read, whatever else there is.
        #expect(archive([ZipBytes.Entry("a/data.pkl", good), ZipBytes.Entry("a/config.p", evil)]) == nil)
        // CVE-2025-1944: another name in the entry than in the directory.
        #expect(
            archive([ZipBytes.Entry("a/data.pkl", evil).with { $0.localName = "a/data.txt" }])
                == "archive-contradiction")
        // CVE-2025-1945: flags that a scanner stops at and PyTorch does not.
        #expect(archive([ZipBytes.Entry("a/data.pkl", evil).with { $0.flags = 1 }]) == "archive-flag")
        #expect(archive([ZipBytes.Entry("a/data.pkl", evil).with { $0.localFlags = 1 }]) == "archive-contradiction")
        // CVE-2025-10155: a pickle whose file is named like something else. Names do not matter.
        #expect(error(evil)?.code == "unsupported")
        #expect(error(legacyTorchFile(evil))?.code == "refused-global")
        // CVE-2025-10156: a checksum that does not fit.
        #expect(archive([ZipBytes.Entry("a/data.pkl", evil).with { $0.crc ^= 1 }]) == "archive-checksum")
        // CVE-2025-10157: a part of a module that is on a list, by a longer name.
        let longer = Pickle.whole(
            Pickle.global("asyncio.unix_events", "_UnixSubprocessTransport._start"), PyTorchHostileTests.command,
            Pickle.reduce)
        #expect(code(longer) == "refused-global")
        #expect(
            code(Pickle.whole(Pickle.global("torch._utils.os", "system"), PyTorchHostileTests.command, Pickle.reduce))
                == "refused-global")
        #expect(
            code(Pickle.whole(Pickle.global("torch", "_utils._rebuild_tensor_v2"), Pickle.emptyTuple, Pickle.reduce))
                == "refused-global")
    }

    @Test("files inside files end somewhere")
    func nestedFiles() throws {
        func inside(_ depth: Int) -> [UInt8] {
            // A storage that is loaded from bytes, in which there is one that is loaded from bytes.
            var load = Pickle.storage(count: 1)
            for _ in 0..<depth {
                load = Pickle.call(
                    "torch.storage", "_load_from_bytes",
                    Pickle.bytes(legacyTorchFile(Pickle.whole(load), [("0", 1, counting(4))])))
            }
            return Pickle.whole(Pickle.tensor(load, shape: [1], strides: [1]))
        }
        #expect(error(torchFile(inside(0), [("data/0", counting(4))])) == nil)
        #expect(error(torchFile(inside(1))) == nil)
        #expect(
            error(torchFile(inside(2)))?.code == "pickle-value"
                || error(torchFile(inside(2)))?.code == "invalid-pytorch")
        #expect(error(torchFile(inside(7))) != nil)
    }
}
