//! The picture: hill shading, a column for each thing that varies.

use std::path::Path;

use diffusion_sampler::ndarray::ArrayView2;
use diffusion_sampler_onnx::terrain::{SIZE, level};
use pictures::canvas::{Align, Canvas, INK, ImageLook, Rgb, Text, WHITE};

use crate::Result;
use crate::jobs::{DIFFICULTIES, Made};

const GAP: i32 = 8;
const LINE: i32 = 14;
const TILE: i32 = SIZE as i32;
/// Metres between neighbouring points, by the package's default.
const SPACING: f64 = 0.1;
/// Shades, so that the file stays small.
const SHADES: f64 = 32.0;
const DARK: Rgb = [24, 28, 38];

/// Draws terrains by difficulty, variations by strength, and the wide terrain.
pub fn draw(terrains: &Made, varied: &[Made], wide: &Made, path: &Path) -> Result<()> {
    let columns = DIFFICULTIES.len() as i32;
    let (rows, _) = wide.terrain(0).map_or((0, 0), |terrain| terrain.dim());
    let width = columns * (TILE + GAP) + GAP;
    let height = 3 * (TILE + LINE + GAP) + rows as i32 + LINE + 2 * GAP;
    let mut canvas = Canvas::new(width, height, WHITE);
    let place = |column: usize, row: i32| {
        (
            GAP + column as i32 * (TILE + GAP),
            GAP + row * (TILE + LINE + GAP),
        )
    };
    for index in 0..terrains.difficulties.len() {
        let column = index % DIFFICULTIES.len();
        let at = place(column, (index / DIFFICULTIES.len()) as i32);
        let difficulty = terrains
            .difficulties
            .get(index)
            .copied()
            .unwrap_or_default();
        panel(
            &mut canvas,
            at,
            terrains,
            index,
            &format!("difficulty {difficulty}"),
        );
    }
    let last = DIFFICULTIES.len() - 1;
    panel(
        &mut canvas,
        place(0, 2),
        terrains,
        last,
        "upper right, varied:",
    );
    for (index, made) in varied.iter().enumerate() {
        let text = format!("from σ = {:.1}", level(made.strength)?.sigma());
        panel(&mut canvas, place(index + 1, 2), made, 0, &text);
    }
    panel(
        &mut canvas,
        place(0, 3),
        wide,
        0,
        "tiles of 128, overlapping by 32, difficulty 80",
    );
    canvas.save_png(path)
}

fn panel(canvas: &mut Canvas, at: (i32, i32), made: &Made, index: usize, text: &str) {
    let style = Text::new(1, INK).aligned(Align::Start);
    canvas.text(at.0, at.1, text, style);
    if let Some(terrain) = made.terrain(index) {
        let shades = shaded(terrain);
        let look = ImageLook {
            paper: DARK,
            ink: WHITE,
            ..ImageLook::new(1)
        };
        canvas.image(at.0, at.1 + LINE, shades.view(), look);
    }
}

/// The cosine between the ground and light from the upper left, in steps.
fn shaded(terrain: ArrayView2<'_, f32>) -> diffusion_sampler::ndarray::Array2<f64> {
    let (rows, columns) = terrain.dim();
    let at = |i: usize, j: usize| terrain.get((i, j)).map_or(0.0, |height| f64::from(*height));
    let slope = |a: f64, b: f64, points: usize| (b - a) / (points.max(1) as f64 * SPACING);
    let light = [-0.5, -0.5, 0.7];
    diffusion_sampler::ndarray::Array2::from_shape_fn((rows, columns), |(i, j)| {
        let (up, down) = (i.saturating_sub(1), (i + 1).min(rows - 1));
        let (left, right) = (j.saturating_sub(1), (j + 1).min(columns - 1));
        let x = slope(at(i, left), at(i, right), right - left);
        let y = slope(at(up, j), at(down, j), down - up);
        let cosine = light[2] - x * light[0] - y * light[1];
        let cosine = cosine / (1.0 + x * x + y * y).sqrt();
        (cosine.clamp(0.0, 1.0) * SHADES).round() / SHADES
    })
}
