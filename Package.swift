// swift-tools-version: 6.2

import PackageDescription

/// NNStore and NNInterop read hostile files: every use of an unsafe construct must be marked as such.
let strict: [SwiftSetting] = [.strictMemorySafety()]

/// What the fuzzer's targets need, as tests and as a program.
let corpus: [Target.Dependency] = [
    "NNStore", "NNInterop", "ckpt-tool", "CSQLite", "TestSupport",
    .product(name: "ArgumentParser", package: "swift-argument-parser"),
]

let package = Package(
    name: "nnstore",
    platforms: [.macOS(.v26)],
    products: [
        .library(name: "NNStore", targets: ["NNStore"]),
        .library(name: "NNInterop", targets: ["NNInterop"]),
        .library(name: "NNDevices", targets: ["NNDevices"]),
        .library(name: "NNTensor", targets: ["NNTensor"]),
        .library(name: "NNSigning", targets: ["NNSigning"]),
        .executable(name: "ckpt-tool", targets: ["ckpt-tool"]),
        .executable(name: "gpu-check", targets: ["gpu-check"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        // The system's libraries, as modules.
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
        .systemLibrary(
            name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"]), .brew(["sqlite"])]),
        .systemLibrary(
            name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
        .systemLibrary(
            name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"]), .brew(["openblas"])]),
        // The few system calls that Swift's Glibc does not show.
        .target(name: "CSystemCalls"),
        // The codec's inner loops, which need instructions that Swift can't ask for.
        .target(name: "CCodec", dependencies: ["CXXHash"]),
        // The tensors' inner loops.
        .target(name: "CVectorMath"),

        // The container: bytes, dtypes, storages, state trees. Knows nothing of autograd, modules or other formats.
        .target(
            name: "NNStore",
            dependencies: [
                "CZstd", "CSQLite", "CXXHash", "CSystemCalls", "CCodec",
                .product(name: "OrderedCollections", package: "swift-collections"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),
        // Other formats, to and from state trees.
        .target(
            name: "NNInterop",
            dependencies: [
                "NNStore", "CZlib", .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict),
        // What the driver's library expects, which is opened when the program runs.
        .target(name: "CCUDA", exclude: ["kernels"]),
        // GPUs: the driver, memory, and the way of tensors there and back.
        .target(
            name: "NNDevices",
            dependencies: ["NNStore", "CCUDA"],
            swiftSettings: strict),
        // Tensors, autograd, modules, optimizers.
        .target(
            name: "NNTensor",
            dependencies: [
                "NNStore", "NNInterop", "NNDevices", "CCUDA", "CVectorMath", "COpenBLAS",
                .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            swiftSettings: strict),
        // Signatures over files. A module of its own: who wants none need not build cryptography.
        .target(
            name: "NNSigning",
            dependencies: ["NNStore", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: strict),
        .executableTarget(
            name: "ckpt-tool",
            dependencies: [
                "NNStore", "NNInterop", "NNDevices", "NNSigning",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                // Only here: a program that wants NNInterop should not have to build it.
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]),

        // What a machine with a GPU and no Swift runs.
        .executableTarget(
            name: "gpu-check", dependencies: ["NNStore", "NNInterop", "NNDevices", "NNTensor", "GoldenCases"]),

        .executableTarget(
            name: "BuildersGuide", dependencies: ["NNStore", "NNTensor"], path: "Examples/BuildersGuide"),
        .executableTarget(
            name: "Train",
            dependencies: [
                "NNStore", "NNTensor", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], path: "Examples/Train"),

        // Random operations for hours, beside a model of what should be there (`make soak`).
        .executableTarget(
            name: "soak",
            dependencies: [
                "NNStore", "NNInterop", "NNTensor", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/Soak"),
        // What several test targets use: doubles of the file system (faults, what a power cut leaves), and random numbers.
        .target(name: "TestSupport", dependencies: ["NNStore"], path: "Tests/TestSupport"),
        .testTarget(name: "NNStoreTests", dependencies: ["NNStore", "CSQLite", "TestSupport"]),
        .testTarget(
            name: "NNInteropTests",
            dependencies: ["NNInterop", "TestSupport", .product(name: "Crypto", package: "swift-crypto")],
            exclude: ["Fixtures"]),
        // A test double of the GPU's driver, over memory of the process.
        .target(
            name: "CUDATestDriver", dependencies: ["CCUDA", "CVectorMath"], path: "Tests/CUDATestDriver"),
        .testTarget(
            name: "NNDevicesTests",
            dependencies: ["NNStore", "NNDevices", "NNTensor", "GoldenCases", "CUDATestDriver"]),
        // The models that PyTorch's numbers belong to, for tests here and on GPUs.
        .target(name: "GoldenCases", dependencies: ["NNStore", "NNInterop", "NNTensor"], path: "Tests/GoldenCases"),
        .testTarget(
            name: "NNTensorTests",
            dependencies: [
                "NNTensor", "NNInterop", "CVectorMath", "BuildersGuide", "GoldenCases", "TestSupport",
            ],
            exclude: ["Goldens", "Fixtures"]),
        .testTarget(
            name: "CheckpointToolTests", dependencies: ["NNStore", "NNInterop", "NNSigning", "ckpt-tool"],
            exclude: ["Python"]),
    ],
    swiftLanguageModes: [.v6],
    // The kernels, compiled for the test double of the driver.
    cxxLanguageStandard: .cxx17
)

// `make fuzz` builds the targets of the corpus tests for libFuzzer, with checks that only a fuzzed build has.
if Context.environment["NNSTORE_FUZZ"] != nil {
    // The program's commands without the program: libFuzzer has a main function of its own.
    let program = package.targets.first { $0.name == "ckpt-tool" }!
    package.targets.removeAll { $0.name == program.name || $0.isTest }
    package.products.removeAll { $0.name == program.name }
    package.targets += [
        .target(name: program.name, dependencies: program.dependencies, exclude: ["CheckpointTool.swift"]),
        .target(name: "FuzzTargets", dependencies: corpus, path: "Tests/CorpusTests/Targets"),
        .target(name: "FuzzEntry", dependencies: ["FuzzTargets"], path: "Fuzz/FuzzEntry"),
        // In C: a Swift program has a main function of its own, and libFuzzer brings one.
        .executableTarget(
            name: "fuzz-files", dependencies: ["FuzzEntry"], path: "Fuzz/fuzz-files",
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]),
    ]
} else {
    package.targets.append(.testTarget(name: "CorpusTests", dependencies: corpus))
}
