import NNInterop
import NNStore
import TestSupport
import Testing

typealias SeededGenerator = TestSupport.SeededGenerator

@Suite("Random safetensors files")
struct SafetensorsPropertyTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private static let names = ["a", "b.c", "", "é", "e\u{301}", "\"\\\n", "😀", "__metadata", "0", "x/y", "\0"]

    /// A valid file in a form that hardly any writer would choose.
    private func randomFile(_ random: inout SeededGenerator) -> [UInt8] {
        func space() -> String {
            (0..<Int.random(in: 0...2, using: &random)).map { _ in
                [" ", "\n", "\t", "\r"].randomElement(using: &random)!
            }
            .joined()
        }
        func string(_ text: String) -> String {
            let plain = JSONValue.string(text).text()
            if Bool.random(using: &random) { return plain }
            let escapes = text.utf16.map { unit -> String in
                let digits = String(unit, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
            return "\"" + escapes.joined() + "\""
        }
        func object(_ members: [(String, String)]) -> String {
            var text = "{" + space()
            for (number, member) in members.enumerated() {
                if number > 0 { text += "," + space() }
                text += string(member.0) + space() + ":" + space() + member.1 + space()
            }
            return text + "}"
        }
        let names = SafetensorsPropertyTests.names.shuffled(using: &random).prefix(
            Int.random(in: 0...6, using: &random))
        let dtypes = DType.all.filter { $0 != .c128 }
        var entries: [(String, String)] = []
        var position = 0
        for name in names {
            let dtype = dtypes.randomElement(using: &random)!
            var shape = (0..<Int.random(in: 0...3, using: &random)).map { _ in Int.random(in: 0...3, using: &random) }
            if dtype.elementsPerBlock > 1 { shape.append(dtype.elementsPerBlock) }
            let size = shape.reduce(1, *) / dtype.elementsPerBlock * dtype.bytesPerBlock
            func list(_ numbers: [Int]) -> String {
                "[" + numbers.map { "\($0)" + space() }.joined(separator: ",") + "]"
            }
            let fields = [
                ("dtype", string(dtype.name)), ("shape", list(shape)),
                ("data_offsets", list([position, position + size])),
            ]
            entries.append((name, object(fields.shuffled(using: &random))))
            position += size
        }
        if Bool.random(using: &random) { entries.shuffle(using: &random) }
        if Bool.random(using: &random) {
            let keys = SafetensorsPropertyTests.names.shuffled(using: &random).prefix(
                Int.random(in: 0...3, using: &random))
            let metadata = object(
                keys.map { ($0, string(SafetensorsPropertyTests.names.randomElement(using: &random)!)) })
            entries.insert(("__metadata__", metadata), at: Int.random(in: 0...entries.count, using: &random))
        }
        let header = object(entries) + String(repeating: " ", count: Int.random(in: 0...9, using: &random))
        return safetensors(header, data: (0..<position).map { _ in UInt8.random(in: 0...255, using: &random) })
    }

    @Test("any valid file comes back from a container byte for byte")
    func byteEquality() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed of byteEquality: \(seed)")
        for round in 0..<40 {
            var random = SeededGenerator(seed: seed &+ UInt64(round))
            let bytes = randomFile(&random)
            let file = try SafetensorsFile.open(folder.file("a", bytes))
            try file.saveAsContainer(
                to: folder.path("b"), options: SaveOptions(existing: .replace, isDurable: false, threads: 1))
            let container = try CheckpointFiles.open(folder.path("b"))
            let options = ExportOptions(existing: .replace, isDurable: false)
            #expect(try container.saveAsSafetensors(to: folder.path("c"), options: options).isEmpty)
            #expect(try folder.bytes("c") == bytes, "seed \(seed), round \(round)")
        }
    }

    @Test("a damaged file is read or refused, never a crash")
    func damage() throws {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed of damage: \(seed)")
        var random = SeededGenerator(seed: seed)
        let note =
            #"[{"nbytes":16,"tensors":[{"name":"a","offset":0,"strides":[2]},{"name":"b","offset":1,"strides":[3]}]}]"#
        let header =
            #"{"__metadata__":{"nnstore.aliases":\#(JSONValue.string(note).text())},"#
            + #""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}}"#
        let shared = safetensors(header, data: [1, 2, 3, 4, 5, 6])
        for round in 0..<3000 {
            var bytes = round % 2 == 0 ? shared : randomFile(&random)
            for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes[place] = Array("0123456789{}[],:\"-e.\\ ".utf8).randomElement(using: &random)!
                case 2: bytes.remove(at: place)
                default: bytes.insert(UInt8(ascii: "9"), at: place)
                }
            }
            do {
                let state = try SafetensorsFile.open(CountingSource(bytes)).state()
                for (_, tensor) in state.tensors { _ = try elements(tensor) }
            } catch is InteropError {
            } catch is StoreError {}
        }
    }
}
