//! What a plan costs: a sampler as a code for data.

use super::elbo::PricedEdge;
use super::{EdgeVariance, Elbo};
use crate::error::{Error, require_positive};
use crate::plan::{Plan, Step, Update};
use crate::posterior::{Kappa, ReverseVariance, StridedPosterior, Transition};

/// How far a coefficient may lie from a posterior's, relative to the size of its terms.
const FIT: f64 = 1e-12;

impl Elbo {
    /// The bound of a plan whose edges are posteriors, read off its scalars: the reverse process that
    /// it runs, with v_p the variance of the noise that each update adds. The runs start from
    /// N(0, `start_variance` I).
    ///
    /// A step from t to s is an edge of the bound where it is one evaluation at t and one update
    ///
    /// ```text
    /// x_s = (σ_s/σ_t) κ x_t + α_s(1 − κr) D + √v_p z
    /// ```
    ///
    /// for some κ in \[0, 1), to 1e-12, with v_p > 0. The last step, onto the clean end, must be D
    /// itself; [`evaluate`](Self::evaluate) is given its decoder, and where the update adds noise of
    /// variance v there, [`Decoder::Gaussian`](super::Decoder::Gaussian)`(v)` is the plan's own.
    /// M_t is that of the model with the clip and the guidance of the run.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, likelihood::{EdgeVariance, Elbo}, posterior::Kappa};
    /// use diffusion_sampler::{registry, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let sampler = registry::sampler("DDPM trailing")?.sampler(&schedule, 10)?;
    /// let elbo = Elbo::of_plan(sampler.plan(), sampler.start_variance())?;
    /// assert_eq!(elbo.edges().len(), 9);
    /// // DDIM adds no noise: its first step is refused.
    /// let ddim = registry::sampler("DDIM trailing")?.sampler(&schedule, 10)?;
    /// println!("{}", Elbo::of_plan(ddim.plan(), 1.0).unwrap_err());
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepNotPosterior`] with the first step that is no such edge, and what is missing;
    /// [`Error::DegenerateEdge`] unless the plan ends clean; [`Error::InvalidParameter`] for a start
    /// variance that is not positive; [`Error::DeterministicLikelihood`] for noise on a κ of 1.
    pub fn of_plan(plan: &Plan, start_variance: f64) -> Result<Self, Error> {
        require_positive("start_variance", start_variance)?;
        let (start, end) = (plan.start(), plan.end());
        if !end.is_clean() {
            return Err(Error::DegenerateEdge {
                from: start.time(),
                to: end.time(),
                requirement: "end at sigma = 0 for a likelihood of data",
            });
        }
        let mut edges = Vec::with_capacity(plan.steps().len());
        for (index, step) in plan.steps().iter().enumerate() {
            let refused = |requirement| Error::StepNotPosterior {
                step: index,
                from: step.from.time(),
                to: step.to.time(),
                requirement,
            };
            let update = single_update(step).map_err(refused)?;
            if index + 1 == plan.steps().len() {
                let is_estimate = update.state == 0.0 && near(update.data, end.alpha(), 1.0);
                if !is_estimate {
                    return Err(refused("be the estimate of x0 itself onto the clean end"));
                }
            } else {
                edges.push(priced(step, update, refused)?);
            }
        }
        Ok(Self {
            edges,
            start,
            start_variance,
        })
    }
}

/// The one update of a step that evaluates the model where it starts and reads no history.
fn single_update(step: &Step) -> Result<&Update, &'static str> {
    let [stage] = &step.stages[..] else {
        return Err("have one stage");
    };
    match &stage.evaluate {
        None => return Err("evaluate the model"),
        Some(level) if level.lambda() != step.from.lambda() => {
            return Err("evaluate the model where it starts");
        }
        Some(_) => {}
    }
    if !stage.update.history.is_empty() {
        return Err("read no history");
    }
    Ok(&stage.update)
}

/// The edge that an update is, and its v_p.
fn priced(
    step: &Step,
    update: &Update,
    refused: impl Fn(&'static str) -> Error,
) -> Result<PricedEdge, Error> {
    let (from, to) = (step.from, step.to);
    if to.is_clean() {
        return Err(refused("reach the clean end in its last step only"));
    }
    if to.lambda() <= from.lambda() {
        return Err(refused("lead to less noise"));
    }
    if update.noise == 0.0 {
        return Err(refused(
            "add noise: a deterministic step has no likelihood bound",
        ));
    }
    let explicit = ReverseVariance::Explicit(update.noise * update.noise);
    // From γ, and at κ = r, 1 − κ is known to all its digits; from the coefficient it is not.
    let fits = [
        (Kappa::Gamma(update.noise), ReverseVariance::Posterior),
        (Kappa::Ddpm, explicit),
    ];
    let general = general(step, update).map(|posterior| (posterior, explicit));
    let fits = fits.into_iter().filter_map(|(kappa, variance)| {
        let posterior = StridedPosterior::new(from, to, kappa).ok()?;
        Some((posterior, variance))
    });
    for (posterior, variance) in fits.chain(general) {
        if is_mean(&posterior, update) {
            let variance = EdgeVariance::Policy(variance);
            variance.check(&posterior)?;
            return Ok(PricedEdge {
                posterior,
                variance,
            });
        }
    }
    Err(refused(
        "have coefficients of state and data that fit one kappa",
    ))
}

/// The posterior whose coefficient on the state is the update's.
fn general(step: &Step, update: &Update) -> Option<StridedPosterior> {
    let (from, to) = (step.from, step.to);
    let kappa = update.state * (from.sigma() / to.sigma());
    let inside = (-FIT..=1.0 + FIT).contains(&kappa);
    let kappa = kappa.clamp(0.0, 1.0);
    let gamma = to.sigma() * ((1.0 - kappa) * (1.0 + kappa)).sqrt();
    inside
        .then(|| StridedPosterior::new(from, to, Kappa::Gamma(gamma)).ok())
        .flatten()
}

/// Whether the posterior's mean is the update's.
fn is_mean(posterior: &StridedPosterior, update: &Update) -> bool {
    let Transition { state, data, .. } = posterior.transition();
    let (from, to) = (posterior.from(), posterior.to());
    near(update.state, state, to.sigma() / from.sigma()) && near(update.data, data, to.alpha())
}

fn near(found: f64, expected: f64, size: f64) -> bool {
    (found - expected).abs() <= FIT * size.max(expected.abs())
}
