//! Instructions an element of the hot loops, counted by valgrind's callgrind: a guard against regressions that no noisy
//! machine can disturb. Every arity of the update with a loop of its own and the first without, with and without a
//! second array and a clip, in f32 and f64, and with a model's halves; every reduction that guidance reads; the
//! conversions; the normals; and whole small calls.
//!
//! `cargo bench --bench instructions --features half`; without valgrind or AVX2 it says so and passes. `-- --write` writes the
//! limits anew, a quarter above what was counted: only for a change that is meant to cost what it costs.
//!
//! The program runs itself under callgrind, once. A call of `mark` before and after each case ends callgrind's count and
//! begins the next.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

#[cfg(feature = "half")]
use diffusion_sampler::kernel::{narrow, widen};
use diffusion_sampler::{
    KeyedNoise, ModelElement, Real,
    kernel::bench::{Extras, gram_of_arrays, gram_of_slices, update_of_slices},
    kernel::{SimdLevel, linear_combination, simd_level},
    noise::{NoiseKey, NoiseSource, Stream},
};
use ndarray::{Array1, Array3, ArrayRef, Ix3};

/// In L1, where nothing else than instructions is worth counting.
const ELEMENTS: usize = 1 << 14;

/// The most inputs of an update.
const MOST: usize = 16;

/// Enough for the work around a round to be below a hundredth.
const ROUNDS: usize = 4;

/// The limits: a line a case, its name and the most instructions an element (or a call) that pass.
const LIMITS: &str = "benches/support/instructions.txt";

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Callgrind ends a count here and begins another.
#[inline(never)]
fn mark() {
    black_box(());
}

/// The cases in order, as they are run or only named.
struct Cases {
    names: Vec<(String, usize)>,
    counts: bool,
}

impl Cases {
    /// A case whose every round takes so many elements or calls.
    fn case(&mut self, name: String, of: usize, mut round: impl FnMut(usize)) {
        self.names.push((name, of * ROUNDS));
        if self.counts {
            mark();
            for index in 0..ROUNDS {
                round(index);
            }
            mark();
        }
    }
}

fn all(cases: &mut Cases) -> Outcome {
    updates::<f32>(cases, "f32");
    updates::<f64>(cases, "f64");
    #[cfg(feature = "half")]
    {
        halves::<half::f16>(cases, "f16")?;
        halves::<half::bf16>(cases, "bf16")?;
    }
    reductions::<f32>(cases, "f32");
    reductions::<f64>(cases, "f64");
    permuted(cases)?;
    normals::<f32>(cases, "f32");
    normals::<f64>(cases, "f64");
    small(cases);
    Ok(())
}

/// Its words in a name.
fn words(extras: Extras) -> String {
    let mut words = String::new();
    for (is, word) in [
        (extras.stores, ", stored"),
        (extras.reads, ", read"),
        (extras.clips, ", clipped"),
    ] {
        if is {
            words += word;
        }
    }
    words
}

/// The three ways of a second array, with a clip and without.
fn every_extras() -> impl Iterator<Item = Extras> {
    [false, true].into_iter().flat_map(|clips| {
        [(false, false), (true, false), (true, true)].map(|(stores, reads)| Extras {
            stores,
            reads,
            clips,
        })
    })
}

fn update<A: Real, O: ModelElement<A>>(
    cases: &mut Cases,
    name: &str,
    extras: Extras,
    (outputs, history): (usize, usize),
) {
    let (mut x, mut y) = ([A::cast(0.5); ELEMENTS], [A::cast(0.25); ELEMENTS]);
    let output = [O::narrowed(A::cast(0.25)); ELEMENTS];
    let slot = [A::cast(0.25); ELEMENTS];
    let (outputs, history) = (
        &[&output[..]; MOST][..outputs],
        &[&slot[..]; MOST][..history],
    );
    let name = format!("update of {name}{}", words(extras));
    cases.case(name, ELEMENTS, |_| {
        let (x, y) = (black_box(&mut x[..]), black_box(&mut y[..]));
        black_box(update_of_slices::<A, O>(extras, x, y, outputs, history));
    });
}

/// Up to the first number of inputs that has no loop of its own, and the most.
fn updates<A: Real>(cases: &mut Cases, element: &str) {
    for extras in every_extras() {
        let most = if extras.clips { 3 } else { 7 };
        for inputs in (1..=most).chain([MOST]) {
            update::<A, A>(cases, &format!("{inputs} {element}"), extras, (inputs, 0));
        }
    }
}

#[cfg(feature = "half")]
fn halves<O: ModelElement<f32>>(cases: &mut Cases, element: &str) -> Outcome {
    for extras in every_extras() {
        for halves in 1..=3 {
            for history in 0..=3 {
                let name = format!("{halves} {element} and {history} f32");
                update::<f32, O>(cases, &name, extras, (halves, history));
            }
        }
    }
    let wide = Array1::from_elem(ELEMENTS, 0.25f32);
    let mut short = Array1::from_elem(ELEMENTS, O::default());
    let mut back = wide.clone();
    let mut result = Ok(());
    cases.case(format!("f32 to {element}"), ELEMENTS, |_| {
        result = narrow(&wide, black_box(&mut short));
    });
    result?;
    let mut result = Ok(());
    cases.case(format!("{element} to f32"), ELEMENTS, |_| {
        result = widen(&short, black_box(&mut back));
    });
    Ok(result?)
}

fn reductions<A: Real>(cases: &mut Cases, element: &str) {
    let array = [A::cast(0.25); ELEMENTS];
    for count in 2..=8 {
        let arrays = &[&array[..]; MOST][..count];
        let name = format!("inner products of {count} {element}");
        cases.case(name, ELEMENTS, |_| {
            black_box(gram_of_slices(4, black_box(arrays)));
        });
    }
}

/// Layouts that are not each other's.
fn permuted(cases: &mut Cases) -> Outcome {
    let shape = (4, 64, 64);
    let standard = Array3::from_elem(shape, 0.25f32);
    let turned = Array3::from_elem((4, 64, 64), 0.25f32).permuted_axes([0, 2, 1]);
    let (standard, turned): (&ArrayRef<f32, Ix3>, &ArrayRef<f32, Ix3>) = (&standard, &turned);
    let mut result = Ok(0.0);
    cases.case("inner products of 2 f32, permuted".into(), ELEMENTS, |_| {
        result = gram_of_arrays(black_box(&[standard, turned]));
    });
    result?;
    let (mut x, mut result) = (Array3::from_elem(shape, 0.5f32), Ok(()));
    cases.case("update of 1 f32, permuted".into(), ELEMENTS, |_| {
        result = linear_combination(black_box(&mut x), 0.5, &[(0.25, turned)]);
    });
    Ok(result?)
}

fn normals<A: Default + Clone>(cases: &mut Cases, element: &str)
where
    KeyedNoise: NoiseSource<A>,
{
    let mut out = vec![A::default(); ELEMENTS];
    cases.case(format!("normals, {element}"), ELEMENTS, |step| {
        let key = NoiseKey::new(0, step as u32, Stream::User(0));
        KeyedNoise::new(1).fill(key, 0, black_box(&mut out));
    });
}

/// Instructions a call.
fn small(cases: &mut Cases) {
    const CALLS: usize = 1000;
    let mut x = Array1::<f32>::from_elem(2, 0.5);
    let output = Array1::<f32>::from_elem(2, 0.25);
    for inputs in [1, 2] {
        let terms = &[(0.25, &*output); 2][..inputs];
        cases.case(
            format!("a call for 2 elements of {inputs} f32"),
            CALLS,
            |_| {
                for _ in 0..CALLS {
                    // Shapes agree and coefficients are finite: there is no error to report.
                    let _ = linear_combination(black_box(&mut x), 0.5, black_box(terms));
                }
            },
        );
    }
}

/// The counts of the cases in order, or `None` without valgrind.
fn count(cases: usize) -> Outcome<Option<Vec<u64>>> {
    let folder = env::temp_dir().join(format!("instructions-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let counts = callgrind(&folder, cases);
    fs::remove_dir_all(&folder)?;
    counts
}

fn callgrind(folder: &Path, cases: usize) -> Outcome<Option<Vec<u64>>> {
    let out = folder.join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=*instructions*mark*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe()?)
        .arg("run")
        .output();
    let Ok(output) = output else {
        return Ok(None);
    };
    // The count before the first mark is the first; a case's is the one after its first mark.
    let read = |case: usize| -> Outcome<u64> {
        let text = fs::read_to_string(out.with_file_name(format!("out.{}", 2 * case + 2)));
        let text = text.map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        Ok(total.ok_or("callgrind counted nothing")?.trim().parse()?)
    };
    (0..cases).map(read).collect::<Outcome<_>>().map(Some)
}

fn main() -> Outcome<ExitCode> {
    let mut cases = Cases {
        names: Vec::new(),
        counts: env::args().nth(1).is_some_and(|argument| argument == "run"),
    };
    all(&mut cases)?;
    if cases.counts {
        return Ok(ExitCode::SUCCESS);
    }
    if simd_level() == SimdLevel::Portable {
        println!("no AVX2 here, which the limits are for: nothing counted");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(counts) = count(cases.names.len())? else {
        println!("valgrind is not here: nothing counted");
        return Ok(ExitCode::SUCCESS);
    };
    let each = cases.names.iter().zip(counts);
    let each = each.map(|((name, of), count)| (name, count as f64 / *of as f64));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIMITS);
    if env::args().any(|argument| argument == "--write") {
        let mut text = String::new();
        for (name, each) in each {
            writeln!(text, "{name} | {:.2}", 1.25 * each)?;
        }
        fs::write(path, text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(path)?;
    let limits: BTreeMap<&str, f64> = text
        .lines()
        .filter_map(|line| line.split_once(" | "))
        .map(|(name, limit)| Ok((name, limit.parse()?)))
        .collect::<Outcome<_>>()?;
    let (mut counted, mut failed) = (0, 0);
    for (name, each) in each {
        let limit = limits.get(name.as_str()).copied();
        let limit = limit.ok_or_else(|| format!("{LIMITS} has no limit for {name}"))?;
        let verdict = if each <= limit { "passes" } else { "FAILS" };
        counted += 1;
        failed += usize::from(each > limit);
        println!("{name}: {each:.3}, at most {limit} ({verdict})");
    }
    println!("{counted} loops counted, {failed} above their limit");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
