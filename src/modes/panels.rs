//! Deterministic plans in one dimension: Gauss–Legendre panels of x_T that are halved where the map
//! to the result bends. Between well separated modes the map is nearly a step, which an even grid
//! would never resolve.

use super::REACH;
use super::mixture::Line;
use super::points::{Points, Source, normal};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::{self, Listed};
use crate::oracle::GaussianMixture;

/// Nodes of a panel.
pub(super) const NODES: usize = 16;
/// The panels of the first round: an odd number, so that symmetric data have no edge in the middle.
const PANELS: usize = 25;
/// A panel is halved at most this often.
const ROUNDS: usize = 44;
/// No more panels than these are looked at in one round.
const MOST: usize = 1 << 12;

/// Nodes, weights and the differentiation matrix of the Gauss–Legendre rule on \[−1, 1\].
#[derive(Clone, Debug)]
pub(super) struct Rule {
    nodes: [f64; NODES],
    weights: [f64; NODES],
    slopes: [[f64; NODES]; NODES],
}

impl Rule {
    /// Newton's method on Legendre's polynomial, from Tricomi's first guess.
    pub(super) fn new() -> Self {
        let n = NODES as f64;
        let (mut nodes, mut weights) = ([0.0; NODES], [0.0; NODES]);
        for (i, (node, weight)) in nodes.iter_mut().zip(&mut weights).enumerate() {
            let guess = std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5);
            let mut x = -libm::cos(guess);
            for _ in 0..20 {
                let (value, slope) = legendre(x);
                x -= value / slope;
            }
            let slope = legendre(x).1;
            (*node, *weight) = (x, 2.0 / ((1.0 - x * x) * slope * slope));
        }
        Self {
            slopes: differentiation(&nodes),
            nodes,
            weights,
        }
    }
}

/// P_n and its derivative.
fn legendre(x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=NODES {
        let k = k as f64;
        (before, value) = (
            value,
            ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k,
        );
    }
    (value, NODES as f64 * (x * value - before) / (x * x - 1.0))
}

/// The matrix that takes the values of a polynomial at the nodes to those of its derivative, in its
/// barycentric form; its rows sum to 0.
fn differentiation(nodes: &[f64; NODES]) -> [[f64; NODES]; NODES] {
    let weight = |i: usize| -> f64 {
        let others = nodes.iter().enumerate().filter(|(j, _)| *j != i);
        others.map(|(_, x)| 1.0 / (nodes[i] - x)).product()
    };
    let mut matrix = [[0.0; NODES]; NODES];
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            if i != j {
                *entry = weight(j) / weight(i) / (nodes[i] - nodes[j]);
            }
        }
        row[i] = -row.iter().sum::<f64>();
    }
    matrix
}

/// A panel of z = x_T/√v_T, and the results of its nodes.
#[derive(Clone, Debug)]
struct Panel {
    middle: f64,
    half: f64,
    x: [f64; NODES],
    sums: Vec<f64>,
}

/// What is integrated: the mean, the square, the masses, and the two distances' integrands.
struct Tests<'a> {
    truth: &'a GaussianMixture,
    level: NoiseLevel,
    line: Line,
    scale: f64,
    rule: Rule,
}

impl Tests<'_> {
    fn z(&self, panel: &Panel, node: usize) -> f64 {
        panel.middle + panel.half * self.rule.nodes[node]
    }

    fn integrate(&self, panel: &mut Panel) -> Result<(), Error> {
        let mut sums = memory::repeated(0.0, 4 + self.truth.weights().len())?;
        for (node, &x) in panel.x.iter().enumerate() {
            let z = self.z(panel, node);
            let weight = panel.half * self.rule.weights[node] * normal(z);
            let (below, above) = tails(z);
            let miss = (x - self.line.quantile(below, above, x)) / self.scale;
            let unit = x / self.scale;
            let values = [unit, unit * unit, miss.abs(), miss * miss];
            let shares = self.truth.responsibilities(&[x], &self.level)?;
            for (sum, value) in sums.iter_mut().zip(values.into_iter().chain(shares)) {
                *sum += weight * value;
            }
        }
        panel.sums = sums;
        Ok(())
    }

    /// The mass between neighbouring nodes that leap over a mode: its mean lies between their
    /// results, which are further apart than its deviation. Of what the mode holds there the
    /// integrals know nothing, whether they move or not.
    fn unseen(&self, pair: &[Panel]) -> f64 {
        let nodes = pair.iter();
        let nodes = nodes.flat_map(|p| (0..NODES).map(|node| (self.z(p, node), p.x[node])));
        let next = nodes.clone().skip(1);
        let leaps = nodes.zip(next).filter(|((_, a), (_, b))| {
            let (low, high) = (a.min(*b), a.max(*b));
            self.line.leaps(low, high)
        });
        leaps
            .map(|((a, _), (b, _))| (b - a) * normal(0.5 * (a + b)))
            .sum()
    }
}

/// (Φ(z), Φ(−z)).
pub(super) fn tails(z: f64) -> (f64, f64) {
    let tail = |z: f64| 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2);
    (tail(-z), tail(z))
}

/// Points of x_T and their results.
pub(super) struct Refined {
    pub(super) fine: Points,
    /// Those before the last halving of every panel.
    pub(super) coarse: Points,
    /// The sum of what the panels' integrals still moved by, and of what they cannot see.
    pub(super) error: f64,
}

/// The points of x_T and their results by `push`, refined until no panel's integrals move by more
/// than its share of the tolerance, and no mode is leapt over.
pub(super) fn refine<E: From<Error>>(
    deviation: f64,
    (truth, level): (&GaussianMixture, &NoiseLevel),
    tolerance: f64,
    mut push: impl FnMut(&[f64]) -> Result<Vec<f64>, E>,
) -> Result<Refined, E> {
    let line = Line::new(truth, level)?;
    let scale = line.root_mean_square();
    let tests = Tests {
        truth,
        level: *level,
        line,
        scale: if scale > 0.0 { scale } else { 1.0 },
        rule: Rule::new(),
    };
    let width = 2.0 * REACH / PANELS as f64;
    let mut active: Vec<Panel> = (0..PANELS)
        .map(|k| panel(-REACH + (k as f64 + 0.5) * width, 0.5 * width))
        .listed()?;
    fill(&mut active, deviation, &tests, &mut push)?;
    let (mut done, mut parents, mut error) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..ROUNDS {
        let mut halves: Vec<Panel> = active
            .iter()
            .flat_map(|p| [-0.5, 0.5].map(|side| panel(p.middle + side * p.half, 0.5 * p.half)))
            .listed()?;
        fill(&mut halves, deviation, &tests, &mut push)?;
        let last = round + 1 == ROUNDS || halves.len() > MOST;
        let mut kept = Vec::new();
        for (parent, pair) in active.iter().zip(halves.chunks_exact(2)) {
            let moved = moved(parent, pair).max(tests.unseen(pair));
            if moved <= tolerance / 64.0 || last {
                error += moved;
                memory::push(&mut parents, parent.clone())?;
                memory::extend(&mut done, pair.iter().cloned())?;
            } else {
                memory::extend(&mut kept, pair.iter().cloned())?;
            }
        }
        active = kept;
        if active.is_empty() {
            break;
        }
    }
    let points = |mut panels: Vec<Panel>| {
        // No two have one middle.
        panels.sort_unstable_by(|a, b| a.middle.total_cmp(&b.middle));
        collected(&panels, deviation, &tests)
    };
    Ok(Refined {
        fine: points(done)?,
        coarse: points(parents)?,
        error,
    })
}

fn panel(middle: f64, half: f64) -> Panel {
    Panel {
        middle,
        half,
        x: [0.0; NODES],
        sums: Vec::new(),
    }
}

/// The largest change of an integral when a panel is halved.
fn moved(parent: &Panel, pair: &[Panel]) -> f64 {
    let halves = pair[0].sums.iter().zip(&pair[1].sums);
    let changes = parent.sums.iter().zip(halves);
    changes.fold(0.0, |most: f64, (whole, (left, right))| {
        most.max((whole - (left + right)).abs())
    })
}

/// Runs all nodes of these panels at once, and integrates.
fn fill<E: From<Error>>(
    panels: &mut [Panel],
    deviation: f64,
    tests: &Tests<'_>,
    push: &mut impl FnMut(&[f64]) -> Result<Vec<f64>, E>,
) -> Result<(), E> {
    let mut starts = memory::reserve(&[panels.len() * NODES])?;
    for panel in panels.iter() {
        starts.extend((0..NODES).map(|node| deviation * tests.z(panel, node)));
    }
    let ends = push(&starts)?;
    for (panel, x) in panels.iter_mut().zip(ends.chunks_exact(NODES)) {
        panel.x.copy_from_slice(x);
        tests.integrate(panel)?;
    }
    Ok(())
}

/// All nodes in order, with the map's slope dx/dx_T at each.
fn collected(panels: &[Panel], deviation: f64, tests: &Tests<'_>) -> Result<Points, Error> {
    let count = panels.len() * NODES;
    let mut x = memory::zeros(ndarray::Dim([count, 1]))?;
    let mut weights = memory::reserve(&[count])?;
    let (mut z, mut slopes) = (memory::reserve(&[count])?, memory::reserve(&[count])?);
    for panel in panels {
        for node in 0..NODES {
            let at = tests.z(panel, node);
            x[[weights.len(), 0]] = panel.x[node];
            weights.push(panel.half * tests.rule.weights[node] * normal(at));
            z.push(at);
            // Of the differences to the node itself: beside a large x the slope keeps its digits.
            let row = tests.rule.slopes[node].iter().zip(&panel.x);
            let slope: f64 = row.map(|(c, x)| c * (x - panel.x[node])).sum();
            slopes.push(slope / (panel.half * deviation));
        }
    }
    Ok(Points {
        x,
        weights,
        source: Source::Panels {
            z,
            slopes,
            deviation,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{NODES, Rule};

    #[test]
    fn the_rule_integrates_and_differentiates_polynomials() {
        let rule = Rule::new();
        for k in 0..2 * NODES {
            let pairs = rule.nodes.iter().zip(&rule.weights);
            let sum: f64 = pairs.map(|(x, w)| w * x.powi(k as i32)).sum();
            let exact = if k % 2 == 0 {
                2.0 / (k + 1) as f64
            } else {
                0.0
            };
            assert!((sum - exact).abs() < 1e-14, "{k}: {sum}");
        }
        for (row, x) in rule.slopes.iter().zip(rule.nodes) {
            let slope: f64 = row.iter().zip(rule.nodes).map(|(c, y)| c * y.powi(9)).sum();
            assert!((slope - 9.0 * x.powi(8)).abs() < 1e-12);
        }
    }
}
