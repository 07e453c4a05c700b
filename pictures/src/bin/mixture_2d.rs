//! Paths through noise, in the plane: eight Gaussian modes on a ring, sampled by DDIM and by DDPM
//! in few and many steps.
//!
//! ```text
//! cargo run --release -p pictures --bin mixture_2d [FOLDER]
//! ```
//!
//! It prints a table and draws `mixture_2d.png`, in FOLDER or in the crate's `target`: the density
//! of the data, samples, and the paths of the same six starts under every sampler. What to see
//! there: DDIM's paths are smooth, and more steps only refine them; DDPM's wander, and with another
//! number of steps the same start ends elsewhere. In five steps many samples stop between the
//! modes. In fifty nearly all reach one, and lie a little too close to its centre: the spread is
//! still below the data's, DDPM's more than DDIM's. The denoiser is exact, so that all of this is
//! the samplers' error.

use std::error::Error;
use std::f64::consts::TAU;
use std::ops::ControlFlow;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::Array2;
use pictures::canvas::{
    Align, Canvas, INK, Marker, PALETTE, Rect, Rgb, Shape, Stroke, Text, WHITE,
};
use pictures::plot::{Axes, Axis, Key, legend_row};
use rand::{SeedableRng, rngs::SmallRng};

const MODES: usize = 8;
const RADIUS: f64 = 2.0;
const DEVIATION: f64 = 0.2;

const STEPS: [usize; 3] = [5, 10, 50];

/// Samples behind each row of the table, and how many of them a panel shows as dots.
const SAMPLES: usize = 4000;
const DOTS: usize = 400;

const SEED: u64 = 3;

const DENSITY: Rgb = [176, 205, 226];
const DOT: Marker = Marker::new(Shape::Disc, 1.5, INK).with_alpha(0.45);

/// The paths, their starts and ends, in this colour for the legend and one of [`PALETTE`] each in
/// the panels.
const PATH: Stroke = Stroke::new(INK, 1.5);
const START: Marker = Marker::new(Shape::Ring, 6.0, INK);
const END: Marker = Marker::new(Shape::Diamond, 8.0, INK);

/// A sampler's name, its number of steps, the states at all its knots, from noise to sample, and
/// what these are worth.
struct Run {
    name: &'static str,
    steps: usize,
    states: Vec<Array2<f64>>,
    figures: Figures,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = pictures::output::path("mixture_2d.png")?;
    let data = ring()?;
    let mut runs = Vec::new();
    for (name, solver) in [("DDIM", FirstOrder::ddim()), ("DDPM", FirstOrder::ddpm())] {
        for steps in STEPS {
            runs.push(Run::new(&data, name, &solver, steps)?);
        }
    }
    print_table(&data, &runs)?;
    draw(&data, &runs)?.save_png(&path)?;
    println!("\nwrote {}", path.display());
    Ok(())
}

/// Equal modes, evenly spaced.
fn ring() -> Result<GaussianMixture, Box<dyn Error>> {
    let components = (0..MODES)
        .map(|k| Gaussian::isotropic(&centre(k), DEVIATION * DEVIATION))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(GaussianMixture::new(
        &[1.0; MODES],
        components,
        (0..MODES).collect(),
    )?)
}

fn centre(mode: usize) -> [f64; 2] {
    let (sin, cos) = (TAU * mode as f64 / MODES as f64).sin_cos();
    [RADIUS * cos, RADIUS * sin]
}

impl Run {
    fn new(
        data: &GaussianMixture,
        name: &'static str,
        solver: &FirstOrder,
        steps: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let sampler = Sampler::new(&schedule, &Grid::trailing(&schedule, steps)?, solver)?;
        let mut model = data.denoiser(Prediction::Noise);
        let mut run = sampler.start((SAMPLES, 2), Prediction::Noise, KeyedNoise::new(SEED))?;
        let mut states = vec![run.state().to_owned()];
        let _ = run.complete_with(&mut model, |report| {
            states.push(report.x.to_owned());
            ControlFlow::Continue(())
        })?;
        let figures = Figures::of(&run.into_state(), data)?;
        Ok(Self {
            name,
            steps,
            states,
            figures,
        })
    }

    /// Where one sample was at every knot.
    fn path(&self, sample: usize) -> Vec<(f64, f64)> {
        self.states
            .iter()
            .map(|state| (state[[sample, 0]], state[[sample, 1]]))
            .collect()
    }
}

/// How well a set of points agrees with the data.
struct Figures {
    /// Share within three standard deviations of a mode.
    near: f64,
    /// Standard deviation around the nearest mode, per coordinate.
    spread: f64,
    /// Mean of ln p.
    log_density: f64,
}

impl Figures {
    fn of(points: &Array2<f64>, data: &GaussianMixture) -> Result<Self, Box<dyn Error>> {
        let clean = NoiseLevel::clean();
        let count = points.nrows() as f64;
        let (mut near, mut squares, mut log_density) = (0.0, 0.0, 0.0);
        for point in points.outer_iter() {
            let (x, y) = (point[0], point[1]);
            let distance = distance_to_mode(x, y);
            near += f64::from(u8::from(distance <= 3.0 * DEVIATION)) / count;
            squares += distance * distance / count;
            log_density += data.log_density(&[x, y], &clean)? / count;
        }
        Ok(Self {
            near,
            spread: (squares / 2.0).sqrt(),
            log_density,
        })
    }

    fn print(&self, name: &str, steps: &str) {
        let near = 100.0 * self.near;
        println!(
            "{name:11}  {steps:>5}  {near:5.1} %  {:6.3}  {:16.3}",
            self.spread, self.log_density
        );
    }
}

/// Distance to the centre of the nearest mode.
fn distance_to_mode(x: f64, y: f64) -> f64 {
    (0..MODES)
        .map(centre)
        .map(|[a, b]| (x - a).hypot(y - b))
        .fold(f64::INFINITY, f64::min)
}

fn print_table(data: &GaussianMixture, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    println!(
        "{MODES} modes of standard deviation {DEVIATION}; {SAMPLES} samples a row, seed {SEED}"
    );
    println!("near    share of the samples within 3 standard deviations of a mode");
    println!("spread  standard deviation around the nearest mode\n");
    println!("sampler      steps     near  spread  mean log-density");
    for run in runs {
        run.figures.print(run.name, &run.steps.to_string());
    }
    let draws = data.sample(SAMPLES, &mut SmallRng::seed_from_u64(SEED))?;
    Figures::of(&draws.points, data)?.print("exact draws", "");
    Ok(())
}

/// One panel a run, a row for each sampler, above a legend.
fn draw(data: &GaussianMixture, runs: &[Run]) -> Result<Canvas, Box<dyn Error>> {
    let mut canvas = Canvas::new(1280, 960, WHITE);
    let title = Text::new(3, INK).aligned(Align::Centre);
    canvas.text(
        640,
        16,
        "From noise to eight modes: the same starts under every sampler",
        title,
    );
    let columns = STEPS.len() as i32;
    let cells = Rect::new(16, 60, 1248, 850).split(columns, runs.len() as i32 / columns, 12);
    for (run, cell) in runs.iter().zip(cells) {
        panel(&mut canvas, cell, data, run)?;
    }
    let legend = [
        (Key::Fill(DENSITY), "density of the data"),
        (Key::Marker(DOT), "samples"),
        (Key::Line(PATH), "path of x from t = T to 0"),
        (Key::Marker(START), "its start"),
        (Key::Marker(END), "its end"),
    ];
    legend_row(&mut canvas, Rect::new(16, 920, 1248, 30), &legend, 2)?;
    Ok(canvas)
}

/// The density, samples over it, and on top the paths with their ends.
fn panel(
    canvas: &mut Canvas,
    cell: Rect,
    data: &GaussianMixture,
    run: &Run,
) -> Result<(), Box<dyn Error>> {
    let near = 100.0 * run.figures.near;
    let title = format!("{}, {} steps: {near:.0} % near a mode", run.name, run.steps);
    let x = Axis::linear("x, first coordinate", -3.7, 3.7);
    let y = Axis::linear("x, second coordinate", -3.7, 3.7);
    let axes = Axes::equal(cell, &title, x, y, 2)?;
    axes.draw(canvas);
    let clean = NoiseLevel::clean();
    let density = |x: f64, y: f64| data.log_density(&[x, y], &clean).map_or(0.0, f64::exp);
    axes.heat_map(canvas, &axes.tabulate(160, 160, density), WHITE, DENSITY);
    let ends: Vec<_> = (0..DOTS)
        .filter_map(|sample| run.path(sample).last().copied())
        .collect();
    axes.points(canvas, &ends, DOT);
    for (sample, colour) in PALETTE.into_iter().enumerate() {
        let path = run.path(sample);
        axes.line(canvas, &path, Stroke { colour, ..PATH });
        axes.points(canvas, &path[..1], Marker { colour, ..START });
        axes.points(canvas, &path[run.steps..], Marker { colour, ..END });
    }
    Ok(())
}
