//! The update by all threads of a pool against one thread.
//!
//! One thread is a pool of one, which keeps to the sequential path; the others are called from outside their pool, as a
//! program without rayon of its own would, and from inside. Calls alternate and their order flips each time. Printed are
//! the median, p10 and p90 of one thread ÷ threads, and the fastest call ÷ the fastest call, which is what an idle machine
//! would show. The exit status is 1 if threads give other bits. There is no gate on speed: where others use the cores,
//! threads gain nothing.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use diffusion_sampler::{
    Error, KeyedNoise,
    kernel::linear_combination,
    posterior::{Kappa, StridedPosterior},
    schedule::{NoiseSchedule, RectifiedFlow},
};
use ndarray::Array2;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

const SAMPLES: usize = 4;

const SIZES: [(&str, usize); 7] = [
    ("64 Ki", 64 << 10),
    ("128 Ki", 128 << 10),
    ("256 Ki", 256 << 10),
    ("512 Ki", 512 << 10),
    ("1 Mi", 1 << 20),
    ("4 Mi", 4 << 20),
    ("16 Mi", 16 << 20),
];

/// x ← x/2 + e/2 without noise; x ← c_t·x + c_0·e + γ·z, the ancestral step, with.
fn update(
    step: Option<&StridedPosterior>,
    x: &mut Array2<f32>,
    e: &Array2<f32>,
) -> Result<(), Error> {
    match step {
        None => linear_combination(x, 0.5, &[(0.5, e)]),
        Some(step) => step.sample_in_place(x, e, &mut KeyedNoise::new(1), 0),
    }
}

struct Pools {
    one: ThreadPool,
    all: ThreadPool,
}

/// One thread ÷ threads, called from outside and from inside: median, p10 and p90, and fastest ÷ fastest; and the
/// fastest time of one thread per element in ns.
struct Measured {
    outside: [f64; 4],
    inside: [f64; 4],
    one: f64,
}

fn fastest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn ratios(ones: &[f64], others: &[f64]) -> [f64; 4] {
    let mut ratios: Vec<f64> = ones.iter().zip(others).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    let quantile = |q: f64| ratios[((ratios.len() - 1) as f64 * q).round() as usize];
    [
        quantile(0.5),
        quantile(0.1),
        quantile(0.9),
        fastest(ones) / fastest(others),
    ]
}

fn measure(pools: &Pools, step: Option<&StridedPosterior>, len: usize) -> Result<Measured, Error> {
    let mut x = Array2::from_shape_fn((SAMPLES, len / SAMPLES), |(i, j)| {
        ((i * 7 + j) % 97) as f32 - 48.0
    });
    let e = x.clone();
    let mut time = || -> Result<f64, Error> {
        let start = Instant::now();
        update(step, black_box(&mut x), black_box(&e))?;
        Ok(start.elapsed().as_secs_f64())
    };
    time()?;
    let one = pools.one.install(&mut time)?;
    let rounds = ((0.8 / one) as usize).clamp(30, 2_000);
    let (mut outside, mut inside, mut ones) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // The one-thread call comes between the two others, and first as often as last.
        let (one, a, b) = if round % 2 == 0 {
            let a = time()?;
            let one = pools.one.install(&mut time)?;
            (one, a, pools.all.install(&mut time)?)
        } else {
            let b = pools.all.install(&mut time)?;
            let one = pools.one.install(&mut time)?;
            (one, time()?, b)
        };
        outside.push(a);
        inside.push(b);
        ones.push(one);
    }
    Ok(Measured {
        outside: ratios(&ones, &outside),
        inside: ratios(&ones, &inside),
        one: fastest(&ones) / len as f64 * 1e9,
    })
}

fn report(
    pools: &Pools,
    step: Option<&StridedPosterior>,
    (name, len): (&str, usize),
) -> Result<(), Error> {
    let Measured {
        outside,
        inside,
        one,
    } = measure(pools, step, len)?;
    let kind = if step.is_some() { "noisy" } else { "plain" };
    println!(
        "{kind} {name:>7}: from outside {:.2} (p10 {:.2}, p90 {:.2}; fastest {:.2}), from inside {:.2} (p10 {:.2}, \
         p90 {:.2}; fastest {:.2}); one thread {one:.3} ns an element",
        outside[0], outside[1], outside[2], outside[3], inside[0], inside[1], inside[2], inside[3]
    );
    Ok(())
}

/// Whether all threads give the bits of one.
fn same_bits(pools: &Pools, step: Option<&StridedPosterior>) -> Result<bool, Error> {
    let start = Array2::from_shape_fn((3, 700_001), |(i, j)| ((i * 7 + j) % 97) as f32 - 48.0);
    let run = |pool: &ThreadPool| {
        pool.install(|| {
            let mut x = start.clone();
            update(step, &mut x, &start).map(|()| x)
        })
    };
    Ok(run(&pools.one)? == run(&pools.all)?)
}

fn pools() -> Result<Pools, ThreadPoolBuildError> {
    Ok(Pools {
        one: ThreadPoolBuilder::new().num_threads(1).build()?,
        all: ThreadPoolBuilder::new().build()?,
    })
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let pools = pools()?;
    println!("{} threads", pools.all.current_num_threads());
    let flow = RectifiedFlow::new();
    let noisy = StridedPosterior::new(flow.level(0.6)?, flow.level(0.5)?, Kappa::Ddpm)?;
    let mut failed = false;
    for step in [None, Some(&noisy)] {
        if !same_bits(&pools, step)? {
            println!("threads give other bits");
            failed = true;
        }
        for size in SIZES {
            report(&pools, step, size)?;
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}
