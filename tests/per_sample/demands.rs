//! What a source is told before it draws.

use std::cell::RefCell;

use diffusion_sampler::{
    Error, KeyedNoise, NoiseLevel,
    forward::{diffuse, fill_normal},
    noise::{Demand, NoiseKey, NoiseSource, PerSample, PureNoise, Stream},
    posterior::{Kappa, StridedPosterior},
    run::{DdimStep, Machine},
    schedule::NoiseSchedule,
    solver::FirstOrder,
    tensor::{Flat, FlatOps},
};

use crate::common::{KIND, numbers, sampler, schedule};

/// Keyed noise that remembers (rows, elements) of all that it is asked.
#[derive(Debug, Default)]
struct Listening(RefCell<Vec<(u64, u64)>>);

impl NoiseSource<f32> for &Listening {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f32]) {
        KeyedNoise::new(1).draw(key, first, out);
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        let rows = demand.rows.end - demand.rows.start;
        self.0.borrow_mut().push((rows, demand.elements));
        Ok(())
    }
}

const SHAPE: (usize, usize) = (3, 8);

/// Calls `work` with a source, and returns what the source was told.
fn told(work: impl FnOnce(&mut &Listening)) -> Vec<(u64, u64)> {
    let listening = Listening::default();
    work(&mut &listening);
    listening.0.into_inner()
}

#[test]
fn whatever_draws_tells_the_source_the_rows_and_their_length() {
    let level = |time| -> NoiseLevel { schedule().level(time).unwrap() };
    let (from, to) = (level(700.0), level(300.0));
    let ddpm = sampler(&FirstOrder::ddpm(), 4);
    let x = || numbers::<f32>(SHAPE);
    let calls = [
        told(|noise| fill_normal(&mut x(), noise, 0, Stream::User(0)).unwrap()),
        told(|noise| diffuse(&mut x(), &[from], noise, 0).unwrap()),
        told(|noise| {
            let posterior = StridedPosterior::new(from, to, Kappa::Ddpm).unwrap();
            posterior.sample_in_place(&mut x(), &x(), noise, 0).unwrap();
        }),
        told(|noise| {
            let mut machine = Machine::new(x(), 0).unwrap();
            let step = DdimStep::new(from, to, Kappa::Ddpm).unwrap();
            step.tell(&mut machine, KIND, &x(), noise, 0).unwrap();
        }),
        told(|noise| drop(ddpm.start::<f32, _, _>(SHAPE, KIND, *noise).unwrap())),
        told(|noise| drop(ddpm.start_from(x(), KIND, *noise).unwrap())),
        told(|noise| {
            let mut run = ddpm.start_from(x(), KIND, *noise).unwrap();
            run.restart(*noise).unwrap();
            run.restart_from(&x(), *noise).unwrap();
            drop(ddpm.resume(run.snapshot().unwrap(), KIND, *noise).unwrap());
        }),
        told(|noise| {
            let like = Flat::<f32>::zeros(&[3, 2, 4]).unwrap();
            let run = ddpm.on(FlatOps::new()).start(&like, KIND, *noise).unwrap();
            let resumed = ddpm
                .on(FlatOps::new())
                .resume(run.snapshot().unwrap(), KIND, *noise);
            drop(resumed.unwrap());
        }),
        told(|noise| {
            let key = NoiseKey::new(0, 0, Stream::User(0));
            noise.fill_batch(key, 3, &mut [0.0; 24]).unwrap();
        }),
    ];
    for (index, call) in calls.iter().enumerate() {
        assert!(!call.is_empty(), "call {index}");
        assert!(
            call.iter().all(|&told| told == (3, 8)),
            "call {index}: {call:?}"
        );
    }
}

#[test]
fn in_a_batch_with_levels_of_their_own_each_row_is_told_alone() {
    let level = |time| -> NoiseLevel { schedule().level(time).unwrap() };
    let (from, to) = (
        [700.0, 500.0, 300.0].map(level),
        [600.0, 400.0, 200.0].map(level),
    );
    let step = DdimStep::per_sample(&from, &to, Kappa::Ddpm).unwrap();
    let calls = told(|noise| {
        let mut machine = Machine::new(numbers::<f32>(SHAPE), 0).unwrap();
        step.tell(&mut machine, KIND, &numbers::<f32>(SHAPE), noise, 0)
            .unwrap();
    });
    assert_eq!(calls, [(3, 8), (1, 8), (1, 8), (1, 8)]);
}

/// Noise recorded for rows of five elements.
#[derive(Debug)]
struct Recorded;

impl PureNoise<f32> for Recorded {
    fn draw(&self, _: NoiseKey, first: u64, out: &mut [f32]) {
        out.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0][first as usize..][..out.len()]);
    }
}

impl NoiseSource<f32> for Recorded {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f32]) {
        self.draw(key, first, out);
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        if demand.elements == 5 {
            return Ok(());
        }
        Err(Error::WrongLength {
            name: "recorded row",
            expected: demand.elements as usize,
            found: 5,
        })
    }
}

#[test]
fn a_source_refuses_rows_longer_or_shorter_than_its_own() {
    let ddpm = sampler(&FirstOrder::ddpm(), 4);
    for elements in [4, 6] {
        let refused = ddpm.start::<f32, _, _>((1, elements), KIND, Recorded);
        let wrong = Error::WrongLength {
            name: "recorded row",
            expected: elements,
            found: 5,
        };
        assert_eq!(refused.unwrap_err(), wrong);
        // And so it is as the source of one sample among others.
        let among = ddpm.start::<f32, _, _>((1, elements), KIND, PerSample::of([Recorded]));
        assert_eq!(among.unwrap_err(), wrong);
    }
    assert!(ddpm.start::<f32, _, _>((1, 5), KIND, Recorded).is_ok());
}
