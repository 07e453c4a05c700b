//! What the long checks of `diffusion-sampler` share. Each check is a program of its own in
//! `src/bin`; docs/reliability.md has the commands and the figures that they gave.

pub mod accuracy;
