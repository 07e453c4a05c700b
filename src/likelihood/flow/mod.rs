//! The log-likelihood of samples by the probability-flow ODE.

mod density;
mod exact;
mod finite;
mod jacobian;
mod nodes;
mod probes;

pub use density::FlowDensity;
pub use finite::FiniteDifferences;
pub use jacobian::JacobianProduct;
pub use probes::Probes;

use ndarray::{Array, ArrayRef, Dimension};

use crate::denoiser::Query;
use crate::error::{Error, RunError, require_length, require_positive};
use crate::kernel;
use crate::level::NoiseLevel;
use crate::memory;
use crate::memory::Listed;
use crate::oracle::Oracle;
use crate::real::Real;
use crate::run::check_start;
use crate::solver::Path;
use nodes::{Node, State, Step, integrate};

/// ln p of samples at the clean end of a path, by the probability-flow ODE that leads them to its
/// noisy end, where the distribution is N(0, v_T I).
///
/// In the scale x̂ = x/√(α² + σ²), in which every schedule is variance-preserving (α̂² + σ̂² = 1),
/// with D and E the model's estimates of x₀ and ε:
///
/// ```text
/// dx̂/dλ = σ̂²x̂ − σ̂E = α̂(D − α̂x̂)
/// ln p̂(x̂ at λ_clean) = ln p̂(x̂ at λ_noisy) − ∫ (σ̂²d − σ̂ tr ∂E/∂x̂) dλ,   λ from noisy to clean
/// ln p(x) = ln p̂(x̂) − d ln √(α² + σ²)
/// ```
///
/// so the density is the same for every schedule of the same λ, and VP, VE and flows need no
/// formula of their own. p is the density at the path's last level, of x, not of x₀: a path ends at
/// σ > 0, where data that have no density have one. Each step is one of the classical method of
/// Runge and Kutta, of order 4 in λ: the error falls by 16 when steps are halved, which is also how
/// it is estimated, |ln p of K steps − ln p of 2K|·16/15. Four evaluations a step.
///
/// | divergence | method |
/// |---|---|
/// | exact, of an oracle | [`exact`](Self::exact) |
/// | of any model with a [`JacobianProduct`] | [`estimate`](Self::estimate) |
/// | of any model at all | the same, in [`FiniteDifferences`] |
///
/// ```
/// use diffusion_sampler::{Grid, likelihood::FlowLikelihood, oracle::{Gaussian, Oracle}};
/// use diffusion_sampler::{schedule::VariancePreserving, solver::Path};
/// use ndarray::array;
///
/// let schedule = VariancePreserving::default();
/// let lambdas: Vec<f64> = (0..=200).map(|k| -5.0 + 0.05 * f64::from(k)).collect();
/// let grid = Grid::from_lambdas(&schedule, &lambdas)?;
/// let flow = FlowLikelihood::new(&Path::new(&schedule, &grid)?)?;
/// let data = Gaussian::diagonal(&[1.0, 0.0], &[0.5, 2.0])?;
/// let x = array![[0.3, -1.0]];
/// let density = flow.exact(&data, &x)?;
/// let expected = data.log_density(&[0.3, -1.0], &grid.end())?;
/// assert!((density.log_densities()[0] - expected).abs() < 2e-2); // of the start, N(0, I)
/// let density = density.with_exact_start(&data)?;
/// assert!((density.log_densities()[0] - expected).abs() < 1e-7);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole (2021), "Score-Based Generative Modeling
/// through Stochastic Differential Equations"; the trace by Hutchinson's estimate as in Grathwohl
/// and others (2019), "FFJORD".
#[doc(alias("probability flow", "instantaneous change of variables", "FFJORD"))]
#[derive(Clone, Debug, PartialEq)]
pub struct FlowLikelihood {
    steps: Vec<Step>,
    start_variance: f64,
}

impl FlowLikelihood {
    /// The likelihood along a path, whose every edge is a step; its schedule gives the levels
    /// halfway in λ. A grid uniform in λ is a good one; a last edge onto σ = 0 is not part of it
    /// ([`Grid::section`](crate::Grid::section) cuts it off).
    ///
    /// The density at the noisy end is N(0, v_T I) with the grid's v_T; see
    /// [`with_start_variance`](Self::with_start_variance).
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] for a level with α = 0 or σ = 0; [`Error::InvalidParameter`] for
    /// v_T = 0; as [`Path::at_lambda`].
    pub fn new(path: &Path<'_>) -> Result<Self, Error> {
        let step = |(from, to): (NoiseLevel, NoiseLevel)| {
            let (noisy, clean) = (Node::new(from)?, Node::new(to)?);
            let middle = path.at_lambda(0.5 * (from.lambda() + to.lambda()))?;
            Ok(Step {
                clean,
                middle: Node::new(middle)?,
                noisy,
            })
        };
        Self {
            steps: path.edges().map(step).all_listed()?,
            start_variance: 1.0,
        }
        .with_start_variance(path.grid().start_variance())
    }

    /// The same with the density N(0, `variance` I) at the noisy end.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is positive and finite.
    pub fn with_start_variance(self, variance: f64) -> Result<Self, Error> {
        require_positive("start_variance", variance)?;
        Ok(Self {
            start_variance: variance,
            ..self
        })
    }

    /// ln p of each sample of `x` under the exact model of an oracle, with the exact divergence
    /// snr·tr Cov\[x₀ given x_t\] − α̂²d. The work is in f64.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`]; [`Error::NonFiniteStart`]; [`Error::WrongLength`] for samples of
    /// another dimension than the oracle's; those of the oracle; [`Error::InvalidEntry`] for a ln p
    /// that is not finite.
    pub fn exact<A: Real, D: Dimension>(
        &self,
        oracle: &impl Oracle,
        x: &ArrayRef<A, D>,
    ) -> Result<FlowDensity, Error> {
        let mut state = self.state(x, 1)?;
        let (samples, dim) = shape_of(x)?;
        require_length("elements of a sample", oracle.dim(), dim)?;
        let mut field = exact::Field::new(oracle);
        integrate(&self.steps, &mut state, |_, node, x, out| {
            field.slope(node, x, out)
        })?;
        FlowDensity::new(self, (samples, dim), 1, Trace::Exact, &state)
    }

    /// ln p of each sample of `x` under a model, with the trace of its Jacobian measured along
    /// `probes`: at each of the four stages of a step one call for each probe, or for each element
    /// where they are the unit vectors.
    ///
    /// The state is kept in f64 and rounded for the model alone.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Prediction, from_fn};
    /// use diffusion_sampler::likelihood::{FiniteDifferences, FlowLikelihood, Probes};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::Path};
    /// use ndarray::{Ix2, array};
    ///
    /// let schedule = RectifiedFlow::new();
    /// let grid = Grid::from_lambdas(&schedule, &[-4.0, -2.0, 0.0, 2.0, 4.0])?;
    /// let flow = FlowLikelihood::new(&Path::new(&schedule, &grid)?)?;
    /// let model = from_fn::<f32, Ix2>(Prediction::Flow, |x, _, u| u.assign(x));
    /// let x = array![[0.5f32, -0.5, 0.1]];
    /// let probes = Probes::rademacher(4, 7)?;
    /// let density = flow.estimate(&mut FiniteDifferences::new(model), &x, &probes)?;
    /// println!("{} ± {}", density.log_densities()[0], density.standard_errors()[0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`]; [`Error::NonFiniteStart`]; [`Error::PredictionUndefined`];
    /// [`Error::NonFinite`] for an output or a product that is not finite, with the path's edge as
    /// its step; [`Error::InvalidEntry`] for a ln p that is not finite; [`Error::TooLarge`]; the
    /// model's own.
    pub fn estimate<A, D, M>(
        &self,
        model: &mut M,
        x: &ArrayRef<A, D>,
        probes: &Probes,
    ) -> Result<FlowDensity, RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: JacobianProduct<A, D> + ?Sized,
    {
        let (samples, dim) = shape_of(x)?;
        let lanes = probes.count().unwrap_or(1);
        let mut state = self.state(x, lanes)?;
        if !x.is_empty() {
            let mut field = Field::new(model, x, (probes, dim))?;
            integrate(&self.steps, &mut state, |step, node, x, out| {
                field.slope(step, node, x, out)
            })?;
        }
        let trace = match probes.count() {
            Some(_) => Trace::Estimated,
            None => Trace::Exact,
        };
        let batch = (samples, dim);
        Ok(FlowDensity::new(self, batch, lanes, trace, &state)?)
    }

    /// x̂ at the clean end, and no integral yet.
    fn state<A: Real, D: Dimension>(
        &self,
        x: &ArrayRef<A, D>,
        lanes: usize,
    ) -> Result<State, Error> {
        let (samples, _) = shape_of(x)?;
        check_start(x, "x")?;
        let norm = self.clean().norm;
        Ok(State {
            x: x.iter().map(|x| x.widen() / norm).listed()?,
            volumes: crate::memory::repeated(0.0, samples.saturating_mul(lanes))?,
        })
    }

    fn noisy(&self) -> &Node {
        &self.steps[0].noisy
    }

    fn clean(&self) -> &Node {
        &self.steps[self.steps.len() - 1].clean
    }
}

/// The samples, and the elements of each: also where there are no samples.
fn shape_of<A, D: Dimension>(x: &ArrayRef<A, D>) -> Result<(usize, usize), Error> {
    let (samples, rest) = x.shape().split_first().ok_or(Error::NoSampleAxis)?;
    let elements = rest
        .iter()
        .fold(1, |product: usize, &axis| product.saturating_mul(axis));
    Ok((*samples, elements))
}

/// How the divergence was had.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trace {
    Exact,
    Estimated,
}

/// A model's drift and divergence, with room for its arrays.
struct Field<'m, A, D: Dimension, M: ?Sized> {
    model: &'m mut M,
    /// Those of all probes; one at a time where they are the unit vectors.
    directions: Vec<Array<A, D>>,
    probes: Probes,
    count: usize,
    x: Array<A, D>,
    output: Array<A, D>,
    product: Array<A, D>,
}

impl<'m, A: Real, D: Dimension, M: JacobianProduct<A, D> + ?Sized> Field<'m, A, D, M> {
    fn new(
        model: &'m mut M,
        x: &ArrayRef<A, D>,
        (probes, dim): (&Probes, usize),
    ) -> Result<Self, Error> {
        let shape = x.raw_dim();
        let kept = 0..probes.count().unwrap_or(0);
        let directions = kept.map(|index| probes.fill(index, shape.clone()));
        Ok(Self {
            directions: directions.all_listed()?,
            probes: *probes,
            count: probes.directions(dim),
            x: memory::zeros(shape.clone())?,
            output: memory::zeros(shape.clone())?,
            product: memory::zeros(shape)?,
            model,
        })
    }

    fn slope(
        &mut self,
        step: usize,
        node: &Node,
        x: &[f64],
        out: &mut State,
    ) -> Result<(), RunError<M::Error>> {
        let drift = node.drift(self.model.prediction())?;
        for (own, x) in self.x.iter_mut().zip(x) {
            *own = A::cast(node.norm * x);
        }
        let samples = self.x.shape()[0];
        let dim = self.x.len() / samples;
        let lanes = out.volumes.len() / samples;
        // tr ∂(dx̂/dλ)/∂x̂ = a·d + b·n·tr ∂o/∂x.
        out.volumes.fill(drift.x * dim as f64);
        for index in 0..self.count {
            self.evaluate(step, node, index)?;
            let lane = index.min(lanes - 1);
            let direction = &self.directions[lane];
            let traces = traces(direction, &self.product, dim)?;
            for (volumes, trace) in out.volumes.chunks_exact_mut(lanes).zip(traces) {
                volumes[lane] += drift.output * node.norm * trace;
            }
        }
        let values = x.iter().zip(self.output.iter());
        for (out, (x, output)) in out.x.iter_mut().zip(values) {
            *out = drift.of(*x, output.widen());
        }
        Ok(())
    }

    /// Output and product along direction `index`.
    fn evaluate(
        &mut self,
        step: usize,
        node: &Node,
        index: usize,
    ) -> Result<(), RunError<M::Error>> {
        let direction = match self.probes.count() {
            Some(_) => index,
            None => {
                self.directions.clear();
                self.directions
                    .push(self.probes.fill(index, self.x.raw_dim())?);
                0
            }
        };
        self.output.fill(A::unwritten());
        self.product.fill(A::unwritten());
        let (query, direction) = (Query::new(&node.level), &self.directions[direction]);
        let (output, product) = (&mut self.output, &mut self.product);
        self.model
            .denoise_along(&self.x, direction, &query, output, product)
            .map_err(RunError::Denoiser)?;
        kernel::find_non_finite::<A, A, D>(&self.output, step, "model output")?;
        kernel::find_non_finite::<A, A, D>(&self.product, step, "Jacobian product")?;
        Ok(())
    }
}

/// vᵀJv of each sample.
fn traces<A: Real, D: Dimension>(
    direction: &ArrayRef<A, D>,
    product: &ArrayRef<A, D>,
    dim: usize,
) -> Result<Vec<f64>, Error> {
    let mut sums = crate::memory::repeated(0.0, direction.len() / dim)?;
    for (place, (v, p)) in direction.iter().zip(product.iter()).enumerate() {
        sums[place / dim] += v.widen() * p.widen();
    }
    Ok(sums)
}
