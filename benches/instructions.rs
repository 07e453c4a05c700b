//! Instructions an element of the hot loops, counted by valgrind's callgrind: a guard against regressions that no noisy
//! machine can disturb. `cargo bench --bench instructions`; without valgrind it says so and passes.
//!
//! Each case runs itself under callgrind twice, with one and with five rounds; the difference is the loop's own count.

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use diffusion_sampler::{
    KeyedNoise,
    kernel::{SimdLevel, linear_combination, simd_level},
    noise::{NoiseKey, NoiseSource, Stream},
};
use ndarray::Array1;

const ELEMENTS: usize = 1 << 16;

/// A case's name, its loop, and the most instructions an element that pass: about a quarter above what was counted with
/// AVX2 when the case was written.
type Case = (&'static str, fn(usize), f64);

const CASES: [Case; 4] = [
    ("update of one input, f32", |rounds| update(rounds, 1), 0.9),
    (
        "guided update of two inputs, f32",
        |rounds| update(rounds, 2),
        1.2,
    ),
    ("normals, f32", normals::<f32>, 14.0),
    ("normals, f64", normals::<f64>, 34.0),
];

fn update(rounds: usize, inputs: usize) {
    let mut x = Array1::<f32>::from_elem(ELEMENTS, 0.5);
    let output = Array1::<f32>::from_elem(ELEMENTS, 0.25);
    let terms = [(0.4, &*output), (0.1, &*output)];
    for _ in 0..rounds {
        // Shapes agree and coefficients are finite: there is no error to report.
        let _ = linear_combination(black_box(&mut x), 0.5, &terms[..inputs]);
    }
}

fn normals<A: Default + Clone>(rounds: usize)
where
    KeyedNoise: NoiseSource<A>,
{
    let mut out = vec![A::default(); ELEMENTS];
    for step in 0..rounds {
        let key = NoiseKey::new(0, step as u32, Stream::User(0));
        KeyedNoise::new(1).fill(key, 0, black_box(&mut out));
    }
}

/// The instructions of this program when it runs one case, or `None` without valgrind.
fn count(case: usize, rounds: usize) -> Result<Option<u64>, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", &case.to_string(), &rounds.to_string()])
        .output();
    let Ok(output) = output else {
        return Ok(None);
    };
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report
        .lines()
        .find_map(|line| line.split("Collected :").nth(1))
        .ok_or_else(|| format!("callgrind counted nothing:\n{report}"))?;
    Ok(Some(collected.trim().parse()?))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, case, rounds] = arguments.as_slice()
        && mode == "run"
    {
        let (_, run, _) = CASES[case.parse::<usize>()?];
        run(rounds.parse()?);
        return Ok(ExitCode::SUCCESS);
    }
    if simd_level() == SimdLevel::Portable {
        println!("no AVX2 here, which the limits are for: nothing counted");
        return Ok(ExitCode::SUCCESS);
    }
    let mut passed = true;
    for (case, (name, _, limit)) in CASES.iter().enumerate() {
        let (Some(few), Some(many)) = (count(case, 1)?, count(case, 5)?) else {
            println!("valgrind is not here: nothing counted");
            return Ok(ExitCode::SUCCESS);
        };
        let each = (many - few) as f64 / (4 * ELEMENTS) as f64;
        let verdict = if each <= *limit { "passes" } else { "FAILS" };
        passed &= each <= *limit;
        println!("{name}: {each:.3} instructions an element, at most {limit} ({verdict})");
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
