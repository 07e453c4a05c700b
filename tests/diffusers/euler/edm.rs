//! Euler's method with EDM's noise.

use diffusion_sampler::Prediction;
use diffusion_sampler::diffusers::{Defect, Request};
use diffusion_sampler::solver::Churn;
use serde_json::json;

use super::{Outcome, configured, names_field, near};

#[test]
fn edm_runs_between_its_own_ends() -> Outcome {
    let fields = json!({"sigma_min": 0.01, "sigma_max": 50.0, "rho": 5.0, "sigma_data": 1.0,
        "prediction_type": "v_prediction"});
    let karras = configured("EDMEuler", fields.clone(), &Request::steps(6))?;
    let ramp = |u: f64| (50f64.powf(0.2) * (1.0 - u) + 0.01f64.powf(0.2) * u).powi(5);
    let mut sigmas: Vec<f64> = (0..6).map(|k| ramp(0.2 * f64::from(k))).collect();
    let times: Vec<f64> = sigmas.iter().map(|sigma| 0.25 * sigma.ln()).collect();
    sigmas.push(0.0);
    near(&karras.sigmas(), &sigmas);
    near(karras.times(), &times);
    let kind = Prediction::EdmVelocity { data_std: 1.0 };
    assert_eq!(karras.prediction(), kind);
    let init = (50f64 * 50.0 + 1.0).sqrt();
    near(&[karras.init_noise_sigma()], &[init]);
    near(&[karras.sampler().start_variance()], &[init * init]);
    let mut fields = fields;
    fields["sigma_schedule"] = json!("exponential");
    let exponential = configured("EDMEuler", fields.clone(), &Request::steps(3))?;
    near(&exponential.sigmas(), &[50.0, 0.5f64.sqrt(), 0.01, 0.0]);
    // From an image: the schedule's variance at the start of what is left.
    let part = configured("EDMEuler", fields.clone(), &Request::steps(3).strength(0.7))?;
    near(&[part.sampler().start_variance()], &[0.5]);
    // One step.
    let one = configured("EDMEuler", fields.clone(), &Request::steps(1))?;
    near(&one.sigmas(), &[50.0, 0.0]);
    let request = Request::steps(1).reproducing(Defect::OneStepFromTheLeastNoise);
    near(
        &configured("EDMEuler", fields.clone(), &request)?.sigmas(),
        &[0.01, 0.0],
    );
    // An end at the least σ, from which the library steps to itself.
    fields["final_sigmas_type"] = json!("sigma_min");
    let idle = configured("EDMEuler", fields.clone(), &Request::steps(3))?;
    near(&idle.sigmas(), &[50.0, 0.5f64.sqrt(), 0.01]);
    assert!(
        idle.report()
            .notes
            .iter()
            .any(|note| note.contains("left out"))
    );
    names_field(
        configured("EDMEuler", fields, &Request::steps(1)),
        "final_sigmas_type",
    );
    Ok(())
}

#[test]
fn published_churn_of_edm_reads_the_output_as_that_of_the_noisier_state() -> Outcome {
    let request = Request::steps(5).churn(Churn::new(1.0)?).as_published();
    let configured = configured("EDMEuler", json!({}), &request)?;
    let kind = Prediction::Edm { data_std: 0.5 };
    assert_eq!(configured.prediction(), kind);
    let (x, output, normal) = (0.7, -0.4, 1.3);
    for step in configured.sampler().plan().steps() {
        let (sigma, next) = (step.from.sigma(), step.to.sigma());
        let hat = sigma * 1.2;
        let churned = x + (hat * hat - sigma * sigma).sqrt() * normal;
        let skip = 0.25 / (hat * hat + 0.25);
        let data = skip * churned + hat * 0.5 / (hat * hat + 0.25).sqrt() * output;
        let expected = churned + (churned - data) / hat * (next - hat);
        let update = &step.stages[0].update;
        let own = kind.data(&step.from)?.of(x, output);
        let found = update.state * x + update.data * own + update.noise * normal;
        near(&[found], &[expected]);
    }
    Ok(())
}
