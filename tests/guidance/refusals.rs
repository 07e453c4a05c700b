//! Weights and counts that are refused.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Composed, Evaluation, Guidance,
        GuidanceWeight, Memory, OnInterval, PerpendicularNegative, Perturbed, PlusPlus, Products,
        Projected, Rescaled, Tangential, WeightedSum, ZeroStar,
    },
    schedule::VariancePreserving,
    solver::FirstOrder,
};

use crate::common::{Image, bits, edges, outputs, run, sampler, state};

const BAD: [f64; 4] = [1e15, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

#[test]
fn weights_without_digits_are_refused_in_combinations() {
    for bad in BAD {
        let entry = |error| matches!(error, Err(Error::InvalidEntry { .. }));
        assert!(entry(Combination::weighted(&[1.0, bad])), "{bad}");
        assert!(entry(Combination::affine(&[1.0 - bad, bad])), "{bad}");
        let single = Combination::single();
        assert!(entry(single.with_noise(&[bad])), "{bad}");
        let parameter = |error| matches!(error, Err(Error::InvalidParameter { .. }));
        assert!(parameter(single.with_memory(bad)), "{bad}");
        assert!(parameter(single.with_gradient(bad)), "{bad}");
        assert!(WeightedSum::new(&[bad]).is_err() && Composed::new(&[bad]).is_err());
    }
    assert!(Combination::affine(&[1e15, -1e15]).is_err());
    assert!(Combination::affine(&[1e308, 1e308]).is_err());
    assert!(Combination::affine(&[1e308, -1e308]).is_err());
    assert!(Combination::affine(&[2.0, -1.0 + 1e-9]).is_err());
    assert!(Combination::affine(&[1e6 + 1.0, -1e6]).is_ok());
}

#[test]
fn counts_of_outputs_are_checked() {
    for count in [0, 7] {
        let weights = vec![1.0; count];
        let expected = Error::OutputCount {
            found: count,
            max: 6,
        };
        assert_eq!(
            Combination::weighted(&weights).err(),
            Some(expected.clone())
        );
        assert_eq!(WeightedSum::new(&weights).err(), Some(expected));
    }
    assert!(Composed::new(&[1.0; 5]).is_ok() && Composed::new(&[1.0; 6]).is_err());
    let full = Combination::weighted(&[1.0; 6]).unwrap();
    assert!(matches!(
        full.with_gradient(1.0),
        Err(Error::OutputCount { found: 7, .. })
    ));
    assert!(Combination::single().with_noise(&[1.0, 0.0]).is_err());
}

#[test]
fn parameters_out_of_range_are_refused() {
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(ClassifierFree::with_scale(bad).is_err());
        assert!(ClassifierFree::with_weight(bad).is_err());
        assert!(GuidanceWeight::interval(bad, 0.1, 1.0).is_err());
        assert!(Projected::new(bad).is_err());
        assert!(Projected::new(1.0).unwrap().with_eta(bad).is_err());
        assert!(ZeroStar::with_scale(bad).is_err() && Tangential::with_scale(bad).is_err());
        assert!(PlusPlus::new(bad).is_err());
        assert!(PerpendicularNegative::new(bad, 1.0).is_err());
        assert!(PerpendicularNegative::new(1.0, bad).is_err());
        assert!(Perturbed::new(bad, GuidanceWeight::constant(1.0).unwrap()).is_err());
    }
    let apg = Projected::new(1.0).unwrap();
    for bad in [-1.0, 1.0, f64::NAN] {
        assert!(apg.with_momentum(bad).is_err());
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(apg.with_radius(bad).is_err());
    }
    for bad in [-0.1, 1.1, f64::NAN] {
        assert!(Rescaled::new(ClassifierFree::with_scale(2.0).unwrap(), bad).is_err());
    }
    for (low, high) in [(-1.0, 1.0), (1.0, 1.0), (f64::NAN, 1.0), (0.0, f64::NAN)] {
        assert!(OnInterval::new(apg, low, high).is_err());
        assert!(GuidanceWeight::interval(1.0, low, high).is_err());
    }
}

/// A form that keeps a memory and refuses to combine.
#[derive(Debug)]
struct Refusing(Projected);

impl Guidance for Refusing {
    fn name(&self) -> &'static str {
        "refusing"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn needs_products(&self, at: &Evaluation) -> bool {
        self.0.needs_products(at)
    }

    fn memory(&self, at: &Evaluation) -> Option<Memory> {
        self.0.memory(at)
    }

    fn is_stateful(&self) -> bool {
        true
    }

    fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        Combination::weighted(&[1e15, 0.0])
    }
}

#[test]
fn a_refused_step_leaves_the_run_as_it_was() {
    let (from, to) = edges()[0];
    let sampler = sampler(&[from, to], &FirstOrder::ddim());
    let outputs = outputs(2, &state(), &from);
    let told: Vec<&Image> = outputs.iter().map(|o| &**o).collect();
    let good = Projected::new(2.0).unwrap().with_momentum(-0.5).unwrap();
    let mut expected = run(&sampler, Prediction::Noise);
    expected.tell_guided(&good, &told).unwrap();
    for weight in BAD {
        let by_level = GuidanceWeight::by_level(move |_: &NoiseLevel| weight);
        let mut run = run(&sampler, Prediction::Noise);
        let refused = run.tell_guided(&ClassifierFree::new(by_level), &told);
        assert!(refused.is_err(), "{weight}");
        // With a memory too: it is not changed either.
        assert!(run.tell_guided(&Refusing(good), &told).is_err());
        assert_eq!(run.state(), state());
        run.tell_guided(&good, &told).unwrap();
        assert_eq!(bits(run.state()), bits(expected.state()));
        assert_eq!(
            run.snapshot().unwrap().memory,
            expected.snapshot().unwrap().memory
        );
    }
}

#[test]
fn too_few_or_too_many_outputs_are_refused() {
    let (from, to) = edges()[0];
    let sampler = sampler(&[from, to], &FirstOrder::ddim());
    let outputs = outputs(7, &state(), &from);
    let told: Vec<&Image> = outputs.iter().map(|o| &**o).collect();
    let cfg = ClassifierFree::with_scale(3.0).unwrap();
    let apg = Projected::new(2.0).unwrap();
    let momentum = apg.with_momentum(-0.5).unwrap();
    let star = ZeroStar::with_scale(2.0).unwrap();
    let tangential = Tangential::with_scale(2.0).unwrap();
    let negative = PerpendicularNegative::new(2.0, 0.5).unwrap();
    let forms: [&dyn Guidance; 6] = [&cfg, &apg, &momentum, &star, &tangential, &negative];
    for guidance in forms {
        let mut run = run(&sampler, Prediction::Noise);
        let count = guidance.outputs();
        for wrong in [count - 1, count + 1] {
            let error = run.tell_guided(guidance, &told[..wrong]);
            assert!(
                matches!(
                    error,
                    Err(Error::WrongLength {
                        name: "outputs",
                        ..
                    })
                ),
                "{}: {error:?}",
                guidance.name()
            );
        }
        let none = run.tell_guided(guidance, &told[..0]);
        assert_eq!(none, Err(Error::OutputCount { found: 0, max: 6 }));
        assert!(run.tell_guided(guidance, &told).is_err());
        assert_eq!(run.state(), state());
        run.tell_guided(guidance, &told[..count]).unwrap();
    }
    // More than a run can take are not asked for.
    let six = WeightedSum::new(&[0.2; 6]).unwrap();
    let weight = GuidanceWeight::constant(1.0).unwrap();
    let seven = ClassifierGuidance::around(six, weight);
    let mut asked = run(&sampler, Prediction::Noise);
    let refused = asked.ask_guided(&seven).err();
    assert_eq!(refused, Some(Error::OutputCount { found: 7, max: 6 }));
    let combination = Combination::affine(&[2.0, -1.0]).unwrap();
    let mut run = run(&sampler, Prediction::Noise);
    for (count, outputs) in [(0, 2), (2, 2), (4, 2), (1, 1), (1, 3)] {
        let error = run.tell_combined(&vec![combination; count], &told[..outputs]);
        assert!(
            matches!(error, Err(Error::WrongLength { .. })),
            "{count}, {outputs}"
        );
    }
}

#[test]
fn a_form_without_its_products_says_so() {
    let at = Evaluation::new(edges()[0].0, Prediction::Noise);
    let error = Projected::new(2.0).unwrap().combine(&at, None);
    let guidance = "projected guidance";
    assert_eq!(error, Err(Error::ProductsMissing { guidance }));
    assert!(Products::new(2, 1, &[1.0], &[&[1.0]]).is_err());
    assert!(Products::new(2, 1, &[1.0, 2.0], &[&[1.0, 2.0]]).is_err());
    assert!(Products::new(2, 7, &[1.0; 8], &[&[1.0; 8][..]; 8]).is_err());
}

#[test]
fn a_weight_on_a_memory_that_no_form_keeps_is_refused() {
    let schedule = VariancePreserving::default();
    let grid = Grid::trailing(&schedule, 2).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim()).unwrap();
    let x = ndarray::array![[0.3f64, -0.2]];
    let mut run = sampler
        .start_from(x.clone(), Prediction::Data, KeyedNoise::new(0))
        .unwrap();
    let remembering = Combination::single().with_memory(0.5).unwrap();
    assert_eq!(
        run.tell_combined(&[remembering], &[&x]),
        Err(Error::MemoryMissing { weight: 0.5 })
    );
    assert_eq!((run.step(), run.state()), (0, &*x));
}
