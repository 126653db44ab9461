// The builders' guide of "Dive into Deep Learning" (d2l.ai, chapter 6), in Swift and in its order. Run it with
//     swift run BuildersGuide

try layersAndModules()
try parameterManagement()
try parameterInitialization()
try lazyInitialization()
try customLayers()
try files()
try devices()

/// Prints the title of a section.
func section(_ title: String) { print("\n== \(title)") }
