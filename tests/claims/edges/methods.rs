//! Row 8: methods that are the same under two names.

use diffusion_sampler::{
    Grid, NoiseLevel,
    posterior::Kappa,
    solver::{DpmSolverPlusPlus, FirstOrder, Path, SecondOrderForm, Solver},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::super::Accept;
use super::super::Claim;
use super::common::{FAMILIES, Outcome, edge, off};

/// Row 8.
pub(crate) fn same_methods() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(8);
    let mut worst = [0.0f64; 5];
    for _ in 0..20_000 {
        let (t, s) = edge(&mut rng)?;
        let plan = FirstOrder::ddim().plan(&Path::without_schedule(&Grid::from_levels(
            vec![t, s],
            1.0,
        )?))?;
        let update = &plan.steps()[0].stages[0].update;
        let (x, d): (f64, f64) = (rng.random_range(-2.0..2.0), rng.random_range(-2.0..2.0));
        let found = update.state * x + update.data * d;
        let (a_t, s_t, a_s, s_s) = (t.alpha(), t.sigma(), s.alpha(), s.sigma());
        let e = (x - a_t * d) / s_t;
        let h = s.lambda() - t.lambda();
        // Σ|terms| of the ε forms, with E's own two terms.
        let e_size = (x.abs() + a_t * d.abs()) / s_t;
        let (rho_t, rho_s) = (s_t / a_t, s_s / a_s);
        let scale = a_s / a_t * x.abs() + a_s * rho_t * e_size;
        // DDIM as published: α_s x̂₀ + σ_s ε.
        worst[0] = worst[0].max(off(found, a_s * d + s_s * e, a_s * d.abs() + s_s * e_size));
        // Euler on dx̂/dρ = E, x̂ = x/α.
        worst[1] = worst[1].max(off(found, a_s * (x / a_t + (rho_s - rho_t) * e), scale));
        // Euler on dx/dσ = u = E − D along α = 1 − σ: only on that path.
        let (c_t, c_s) = (rho_t / (1.0 + rho_t), rho_s / (1.0 + rho_s));
        let y = x / (a_t + s_t);
        let flow = (a_s + s_s) * (y + (c_s - c_t) * (e - d));
        let flow_scale = (a_s + s_s) * (y.abs() + e_size + d.abs());
        worst[2] = worst[2].max(off(found, flow, flow_scale));
        // DPM-Solver-1: (α_s/α_t) x − σ_s (e^h − 1) ε.
        let dpm = a_s / a_t * x - s_s * h.exp_m1() * e;
        worst[3] = worst[3].max(off(found, dpm, scale));
        // DPM-Solver++-1: (σ_s/σ_t) x − α_s (e^−h − 1) D.
        let plus = s_s / s_t * x - a_s * (-h).exp_m1() * d;
        worst[4] = worst[4].max(off(found, plus, s_s / s_t * x.abs() + a_s * d.abs()));
    }
    let names = [
        "DDIM as published",
        "Euler in ρ",
        "flow Euler",
        "DPM-Solver-1",
        "DPM-Solver++-1",
    ];
    let mut claims: Vec<Claim> = names
        .into_iter()
        .zip(worst)
        .map(|(name, measured)| {
            Claim::new(
                format!("the κ = 1 step is {name}"),
                "its formula, 20,000 random edges, relative to the sum of the terms",
                measured,
                Accept::Below(1e-13),
            )
        })
        .collect();
    claims.extend(adams()?);
    Ok(claims)
}

/// ∫₀ʰ p e^(−p(h−v)) v^k dv/h^k for k = 0, 1: the moments of the exponential weight, by the series
/// that converges for all z = ph: μ_k = z e^−z Σ_j z^j/(j! (j + k + 1)).
fn weight_moment(k: u32, z: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 0.0;
    for j in 0..400u32 {
        sum += term / f64::from(j + k + 1);
        term *= z / f64::from(j + 1);
    }
    z * (-z).exp() * sum
}

/// 2M against exponential Adams in λ: w₀ + w₁ = μ₀ and −q w₁ = μ₁, the moment system of the nodes 0
/// and −h₀.
fn adams() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(88);
    let (mut exact, mut midpoint, mut first) = (0.0f64, 0.0f64, 0.0f64);
    for _ in 0..3000 {
        let mut lambdas: Vec<f64> = (0..3).map(|_| rng.random_range(-6.0..8.0)).collect();
        lambdas.sort_by(f64::total_cmp);
        // λ is known to 1e-15, so that shorter steps are not known to 1e-13.
        let (h_0, h) = (lambdas[1] - lambdas[0], lambdas[2] - lambdas[1]);
        if h_0 < 0.05 || h < 0.05 {
            continue;
        }
        let family = FAMILIES[rng.random_range(0..FAMILIES.len())];
        let levels: Vec<NoiseLevel> = lambdas
            .iter()
            .enumerate()
            .map(|(k, &lambda)| family.level((3 - k) as f64, lambda, &mut rng))
            .collect::<Result<_, _>>()?;
        let grid = Grid::from_levels(levels.clone(), 1.0)?;
        let tau: f64 = [0.0, 0.4, 1.0][rng.random_range(0..3)];
        let (t, s) = (levels[1], levels[2]);
        let (h, q) = (
            s.lambda() - t.lambda(),
            (t.lambda() - levels[0].lambda()) / (s.lambda() - t.lambda()),
        );
        let z = (1.0 + tau * tau) * h;
        let (mu_0, mu_1) = (weight_moment(0, z), weight_moment(1, z));
        for form in [SecondOrderForm::Exact, SecondOrderForm::Midpoint] {
            let plan = DpmSolverPlusPlus::new()
                .with_tau(tau)?
                .with_form(form)
                .unbounded()
                .plan(&Path::without_schedule(&grid))?;
            let warm_up = &plan.steps()[0].stages[0].update;
            let sde = FirstOrder::new(Kappa::Tau(tau)).plan(&Path::without_schedule(&grid))?;
            let single = &sde.steps()[0].stages[0].update;
            first = first
                .max(off(warm_up.state, single.state, 1.0))
                .max(off(warm_up.data, single.data, 1.0))
                .max(off(warm_up.noise, single.noise, 1.0));
            let update = &plan.steps()[1].stages[0].update;
            let w_1 = match form {
                SecondOrderForm::Exact => -mu_1 / q,
                _ => -(1.0 - (-z).exp()) / (2.0 * q),
            };
            let w_0 = mu_0 - w_1;
            let scale = s.alpha() * (w_0.abs() + w_1.abs());
            let history = update.history.first().map_or(0.0, |entry| entry.1);
            let state = s.sigma() / t.sigma() * (-tau * tau * h).exp();
            let noise = s.sigma() * (-(-2.0 * tau * tau * h).exp_m1()).sqrt();
            let error = off(update.data, s.alpha() * w_0, scale)
                .max(off(history, s.alpha() * w_1, scale))
                .max(off(update.state, state, state))
                .max(off(update.noise, noise, s.sigma()));
            match form {
                SecondOrderForm::Exact => exact = exact.max(error),
                _ => midpoint = midpoint.max(error),
            }
        }
    }
    let oracle = "moment system of order 2 solved with the series of its moments, 3000 random pairs of steps";
    Ok(vec![
        Claim::new(
            "2M (exact form) is exponential Adams in λ, any τ",
            oracle,
            exact,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "2M (published form) has its published weights",
            "its formula",
            midpoint,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "2M's first step is first order with constant τ",
            "exact",
            first,
            Accept::Below(1e-300),
        ),
    ])
}
