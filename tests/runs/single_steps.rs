//! `DdimStep`: steps outside a run, with a level for each sample.

use diffusion_sampler::{
    Denoiser, Error, KeyedNoise, NoiseLevel, Prediction, Query, from_fn,
    guidance::{Combination, GuidanceWeight},
    posterior::{Kappa, ReverseVariance},
    run::{DdimStep, Machine},
    schedule::NoiseSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, ArrayRef, Ix2, ShapeBuilder, s};

use crate::common::{Smooth, bits, difference, grid, pair, sampler, schedule};

const SHAPE: (usize, usize) = (4, 6);
const SEED: u64 = 77;
const KINDS: [Prediction; 3] = [Prediction::Noise, Prediction::Data, Prediction::Velocity];
const KAPPAS: [Kappa; 4] = [Kappa::Ddim, Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Fresh];

fn state() -> Array2<f32> {
    Array2::from_shape_fn(SHAPE, |(i, j)| {
        (i as f32 - 1.2) * 0.5 + (j as f32 - 2.0) * 0.37
    })
}

/// The state after a step that is told its output.
fn stepped(
    step: &DdimStep,
    x: Array2<f32>,
    output: &Array2<f32>,
    kind: Prediction,
    index: u32,
) -> Array2<f32> {
    let mut machine = Machine::new(x, 0).unwrap();
    step.tell(
        &mut machine,
        kind,
        output,
        &mut KeyedNoise::new(SEED),
        index,
    )
    .unwrap();
    machine.into_parts().0
}

fn levels(times: [f64; 4]) -> Vec<NoiseLevel> {
    times.map(|time| schedule().level(time).unwrap()).to_vec()
}

#[test]
fn a_step_with_weights_of_each_sample_is_the_samples_single_steps() {
    let (from, to) = (
        levels([1000.0, 640.0, 333.5, 20.0]),
        levels([900.0, 12.0, 333.0, 0.0]),
    );
    let (first, second) = (state().mapv(|x| (x * 3.0).sin()), state().mapv(f32::cos));
    let weights = [0.0, 0.5, 6.5, -1.0];
    let combinations = weights.map(|w| Combination::affine(&[1.0 + w, -w]).unwrap());
    for kappa in [Kappa::Ddim, Kappa::Ddpm] {
        for kind in KINDS {
            let together = DdimStep::per_sample(&from, &to, kappa).unwrap();
            let mut machine = Machine::new(state(), 0).unwrap();
            let mut noise = KeyedNoise::new(SEED);
            let outputs: [&ArrayRef<f32, Ix2>; 2] = [&first, &second];
            together
                .tell_combined(&mut machine, kind, &combinations, &outputs, &mut noise, 5)
                .unwrap();
            for row in 0..SHAPE.0 {
                let alone = DdimStep::new(from[row], to[row], kappa).unwrap();
                let part = |array: &Array2<f32>| array.slice(s![row..=row, ..]).to_owned();
                let (first, second) = (part(&first), part(&second));
                let mut one = Machine::new(part(&state()), 0).unwrap();
                let mut noise = KeyedNoise::new(SEED).with_first_sample(row as u64).unwrap();
                let outputs: [&ArrayRef<f32, Ix2>; 2] = [&first, &second];
                let combination = &combinations[row..=row];
                alone
                    .tell_combined(&mut one, kind, combination, &outputs, &mut noise, 5)
                    .unwrap();
                let wanted = bits(&machine.state().slice(s![row..=row, ..]).to_owned());
                assert_eq!(bits(one.state()), wanted, "{kappa:?} {kind:?} {row}");
                // The weights on the outputs themselves, to rounding.
                let guided = first * (1.0 + weights[row]) as f32 - second * weights[row] as f32;
                let mut by_hand = Machine::new(part(&state()), 0).unwrap();
                alone
                    .tell(&mut by_hand, kind, &guided, &mut noise, 5)
                    .unwrap();
                assert!(difference(one.state(), by_hand.state()) < 1e-5);
            }
        }
    }
}

#[test]
fn a_step_refuses_weights_that_fit_neither_batch_nor_outputs() {
    let step = DdimStep::new(levels([900.0; 4])[0], levels([800.0; 4])[0], Kappa::Ddim).unwrap();
    let mut machine = Machine::new(state(), 0).unwrap();
    let (output, mut noise) = (state(), KeyedNoise::new(SEED));
    let pair = Combination::affine(&[2.0, -1.0]).unwrap();
    for (combinations, outputs) in [
        (vec![pair; 3], 2),
        (vec![pair; 5], 2),
        (vec![pair], 1),
        (vec![], 2),
    ] {
        let outputs: Vec<&ArrayRef<f32, Ix2>> = vec![&output; outputs];
        let told = step.tell_combined(
            &mut machine,
            Prediction::Data,
            &combinations,
            &outputs,
            &mut noise,
            0,
        );
        assert!(matches!(told, Err(Error::WrongLength { .. })), "{told:?}");
    }
    assert_eq!(bits(machine.state()), bits(&state()));
}

#[test]
fn a_step_with_levels_of_each_sample_is_the_samples_single_steps() {
    let (from, to) = (
        levels([1000.0, 640.0, 333.5, 20.0]),
        levels([900.0, 12.0, 333.0, 0.0]),
    );
    for kappa in KAPPAS {
        if kappa == Kappa::Fresh {
            continue; // Onto a clean level there is no noise to renew.
        }
        for kind in KINDS {
            let together = DdimStep::per_sample(&from, &to, kappa).unwrap();
            let output = state().mapv(|x| (x * 3.0).sin());
            let x = stepped(&together, state(), &output, kind, 5);
            let mut columns = Array2::zeros(SHAPE.f());
            columns.assign(&state());
            let mut told = Array2::zeros(SHAPE.f());
            told.assign(&output);
            let columns = stepped(&together, columns, &told, kind, 5);
            assert_eq!(bits(&columns), bits(&x));
            for row in 0..SHAPE.0 {
                let alone = DdimStep::new(from[row], to[row], kappa).unwrap();
                let own = state().slice(s![row..=row, ..]).to_owned();
                let mut machine = Machine::new(own, 0).unwrap();
                let out = output.slice(s![row..=row, ..]);
                let mut noise = KeyedNoise::new(SEED).with_first_sample(row as u64).unwrap();
                alone.tell(&mut machine, kind, &out, &mut noise, 5).unwrap();
                let expected = bits(&x.slice(s![row..=row, ..]));
                assert_eq!(bits(machine.state()), expected, "{kappa:?}");
            }
        }
    }
}

#[test]
fn a_single_step_is_the_step_of_a_run() {
    let grid = grid(6);
    for kappa in &KAPPAS[..3] {
        for kind in KINDS {
            let mut run = sampler(&FirstOrder::new(*kappa), 6)
                .start::<f32, _, _>(SHAPE, kind, KeyedNoise::new(SEED))
                .unwrap();
            for (k, edge) in grid.levels().windows(2).enumerate() {
                let step = DdimStep::new(edge[0], edge[1], *kappa).unwrap();
                let mut machine = Machine::new(run.state().to_owned(), 0).unwrap();
                let output = run.state().mapv(|x| Smooth::at(x, &edge[0]));
                let told = stepped(&step, run.state().to_owned(), &output, kind, k as u32);
                let mut noise = KeyedNoise::new(SEED);
                step.take(&mut machine, &mut Smooth(kind), &mut noise, k as u32)
                    .unwrap();
                run.advance(&mut Smooth(kind)).unwrap();
                assert_eq!(bits(&told), bits(run.state()), "{kappa:?}, step {k}");
                let taken = bits(machine.state());
                assert_eq!(taken, bits(run.state()), "{kappa:?}, step {k}");
            }
        }
    }
}

#[test]
fn a_fixed_large_step_is_that_of_a_run() {
    let solver = FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge);
    let kind = Prediction::Noise;
    let mut run = sampler(&solver, 6)
        .start::<f32, _, _>(SHAPE, kind, KeyedNoise::new(SEED))
        .unwrap();
    for (k, edge) in grid(6).levels().windows(2).enumerate() {
        let step = DdimStep::new(edge[0], edge[1], Kappa::Ddpm)
            .unwrap()
            .with_reverse_variance(ReverseVariance::FixedLarge)
            .unwrap();
        let output = run.state().mapv(|x| Smooth::at(x, &edge[0]));
        let x = stepped(&step, run.state().to_owned(), &output, kind, k as u32);
        run.advance(&mut Smooth(kind)).unwrap();
        assert_eq!(bits(&x), bits(run.state()), "step {k}");
    }
}

#[test]
fn a_guided_single_step_is_the_step_of_a_guided_run() {
    let kind = Prediction::Velocity;
    let guided = || {
        let other =
            from_fn::<f32, Ix2>(kind, |x, _, out| out.zip_mut_with(x, |o, &x| *o = 0.3 * x));
        let weight = GuidanceWeight::interval(1.5, 0.5, 10.0).unwrap();
        pair(Smooth(kind), other, weight)
    };
    let mut run = sampler(&FirstOrder::ddpm(), 6)
        .start::<f32, _, _>(SHAPE, kind, KeyedNoise::new(SEED))
        .unwrap();
    for (k, edge) in grid(6).levels().windows(2).enumerate() {
        let step = DdimStep::new(edge[0], edge[1], Kappa::Ddpm).unwrap();
        let mut machine = Machine::new(run.state().to_owned(), 0).unwrap();
        let mut noise = KeyedNoise::new(SEED);
        step.take(&mut machine, &mut guided(), &mut noise, k as u32)
            .unwrap();
        run.advance(&mut guided()).unwrap();
        assert_eq!(bits(machine.state()), bits(run.state()), "step {k}");
    }
}

#[test]
fn the_rows_of_all_outputs_have_the_levels_of_their_samples() {
    let list = levels([1000.0, 640.0, 333.5, 20.0]);
    let times = |query: Query<'_>, samples: usize| {
        let levels = query.row_levels(samples);
        levels.map(|level| level.time()).collect::<Vec<_>>()
    };
    let query = Query::per_sample(&list).unwrap();
    assert_eq!(times(query, 4), [1000.0, 640.0, 333.5, 20.0]);
    let both = [1000.0, 640.0, 333.5, 20.0, 1000.0, 640.0, 333.5, 20.0];
    assert_eq!(times(query.with_outputs(2), 4), both);
    assert_eq!(times(Query::new(&list[1]).with_outputs(3), 2), [640.0; 6]);
    // Fewer levels than samples are not made up.
    assert_eq!(times(query.with_outputs(2), 5).len(), 8);
    assert!(times(query, 0).is_empty());
}

#[test]
fn the_model_sees_the_level_of_every_sample() {
    /// Writes each sample's own time.
    struct Times;
    impl Denoiser<f32, Ix2> for Times {
        type Error = std::convert::Infallible;
        fn prediction(&self) -> Prediction {
            Prediction::Data
        }
        fn denoise(
            &mut self,
            _: &ArrayRef<f32, Ix2>,
            query: &Query<'_>,
            out: &mut ArrayRef<f32, Ix2>,
        ) -> Result<(), Self::Error> {
            assert_eq!(query.levels().len(), SHAPE.0);
            assert_eq!(query.level_of(SHAPE.0), None);
            assert_eq!(query.target_of(2), Some(NoiseLevel::clean()));
            for (i, mut row) in out.outer_iter_mut().enumerate() {
                row.fill(query.level_of(i).unwrap().time() as f32);
            }
            Ok(())
        }
        fn reads_rows(&self) -> bool {
            true
        }
    }
    let from = levels([1000.0, 640.0, 333.5, 20.0]);
    let step = DdimStep::per_sample(&from, &[NoiseLevel::clean(); 4], Kappa::Ddim).unwrap();
    let mut machine = Machine::new(state(), 0).unwrap();
    step.take(&mut machine, &mut Times, &mut KeyedNoise::new(0), 0)
        .unwrap();
    let times = machine.state().column(3).to_vec();
    assert_eq!(times, [1000.0, 640.0, 333.5, 20.0]);
}

/// `Smooth` times a factor, at each sample's own level.
#[derive(Clone, Copy)]
struct Each(f32);

impl Denoiser<f32, Ix2> for Each {
    type Error = std::convert::Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::Data
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix2>,
    ) -> Result<(), Self::Error> {
        for (i, (mut out, x)) in out.outer_iter_mut().zip(x.outer_iter()).enumerate() {
            let level = query.level_of(i).unwrap();
            out.zip_mut_with(&x, |o, &x| *o = self.0 * Smooth::at(x, &level));
        }
        Ok(())
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

#[test]
fn samples_that_want_other_numbers_of_outputs_share_a_call_and_are_the_samples_single_steps() {
    let (from, to) = (
        levels([1000.0, 640.0, 333.5, 20.0]),
        levels([900.0, 12.0, 333.0, 0.0]),
    );
    let inside = |level: &NoiseLevel| level.rho() > 0.5 && level.rho() <= 2.0;
    assert!(from.iter().any(inside) && !from.iter().all(inside));
    let guided = || {
        let weight = GuidanceWeight::interval(1.0, 0.5, 2.0).unwrap();
        pair(Each(1.0), Each(0.3), weight)
    };
    let noise = &mut KeyedNoise::new(SEED);
    let mut together = Machine::new(state(), 0).unwrap();
    DdimStep::per_sample(&from, &to, Kappa::Ddim)
        .unwrap()
        .take(&mut together, &mut guided(), noise, 0)
        .unwrap();
    for row in 0..SHAPE.0 {
        let mut alone = Machine::new(state(), 0).unwrap();
        DdimStep::new(from[row], to[row], Kappa::Ddim)
            .unwrap()
            .take(&mut alone, &mut guided(), noise, 0)
            .unwrap();
        let found = bits(&together.state().slice(s![row..=row, ..]));
        let expected = bits(&alone.state().slice(s![row..=row, ..]));
        assert_eq!(found, expected, "{row}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let from = levels([1000.0, 640.0, 333.5, 20.0]);
    let to = levels([900.0, 12.0, 333.0, 0.0]);
    let mut noise = KeyedNoise::new(0);
    assert!(matches!(
        DdimStep::per_sample(&from, &to[..3], Kappa::Ddim),
        Err(Error::WrongLength {
            expected: 4,
            found: 3,
            ..
        })
    ));
    let step = DdimStep::per_sample(&from, &to, Kappa::Ddim).unwrap();
    let kind = Prediction::Data;
    let out = Array2::<f32>::zeros((3, 6));
    let mut three = Machine::new(out.clone(), 0).unwrap();
    let refused = step.tell(&mut three, kind, &out, &mut noise, 0);
    assert!(matches!(
        refused,
        Err(Error::WrongLength {
            expected: 3,
            found: 4,
            ..
        })
    ));
    let mut machine = Machine::new(state(), 0).unwrap();
    let refused = step.tell(&mut machine, kind, &out, &mut noise, 0);
    assert!(matches!(refused, Err(Error::ShapeMismatch { .. })));
    assert_eq!(bits(machine.state()), bits(&state()));
    let mut bad = Array2::zeros(SHAPE);
    bad[[3, 2]] = f32::NAN;
    let refused = step.tell(&mut machine, kind, &bad, &mut noise, 9);
    assert!(matches!(
        refused,
        Err(Error::NonFinite {
            step: 9,
            sample: 3,
            element: 2,
            array: "model output",
            ..
        })
    ));
    let zero = schedule().zero_terminal_snr().unwrap();
    let step = DdimStep::new(zero.level(1000.0).unwrap(), to[0], Kappa::Ddim).unwrap();
    let output = state();
    let refused = step.tell(&mut machine, Prediction::Noise, &output, &mut noise, 0);
    assert!(matches!(
        refused,
        Err(Error::PredictionUndefined {
            prediction: "noise",
            ..
        })
    ));
}
