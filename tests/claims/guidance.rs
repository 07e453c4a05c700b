//! Row 9, first half, and row 10: guidance through whole runs, and the law of the guided ODE.

use std::cell::Cell;
use std::error::Error;

use diffusion_sampler::{
    Denoiser, Grid, NoiseLevel, Prediction, Query, Real, Sampler,
    denoiser::{Guided, Models, WithClassifier},
    guidance::{ClassifierFree, ClassifierGuidance, GuidanceWeight},
    moments::AffineEstimate,
    oracle::{Gaussian, GaussianMixture, LabelledOracle, Oracle},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver},
};
use ndarray::{Array2, ArrayRef, Dimension, array};

use super::convergence::{slope, uniform_lambda};
use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = equivalences()?;
    claims.extend(interval()?);
    claims.extend(law()?);
    claims.extend(super::forms::claims()?);
    Ok(claims)
}

/// Three classes in the plane that overlap, one of them of two modes.
fn mixture() -> Result<GaussianMixture, Box<dyn Error>> {
    let components = vec![
        Gaussian::isotropic(&[1.0, 0.0], 0.1)?,
        Gaussian::new(&[-0.4, 0.8], &array![[0.3, 0.1], [0.1, 0.2]])?,
        Gaussian::diagonal(&[-0.5, -0.9], &[0.05, 0.4])?,
        Gaussian::isotropic(&[0.2, 0.3], 0.02)?,
    ];
    Ok(GaussianMixture::new(
        &[1.0, 2.0, 1.0, 0.5],
        components,
        vec![0, 1, 2, 1],
    )?)
}

/// The class that the guidance wants.
const LABEL: usize = 1;

fn grid() -> Result<Grid, Box<dyn Error>> {
    uniform_lambda(40, (-4.0, 4.0))
}

/// The result of a whole run from the same noise.
fn sample<M: Denoiser<f64, ndarray::Ix2, Error = diffusion_sampler::Error>>(
    solver: &dyn Solver,
    model: &mut M,
) -> Result<Array2<f64>, Box<dyn Error>> {
    Ok(Sampler::along(&Path::without_schedule(&grid()?), solver)?.sample(model, (64, 2), 5)?)
}

/// The largest difference of two results, relative to the larger of the values and one.
fn difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs() / a.abs().max(1.0))
        .fold(0.0, f64::max)
}

/// E_u + s(E_c − E_u) with s a function of the level, computed as arrays by the model itself:
/// nothing is left for the crate to fold.
struct Scaled<C, U, S> {
    conditional: C,
    unconditional: U,
    scale: S,
}

impl<D, C, U, S> Denoiser<f64, D> for Scaled<C, U, S>
where
    S: Fn(&NoiseLevel) -> f64,
    D: Dimension,
    C: Denoiser<f64, D>,
    U: Denoiser<f64, D, Error = C::Error>,
{
    type Error = C::Error;

    fn prediction(&self) -> Prediction {
        self.conditional.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, D>,
    ) -> Result<(), C::Error> {
        let scale = (self.scale)(&query.level());
        let mut conditional = x.to_owned();
        self.conditional.denoise(x, query, &mut conditional)?;
        self.unconditional.denoise(x, query, out)?;
        out.zip_mut_with(&conditional, |u, &c| *u += scale * (c - *u));
        Ok(())
    }
}

fn equivalences() -> Result<Vec<Claim>, Box<dyn Error>> {
    let data = mixture()?;
    let class = data.condition(LABEL)?;
    let solvers: [&dyn Solver; 4] = [
        &FirstOrder::ddim(),
        &FirstOrder::ddpm(),
        &DpmSolverPlusPlus::new(),
        &Heun::new(),
    ];
    let kinds = [
        Prediction::Noise,
        Prediction::Data,
        Prediction::Velocity,
        Prediction::Flow,
        Prediction::Score,
        Prediction::Edm { data_std: 0.5 },
    ];
    let [mut classifier, mut scale, mut effect] = [0.0f64; 3];
    let mut fold = [0.0f64; 6];
    for solver in solvers {
        for w in [-0.5, 1.0, 3.5] {
            let weight = GuidanceWeight::constant(w)?;
            let free = |kind| {
                let models = Models((class.denoiser_of(kind), data.denoiser_of(kind)));
                Guided::new(models, ClassifierFree::new(weight.clone()))
            };
            let guided = sample(solver, &mut free(Prediction::Noise))?;
            for (worst, kind) in fold.iter_mut().zip(kinds) {
                let other = sample(solver, &mut free(kind))?;
                *worst = worst.max(difference(&guided, &other));
            }
            let with_classifier = WithClassifier::new(
                data.denoiser_of(Prediction::Noise),
                (&data).classifier(LABEL)?,
            );
            let more = ClassifierGuidance::new(GuidanceWeight::constant(1.0 + w)?);
            let by_classifier = sample(solver, &mut Guided::new(with_classifier, more))?;
            classifier = classifier.max(difference(&guided, &by_classifier));
            let scaled = sample(
                solver,
                &mut Scaled {
                    conditional: class.denoiser_of(Prediction::Noise),
                    unconditional: data.denoiser_of(Prediction::Noise),
                    scale: |_: &NoiseLevel| 1.0 + w,
                },
            )?;
            scale = scale.max(difference(&guided, &scaled));
            let plain = sample(solver, &mut class.denoiser_of(Prediction::Noise))?;
            effect = effect.max(difference(&guided, &plain));
        }
    }
    let oracle = "exact mixture of 3 classes, whole runs of 4 solvers, w = −½, 1, 3.5";
    let mut claims = vec![
        Claim::new(
            "classifier-free guidance with w equals classifier guidance with 1 + w",
            oracle,
            classifier,
            Accept::Below(1e-11),
        ),
        Claim::new(
            "classifier-free guidance with w is E_u + s(E_c − E_u) with s = 1 + w",
            oracle,
            scale,
            Accept::Below(1e-11),
        ),
        Claim::new(
            "in these runs guidance changes the samples",
            oracle,
            effect,
            Accept::AtLeast(0.1),
        ),
    ];
    for (kind, worst) in kinds.iter().zip(fold).skip(1) {
        claims.push(Claim::new(
            format!(
                "guidance is the same on {} as on noise prediction",
                kind.name()
            ),
            oracle,
            worst,
            Accept::Below(1e-11),
        ));
    }
    Ok(claims)
}

/// A denoiser of a shared oracle.
trait DenoiserOf: Oracle {
    fn denoiser_of(&self, kind: Prediction) -> diffusion_sampler::oracle::ExactDenoiser<&Self>
    where
        Self: Sized,
    {
        self.denoiser(kind)
    }
}

impl DenoiserOf for GaussianMixture {}

/// Counts the calls of a model: all of them, and those at levels where it is not wanted.
struct Counted<'a, M> {
    model: M,
    wanted: &'a dyn Fn(&NoiseLevel) -> bool,
    calls: &'a Cell<usize>,
    unwanted: &'a Cell<usize>,
}

impl<A: Real, D: Dimension, M: Denoiser<A, D>> Denoiser<A, D> for Counted<'_, M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.model.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), M::Error> {
        self.calls.set(self.calls.get() + 1);
        if !(self.wanted)(&query.level()) {
            self.unwanted.set(self.unwanted.get() + 1);
        }
        self.model.denoise(x, query, out)
    }
}

fn interval() -> Result<Vec<Claim>, Box<dyn Error>> {
    const LOW: f64 = 0.3;
    const HIGH: f64 = 4.0;
    let data = mixture()?;
    let class = data.condition(LABEL)?;
    let inside = |level: &NoiseLevel| {
        let rho = level.sigma() / level.alpha();
        rho > LOW && rho <= HIGH
    };
    let (calls, outside) = (Cell::new(0), Cell::new(0));
    let models = Models((
        class.denoiser_of(Prediction::Noise),
        Counted {
            model: data.denoiser_of(Prediction::Noise),
            wanted: &inside,
            calls: &calls,
            unwanted: &outside,
        },
    ));
    let weight = GuidanceWeight::interval(2.0, LOW, HIGH)?;
    let mut model = Guided::new(models, ClassifierFree::new(weight));
    let result = sample(&FirstOrder::ddim(), &mut model)?;
    let expected = grid()?.levels()[..40].iter().filter(|l| inside(l)).count() as f64;
    // The same run with the weight as a plain function of the level, and both models called
    // everywhere.
    let mut everywhere = Scaled {
        conditional: class.denoiser_of(Prediction::Noise),
        unconditional: data.denoiser_of(Prediction::Noise),
        scale: |level: &NoiseLevel| if inside(level) { 3.0 } else { 1.0 },
    };
    let same = sample(&FirstOrder::ddim(), &mut everywhere)?;
    Ok(vec![
        Claim::new(
            "calls of the unconditional model outside the guidance interval",
            "counted in a run of 40 steps",
            outside.get() as f64,
            Accept::Within(0.0, 0.0),
        ),
        Claim::new(
            "calls of the unconditional model inside the guidance interval",
            "number of knots inside",
            calls.get() as f64,
            Accept::Within(expected, expected),
        ),
        Claim::new(
            "interval guidance is guidance with a weight of 0 outside",
            "both models called at every level",
            difference(&result, &same),
            Accept::Below(1e-11),
        ),
    ])
}

/// Gaussians N(0, ¼) given the class and N(0, 1) without it, λ from −6 to 6.
const RANGE: (f64, f64) = (-6.0, 6.0);

/// The guided ODE's standard deviation at the end.
fn guided_deviation(solver: &dyn Solver, w: f64, steps: usize) -> Result<f64, Box<dyn Error>> {
    let all = Gaussian::centred(1, 1.0)?;
    let plan = solver.plan(&Path::without_schedule(&uniform_lambda(steps, RANGE)?))?;
    let laws = plan.moments_with(&all, |_, level| {
        let c = AffineEstimate::of_gaussian(0.0, 0.25, level);
        let u = AffineEstimate::of_gaussian(0.0, 1.0, level);
        AffineEstimate {
            gain: (1.0 + w) * c.gain - w * u.gain,
            offset: (1.0 + w) * c.offset - w * u.offset,
        }
    })?;
    Ok(laws[steps - 1].variances()[0].sqrt())
}

fn law() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = Vec::new();
    for w in [1.0, 2.0, 4.0] {
        // v_c^((1+w)/2) v_u^(−w/2) with v_u = 1: ¼, ⅛, 1/32.
        let expected = 0.25f64.powf(0.5 * (1.0 + w));
        claims.push(Claim::new(
            format!("standard deviation of the guided ODE at w = {w}, DDIM in 4000 steps"),
            "closed form v_c^((1+w)/2) v_u^(−w/2), ±1e-3",
            guided_deviation(&FirstOrder::ddim(), w, 4000)?,
            Accept::Within(expected - 1e-3, expected + 1e-3),
        ));
        // Between finite λ the closed form has the marginals' variances α²v + σ² in place of v.
        let [start, end] = [RANGE.0, RANGE.1].map(|lambda| {
            let a2 = 1.0 / (1.0 + (-2.0 * lambda).exp());
            0.25 * a2 + (1.0 - a2)
        });
        let exact = (end / start).powf(0.5 * (1.0 + w));
        let solvers: [(&str, &dyn Solver); 2] = [
            ("DPM-Solver++(2M)", &DpmSolverPlusPlus::new()),
            ("Heun", &Heun::new()),
        ];
        for (name, solver) in solvers {
            let order = slope(|steps| Ok((guided_deviation(solver, w, steps)? - exact).abs()))?;
            claims.push(Claim::new(
                format!("order of {name} on the guided ODE at w = {w}"),
                "closed form, log₂(e₁₆₀/e₃₂₀)",
                order,
                Accept::Within(1.9, 2.1),
            ));
        }
    }
    Ok(claims)
}
