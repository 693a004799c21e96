//! A panic is our own bug: it is told in one line with its place. What it costs is decided where it happened; on a
//! worker it costs one exchange.

use crate::output;

pub(crate) fn report() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message").replace('\n', " ");
        let name = thread.name().unwrap_or("unnamed");
        output::error(&format!(
            "bug in clearway: thread {name} panicked at {place}: {message}; please report it"
        ));
    }));
}
