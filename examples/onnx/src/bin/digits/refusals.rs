//! What goes wrong, and how the user hears of it: by errors of the runtime's type.

use std::fmt::{Debug, Display};

use diffusion_sampler::denoiser::from_query_fn;
use diffusion_sampler::ndarray::{Array2, Ix2};
use diffusion_sampler::{Denoiser, Grid, RunError, Sampler};
use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
use diffusion_sampler_onnx::digits::{Digits, FILE};
use diffusion_sampler_onnx::graph::{Graph, Input};
use diffusion_sampler_onnx::tract::Tract;
use digits_network::{PIXELS, PREDICTION};

use crate::Result;

/// How many samples the runs want.
const SAMPLES: usize = 2;

/// tract's refusals: before a run, and in one.
pub fn of_tract() -> Result<()> {
    println!("refused:");
    before(
        "no file",
        Tract::load("none.onnx"),
        &["none.onnx", "No such file"],
    )?;
    let half = FILE.get(..FILE.len() / 2).unwrap_or_default();
    before("half a file", Tract::read(half), &["decode"])?;
    let words: Words = [&["noisy"], &["63"], &["velocities"]];
    in_runs(&mut Tract::read(FILE)?, &words)
}

/// What `ort` says without its library: asked before the right one is opened.
#[cfg(feature = "ort")]
pub fn without_library() -> Result<()> {
    let none = diffusion_sampler_onnx::ort::environment("none.so");
    before("no library", none, &["none.so"])
}

/// The same of ONNX Runtime.
#[cfg(feature = "ort")]
pub fn of_ort(environment: &ort::environment::Environment) -> Result<()> {
    use diffusion_sampler_onnx::ort::Ort;
    println!("refused:");
    before(
        "no file",
        Ort::load(environment, "none.onnx"),
        &["none.onnx"],
    )?;
    let half = FILE.get(..FILE.len() / 2).unwrap_or_default();
    before("half a file", Ort::read(environment, half), &["protobuf"])?;
    let words: Words = [&["noisy"], &["63"], &["velocities"]];
    in_runs(&mut Ort::read(environment, FILE)?, &words)
}

/// What each refusal in a run has to say.
type Words<'w> = [&'w [&'w str]; 3];

fn in_runs<G: Graph>(graph: &mut G, words: &Words<'_>) -> Result<()>
where
    G::Error: 'static,
{
    let [name, columns, output] = words;
    // A closure is a denoiser too; these two call things by names that they do not have.
    let model = from_query_fn::<f32, Ix2, _>(PREDICTION, 1, |x, query, out| {
        let lambda = query.level().lambda() as f32;
        let lambdas = Input::rows("lambda", vec![lambda; SAMPLES]);
        let classes = Input::whole("class", vec![3; SAMPLES]);
        graph.run(
            &[Input::array("noisy", x), lambdas, classes],
            "velocity",
            out,
        )
    });
    in_run("an input by another name", model, PIXELS, name)?;
    let model = from_query_fn::<f32, Ix2, _>(PREDICTION, 1, |x, query, out| {
        let lambda = query.level().lambda() as f32;
        let lambdas = Input::rows("lambda", vec![lambda; SAMPLES]);
        let classes = Input::whole("class", vec![3; SAMPLES]);
        graph.run(&[Input::array("x", x), lambdas, classes], "velocities", out)
    });
    in_run("an output by another name", model, PIXELS, output)?;
    let mut narrow = Array2::zeros((SAMPLES, PIXELS - 1));
    let inputs = [
        Input::array("x", &Array2::zeros((SAMPLES, PIXELS))),
        Input::rows("lambda", vec![0.0; SAMPLES]),
        Input::whole("class", vec![3; SAMPLES]),
    ];
    before(
        "room for 63 elements",
        graph.run(&inputs, "velocity", &mut narrow),
        &["`velocity` has shape [2, 64]", "[2, 63] is wanted"],
    )?;
    before(
        "class 11",
        Digits::new(&mut *graph, &[3, 11]),
        &["classes", "11", "0 to 9, or 10 for none"],
    )?;
    let model = Digits::new(&mut *graph, &[3, 1])?;
    in_run("samples of 63 elements", model, PIXELS - 1, columns)?;
    let model = Digits::new(&mut *graph, &[3, 1, 4])?;
    let classes = &["3 classes for 2 samples"];
    in_run("three classes for two samples", model, PIXELS, classes)
}

fn before<T, E: Display>(
    case: &str,
    answer: std::result::Result<T, E>,
    words: &[&str],
) -> Result<()> {
    match answer {
        Err(error) => said(case, &error.to_string(), words),
        Ok(_) => Err(format!("{case}: not refused").into()),
    }
}

fn in_run<M>(case: &str, mut model: M, columns: usize, words: &[&str]) -> Result<()>
where
    M: Denoiser<f32, Ix2>,
    M::Error: Debug + Display + 'static,
{
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 4)?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    match sampler.sample(&mut model, (SAMPLES, columns), 1) {
        // The runtime's error is inside, of its own type.
        Err(error @ RunError::Denoiser(_)) => said(case, &error.to_string(), words),
        Err(error) => Err(format!("{case}: refused by another: {error}").into()),
        Ok(_) => Err(format!("{case}: not refused").into()),
    }
}

fn said(case: &str, text: &str, words: &[&str]) -> Result<()> {
    println!("- {case}: {text}");
    match words.iter().find(|word| !text.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("{case}: the error does not say `{word}`").into()),
    }
}
