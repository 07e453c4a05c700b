//! Knots to the last digits, and the edges of what a constructor takes.

#![allow(clippy::excessive_precision)] // The references as mpmath prints them.

use std::f64::consts::PI;

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    grid::{AlignYourSteps, FlowSigmas, SigmaRange},
    schedule::{Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule},
};

use super::common::{Outcome, times};

/// A handful of roundings.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

fn sd() -> Result<TableSchedule, Error> {
    TableSchedule::scaled_linear(1000, 0.00085, 0.012)
}

fn indices(grid: &Grid) -> Vec<f64> {
    grid.edges().map(|(from, _)| from.model_time()).collect()
}

/// The name of the parameter that an error is about.
fn parameter<T>(made: Result<T, Error>) -> Option<&'static str> {
    match made {
        Err(Error::InvalidParameter { name, .. }) => Some(name),
        _ => None,
    }
}

#[test]
fn sway_bends_progress_by_its_formula_from_either_end() -> Outcome {
    let flow = RectifiedFlow::new();
    let most = 2.0 / (PI - 2.0);
    for sway in [-1.0, -0.5, 0.0, 0.3, most] {
        let (forth, back) = (
            Grid::sway(&flow, 5, sway)?,
            Grid::sway_in_time(&flow, 5, sway)?,
        );
        for k in 0..=5 {
            let p = k as f64 / 5.0;
            let bent = |p: f64| p + sway * ((0.5 * PI * p).cos() - 1.0 + p);
            // Terms of size 1 and of the size of c.
            let bound = ROUNDING * (1.0 + sway.abs());
            let expected = 1.0 - bent(p);
            let error = (forth.levels()[k].time() - expected).abs();
            assert!(error <= bound, "{sway} at {k}: {error:e}");
            let error = (back.levels()[k].time() - bent(1.0 - p)).abs();
            assert!(error <= bound, "in time, {sway} at {k}: {error:e}");
        }
    }
    // c = −1 is the sine of what is left, without a difference that loses its digits.
    let grid = Grid::sway(&flow, 1000, -1.0)?;
    let expected = (0.5 * PI * (1.0 / 1000.0)).sin();
    let error = (grid.levels()[999].time() / expected - 1.0).abs();
    assert!(error <= ROUNDING, "{error:e}");
    for bad in [(-1f64).next_down(), most.next_up(), f64::NAN] {
        assert_eq!(parameter(Grid::sway(&flow, 5, bad)), Some("sway"));
        assert_eq!(parameter(Grid::sway_in_time(&flow, 5, bad)), Some("sway"));
    }
    Ok(())
}

#[test]
fn a_published_table_far_beyond_a_schedule_is_refused() -> Outcome {
    // ρ = 700 on a schedule that ends at 14.6; 14.615 on the same is its end, rounded.
    assert!(matches!(
        Grid::align_your_steps(&sd()?, 10, AlignYourSteps::Svd),
        Err(Error::LambdaOutOfRange { .. })
    ));
    // Here ρ = 700 is the only value beyond.
    assert!(matches!(
        Grid::align_your_steps(&Edm::new(0.001, 600.0)?, 10, AlignYourSteps::Svd),
        Err(Error::LambdaOutOfRange { .. })
    ));
    let grid = Grid::align_your_steps(&sd()?, 10, AlignYourSteps::Sd15)?;
    assert_eq!(grid.start(), sd()?.level(1000.0)?);
    Ok(())
}

#[test]
fn arctangents_have_their_digits_near_pure_noise_and_beside_it() -> Outcome {
    // (k, ρ_k): mpmath at 60 digits. EDM, whose time is ρ, has the digits of any ρ.
    let flow = RectifiedFlow::new();
    let far = Edm::new(0.5, 1e12)?;
    let grid = Grid::kl_optimal(&far, 1001, far.lambda_range())?;
    for (k, rho) in [
        (1, 903.22065539425485271),
        (2, 451.6097743264942314),
        (500, 1.6180339887480858312),
        (999, 0.50138470299909601777),
    ] {
        // λ is up to 7, so that ρ = e^−λ has some roundings more.
        let error = (grid.levels()[k].rho() / rho - 1.0).abs();
        assert!(error <= 4.0 * ROUNDING, "{k}: {error:e}");
    }
    let edm = Edm::new(0.002, 80.0)?;
    let grid = Grid::kl_optimal(&edm, 5, edm.lambda_range())?;
    for (k, rho) in [
        (1, 2.3548841736965176521),
        (2, 0.98955538321814387396),
        (3, 0.41231122343340250306),
    ] {
        let error = (grid.levels()[k].rho() / rho - 1.0).abs();
        assert!(error <= 2.0 * ROUNDING, "{k}: {error:e}");
    }
    let (on_flow, on_edm) = (Grid::arctan(&flow, 8, 0.5)?, Grid::arctan(&edm, 8, 0.5)?);
    for (k, flow, edm) in [
        (1, 2.5136697460629240523, 2.443748952167069367),
        (2, 1.2071067811865475244, 1.1912818303124383524),
        (3, 0.7483028813327445088, 0.74201191830732777542),
        (5, 0.33408931895964946, 0.33239691480852757361),
        (7, 0.099456183689829003456, 0.099050171468713913867),
    ] {
        for (grid, rho) in [(&on_flow, flow), (&on_edm, edm)] {
            let error = (grid.levels()[k].rho() / rho - 1.0).abs();
            assert!(error <= 2.0 * ROUNDING, "{k}: {error:e}");
        }
    }
    Ok(())
}

#[test]
fn arctangents_below_a_quarter_turn_are_their_definition() -> Outcome {
    // ν_k = tan((1 − u) arctan ν_max + u arctan ν_min) of a flow's sigma up to a half.
    let flow = RectifiedFlow::new();
    let grid = Grid::kl_optimal(&flow, 5, SigmaRange::flow(0.5, 0.1)?)?;
    for k in 0..5 {
        let u = f64::from(k) / 4.0;
        let expected = ((1.0 - u) * 0.5f64.atan() + u * 0.1f64.atan()).tan();
        let found = grid.levels()[k as usize].sigma();
        assert!(
            (found / expected - 1.0).abs() <= 2.0 * ROUNDING,
            "{k}: {found}"
        );
    }
    // ρ_k = c tan((1 − k/K) arctan(ρ_max/c)) with ρ_max = c/2.
    let edm = Edm::new(0.002, 1.5)?;
    let grid = Grid::arctan(&edm, 4, 3.0)?;
    for k in 0..4 {
        let expected = 3.0 * ((1.0 - f64::from(k) / 4.0) * 0.5f64.atan()).tan();
        let found = grid.levels()[k as usize].rho();
        assert!(
            (found / expected - 1.0).abs() <= 2.0 * ROUNDING,
            "{k}: {found}"
        );
    }
    Ok(())
}

/// Near the clean end an angle is small, and has all its digits: tan a = a + a³/3 + ….
#[test]
fn the_last_small_angles_have_all_their_digits() -> Outcome {
    let steps = 1usize << 16;
    let share = 1.0 / steps as f64;
    let edm = Edm::new(1e-9, 1.0)?;
    let small = |angle: f64| -(angle + angle.powi(3) / 3.0).ln();
    let arctan = Grid::arctan(&edm, steps, 1.0)?;
    let angle = share * 0.25 * PI;
    let found = arctan.levels()[steps - 1].lambda();
    assert!((found - small(angle)).abs() < 1e-14, "{found}");
    // One knot more: the last but one is the clean end of the range.
    let kl = Grid::kl_optimal(&edm, steps + 1, edm.lambda_range())?;
    let angle = share * 0.25 * PI + (1.0 - share) * 1e-9;
    let found = kl.levels()[steps - 1].lambda();
    assert!((found - small(angle)).abs() < 1e-14, "{found}");
    Ok(())
}

#[test]
fn a_ramp_starts_at_the_ranges_own_end_to_the_bit() -> Outcome {
    let edm = Edm::new(0.002, 80.0)?;
    for steps in [2, 3, 8] {
        let grid = Grid::bong_tangent(&edm, steps, edm.lambda_range())?;
        assert_eq!(grid.start().lambda(), edm.lambda_range().noisy());
        assert!(grid.end().is_clean());
    }
    // λ does not come back from e^−λ for all.
    let far = Edm::new(0.002, 1e12)?;
    for k in 1..=270 {
        let range = LambdaRange::new(-0.1 * f64::from(k), 5.0)?;
        let grid = Grid::bong_tangent(&far, 4, range)?;
        let start = far.level(far.time_of_lambda(range.noisy())?)?;
        assert_eq!(grid.start(), start, "{k}");
    }
    Ok(())
}

#[test]
fn parameters_at_the_edge_are_refused_by_name() -> Outcome {
    let edm = Edm::default();
    for epsilon in [0.0, 1.0, -0.5, 2.0, f64::NAN] {
        let made = Grid::edm_vp(&edm, 4, edm.lambda_range(), epsilon);
        assert_eq!(parameter(made), Some("epsilon"), "{epsilon}");
    }
    for (max, min, name) in [
        (0.5, 0.5, "smallest flow sigma"),
        (0.5, 0.0, "smallest flow sigma"),
        (0.0, 0.5, "largest flow sigma"),
        (1f64.next_up(), 0.5, "largest flow sigma"),
    ] {
        assert_eq!(
            parameter(SigmaRange::flow(max, min)),
            Some(name),
            "{max} {min}"
        );
    }
    assert!(SigmaRange::flow(1.0, 1f64.next_down()).is_ok());
    assert_eq!(
        parameter(FlowSigmas::down_to(0.5, 4, 0)),
        Some("training times")
    );
    let list = FlowSigmas::new([0.75, 0.25])?;
    assert_eq!(
        parameter(list.clone().starting_below(0.5)),
        Some("gap below 1")
    );
    assert_eq!(
        parameter(list.clone().starting_below(0.0)),
        Some("gap below 1")
    );
    // Exactly the gap below 1 is not within it.
    assert_eq!(list.clone().starting_below(0.25)?.values(), [0.75, 0.25]);
    assert_eq!(list.starting_below(0.375)?.values(), [0.375, 0.25]);
    let most = (1 << 24) + 1;
    assert!(matches!(
        FlowSigmas::linspace(1.0, 0.5, most + 1),
        Err(Error::StepCount { steps, min: 1, max }) if steps == most + 1 && max == most
    ));
    Ok(())
}

#[test]
fn a_list_in_f32_stays_in_f32_over_several_operations() -> Outcome {
    let list = FlowSigmas::uniform(7)?
        .in_f32()
        .shifted(3.0)?
        .shifted_by_mu(0.7)?;
    let list = list.shifted(1.7)?;
    for sigma in list.values() {
        assert_eq!(f64::from(*sigma as f32), *sigma);
    }
    Ok(())
}

#[test]
fn leading_and_linspace_without_the_least_are_their_definitions() -> Outcome {
    let schedule = sd()?;
    for steps in [1usize, 3, 7, 10, 499, 999] {
        let grid = Grid::linspace_without_least(&schedule, steps)?;
        // round(999 k/K), ties to even: none is one here but by halves of an even K.
        let expected: Vec<f64> = (1..=steps)
            .rev()
            .map(|k| (999.0 * k as f64 / steps as f64).round_ties_even())
            .collect();
        assert_eq!(indices(&grid), expected);
    }
    for (steps, offset) in [(1, 0), (1, 499), (4, 0), (4, 1), (9, 99), (333, 1)] {
        let ratio = 1000 / (steps + 1);
        let grid = Grid::leading_without_least(&schedule, steps, offset)?;
        let expected: Vec<f64> = (1..=steps)
            .rev()
            .map(|k| (k * ratio + offset) as f64)
            .collect();
        assert_eq!(indices(&grid), expected);
    }
    // The last knot of the table is the last that is possible.
    assert_eq!(
        Grid::leading_without_least(&schedule, 4, 199)?
            .start()
            .time(),
        1000.0
    );
    let cases = [
        (Grid::leading_without_least(&schedule, 4, 200), 1001.0),
        (Grid::leading(&schedule, 10, 100), 1001.0),
        (Grid::leading(&schedule, 10, 250), 1151.0),
    ];
    for (made, first) in cases {
        assert!(
            matches!(made, Err(Error::SpacingImpossible { table: 1000, knot, .. }) if knot == first),
            "{made:?}"
        );
    }
    for made in [
        Grid::leading_without_least(&schedule, 1000, 0),
        Grid::linspace_without_least(&schedule, 1000),
    ] {
        assert!(
            matches!(
                made,
                Err(Error::StepCount {
                    steps: 1000,
                    min: 1,
                    max: 999
                })
            ),
            "{made:?}"
        );
    }
    Ok(())
}

#[test]
fn grids_are_equal_when_their_levels_and_their_first_variance_are() -> Outcome {
    let schedule = sd()?;
    let grid = Grid::trailing(&schedule, 4)?;
    assert_eq!(grid, Grid::trailing(&schedule, 4)?);
    assert!(grid != Grid::trailing(&schedule, 5)?);
    assert!(grid != grid.clone().with_start_variance(2.0)?);
    assert!(grid != Grid::trailing(&schedule, 5)?.with_start_variance(2.0)?);
    Ok(())
}

#[test]
fn a_start_within_rounding_of_a_knot_is_the_knot_also_far_from_lambda_0() -> Outcome {
    let flow = RectifiedFlow::new();
    // λ = 20 at this time; a factor 1 + δ on it is δ in λ, and δ/20 relative to it.
    let time = flow.time_of_lambda(20.0)?;
    let grid = FlowSigmas::new([0.5, time])?.grid(&flow)?;
    for (exponent, same) in [(-36, true), (-35, true), (-33, false)] {
        let near = time * (1.0 + 2f64.powi(exponent));
        let cut = grid.clone().starting_at(&flow, flow.level(near)?)?;
        assert_eq!(cut.start().time() == time, same, "2^{exponent}");
        assert_eq!(cut.steps(), if same { 1 } else { 2 }, "2^{exponent}");
    }
    Ok(())
}

#[test]
fn the_next_knot_below_a_level_is_not_the_level_itself() -> Outcome {
    let grid = Grid::trailing(&RectifiedFlow::new(), 4)?;
    assert_eq!(times(&grid), [1.0, 0.75, 0.5, 0.25, 0.0]);
    for (time, next) in [
        (1.0, 0.75),
        (0.8, 0.75),
        (0.75, 0.5),
        (0.3, 0.25),
        (0.25, 0.0),
    ] {
        let level = RectifiedFlow::new().level(time)?;
        assert_eq!(
            grid.next_below(&level).map(|level| level.time()),
            Some(next)
        );
    }
    assert_eq!(grid.next_below(&grid.end()), None);
    Ok(())
}

/// A table whose network is told its index at every other knot only.
#[derive(Debug)]
struct EveryOther(TableSchedule);

impl NoiseSchedule for EveryOther {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        Ok(self.0.level(time)?.with_model_time(0.125))
    }
    fn last_time(&self) -> f64 {
        self.0.last_time()
    }
    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.0.time_of_lambda(lambda)
    }
    fn lambda_range(&self) -> LambdaRange {
        self.0.lambda_range()
    }
    fn table_len(&self) -> Option<usize> {
        self.0.table_len()
    }
    fn knot_level(&self, knot: f64) -> Result<NoiseLevel, Error> {
        let level = self.0.knot_level(knot)?;
        Ok(if knot % 2.0 == 0.0 {
            level
        } else {
            level.with_model_time(0.125)
        })
    }
}

#[test]
fn a_network_that_is_not_told_both_indices_is_told_the_levels_own_time() -> Outcome {
    let schedule = EveryOther(sd()?);
    for index in [4.5, 5.5] {
        let grid = Grid::from_indices_linear_in_rho(&schedule, &[index])?;
        assert_eq!(grid.start().model_time(), 0.125);
        let plain = Grid::from_indices_linear_in_rho(&schedule.0, &[index])?;
        assert_eq!(plain.start().model_time(), index);
    }
    Ok(())
}

#[test]
fn a_strength_is_a_share_of_the_steps_rounded_down() -> Outcome {
    let grid = Grid::trailing(&sd()?, 100)?;
    for (strength, steps) in [(0.29, 28), (0.5, 50), (1.0, 100), (0.01, 1), (0.999, 99)] {
        let cut = grid.by_strength(strength)?;
        assert_eq!(cut.steps(), steps);
        assert_eq!(cut.start().time(), 10.0 * steps as f64);
    }
    for strength in [0.0, 0.0099] {
        assert!(matches!(
            grid.by_strength(strength),
            Err(Error::StepCount {
                steps: 0,
                min: 1,
                max: 100
            })
        ));
    }
    for strength in [-0.1, 1.1, f64::NAN] {
        assert_eq!(parameter(grid.by_strength(strength)), Some("strength"));
    }
    Ok(())
}
