//! The error against the number of evaluations: fixed and searched spacings, with and without a warm
//! start.

use std::error::Error;

use diffusion_sampler::grid::{Spacing, spacings};
use diffusion_sampler::oracle::{Gaussian, GaussianMixture};
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::solver::DpmSolverPlusPlus;
use diffusion_sampler::tuning::{SpacingSearch, Spectrum, Surrogate, WarmStart};
use diffusion_sampler::{Grid, Sampler};
use pictures::canvas::{Align, Canvas, INK, Marker, PALETTE, Rect, Shape, Stroke, Text, WHITE};
use pictures::plot::{Axes, Axis, Entry, Key, legend_row};
use pictures::{miss, output};

const BUDGETS: [usize; 7] = [4, 5, 6, 8, 10, 14, 20];

/// The knot down to which the warm start leads.
const WARM: f64 = 600.0;

/// Directions that it knows of the 64, the strongest ones.
const RANK: usize = 8;

/// Errors that a search may compute.
const SEARCHED: usize = 600;

/// Runs of the mixture on which spacings are searched.
const RUNS: usize = 200;

const CURVES: [&str; 4] = [
    "trailing",
    "best fixed spacing",
    "searched spacing",
    "best fixed, warm start",
];

/// The error at each number of evaluations, and a remark for the table.
type Curve = Vec<(f64, String)>;

/// The two kinds of data.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Data {
    Gaussian,
    Modes,
}

/// What is measured: data, schedule, and the surrogates of the search.
struct Bench {
    data: Data,
    schedule: TableSchedule,
    known: Surrogate,
    held_out: Surrogate,
}

impl Bench {
    fn new(data: Data) -> Result<Self, Box<dyn Error>> {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let (known, held_out) = match data {
            Data::Gaussian => {
                let tilted = Spectrum::images().tilted(0.2)?.gaussian(64)?;
                (
                    Surrogate::gaussian(&miss::spectrum()?)?,
                    Surrogate::gaussian(&tilted)?,
                )
            }
            Data::Modes => {
                let mode = |mean: f64| Gaussian::isotropic(&[mean], miss::MODE * miss::MODE);
                let parts = vec![mode(-1.0)?, mode(1.0)?];
                let modes = GaussianMixture::new(&[1.0, 1.0], parts, vec![0, 1])?;
                let surrogate = |seed| Surrogate::mixture(&modes, &schedule, RUNS, seed);
                (surrogate(1)?, surrogate(2)?)
            }
        };
        Ok(Self {
            data,
            schedule,
            known,
            held_out,
        })
    }

    fn sampler(&self, grid: &Grid) -> Result<Sampler, Box<dyn Error>> {
        Ok(Sampler::new(
            &self.schedule,
            grid,
            &DpmSolverPlusPlus::new(),
        )?)
    }

    /// The part of a grid below the warm start's level.
    fn below(&self, grid: &Grid) -> Result<Grid, Box<dyn Error>> {
        Ok(grid
            .clone()
            .starting_at(&self.schedule, self.schedule.level(WARM)?)?)
    }

    /// W₂ in percent of the rms, from the initial distribution or from the warm start's.
    fn error(&self, grid: &Grid, warm: bool) -> Result<f64, Box<dyn Error>> {
        let sampler = self.sampler(grid)?;
        let level = grid.start();
        match (self.data, warm) {
            (Data::Gaussian, false) => miss::gaussian(&sampler),
            (Data::Modes, false) => miss::two_modes(&sampler),
            (Data::Gaussian, true) => {
                let data = miss::spectrum()?;
                let warm = WarmStart::of_gaussian(&data, RANK)?;
                let rest = data.variances().len() - warm.variances().len();
                let rest = std::iter::repeat_n(warm.rest(), rest);
                // The data's axes are the coordinates, the strongest first.
                let reached = warm.variances().iter().copied().chain(rest);
                let reached: Vec<f64> = reached.map(|v| level.marginal_variance(v)).collect();
                let initial = Gaussian::diagonal(&vec![0.0; reached.len()], &reached)?;
                let states = sampler.plan().moments(&data, &initial)?;
                let last = states.last().ok_or("a plan without steps")?;
                let power: f64 = data.variances().iter().sum();
                Ok(100.0 * (last.wasserstein_squared(&data)? / power).sqrt())
            }
            (Data::Modes, true) => {
                let variance = 1.0 + miss::MODE * miss::MODE;
                miss::two_modes_from(&sampler, level.marginal_variance(variance).sqrt())
            }
        }
    }

    /// The least error of all fixed spacings, and which.
    fn fixed(&self, steps: usize, warm: bool) -> Result<(f64, &'static str), Box<dyn Error>> {
        let mut best = (f64::INFINITY, "");
        for entry in spacings() {
            // Spacings that have no such grid are no candidates.
            let Ok(grid) = self.of_spacing(entry.spacing, steps, warm) else {
                continue;
            };
            let error = self.error(&grid, warm)?;
            if error < best.0 {
                best = (error, entry.name);
            }
        }
        Ok(best)
    }

    fn of_spacing(
        &self,
        spacing: Spacing,
        steps: usize,
        warm: bool,
    ) -> Result<Grid, Box<dyn Error>> {
        if !warm {
            return Ok(spacing.grid(&self.schedule, steps)?);
        }
        for whole in steps..3 * steps + 4 {
            let below = self.below(&spacing.grid(&self.schedule, whole)?)?;
            if below.steps() == steps {
                return Ok(below);
            }
        }
        Err("no grid with so many steps below the warm start".into())
    }

    /// The searched grid where the guard takes it, else the best fixed one.
    fn search(&self, steps: usize) -> Result<(Grid, bool), Box<dyn Error>> {
        let solver = DpmSolverPlusPlus::new();
        let search = SpacingSearch::new(&self.schedule, &solver, steps).with_evaluations(SEARCHED);
        let found = search.run(&self.known, &self.held_out)?;
        Ok((found.grid().clone(), found.accepted()))
    }

    /// The curves, and what the tables say of each point.
    fn curves(&self) -> Result<Vec<Curve>, Box<dyn Error>> {
        let mut curves = vec![Vec::new(); CURVES.len()];
        for budget in BUDGETS {
            let trailing = self.error(&Grid::trailing(&self.schedule, budget)?, false)?;
            let fixed = self.fixed(budget, false)?;
            let (grid, accepted) = self.search(budget)?;
            let taken = if accepted { "" } else { "refused" };
            let warm = self.fixed(budget, true)?;
            let points = [
                (trailing, String::new()),
                (fixed.0, fixed.1.to_owned()),
                (self.error(&grid, false)?, taken.to_owned()),
                (warm.0, warm.1.to_owned()),
            ];
            for (curve, point) in curves.iter_mut().zip(points) {
                curve.push(point);
            }
        }
        Ok(curves)
    }
}

/// The picture: a panel for each kind of data.
pub(crate) fn draw(file: &str) -> Result<(), Box<dyn Error>> {
    let mut canvas = Canvas::new(1480, 700, WHITE);
    let title = "Error of DPM++ 2M against evaluations: spacings, and a warm start from knot 600";
    canvas.text(740, 16, title, Text::new(2, INK).aligned(Align::Centre));
    let cells = Rect::new(16, 56, 1448, 560).split(2, 1, 24);
    let panels = [
        (Data::Gaussian, "Gaussian data, 64 directions"),
        (Data::Modes, "two modes at ±1, one dimension"),
    ];
    for ((data, name), cell) in panels.into_iter().zip(cells) {
        let curves = Bench::new(data)?.curves()?;
        let x =
            Axis::logarithmic("model evaluations", 3.7, 22.0).with_ticks(&[4.0, 6.0, 10.0, 20.0]);
        let y = Axis::logarithmic("W₂, % of the data's rms", 0.05, 100.0)
            .with_ticks(&[0.1, 1.0, 10.0, 100.0]);
        let axes = Axes::new(cell, name, x, y, 2)?;
        axes.draw(&mut canvas);
        for (index, curve) in curves.iter().enumerate() {
            let (stroke, marker) = look(index);
            let points = BUDGETS.iter().zip(curve);
            let points: Vec<_> = points.map(|(&at, point)| (at as f64, point.0)).collect();
            axes.line(&mut canvas, &points, stroke);
            axes.points(&mut canvas, &points, marker);
        }
        print(name, &curves);
    }
    let entries: Vec<Entry<'_>> = CURVES
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let (stroke, marker) = look(index);
            (Key::Both(stroke, marker), *name)
        })
        .collect();
    legend_row(&mut canvas, Rect::new(16, 640, 1448, 40), &entries, 2)?;
    canvas.save_png(output::path(file)?)
}

fn look(index: usize) -> (Stroke, Marker) {
    let (colour, shape) = match index {
        0 => (PALETTE[2], Shape::Disc),
        1 => (PALETTE[0], Shape::Square),
        2 => (PALETTE[1], Shape::Diamond),
        // The best fixed spacing's colour, with a ring.
        _ => (PALETTE[0], Shape::Ring),
    };
    (Stroke::new(colour, 2.0), Marker::new(shape, 6.0, colour))
}

fn print(name: &str, curves: &[Curve]) {
    println!("\nW2 in percent of the rms, DPM++ 2M, {name}");
    print!("{:24}", "evaluations");
    BUDGETS.iter().for_each(|budget| print!(" {budget:>20}"));
    println!();
    for (name, curve) in CURVES.iter().zip(curves) {
        print!("{name:24}");
        for (error, remark) in curve {
            print!(" {:>20}", format!("{error:.3} {remark}"));
        }
        println!();
    }
}
