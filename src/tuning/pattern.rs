//! A search for the least value of a function of ordered knots, without derivatives.

/// How far a knot may come to its neighbours, relative to the reach.
pub(super) const CLOSE: f64 = 1e-4;
/// Steps below this share of the reach end the search.
const FINE: f64 = 2e-5;
const GROW: f64 = 1.6;
const SHRINK: f64 = 0.5;

/// Knots in 0..=1, strictly increasing, and the value there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) knots: Vec<f64>,
    pub(super) value: f64,
}

/// Improves `found` by at most `evaluations` calls of `value`, which gives `None` for knots that are
/// not allowed. Returns how many calls it made.
///
/// The pattern search of Hooke and Jeeves 1961, "“Direct Search” Solution of Numerical and
/// Statistical Problems", on two kinds of moves: of one knot, and of all knots from one on. Each
/// move has a step of its own, which grows where it succeeds and halves where it fails; after every
/// sweep the whole displacement is tried once more. The knots keep their order. The same bits every
/// time.
pub(super) fn improve(
    found: &mut Found,
    evaluations: usize,
    mut value: impl FnMut(&[f64], f64) -> Option<f64>,
) -> usize {
    let count = found.knots.len();
    let mut moves = Moves::new(count);
    let mut left = evaluations;
    let mut attempt = |found: &mut Found, knots: Vec<f64>, left: &mut usize| {
        if *left == 0 || !ordered(&knots) {
            return false;
        }
        *left -= 1;
        match value(&knots, found.value) {
            Some(value) if value < found.value => {
                *found = Found { knots, value };
                true
            }
            _ => false,
        }
    };
    while left > 0 && moves.steps.iter().any(|step| step.abs() > FINE) {
        let before = found.knots.clone();
        for index in 0..moves.steps.len() {
            let step = moves.steps[index];
            if step.abs() <= FINE {
                continue;
            }
            let forward = moves.moved(&found.knots, index, step);
            let backward = moves.moved(&found.knots, index, -step);
            moves.steps[index] = if attempt(found, forward, &mut left) {
                step * GROW
            } else if attempt(found, backward, &mut left) {
                -step * GROW
            } else {
                step * SHRINK
            };
        }
        if before != found.knots {
            let onward = found.knots.iter().zip(&before);
            let onward = onward.map(|(now, before)| now + (now - before)).collect();
            attempt(found, onward, &mut left);
        }
    }
    evaluations - left
}

/// The moves: knot i alone, then all from knot i on.
struct Moves {
    count: usize,
    steps: Vec<f64>,
}

impl Moves {
    fn new(count: usize) -> Self {
        // Moving all from the last one on is moving the last one.
        let moves = (2 * count).saturating_sub(1);
        Self {
            count,
            steps: vec![0.25 / (count + 1) as f64; moves],
        }
    }

    fn moved(&self, knots: &[f64], index: usize, step: f64) -> Vec<f64> {
        let mut knots = knots.to_vec();
        match index.checked_sub(self.count) {
            None => knots[index] += step,
            Some(first) => knots[first..].iter_mut().for_each(|knot| *knot += step),
        }
        knots
    }
}

fn ordered(knots: &[f64]) -> bool {
    let first = knots.first().is_none_or(|first| *first >= CLOSE);
    let last = knots.last().is_none_or(|last| *last <= 1.0);
    first && last && knots.windows(2).all(|pair| pair[1] - pair[0] >= CLOSE)
}

/// The nearest knots that are in order and within 0..=1.
pub(super) fn put_in_order(knots: &mut [f64]) {
    knots.sort_by(f64::total_cmp);
    // Twice the least distance: a sum that is rounded down is in order still.
    let mut least = CLOSE;
    for knot in knots.iter_mut() {
        *knot = knot.max(least);
        least = *knot + 2.0 * CLOSE;
    }
    let mut most = 1.0;
    for knot in knots.iter_mut().rev() {
        *knot = knot.min(most);
        most = *knot - 2.0 * CLOSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_valley_is_followed_to_its_minimum() {
        // A valley ten times as long as wide, across all knots.
        let target = [0.2, 0.3, 0.55, 0.8];
        let square = |knots: &[f64], _| {
            let d: Vec<f64> = knots.iter().zip(&target).map(|(k, t)| k - t).collect();
            let sum: f64 = d.iter().sum();
            Some(d.iter().map(|d| d * d).sum::<f64>() + 100.0 * sum * sum)
        };
        let mut found = Found {
            knots: vec![0.1, 0.2, 0.3, 0.4],
            value: f64::INFINITY,
        };
        found.value = square(&found.knots, 0.0).unwrap_or(f64::NAN);
        let start = found.value;
        let used = improve(&mut found, 4000, square);
        assert!(used < 4000, "it ends by itself");
        assert!(found.value < 1e-6 * start, "{found:?}");
        for (knot, target) in found.knots.iter().zip(&target) {
            // Within the valley a step of one knot that is FINE gains only from 50 FINE away on.
            assert!((knot - target).abs() < 200.0 * FINE, "{:?}", found.knots);
        }
    }

    #[test]
    fn the_number_of_calls_is_bounded_and_knots_keep_their_order() {
        let mut calls = 0;
        let mut found = Found {
            knots: vec![0.3, 0.6],
            value: 10.0,
        };
        let used = improve(&mut found, 37, |knots, _| {
            calls += 1;
            assert!(ordered(knots));
            Some(-knots[0] - knots[1])
        });
        assert_eq!((used, calls), (37, 37));
        let mut knots = [1.4, -0.2, 0.5, 0.5];
        put_in_order(&mut knots);
        assert!(ordered(&knots), "{knots:?}");
    }
}
