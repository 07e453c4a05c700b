//! The gap of the likelihood bound to the entropy, against the number of edges.

use std::error::Error;

use diffusion_sampler::likelihood::EdgeCosts;
use pictures::canvas::{Canvas, Marker, PALETTE, Rect, Shape, Stroke, WHITE};
use pictures::output;
use pictures::plot::{Axes, Axis, Corner, Entry, Key};

use crate::edges::{KNOTS, NAMES, Strides};

/// Numbers of edges of the table that is printed.
const TABLE: [usize; 7] = [5, 10, 20, 50, 100, 500, 1000];

/// One curve: (edges, gap in nats a dimension).
type Curve = Vec<(usize, f64)>;

/// Even strides: as many edges as divide the table evenly.
fn uniform(costs: &EdgeCosts, entropy: f64) -> Result<Curve, Box<dyn Error>> {
    let mut curve = Vec::new();
    for edges in (1..=KNOTS).filter(|edges| KNOTS.is_multiple_of(*edges)) {
        let path: Vec<usize> = (0..edges).map(|edge| edge * KNOTS / edges).collect();
        let bound = costs.bound(&path)?;
        curve.push((edges, bound.nats() / bound.dim as f64 - entropy));
    }
    Ok(curve)
}

/// The cheapest strides, for every number of edges.
fn cheapest(costs: &EdgeCosts, entropy: f64) -> Result<Curve, Box<dyn Error>> {
    let strides = costs.cheapest()?;
    let gap = |edges| {
        let bound = strides.bound(edges)?;
        Ok((edges, bound.nats() / bound.dim as f64 - entropy))
    };
    (1..=KNOTS).map(gap).collect()
}

/// The picture: uniform and cheapest strides, both v_p.
pub(crate) fn draw(strides: &Strides, file: &str) -> Result<(), Box<dyn Error>> {
    let variances = strides.data.variances();
    let logs = variances
        .iter()
        .map(|v| (2.0 * std::f64::consts::PI * v).ln() + 1.0);
    let entropy = 0.5 * logs.sum::<f64>() / variances.len() as f64;
    let mut curves = Vec::new();
    for (costs, name) in strides.costs.iter().zip(NAMES) {
        curves.push((format!("uniform, {name}"), uniform(costs, entropy)?));
        curves.push((format!("cheapest, {name}"), cheapest(costs, entropy)?));
    }
    let mut canvas = Canvas::new(1100, 720, WHITE);
    let x = Axis::logarithmic("edges K", 0.9, 1100.0).with_ticks(&[1.0, 10.0, 100.0, 1000.0]);
    let y = Axis::logarithmic("bound − entropy, nats a dimension", 8e-4, 3.0);
    let title = "Gap of the likelihood bound against the number of edges";
    let axes = Axes::new(Rect::new(16, 16, 1068, 688), title, x, y, 2)?;
    axes.draw(&mut canvas);
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (index, (name, curve)) in curves.iter().enumerate() {
        // A colour for each v_p; marks for uniform strides, lines alone for the cheapest.
        let colour = PALETTE[index / 2];
        let points: Vec<_> = curve.iter().map(|&(k, gap)| (k as f64, gap)).collect();
        let stroke = Stroke::new(colour, 2.0);
        axes.line(&mut canvas, &points, stroke);
        if index % 2 == 0 {
            let marker = Marker::new(Shape::Disc, 5.0, colour);
            axes.points(&mut canvas, &points, marker);
            entries.push((Key::Both(stroke, marker), name));
        } else {
            entries.push((Key::Line(stroke), name));
        }
    }
    axes.legend(&mut canvas, Corner::LowerLeft, &entries)?;
    canvas.save_png(output::path(file)?)?;
    print(&curves, entropy);
    Ok(())
}

fn print(curves: &[(String, Curve)], entropy: f64) {
    println!("Bound − entropy ({entropy:.6}), nats a dimension, by the number of edges");
    print!("{:20}", "");
    TABLE.iter().for_each(|edges| print!(" {edges:>8}"));
    println!();
    for (name, curve) in curves {
        print!("{name:20}");
        for edges in TABLE {
            match curve.iter().find(|(at, _)| *at == edges) {
                Some((_, gap)) => print!(" {gap:8.5}"),
                None => print!(" {:>8}", "–"),
            }
        }
        println!();
    }
}
