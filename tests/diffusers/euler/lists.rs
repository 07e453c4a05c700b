//! The lists of σ.

use diffusion_sampler::diffusers::{Defect, Request};
use diffusion_sampler::solver::Churn;
use diffusion_sampler::{Error, Prediction};
use serde_json::json;

use super::{ALL, Outcome, WITH_RAMPS, at, configured, defects, index_of, names_field, near};

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
    let svd = configured("EulerDiscrete", fields, &Request::steps(25))?;
    let sigmas = svd.sigmas();
    near(&[sigmas[0], sigmas[24]], &[700.0, 0.002]);
    let times: Vec<f64> = sigmas[..25].iter().map(|sigma| 0.25 * sigma.ln()).collect();
    near(svd.times(), &times);
    near(&svd.network_times(), &times);
    assert_eq!(svd.prediction(), Prediction::Velocity);
    near(
        &[svd.init_noise_sigma()],
        &[(700.0f64 * 700.0 + 1.0).sqrt()],
    );
    near(&[svd.sampler().start_variance()], &[1.0]);
    // The schedule between the knots tells the same.
    let between = svd.schedule().expect("a schedule").level(3.0)?;
    near(
        &[between.rho(), between.model_time()],
        &[3.0, 0.25 * 3f64.ln()],
    );
    near(&[svd.schedule().expect("a schedule").last_time()], &[700.0]);
    // Beyond a table the network is told its indices, and time is ρ.
    let fields = json!({"sigma_max": 700.0, "use_karras_sigmas": true});
    let beyond = configured("EulerDiscrete", fields, &Request::steps(5))?;
    let schedule = beyond.schedule().expect("a schedule");
    near(&[schedule.last_time(), beyond.sigmas()[0]], &[700.0; 2]);
    assert_eq!(schedule.level(100.0)?.model_time(), 999.0);
    let noise = json!({"timestep_type": "continuous"});
    let noise = configured("EulerDiscrete", noise, &Request::steps(3))?;
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
    let ramp = configured("EulerDiscrete", karras.clone(), &Request::steps(4))?;
    near(&ramp.sigmas()[..1], &[16_777_215f64.sqrt()]);
    let mut continuous = json!({"rescale_betas_zero_snr": true, "timestep_spacing": "trailing",
        "prediction_type": "v_prediction", "timestep_type": "continuous"});
    names_field(
        configured("EulerDiscrete", continuous.clone(), &Request::steps(4)),
        "timestep_type",
    );
    // Leading times do not reach it.
    continuous["timestep_spacing"] = json!("leading");
    let leading = configured("EulerDiscrete", continuous, &Request::steps(4))?;
    let start = leading.grid().start();
    near(&[start.model_time()], &[0.25 * start.rho().ln()]);
    karras["sigma_max"] = json!(30.0);
    let cut = configured("EulerDiscrete", karras, &Request::steps(4))?;
    near(&cut.sigmas()[..1], &[30.0]);
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
