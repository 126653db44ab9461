import Foundation
import NNStore
import NNTensor

/// What PyTorch answered, as `Fixtures/make_fixtures.py` wrote it.
enum Fixture {
    static func read<Value: Decodable>(_ name: String, as type: Value.Type = Value.self) throws -> Value {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures")
        return try JSONDecoder().decode(type, from: Data(contentsOf: folder.appendingPathComponent("\(name).json")))
    }

    static func dtype(_ name: String) -> DType {
        [.bool, .u8, .i8, .i16, .i32, .i64, .f16, .bf16, .f32, .f64].first { $0.name == name }!
    }
}

/// The bits of a float, as F64.
extension [UInt64] {
    var doubles: [Double] { map { Double(bitPattern: $0) } }
    var floats: [Float] { map { Float(bitPattern: UInt32($0)) } }
}

/// Decodes an array whose elements have different types.
struct Cells: Decodable {
    private var cells: [Cell]

    private enum Cell: Decodable {
        case text(String), number(Double), bits([UInt64])

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else {
                self = .bits(try container.decode([UInt64].self))
            }
        }
    }

    init(from decoder: any Decoder) throws { cells = try decoder.singleValueContainer().decode([Cell].self) }

    var count: Int { cells.count }
    func text(_ place: Int) -> String { if case .text(let text) = cells[place] { text } else { "" } }
    func number(_ place: Int) -> Double { if case .number(let number) = cells[place] { number } else { .nan } }
    func int(_ place: Int) -> Int { Int(number(place)) }
    func bits(_ place: Int) -> [UInt64] { if case .bits(let bits) = cells[place] { bits } else { [] } }
}
