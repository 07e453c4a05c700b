//! The classes that come from k-diffusion, field by field, against independent formulas.

use diffusion_sampler::diffusers::{Configured, Defect, Request, SchedulerConfig};
use diffusion_sampler::solver::Churn;
use diffusion_sampler::{Error, Prediction};
use serde_json::{Value, json};

type Outcome = Result<(), Error>;

/// The table of Stable Diffusion, with further fields.
fn config(class: &str, fields: Value) -> SchedulerConfig {
    let mut all = json!({
        "_class_name": format!("{class}Scheduler"),
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012
    });
    for (name, value) in fields.as_object().expect("an object") {
        all[name] = value.clone();
    }
    SchedulerConfig::from_json(&all.to_string()).expect("the text is JSON")
}

fn configured(class: &str, fields: Value, request: &Request) -> Result<Configured, Error> {
    config(class, fields).sampler(request)
}

/// ρ of every index of that table.
fn table() -> Vec<f64> {
    let (first, last) = (0.00085f64.sqrt(), 0.012f64.sqrt());
    let mut log = 0.0;
    let rhos = (0..1000).map(|index| {
        let root = first + (last - first) * index as f64 / 999.0;
        log += (-root * root).ln_1p();
        // ρ² = (1 − ᾱ)/ᾱ.
        (-log).exp_m1().sqrt()
    });
    rhos.collect()
}

/// ρ at a fractional index, linear between its neighbours.
fn at(index: f64) -> f64 {
    let table = table();
    let below = index.floor();
    let share = index - below;
    match share == 0.0 {
        true => table[below as usize],
        false => {
            let (low, high) = (table[below as usize], table[below as usize + 1]);
            low + share * (high - low)
        }
    }
}

/// The index at which ln ρ has its value, linear between its neighbours', clipped at the ends.
fn index_of(rho: f64) -> f64 {
    let table = table();
    let upper = table.partition_point(|&other| other < rho);
    if upper == 0 {
        return 0.0;
    }
    if upper == table.len() {
        return 999.0;
    }
    let (low, high) = (table[upper - 1].ln(), table[upper].ln());
    (upper - 1) as f64 + (rho.ln() - low) / (high - low)
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?}, not {expected:?}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-10 * b.abs().max(1.0), "{a}, not {b}");
    }
}

fn defects(configured: &Configured) -> Vec<Defect> {
    let defects = configured.report().defects.iter();
    defects.map(|&(defect, _)| defect).collect()
}

/// Whether it is the error of this field.
fn names_field(result: Result<Configured, Error>, name: &str) {
    match result {
        Err(Error::UnsupportedField { field, .. } | Error::InvalidField { field, .. }) => {
            assert_eq!(field, name);
        }
        Err(Error::UnknownName { kind, .. }) => assert_eq!(kind, name),
        other => panic!("{name}: {:?}", other.map(|_| "no error")),
    }
}

const ALL: [&str; 7] = [
    "EulerDiscrete",
    "EulerAncestralDiscrete",
    "HeunDiscrete",
    "KDPM2Discrete",
    "KDPM2AncestralDiscrete",
    "LMSDiscrete",
    "DPMSolverSDE",
];

const WITH_RAMPS: [&str; 6] = [
    "EulerDiscrete",
    "HeunDiscrete",
    "KDPM2Discrete",
    "KDPM2AncestralDiscrete",
    "LMSDiscrete",
    "DPMSolverSDE",
];

#[test]
fn the_spacings_are_linear_in_rho_between_indices() -> Outcome {
    let lists = [
        ("linspace", vec![999.0, 666.0, 333.0, 0.0], 4),
        ("linspace", vec![999.0, 749.25, 499.5, 249.75, 0.0], 5),
        ("leading", vec![751.0, 501.0, 251.0, 1.0], 4),
        ("trailing", vec![999.0, 666.0, 332.0], 3),
    ];
    for class in ALL {
        for (spacing, times, steps) in &lists {
            let fields = json!({"timestep_spacing": spacing, "steps_offset": 1});
            let configured = configured(class, fields, &Request::steps(*steps))?;
            let mut sigmas: Vec<f64> = times.iter().map(|&time| at(time)).collect();
            let max = sigmas[0];
            sigmas.push(0.0);
            near(&configured.sigmas(), &sigmas);
            let knots = configured.grid().levels().iter();
            let listed: Vec<f64> = knots.map(|level| level.model_time()).take(*steps).collect();
            near(&listed, times);
            let init = match *spacing {
                "leading" => (max * max + 1.0).sqrt(),
                _ => max,
            };
            near(&[configured.init_noise_sigma()], &[init]);
            // In the coordinates here: the library's start over √(ρ² + 1).
            let variance = init * init / (max * max + 1.0);
            near(&[configured.sampler().start_variance()], &[variance]);
            let start = configured.grid().start();
            near(
                &[configured.state_factor(&start)],
                &[(max * max + 1.0).sqrt()],
            );
        }
    }
    Ok(())
}

#[test]
fn ramps_run_between_the_ends_of_the_spaced_list() -> Outcome {
    // Leading: from index 801 to 1.
    let (max, min) = (at(801.0), at(1.0));
    let karras = |u: f64| (max.powf(1.0 / 7.0) * (1.0 - u) + min.powf(1.0 / 7.0) * u).powi(7);
    let exponential = |u: f64| max.powf(1.0 - u) * min.powf(u);
    // The quantiles of Beta(0.6, 0.6) at ¼, ½ and ¾, computed with forty digits.
    let beta = |u: f64| {
        let quarter = 0.175_680_378_652_695;
        let share = match u {
            0.0 => 1.0,
            0.25 => 1.0 - quarter,
            0.5 => 0.5,
            0.75 => quarter,
            _ => 0.0,
        };
        min + (max - min) * share
    };
    type Ramp<'a> = &'a dyn Fn(f64) -> f64;
    let ramps: [(&str, Ramp<'_>); 3] = [
        ("karras", &karras),
        ("exponential", &exponential),
        ("beta", &beta),
    ];
    for class in WITH_RAMPS {
        for (name, ramp) in ramps {
            let mut fields = json!({"timestep_spacing": "leading", "steps_offset": 1});
            fields[format!("use_{name}_sigmas")] = json!(true);
            let configured = configured(class, fields, &Request::steps(5))?;
            let expected: Vec<f64> = (0..5).map(|k| ramp(0.25 * f64::from(k))).collect();
            near(&configured.sigmas()[..5], &expected);
            assert_eq!(configured.sigmas()[5], 0.0);
            let rounds = class.starts_with("KDPM2") && name == "karras";
            let times: Vec<f64> = expected
                .iter()
                .map(|&rho| match rounds {
                    true => index_of(rho).round(),
                    false => index_of(rho),
                })
                .collect();
            let knots = &configured.grid().levels()[..5];
            let found: Vec<f64> = knots.iter().map(|level| level.model_time()).collect();
            near(&found, &times);
        }
    }
    Ok(())
}

#[test]
fn the_file_can_give_the_ends_of_a_ramp() -> Outcome {
    for class in WITH_RAMPS {
        for name in ["karras", "exponential", "beta"] {
            // Beyond the table, too, whose largest is 14.6.
            for (max, min) in [(9.0, 0.1), (20.0, 0.01)] {
                let mut fields = json!({"sigma_max": max, "sigma_min": min});
                fields[format!("use_{name}_sigmas")] = json!(true);
                let configured = configured(class, fields, &Request::steps(6))?;
                let sigmas = configured.sigmas();
                let ignores = name == "karras" && ["LMSDiscrete", "DPMSolverSDE"].contains(&class);
                let ends = match ignores {
                    true => [at(999.0), at(0.0)],
                    false => [max, min],
                };
                near(&[sigmas[0], sigmas[5]], &ends);
                let ignored = configured.report().ignored.iter();
                let ignored = ignored.filter(|field| field.name.starts_with("sigma_"));
                assert_eq!(ignored.count(), if ignores { 2 } else { 0 });
                let told = configured.grid().levels().iter().take(6);
                for level in told {
                    let index = index_of(level.rho());
                    let index = match class.starts_with("KDPM2") && name == "karras" {
                        true => index.round(),
                        false => index,
                    };
                    near(&[level.model_time()], &[index]);
                }
            }
        }
    }
    let wrong = json!({"sigma_max": -1.0, "use_karras_sigmas": true});
    names_field(
        configured("EulerDiscrete", wrong, &Request::steps(3)),
        "sigma_max",
    );
    Ok(())
}

#[test]
fn stable_video_diffusion_is_told_a_quarter_of_ln_sigma() -> Outcome {
    let fields = json!({
        "prediction_type": "v_prediction", "timestep_type": "continuous", "sigma_max": 700.0,
        "sigma_min": 0.002, "use_karras_sigmas": true, "timestep_spacing": "leading",
        "steps_offset": 1, "interpolation_type": "linear", "clip_sample": false
    });
    let configured = configured("EulerDiscrete", fields, &Request::steps(25))?;
    let sigmas = configured.sigmas();
    near(&[sigmas[0], sigmas[24]], &[700.0, 0.002]);
    let times: Vec<f64> = sigmas[..25].iter().map(|sigma| 0.25 * sigma.ln()).collect();
    near(configured.times(), &times);
    near(&configured.network_times(), &times);
    assert_eq!(configured.prediction(), Prediction::Velocity);
    near(
        &[configured.init_noise_sigma()],
        &[(700.0f64 * 700.0 + 1.0).sqrt()],
    );
    near(&[configured.sampler().start_variance()], &[1.0]);
    // The schedule between the knots tells the same.
    let between = configured.schedule().level(3.0)?;
    near(
        &[between.rho(), between.model_time()],
        &[3.0, 0.25 * 3f64.ln()],
    );
    let noise = json!({"timestep_type": "continuous"});
    let noise = self::configured("EulerDiscrete", noise, &Request::steps(3))?;
    near(noise.times(), &[999.0, 499.5, 0.0]);
    assert!(
        noise
            .report()
            .notes
            .iter()
            .any(|note| note.contains("v_prediction"))
    );
    Ok(())
}

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
fn a_list_can_end_at_the_least_sigma_of_the_table() -> Outcome {
    let fields = json!({"final_sigmas_type": "sigma_min", "timestep_spacing": "leading",
        "steps_offset": 1});
    let offset = configured("EulerDiscrete", fields, &Request::steps(4))?;
    near(
        &offset.sigmas(),
        &[at(751.0), at(501.0), at(251.0), at(1.0), at(0.0)],
    );
    assert!(offset.report().notes.is_empty());
    // Linspace's last σ is that already: the library's last step changes nothing.
    for fields in [
        json!({"final_sigmas_type": "sigma_min"}),
        json!({"final_sigmas_type": "sigma_min", "use_exponential_sigmas": true}),
    ] {
        let idle = configured("EulerDiscrete", fields.clone(), &Request::steps(4))?;
        let sigmas = idle.sigmas();
        assert_eq!(sigmas.len(), 4);
        near(&[sigmas[0], sigmas[3]], &[at(999.0), at(0.0)]);
        assert!(
            idle.report()
                .notes
                .iter()
                .any(|note| note.contains("left out"))
        );
        // A strength is a share of all four: the last two are one here.
        let half = configured(
            "EulerDiscrete",
            fields.clone(),
            &Request::steps(4).strength(0.5),
        )?;
        near(&half.sigmas(), &sigmas[2..]);
        // The library's one step starts at index 0, and would end there.
        let one = Request::steps(1).reproducing(Defect::OneStepFromTheLeastNoise);
        names_field(
            configured("EulerDiscrete", fields.clone(), &one),
            "final_sigmas_type",
        );
        let churned = Request::steps(4).churn(Churn::new(2.0)?);
        names_field(
            configured("EulerDiscrete", fields, &churned),
            "final_sigmas_type",
        );
    }
    let below = json!({"final_sigmas_type": "sigma_min", "use_karras_sigmas": true,
        "sigma_min": 0.01});
    names_field(
        configured("EulerDiscrete", below, &Request::steps(4)),
        "final_sigmas_type",
    );
    Ok(())
}

#[test]
fn zero_terminal_snr_starts_from_no_signal_at_all() -> Outcome {
    let fields = json!({"rescale_betas_zero_snr": true, "timestep_spacing": "trailing",
        "prediction_type": "v_prediction"});
    let nearly = Defect::NearlyZeroTerminalSnr;
    for class in ["EulerDiscrete", "EulerAncestralDiscrete"] {
        let exact = configured(class, fields.clone(), &Request::steps(4))?;
        assert_eq!(exact.grid().start().alpha(), 0.0);
        assert_eq!(exact.sampler().start_variance(), 1.0);
        assert_eq!(exact.report().defects, [(nearly, false)]);
        let request = Request::steps(4).reproducing(nearly);
        let published = configured(class, fields.clone(), &request)?;
        // ρ² = 2²⁴ − 1.
        let rho = 16_777_215f64.sqrt();
        near(&published.sigmas()[..1], &[rho]);
        near(&[published.init_noise_sigma()], &[rho]);
        // All other knots are the same.
        near(&published.sigmas()[1..], &exact.sigmas()[1..]);
    }
    let mut karras = fields;
    karras["use_karras_sigmas"] = json!(true);
    names_field(
        configured("EulerDiscrete", karras.clone(), &Request::steps(4)),
        "use_karras_sigmas",
    );
    karras["sigma_max"] = json!(30.0);
    let cut = configured("EulerDiscrete", karras, &Request::steps(4))?;
    near(&cut.sigmas()[..1], &[30.0]);
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
            // Linear multistep methods extrapolate onto the clean end.
            assert_eq!(same, class != "LMSDiscrete", "{class} {fields}");
            assert_eq!(defects(&default).is_empty(), same, "{class} {fields}");
        }
    }
    Ok(())
}

#[test]
fn a_linspace_of_one_step_starts_at_the_noisy_end() -> Outcome {
    let defect = Defect::OneStepFromTheLeastNoise;
    for class in ALL {
        let default = configured(class, json!({}), &Request::steps(1))?;
        near(&default.sigmas(), &[at(999.0), 0.0]);
        assert_eq!(defects(&default), [defect]);
        let request = Request::steps(1).reproducing(defect);
        let published = configured(class, json!({}), &request)?;
        near(&published.sigmas(), &[at(0.0), 0.0]);
        near(published.times(), &[0.0]);
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
fn a_given_list_of_sigmas_is_taken_as_it_is() -> Outcome {
    let given = [10.0, 4.0, 1.0, 0.3];
    let with_end = [10.0, 4.0, 1.0, 0.3, 0.0];
    let times: Vec<f64> = given.iter().map(|&rho| index_of(rho)).collect();
    // A list without its end, and one with it.
    let default = configured("EulerDiscrete", json!({}), &Request::of_sigmas(&given))?;
    let ended = configured("EulerDiscrete", json!({}), &Request::of_sigmas(&with_end))?;
    for configured in [&default, &ended] {
        near(&configured.sigmas(), &with_end);
        near(configured.times(), &times);
    }
    assert_eq!(defects(&default), [Defect::ListHoldsItsEnd]);
    assert!(defects(&ended).is_empty());
    let request = Request::of_sigmas(&given).reproducing(Defect::ListHoldsItsEnd);
    let published = configured("EulerDiscrete", json!({}), &request)?;
    near(&published.sigmas(), &given);
    near(published.times(), &times[..3]);
    for wrong in [&[1.0, 2.0, 0.0][..], &[2.0, -1.0], &[f64::NAN], &[]] {
        let request = Request::of_sigmas(wrong);
        assert!(configured("EulerDiscrete", json!({}), &request).is_err());
    }
    for class in ALL.into_iter().chain(["EDMEuler"]).skip(1) {
        let result = configured(class, json!({}), &Request::of_sigmas(&given));
        assert!(
            matches!(result, Err(Error::RequestRefused { .. })),
            "{class}"
        );
    }
    Ok(())
}

#[test]
fn a_given_list_of_times_is_interpolated() -> Outcome {
    let times = [900.0, 499.5, 20.0];
    for class in ALL {
        let result = configured(class, json!({}), &Request::of_times(&times));
        if !["EulerDiscrete", "HeunDiscrete"].contains(&class) {
            assert!(
                matches!(result, Err(Error::RequestRefused { .. })),
                "{class}"
            );
            continue;
        }
        near(&result?.sigmas(), &[at(900.0), at(499.5), at(20.0), 0.0]);
        for field in [
            "use_karras_sigmas",
            "use_exponential_sigmas",
            "use_beta_sigmas",
        ] {
            let mut fields = json!({});
            fields[field] = json!(true);
            names_field(configured(class, fields, &Request::of_times(&times)), field);
        }
        for wrong in [&[1000.0, 3.0][..], &[3.0, 10.0], &[-1.0], &[]] {
            assert!(configured(class, json!({}), &Request::of_times(wrong)).is_err());
        }
    }
    let continuous = json!({"timestep_type": "continuous", "prediction_type": "v_prediction"});
    let result = configured("EulerDiscrete", continuous, &Request::of_times(&times));
    assert!(matches!(result, Err(Error::RequestRefused { .. })));
    Ok(())
}

#[test]
fn log_linear_is_geometric_between_the_ends_of_the_table() -> Outcome {
    let fields = || json!({"interpolation_type": "log_linear", "timestep_spacing": "trailing"});
    let (max, min) = (at(999.0), at(0.0));
    let geometric = |k: usize, of: usize| max * (min / max).powf(k as f64 / of as f64);
    let default = configured("EulerDiscrete", fields(), &Request::steps(4))?;
    let own: Vec<f64> = (0..4).map(|k| geometric(k, 3)).collect();
    near(&default.sigmas()[..4], &own);
    assert_eq!(default.sigmas()[4], 0.0);
    let times: Vec<f64> = own.iter().map(|&rho| index_of(rho)).collect();
    near(default.times(), &times);
    let request = Request::steps(4).reproducing(Defect::LogLinearList);
    let published = configured("EulerDiscrete", fields(), &request)?;
    let longer: Vec<f64> = (0..5).map(|k| geometric(k, 4)).collect();
    near(&published.sigmas(), &longer);
    near(published.times(), &[999.0, 749.0, 499.0, 249.0]);
    // A ramp runs between the ends of that list, which are the table's, and not the spacing's.
    let mut karras = fields();
    karras["use_karras_sigmas"] = json!(true);
    let karras = configured("EulerDiscrete", karras, &Request::steps(4))?;
    near(&[karras.sigmas()[0], karras.sigmas()[3]], &[max, min]);
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
fn linear_multistep_returns_the_data_and_in_the_library_extrapolates() -> Outcome {
    let onto = Defect::ExtrapolatesOntoTheEnd;
    let default = configured("LMSDiscrete", json!({}), &Request::steps(6))?;
    assert_eq!(defects(&default), [onto]);
    let last = |configured: &Configured| {
        let steps = configured.sampler().plan().steps();
        steps[steps.len() - 1].stages[0].update.clone()
    };
    let update = last(&default);
    assert_eq!(
        (update.state, update.data, update.history.len()),
        (0.0, 1.0, 0)
    );
    let request = Request::steps(6).reproducing(onto);
    let published = configured("LMSDiscrete", json!({}), &request)?;
    assert_eq!(last(&published).history.len(), 3);
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
    let request = Request::steps(500).reproducing(Defect::ExtrapolatesOntoTheEnd);
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

#[test]
fn what_a_class_cannot_do_is_refused_by_name() {
    let steps = Request::steps(4);
    for class in WITH_RAMPS {
        let two = json!({"use_karras_sigmas": true, "use_beta_sigmas": true});
        names_field(configured(class, two, &steps), "use_beta_sigmas");
    }
    for class in ALL {
        let flow = json!({"prediction_type": "flow_prediction"});
        names_field(configured(class, flow, &steps), "prediction_type");
        let other = json!({"prediction_type": "nonsense"});
        names_field(configured(class, other, &steps), "prediction_type");
        let spacing = json!({"timestep_spacing": "nonsense"});
        names_field(configured(class, spacing, &steps), "timestep_spacing");
        let data = configured(class, json!({"prediction_type": "sample"}), &steps);
        match ["EulerDiscrete", "HeunDiscrete", "LMSDiscrete"].contains(&class) {
            true => assert_eq!(data.map(|it| it.prediction()), Ok(Prediction::Data)),
            false => names_field(data, "prediction_type"),
        }
    }
    for (field, value) in [
        ("interpolation_type", "cubic"),
        ("timestep_type", "both"),
        ("final_sigmas_type", "nothing"),
    ] {
        let mut fields = json!({});
        fields[field] = json!(value);
        names_field(configured("EulerDiscrete", fields, &steps), field);
    }
    let edm = json!({"prediction_type": "sample"});
    names_field(configured("EDMEuler", edm, &steps), "prediction_type");
    let edm = json!({"sigma_schedule": "linear"});
    names_field(configured("EDMEuler", edm, &steps), "sigma_schedule");
}

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
