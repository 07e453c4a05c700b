//! How far samplers miss their data at a given number of model evaluations: the figures and tables
//! of `docs/choosing.md`.
//!
//! `cargo run --release -p pictures --bin choosing [FOLDER]`

use std::error::Error;

use diffusion_sampler::{
    Grid, Sampler,
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule},
    solver::{Entry, Path, Solver, catalogue},
};
use pictures::canvas::{Align, Canvas, INK, Marker, PALETTE, Rect, Shape, Stroke, Text, WHITE};
use pictures::plot::{Axes, Axis, Entry as Legend, Key, legend_row};
use pictures::{miss, output};

type Refused = diffusion_sampler::Error;
type Spacing = (
    &'static str,
    fn(&dyn NoiseSchedule, usize) -> Result<Grid, Refused>,
);

/// Model evaluations that a run may spend.
const BUDGETS: [usize; 11] = [4, 5, 6, 8, 10, 14, 20, 30, 50, 70, 100];
/// Those of the tables.
const TABLE: [usize; 5] = [5, 10, 20, 50, 100];

/// One kind of checkpoint: its schedule, and the spacings to compare.
struct Kind {
    name: &'static str,
    schedule: Box<dyn NoiseSchedule>,
    spacings: &'static [Spacing],
    /// The solvers to compare on the first spacing: label, name in the catalogue.
    solvers: &'static [(&'static str, &'static str)],
}

const TABLE_SPACINGS: &[Spacing] = &[
    ("quadratic", |s, k| Grid::quadratic(s, k)),
    ("trailing", |s, k| Grid::trailing(s, k)),
    ("uniform λ", |s, k| {
        Grid::uniform_lambda(s, k, s.lambda_range())
    }),
    ("Karras", |s, k| Grid::karras(s, k, s.lambda_range(), 7.0)),
];

const FLOW_SPACINGS: &[Spacing] = &[
    ("trailing", |s, k| Grid::trailing(s, k)),
    ("quadratic", |s, k| Grid::quadratic(s, k)),
];

const TABLE_SOLVERS: &[(&str, &str)] = &[
    ("DDIM (Euler)", "DDIM"),
    ("DPM++ 2M", "DPM-Solver++(2M)"),
    ("Heun", "Heun"),
    ("DDPM", "DDPM"),
    ("DPM++ 2M SDE", "SDE-DPM-Solver++(2M)"),
];

const FLOW_SOLVERS: &[(&str, &str)] = TABLE_SOLVERS;

fn kinds() -> Result<[Kind; 2], Refused> {
    Ok([
        Kind {
            name: "table of betas",
            schedule: Box::new(TableSchedule::linear(1000, 1e-4, 0.02)?),
            spacings: TABLE_SPACINGS,
            solvers: TABLE_SOLVERS,
        },
        Kind {
            name: "flow, shift 3",
            schedule: Box::new(RectifiedFlow::shifted(3.0)?),
            spacings: FLOW_SPACINGS,
            solvers: FLOW_SOLVERS,
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
        spacing: &Spacing,
        solver: &dyn Solver,
        measure: Data,
    ) -> Result<Self, Box<dyn Error>> {
        let sampler = |steps: usize| -> Result<Option<Sampler>, Refused> {
            let grid = match (spacing.1)(&*kind.schedule, steps) {
                Err(Refused::StepCount { .. }) => return Ok(None),
                grid => grid?,
            };
            Sampler::along(&Path::new(&*kind.schedule, &grid)?, solver).map(Some)
        };
        let mut points = Vec::new();
        for budget in BUDGETS {
            let affordable = |steps: &usize| -> bool {
                let plan = sampler(*steps).ok().flatten();
                plan.is_some_and(|sampler| sampler.plan().evaluations() <= budget)
            };
            let Some(steps) = (1..=budget).rev().find(affordable) else {
                continue;
            };
            if let Some(sampler) = sampler(steps)? {
                let stochastic = sampler.plan().is_stochastic();
                if stochastic && measure.0 != DATA[0].0 {
                    continue;
                }
                points.push((budget, (measure.1)(&sampler)?));
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

fn entry(name: &str) -> Result<Entry, Box<dyn Error>> {
    let found = catalogue().into_iter().find(|entry| entry.name == name);
    found.ok_or_else(|| format!("no solver {name:?}").into())
}

/// Solvers on the first spacing of a kind.
fn solvers(kind: &Kind) -> Result<Vec<Panel>, Box<dyn Error>> {
    let panel = |data: Data| {
        let spacing = &kind.spacings[0];
        let curve = |&(label, name): &(&'static str, &str)| {
            Curve::measure(label, kind, spacing, &entry(name)?.solver, data)
        };
        let curves = kind.solvers.iter().map(curve).collect::<Result<_, _>>()?;
        Ok((format!("{}: {}, {}", data.0, kind.name, spacing.0), curves))
    };
    DATA.into_iter().map(panel).collect()
}

/// One solver on all spacings of a kind.
fn spacings(kind: &Kind) -> Result<Vec<Panel>, Box<dyn Error>> {
    let panel = |data: Data| {
        let solver = entry("DPM-Solver++(2M)")?.solver;
        let curve = |spacing: &Spacing| Curve::measure(spacing.0, kind, spacing, &solver, data);
        let curves = kind.spacings.iter().map(curve).collect::<Result<_, _>>()?;
        Ok((format!("{}: {}, DPM++ 2M", data.0, kind.name), curves))
    };
    DATA.into_iter().map(panel).collect()
}

fn look(index: usize) -> (Stroke, Marker) {
    const SHAPES: [Shape; 4] = [Shape::Disc, Shape::Square, Shape::Diamond, Shape::Ring];
    let colour = PALETTE[index % PALETTE.len()];
    let shape = SHAPES[(index / PALETTE.len() + index) % SHAPES.len()];
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
    let rows = kinds.iter().map(solvers).collect::<Result<Vec<_>, _>>()?;
    rows.iter().flatten().for_each(print);
    draw("Solvers: error by evaluations", &rows, "solvers.png")?;
    let rows = kinds.iter().map(spacings).collect::<Result<Vec<_>, _>>()?;
    rows.iter().flatten().for_each(print);
    draw("Spacings: error by evaluations", &rows, "spacings.png")
}
