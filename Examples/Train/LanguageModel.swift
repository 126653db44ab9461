import NNTensor

/// Says which character comes after a few others. The matrix that turns characters into vectors also turns the last vector
/// into a character: the two are tied.
final class LanguageModel: Module {
    static let contextLength = 12
    private static let width = 48

    let embedding: Embedding
    let hidden = Linear(contextLength * width, 256)
    let dropout = Dropout(0.1)
    let output = Linear(256, width)
    let norm = LayerNorm(width)
    let head: Linear

    init(vocabulary: Int) throws {
        embedding = Embedding(vocabulary, Self.width)
        head = Linear(Self.width, vocabulary, bias: false)
        super.init()
        try Initializer.normal(embedding.weight, standardDeviation: 0.1)
        head.weight = embedding.weight
    }

    /// Scores of all characters, `[batch, vocabulary]`, for contexts `[batch, contextLength]`.
    override func forward(_ context: Tensor) throws -> Tensor {
        let inner = try dropout(gelu(hidden(embedding(context).flatten(1))))
        return try head(norm(output(inner)))
    }

    /// How the model goes on with a text, always with the most probable character.
    func continuation(of start: String, _ text: Text, length: Int) throws -> String {
        eval()
        defer { train() }
        return try noGrad {
            var characters = text.numbers(of: start)
            while characters.count < length {
                let padding = [Int](repeating: 0, count: max(0, Self.contextLength - characters.count))
                let context = padding + characters.suffix(Self.contextLength)
                let scores = try self(Tensor(context, shape: [1, context.count], dtype: .i64))
                characters.append(try scores.argmax(-1).elements(as: Int.self)[0])
            }
            return text.text(of: characters)
        }
    }
}
