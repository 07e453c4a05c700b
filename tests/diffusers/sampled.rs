//! Samples of a configured sampler, and what it refuses.

use diffusion_sampler::diffusers::{self, Request, SchedulerConfig};
use diffusion_sampler::{Error, Prediction, RunError, from_fn};
use ndarray::{Array2, Ix2};
use serde_json::json;

#[test]
fn a_model_of_another_prediction_is_refused() {
    let text = json!({"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"});
    let configured = diffusers::sampler(&text.to_string(), &Request::steps(4)).expect("it is read");
    let zero = |prediction| from_fn::<f64, Ix2>(prediction, |_, _, out| out.fill(0.0));
    let refused = configured.sample::<f64, _, _>(&mut zero(Prediction::Noise), (2, 3), 1);
    let Err(RunError::Sampler(Error::RequestRefused { what, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(what, "a model of another prediction");
    let sampled: Array2<f64> = configured
        .sample(&mut zero(Prediction::Velocity), (2, 3), 1)
        .expect("samples");
    let same = configured
        .sampler()
        .sample(&mut zero(Prediction::Velocity), (2, 3), 1)
        .expect("samples");
    assert_eq!(sampled, same);
}

#[test]
fn a_run_with_a_strength_does_not_start_from_noise_alone() {
    let text = json!({"_class_name": "DDIMScheduler"}).to_string();
    let configured =
        diffusers::sampler(&text, &Request::steps(10).strength(0.5)).expect("it is read");
    let mut model = from_fn::<f64, Ix2>(Prediction::Noise, |_, _, out| out.fill(0.0));
    let refused = configured.sample::<f64, _, _>(&mut model, (2, 3), 1);
    let Err(RunError::Sampler(Error::RequestRefused { what, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(what, "a run from noise alone");
    assert!(
        configured
            .to_string()
            .contains("start             an image")
    );
    let none = diffusers::sampler(&text, &Request::steps(10).strength(0.05)).map(drop);
    assert!(matches!(
        none,
        Err(Error::InvalidParameter {
            name: "strength",
            value: 0.05,
            ..
        })
    ));
}

#[test]
fn a_slip_in_a_fields_name_is_pointed_out() {
    let config = json!({"_class_name": "EulerDiscreteScheduler", "use_karas_sigmas": true,
        "skip_prk_steps": true});
    let configured = diffusers::sampler(&config.to_string(), &Request::steps(10));
    let configured = configured.expect("it is read");
    let nearest = |name: &str| {
        let mut ignored = configured.report().ignored.iter();
        ignored
            .find(|field| field.name == name)
            .and_then(|field| field.nearest)
    };
    assert_eq!(nearest("use_karas_sigmas"), Some("use_karras_sigmas"));
    assert_eq!(nearest("skip_prk_steps"), None);
    let printed = configured.to_string();
    assert!(printed.contains("is use_karas_sigmas meant to be use_karras_sigmas?"));
}

#[test]
fn noise_prediction_at_no_signal_is_refused_by_the_field_that_asks_for_it() {
    let config = json!({"_class_name": "EulerDiscreteScheduler", "rescale_betas_zero_snr": true,
        "timestep_spacing": "trailing"});
    let refused = diffusers::sampler(&config.to_string(), &Request::steps(10)).map(drop);
    let Err(Error::UnsupportedField { field, closest, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(field, "rescale_betas_zero_snr");
    assert!(closest.contains("NearlyZeroTerminalSnr"));
    let published = Request::steps(10).as_published();
    assert!(diffusers::sampler(&config.to_string(), &published).is_ok());
}

#[test]
fn a_ramp_on_a_table_of_zero_terminal_snr_starts_at_the_librarys_sigma() {
    let config = json!({"_class_name": "EulerDiscreteScheduler", "rescale_betas_zero_snr": true,
        "prediction_type": "v_prediction", "use_karras_sigmas": true});
    let configured = diffusers::sampler(&config.to_string(), &Request::steps(10));
    let configured = configured.expect("it is read");
    assert!((configured.sigmas()[0] - (2f64.powi(24) - 1.0).sqrt()).abs() < 1e-8);
    assert!(
        configured
            .report()
            .notes
            .iter()
            .any(|note| note.contains("4096"))
    );
}

#[test]
fn a_path_in_place_of_a_text_is_recognised() {
    let error = SchedulerConfig::from_json("scheduler/scheduler_config.json");
    let error = error.map(drop).expect_err("it is no JSON");
    assert!(error.to_string().contains("path"), "{error}");
}
