//! Schedules.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::error::Error;
use crate::schedule::{
    Edm, RectifiedFlow, TableSchedule, UnitVariance, VarianceExploding, VariancePreserving,
};
use crate::testing::AnySchedule;

/// Tables of betas and ᾱ: linear, scaled linear, cosine, sigmoid, free lists of betas and of ᾱ;
/// each also with zero terminal SNR, where α ends at 0. T from 1 (2 with zero terminal SNR) to
/// 1000.
///
/// A table of T knots has 1000/T times the usual betas, as far as they stay below 1.
///
/// ```
/// use diffusion_sampler::schedule::NoiseSchedule;
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::tables};
///
/// proptest! {
///     fn noise_grows(table in tables()) {
///         let levels = (0..=table.last_time() as usize).map(|t| table.level(t as f64));
///         let levels = levels.collect::<Result<Vec<_>, _>>()?;
///         prop_assert!(levels.windows(2).all(|pair| pair[0].lambda() > pair[1].lambda()));
///     }
/// }
/// noise_grows();
/// ```
pub fn tables() -> BoxedStrategy<AnySchedule> {
    let plain = prop_oneof![
        3 => ramps(),
        1 => lengths().prop_filter_map("cosine", |steps| {
            named(format!("TableSchedule::cosine({steps})?"), TableSchedule::cosine(steps))
        }),
        1 => betas(),
        1 => alphas_cumprod(),
    ];
    (plain, zero_terminal_snr())
        .prop_filter_map("table", |(table, zero)| finished(table, zero))
        .boxed()
}

/// Every schedule of the crate: [`tables`], variance preserving, variance exploding, EDM, EDM
/// rescaled to unit variance, and rectified flow with shifts.
///
/// λ is infinite at the noisy end of a flow and of a table with zero terminal SNR, and at the clean
/// end of all but VE and EDM.
///
/// ```
/// use diffusion_sampler::schedule::NoiseSchedule;
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::schedules};
///
/// proptest! {
///     fn time_and_lambda_are_inverse(schedule in schedules(), u in 0.01..1.0) {
///         let level = schedule.level(u * schedule.last_time())?;
///         prop_assume!(level.lambda() >= schedule.lambda_range().noisy());
///         let back = schedule.level(schedule.time_of_lambda(level.lambda())?)?;
///         prop_assert!((back.lambda() - level.lambda()).abs() < 1e-9 * level.lambda().abs().max(1.0));
///     }
/// }
/// time_and_lambda_are_inverse();
/// ```
pub fn schedules() -> BoxedStrategy<AnySchedule> {
    let edges = || (0.001..0.1, 1.0..200.0);
    prop_oneof![
        3 => tables(),
        1 => (0.01..1.0, 0.0..30.0).prop_filter_map("VP", |(min, more)| {
            let max: f64 = min + more;
            let recipe = format!("VariancePreserving::new({min:?}, {max:?})?");
            named(recipe, VariancePreserving::new(min, max)).map(|(recipe, vp)| AnySchedule::new(recipe, vp))
        }),
        1 => edges().prop_filter_map("VE", |(min, max)| {
            let recipe = format!("VarianceExploding::new({min:?}, {max:?})?");
            named(recipe, VarianceExploding::new(min, max)).map(|(recipe, ve)| AnySchedule::new(recipe, ve))
        }),
        1 => edges().prop_filter_map("EDM", |(min, max)| {
            let recipe = format!("Edm::new({min:?}, {max:?})?");
            named(recipe, Edm::new(min, max)).map(|(recipe, edm)| AnySchedule::new(recipe, edm))
        }),
        1 => edges().prop_filter_map("rescaled EDM", |(min, max)| {
            let recipe = format!("UnitVariance::of(Edm::new({min:?}, {max:?})?)");
            let rescaled = Edm::new(min, max).map(UnitVariance::of);
            named(recipe, rescaled).map(|(recipe, edm)| AnySchedule::new(recipe, edm))
        }),
        1 => Just(AnySchedule::new("RectifiedFlow::new()", RectifiedFlow::new())),
        1 => (0.1..15.0).prop_filter_map("flow", |shift| {
            let recipe = format!("RectifiedFlow::shifted({shift:?})?");
            named(recipe, RectifiedFlow::shifted(shift)).map(|(recipe, flow)| AnySchedule::new(recipe, flow))
        }),
    ]
    .boxed()
}

type Named<S> = (String, S);

fn named<S>(recipe: String, schedule: Result<S, Error>) -> Option<Named<S>> {
    Some((recipe, schedule.ok()?))
}

/// The number of knots: short ones, and the usual one.
fn lengths() -> BoxedStrategy<usize> {
    prop_oneof![4 => 1..=50usize, 2 => 51..=999usize, 1 => Just(1000)].boxed()
}

fn zero_terminal_snr() -> impl Strategy<Value = bool> {
    prop_oneof![3 => Just(false), 1 => Just(true)]
}

/// The table as it is, or with zero terminal SNR where it is long enough.
fn finished((recipe, table): Named<TableSchedule>, zero: bool) -> Option<AnySchedule> {
    if let Some(rescaled) = zero.then(|| table.zero_terminal_snr().ok()).flatten() {
        let recipe = format!("{recipe}.zero_terminal_snr()?");
        return Some(AnySchedule::new(recipe, rescaled));
    }
    Some(AnySchedule::new(recipe, table))
}

/// Linear, scaled linear and sigmoid.
fn ramps() -> impl Strategy<Value = Named<TableSchedule>> {
    let betas = prop_oneof![
        1 => Just((1e-4, 0.02)),
        1 => Just((0.00085, 0.012)),
        2 => (1e-5..1e-3, 0.002..0.03),
    ];
    (0..3usize, lengths(), betas).prop_filter_map("ramp", |(kind, steps, (first, last))| {
        let factor = f64::min(1000.0 / steps as f64, 0.9 / last);
        let (first, last) = (factor * first, factor * last);
        let (name, table) = match kind {
            0 => ("linear", TableSchedule::linear(steps, first, last)),
            1 => (
                "scaled_linear",
                TableSchedule::scaled_linear(steps, first, last),
            ),
            _ => ("sigmoid", TableSchedule::sigmoid(steps, first, last)),
        };
        named(
            format!("TableSchedule::{name}({steps}, {first:?}, {last:?})?"),
            table,
        )
    })
}

/// Any betas, in no order.
fn betas() -> impl Strategy<Value = Named<TableSchedule>> {
    vec(1e-6..0.5, 1..30).prop_filter_map("betas", |betas: Vec<f64>| {
        let table = TableSchedule::from_betas(&betas);
        named(format!("TableSchedule::from_betas(&{betas:?})?"), table)
    })
}

/// Any ᾱ: products of ratios.
fn alphas_cumprod() -> impl Strategy<Value = Named<TableSchedule>> {
    vec(0.2..0.9999, 1..20).prop_filter_map("alphas_cumprod", |ratios: Vec<f64>| {
        let mut product = 1.0;
        let products: Vec<f64> = ratios
            .iter()
            .map(|ratio| {
                product *= ratio;
                product
            })
            .collect();
        let table = TableSchedule::from_alphas_cumprod(&products);
        named(
            format!("TableSchedule::from_alphas_cumprod(&{products:?})?"),
            table,
        )
    })
}
