// swift-tools-version: 6.2

import PackageDescription

// A package of its own: everything in it is built for libFuzzer and with AddressSanitizer (`make fuzz`).
let package = Package(
    name: "fuzz",
    platforms: [.macOS(.v26)],
    dependencies: [.package(name: "nnstore", path: "..")],
    targets: [
        .target(
            name: "FuzzFiles",
            dependencies: [
                .product(name: "NNStore", package: "nnstore"), .product(name: "NNInterop", package: "nnstore"),
            ]),
        // In C: a Swift program has a main function of its own, and libFuzzer brings one.
        .executableTarget(
            name: "fuzz-files", dependencies: ["FuzzFiles"],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])]),
    ],
    swiftLanguageModes: [.v6]
)
