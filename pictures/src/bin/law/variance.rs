//! The variance after each step, as it is predicted and as it is sampled.

use std::error::Error;
use std::ops::ControlFlow;

use diffusion_sampler::oracle::{Gaussian, Oracle};
use diffusion_sampler::posterior::Kappa;
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Solver};
use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, schedule::TableSchedule};
use ndarray::{Array2, Axis as Along};
use pictures::canvas::{Align, Canvas, INK, Marker, PALETTE, Rect, Shape, Stroke, Text, WHITE};
use pictures::output;
use pictures::plot::{Axes, Axis, Entry, Key, legend_row};

/// The data's variance in each direction: strong, middling and weak.
const VARIANCES: [f64; 3] = [1.0, 0.1, 0.01];
const STEPS: usize = 10;
const SAMPLES: usize = 4000;
const SEED: u64 = 1;

type Named = (&'static str, Box<dyn Solver>);

fn solvers() -> [Named; 4] {
    [
        ("DDIM", Box::new(FirstOrder::ddim())),
        ("η = 0.5", Box::new(FirstOrder::new(Kappa::Eta(0.5)))),
        ("DDPM", Box::new(FirstOrder::ddpm())),
        ("DPM++ 2M", Box::new(DpmSolverPlusPlus::new())),
    ]
}

/// One sampler: the predicted variances after each step by direction, and those of samples.
struct Course {
    name: &'static str,
    predicted: Vec<Vec<f64>>,
    sampled: Vec<Vec<f64>>,
}

impl Course {
    fn measure(
        name: &'static str,
        sampler: &Sampler,
        data: &Gaussian,
    ) -> Result<Self, Box<dyn Error>> {
        let predicted = sampler.moments(data)?;
        let mut sampled = Vec::new();
        let mut model = data.denoiser(Prediction::Data);
        let shape = (SAMPLES, VARIANCES.len());
        let mut run = sampler.start::<f64, _, _>(shape, Prediction::Data, KeyedNoise::new(SEED))?;
        let whole = run.complete_with(&mut model, |report| {
            let states: Array2<f64> = report.x.to_owned();
            let columns = states.axis_iter(Along(1));
            sampled.push(columns.map(|column| column.var(1.0)).collect());
            ControlFlow::Continue(())
        })?;
        if whole.is_break() {
            return Err("the run was stopped".into());
        }
        Ok(Self {
            name,
            predicted: predicted
                .iter()
                .map(|state| state.variances().to_vec())
                .collect(),
            sampled,
        })
    }
}

/// The picture: a panel for each direction, variances in units of the true one.
pub(crate) fn draw(file: &str) -> Result<(), Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::quadratic(&schedule, STEPS)?;
    let data = Gaussian::diagonal(&[0.0; VARIANCES.len()], &VARIANCES)?;
    let mut courses = Vec::new();
    for (name, solver) in solvers() {
        let sampler = Sampler::new(&schedule, &grid, solver.as_ref())?;
        courses.push(Course::measure(name, &sampler, &data)?);
    }
    let truth = |direction: usize, step: usize| {
        let level = grid.levels()[step + 1];
        let (alpha, sigma) = (level.alpha(), level.sigma());
        alpha * alpha * VARIANCES[direction] + sigma * sigma
    };

    let mut canvas = Canvas::new(1480, 640, WHITE);
    let title = "Variance after each step, divided by the true one: lines predicted, marks sampled";
    let style = Text::new(2, INK).aligned(Align::Centre);
    canvas.text(740, 16, title, style);
    let ranges = [(0.55, 1.15), (0.45, 1.2), (0.35, 1.15)];
    let cells = Rect::new(16, 56, 1448, 530).split(3, 1, 24);
    for (direction, cell) in cells.into_iter().enumerate() {
        let (low, high) = ranges[direction];
        let x = Axis::linear("step", 0.4, STEPS as f64 + 0.6);
        let y = Axis::linear("variance / true variance", low, high);
        let title = format!("direction of variance {}", VARIANCES[direction]);
        let axes = Axes::new(cell, &title, x, y, 2)?;
        axes.draw(&mut canvas);
        axes.line(
            &mut canvas,
            &[(0.0, 1.0), (11.0, 1.0)],
            Stroke::new(INK, 1.0),
        );
        for (index, course) in courses.iter().enumerate() {
            let share =
                |list: &[Vec<f64>], step: usize| list[step][direction] / truth(direction, step);
            let (stroke, marker) = look(index);
            let predicted: Vec<_> = (0..STEPS)
                .map(|step| ((step + 1) as f64, share(&course.predicted, step)))
                .collect();
            axes.line(&mut canvas, &predicted, stroke);
            // Beside each other, so that bars do not cover each other.
            let aside = 0.12 * (index as f64 - 1.5);
            for step in 0..STEPS {
                let at = (step + 1) as f64 + aside;
                let value = share(&course.sampled, step);
                let error = value * (2.0 / (SAMPLES - 1) as f64).sqrt();
                let bar = [(at, value - 2.0 * error), (at, value + 2.0 * error)];
                axes.line(&mut canvas, &bar, Stroke::new(stroke.colour, 1.5));
                axes.points(&mut canvas, &[(at, value)], marker);
            }
        }
    }
    let entries: Vec<Entry<'_>> = courses
        .iter()
        .enumerate()
        .map(|(index, course)| {
            let (stroke, marker) = look(index);
            (Key::Both(stroke, marker), course.name)
        })
        .collect();
    legend_row(&mut canvas, Rect::new(16, 596, 1448, 32), &entries, 2)?;
    canvas.save_png(output::path(file)?)?;
    print(&courses, truth);
    Ok(())
}

fn look(index: usize) -> (Stroke, Marker) {
    const SHAPES: [Shape; 4] = [Shape::Disc, Shape::Square, Shape::Diamond, Shape::Ring];
    let colour = PALETTE[index];
    (
        Stroke::new(colour, 1.5),
        Marker::new(SHAPES[index], 4.0, colour),
    )
}

/// The last step's variances, and the largest distance of a sampled one from its prediction.
fn print(courses: &[Course], truth: impl Fn(usize, usize) -> f64) {
    println!("Variance after the last step / true variance, predicted (sampled), by direction");
    let mut largest = 0.0f64;
    for course in courses {
        print!("{:10}", course.name);
        for direction in 0..VARIANCES.len() {
            let last = STEPS - 1;
            let (predicted, sampled) = (
                course.predicted[last][direction] / truth(direction, last),
                course.sampled[last][direction] / truth(direction, last),
            );
            print!("  {predicted:6.4} ({sampled:6.4})");
            for step in 0..STEPS {
                let predicted = course.predicted[step][direction];
                let error = predicted * (2.0 / (SAMPLES - 1) as f64).sqrt();
                let off = (course.sampled[step][direction] - predicted) / error;
                largest = largest.max(off.abs());
            }
        }
        println!();
    }
    let count = courses.len() * STEPS * VARIANCES.len();
    println!("largest distance of {count} sampled variances: {largest:.1} standard errors\n");
}
