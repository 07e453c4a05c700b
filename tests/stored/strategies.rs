//! Any value of every type that can be stored.

use diffusion_sampler::{
    Clip, Grid, KeyedNoise, NoiseLevel, Prediction,
    guidance::{
        ClassifierFree, Combination, Composed, GuidanceWeight, PerpendicularNegative, Perturbed,
        PlusPlus, Projected, Tangential, WeightedSum, ZeroStar,
    },
    noise::{BrownianPath, Interval, NoiseKey, Stream},
    plan::{Plan, Stage, Step, Store, Update},
    posterior::{Kappa, ReverseVariance},
    schedule::{
        Edm, LambdaRange, ModelTime, NoiseSchedule, RectifiedFlow, TableSchedule, UnitVariance,
        VarianceExploding, VariancePreserving,
    },
    solver::{DpmSolverPlusPlus, FirstOrder, Path, SecondOrderForm, catalogue},
};
use ndarray::{Array, ArrayD, IxDyn};
use proptest::collection::vec;
use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
use proptest::prelude::*;

/// Any finite number, both zeros and the numbers below the normal ones among them.
pub(crate) fn finite() -> BoxedStrategy<f64> {
    prop_oneof![
        8 => POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
        4 => -10.0..10.0,
        1 => Just(-0.0),
        1 => Just(f64::MAX),
        1 => Just(f64::MIN_POSITIVE),
        1 => Just(0.1 + 0.2),
    ]
    .boxed()
}

pub(crate) fn extended() -> BoxedStrategy<f64> {
    let infinite = prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY)];
    prop_oneof![4 => finite(), 1 => infinite].boxed()
}

/// Any value that a constructor makes of the strategy's.
pub(crate) fn made<S, T, E>(
    of: S,
    make: impl Fn(S::Value) -> Result<T, E> + 'static,
) -> BoxedStrategy<T>
where
    S: Strategy + 'static,
    T: std::fmt::Debug + 'static,
{
    of.prop_filter_map("refused", move |value| make(value).ok())
        .boxed()
}

pub(crate) fn table() -> BoxedStrategy<TableSchedule> {
    let betas = made(vec(1e-6..0.999f64, 1..40), |b| {
        TableSchedule::from_betas(&b)
    });
    let whole = (2usize..200).prop_flat_map(|steps| {
        prop_oneof![
            Just(TableSchedule::linear(steps, 1e-4, 0.02)),
            Just(TableSchedule::cosine(steps)),
            Just(TableSchedule::scaled_linear(steps, 0.00085, 0.012)),
            Just(TableSchedule::sigmoid(steps, 1e-4, 0.02)),
        ]
    });
    let whole = made(whole, |table| table);
    let zero = made(whole.clone(), |table| table.zero_terminal_snr());
    prop_oneof![betas, whole, zero].boxed()
}

pub(crate) fn preserving() -> BoxedStrategy<VariancePreserving> {
    made((1e-3..5.0, 0.0..40.0), |(min, more)| {
        VariancePreserving::new(min, min + more)
    })
}

pub(crate) fn exploding() -> BoxedStrategy<VarianceExploding> {
    made((finite(), finite()), |(min, max)| {
        VarianceExploding::new(min.abs(), max.abs())
    })
}

pub(crate) fn edm() -> BoxedStrategy<Edm> {
    made((finite(), finite()), |(min, max)| {
        Edm::new(min.abs(), max.abs())
    })
}

pub(crate) fn flow() -> BoxedStrategy<RectifiedFlow> {
    made((finite(), model_time()), |(shift, time)| {
        RectifiedFlow::shifted(shift.abs()).map(|flow| flow.with_model_time(time))
    })
}

pub(crate) fn model_time() -> BoxedStrategy<ModelTime> {
    made(
        (any::<bool>(), finite(), any::<bool>()),
        |(reversed, factor, truncated)| {
            let time = match reversed {
                true => ModelTime::one_minus_sigma(),
                false => ModelTime::sigma(),
            };
            let time = time.times(factor.abs());
            time.map(|time| if truncated { time.truncated() } else { time })
        },
    )
}

pub(crate) fn unit_variance() -> BoxedStrategy<UnitVariance<Edm>> {
    let rescaled = (edm(), any::<bool>()).prop_map(|(edm, noise)| {
        let schedule = UnitVariance::of(edm);
        if noise {
            schedule.with_edm_noise()
        } else {
            schedule
        }
    });
    rescaled.boxed()
}

pub(crate) fn range() -> BoxedStrategy<LambdaRange> {
    made((extended(), extended()), |(noisy, clean)| {
        LambdaRange::new(noisy, clean)
    })
}

/// Schedules of every kind.
pub(crate) fn schedule() -> BoxedStrategy<std::sync::Arc<dyn NoiseSchedule>> {
    fn shared<T: NoiseSchedule + 'static>(schedule: T) -> std::sync::Arc<dyn NoiseSchedule> {
        std::sync::Arc::new(schedule)
    }
    prop_oneof![
        table().prop_map(shared),
        preserving().prop_map(shared),
        exploding().prop_map(shared),
        edm().prop_map(shared),
        flow().prop_map(shared),
        unit_variance().prop_map(shared),
    ]
    .boxed()
}

/// A level from every constructor, and of every schedule.
pub(crate) fn level() -> BoxedStrategy<NoiseLevel> {
    let plain = made((finite(), finite(), finite()), |(time, alpha, sigma)| {
        NoiseLevel::new(time, alpha.abs(), sigma.abs())
    });
    let log = || prop_oneof![-800.0..700.0, Just(f64::NEG_INFINITY), -1e-9..1e-9];
    let logs = made((finite(), log(), log()), |(time, alpha, sigma)| {
        NoiseLevel::from_logs(time, alpha, sigma)
    });
    let square = prop_oneof![
        -60.0..0.0,
        -1500.0..0.0,
        finite().prop_map(|v| -v.abs()),
        Just(f64::NEG_INFINITY)
    ];
    let preserving = made((finite(), square), |(time, log)| {
        NoiseLevel::variance_preserving(time, log)
    });
    let scheduled = made((schedule(), 0.0..=1.0), |(schedule, part)| {
        schedule.level(part * schedule.last_time())
    });
    let any = prop_oneof![
        plain,
        logs,
        preserving,
        scheduled,
        Just(NoiseLevel::clean())
    ];
    (any, proptest::option::of(extended()))
        .prop_map(|(level, time)| match time {
            Some(time) => level.with_model_time(time),
            None => level,
        })
        .boxed()
}

pub(crate) fn grid() -> BoxedStrategy<Grid> {
    let scheduled = made((schedule(), 1usize..12), |(schedule, steps)| {
        Grid::trailing(&*schedule, steps)
    });
    let listed = made((vec(level(), 2..6), finite()), |(mut levels, variance)| {
        levels.sort_by(|a, b| a.lambda().total_cmp(&b.lambda()));
        Grid::from_levels(levels, variance.abs())
    });
    let timed = scheduled
        .clone()
        .prop_map(|grid| grid.with_model_times(|level| 0.25 * level.rho().ln()));
    prop_oneof![scheduled, listed, timed].boxed()
}

pub(crate) fn kappa() -> BoxedStrategy<Kappa> {
    prop_oneof![
        Just(Kappa::Ddim),
        Just(Kappa::Ddpm),
        Just(Kappa::Fresh),
        finite().prop_map(Kappa::Eta),
        finite().prop_map(Kappa::Tau),
        finite().prop_map(Kappa::Gamma),
        finite().prop_map(Kappa::CappedEta),
        finite().prop_map(Kappa::FlowEta),
        finite().prop_map(Kappa::Ancestral),
    ]
    .boxed()
}

pub(crate) fn variance() -> BoxedStrategy<ReverseVariance> {
    prop_oneof![
        Just(ReverseVariance::Posterior),
        Just(ReverseVariance::FixedLarge),
        finite().prop_map(ReverseVariance::Explicit),
    ]
    .boxed()
}

pub(crate) fn first_order() -> BoxedStrategy<FirstOrder> {
    let same = kappa().prop_map(FirstOrder::new);
    let listed = vec(kappa(), 0..9).prop_map(FirstOrder::per_edge);
    (prop_oneof![same, listed], variance())
        .prop_map(|(solver, variance)| solver.with_reverse_variance(variance))
        .boxed()
}

pub(crate) fn multistep() -> BoxedStrategy<DpmSolverPlusPlus> {
    let settings = (1usize..4, finite(), any::<[bool; 6]>());
    made(settings, |(order, tau, options)| {
        let [exact, guarded, unbounded, published, lowered, warm] = options;
        let mut solver = DpmSolverPlusPlus::multistep(order)?.with_tau(tau.abs())?;
        if exact {
            solver = solver.with_form(SecondOrderForm::Exact);
        }
        if guarded {
            solver = solver.guarded();
        }
        if unbounded {
            solver = solver.unbounded();
        }
        if published {
            solver = solver.as_published();
        }
        if lowered {
            solver = solver.lower_order_final();
        }
        if warm {
            solver = solver.warmed_up();
        }
        Ok::<_, diffusion_sampler::Error>(solver)
    })
}

pub(crate) fn prediction() -> BoxedStrategy<Prediction> {
    prop_oneof![
        Just(Prediction::Noise),
        Just(Prediction::Data),
        Just(Prediction::Velocity),
        Just(Prediction::Score),
        Just(Prediction::Flow),
        finite().prop_map(|data_std| Prediction::Edm { data_std }),
        finite().prop_map(|data_std| Prediction::EdmVelocity { data_std }),
        (finite(), finite()).prop_map(|(data, noise)| Prediction::Linear { data, noise }),
    ]
    .boxed()
}

pub(crate) fn clip() -> BoxedStrategy<Clip> {
    let fixed = made((finite(), finite()), |(low, high)| Clip::new(low, high));
    let dynamic = made((0.0..=1.0, 1.0..1e9), |(ratio, max)| {
        Clip::dynamic(ratio, max)
    });
    (prop_oneof![fixed, dynamic], any::<bool>())
        .prop_map(|(clip, keep)| if keep { clip.keeping_noise() } else { clip })
        .boxed()
}

pub(crate) fn store() -> BoxedStrategy<Store> {
    prop_oneof![
        (0usize..3).prop_map(Store::data),
        (0usize..3).prop_map(Store::noise),
        (0usize..3).prop_map(Store::state),
        (0usize..3, finite(), finite()).prop_map(|(slot, a, b)| Store::linear(slot, a, b)),
    ]
    .boxed()
}

pub(crate) fn update() -> BoxedStrategy<Update> {
    let history = proptest::sample::subsequence(vec![0usize, 1, 2], 0..=3);
    let history = (history, vec(finite(), 3))
        .prop_map(|(slots, weights)| slots.into_iter().zip(weights).collect());
    let numbers = (finite(), finite(), finite());
    (numbers, history, proptest::option::of(store()))
        .prop_map(|((state, data, noise), history, store)| Update {
            state,
            data,
            history,
            noise: noise.abs(),
            store,
        })
        .boxed()
}

pub(crate) fn stage() -> BoxedStrategy<Stage> {
    (proptest::option::of(level()), update())
        .prop_map(|(evaluate, update)| Stage { evaluate, update })
        .boxed()
}

/// A plan by hand, with given slots, and one of a solver.
pub(crate) fn plan() -> BoxedStrategy<Plan> {
    let stages = vec(vec((level(), update()), 1..4), 1..5);
    let by_hand = made(
        (vec(level(), 5), stages, 0usize..=3),
        |(levels, steps, given)| {
            let steps = steps.into_iter().zip(levels.windows(2));
            let steps = steps.map(|(stages, ends)| Step {
                from: ends[0],
                to: ends[1],
                stages: stages
                    .into_iter()
                    .map(|(level, update)| Stage::evaluating(level, update))
                    .collect(),
            });
            Plan::with_given(steps.collect(), 3, given.max(2))
        },
    );
    let solved = made(
        (schedule(), 1usize..8, 0usize..11),
        |(schedule, steps, solver)| {
            let grid = Grid::trailing(&*schedule, steps)?;
            catalogue()[solver]
                .solver
                .plan(&Path::new(&*schedule, &grid)?)
        },
    );
    prop_oneof![by_hand, solved].boxed()
}

pub(crate) fn noise() -> BoxedStrategy<KeyedNoise> {
    made((any::<u64>(), 0u64..(1 << 53)), |(seed, first)| {
        KeyedNoise::new(seed).with_first_sample(first)
    })
}

pub(crate) fn interval() -> BoxedStrategy<Interval> {
    (extended(), extended())
        .prop_map(|(from, to)| Interval::new(from, to))
        .boxed()
}

pub(crate) fn path() -> BoxedStrategy<BrownianPath> {
    let settings = (
        any::<u64>(),
        0u64..(1 << 53),
        1e-6..=100.0,
        -1000.0..0.0,
        1e-3..1000.0,
    );
    made(settings, |(seed, first, tau, noisy, length)| {
        BrownianPath::new(seed)
            .with_first_sample(first)?
            .with_tau(tau)?
            .with_interval(Interval::new(noisy, noisy + length))
    })
}

pub(crate) fn stream() -> BoxedStrategy<Stream> {
    prop_oneof![
        Just(Stream::Start),
        Just(Stream::Forward),
        any::<u8>().prop_map(Stream::Step),
        any::<u8>().prop_map(Stream::User),
    ]
    .boxed()
}

pub(crate) fn key() -> BoxedStrategy<NoiseKey> {
    let plain = (any::<u64>(), any::<u32>(), stream());
    (plain, proptest::option::of(interval()))
        .prop_map(|((row, step, stream), interval)| {
            let key = NoiseKey::new(row, step, stream);
            interval.map_or(key, |interval| key.with_interval(interval))
        })
        .boxed()
}

pub(crate) fn weight() -> BoxedStrategy<GuidanceWeight> {
    let constant = made(finite(), GuidanceWeight::constant);
    let interval = made((finite(), finite(), extended()), |(weight, low, high)| {
        GuidanceWeight::interval(weight, low.abs(), high)
    });
    prop_oneof![constant, interval].boxed()
}

pub(crate) fn free() -> BoxedStrategy<ClassifierFree> {
    weight().prop_map(ClassifierFree::new).boxed()
}

/// A weight that combinations take.
pub(crate) fn moderate() -> BoxedStrategy<f64> {
    prop_oneof![-1e9..1e9, -10.0..10.0, Just(0.0), Just(-0.0), Just(1e9)].boxed()
}

pub(crate) fn projected() -> BoxedStrategy<Projected> {
    let settings = (moderate(), finite(), extended(), -1.0..1.0);
    made(settings, |(weight, eta, radius, momentum)| {
        let form = Projected::new(weight)?
            .with_eta(eta)?
            .with_momentum(momentum)?;
        match radius.is_finite() {
            true => form.with_radius(radius.abs()),
            false => Ok(form),
        }
    })
}

pub(crate) fn zero_star() -> BoxedStrategy<ZeroStar> {
    made(
        (moderate(), any::<usize>(), prediction()),
        |(scale, steps, space)| {
            Ok::<_, diffusion_sampler::Error>(
                ZeroStar::with_scale(scale)?.zero_steps(steps).on(space),
            )
        },
    )
}

pub(crate) fn plus_plus() -> BoxedStrategy<PlusPlus> {
    made(moderate(), PlusPlus::new)
}

pub(crate) fn tangential() -> BoxedStrategy<Tangential> {
    made(moderate(), Tangential::with_scale)
}

pub(crate) fn perpendicular() -> BoxedStrategy<PerpendicularNegative> {
    made((moderate(), moderate()), |(scale, negative)| {
        PerpendicularNegative::new(scale, negative)
    })
}

pub(crate) fn composed() -> BoxedStrategy<Composed> {
    made(vec(moderate(), 1..6), |scales| Composed::new(&scales))
}

pub(crate) fn perturbed() -> BoxedStrategy<Perturbed> {
    made((moderate(), weight()), |(scale, weight)| {
        Perturbed::new(scale, weight)
    })
}

pub(crate) fn weighted_sum() -> BoxedStrategy<WeightedSum> {
    made(vec(moderate(), 1..7), |weights| WeightedSum::new(&weights))
}

pub(crate) fn combination() -> BoxedStrategy<Combination> {
    let weights = (
        vec(moderate(), 1..5),
        vec(moderate(), 4),
        vec(moderate(), 0..3),
    );
    let rest = (
        any::<bool>(),
        moderate(),
        proptest::option::of(prediction()),
    );
    made(
        (weights, rest),
        |((models, noise, gradients), (other, memory, space))| {
            let mut combination = Combination::weighted(&models)?.with_memory(memory)?;
            if other {
                combination = combination.with_noise(&noise[..models.len()])?;
            }
            if let Some(space) = space {
                combination = combination.in_space(space);
            }
            for gradient in gradients {
                combination = combination.with_gradient(gradient)?;
            }
            Ok::<_, diffusion_sampler::Error>(combination)
        },
    )
}

/// An array of any shape with up to four axes, some of them empty.
pub(crate) fn array(shape: &[usize]) -> BoxedStrategy<ArrayD<f64>> {
    let shape = IxDyn(shape);
    vec(finite(), shape.size_of())
        .prop_map(move |elements| Array::from_shape_vec(shape.clone(), elements).unwrap())
        .boxed()
}

trait Size {
    fn size_of(&self) -> usize;
}

impl Size for IxDyn {
    fn size_of(&self) -> usize {
        use ndarray::Dimension;
        self.size()
    }
}
