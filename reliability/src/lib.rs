//! What the long checks of `diffusion-sampler` share. Each check is a program of its own in
//! `src/bin`; docs/reliability.md has the commands and the figures that they gave.

pub mod accuracy;

/// Reads the program's arguments, pairs of a name and a whole number. `take` says whether it knows
/// the name.
///
/// # Errors
///
/// A name that is not known or has no value, and a value that is no number.
pub fn arguments(mut take: impl FnMut(&str, u64) -> bool) -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} without a value"))?;
        let number = value.parse();
        let number = number.map_err(|_| format!("{name} {value}: no number"))?;
        if !take(&name, number) {
            return Err(format!("unknown argument {name}"));
        }
    }
    Ok(())
}
