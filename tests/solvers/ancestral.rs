//! The ancestral steps of k-diffusion and ComfyUI, as their code publishes them, on states and noise.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    posterior::{Kappa, StridedPosterior},
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule},
    solver::{FirstOrder, Path, Solver},
};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

const START: f64 = 0.7;

/// k-diffusion's `sample_euler_ancestral`: σ is ρ, the state x/α.
fn k_diffusion(path: &Path<'_>, eta: f64) -> Vec<f64> {
    let mut states = Vec::new();
    let mut x = START;
    for (k, (from, to)) in path.edges().enumerate() {
        let d = denoise(x, &from);
        let (rho, next) = (from.rho(), to.rho());
        let mut y = d;
        let up = if rho.is_infinite() {
            next.min(eta * next)
        } else {
            next.min(eta * (next.powi(2) * (rho.powi(2) - next.powi(2)) / rho.powi(2)).sqrt())
        };
        let down = (next.powi(2) - up.powi(2)).sqrt();
        if rho.is_finite() {
            y = x / from.alpha();
            y += (y - d) / rho * (down - rho);
        } else {
            // E of the limit.
            y += x / from.sigma() * down;
        }
        if next > 0.0 {
            y += up * normal(k as u32, 0);
        }
        x = to.alpha() * y;
        states.push(x);
    }
    states
}

/// ComfyUI's `sample_euler_ancestral_RF`: the state is that of a flow, x/(α + σ), its σ is σ/(α + σ).
fn rectified_flow(path: &Path<'_>, eta: f64) -> Vec<f64> {
    let mut states = Vec::new();
    let mut x = START;
    for (k, (from, to)) in path.edges().enumerate() {
        let flow = |level: &NoiseLevel| level.sigma() / (level.alpha() + level.sigma());
        let (sigma, next) = (flow(&from), flow(&to));
        let d = denoise(x, &from);
        let mut y = d;
        if next > 0.0 {
            let down = next * (1.0 + (next / sigma - 1.0) * eta);
            let (alpha_next, alpha_down) = (1.0 - next, 1.0 - down);
            let noise = next.powi(2) - down.powi(2) * alpha_next.powi(2) / alpha_down.powi(2);
            y = down / sigma * (x / (from.alpha() + from.sigma())) + (1.0 - down / sigma) * d;
            if eta > 0.0 {
                y = alpha_next / alpha_down * y + normal(k as u32, 0) * noise.max(0.0).sqrt();
            }
        }
        x = (to.alpha() + to.sigma()) * y;
        states.push(x);
    }
    states
}

fn is_flow(path: &Path<'_>) -> bool {
    let levels = path.grid().levels();
    levels
        .iter()
        .all(|l| (l.alpha() + l.sigma() - 1.0).abs() < 1e-12)
}

type Recurrence = fn(&Path<'_>, f64) -> Vec<f64>;

#[test]
fn ancestral_policies_are_the_published_recurrences() -> Outcome {
    let mut flows = 0;
    for steps in [1, 2, 5, 12] {
        for clean in [true, false] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                for eta in [0.0, 0.3, 0.5, 1.0, 1.05, 2.5] {
                    let chosen: Recurrence = if is_flow(&path) {
                        flows += 1;
                        rectified_flow
                    } else {
                        k_diffusion
                    };
                    let policies: [(Kappa, Recurrence); 3] = [
                        (Kappa::CappedEta(eta), k_diffusion),
                        (Kappa::FlowEta(eta), rectified_flow),
                        (Kappa::Ancestral(eta), chosen),
                    ];
                    for (kappa, published) in policies {
                        let place = format!("{kappa}, {schedule:?}, {steps}, {clean}");
                        match states(&path, &FirstOrder::new(kappa), START) {
                            Ok(ours) => assert_close(&ours, &published(&path, eta), 1e-12, &place),
                            // Above 1, the flow's form may ask to go below σ = 0.
                            Err(error) => assert!(
                                matches!(
                                    error.downcast_ref(),
                                    Some(Error::EtaOutOfRange { eta, .. }) if *eta > 1.0
                                ) && !matches!(kappa, Kappa::CappedEta(_)),
                                "{place}: {error}"
                            ),
                        }
                    }
                }
            }
        }
    }
    assert_eq!(flows, 48);
    Ok(())
}

#[test]
fn from_pure_noise_they_are_the_limits_of_the_published_recurrences() -> Outcome {
    let flow = RectifiedFlow::new();
    let zero = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?.zero_terminal_snr()?;
    let schedules: [&dyn NoiseSchedule; 2] = [&flow, &zero];
    for schedule in schedules {
        for steps in [1, 2, 7] {
            let grid = Grid::trailing(schedule, steps)?;
            assert_eq!(grid.start().alpha(), 0.0);
            let path = Path::new(schedule, &grid)?;
            for eta in [0.0, 0.4, 1.0] {
                let policies: [(Kappa, Recurrence); 2] = [
                    (Kappa::CappedEta(eta), k_diffusion),
                    (Kappa::FlowEta(eta), rectified_flow),
                ];
                for (kappa, published) in policies {
                    let ours = states(&path, &FirstOrder::new(kappa), START)?;
                    let place = format!("{kappa}, {schedule:?}, {steps}");
                    assert_close(&ours, &published(&path, eta), 1e-12, &place);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn ancestral_is_ddpm_but_on_a_flow() -> Outcome {
    for (schedule, grid) in paths(5, true)? {
        let path = Path::new(&schedule, &grid)?;
        let ours = states(&path, &FirstOrder::ancestral(), START)?;
        let ddpm = states(&path, &FirstOrder::ddpm(), START)?;
        let flow = states(&path, &FirstOrder::new(Kappa::FlowEta(1.0)), START)?;
        if is_flow(&path) {
            assert_eq!(ours, flow);
            assert!((ours[2] - ddpm[2]).abs() > 1e-3);
        } else {
            assert_close(&ours, &ddpm, 1e-13, "DDPM");
            assert!((ours[2] - flow[2]).abs() > 1e-3);
        }
    }
    // Pure noise and the clean end lie on a flow and on every other schedule: κ does not matter.
    let zero = TableSchedule::linear(1000, 1e-4, 0.02)?.zero_terminal_snr()?;
    let grid = Grid::trailing(&zero, 4)?;
    let path = Path::new(&zero, &grid)?;
    let capped = FirstOrder::new(Kappa::CappedEta(1.0)).plan(&path)?;
    assert_eq!(FirstOrder::ancestral().plan(&path)?, capped);
    Ok(())
}

#[test]
fn capped_eta_is_eta_up_to_its_cap() -> Outcome {
    for (schedule, grid) in paths(7, false)? {
        let path = Path::new(&schedule, &grid)?;
        let (mut capped, mut free) = (0, 0);
        for (from, to) in path.edges() {
            for eta in [0.0, 0.7, 1.0, 1.02, 1.1, 1.5, 40.0, 1e200, f64::MAX] {
                let q = StridedPosterior::new(from, to, Kappa::CappedEta(eta))?;
                match StridedPosterior::new(from, to, Kappa::Eta(eta)) {
                    Ok(same) => {
                        assert_eq!(q, same);
                        free += 1;
                    }
                    Err(Error::EtaOutOfRange { .. }) => {
                        assert_eq!(q, StridedPosterior::new(from, to, Kappa::Fresh)?);
                        capped += 1;
                    }
                    Err(other) => return Err(other.into()),
                }
            }
        }
        assert!(capped > 20 && free > 20, "{schedule:?}");
    }
    Ok(())
}

#[test]
fn flow_eta_keeps_its_digits_on_steps_of_any_size() -> Outcome {
    // 1 − κ → ηh and γ → σ_s√(2ηh) as h → 0.
    let at = |lambda: f64| {
        let (log_alpha, log_sigma) = (-(-lambda).exp().ln_1p(), -lambda.exp().ln_1p());
        NoiseLevel::from_logs(1.0, log_alpha, log_sigma)
    };
    for lambda in [-30.0, -3.0, 0.0, 5.0, 20.0] {
        for h in [1e-3, 1e-6, 1e-9] {
            let (from, to) = (at(lambda)?, at(lambda + h)?);
            let h = to.lambda() - from.lambda();
            for eta in [0.25, 1.0] {
                let q = StridedPosterior::new(from, to, Kappa::FlowEta(eta))?;
                let gamma = to.sigma() * (2.0 * eta * h).sqrt();
                // λ itself is known to 1e-15 of its size only.
                let tolerance = h + 1e-14 * lambda.abs().max(1.0) / h;
                assert!(
                    (q.gamma() / gamma - 1.0).abs() < 2.0 * tolerance,
                    "{lambda} {h}"
                );
            }
        }
    }
    // α and σ times a power of two: the same shares, down to the least numbers and up to the largest.
    let of = |unit: f64| {
        let from = NoiseLevel::new(1.0, 1.0, 9.0)?;
        let to = NoiseLevel::new(0.5, 3.0 * unit, unit)?;
        StridedPosterior::new(from, to, Kappa::FlowEta(0.7))
    };
    let (one, least, most) = (of(1.0)?, of(f64::from_bits(1))?, of(2.0f64.powi(1022))?);
    for other in [least, most] {
        assert!(
            (other.kappa() / one.kappa() - 1.0).abs() < 1e-12,
            "{other:?}"
        );
    }
    // An η that would go below σ = 0 is named with the largest that does not.
    let (t, s) = (
        NoiseLevel::new(0.9, 0.1, 0.9)?,
        NoiseLevel::new(0.3, 0.7, 0.3)?,
    );
    let refused = StridedPosterior::new(t, s, Kappa::FlowEta(1.6));
    let Err(Error::EtaOutOfRange { max, .. }) = refused else {
        return Err(format!("{refused:?}").into());
    };
    assert!((max - 1.5).abs() < 1e-14, "1/(1 − s'_s/s'_t) = {max}");
    let at_most = StridedPosterior::new(t, s, Kappa::FlowEta(1.499_999_999))?;
    assert!(at_most.kappa() < 1e-8);
    Ok(())
}
