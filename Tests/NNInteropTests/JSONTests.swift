import NNInterop
import Testing

@Suite("JSON")
struct JSONTests {
    private func parse(_ text: String) throws(InteropError) -> JSONValue {
        try JSONValue.parse(Array(text.utf8), name: "text")
    }

    private func offset(_ bytes: [UInt8]) -> Int? {
        do {
            _ = try JSONValue.parse(bytes, name: "text")
            return nil
        } catch .invalidJSON(_, let offset, _) {
            return offset
        } catch .duplicateKey(_, let offset, _) {
            return offset
        } catch {
            return nil
        }
    }

    @Test("values are read in order and written back")
    func values() throws {
        let text = #"{"b":[1,-2.5e+3,true,false,null,"x"],"a":{},"c":[],"":[[{"k":0}]]}"#
        let value = try parse(text)
        #expect(value.text() == text)
        #expect(try parse(" \n\t\r" + text + " \n") == value)
        guard case .object(let members) = value else {
            Issue.record("no object")
            return
        }
        #expect(members.map(\.key) == ["b", "a", "c", ""])
    }

    @Test("numbers keep their digits, and integers are exact or nothing")
    func numbers() throws {
        func integer(_ text: String) throws -> Int? {
            guard case .number(let number) = try parse(text) else { return nil }
            #expect(number.text == text)
            return number.integer
        }
        #expect(try integer("9223372036854775807") == .max)
        #expect(try integer("9007199254740993") == 9_007_199_254_740_993)
        #expect(try integer("-9223372036854775808") == .min)
        #expect(try integer("9223372036854775808") == nil)
        #expect(try integer("1.0") == nil)
        #expect(try integer("1e3") == nil)
        #expect(try integer("-0") == nil)
        for text in ["01", "+1", "1.", ".5", "-", "1e", "0x1", "NaN", "Infinity", "--1"] {
            #expect(throws: InteropError.self, "\(text)") { try parse(text) }
        }
    }

    @Test("escapes are undone, and only what has to be escaped is when writing")
    func strings() throws {
        #expect(
            try parse(#""\u0041\n\t\"\\\/\b\f\r\u00e9\ud83d\ude00\u0000""#) == .string("A\n\t\"\\/\u{8}\u{c}\ré😀\0"))
        let text = "\"\\\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é✓😀/"
        #expect(JSONValue.string(text).text() == #""\"\\\n\r\t\b\f\u0001\u001f"# + "\u{7f}é✓😀/\"")
        #expect(try parse(JSONValue.string(text).text()) == .string(text))
    }

    @Test("what is no JSON is refused with its offset")
    func offsets() {
        #expect(offset(Array(#"{"a":1,"a":2}"#.utf8)) == 7)
        #expect(offset(Array(#"{"a":{"b":1,"b":2}}"#.utf8)) == 12)
        #expect(offset(Array(#"{"a":1} x"#.utf8)) == 8)
        #expect(offset(Array(#"[1,]"#.utf8)) == 3)
        #expect(offset(Array(#"{"a":1,}"#.utf8)) == 7)
        #expect(offset(Array(#"{"a" 1}"#.utf8)) == 5)
        #expect(offset(Array(#"[1 2]"#.utf8)) == 3)
        #expect(offset([]) == 0)
        #expect(offset(Array("nul".utf8)) == 0)
        #expect(offset(Array(#"["abc"#.utf8)) == 1)
        #expect(offset(Array(#"["\q"]"#.utf8)) == 2)
        #expect(offset(Array(#"["\u12"#.utf8)) == 2)
        #expect(offset(Array(#"["\"#.utf8)) == 2)
        #expect(offset(Array("[\"a\nb\"]".utf8)) == 3)
        #expect(offset(Array(#"["ab\ud800"]"#.utf8)) == 4)
        #expect(offset(Array(#"["ab\ud800\u0041"]"#.utf8)) == 4)
        #expect(offset(Array(#"["ab\udc00"]"#.utf8)) == 4)
        #expect(offset([0x22, 0x61, 0xc3, 0x28, 0x22]) == 2)
        #expect(offset([0x22, 0xed, 0xa0, 0x80, 0x22]) == 1)
        #expect(offset([0xef, 0xbb, 0xbf, 0x31]) == 0)
    }

    @Test("keys are compared by their bytes, not by how they look")
    func canonicalEquivalence() throws {
        #expect(try parse("{\"\u{e9}\":1,\"e\u{301}\":2}").text() == "{\"\u{e9}\":1,\"e\u{301}\":2}")
        #expect(offset(Array(#"{"a":1,"\u0061":2}"#.utf8)) == 7)
    }

    @Test("nesting is limited")
    func depth() throws {
        func nested(_ levels: Int) -> String {
            String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        }
        #expect(try parse(nested(64)).text() == nested(64))
        #expect(offset(Array(nested(65).utf8)) == 64)
        #expect(offset([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)) == 64)
    }

    @Test("leading white space can be refused")
    func leadingWhitespace() throws {
        #expect(throws: InteropError.self) {
            try JSONValue.parse(Array(" 1".utf8), name: "text", allowsLeadingWhitespace: false)
        }
        #expect(try JSONValue.parse(Array("1 ".utf8), name: "text", allowsLeadingWhitespace: false).text() == "1")
    }

    @Test("pretty printing indents, and keeps arrays of numbers on one line")
    func pretty() throws {
        let value = try parse(#"{"shape":[3,4],"names":["a"],"empty":{},"none":[]}"#)
        #expect(
            value.text(isPretty: true) == """
                {
                  "shape": [3, 4],
                  "names": [
                    "a"
                  ],
                  "empty": {},
                  "none": []
                }
                """)
        #expect(try parse(value.text(isPretty: true)) == value)
    }
}
