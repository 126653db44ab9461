// swift-tools-version: 6.2

import PackageDescription

/// A package of its own: it may use flags that a library can't, and nobody who uses NNStore builds it.
let package = Package(
    name: "nnstore-benchmarks",
    platforms: [.macOS(.v26)],
    dependencies: [
        .package(name: "nnstore", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        .executableTarget(
            name: "nnstore-bench",
            dependencies: [
                .product(name: "NNStore", package: "nnstore"), .product(name: "NNInterop", package: "nnstore"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .executableTarget(
            name: "nntensor-bench",
            dependencies: [
                .product(name: "NNTensor", package: "nnstore"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .executableTarget(
            name: "model-bench",
            dependencies: [
                .product(name: "NNStore", package: "nnstore"), .product(name: "NNTensor", package: "nnstore"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
