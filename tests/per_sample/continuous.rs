//! Continuous batching: requests join and leave a running batch, and stand at different levels.

use diffusion_sampler::{
    Error, KeyedNoise, NoiseLevel, Real,
    noise::{BrownianPath, Interval, NoiseKey, NoiseSource, PerSample, SampleNoise, Stream},
    posterior::Kappa,
    run::{DdimStep, Machine},
    solver::FirstOrder,
};
use ndarray::{Array1, Array2, Axis, stack};
use proptest::prelude::*;

use crate::common::{KIND, Request, Smooth, row, sampler};

const LENGTH: usize = 19;

/// A request that joins a running batch, in as many steps as it likes.
#[derive(Clone, Debug)]
struct Job {
    request: Request,
    /// The batch's step at which it joins.
    joins: u32,
    steps: usize,
    /// It leaves the batch after so many steps, and comes back two batch steps later.
    paused_after: Option<usize>,
}

/// A job in the batch.
#[derive(Clone, Debug)]
struct Running<A> {
    job: usize,
    levels: Vec<NoiseLevel>,
    taken: usize,
    x: Array1<A>,
    noise: SampleNoise,
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let job = (0u64..3, 0u64..3, 0u32..6, 1usize..6, any::<bool>());
    let job = job.prop_map(|(seed, sample, joins, steps, pauses)| Job {
        request: Request { seed, sample },
        joins,
        steps,
        paused_after: (pauses && steps > 1).then_some(steps / 2),
    });
    prop::collection::vec(job, 1..6)
}

/// What a job comes to alone: a run of its own.
fn alone<A: Real>(job: &Job) -> Array2<A> {
    let sampler = sampler(&FirstOrder::ddpm(), job.steps);
    let mut run = sampler
        .start::<A, _, _>((1, LENGTH), KIND, job.request.alone())
        .unwrap();
    run.complete(&mut Smooth).unwrap();
    run.into_state()
}

fn joining<A: Real>(index: usize, job: &Job) -> Running<A> {
    let sampler = sampler(&FirstOrder::ddpm(), job.steps);
    let plan = sampler.plan();
    let levels = plan.steps().iter().map(|step| step.from);
    let mut x = vec![A::zero(); LENGTH];
    let start = NoiseKey::new(0, 0, Stream::Start);
    job.request.alone().fill_row(start, &mut x);
    let deviation = A::cast(sampler.start_variance().sqrt());
    Running {
        job: index,
        levels: levels.chain([plan.end()]).collect(),
        taken: 0,
        x: x.into_iter().map(|z| deviation * z).collect(),
        noise: job.request.among().joining_at(job.joins),
    }
}

/// One step of the batch, whose samples stand at levels of their own.
fn step<A: Real>(batch: &mut [Running<A>], number: u32) {
    let at = |shift: usize| -> Vec<NoiseLevel> {
        let levels = batch.iter().map(|row| row.levels[row.taken + shift]);
        levels.collect()
    };
    let step = DdimStep::per_sample(&at(0), &at(1), Kappa::Ddpm).unwrap();
    let rows: Vec<_> = batch.iter().map(|row| row.x.view()).collect();
    let mut machine = Machine::new(stack(Axis(0), &rows).unwrap(), 0).unwrap();
    let mut noise = PerSample::new(batch.iter().map(|row| row.noise).collect());
    let taken = step.take(&mut machine, &mut Smooth, &mut noise, number);
    taken.unwrap();
    for (row, x) in batch.iter_mut().zip(machine.state().outer_iter()) {
        row.x.assign(&x);
        row.taken += 1;
    }
}

/// All jobs by one batch. Who is done leaves, and the last takes his place.
fn served<A: Real>(jobs: &[Job]) -> Vec<Array1<A>> {
    let mut results = vec![Array1::zeros(LENGTH); jobs.len()];
    let mut batch: Vec<Running<A>> = Vec::new();
    let mut paused: Vec<(u32, Running<A>)> = Vec::new();
    for number in 0..30 {
        for (index, job) in jobs.iter().enumerate() {
            if job.joins == number {
                batch.push(joining(index, job));
            }
        }
        while let Some(at) = paused.iter().position(|(back, _)| *back == number) {
            let (_, mut row) = paused.swap_remove(at);
            row.noise = row.noise.joining_at(number).having_taken(row.taken as u32);
            batch.insert(0, row);
        }
        if !batch.is_empty() {
            step(&mut batch, number);
        }
        let mut at = 0;
        while at < batch.len() {
            let job = &jobs[batch[at].job];
            if batch[at].taken == job.steps {
                let row = batch.swap_remove(at);
                results[row.job] = row.x;
            } else if job.paused_after == Some(batch[at].taken) {
                paused.push((number + 3, batch.swap_remove(at)));
            } else {
                at += 1;
            }
        }
    }
    assert!(batch.is_empty() && paused.is_empty());
    results
}

fn jobs_agree<A: Real>(jobs: &[Job]) {
    for (job, result) in jobs.iter().zip(served::<A>(jobs)) {
        let result = result.insert_axis(Axis(0));
        assert_eq!(row(&result, 0), row(&alone::<A>(job), 0), "{job:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn requests_that_join_pause_and_leave_come_to_what_they_come_to_alone(jobs in jobs()) {
        jobs_agree::<f32>(&jobs);
        jobs_agree::<f64>(&jobs);
    }

    #[test]
    fn the_steps_of_a_sample_are_counted_from_where_it_joined(
        joined in 0u32..1000, taken in 0u32..1000, later in 0u32..1000, stream in 0u8..4,
    ) {
        let noise = KeyedNoise::new(11);
        let sample = SampleNoise::new(noise).joining_at(joined).having_taken(taken);
        prop_assert_eq!(sample.own_step(joined + later), Some(taken + later));
        let mut list = PerSample::new(vec![sample]);
        for stream in [Stream::Step(stream), Stream::User(stream), Stream::Forward] {
            let (mut ours, mut own) = ([0f32; 9], [0f32; 9]);
            let key = NoiseKey::new(0, joined + later, stream);
            list.fill(key, 0, &mut ours);
            noise.fill_row(NoiseKey::new(0, taken + later, stream), &mut own);
            prop_assert_eq!(ours, own);
        }
        let (mut ours, mut own) = ([0f32; 9], [0f32; 9]);
        let start = NoiseKey::new(0, 0, Stream::Start);
        list.fill(start, 0, &mut ours);
        noise.fill_row(start, &mut own);
        prop_assert_eq!(ours, own);
    }
}

/// Each sample's interval is checked against its own path alone, and reaches it.
#[test]
fn samples_at_levels_of_their_own_follow_paths_of_their_own() {
    let level = |lambda: f64| {
        let log_alpha_squared = -libm::log1p(libm::exp(-2.0 * lambda));
        NoiseLevel::variance_preserving(-lambda, log_alpha_squared).unwrap()
    };
    let path = |seed, from, to| {
        let path = BrownianPath::new(seed);
        path.with_interval(Interval::new(from, to)).unwrap()
    };
    let paths = [path(1, -4.0, -1.0), path(2, 1.0, 4.0)];
    let (from, to) = ([level(-3.0), level(2.0)], [level(-2.0), level(2.5)]);
    let step = DdimStep::per_sample(&from, &to, Kappa::Ddpm).unwrap();
    let start = Array2::from_elem((2, LENGTH), 0.25f64);
    let mut both = Machine::new(start.clone(), 0).unwrap();
    let mut noise = PerSample::of(paths);
    step.take(&mut both, &mut Smooth, &mut noise, 3).unwrap();
    for sample in 0..2 {
        let step = DdimStep::new(from[sample], to[sample], Kappa::Ddpm).unwrap();
        let mut alone = Machine::new(Array2::from_elem((1, LENGTH), 0.25), 0).unwrap();
        let mut noise = paths[sample];
        step.take(&mut alone, &mut Smooth, &mut noise, 3).unwrap();
        assert_eq!(row(both.state(), sample), row(alone.state(), 0));
    }
    // In the other order neither path has its sample's interval.
    let mut swapped = Machine::new(start, 0).unwrap();
    let mut noise = PerSample::of([paths[1], paths[0]]);
    let refused = step.take(&mut swapped, &mut Smooth, &mut noise, 3);
    assert!(refused.is_err());
    assert!(swapped.state().iter().all(|x| *x == 0.25));
}

/// A run asks for noise from its first step that draws to its last.
#[test]
fn a_sample_may_join_a_run_while_it_draws_nothing() {
    let kappas = vec![Kappa::Ddim, Kappa::Ddpm, Kappa::Ddpm, Kappa::Ddim];
    let sampler = sampler(&FirstOrder::per_edge(kappas), 4);
    let start = |step| {
        let noise = SampleNoise::new(KeyedNoise::new(1)).joining_at(step);
        sampler.start::<f64, _, _>((1, LENGTH), KIND, PerSample::new(vec![noise]))
    };
    assert!(start(0).is_ok() && start(1).is_ok());
    let early = Error::StepBeforeJoining {
        sample: 0,
        joined: 2,
        step: 1,
    };
    assert_eq!(start(2).err(), Some(early));
}
