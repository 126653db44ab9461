import NNStore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Standard output and standard error.
enum Terminal {
    /// Writes a line to standard output.
    static func print(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

    /// Writes a line to standard error.
    static func error(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

    /// Writes text as it is to standard error.
    static func errorText(_ text: String) { write(text, to: STDERR_FILENO) }

    /// Whether standard error is a terminal that a person looks at.
    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Whether standard output is a terminal that a person looks at.
    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// How many characters a line of the terminal at standard error has.
    static var errorWidth: Int {
        var size = winsize()
        return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Lets a closed pipe end the program as it ends other tools, and makes a limit of the size of files an error like a
    /// full disk.
    static func setSignals() {
        signal(SIGPIPE, SIG_DFL)
        signal(SIGXFSZ, SIG_IGN)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN {
                    // The other end of the pipe was set not to block; wait for it.
                    var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&waiting, 1, -1)
                    continue
                }
                // Output that is lost is a failure; of what can't be said on standard error nothing more can be said.
                if descriptor == STDOUT_FILENO {
                    self.error("error: standard output: can't write: \(SystemCall.text(errno))")
                    exit(2)
                }
                return
            }
            bytes = bytes.dropFirst(count)
        }
    }
}

/// Text for a terminal: what a hostile file put into a name must not move the cursor or change colours.
func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        if isControl(scalar) {
            result += "\\u{\(String(scalar.value, radix: 16))}"
        } else {
            result.unicodeScalars.append(scalar)
        }
    }
    return result
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse: true
    default: false
    }
}
