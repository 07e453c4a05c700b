//! What a list of samples has no noise for is refused before anything is drawn or written.

use std::convert::Infallible;

use diffusion_sampler::{
    Error, KeyedNoise, NoiseLevel, Prediction, RunError, Sampler,
    forward::{diffuse, fill_normal},
    noise::{Demand, NoiseKey, NoiseSource, PerSample, SampleNoise, Stream},
    posterior::{Kappa, StridedPosterior, Transition},
    run::{DdimStep, Instruction, Machine},
    schedule::NoiseSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, Ix2, arr0};

use crate::common::{KIND, Smooth, numbers, sampler, schedule};

const SHAPE: (usize, usize) = (3, 8);

fn of(samples: usize) -> PerSample {
    PerSample::of((0..samples as u64).map(KeyedNoise::new))
}

fn wrong(found: usize) -> Error {
    Error::WrongLength {
        name: "list of the samples' noise",
        expected: SHAPE.0,
        found,
    }
}

fn levels() -> [NoiseLevel; 2] {
    [700.0, 300.0].map(|time| schedule().level(time).unwrap())
}

type Outcomes = Vec<(&'static str, Result<(), Error>)>;

type Work<'w, T> = &'w dyn Fn(&mut T, &mut PerSample) -> Result<(), Error>;

/// Everything that draws, on a state that a refusal must leave alone.
fn every_call(noise: &PerSample, step: u32) -> Outcomes {
    let mut outcomes = calls_on_arrays(noise, step);
    outcomes.extend(steps_of_machines(noise, step));
    outcomes
}

fn calls_on_arrays(noise: &PerSample, step: u32) -> Outcomes {
    let [from, to] = levels();
    let start = numbers::<f32>(SHAPE);
    let posterior = StridedPosterior::new(from, to, Kappa::Ddpm).unwrap();
    let call = |name, work: Work<'_, Array2<f32>>| {
        let mut x = start.clone();
        let outcome = work(&mut x, &mut noise.clone());
        assert!(outcome.is_ok() || x == start, "{name} wrote the array");
        (name, outcome)
    };
    vec![
        call("fill_normal", &|x, noise| {
            fill_normal(x, noise, step, Stream::User(0))
        }),
        call("diffuse", &|x, noise| diffuse(x, &[from], noise, step)),
        call("a transition", &|x, noise| {
            let up = Transition::forward_step(&to, &from)?;
            up.sample_in_place(x, None, noise, step, Stream::Forward)
        }),
        call("a posterior", &|x, noise| {
            posterior.sample_in_place(x, &start, noise, step)
        }),
        call("fill_batch", &|x, noise| {
            let key = NoiseKey::new(0, step, Stream::Step(0));
            noise.fill_batch(key, SHAPE.0, x.as_slice_mut().unwrap())
        }),
    ]
}

fn steps_of_machines(noise: &PerSample, step: u32) -> Outcomes {
    let [from, to] = levels();
    let start = numbers::<f32>(SHAPE);
    let plan = sampler(&FirstOrder::ddpm(), 2).plan().clone();
    let instruction = Instruction::new(&plan.steps()[0], 0, step as usize).unwrap();
    let one = DdimStep::new(from, to, Kappa::Ddpm).unwrap();
    let each = DdimStep::per_sample(&[from; 3], &[to; 3], Kappa::Ddpm).unwrap();
    let call = |name, work: Work<'_, Machine<f32, Ix2>>| {
        let mut machine = Machine::new(start.clone(), 0).unwrap();
        let outcome = work(&mut machine, &mut noise.clone());
        let same = machine.state() == start;
        assert!(outcome.is_ok() || same, "{name} wrote the state");
        (name, outcome)
    };
    vec![
        call("a step told", &|machine, noise| {
            one.tell(machine, Prediction::Data, &start, noise, step)
        }),
        call("steps told", &|machine, noise| {
            each.tell(machine, Prediction::Data, &start, noise, step)
        }),
        call("a step taken", &|machine, noise| {
            one.take(machine, &mut Smooth, noise, step).map_err(refusal)
        }),
        call("steps taken", &|machine, noise| {
            each.take(machine, &mut Smooth, noise, step)
                .map_err(refusal)
        }),
        call("an instruction", &|machine, noise| {
            machine
                .take(&instruction, &mut Smooth, noise)
                .map_err(refusal)
        }),
    ]
}

fn refusal(error: RunError<Infallible>) -> Error {
    match error {
        RunError::Sampler(error) => error,
        RunError::Denoiser(never) => match never {},
    }
}

/// Everything that starts a run.
fn every_start(sampler: &Sampler, noise: &PerSample) -> [(&'static str, Option<Error>); 3] {
    let x = numbers::<f64>(SHAPE);
    // Of a run with this noise, where it can be had.
    let run = sampler.start_from(x.clone(), KIND, noise.clone());
    let run = run.or_else(|_| sampler.start_from(x.clone(), KIND, of(3)));
    let snapshot = run.unwrap().snapshot().unwrap();
    [
        (
            "start",
            sampler.start::<f64, _, _>(SHAPE, KIND, noise).err(),
        ),
        ("start_from", sampler.start_from(x, KIND, noise).err()),
        ("resume", sampler.resume(snapshot, KIND, noise).err()),
    ]
}

#[test]
fn a_list_of_another_length_than_the_batch_is_refused_by_whatever_draws() {
    for found in [0, 1, 2, 4] {
        for (name, outcome) in every_call(&of(found), 0) {
            assert_eq!(outcome, Err(wrong(found)), "{name}");
        }
        for solver in [FirstOrder::ddpm(), FirstOrder::ddim()] {
            for (name, refused) in every_start(&sampler(&solver, 3), &of(found)) {
                assert_eq!(refused, Some(wrong(found)), "{name}");
            }
        }
    }
    for (name, outcome) in every_call(&of(3), 0) {
        assert_eq!(outcome, Ok(()), "{name}");
    }
    for (name, refused) in every_start(&sampler(&FirstOrder::ddpm(), 3), &of(3)) {
        assert_eq!(refused, None, "{name}");
    }
}

#[test]
fn a_step_before_a_sample_has_joined_is_refused_by_whatever_draws() {
    let mut noise = of(3);
    noise.samples_mut()[1] = SampleNoise::new(KeyedNoise::new(1)).joining_at(5);
    let early = |step| Error::StepBeforeJoining {
        sample: 1,
        joined: 5,
        step,
    };
    for (name, outcome) in every_call(&noise, 4) {
        assert_eq!(outcome, Err(early(4)), "{name}");
    }
    for (name, outcome) in every_call(&noise, 5) {
        assert_eq!(outcome, Ok(()), "{name}");
    }
    for (name, refused) in every_start(&sampler(&FirstOrder::ddpm(), 3), &noise) {
        assert_eq!(refused, Some(early(0)), "{name}");
    }
    assert_eq!(
        early(4).to_string(),
        "sample 1 joins its batch at step 5: it has no noise at step 4"
    );
}

#[test]
fn a_run_that_draws_nothing_may_stand_before_a_sample_has_joined() {
    let mut noise = of(3);
    noise.samples_mut()[2] = SampleNoise::new(KeyedNoise::new(1)).joining_at(1);
    for (name, refused) in every_start(&sampler(&FirstOrder::ddim(), 3), &noise) {
        assert_eq!(refused, None, "{name}");
    }
    let [from, to] = levels();
    let step = DdimStep::new(from, to, Kappa::Ddim).unwrap();
    let mut machine = Machine::new(numbers::<f32>(SHAPE), 0).unwrap();
    let data = numbers::<f32>(SHAPE);
    let taken = step.tell(&mut machine, Prediction::Data, &data, &mut noise, 0);
    assert_eq!(taken, Ok(()));
}

#[test]
fn steps_beyond_the_last_number_are_refused() {
    let mut noise = of(3);
    let late = SampleNoise::new(KeyedNoise::new(1)).having_taken(u32::MAX);
    noise.samples_mut()[0] = late;
    assert_eq!((late.own_step(0), late.own_step(1)), (Some(u32::MAX), None));
    for (name, outcome) in every_call(&noise, 0) {
        assert_eq!(outcome, Ok(()), "{name}");
    }
    for (name, outcome) in every_call(&noise, 1) {
        let refused = matches!(
            outcome,
            Err(Error::StepCount { steps, max, .. })
                if steps as u64 == (1 << 32) + 1 && max == u32::MAX as usize
        );
        assert!(refused, "{name}: {outcome:?}");
    }
    let run = sampler(&FirstOrder::ddpm(), 3);
    let refused = run.start::<f32, _, _>(SHAPE, KIND, &noise).err();
    assert!(matches!(refused, Some(Error::StepCount { .. })));
}

#[test]
fn rows_and_steps_without_noise_are_nan_for_those_who_do_not_ask_first() {
    let sample = SampleNoise::new(KeyedNoise::new(1)).joining_at(5);
    let mut noise = PerSample::new(vec![sample]);
    for (row, step, drawn) in [
        (0, 5, true),
        (0, 4, false),
        (1, 5, false),
        (u64::MAX, 5, false),
    ] {
        let mut z = [0f64; 3];
        noise.fill(NoiseKey::new(row, step, Stream::Step(0)), 0, &mut z);
        assert!(z.iter().all(|z| z.is_finite() == drawn), "{row} {step}");
    }
}

#[test]
fn rows_of_part_of_a_batch_must_be_in_the_list() {
    let check = |demand: &Demand<'_>| NoiseSource::<f32>::check(&of(3), demand);
    assert_eq!(check(&Demand::row(2, 5, 0..9, Stream::Step(0))), Ok(()));
    assert_eq!(
        check(&Demand::row(3, 5, 0..9, Stream::Step(0))),
        Err(Error::WrongLength {
            name: "list of the samples' noise",
            expected: 4,
            found: 3,
        })
    );
    let mut z = [0f32; 10];
    let mut noise = of(3);
    let part = |row| NoiseKey::new(row, 0, Stream::Start);
    assert_eq!(noise.fill_batch(part(1), 2, &mut z), Ok(()));
    assert!(noise.fill_batch(part(2), 2, &mut z).is_err());
    assert!(noise.fill_batch(part(u64::MAX), 2, &mut z).is_err());
}

#[test]
fn samples_are_numbered_below_2_to_the_53() {
    let noise = SampleNoise::new(KeyedNoise::new(1));
    let last = noise.with_sample((1 << 53) - 1).unwrap();
    assert_eq!((last.sample(), last.source().seed()), ((1 << 53) - 1, 1));
    assert_eq!(
        noise.with_sample(1 << 53),
        Err(Error::InvalidParameter {
            name: "sample",
            value: 2f64.powi(53),
            requirement: "less than 2^53",
        })
    );
}

#[test]
fn an_array_without_a_sample_axis_is_refused_as_such() {
    let mut point = arr0(1.0f64);
    let [from, _] = levels();
    let mut noise = of(1);
    let refused = diffuse(&mut point, &[from], &mut noise, 0);
    assert_eq!(refused, Err(Error::NoSampleAxis));
    let refused = fill_normal(&mut point, &mut noise, 0, Stream::Start);
    assert_eq!(refused, Err(Error::NoSampleAxis));
}

#[test]
fn an_empty_batch_has_an_empty_list() {
    let sampler = sampler(&FirstOrder::ddpm(), 3);
    let mut run = sampler.start::<f32, _, _>((0, 8), KIND, of(0)).unwrap();
    run.complete(&mut Smooth).unwrap();
    assert!(sampler.start::<f32, _, _>((0, 8), KIND, of(1)).is_err());
    assert_eq!(of(0).samples().len(), 0);
}
