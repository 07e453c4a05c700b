//! Normals in f64: blocks of 16, and pairs.
//!
//! Torch calls the C library's functions here, and so does this, as nothing else in the crate: the
//! bits are those of torch on the same platform. Other C libraries round one or two values in a
//! thousand otherwise.

/// Box–Muller: 8 radii and 8 angles, in place, become 8 cosines and 8 sines.
pub(super) fn normals(uniforms: [f64; 16]) -> [f64; 16] {
    let mut block = uniforms;
    let (cosines, sines) = block.split_at_mut(8);
    for (first, second) in cosines.iter_mut().zip(sines) {
        [*first, *second] = turned((-2.0 * (1.0 - *first).ln()).sqrt(), *second);
    }
    block
}

/// The two normals of two uniforms, of which the first is the angle.
pub(super) fn pair(turn: f64, radius: f64) -> [f64; 2] {
    turned((-2.0 * (-radius).ln_1p()).sqrt(), turn)
}

/// r cos(2πt) and r sin(2πt). Mean 0 is added: no normal is −0.
fn turned(radius: f64, turn: f64) -> [f64; 2] {
    let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
    [radius * cos + 0.0, radius * sin + 0.0]
}
