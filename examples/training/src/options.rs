//! The command line.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::training::STEPS;

const USAGE: &str = "[--check | [--steps N] [--to FILE]]";

/// What the program does.
pub enum Options {
    /// A few steps, and the committed weights beside the ndarray network.
    Check,
    /// A whole training.
    Train { steps: usize, file: PathBuf },
}

/// Reads the arguments behind the program's name.
pub fn read(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("network");
    let mut file = weights.join("weights/digits.safetensors");
    let mut steps = STEPS;
    let mut only = None;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let missing = || format!("{argument} needs a value: {USAGE}");
            arguments.next().ok_or_else(missing)
        };
        match argument.as_str() {
            "--check" => only = Some(Options::Check),
            "--steps" => {
                let value = value()?;
                let parsed = value.parse().ok().filter(|steps| *steps > 0);
                steps = parsed
                    .ok_or_else(|| format!("--steps {value}: expected a whole number from 1 on"))?;
            }
            "--to" => file = PathBuf::from(value()?),
            other => return Err(format!("unknown argument \"{other}\": expected {USAGE}").into()),
        }
    }
    Ok(only.unwrap_or(Options::Train { steps, file }))
}
