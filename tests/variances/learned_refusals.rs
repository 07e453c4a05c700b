//! What a run of a network with a variance refuses.

use diffusion_sampler::{
    Error, Grid, Prediction, RunError,
    denoiser::{Guided, from_query_fn},
    guidance::ClassifierFree,
    posterior::{AnalyticVariance, DataErrors, ReverseVariance},
    solver::{FirstOrder, Heun, RePaint, catalogue},
};
use ndarray::{Array2, ArrayRef, Axis, Ix2, Slice, array};

use crate::common::{Outcome, linear};
use crate::two_heads::{ELEMENTS, Run, sampler, start, two_heads};

#[test]
fn a_step_without_a_variance_stops_the_run() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 3)?;
    let mut run = start(&sampler, 2, 5)?;
    let output = Array2::<f64>::zeros((2, ELEMENTS));
    assert!(matches!(
        run.tell(&output),
        Err(Error::NonFinite { step: 0, .. })
    ));
    // That of an earlier step does not serve.
    let mut run = start(&sampler, 2, 5)?;
    run.tell_learned(&output, &output)?;
    assert!(matches!(
        run.tell(&output),
        Err(Error::NonFinite { step: 1, .. })
    ));
    Ok(())
}

#[test]
fn what_cannot_be_interpolated_is_refused_and_leaves_the_run_as_it_was() -> Outcome {
    let plain = sampler(&FirstOrder::ddpm(), 3)?;
    let mut run = start(&plain, 2, 5)?;
    let before = run.state().to_owned();
    let output = Array2::<f64>::zeros((2, ELEMENTS));
    let mut f = output.clone();
    f[[1, 2]] = f64::NAN;
    let refused = run.tell_learned(&output, &f);
    assert!(matches!(
        refused,
        Err(Error::NonFinite {
            step: 0,
            sample: 1,
            element: 2,
            array: "variance output",
            ..
        })
    ));
    let refused = run.tell_learned(&output, &array![[0.0f64]]);
    assert!(matches!(
        refused,
        Err(Error::ShapeMismatch {
            name: "variance output",
            ..
        })
    ));
    assert_eq!((run.step(), run.state()), (0, &*before));

    let mut deterministic = start(&sampler(&FirstOrder::ddim(), 3)?, 2, 5)?;
    let refused = deterministic.tell_learned(&output, &output);
    assert!(matches!(
        refused,
        Err(Error::DeterministicLikelihood { .. })
    ));
    let mut stages = start(&sampler(&Heun::new(), 3)?, 2, 5)?;
    let refused = stages.tell_learned(&output, &output);
    assert!(matches!(
        refused,
        Err(Error::StageCount {
            step: 0,
            found: 2,
            max: 1
        })
    ));

    while run.ask()?.is_some() {
        run.tell_learned(&output, &output)?;
    }
    assert!(matches!(
        run.interpolate(&output),
        Err(Error::RunFinished { steps: 3 })
    ));
    Ok(())
}

#[test]
fn models_that_do_not_fit_are_refused() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 3)?;
    let mut one =
        diffusion_sampler::from_fn::<f64, Ix2>(Prediction::Noise, |_, _, out| out.fill(0.0));
    let refused = start(&sampler, 2, 5)?.advance_learned(&mut one);
    let expected = Error::TooFewOutputs {
        guidance: "learned variance",
        wanted: 2,
        found: 1,
    };
    assert!(matches!(refused, Err(RunError::Sampler(error)) if error == expected));
    let mut guided = Guided::new(two_heads(), ClassifierFree::with_scale(2.0)?);
    let refused = start(&sampler, 2, 5)?.advance_learned(&mut guided);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::NestedGuidance { .. }))
    ));
    let mut other = from_query_fn::<f64, Ix2, Error>(Prediction::Data, 2, |_, _, _| Ok(()));
    let refused = start(&sampler, 2, 5)?.advance_learned(&mut other);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::PredictionMismatch { .. }))
    ));
    // Halves that the model forgets.
    for forgotten in 0..2 {
        let mut half = from_query_fn::<f64, Ix2, Error>(Prediction::Noise, 2, move |x, _, out| {
            let kept: &mut ArrayRef<f64, Ix2> = out;
            let mut parts = kept.axis_chunks_iter_mut(Axis(0), x.nrows());
            if let Some(mut part) = parts.nth(1 - forgotten) {
                part.fill(0.0);
            }
            Ok(())
        });
        let refused = start(&sampler, 2, 5)?.advance_learned(&mut half);
        let Err(RunError::Sampler(Error::OutputNotWritten { output, .. })) = refused else {
            return Err(format!("{refused:?}").into());
        };
        assert_eq!(output, forgotten);
    }
    Ok(())
}

#[test]
fn a_plan_of_another_variance_is_refused_since_f_begins_at_the_posteriors() -> Outcome {
    let errors = |grid: &Grid| DataErrors::new(3, 3.0, grid.levels()[..3].to_vec(), vec![0.3; 3]);
    let grid = Grid::trailing(&linear()?, 3)?;
    let analytic = AnalyticVariance::new(errors(&grid)?)?;
    let solvers = [
        FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge),
        FirstOrder::ddpm().with_reverse_variance(ReverseVariance::Explicit(0.3)),
        FirstOrder::ddpm().with_analytic_variance(analytic.clone()),
        // DDIM's mean with noise: γ is 0, and no lower end.
        FirstOrder::ddim().with_analytic_variance(analytic),
    ];
    let output = Array2::<f64>::zeros((2, ELEMENTS));
    for solver in solvers {
        let mut run = start(&sampler(&solver, 3)?, 2, 5)?;
        let before = run.state().to_owned();
        let refused = run.tell_learned(&output, &output);
        assert!(
            matches!(refused, Err(Error::DegenerateEdge { from: 1000.0, .. })),
            "{solver:?}: {refused:?}"
        );
        assert_eq!((run.step(), run.state()), (0, &*before));
    }
    // On neighbouring knots the two variances differ little, and are told apart.
    let plan = FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge);
    let mut run = start(&sampler(&plan, 1000)?, 2, 5)?;
    assert!(run.tell_learned(&output, &output).is_err());
    Ok(())
}

#[test]
fn every_plan_of_one_stage_with_the_posteriors_noise_is_taken() -> Outcome {
    let output = Array2::<f64>::zeros((2, ELEMENTS));
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for entry in catalogue() {
        let sampler = sampler(entry.solver.as_ref(), 6)?;
        let plan = sampler.plan();
        if !plan.is_stochastic() || plan.steps().iter().any(|step| step.stages.len() > 1) {
            continue;
        }
        let mut run = start(&sampler, 2, 5)?;
        let told = |run: &mut Run| -> Result<(), Error> {
            while run.ask()?.is_some() {
                run.tell_learned(&output, &output)?;
            }
            Ok(())
        };
        match told(&mut run) {
            Ok(()) => taken.push(entry.name),
            Err(_) => refused.push(entry.name),
        }
    }
    // Their first step has κ = 2 − e^h and more noise than that κ's γ.
    let noise_forms = ["SDE-DPM-Solver multistep 2", "SA-Solver 2/2, noise form"];
    assert_eq!(refused, noise_forms);
    assert!(taken.len() >= 20, "{taken:?}");
    Ok(())
}

#[test]
fn an_output_that_overflows_the_variance_is_an_error() -> Outcome {
    let mut run = start(&sampler(&FirstOrder::ddpm(), 3)?, 2, 5)?;
    let output = Array2::<f64>::zeros((2, ELEMENTS));
    let f = Array2::from_elem((2, ELEMENTS), 1e6);
    let refused = run.tell_learned(&output, &f);
    assert!(matches!(refused, Err(Error::NonFinite { step: 0, .. })));
    Ok(())
}

#[test]
fn steps_upwards_have_no_variance_of_a_networks() -> Outcome {
    // They have noise and no model: there is no f for them.
    let sampler = sampler(&RePaint::new(FirstOrder::ddpm(), 2, 2)?, 6)?;
    let mut run = start(&sampler, 2, 5)?;
    let refused = run.complete_learned(&mut two_heads());
    let Err(RunError::Sampler(Error::NonFinite { step, .. })) = refused else {
        return Err(format!("{refused:?}").into());
    };
    assert!(sampler.plan().steps()[step].stages[0].evaluate.is_none());
    Ok(())
}

/// The buffer of the call before is used again: what the model forgets is found all the same.
#[test]
fn the_last_row_that_a_later_call_forgets_is_found() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 4)?;
    let mut run = start(&sampler, 3, 5)?;
    let mut calls = 0;
    let mut forgetful = from_query_fn::<f64, Ix2, Error>(Prediction::Noise, 2, move |_, _, out| {
        calls += 1;
        let written = if calls == 1 { 6 } else { 5 };
        out.slice_axis_mut(Axis(0), Slice::from(0..written))
            .fill(0.0);
        Ok(())
    });
    run.advance_learned(&mut forgetful)?;
    let refused = run.advance_learned(&mut forgetful);
    let expected = Error::OutputNotWritten {
        step: 1,
        output: 1,
        sample: 2,
        element: 0,
    };
    assert!(matches!(refused, Err(RunError::Sampler(error)) if error == expected));
    Ok(())
}
