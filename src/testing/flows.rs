//! Checks of whole samplers against exact flows.

use super::Failure;
use super::probe::{ELEMENTS, near, normals, require_count, require_finite, require_some};
use crate::error::require_positive;
use crate::level::NoiseLevel;
use crate::posterior::{Kappa, StridedPosterior};
use crate::real::Real;

/// Checks a deterministic sampler on data that are one point x₀: whatever its order, its grid and
/// its number of steps, it must take x_t = α_t x₀ + σ_t ε to α_s x₀ + σ_s ε.
///
/// `run(x, x0)` runs from x_t at level `from` to level `to` and returns the state, with a model
/// whose estimate of x₀ is `x0` always: its ε is (x − αx₀)/σ. A wrong sign, a wrong coefficient, a
/// knot that is left out and 0/0 show here; a wrong weight on a *difference* of estimates does not:
/// that is [`check_order`]'s. A stochastic sampler obeys this law onto a clean end only, where the
/// result is x₀.
///
/// `tolerance` is relative to α_s|x₀| + σ_s|ε|: 1e-12 times some growth with the number of steps
/// for f64, 1e-5 for f32.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}, testing::check_on_point};
///
/// let edm = Edm::default();
/// let grid = Grid::karras(&edm, 10, edm.lambda_range(), 7.0)?;
/// check_on_point(&grid.start(), &grid.end(), 1e-11, |x: &[f64], x0| {
///     let mut x = x.to_vec();
///     for (t, s) in grid.edges().map(|(t, s)| (t.sigma(), s.sigma())) {
///         for i in 0..x.len() {
///             x[i] += (s - t) * (x[i] - x0[i]) / t;
///         }
///     }
///     x
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::Length`], [`Failure::PointFlow`].
pub fn check_on_point<A: Real>(
    from: &NoiseLevel,
    to: &NoiseLevel,
    tolerance: f64,
    run: impl FnOnce(&[A], &[A]) -> Vec<A>,
) -> Result<(), Failure> {
    require_positive("tolerance", tolerance)?;
    StridedPosterior::new(*from, *to, Kappa::Ddim)?;
    let (data, noise) = (normals::<A>(0, ELEMENTS), normals::<A>(1, ELEMENTS));
    let start: Vec<A> = data
        .iter()
        .zip(&noise)
        .map(|(data, noise)| A::cast(from.alpha() * data.widen() + from.sigma() * noise.widen()))
        .collect();
    let out = run(&start, &data);
    require_count("state", ELEMENTS, out.len())?;
    require_finite("state", &out)?;
    for (index, found) in out.iter().enumerate() {
        let terms = (
            to.alpha() * data[index].widen(),
            to.sigma() * noise[index].widen(),
        );
        let expected = terms.0 + terms.1;
        let tolerance = tolerance * (terms.0.abs() + terms.1.abs());
        if !near(found.widen(), expected, tolerance) {
            return Err(Failure::PointFlow {
                index,
                found: found.widen(),
                expected,
                tolerance,
            });
        }
    }
    Ok(())
}

/// The share of the exact values below which an error is rounding, in units of the type's ε.
const ROUNDING: f64 = 64.0;

/// Checks the order of convergence of a deterministic sampler: the error against the `exact`
/// result must fall like K^−`order` when the number of steps K doubles from `steps`.
///
/// `run(K)` runs in K steps and returns the state, on a model whose exact flow is known, such as
/// [`Gaussian::flow`](crate::oracle::Gaussian::flow). The measured order is log₂ of the ratio of
/// the largest errors in K and 2K steps; it must exceed `order` − ½, so that the claimed order is
/// nearer than the one below. Take K large enough for the error to be in its limit (100, and steps
/// of even size in λ away from both ends, serve orders up to 3 in f64), and several starts. A higher
/// order than claimed passes; the measured one is returned, +∞ where both errors are rounding.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, oracle::Gaussian, testing::check_order};
///
/// // Euler's method in ρ on N(1, ¼), from ρ = 10 to ρ = 0.1: first order.
/// let level = |rho: f64| NoiseLevel::new(rho, 1.0, rho);
/// let mut exact = [0.0];
/// Gaussian::isotropic(&[1.0], 0.25)?.flow(&[9.0], &level(10.0)?, &level(0.1)?, &mut exact)?;
/// let euler = |steps: usize| {
///     let (mut x, ratio) = (9.0, 0.01f64.powf(1.0 / steps as f64));
///     for k in 0..steps {
///         let rho = 10.0 * ratio.powi(k as i32);
///         let x0 = 1.0 + 0.25 / (0.25 + rho * rho) * (x - 1.0);
///         x += rho * (ratio - 1.0) * (x - x0) / rho;
///     }
///     vec![x]
/// };
/// assert!((check_order(1, 100, &exact, euler)? - 1.0).abs() < 0.1);
/// assert!(check_order(2, 100, &exact, euler).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::Length`], [`Failure::Order`].
pub fn check_order<A: Real>(
    order: usize,
    steps: usize,
    exact: &[f64],
    mut run: impl FnMut(usize) -> Vec<A>,
) -> Result<f64, Failure> {
    require_finite("exact result", exact)?;
    require_some("exact result", exact.len())?;
    let steps = [steps, steps.saturating_mul(2)];
    let mut errors = [0.0; 2];
    for (error, steps) in errors.iter_mut().zip(steps) {
        let out = run(steps);
        require_count("state", exact.len(), out.len())?;
        require_finite("state", &out)?;
        let misses = out.iter().zip(exact).map(|(x, e)| (x.widen() - e).abs());
        *error = misses.fold(0.0, f64::max);
    }
    let largest = exact.iter().fold(0.0, |top: f64, e| top.max(e.abs()));
    let rounding = ROUNDING * A::epsilon().widen() * largest;
    if errors.iter().all(|error| *error <= rounding) {
        return Ok(f64::INFINITY);
    }
    let measured = libm::log2(errors[0] / errors[1]);
    if measured > order as f64 - 0.5 {
        return Ok(measured);
    }
    Err(Failure::Order {
        claimed: order,
        measured,
        steps,
        errors,
    })
}
