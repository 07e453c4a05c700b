//! Plans, lists and reports where an option or a coincidence decides: against what follows from it.

use diffusion_sampler::diffusers::{Configured, Defect, Request, Value};
use diffusion_sampler::plan::Stage;
use diffusion_sampler::solver::{Churn, FirstOrder, Path, Solver};
use diffusion_sampler::{Error, NoiseLevel, Prediction};

use super::multistep_common::*;

const EULER: &str = "EulerDiscreteScheduler";
const FLOW: &str = "FlowMatchEulerDiscreteScheduler";
const PNDM: &str = "PNDMScheduler";

fn stages(configured: &Configured) -> impl Iterator<Item = &Stage> {
    configured.sampler().plan().stages()
}

fn defects(configured: &Configured) -> Vec<Defect> {
    names(&configured.report().defects)
}

/// Up from the clean state the library has α'x + σ'E, whatever the network predicts.
#[test]
fn the_published_inversion_leaves_the_clean_state_by_the_networks_own_noise() -> Result<(), Error> {
    let (x, output) = (0.7, -0.4);
    for word in ["epsilon", "v_prediction"] {
        let fields: Fields<'_> = &[("prediction_type", word.into())];
        let request = Request::steps(6).as_published();
        let configured = read("DDIMInverseScheduler", fields, &request);
        let step = &configured.sampler().plan().steps()[0];
        assert!(step.from.is_clean());
        let [stage] = step.stages.as_slice() else {
            panic!("{step:?}");
        };
        let update = &stage.update;
        let level = stage.evaluate.expect("a call");
        let data = configured.prediction().data(&level)?.of(x, output);
        let found = update.state * x + update.data * data;
        // At α = 1 the velocity is E.
        let expected = step.to.alpha() * x + step.to.sigma() * output;
        close(&[found], &[expected], 1e-14);
    }
    Ok(())
}

/// A step of no length is the last one's place in the list: the one before it is no last step.
#[test]
fn before_a_step_of_no_length_the_order_is_not_lowered() {
    let least = ("final_sigmas_type", Value::from("sigma_min"));
    for class in [EDM, COSINE] {
        let idle = in_steps(class, std::slice::from_ref(&least), 6);
        assert_eq!(older(&idle), [0, 1, 1, 1, 1], "{class}");
        let first = [least.clone(), ("euler_at_final", true.into())];
        assert_eq!(
            older(&in_steps(class, &first, 6)),
            [0, 1, 1, 1, 1],
            "{class}"
        );
        assert_eq!(
            older(&in_steps(class, &[], 6)),
            [0, 1, 1, 1, 1, 0],
            "{class}"
        );
    }
    let times = Request::of_times(&[900.0, 600.0, 300.0, 0.0]);
    assert_eq!(older(&read(DPM, &[least], &times)), [0, 1, 1]);
    assert_eq!(older(&read(DPM, &[], &times)), [0, 1, 1, 0]);
}

#[test]
fn published_pndm_makes_the_librarys_number_of_calls_and_ends_where_it_does() {
    let skips = ("skip_prk_steps", Value::from(true));
    let offset = ("steps_offset", Value::from(1));
    let calls = |configured: &Configured| configured.sampler().plan().evaluations();
    // Its list of calls has the second time twice, but one time alone is called once.
    let one = read(
        PNDM,
        &[skips.clone(), offset.clone()],
        &Request::steps(1).as_published(),
    );
    assert_eq!(calls(&one), 1);
    assert_eq!(defects(&one), [Defect::PndmAsWritten]);
    let two = read(
        PNDM,
        &[skips, offset.clone()],
        &Request::steps(2).as_published(),
    );
    assert_eq!(calls(&two), 3);
    // The step from index 0 to itself is a call of the library's.
    let velocity = ("prediction_type", Value::from("v_prediction"));
    let ten = Request::steps(10);
    let idle = std::slice::from_ref(&velocity);
    assert_eq!(read(PNDM, idle, &ten).grid().steps(), 9);
    assert_eq!(
        read(PNDM, idle, &ten.clone().as_published()).grid().steps(),
        10
    );
    assert_eq!(in_steps(PNDM, &[], 10).grid().steps(), 9);
    // Else the last step leads to index 0.
    let published = read(PNDM, &[velocity, offset], &ten.as_published());
    let sigmas = published.sigmas();
    assert_eq!(sigmas.len(), 11);
    close(&sigmas[10..], &rhos()[..1], 1e-12);
}

#[test]
fn the_printed_solver_of_a_defect_has_its_stride() {
    let trailing: Fields<'_> = &[("timestep_spacing", "trailing".into())];
    for (class, shown) in [
        ("CogVideoXDDIMScheduler", "Strided { stride: 33.0, .. }"),
        ("DDIMScheduler", "Strided { stride: 33.0, .. }"),
        ("DDIMInverseScheduler", "AsWritten { stride: 33.0, .. }"),
        (
            PNDM,
            "AsWritten { stride: 33.0, plms: false, weighted: Noise, .. }",
        ),
    ] {
        let printed = read(class, trailing, &Request::steps(30).as_published()).to_string();
        assert!(printed.contains(shown), "{printed}");
    }
}

#[test]
fn ipndm_ends_at_the_clean_level_itself() {
    for steps in [1, 3, 10] {
        let configured = in_steps("IPNDMScheduler", &[], steps);
        assert!(configured.grid().end().is_clean());
        // σ = sin²(πu/2).
        let sine = |k: usize| {
            let part = k as f64 / steps as f64;
            (part * std::f64::consts::FRAC_PI_2).cos().powi(2)
        };
        let sigmas: Vec<f64> = configured
            .grid()
            .levels()
            .iter()
            .map(NoiseLevel::sigma)
            .collect();
        let expected: Vec<f64> = (0..=steps).map(sine).collect();
        close(&sigmas, &expected, 1e-15);
    }
}

#[test]
fn the_ends_of_a_ramp_are_the_knots_of_the_spaced_list() -> Result<(), Error> {
    for offset in 1..=30 {
        let fields: Fields<'_> = &[
            ("use_karras_sigmas", true.into()),
            ("timestep_spacing", "leading".into()),
            ("steps_offset", offset.into()),
        ];
        let configured = in_steps(EULER, fields, 5);
        let schedule = configured.schedule().expect("a table");
        let ends = [0, 4].map(|place| configured.grid().levels()[place]);
        for (level, index) in ends.into_iter().zip([800 + offset, offset]) {
            let index = f64::from(index);
            let expected = schedule.level(index + 1.0)?.with_model_time(index);
            assert_eq!(level, expected);
        }
    }
    Ok(())
}

#[test]
fn a_ramp_may_leave_the_table_at_either_end() {
    for (max, min) in [(9.0, 0.01), (20.0, 0.1), (20.0, 0.01)] {
        let fields: Fields<'_> = &[
            ("use_exponential_sigmas", true.into()),
            ("sigma_max", max.into()),
            ("sigma_min", min.into()),
        ];
        let configured = in_steps(EULER, fields, 3);
        close(
            &configured.sigmas(),
            &[max, (max * min).sqrt(), min, 0.0],
            1e-12,
        );
    }
    // A level beyond the table has the time of its end.
    let fields: Fields<'_> = &[
        ("use_karras_sigmas", true.into()),
        ("sigma_max", 20.0.into()),
        ("sigma_min", 0.01.into()),
    ];
    let configured = in_steps(DPM, fields, 5);
    let levels = configured.grid().levels();
    assert_eq!((levels[0].time(), levels[4].time()), (1000.0, 1.0));
}

/// √ᾱ rescaled to end at 0 (Lin et al. 2024), nowhere below the library's last ᾱ and rising to it.
#[test]
fn a_steep_table_of_nearly_zero_terminal_snr_still_grows_noisier_at_each_index() -> Result<(), Error>
{
    const COUNT: u32 = 20;
    let fields: Fields<'_> = &[
        ("beta_schedule", "linear".into()),
        ("beta_start", 0.5.into()),
        ("beta_end", 0.9.into()),
        ("num_train_timesteps", f64::from(COUNT).into()),
        ("rescale_betas_zero_snr", true.into()),
        ("prediction_type", "v_prediction".into()),
    ];
    let request = Request::steps(4).reproducing(Defect::NearlyZeroTerminalSnr);
    let configured = read(EULER, fields, &request);
    let mut product = 1.0;
    let roots: Vec<f64> = (0..COUNT)
        .map(|i| {
            product *= 0.5 - 0.4 * f64::from(i) / f64::from(COUNT - 1);
            f64::sqrt(product)
        })
        .collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let schedule = configured.schedule().expect("a table");
    let mut raised = 0;
    for (knot, root) in (1..).zip(&roots) {
        let exact = ((root - last) * first / (first - last)).powi(2);
        let least = 2f64.powi(-24) * (1.0 + f64::from(COUNT - knot) * 2f64.powi(-30));
        raised += u32::from(least > exact);
        let alpha = schedule.level(f64::from(knot))?.alpha();
        let ratio = alpha * alpha / exact.max(least);
        assert!((ratio - 1.0).abs() < 1e-11, "{knot}: {ratio}");
    }
    assert!(raised > 1);
    Ok(())
}

#[test]
fn wuerstchens_scaler_bends_the_time() {
    type Scaled = fn(f64) -> f64;
    let scaled: [(f64, Scaled); 3] = [
        (0.5, f64::sqrt),
        (1.0, |time| time),
        (2.0, |time| 1.0 - (1.0 - time) * (1.0 - time)),
    ];
    for (scaler, of) in scaled {
        let configured = in_steps("DDPMWuerstchenScheduler", &[("scaler", scaler.into())], 8);
        let cosine = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos();
        for level in configured.grid().levels() {
            let ratio = cosine(of(level.model_time())) / cosine(0.0);
            let expected = (ratio * ratio).clamp(1e-4, 0.9999);
            close(&[level.alpha() * level.alpha()], &[expected], 1e-14);
        }
    }
}

#[test]
fn unipcs_clean_end_is_noted_where_the_librarys_weights_are_infinite() {
    for data in [true, false] {
        for kind in ["bh1", "bh2"] {
            for lower in [true, false] {
                for order in [1, 2] {
                    let fields: Fields<'_> = &[
                        ("predict_x0", data.into()),
                        ("solver_type", kind.into()),
                        ("lower_order_final", lower.into()),
                        ("solver_order", order.into()),
                    ];
                    // Only the step x₀ + (e^−h − 1)(x − x₀) is finite at h = ∞.
                    let finite = data && kind == "bh2" && (lower || order == 1);
                    let noted = mentions(&in_steps(UNIPC, fields, 5), "is not a number");
                    assert_eq!(noted, !finite, "{fields:?}");
                }
            }
        }
    }
}

#[test]
fn unipc_weighs_near_knots_in_the_library_only() {
    let flow: Fields<'_> = &[
        ("use_flow_sigmas", true.into()),
        ("prediction_type", "flow_prediction".into()),
    ];
    let free = Defect::ExtrapolatesFreely;
    let request = Request::of_sigmas(&[0.9, 0.899, 0.5, 0.2]);
    let ours = read(UNIPC, flow, &request);
    assert!(ours.report().defects.contains(&(free, false)));
    let theirs = read(UNIPC, flow, &request.reproducing(free));
    assert_ne!(ours.sampler().plan(), theirs.sampler().plan());
}

#[test]
fn noisy_single_steps_keep_what_is_read_later_and_nothing_else() {
    for order in [1, 2, 3] {
        for lower in [true, false] {
            for steps in 5..=10 {
                let fields: Fields<'_> = &[
                    ("algorithm_type", "sde-dpmsolver++".into()),
                    ("solver_order", order.into()),
                    ("lower_order_final", lower.into()),
                    ("use_exponential_sigmas", true.into()),
                ];
                let configured = in_steps(SINGLE, fields, steps);
                // For each slot: whether what it holds has been read.
                let mut read: [Option<bool>; 4] = [None; 4];
                for stage in stages(&configured) {
                    for &(slot, _) in &stage.update.history {
                        assert!(read[slot].is_some(), "{fields:?} in {steps} steps");
                        read[slot] = Some(true);
                    }
                    if let Some(store) = stage.update.store {
                        let unread = read[store.slot].replace(false) == Some(false);
                        assert!(!unread, "{fields:?} in {steps} steps");
                    }
                }
                assert!(!read.contains(&Some(false)), "{fields:?} in {steps} steps");
            }
        }
    }
}

#[test]
fn noisy_single_steps_look_back_over_a_sixteenth_of_the_group() {
    let table = rhos();
    let mut both = [0, 0];
    for second in [895usize, 890, 880, 870, 860, 850, 830, 800] {
        let times = [900.0, second as f64, 300.0, 100.0];
        let fields: Fields<'_> = &[("algorithm_type", "sde-dpmsolver++".into())];
        let configured = read(SINGLE, fields, &Request::of_times(&times));
        // −λ = ln ρ.
        let [first, second, third] = [900, second, 300].map(|index| table[index].ln());
        let far = first - second >= (first - third) / 16.0;
        let step = &configured.sampler().plan().steps()[1];
        let history = &step.stages.last().expect("a stage").update.history;
        assert_eq!(!history.is_empty(), far, "{times:?}");
        both[usize::from(far)] += 1;
    }
    assert!(both.iter().all(|&count| count > 1), "{both:?}");
}

#[test]
fn fresh_noise_and_its_defect_are_told_of_noisy_single_steps_only() {
    let sde = ("algorithm_type", Value::from("sde-dpmsolver++"));
    let third = ("solver_order", Value::from(3));
    let wrong = Defect::WrongSignOfTheSecondDifference;
    for fields in [&[][..], std::slice::from_ref(&third)] {
        let open = in_steps(SINGLE, fields, 6);
        assert!(!mentions(&open, "with fresh noise"));
        assert_eq!(defects(&open), []);
    }
    // The form that has a second difference.
    let fields = [sde, third, ("solver_type", "heun".into())];
    let noisy = in_steps(SINGLE, &fields, 6);
    assert!(mentions(&noisy, "with fresh noise"));
    assert_eq!(noisy.report().defects, [(wrong, false)]);
    let theirs = read(SINGLE, &fields, &Request::steps(6).reproducing(wrong));
    assert_ne!(noisy.sampler().plan(), theirs.sampler().plan());
}

#[test]
fn churn_beyond_the_schedule_is_noted_and_churn_of_no_step_is_none() {
    let of = |request: Request, amount: f64, most: f64| {
        let churn = Churn::new(amount).and_then(|churn| churn.between(0.0, most));
        read(EULER, &[], &request.churn(churn.expect("a churn")))
    };
    let part = "noisy end of the schedule";
    let list = |first: f64| Request::of_sigmas(&[first, 1.0, 0.0]);
    let end = rhos()[999];
    assert!((14.6..14.7).contains(&end));
    // Of two steps: ρ grows by half the amount.
    assert!(!mentions(&of(list(14.0), 0.01, 1e9), part));
    assert!(mentions(&of(list(14.5), 0.1, 1e9), part));
    assert!(!mentions(&of(list(12.0), 0.1, 1e9), part));
    // The first of the whole list is the end, and here it does not grow.
    let inside = of(Request::steps(5), 1.0, 10.0);
    assert!(!mentions(&inside, part));
    assert_eq!(defects(&inside), [Defect::ChurnAfterTheCall]);
    assert!(mentions(&of(Request::steps(5), 1.0, 1e9), part));
    // No knot is that clean.
    let none = of(Request::steps(5), 1.0, 1e-6);
    assert_eq!(defects(&none), []);
    let plan = FirstOrder::ddim().plan(&Path::without_schedule(none.grid()));
    assert_eq!(plan.as_ref(), Ok(none.sampler().plan()));
}

/// S_churn/N, where the library's logarithmic list counts one σ more than there are steps.
#[test]
fn churn_of_the_published_logarithmic_list_is_over_its_length() {
    let fields: Fields<'_> = &[("interpolation_type", "log_linear".into())];
    let churn = Churn::new(1.0).expect("a churn");
    let configured = read(
        EULER,
        fields,
        &Request::steps(4).churn(churn).as_published(),
    );
    let steps = configured.sampler().plan().steps();
    assert_eq!(steps.len(), 4);
    for step in steps {
        // Of a network of noise the whole noise stays: ρ √(1.2² − 1).
        let noise = step.stages[0].update.noise / (step.to.alpha() * step.from.rho());
        close(&[noise], &[0.44f64.sqrt()], 1e-13);
    }
}

#[test]
fn the_end_of_a_flows_list_at_its_last_sigma_is_no_other_level() {
    let flow: Fields<'_> = &[
        ("use_flow_sigmas", true.into()),
        ("prediction_type", "flow_prediction".into()),
    ];
    let least: Fields<'_> = &[
        flow[0].clone(),
        flow[1].clone(),
        ("final_sigmas_type", "sigma_min".into()),
    ];
    for (class, fields) in [(UNIPC, least), (SA, flow)] {
        let open = in_steps(UNIPC, flow, 6).sigmas();
        let sigmas = in_steps(class, fields, 6).sigmas();
        assert_eq!(sigmas.len(), 6, "{class}");
        assert!(sigmas[5] > 0.0 && open.len() == 7);
        if class == UNIPC {
            assert_eq!(sigmas, open[..6]);
        }
    }
}

#[test]
fn one_step_of_linear_multistep_returns_the_estimate() {
    // A table that ends at pure noise.
    let pure: Fields<'_> = &[
        ("beta_schedule", "linear".into()),
        ("beta_end", 1.0.into()),
        ("prediction_type", "sample".into()),
    ];
    for (fields, request) in [
        (&[][..], Request::steps(1)),
        (&[], Request::steps(5).strength(0.2)),
        (pure, Request::steps(1)),
    ] {
        let configured = read("LMSDiscreteScheduler", fields, &request);
        let [step] = configured.sampler().plan().steps() else {
            panic!("{request:?}");
        };
        let update = &step.stages[0].update;
        assert_eq!((update.state, update.data), (0.0, 1.0));
        assert!(update.history.is_empty() && update.store.is_none());
    }
}

#[test]
fn a_network_of_the_other_sign_is_that() {
    let linear = |data, noise| Prediction::Linear { data, noise };
    let predictions: [(&str, Fields<'_>, Prediction, Option<&str>); 3] = [
        ("DDIMScheduler", &[], linear(0.0, -1.0), None),
        (
            "DDIMScheduler",
            &[("prediction_type", "sample".into())],
            linear(-1.0, 0.0),
            None,
        ),
        (
            FLOW,
            &[],
            linear(1.0, -1.0),
            Some("flow, reversed: data - noise"),
        ),
    ];
    for (class, fields, expected, words) in predictions {
        let configured = read(class, fields, &Request::steps(3).reversed_output());
        assert_eq!(configured.prediction(), expected, "{class}");
        let words = words.map_or_else(|| expected.to_string(), str::to_owned);
        let line = format!("  network predicts  {words}\n");
        assert!(configured.to_string().contains(&line), "{configured}");
    }
}

#[test]
fn the_network_is_told_time_0_of_edms_clean_end() {
    for class in [EDM, COSINE, "EDMEulerScheduler"] {
        let configured = in_steps(class, &[], 4);
        let schedule = configured.schedule().expect("a schedule");
        let clean = schedule.level(0.0).expect("a level");
        assert!(clean.is_clean());
        assert_eq!(clean.model_time(), 0.0, "{class}");
        assert_eq!(configured.grid().end().model_time(), 0.0, "{class}");
    }
}

#[test]
fn repaint_has_no_offset() {
    let class = "RePaintScheduler";
    let offset = in_steps(class, &[("steps_offset", 3.into())], 20);
    assert_eq!(offset.times(), in_steps(class, &[], 20).times());
    let ignored = &offset.report().ignored;
    assert!(
        ignored
            .iter()
            .any(|field| field.name == "steps_offset" && !field.known)
    );
}

#[test]
fn a_list_that_the_file_has_is_not_called_a_default() {
    let betas: Fields<'_> = &[
        ("num_train_timesteps", 3.into()),
        ("trained_betas", vec![0.1, 0.2, 0.3].into()),
    ];
    for (fields, default) in [(&[][..], true), (betas, false)] {
        let configured = in_steps("DDIMScheduler", fields, 2);
        let read = &configured.report().read;
        let field = read.iter().find(|field| field.name == "trained_betas");
        assert_eq!(field.expect("it is read").default, default);
    }
}

#[test]
fn a_rule_for_mu_that_is_followed_is_not_unused() {
    let dynamic: Fields<'_> = &[("use_dynamic_shifting", true.into())];
    let tokens = Request::steps(5).image_tokens(600);
    for request in [
        tokens.clone(),
        tokens.clone().mu_of_flux2(),
        tokens.mu_of_cogview4(),
        Request::steps(5).mu(0.3),
    ] {
        let configured = read(FLOW, dynamic, &request);
        assert!(configured.report().unused.is_empty(), "{request:?}");
    }
    let unused = read(FLOW, &[], &Request::steps(5).mu_of_flux2());
    assert_eq!(unused.report().unused, ["mu"]);
}
