//! `RunError` in callers' own error types.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, RunError, Sampler, Trajectory, schedule::RectifiedFlow,
    solver::FirstOrder, try_from_fn,
};
use ndarray::Ix2;

type Run = Trajectory<f64, Ix2, KeyedNoise>;

fn start() -> Run {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 2).unwrap();
    let sampler = Sampler::new(&flow, &grid, &FirstOrder::ddim()).unwrap();
    sampler
        .start((2, 2), Prediction::Flow, KeyedNoise::new(0))
        .unwrap()
}

/// Runs a model that fails with the error that `make` makes.
fn run<E>(make: impl Fn() -> E) -> Result<(), RunError<E>> {
    start().complete(&mut try_from_fn::<f64, Ix2, E>(
        Prediction::Flow,
        |_, _, _| Err(make()),
    ))
}

fn io() -> std::io::Error {
    std::io::Error::other("no such weights")
}

/// An error that is only shown, as `anyhow`'s is, with its cause in the alternate form.
#[derive(Debug)]
struct Shown(String);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)?;
        if f.alternate() {
            f.write_str(": because of the cause")?;
        }
        Ok(())
    }
}

#[test]
fn the_question_mark_takes_a_run_error_of_any_shown_error() {
    fn plain() -> Result<(), Box<dyn StdError>> {
        Ok(run(io)?)
    }
    fn shared() -> Result<(), Box<dyn StdError + Send + Sync>> {
        Ok(run(io)?)
    }
    fn boxed() -> Result<(), Box<dyn StdError>> {
        Ok(run(|| -> Box<dyn StdError> { io().into() })?)
    }
    fn boxed_shared() -> Result<(), Box<dyn StdError + Send + Sync>> {
        Ok(run(|| -> Box<dyn StdError + Send + Sync> { io().into() })?)
    }
    fn text() -> Result<(), Box<dyn StdError>> {
        Ok(run(|| "no such weights".to_owned())?)
    }
    fn only_shown() -> Result<(), Box<dyn StdError>> {
        Ok(run(|| Shown("no such weights".to_owned()))?)
    }
    fn own() -> Result<(), RunError<std::io::Error>> {
        run(io)?;
        Ok(())
    }
    let texts = [
        plain().unwrap_err().to_string(),
        shared().unwrap_err().to_string(),
        boxed().unwrap_err().to_string(),
        boxed_shared().unwrap_err().to_string(),
        text().unwrap_err().to_string(),
        only_shown().unwrap_err().to_string(),
        own().unwrap_err().to_string(),
    ];
    // The model's error is shown in its alternate form: with what lies behind it, if it has one.
    for text in texts {
        assert!(
            text.starts_with("the denoiser failed: no such weights"),
            "{text}"
        );
    }
}

#[test]
fn the_text_shows_what_lies_behind_the_models_error() {
    let error = run(|| Shown("no such weights".to_owned())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the denoiser failed: no such weights: because of the cause"
    );
    assert!(matches!(error, RunError::Denoiser(Shown(_))));
}

#[test]
fn what_the_crate_refuses_is_shown_as_it_is() {
    let refused = Error::RunFinished { steps: 7 };
    let error: RunError<Infallible> = refused.clone().into();
    assert_eq!(error.to_string(), refused.to_string());
    assert_eq!(format!("{error:#}"), refused.to_string());
    let mut run = start();
    let mut model = try_from_fn::<f64, Ix2, Infallible>(Prediction::Flow, |_, _, out| {
        out.fill(0.0);
        Ok(())
    });
    run.complete(&mut model).unwrap();
    let over = run.advance(&mut model).unwrap_err();
    assert_eq!(over, RunError::Sampler(Error::RunFinished { steps: 2 }));
    assert!(over.to_string().contains('2'));
}

#[test]
fn a_failed_model_leaves_the_run_where_it_was() {
    let mut run = start();
    let before = run.snapshot().unwrap();
    let mut model = try_from_fn::<f64, Ix2, std::io::Error>(Prediction::Flow, |_, _, _| Err(io()));
    assert!(matches!(
        run.complete(&mut model),
        Err(RunError::Denoiser(_))
    ));
    assert_eq!(run.snapshot().unwrap(), before);
}
