import NNInterop
import NNStore
import Testing

@Suite("safetensors to container and back gives the same bytes")
struct SafetensorsByteEqualityTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func check(_ bytes: [UInt8], keepsHeader: Bool?, _ comment: Comment? = nil) throws {
        let path = try folder.file("in.safetensors", bytes)
        let file = try SafetensorsFile.open(path)
        if let keepsHeader { #expect(try (file.sourceFacts["safetensors.header"] != nil) == keepsHeader, comment) }
        let replacing = ExportOptions(existing: .replace)
        try file.saveAsSafetensors(to: folder.path("direct.safetensors"), options: replacing)
        #expect(try folder.bytes("direct.safetensors") == bytes, comment)
        for compression in [Compression.none, .fast] {
            let container = folder.path("in.nnck")
            try file.saveAsContainer(to: container, options: SaveOptions(compression: compression, existing: .replace))
            let opened = try CheckpointFiles.open(container)
            #expect(try opened.sharing == file.sharing)
            #expect(try opened.saveAsSafetensors(to: folder.path("out.safetensors"), options: replacing).isEmpty)
            #expect(try folder.bytes("out.safetensors") == bytes, comment)
        }
    }

    @Test("fixtures")
    func fixtures() throws {
        try check(fileBytes(fixture("dtypes.safetensors")), keepsHeader: false)
        try check(fileBytes(fixture("silero_vad_16k.safetensors")), keepsHeader: false)
    }

    @Test("headers that this writer would not write")
    func oddHeaders() throws {
        let data = counting(12)
        let a = #""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#
        let b = #""b":{"dtype":"F64","shape":[1],"data_offsets":[4,12]}"#
        let headers = [
            "the data not aligned": "{\(a),\(b)}",
            "header order is not data order": "{\(b),\(a)}",
            "spaces between": "{ \(a) ,\n\t\(b) }",
            "metadata at the end": "{\(a),\(b),\"__metadata__\":{\"k\":\"v\"}}",
            "metadata in the middle": "{\(a),\"__metadata__\":{\"k\":\"v\"},\(b)}",
            "metadata that is empty": "{\"__metadata__\":{},\(a),\(b)}",
            "other order of fields":
                #"{"a":{"data_offsets":[0,4],"shape":[4],"dtype":"U8"},"b":{"shape":[1],"dtype":"F64","data_offsets":[4,12]}}"#,
            "escapes": #"{"\u0061":{"dtype":"\u00558","shape":[4],"data_offsets":[0,4]},"\/\"":"#
                + #"{"dtype":"F64","shape":[1],"data_offsets":[4,12]}}"#,
            "escapes in metadata": "{\"__metadata__\":{\"\\u00e9\":\"\\ud83d\\ude00\"},\(a),\(b)}",
            "much padding": "{\(a),\(b)}" + String(repeating: " ", count: 77),
        ]
        for (name, header) in headers {
            try check(safetensors(header, data: data), keepsHeader: true, "\(name)")
            // The same without what would be padding, so that the data begin anywhere.
            try check(safetensors(header.trimmingSuffix(), data: data), keepsHeader: true, "\(name)")
        }
        try check(safetensors("{}      ", data: []), keepsHeader: false)
        try check(safetensors("{}", data: []), keepsHeader: true)
        let equivalent =
            "{\"e\u{301}\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            + "\"\u{e9}\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}"
        try check(safetensors(equivalent, data: [1, 2]), keepsHeader: nil)
    }

    @Test("empty tensors anywhere among the data")
    func emptyTensors() throws {
        let header =
            #"{"a":{"dtype":"U8","shape":[0,7],"data_offsets":[2,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"#
            + #""c":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"d":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#
        try check(safetensors(header, data: [1, 2, 3, 4]), keepsHeader: true)
    }

    @Test("a kept header is used only if it describes what is saved")
    func staleHeader() throws {
        let header = #"{ "a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#
        let file = try SafetensorsFile.open(folder.file("x", safetensors(header, data: [1, 2, 3, 4])))
        let facts = try file.sourceFacts
        func save(_ tree: StateTree, _ metadata: StateTree = [:]) throws -> String {
            try Safetensors.save(
                tree, metadata: metadata, to: folder.path("y"),
                options: ExportOptions(existing: .replace, sourceFacts: facts))
            return NNInteropTests.header(of: try folder.bytes("y"))
        }
        func tensor(_ dtype: DType, _ shape: [Int]) throws -> StateTree {
            .tensor(try StateTensor(storage: Storage(byteCount: 4), layout: TensorLayout(dtype, shape: shape)))
        }
        #expect(try save(["a": tensor(.u8, [4])]) == header)
        #expect(try save(["b": tensor(.u8, [4])]) != header)
        #expect(try save(["a": tensor(.i8, [4])]) != header)
        #expect(try save(["a": tensor(.u8, [2, 2])]) != header)
        #expect(try save(["a": tensor(.u8, [4]), "b": tensor(.u8, [4])]) != header)
        #expect(try save(["a": tensor(.u8, [4])], ["k": "v"]) != header)
        #expect(try save([:]) != header)
        // A container is as hostile as any file.
        for bytes in [[], [0x7b], Array("{}".utf8), Array("[".utf8), [0xff]] as [[UInt8]] {
            try Safetensors.save(
                ["a": tensor(.u8, [4])], to: folder.path("y"),
                options: ExportOptions(existing: .replace, sourceFacts: ["safetensors.header": bytes]))
            #expect(try SafetensorsFile.open(folder.path("y")).state().children.count == 1)
        }
    }
}

extension String {
    fileprivate func trimmingSuffix() -> String { String(self[...(lastIndex(of: "}") ?? startIndex)]) }
}
