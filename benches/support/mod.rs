//! Two pieces of code against each other on a noisy machine: short slices, taken in turn, in an order that flips.

pub(crate) mod limits;

use std::time::Instant;

/// What a comparison measured.
#[derive(Debug)]
pub(crate) struct Compared {
    /// Median, p10 and p90 of the time of the first ÷ the time of the second.
    pub(crate) ratio: [f64; 3],
    /// The median time of one call of each, in seconds.
    pub(crate) times: [f64; 2],
}

fn time(rounds: usize, call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        call();
    }
    start.elapsed().as_secs_f64() / rounds as f64
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

/// Measures both for about `seconds` altogether, in slices of at most 200 µs; a longer call is a slice of its own.
pub(crate) fn compare(seconds: f64, mut first: impl FnMut(), mut second: impl FnMut()) -> Compared {
    first();
    second();
    let longer = time(3, &mut first).max(time(3, &mut second));
    let rounds = ((150e-6 / longer) as usize).clamp(1, 10_000);
    let slices = ((seconds / (2.0 * longer * rounds as f64)) as usize).clamp(20, 4_000);
    let (mut ratios, mut firsts, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for slice in 0..slices {
        let (a, b) = if slice % 2 == 0 {
            let a = time(rounds, &mut first);
            (a, time(rounds, &mut second))
        } else {
            let b = time(rounds, &mut second);
            (time(rounds, &mut first), b)
        };
        ratios.push(a / b);
        firsts.push(a);
        seconds.push(b);
    }
    Compared {
        ratio: [0.5, 0.1, 0.9].map(|q| quantile(&mut ratios, q)),
        times: [quantile(&mut firsts, 0.5), quantile(&mut seconds, 0.5)],
    }
}
