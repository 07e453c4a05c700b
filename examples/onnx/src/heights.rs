//! Heights in metres, and the numbers that the terrain network knows them by.
//!
//! The network's 1 is a height of 22.2 m and its −1 is 0 m, with small heights spread out: h metres
//! are 2 asinh(h/s)/asinh(H/s) − 1, where H is [`HIGHEST`] and s is [`SCALE`]. Both numbers, and
//! the formula, are those of adaptive-terrain-diffusion 0.4.2 (`generator.py`; Y. Yu, MIT).

use diffusion_sampler::ndarray::{Array4, ArrayViewMut2, Axis};

/// H, the greatest height in metres.
pub const HIGHEST: f64 = 22.168_640_136_718_75;

/// s in metres: heights below it are nearly linear, those above nearly logarithmic.
pub const SCALE: f64 = 0.1;

/// Heights of the network's numbers; each terrain \[1, rows, columns\] begins at 0 m.
pub fn to_metres(mut values: Array4<f32>) -> Array4<f32> {
    values.mapv_inplace(|value| {
        let unit = (f64::from(value) + 1.0) / 2.0;
        let height = SCALE * (unit.clamp(0.0, 1.0) * range()).sinh();
        height.clamp(0.0, HIGHEST) as f32
    });
    each(&mut values, |mut terrain| {
        let lowest = lowest(&terrain);
        terrain.mapv_inplace(|height| height - lowest);
    });
    values
}

/// The network's numbers for heights in metres; each terrain is lowered to begin at 0 m.
pub fn from_metres(mut heights: Array4<f32>) -> Array4<f32> {
    each(&mut heights, |mut terrain| {
        let lowest = lowest(&terrain);
        terrain.mapv_inplace(|height| {
            let height = f64::from(height - lowest).clamp(0.0, HIGHEST);
            (2.0 * (height / SCALE).asinh() / range() - 1.0) as f32
        });
    });
    heights
}

/// asinh(H/s).
fn range() -> f64 {
    (HIGHEST / SCALE).asinh()
}

fn lowest(terrain: &ArrayViewMut2<'_, f32>) -> f32 {
    terrain.iter().copied().fold(f32::INFINITY, f32::min)
}

fn each(terrains: &mut Array4<f32>, change: impl Fn(ArrayViewMut2<'_, f32>)) {
    for mut terrain in terrains.axis_iter_mut(Axis(0)) {
        terrain.axis_iter_mut(Axis(0)).for_each(&change);
    }
}
