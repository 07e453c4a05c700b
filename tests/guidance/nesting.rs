//! Forms that do not nest are refused by name.

use diffusion_sampler::{
    Error, Prediction, RunError,
    denoiser::{Guided, Models},
    guidance::{
        ClassifierFree, Guidance, PerpendicularNegative, PlusPlus, Projected, Rescaled,
        WeightedSum, ZeroStar,
    },
    solver::FirstOrder,
};
use ndarray::Array3;

use crate::common::{Network, edges, run, sampler, state};

const KIND: Prediction = Prediction::Noise;

fn advance(
    model: &mut impl diffusion_sampler::Denoiser<f64, ndarray::Ix3, Error = std::convert::Infallible>,
) -> Result<Array3<f64>, Error> {
    let (from, to) = edges()[0];
    let mut run = run(&sampler(&[from, to], &FirstOrder::ddim()), KIND);
    match run.advance(model) {
        Ok(()) => Ok(run.into_state()),
        Err(RunError::Sampler(error)) => {
            assert_eq!(run.state(), state());
            Err(error)
        }
        Err(RunError::Denoiser(never)) => match never {},
    }
}

fn nested(error: Result<Array3<f64>, Error>) -> (&'static str, &'static str) {
    match error {
        Err(Error::NestedGuidance { outer, inner }) => (outer, inner),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rescaling_anything_but_weights_on_the_own_output_is_refused_by_name() {
    let refused = |inner: &dyn Guidance| {
        let guidance = Rescaled::new(inner, 0.7).unwrap();
        nested(advance(&mut Guided::new(Network::new(KIND), guidance)))
    };
    let projected = Projected::new(2.0).unwrap();
    let momentum = projected.with_momentum(-0.3).unwrap();
    let outer = "rescaled guidance";
    assert_eq!(refused(&projected), (outer, "projected guidance"));
    assert_eq!(refused(&momentum), (outer, "projected guidance"));
    let star = ZeroStar::with_scale(2.0).unwrap();
    assert_eq!(refused(&star), (outer, "CFG-Zero*"));
    assert_eq!(refused(&PlusPlus::new(0.5).unwrap()), (outer, "CFG++"));
    let sums = PerpendicularNegative::new(2.0, 0.5).unwrap();
    let guidance = Rescaled::new(sums, 0.7).unwrap();
    assert!(advance(&mut Guided::new(Network::new(KIND), guidance)).is_ok());
}

#[test]
fn a_guided_model_in_a_guided_model_is_refused_by_name() {
    let cfg = ClassifierFree::with_scale(2.0).unwrap();
    let one = WeightedSum::new(&[0.5]).unwrap();
    let inner = Guided::new(Network::new(KIND), &cfg);
    let star = ZeroStar::with_scale(2.0).unwrap();
    let error = advance(&mut Guided::new(inner, star));
    assert_eq!(nested(error), ("CFG-Zero*", "classifier-free guidance"));
    // Also where the inner form weighs one output, which would otherwise be lost.
    let inner = Guided::new(Network::new(KIND), &one);
    let error = advance(&mut Guided::new(inner, &cfg));
    assert_eq!(
        nested(error),
        ("classifier-free guidance", "a weighted sum")
    );
    // And inside one of several models.
    let inner = Guided::new(Guided::new(Network::new(KIND), &cfg), star);
    let models = Models((inner, Network::new(KIND)));
    let error = advance(&mut Guided::new(models, &cfg));
    assert_eq!(nested(error), ("CFG-Zero*", "classifier-free guidance"));
}

#[test]
fn models_with_different_predictions_are_refused() {
    let models = Models((Network::new(KIND), Network::new(Prediction::Flow)));
    let guidance = ClassifierFree::with_scale(2.0).unwrap();
    assert_eq!(
        advance(&mut Guided::new(models, guidance)),
        Err(Error::ModelsDisagree {
            model: 1,
            expected: "noise",
            found: "flow"
        })
    );
}
