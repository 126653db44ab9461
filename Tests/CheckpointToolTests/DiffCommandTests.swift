import Foundation
import NNInterop
import NNStore
import Testing

@Suite("ckpt-tool diff")
struct DiffCommandTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func save(
        _ name: String, _ state: StateTree, metadata: StateTree = [:], _ compression: Compression = .fast
    ) throws -> String {
        try Checkpoint.save(
            state, metadata: metadata, to: folder.path(name),
            options: SaveOptions(compression: compression, existing: .replace))
        return folder.path(name)
    }

    private func tensor(_ values: [Float]) throws -> StateTree {
        .tensor(try StateTensor(values, shape: [values.count]))
    }

    /// Two checkpoints that differ in everything that can differ.
    private func two() throws -> (String, String) {
        let tied = (try tensor([1, 2, 3, 4]), try tensor([1, 2, 3, 4]))
        return (
            try save(
                "a.nnck",
                ["weight": tied.0, "head": tied.0, "old": try tensor([1]), "step": 7, "half": try tensor([1, 2])],
                metadata: ["note": "first\u{1b}[2J"]),
            try save(
                "b.nnck",
                [
                    "weight": try tensor([1, 2, 3.5, .nan]), "head": tied.1, "step": 8, "new": try tensor([1]),
                    "half": .tensor(StateTensor([1, 2] as [Double], shape: [2])),
                ], metadata: ["note": "second"])
        )
    }

    @Test("rows are aligned and in order, metadata and memory apart, with a summary and 1 as the exit code")
    func text() throws {
        let (first, second) = try two()
        let outcome = try Tool.run("diff", first, second)
        #expect(outcome.status == 1 && outcome.error == "")
        #expect(
            outcome.output == """
                changed  weight  F32 [4]            2 of 4 elements, largest difference 0.5 (relative 14.29 %), 1 became NaN
                removed  old     F32 [1]
                changed  step    integer            7 → 8
                changed  half    F32 [2] → F64 [2]
                added    new     F32 [1]
                metadata
                  changed  note  string  "first\\u{1b}[2J" → "second"
                memory
                  shared only in the first  weight, head
                \(first) and \(second) differ: 3 changed, 1 removed, 1 added, 1 entry of metadata, 1 alias group; 1 entry equal

                """)
        let limited = try Tool.run("diff", first, second, "--limit", "1", "--ignore-metadata").output
        #expect(limited.contains("... and 4 more (--limit)\n") && !limited.contains("note"))
        #expect(limited.hasPrefix("changed  weight") && !limited.contains("removed  old"))
    }

    @Test("--json prints the object that other tools rely on")
    func json() throws {
        let (first, second) = try two()
        let outcome = try Tool.run("diff", first, second, "--json")
        #expect(outcome.status == 1)
        let json = try outcome.json
        #expect(Set(json.keys) == ["first", "second", "equal", "entries", "metadata", "aliases"])
        #expect(json["first"] as? String == first && json["equal"] as? Bool == false)
        let entries = try #require(json["entries"] as? [[String: Any]])
        #expect(entries.map { $0["name"] as? String } == ["weight", "old", "step", "half", "new"])
        #expect(entries.map { $0["change"] as? String } == ["changed", "removed", "changed", "changed", "added"])
        #expect(
            entries.allSatisfy { Set($0.keys) == ["name", "path", "change", "first", "second", "differs", "values"] })
        #expect(entries.map { $0["differs"] as? [String] } == [["values"], [], ["value"], ["dtype"], []])
        #expect(
            entries[1]["second"] is NSNull && entries[4]["first"] is NSNull
                && entries[0]["path"] as? [String] == ["weight"])
        let values = try #require(entries[0]["values"] as? [String: Any])
        #expect(
            Set(values.keys) == [
                "count", "of", "differing", "largest_difference", "largest_relative_difference", "became_nan",
                "was_nan", "became_infinite", "was_infinite", "infinite_with_other_sign",
            ])
        #expect(
            values["differing"] as? Int == 2 && values["became_nan"] as? Int == 1
                && values["of"] as? String == "elements")
        #expect(values["largest_difference"] as? Double == 0.5)
        let step = try #require(entries[2]["second"] as? [String: Any])
        #expect(Set(step.keys) == ["kind", "tag", "dtype", "shape", "requires_grad", "text"])
        #expect(step["kind"] as? String == "integer" && step["text"] as? String == "8" && step["dtype"] is NSNull)
        #expect((entries[3]["second"] as? [String: Any])?["dtype"] as? String == "F64")
        #expect((json["metadata"] as? [[String: Any]])?.map { $0["name"] as? String } == ["note"])
        let aliases = json["aliases"] as? [String: [[String]]]
        #expect(aliases == ["only_first": [["weight", "head"]], "only_second": []])
    }

    @Test("equal checkpoints return 0, whatever their compression and format")
    func equal() throws {
        let model = Tool.repository.appendingPathComponent("Examples/Models/silero_vad_16k.safetensors").path
        let containers = ["none", "smallest"].map { folder.path($0 + ".nnck") }
        for (path, compression) in zip(containers, ["none", "smallest"]) {
            #expect(try Tool.run("import", model, "-o", path, "--compression", compression).status == 0)
        }
        let byID = try Tool.run("diff", containers[0], containers[1])
        #expect(byID.status == 0 && byID.output.hasSuffix("are equal, by their content ids\n"))
        let other = try Tool.run("diff", model, containers[1])
        #expect(other.status == 0 && other.output.hasSuffix("are equal: 15 entries\n"))
        let json = try Tool.run("diff", model, model, "--json")
        #expect(json.status == 0)
        #expect(try json.json["equal"] as? Bool == true)
        #expect(try json.json["entries"] as? [String] == [])
    }

    @Test("64-bit integers that differ by one are exact in JSON and text")
    func integers() throws {
        func integers(_ name: String, _ value: Int) throws -> String {
            try save(name, ["n": .tensor(StateTensor([value, Int.min], shape: [2]))])
        }
        let (first, second) = (
            try integers("a", 1 << 60), try save("b", ["n": .tensor(StateTensor([1 << 60 + 1, Int.max], shape: [2]))])
        )
        #expect(try Tool.run("diff", first, second).output.contains("largest difference 18446744073709551615 "))
        #expect(
            try Tool.run("diff", first, second, "--json").output.contains(
                "\"largest_difference\": 18446744073709551615,"))
        let one = try integers("b", 1 << 60 + 1)
        #expect(try Tool.run("diff", first, one).output.contains("1 of 2 elements, largest difference 1 (relative "))
    }

    @Test("a damaged chunk is met only where it has to be read; files that can't be read are told as elsewhere")
    func trouble() throws {
        let values = (0..<300_000).map { Float($0) }
        let first = try save("a", ["x": try tensor(values)], .none)
        let second = try save("b", ["x": try tensor(values), "n": 1], .none)
        func damage(_ path: String, at offset: Int) throws {
            var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            bytes[offset] ^= 1
            try bytes.write(to: URL(fileURLWithPath: path))
        }
        try damage(first, at: 4096)
        let unread = try Tool.run("diff", first, second)
        #expect(unread.status == 1 && unread.output.hasPrefix("added  n  1\n"))
        let third = try save("c", ["x": try tensor([5] + values.dropFirst())], .none)
        let read = try Tool.run("diff", first, third)
        #expect(read.status == 1 && read.output == "" && read.error.contains("a: damaged: chunk 0 of \"x\""))
        let missing = try Tool.run("diff", first, folder.path("missing"))
        #expect(missing.status == 2 && missing.error.contains("missing: can't open"))
        #expect(try Tool.run("diff", first).status == 2)
        #expect(try Tool.run("diff", first, second, "--limit", "-1").status == 2)
        let limited = try Tool.run("diff", third, second, "--max-bytes", "1000")
        #expect(limited.status == 1 && limited.error.contains("--max-bytes"))
    }
}
