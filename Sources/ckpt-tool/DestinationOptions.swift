import ArgumentParser
import NNStore
import SystemPackage

/// What to do with a destination that exists.
struct DestinationOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Replace an existing destination, in one step, once the new file is whole.")
    var force = false

    @Flag(help: "Replace even a container that other files were declared to refer to.")
    var forceReferenced = false

    var existing: ExistingDestination {
        forceReferenced ? .replaceReferenced : force ? .replace : .refuse
    }
}

/// Standard output as a place to write a file to.
enum StandardOutput {
    static var sink: StreamSink { StreamSink(.standardOutput, name: "standard output") }
}
