//! Writes the tiny random model, the readable kind: `cargo run -p cutover-testkit --example write_tiny_gguf FILE`.

use std::path::Path;

use cutover_testkit::tiny_gguf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: write_tiny_gguf FILE")?;
    tiny_gguf::write_readable(Path::new(&path), 7)?;
    Ok(())
}
