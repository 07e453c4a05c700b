//! The cost of every edge, and the cheapest paths over them.

use std::error::Error;

use diffusion_sampler::likelihood::{Decoder, EdgeCosts, EdgeVariance};
use diffusion_sampler::posterior::{DataErrors, Kappa, ReverseVariance};
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::{Error as Refused, Grid, oracle::Gaussian};
use ndarray::Array2;
use pictures::canvas::{Align, Canvas, INK, Marker, Rect, Shape, Stroke, Text, WHITE};
use pictures::colour_scale::ColourScale;
use pictures::plot::{Axes, Axis, Entry, Key, legend_row};
use pictures::{miss, output};

/// Knots of the table.
pub(crate) const KNOTS: usize = 1000;

/// Edges of the paths that are drawn, with their looks.
const PATHS: [(usize, Shape); 2] = [(5, Shape::Disc), (10, Shape::Ring)];

/// The two choices of the reverse variance v_p.
pub(crate) const NAMES: [&str; 2] = ["v_p = γ²", "best v_p"];

/// The edge matrices of the spectrum that `docs/choosing.md` uses, for both v_p.
pub(crate) struct Strides {
    pub(crate) data: Gaussian,
    pub(crate) costs: [EdgeCosts; 2],
}

impl Strides {
    pub(crate) fn new() -> Result<Self, Refused> {
        let schedule = TableSchedule::linear(KNOTS, 1e-4, 0.02)?;
        let grid = Grid::trailing(&schedule, KNOTS)?;
        let data = miss::spectrum()?;
        let errors = DataErrors::of_gaussian(&data, &grid)?;
        let costs = |variance| {
            let decoder = Decoder::GaussianOptimal;
            EdgeCosts::new(&grid, Kappa::Ddpm, variance, &errors, decoder)
        };
        Ok(Self {
            costs: [
                costs(EdgeVariance::Policy(ReverseVariance::Posterior))?,
                costs(EdgeVariance::Optimal)?,
            ],
            data,
        })
    }
}

/// The knot, counted from the clean end, of a level of the matrix.
fn knot(level: usize) -> f64 {
    (KNOTS - level) as f64
}

/// The picture: a matrix for each v_p, and a colour bar.
pub(crate) fn draw(strides: &Strides, file: &str) -> Result<(), Box<dyn Error>> {
    let scale = ColourScale::logarithmic(1e-4, 10.0);
    let mut canvas = Canvas::new(1480, 780, WHITE);
    let title = "Cost of each edge from knot t to knot s, and the cheapest paths from 1000 to 0";
    let style = Text::new(2, INK).aligned(Align::Centre);
    canvas.text(740, 16, title, style);
    let cells = Rect::new(16, 56, 1290, 660).split(2, 1, 24);
    for ((costs, name), cell) in strides.costs.iter().zip(NAMES).zip(cells) {
        // Room for the marks of edges from the last knot and onto the first.
        let x = Axis::linear("time from, t", -25.0, KNOTS as f64 + 25.0);
        let y = Axis::linear("time to, s", -25.0, KNOTS as f64 + 25.0);
        let axes = Axes::equal(cell, name, x, y, 2)?;
        axes.draw(&mut canvas);
        // Row s, column t; the middle of a cell stands for its knots.
        let table = Array2::from_shape_fn((KNOTS, KNOTS), |(s, t)| {
            let edge = costs.edge(KNOTS - 1 - t, KNOTS - 1 - s);
            edge.map_or(f64::NAN, |nats| {
                nats / strides.data.variances().len() as f64
            })
        });
        scale.fill(&mut canvas, square(&axes), table.view());
        let search = costs.cheapest_from(0, PATHS[PATHS.len() - 1].0)?;
        for (edges, shape) in PATHS {
            path(&axes, &mut canvas, &search.path(edges)?, shape);
        }
    }
    scale.bar(
        &mut canvas,
        Rect::new(1322, 95, 142, 552),
        "nats a dimension",
        2,
    )?;
    let entries: Vec<Entry<'_>> = PATHS
        .iter()
        .zip(["cheapest path of 5 edges", "of 10 edges"])
        .map(|((_, shape), name)| {
            let key = Key::Both(Stroke::new(INK, 1.0), Marker::new(*shape, 5.0, INK));
            (key, name)
        })
        .collect();
    legend_row(&mut canvas, Rect::new(16, 732, 1290, 36), &entries, 2)?;
    canvas.save_png(output::path(file)?)?;
    print(strides)
}

/// Where the knots from 0 to the last lie.
fn square(axes: &Axes) -> Rect {
    let (low, high) = (
        axes.place((0.0, 0.0)),
        axes.place((KNOTS as f64, KNOTS as f64)),
    );
    let whole = |value: f64| value.round() as i32;
    let (left, top) = (whole(low.0), whole(high.1));
    Rect::new(left, top, whole(high.0) - left, whole(low.1) - top)
}

/// A path: its edges as marks, joined by way of the diagonal, where each edge begins at the knot at
/// which the one before it ends.
fn path(axes: &Axes, canvas: &mut Canvas, levels: &[usize], shape: Shape) {
    let knots: Vec<f64> = levels
        .iter()
        .map(|&level| knot(level))
        .chain([0.0])
        .collect();
    let edges: Vec<(f64, f64)> = knots.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let stairs: Vec<(f64, f64)> = edges
        .iter()
        .flat_map(|&(from, to)| [(from, from), (from, to), (to, to)])
        .collect();
    for (colour, width) in [(WHITE, 3.0), (INK, 1.0)] {
        axes.line(canvas, &stairs, Stroke::new(colour, width));
    }
    for (colour, radius) in [(WHITE, 6.5), (INK, 5.0)] {
        axes.points(canvas, &edges, Marker::new(shape, radius, colour));
    }
}

fn print(strides: &Strides) -> Result<(), Box<dyn Error>> {
    println!("Cheapest paths, knots from 1000 down to the one before 0");
    for (costs, name) in strides.costs.iter().zip(NAMES) {
        let search = costs.cheapest_from(0, PATHS[PATHS.len() - 1].0)?;
        for (edges, _) in PATHS {
            let levels = search.path(edges)?;
            let knots: Vec<String> = levels
                .iter()
                .map(|&level| knot(level).to_string())
                .collect();
            println!("{name:10} {edges:2} edges: {}", knots.join(" "));
        }
    }
    println!();
    Ok(())
}
