//! Standard output and standard error.
//!
//! A program whose reader has gone away (`| head`) ends by SIGPIPE, as programs in C do. Rust
//! ignores that signal, and must: a network connection that breaks may not end the program.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use anstream::AutoStream;
use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;

use crate::progress;

/// The first error of standard output.
static LOST_OUTPUT: OnceLock<String> = OnceLock::new();

/// Standard output, with colour only on a terminal that wants it.
pub(crate) fn stdout() -> impl Write {
    Stream(AutoStream::auto(io::stdout()))
}

/// Standard error, with colour only on a terminal that wants it.
pub(crate) fn stderr() -> impl Write {
    Stream(AutoStream::auto(io::stderr()))
}

/// Writes a result to standard output. A failure becomes the command's: the result may be a secret
/// that is shown once.
pub(crate) fn print(text: &str) {
    if let Err(error) = stdout().write_all(text.as_bytes()) {
        LOST_OUTPUT.get_or_init(|| error.to_string());
    }
}

/// Writes a message to standard error. If that is gone, there is nowhere to report it.
pub(crate) fn print_error(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

/// Returns the error because of which a result did not reach standard output.
pub(crate) fn lost_output() -> Option<&'static str> {
    LOST_OUTPUT.get().map(String::as_str)
}

/// A stream that clears the progress while it is written to, and ends the program when its reader
/// is gone.
struct Stream<W>(W);

impl<W: Write> Write for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::suspend(|| self.0.write(bytes)).inspect_err(end_if_reader_is_gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().inspect_err(end_if_reader_is_gone)
    }
}

fn end_if_reader_is_gone(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        // Does not return: the default of this signal ends the process.
        let _ = emulate_default_handler(SIGPIPE);
    }
}
