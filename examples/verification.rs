//! Prints every claim with its oracle, measured value, threshold and verdict, writes the same to
//! `docs/verification.md`, and exits with an error when one fails.
//!
//! `cargo run --release --example verification [FILE]`

#[path = "../tests/claims/mod.rs"]
mod claims;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use claims::{TOPICS, number};

const INTRODUCTION: &str = "\
# Verification

Every claim below is measured against an exact oracle (a closed form, quadrature or an independent prototype) and held to
a threshold. The file is written by `cargo run --release --example verification`; `cargo test` asserts the same list.
";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/verification.md"),
        PathBuf::from,
    );
    let mut page = INTRODUCTION.to_owned();
    let (mut held, mut failed) = (0, 0);
    for (title, topic) in TOPICS {
        println!("\n{title}");
        write!(
            page,
            "\n## {title}\n\n| claim | oracle | measured | accepted | verdict |\n|---|---|---|---|---|\n"
        )?;
        for claim in topic()? {
            let verdict = if claim.holds() {
                held += 1;
                "holds"
            } else {
                failed += 1;
                "FAILS"
            };
            let measured = number(claim.measured);
            println!(
                "  {verdict}  {}: {measured} (accepted {}; oracle: {})",
                claim.claim, claim.accept, claim.oracle
            );
            writeln!(
                page,
                "| {} | {} | {measured} | {} | {verdict} |",
                claim.claim, claim.oracle, claim.accept
            )?;
        }
    }
    println!(
        "\n{held} claims hold, {failed} fail; written to {}",
        path.display()
    );
    std::fs::write(&path, page)?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
