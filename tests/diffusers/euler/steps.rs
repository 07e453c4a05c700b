//! What is done on a list: calls, churn, clipping, linear multistep.

use diffusion_sampler::diffusers::{Configured, Defect, Request};
use diffusion_sampler::oracle::Gaussian;
use diffusion_sampler::solver::{Churn, LinearMultistep};
use diffusion_sampler::{Error, Sampler};
use serde_json::json;

use super::{ALL, Outcome, at, configured, defects, index_of, near};

#[test]
fn the_second_call_of_kdpm2_is_told_the_index_of_the_geometric_mean() -> Outcome {
    let fields = json!({"use_karras_sigmas": true});
    let plain = configured("KDPM2Discrete", fields.clone(), &Request::steps(6))?;
    let ancestral = configured("KDPM2AncestralDiscrete", fields, &Request::steps(6))?;
    let sigmas = plain.sigmas();
    assert_eq!(plain.times().len(), 11);
    for step in 0..5 {
        let (from, to) = (sigmas[step], sigmas[step + 1]);
        let listed = index_of(from).round();
        near(&[plain.times()[2 * step]], &[listed]);
        near(
            &[plain.times()[2 * step + 1]],
            &[index_of((from * to).sqrt())],
        );
        near(&[ancestral.times()[2 * step]], &[listed]);
        // σ_down = σ'²/σ, whose geometric mean with σ is σ'; its time is not the listed one.
        near(&[ancestral.times()[2 * step + 1]], &[index_of(to)]);
    }
    Ok(())
}

#[test]
fn the_second_call_of_the_sde_is_told_the_index_of_the_middle_in_lambda() -> Outcome {
    let configured = configured("DPMSolverSDE", json!({}), &Request::steps(4))?;
    let (sigmas, times) = (configured.sigmas(), configured.times());
    assert_eq!(times.len(), 7);
    for step in 0..3 {
        let middle = (sigmas[step] * sigmas[step + 1]).sqrt();
        near(&[times[2 * step + 1]], &[index_of(middle)]);
    }
    assert!(configured.sampler().plan().is_stochastic());
    assert!(defects(&configured).is_empty());
    Ok(())
}

#[test]
fn without_a_defect_the_librarys_own_plan_is_the_default() -> Outcome {
    let fields = [
        json!({"timestep_spacing": "leading", "steps_offset": 1}),
        json!({"use_karras_sigmas": true, "prediction_type": "v_prediction"}),
        json!({"use_beta_sigmas": true, "timestep_spacing": "trailing"}),
    ];
    for class in ALL {
        for fields in &fields {
            let request = Request::steps(7);
            let default = configured(class, fields.clone(), &request)?;
            let published = configured(class, fields.clone(), &request.as_published())?;
            let same = default.sampler().plan() == published.sampler().plan();
            assert!(same && defects(&default).is_empty(), "{class} {fields}");
        }
    }
    Ok(())
}

#[test]
fn churn_comes_before_the_call_and_in_the_library_after_it() -> Outcome {
    let churn = Churn::new(2.0)?.between(0.1, 10.0)?.with_noise(1.5)?;
    let request = Request::steps(8).churn(churn);
    let fields = json!({"timestep_spacing": "leading", "steps_offset": 1});
    let default = configured("EulerDiscrete", fields.clone(), &request)?;
    assert_eq!(defects(&default), [Defect::ChurnAfterTheCall]);
    let published = configured("EulerDiscrete", fields, &request.as_published())?;
    let steps = default.sampler().plan().steps().iter();
    let mut churned = 0;
    for (default, published) in steps.zip(published.sampler().plan().steps()) {
        let (rho, next) = (default.from.rho(), default.to.rho());
        let inside = (0.1..=10.0).contains(&rho);
        assert_eq!(default.stages.len(), if inside { 2 } else { 1 });
        assert_eq!(published.stages.len(), 1);
        if !inside {
            continue;
        }
        churned += 1;
        let hat = rho * 1.25;
        let level = default.stages[1].evaluate.expect("a call");
        near(&[level.rho(), level.model_time()], &[hat, index_of(hat)]);
        // x̂' = x̂ + S_noise √(ρ̂² − ρ²) z + ε (ρ' − ρ̂), ε of the state before.
        let update = &published.stages[0].update;
        let (alpha, to) = (default.from.alpha(), default.to.alpha());
        let slope = (next - hat) / rho;
        near(
            &[update.state, update.data, update.noise],
            &[
                to / alpha * (1.0 + slope),
                -to * slope,
                to * 1.5 * (hat * hat - rho * rho).sqrt(),
            ],
        );
    }
    assert!(churned > 3);
    Ok(())
}

/// The output of a network of x₀ is D, whichever state it is read as that of.
#[test]
fn published_churn_of_a_data_network_keeps_its_estimate() -> Outcome {
    let request = Request::steps(5).churn(Churn::new(1.0)?).as_published();
    let fields = json!({"prediction_type": "sample"});
    let configured = configured("EulerDiscrete", fields, &request)?;
    let (y, data, normal) = (0.7, -0.4, 1.3);
    for step in configured.sampler().plan().steps() {
        let (rho, next) = (step.from.rho(), step.to.rho());
        let hat = rho * 1.2;
        let churned = y + (hat * hat - rho * rho).sqrt() * normal;
        let expected = churned + (churned - data) / hat * (next - hat);
        let update = &step.stages[0].update;
        let x = step.from.alpha() * y;
        let found = update.state * x + update.data * data + update.noise * normal;
        near(&[found / step.to.alpha()], &[expected]);
    }
    Ok(())
}

#[test]
fn churn_of_a_part_of_the_steps_is_that_of_all_of_them() -> Outcome {
    let fields = || json!({"prediction_type": "sample"});
    let request = Request::steps(10).churn(Churn::new(3.0)?);
    for request in [request.clone(), request.as_published()] {
        let whole = configured("EulerDiscrete", fields(), &request)?;
        let part = configured("EulerDiscrete", fields(), &request.clone().strength(0.4))?;
        let all = whole.sampler().plan().steps();
        let steps = part.sampler().plan().steps();
        assert_eq!(steps.len(), 4);
        for (found, expected) in steps.iter().zip(&all[6..]) {
            for (found, expected) in found.stages.iter().zip(&expected.stages) {
                let scalars = |stage: &diffusion_sampler::plan::Stage| {
                    [stage.update.state, stage.update.data, stage.update.noise]
                };
                near(&scalars(found), &scalars(expected));
            }
        }
        // A run from an image starts at a level of the schedule.
        assert_eq!(part.sampler().start_variance(), 1.0);
    }
    Ok(())
}

#[test]
fn heun_clips_the_data_and_takes_its_slope_from_it() -> Outcome {
    let fields = json!({"clip_sample": true, "clip_sample_range": 1.5});
    let clipped = configured("HeunDiscrete", fields, &Request::steps(4))?;
    let clip = diffusion_sampler::Clip::new(-1.5, 1.5)?;
    assert_eq!(clipped.clip(), Some(clip));
    let open = configured("HeunDiscrete", json!({}), &Request::steps(4))?;
    assert_eq!(open.clip(), None);
    // The other classes have no such field.
    let euler = configured(
        "EulerDiscrete",
        json!({"clip_sample": true}),
        &Request::steps(4),
    )?;
    assert_eq!(euler.clip(), None);
    let ignored = &euler.report().ignored;
    assert!(
        ignored
            .iter()
            .any(|field| field.name == "clip_sample" && !field.known)
    );
    Ok(())
}

#[test]
fn linear_multistep_extrapolates_onto_the_end_which_comes_nearer_to_the_data() -> Outcome {
    let fields = json!({"beta_schedule": "scaled_linear", "beta_start": 0.00085,
        "beta_end": 0.012, "use_karras_sigmas": true});
    let configured = configured("LMSDiscrete", fields, &Request::steps(50))?;
    assert!(defects(&configured).is_empty());
    let data = Gaussian::isotropic(&[1.5], 0.09)?;
    let start = configured.grid().start();
    let initial = Gaussian::isotropic(&[1.5 * start.alpha()], start.marginal_variance(0.09))?;
    let distance = |sampler: &Sampler| -> Result<f64, Error> {
        let states = sampler.plan().moments(&data, &initial)?;
        let last = &states[states.len() - 1];
        let spread = last.variances()[0].sqrt() - 0.3;
        Ok((last.mean()[0] - 1.5).hypot(spread))
    };
    let solver = LinearMultistep::order(4)?;
    let schedule = configured.schedule().expect("a table");
    let returned = Sampler::new(schedule, configured.grid(), &solver)?;
    assert!(distance(configured.sampler())? < 0.2 * distance(&returned)?);
    Ok(())
}

#[test]
fn linear_multistep_from_the_middle_misses_slopes_in_the_library() -> Outcome {
    let request = Request::steps(5).strength(0.6);
    let default = configured("LMSDiscrete", json!({}), &request)?;
    let before = Defect::SlopesBeforeTheStart;
    assert!(defects(&default).contains(&before));
    let first = |configured: &Configured| configured.sampler().plan().steps()[0].clone();
    // Here the first step is Euler's.
    let step = first(&default);
    let (rho, next) = (step.from.rho(), step.to.rho());
    near(
        &[step.stages[0].update.data],
        &[step.to.alpha() * (1.0 - next / rho)],
    );
    // There it is of third order, of which one slope is there: that of the parabola through the
    // nodes a, b and c at a, ∫ (x − b)(x − c)/((a − b)(a − c)).
    let published = configured("LMSDiscrete", json!({}), &request.reproducing(before))?;
    let (a, b, c) = (at(499.5), at(749.25), at(999.0));
    let primitive = |x: f64| x * x * x / 3.0 - (b + c) * x * x / 2.0 + b * c * x;
    let weight = (primitive(next) - primitive(a)) / ((a - b) * (a - c));
    let update = first(&published).stages[0].update.clone();
    // α'(x̂ + w E), E = (x̂ − D)/ρ.
    let (from, to) = (step.from.alpha(), step.to.alpha());
    near(
        &[update.state, update.data],
        &[to / from * (1.0 + weight / rho), -to * weight / rho],
    );
    Ok(())
}

#[test]
fn linear_multistep_of_a_beta_ramp_weighs_near_knots_in_the_library_only() -> Outcome {
    let free = Defect::ExtrapolatesFreely;
    let fields = json!({"use_beta_sigmas": true});
    let request = Request::steps(500);
    let default = configured("LMSDiscrete", fields.clone(), &request)?;
    assert!(default.report().defects.contains(&(free, false)));
    let published = configured("LMSDiscrete", fields, &request.reproducing(free))?;
    let history = |configured: &Configured| {
        let stages = configured.sampler().plan().stages();
        stages
            .map(|stage| stage.update.history.len())
            .sum::<usize>()
    };
    // 0, 1, 2 slopes at the first steps, then 3.
    assert_eq!(history(&published), 3 + 497 * 3);
    assert!(history(&default) < history(&published));
    Ok(())
}
