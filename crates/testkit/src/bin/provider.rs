//! The simulator of `testkit::Provider` as a process of its own, for tests and benchmarks of other languages: prints its address, and
//! serves until its standard input ends.

use std::io::{Read, Write};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let provider = testkit::Provider::start().await?;
    writeln!(std::io::stdout(), "http://{}", provider.address)?;
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await??;
    Ok(())
}
