import NNInterop
import NNStore
import Testing

@Suite("Every rule of a safetensors file has an error of its own")
struct SafetensorsRuleTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    /// The code of the error that opening a file with these bytes throws.
    private func code(_ bytes: [UInt8]) throws -> String {
        let path = try folder.file("file", bytes)
        do {
            _ = try SafetensorsFile.open(path)
            return "none"
        } catch let error as InteropError {
            #expect(error.description.contains("file"))
            return error.code
        }
    }

    private func code(_ header: String, data: Int = 4) throws -> String {
        try code(safetensors(header, data: counting(data)))
    }

    private func entry(_ dtype: String, _ shape: String, _ begin: Int, _ end: Int) -> String {
        #"{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":[\#(begin),\#(end)]}"#
    }

    /// A header with one tensor.
    private func one(_ dtype: String, _ shape: String, _ begin: Int, _ end: Int) -> String {
        #"{"a":"# + entry(dtype, shape, begin, end) + "}"
    }

    @Test("the length of the header")
    func length() throws {
        #expect(try code([]) == "safetensors-too-short")
        #expect(try code([1, 0, 0, 0]) == "safetensors-too-short")
        #expect(try code([0, 0, 0, 0, 0, 0, 0, 0]) == "safetensors-header-start")
        #expect(try code([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) == "safetensors-header-too-long")
        #expect(try code([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]) == "safetensors-header-too-long")
        // 100,000,001 and 100,000,000
        #expect(try code([0x01, 0xe1, 0xf5, 0x05, 0, 0, 0, 0]) == "safetensors-header-too-long")
        #expect(try code([0x00, 0xe1, 0xf5, 0x05, 0, 0, 0, 0]) == "safetensors-header-outside-file")
        #expect(try code([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]) == "safetensors-header-outside-file")
        #expect(try code("{}", data: 0) == "none")
    }

    @Test("the header begins with a brace and ends with spaces")
    func ends() throws {
        #expect(try code(" {}", data: 0) == "safetensors-header-start")
        #expect(try code("\n{}", data: 0) == "safetensors-header-start")
        #expect(try code("[]", data: 0) == "safetensors-header-start")
        #expect(try code("{}      ", data: 0) == "none")
        #expect(try code("{}\n", data: 0) == "safetensors-header-end")
        #expect(try code("{} {}", data: 0) == "safetensors-header-end")
        #expect(try code("{}\0", data: 0) == "safetensors-header-end")
        #expect(try code("{", data: 0) == "invalid-json")
        #expect(try code(safetensors([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d], data: [])) == "invalid-json")
    }

    @Test("duplicate names and fields are refused")
    func duplicates() throws {
        #expect(try code(#"{"a":\#(entry("U8", "[4]", 0, 4)),"a":\#(entry("U8", "[4]", 0, 4))}"#) == "duplicate-key")
        #expect(
            try code(#"{"a":\#(entry("U8", "[4]", 0, 4)),"\u0061":\#(entry("U8", "[0]", 4, 4))}"#) == "duplicate-key")
        #expect(try code(#"{"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#) == "duplicate-key")
        #expect(try code(#"{"__metadata__":{"a":"1","a":"2"}}"#, data: 0) == "duplicate-key")
        #expect(try code(#"{"__metadata__":{},"__metadata__":{}}"#, data: 0) == "duplicate-key")
    }

    @Test("entries are objects with three fields")
    func form() throws {
        #expect(try code(#"{"a":["U8",[4],[0,4]]}"#) == "safetensors-entry-type")
        #expect(try code(#"{"a":null}"#) == "safetensors-entry-type")
        #expect(
            try code(#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":1}}"#) == "safetensors-unknown-field")
        #expect(try code(#"{"a":{"shape":[4],"data_offsets":[0,4]}}"#) == "safetensors-missing-field")
        #expect(try code(#"{"a":{"dtype":"U8","data_offsets":[0,4]}}"#) == "safetensors-missing-field")
        #expect(try code(#"{"a":{"dtype":"U8","shape":[4]}}"#) == "safetensors-missing-field")
        #expect(try code(#"{"a":{"dtype":1,"shape":[4],"data_offsets":[0,4]}}"#) == "safetensors-field-type")
        for shape in ["4", "[-4]", "[4.0]", "[4e0]", "[-0]", "[\"4\"]", "[9223372036854775808]", "[[4]]", "null"] {
            #expect(try code(one("U8", shape, 0, 4)) == "safetensors-field-type", "\(shape)")
        }
        for offsets in ["[0]", "[]", "[0,4,8]", "[-1,3]", "[0,4.0]", "{}", "[0,18446744073709551616]"] {
            let header = #"{"a":{"dtype":"U8","shape":[4],"data_offsets":\#(offsets)}}"#
            #expect(try code(header) == "safetensors-field-type", "\(offsets)")
        }
        #expect(try code(#"{"a":{"data_offsets":[0,4],"shape":[4],"dtype":"U8"}}"#) == "none")
    }

    @Test("metadata are an object of strings")
    func metadata() throws {
        #expect(try code(#"{"__metadata__":null}"#, data: 0) == "safetensors-metadata-type")
        #expect(try code(#"{"__metadata__":[]}"#, data: 0) == "safetensors-metadata-type")
        #expect(try code(#"{"__metadata__":{"a":1}}"#, data: 0) == "safetensors-metadata-type")
        #expect(try code(#"{"__metadata__":{"a":null}}"#, data: 0) == "safetensors-metadata-type")
        #expect(try code(#"{"__metadata__":{}}"#, data: 0) == "none")
    }

    @Test("the 22 dtypes are known, others are not")
    func dtypes() throws {
        let names = [
            "BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ",
            "F8_E5M2FNUZ", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64",
        ]
        #expect(Set(names).count == 22)
        for name in names {
            let dtype = try #require(DType(named: name))
            let size = 24 / dtype.elementsPerBlock * dtype.bytesPerBlock
            #expect(try code(one(name, "[2,12]", 0, size), data: size) == "none", "\(name)")
            #expect(try code(one(name, "[2,12]", 0, size + 1), data: size + 1) == "safetensors-span-length")
        }
        for name in ["C128", "Q4_K", "f32", "F32 ", "", "F128"] {
            #expect(try code(one(name, "[0]", 0, 0), data: 0) == "safetensors-unknown-dtype", "\(name)")
        }
    }

    @Test("sub-byte tensors take whole bytes in total, not in each row")
    func partialBytes() throws {
        #expect(try code(one("F4", "[3]", 0, 2), data: 2) == "safetensors-partial-byte")
        #expect(try code(one("F4", "[2,3]", 0, 3), data: 3) == "none")
        #expect(try code(one("F6_E2M3", "[2]", 0, 2), data: 2) == "safetensors-partial-byte")
        #expect(try code(one("F6_E3M2", "[2,2]", 0, 3), data: 3) == "none")
    }

    @Test("the product of a shape is checked from left to right")
    func shapes() throws {
        let huge = "4611686018427387904"
        #expect(try code(one("U8", "[\(huge),4]", 0, 0), data: 0) == "safetensors-shape-too-large")
        #expect(try code(one("U8", "[\(huge),4,0]", 0, 0), data: 0) == "safetensors-shape-too-large")
        #expect(try code(one("F64", "[\(huge)]", 0, 0), data: 0) == "safetensors-shape-too-large")
        // Valid by the format, but no strides can be given to it.
        #expect(try code(one("U8", "[0,\(huge),4]", 0, 0), data: 0) == "safetensors-shape-too-large")
        #expect(try code(one("U8", "[\(huge),0]", 0, 0), data: 0) == "safetensors-shape-too-large", "beyond 2^60")
        #expect(try code(one("U8", "[1152921504606846976,0]", 0, 0), data: 0) == "none")
        func ones(_ count: Int) -> String { "[" + Array(repeating: "1", count: count).joined(separator: ",") + "]" }
        #expect(try code(one("U8", ones(64), 0, 1), data: 1) == "none")
        #expect(try code(one("U8", ones(65), 0, 1), data: 1) == "safetensors-too-many-dimensions")
        #expect(try code(one("U8", "[]", 0, 1), data: 1) == "none")
    }

    @Test("spans leave no gap, do not overlap and end where the file does")
    func spans() throws {
        func two(_ first: String, _ second: String) -> String { #"{"a":\#(first),"b":\#(second)}"# }
        #expect(try code(one("U8", "[4]", 4, 0)) == "safetensors-reversed-span")
        #expect(try code(one("U8", "[4]", 0, 3)) == "safetensors-span-length")
        #expect(try code(one("U8", "[3]", 1, 4)) == "safetensors-gap")
        #expect(try code(two(entry("U8", "[1]", 0, 1), entry("U8", "[2]", 2, 4))) == "safetensors-gap")
        #expect(try code(two(entry("U8", "[3]", 0, 3), entry("U8", "[2]", 2, 4))) == "safetensors-overlap")
        #expect(try code(two(entry("U8", "[4]", 0, 4), entry("U8", "[4]", 0, 4))) == "safetensors-overlap")
        #expect(try code(two(entry("U8", "[4]", 0, 4), entry("U8", "[0]", 2, 2))) == "safetensors-overlap")
        #expect(try code(two(entry("U8", "[4]", 0, 4), entry("U8", "[0]", 0, 0))) == "none")
        #expect(try code(two(entry("U8", "[4]", 0, 4), entry("U8", "[0]", 4, 4))) == "none")
        #expect(try code(two(entry("U8", "[4]", 0, 4), entry("U8", "[0]", 5, 5))) == "safetensors-gap")
        #expect(try code(two(entry("U8", "[2]", 2, 4), entry("U8", "[2]", 0, 2))) == "none")
        #expect(try code(one("U8", "[4]", 0, 4), data: 3) == "safetensors-data-end")
        #expect(try code(one("U8", "[4]", 0, 4), data: 5) == "safetensors-data-end")
        #expect(try code("{}", data: 1) == "safetensors-data-end")
        let largest = #"{"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]}"#
        #expect(try code(#"{"a":\#(largest)}"#) == "safetensors-gap")
    }

    @Test("messages name tensors without letting their names steer a terminal")
    func messages() throws {
        let path = try folder.file("file", safetensors(#"{"a\u001b[2J\u202e":\#(entry("X", "[0]", 0, 0))}"#))
        do {
            _ = try SafetensorsFile.open(path)
            Issue.record("was opened")
        } catch let error as InteropError {
            #expect(error.description.contains(#""a\u{1b}[2J\u{202e}""#))
        }
    }
}
