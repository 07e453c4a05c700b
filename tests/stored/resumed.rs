//! A run that is stored and read back at every step ends in the bits of one that is not.

use std::convert::Infallible;

use diffusion_sampler::{
    Clip, Denoiser, Grid, KeyedNoise, NoiseLevel, Prediction, Query, Real, Sampler, Trajectory,
    denoiser::Guided,
    guidance::{
        ClassifierFree, ClassifierGuidance, Guidance, GuidanceWeight, OnInterval, Projected,
        Rescaled, Unguided,
    },
    noise::{BrownianPath, NoiseSource},
    run::Snapshot,
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::catalogue,
    stored::Element,
};
use ndarray::{Array2, ArrayRef, Axis, Ix2};
use serde::{Serialize, de::DeserializeOwned};

use crate::formats::{cbor, json, of_cbor, of_json, of_postcard, postcard};

pub(crate) const KIND: Prediction = Prediction::Velocity;

/// A network with as many outputs as it is asked for.
#[derive(Clone)]
pub(crate) struct Network;

impl<A: Real> Denoiser<A, Ix2> for Network {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, Ix2>,
    ) -> Result<(), Infallible> {
        let samples = x.shape()[0];
        let answer = |output: usize, x: A, level: &NoiseLevel| {
            let (j, sigma) = (A::cast(output as f64), A::cast(level.sigma()));
            sigma * x / (A::one() + x * x) + A::cast(0.1) * j * x - A::cast(0.3) * j
        };
        for (row, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
            let level = query.level_of(row % samples).unwrap();
            out.zip_mut_with(&x.index_axis(Axis(0), row % samples), |out, &x| {
                *out = answer(row / samples, x, &level);
            });
        }
        Ok(())
    }
}

/// All that a run needs, as it is stored.
type Stored<A, N, G> = (Sampler, N, G, Snapshot<Array2<A>>);

fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    of_json(&json(value)).unwrap()
}

fn through_postcard<T: Serialize + DeserializeOwned>(value: &T) -> T {
    of_postcard(&postcard(value)).unwrap()
}

fn through_cbor<T: Serialize + DeserializeOwned>(value: &T) -> T {
    of_cbor(&cbor(value)).unwrap()
}

/// Into a format and back.
type Through<T> = fn(&T) -> T;

/// The run with everything read back at every step.
fn interrupted<A, N, G>(mut stored: Stored<A, N, G>, through: Through<Stored<A, N, G>>) -> Array2<A>
where
    A: Element,
    N: NoiseSource<A> + Clone,
    G: Guidance + Clone,
{
    loop {
        let (sampler, noise, guidance, snapshot) = through(&stored);
        let mut run = sampler.resume(snapshot, KIND, noise.clone()).unwrap();
        if run.is_finished() {
            return run.into_state();
        }
        run.advance(&mut Guided::new(Network, guidance.clone()))
            .unwrap();
        let snapshot = run.snapshot().unwrap();
        stored = (sampler, noise, guidance, snapshot);
    }
}

fn assert_same_bits<A, N, G>(sampler: &Sampler, noise: N, guidance: G)
where
    A: Element,
    N: NoiseSource<A> + Clone + Serialize + DeserializeOwned,
    G: Guidance + Clone + Serialize + DeserializeOwned,
{
    let x = Array2::from_shape_fn((3, 5), |(i, j)| {
        A::cast(0.37 * i as f64 - 0.21 * j as f64 + 0.1)
    });
    let start =
        || -> Trajectory<A, Ix2, N> { sampler.start_from(x.clone(), KIND, noise.clone()).unwrap() };
    let mut whole = start();
    whole
        .complete(&mut Guided::new(Network, guidance.clone()))
        .unwrap();
    let bits = |a: &Array2<A>| a.iter().map(|v| v.widen().to_bits()).collect::<Vec<_>>();
    let expected = bits(&whole.into_state());
    for through in [through_json, through_postcard, through_cbor] {
        let stored = (
            sampler.clone(),
            noise.clone(),
            guidance.clone(),
            start().snapshot().unwrap(),
        );
        assert_eq!(bits(&interrupted(stored, through)), expected);
    }
}

fn samplers() -> Vec<Sampler> {
    let schedules: [Box<dyn NoiseSchedule>; 3] = [
        Box::new(
            TableSchedule::cosine(100)
                .unwrap()
                .zero_terminal_snr()
                .unwrap(),
        ),
        Box::new(RectifiedFlow::shifted(3.0).unwrap()),
        Box::new(VariancePreserving::default()),
    ];
    let mut samplers = Vec::new();
    for schedule in &schedules {
        let grid = Grid::trailing(&**schedule, 5).unwrap();
        for entry in catalogue() {
            samplers.push(Sampler::new(&**schedule, &grid, &*entry.solver).unwrap());
        }
    }
    samplers
}

#[test]
fn every_solver_of_the_catalogue_goes_on_to_the_same_bits() {
    for sampler in samplers() {
        assert_same_bits::<f32, _, _>(&sampler, KeyedNoise::new(u64::MAX), Unguided);
        assert_same_bits::<f64, _, _>(&sampler, KeyedNoise::new(3), Unguided);
    }
}

#[test]
fn guidance_with_and_without_a_memory_goes_on_to_the_same_bits() {
    let projected = Projected::new(1.5)
        .and_then(|form| form.with_radius(2.0)?.with_momentum(-0.6))
        .unwrap();
    let weight = GuidanceWeight::interval(2.0, 0.1, f64::INFINITY).unwrap();
    let rescaled = Rescaled::new(ClassifierFree::new(weight), 0.7).unwrap();
    for sampler in samplers().into_iter().step_by(2) {
        let clipped = sampler.clone().with_clip(Clip::dynamic(0.9, 2.0).unwrap());
        let noise = KeyedNoise::new(5).with_first_sample(7).unwrap();
        assert_same_bits::<f32, _, _>(&sampler, noise, projected);
        assert_same_bits::<f64, _, _>(&clipped, noise, projected);
        assert_same_bits::<f64, _, _>(&sampler, noise, rescaled.clone());
        let within = OnInterval::new(projected, 0.2, 3.0).unwrap();
        let zero = GuidanceWeight::constant(0.0).unwrap();
        let around = ClassifierGuidance::around(within, zero);
        assert_same_bits::<f32, _, _>(&clipped, noise, around);
    }
}

#[test]
fn a_brownian_path_goes_on_to_the_same_bits() {
    let schedule = VariancePreserving::default();
    let grid = Grid::trailing(&schedule, 6).unwrap();
    for entry in catalogue().iter().filter(|entry| !entry.inverts) {
        let sampler = Sampler::new(&schedule, &grid, &*entry.solver).unwrap();
        let path = BrownianPath::new(11).with_tau(0.7).unwrap();
        assert_same_bits::<f32, _, _>(&sampler, path, Unguided);
        assert_same_bits::<f64, _, _>(&sampler, path, Unguided);
    }
}
