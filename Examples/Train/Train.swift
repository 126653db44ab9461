import ArgumentParser
import NNStore
import NNTensor

@main
struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Trains a small language model on text that it makes up, and can be killed at any time.",
        discussion: """
            Checkpoints go to a folder. Started again with the same folder, the training goes on from the newest whole one, \
            and ends with the same bits as if nothing had happened.

            Example:
              swift run -c release Train --folder run1 --steps 400
            """)

    @Option(help: "Where the checkpoints are.")
    var folder = "run"

    @Option(help: "How many steps are trained in all.")
    var steps = 400

    @Option(help: "After how many steps a checkpoint is saved.")
    var saveEvery = 20

    func validate() throws {
        guard steps > 0, saveEvery > 0 else { throw ValidationError("--steps and --save-every are numbers from 1 on") }
    }

    func run() throws {
        manualSeed(2026)
        let text = Text(sentences: 2000)
        let net = try LanguageModel(vocabulary: text.alphabet.count)
        let optimizer = AdamW(net.parameters(), learningRate: 3e-3)
        let scheduler = LearningRateScheduler(optimizer, .cosine(over: steps).after(warmUp: 20))
        let losses = MetricAccumulator()

        let checkpoints = try CheckpointManager(folder: folder, keep: .newest(3), .best(1, by: "loss"))
        var step = 0
        if let last = try checkpoints.newest() {
            try last.restore(net, optimizer, scheduler, losses)
            step = last.step + 1
            print("resumed after step \(last.step) from \(last.path)")
        } else {
            print(net)
        }

        let progress = Progress(total: steps)
        while step < steps {
            let (context, next) = try text.batch(of: 64, contextLength: LanguageModel.contextLength)
            optimizer.zeroGrad()
            let loss = try crossEntropy(net(context), next)
            try loss.backward()
            try optimizer.step()
            scheduler.step()
            try losses.add(loss)
            if (step + 1).isMultiple(of: saveEvery) || step + 1 == steps {
                // The values of this moment are copied, and the training goes on while they are written.
                let recent = try losses.read().suffix(saveEvery)
                let mean = recent.reduce(0, +) / Double(recent.count)
                try checkpoints.saveAsync(step: step, net, optimizer, scheduler, losses, metrics: ["loss": mean])
                progress.show(step + 1, loss: mean)
            }
            step += 1
        }
        try checkpoints.wait()
        progress.finish()

        print(LossCurve(try losses.read()))
        print("\"\(try net.continuation(of: "the ", text, length: 60))\"")
        try list(checkpoints)
    }

    /// Lists what was written, and verifies it.
    private func list(_ checkpoints: CheckpointManager) throws {
        for step in try checkpoints.steps {
            let checkpoint = try Checkpoint.open(checkpoints.path(step: step))
            let isSound = try checkpoint.verify().isSound
            print("\(checkpoint.name): \(checkpoint.byteCount) bytes, \(isSound ? "verified" : "DAMAGED")")
        }
        guard let last = try checkpoints.steps.last else { return }
        var owners: [Int: String] = [:]
        for tensor in try Checkpoint.open(checkpoints.path(step: last)).tensors where tensor.name.hasPrefix("model.") {
            let owner = owners[tensor.storage]
            owners[tensor.storage] = owner ?? tensor.name
            print("  \(tensor.name)  \(tensor.dtype) \(tensor.shape)\(owner.map { "  tied to \($0)" } ?? "")")
        }
    }
}
