//! Nothing but a place for `tests/golden` of `diffusion-sampler` without its development
//! dependencies: `reliability/machines.sh` runs it on other machines.
