//! How far samplers miss their data at a given number of model evaluations: the figures and tables
//! of `docs/choosing.md`.
//!
//! `cargo run --release -p pictures --bin choosing [FOLDER]`

use std::error::Error;

use diffusion_sampler::{
    Error as Refused, Sampler,
    grid::Spacing,
    registry,
    schedule::{Edm, NoiseSchedule, RectifiedFlow, TableSchedule},
    solver::{Path, Solver},
};
use pictures::canvas::{Align, Canvas, INK, Marker, PALETTE, Rect, Shape, Stroke, Text, WHITE};
use pictures::plot::{Axes, Axis, Entry as Legend, Key, legend_row};
use pictures::{miss, output};

/// Model evaluations that a run may spend.
const BUDGETS: [usize; 11] = [4, 5, 6, 8, 10, 14, 20, 30, 50, 70, 100];
/// Those of the tables.
const TABLE: [usize; 5] = [5, 10, 20, 50, 100];

/// One kind of checkpoint: its schedule, and the spacings to compare.
struct Kind {
    name: &'static str,
    schedule: Box<dyn NoiseSchedule>,
    spacings: &'static [&'static str],
}

/// Names as the registry knows them.
const DETERMINISTIC: [&str; 8] = [
    "Euler", "DPM++ 2M", "DPM++ 3M", "UniPC", "DEIS", "iPNDM", "Heun", "DPM++ 2S",
];
const STOCHASTIC: [&str; 8] = [
    "Euler a",
    "DPM++ 2M SDE",
    "DPM++ 3M SDE",
    "SA-Solver",
    "ER-SDE",
    "DPM++ SDE",
    "SEEDS-2",
    "SEEDS-3",
];
const SPACING_SOLVER: &str = "DPM++ 2M";

fn kinds() -> Result<[Kind; 3], Refused> {
    Ok([
        Kind {
            name: "table of betas",
            schedule: Box::new(TableSchedule::linear(1000, 1e-4, 0.02)?),
            spacings: &[
                "quadratic",
                "trailing",
                "leading",
                "uniform_lambda",
                "karras",
                "normal",
                "beta",
                "kl_optimal",
            ],
        },
        Kind {
            name: "flow, shift 3",
            schedule: Box::new(RectifiedFlow::shifted(3.0)?),
            spacings: &[
                "trailing",
                "quadratic",
                "normal",
                "beta",
                "linear_quadratic",
                "sway",
                "bong_tangent",
            ],
        },
        Kind {
            name: "EDM",
            schedule: Box::new(Edm::default()),
            spacings: &[
                "karras",
                "uniform_lambda",
                "beta_sigmas",
                "kl_optimal",
                "iddpm",
            ],
        },
    ])
}

/// The data that are sampled: a name and the measure of the miss.
type Data = (&'static str, fn(&Sampler) -> Result<f64, Box<dyn Error>>);
const DATA: [Data; 2] = [
    ("Gaussian data", miss::gaussian),
    ("two modes", miss::two_modes),
];

/// One curve: its name, and (evaluations, miss) where it could be measured.
struct Curve {
    name: &'static str,
    points: Vec<(usize, f64)>,
}

impl Curve {
    /// The miss at each budget, by as many steps as the budget pays for.
    fn measure(
        name: &'static str,
        kind: &Kind,
        spacing: Spacing,
        solver: &dyn Solver,
        measure: Data,
    ) -> Result<Self, Box<dyn Error>> {
        let sampler = |steps: usize| -> Result<Option<Sampler>, Refused> {
            let grid = match spacing.grid(&*kind.schedule, steps) {
                // Spacings that have no grid of so few or so many steps.
                Err(Refused::StepCount { .. } | Refused::NoiseNotDecreasing { .. }) => {
                    return Ok(None);
                }
                grid => grid?,
            };
            Sampler::along(&Path::new(&*kind.schedule, &grid)?, solver).map(Some)
        };
        let mut points = Vec::new();
        for budget in BUDGETS {
            for steps in (1..=budget).rev() {
                let Some(sampler) = sampler(steps)? else {
                    continue;
                };
                if sampler.plan().evaluations() > budget {
                    continue;
                }
                points.push((budget, (measure.1)(&sampler)?));
                break;
            }
        }
        Ok(Self { name, points })
    }

    fn at(&self, budget: usize) -> Option<f64> {
        let found = self.points.iter().find(|(at, _)| *at == budget);
        found.map(|(_, miss)| *miss)
    }
}

/// A panel's title and its curves.
type Panel = (String, Vec<Curve>);

/// Solvers on one spacing of a kind.
fn solvers(
    kind: &Kind,
    spacing: &str,
    names: &[&'static str],
    data: Data,
) -> Result<Panel, Box<dyn Error>> {
    let curve = |&name: &&'static str| {
        let solver = registry::sampler(name)?.solver;
        Curve::measure(name, kind, Spacing::named(spacing)?, &solver, data)
    };
    let curves = names.iter().map(curve).collect::<Result<_, _>>()?;
    Ok((format!("{}: {}, {spacing}", data.0, kind.name), curves))
}

/// One solver on all spacings of a kind.
fn spacings(kind: &Kind, data: Data) -> Result<Panel, Box<dyn Error>> {
    let solver = registry::sampler(SPACING_SOLVER)?.solver;
    let curve =
        |&name: &&'static str| Curve::measure(name, kind, Spacing::named(name)?, &solver, data);
    let curves = kind.spacings.iter().map(curve).collect::<Result<_, _>>()?;
    Ok((
        format!("{}: {}, {SPACING_SOLVER}", data.0, kind.name),
        curves,
    ))
}

fn look(index: usize) -> (Stroke, Marker) {
    const SHAPES: [Shape; 4] = [Shape::Disc, Shape::Square, Shape::Diamond, Shape::Ring];
    let colour = PALETTE[index % PALETTE.len()];
    // A colour that comes again is a ring.
    let shape = if index < PALETTE.len() {
        SHAPES[index % 3]
    } else {
        SHAPES[3]
    };
    (Stroke::new(colour, 2.0), Marker::new(shape, 5.0, colour))
}

/// Two panels beside each other a row, and a legend below each row.
fn draw(title: &str, rows: &[Vec<Panel>], file: &str) -> Result<(), Box<dyn Error>> {
    const ROW: i32 = 560;
    let mut canvas = Canvas::new(1480, 64 + ROW * rows.len() as i32, WHITE);
    let style = Text::new(3, INK).aligned(Align::Centre);
    canvas.text(740, 16, title, style);
    for (index, panels) in rows.iter().enumerate() {
        let top = 60 + ROW * index as i32;
        let cells = Rect::new(16, top, 1448, ROW - 90).split(2, 1, 24);
        for ((title, curves), cell) in panels.iter().zip(cells) {
            let x = Axis::logarithmic("model evaluations", 3.7, 110.0)
                .with_ticks(&[4.0, 6.0, 10.0, 20.0, 50.0, 100.0]);
            let y = Axis::logarithmic("miss, % of the data's rms", 0.008, 150.0)
                .with_ticks(&[0.01, 0.1, 1.0, 10.0, 100.0]);
            let axes = Axes::new(cell, title, x, y, 2)?;
            axes.draw(&mut canvas);
            for (index, curve) in curves.iter().enumerate() {
                let (stroke, marker) = look(index);
                let inside = |&(at, miss): &(usize, f64)| (at as f64, miss.clamp(1e-6, 1e6));
                let points: Vec<_> = curve.points.iter().map(inside).collect();
                axes.line(&mut canvas, &points, stroke);
                axes.points(&mut canvas, &points, marker);
            }
        }
        let names = panels[0].1.iter().enumerate().map(|(index, curve)| {
            let (stroke, marker) = look(index);
            (Key::Both(stroke, marker), curve.name)
        });
        let names: Vec<Legend<'_>> = names.collect();
        // Two lines where one does not hold all names.
        let per_line = if names.len() > 7 {
            names.len().div_ceil(2)
        } else {
            names.len().max(1)
        };
        for (line, names) in names.chunks(per_line).enumerate() {
            let area = Rect::new(16, top + ROW - 84 + 28 * line as i32, 1448, 28);
            legend_row(&mut canvas, area, names, 2)?;
        }
    }
    canvas.save_png(output::path(file)?)
}

/// A table of one panel.
fn print((title, curves): &Panel) {
    print!("\n**{title}**\n\n| |");
    TABLE.iter().for_each(|budget| print!(" {budget} |"));
    println!("\n|---|{}", "--:|".repeat(TABLE.len()));
    for curve in curves {
        print!("| {} |", curve.name);
        for budget in TABLE {
            match curve.at(budget) {
                Some(miss) => print!(" {miss:.*} |", usize::from(miss < 100.0) * 2),
                None => print!(" – |"),
            }
        }
        println!();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let kinds = kinds()?;
    let both = |panel: &dyn Fn(Data) -> Result<Panel, Box<dyn Error>>| {
        DATA.into_iter().map(panel).collect::<Result<Vec<_>, _>>()
    };
    let figure = |title: &str, rows: Vec<Vec<Panel>>, file: &str| {
        println!("\n## {title}");
        rows.iter().flatten().for_each(print);
        draw(title, &rows, file)
    };
    let [table, flow, edm] = &kinds;
    let places = [
        (table, "quadratic"),
        (flow, "trailing"),
        (flow, "quadratic"),
    ];
    let rows =
        places.map(|(kind, spacing)| both(&|data| solvers(kind, spacing, &DETERMINISTIC, data)));
    let rows = rows.into_iter().collect::<Result<_, _>>()?;
    figure("Deterministic solvers", rows, "solvers.png")?;
    let rows = ["karras", "uniform_lambda"]
        .map(|spacing| both(&|data| solvers(edm, spacing, &DETERMINISTIC, data)));
    let rows = rows.into_iter().collect::<Result<_, _>>()?;
    figure("Deterministic solvers on EDM", rows, "solvers-edm.png")?;
    let noisy =
        [places[0], places[2]].map(|(kind, spacing)| solvers(kind, spacing, &STOCHASTIC, DATA[0]));
    let noisy = noisy.into_iter().collect::<Result<_, _>>()?;
    figure("Stochastic solvers", vec![noisy], "noise.png")?;
    let rows = kinds.iter().map(|kind| both(&|data| spacings(kind, data)));
    figure("Spacings", rows.collect::<Result<_, _>>()?, "spacings.png")
}
