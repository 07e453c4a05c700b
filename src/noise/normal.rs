//! Box–Muller.

use super::philox::philox4x32_10;

/// An element type that normals can be drawn in.
pub trait NormalElement: Sized {
    #[doc(hidden)]
    fn normals(key: [u32; 2], counter: [u32; 3], first: u64, out: &mut [Self]);
}

fn one(key: [u32; 2], counter: [u32; 3], element: u64) -> f64 {
    let w = philox4x32_10(
        [(element / 2) as u32, counter[0], counter[1], counter[2]],
        key,
    );
    let u = |a: u32, b: u32| {
        (((u64::from(a) << 21) ^ u64::from(b >> 11)) as f64 + 0.5) / 9007199254740992.0
    };
    let r = (-2.0 * libm::log(u(w[0], w[1]))).sqrt();
    let theta = std::f64::consts::TAU * u(w[2], w[3]);
    if element % 2 == 0 {
        r * libm::cos(theta)
    } else {
        r * libm::sin(theta)
    }
}

impl NormalElement for f32 {
    fn normals(key: [u32; 2], counter: [u32; 3], first: u64, out: &mut [Self]) {
        for (i, o) in out.iter_mut().enumerate() {
            *o = one(key, counter, first + i as u64) as f32;
        }
    }
}

impl NormalElement for f64 {
    fn normals(key: [u32; 2], counter: [u32; 3], first: u64, out: &mut [Self]) {
        for (i, o) in out.iter_mut().enumerate() {
            *o = one(key, counter, first + i as u64);
        }
    }
}
