import NNTensor

/// Text of a small made-up language, as numbers of characters.
struct Text {
    let alphabet = Array(" abcdefghijklmnopqrstuvwxyz.")
    private var characters: Tensor

    /// Sentences from the default generator: a subject, a verb, an object.
    init(sentences: Int) {
        let subjects = ["the cat", "a small dog", "the old sailor", "my sister", "every bird", "the quiet robot"]
        let verbs = ["sees", "likes", "carries", "paints", "forgets", "follows"]
        let objects = ["the moon", "a red boat", "two apples", "the sea", "an empty house", "its own shadow"]
        func pick(_ words: [String]) -> [String] {
            let numbers = Tensor.randint(0..<words.count, [sentences])
            return (try? numbers.elements(as: Int.self).map { words[$0] }) ?? []
        }
        characters = .zeros([0], dtype: .i64)
        var text = ""
        for ((subject, verb), object) in zip(zip(pick(subjects), pick(verbs)), pick(objects)) {
            text += "\(subject) \(verb) \(object). "
        }
        let numbers = numbers(of: text)
        characters = Tensor(numbers, shape: [numbers.count], dtype: .i64)
    }

    func numbers(of text: String) -> [Int] { text.map { alphabet.firstIndex(of: $0) ?? 0 } }

    func text(of numbers: [Int]) -> String { String(numbers.map { alphabet[$0] }) }

    /// Contexts, `[count, contextLength]`, and the characters that come after them, `[count]`, from random places.
    func batch(of count: Int, contextLength: Int) throws -> (context: Tensor, next: Tensor) {
        let starts = Tensor.randint(0..<characters.count - contextLength, [count, 1])
        let places = starts + Tensor.arange(contextLength + 1)
        let windows = characters[places]
        return (windows[0..., ..<contextLength], windows[0..., contextLength])
    }
}
