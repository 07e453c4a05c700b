//! Spacings that were published as tables, and those made for flows in time.

use super::Grid;
use super::time::check_steps;
use crate::error::{Error, require};
use crate::schedule::NoiseSchedule;

/// The published tables of Align Your Steps: 11 values of ρ for 10 steps, optimised for one
/// checkpoint each.
///
/// Two versions of the first two circulate. Authors' page, diffusers and AUTOMATIC1111 list ρ to
/// three digits after the point; ComfyUI and stable-diffusion.cpp have ρ of Stable Diffusion's own table at the
/// published indices (999, 850, 736, …), which differs by up to 0.3 % (SDXL: 1.4 %).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlignYourSteps {
    /// Stable Diffusion 1.5, ρ as listed by the authors.
    Sd15,
    /// Stable Diffusion 1.5, ρ of its table at the published indices.
    Sd15Indices,
    /// Stable Diffusion XL, ρ as listed by the authors.
    Sdxl,
    /// Stable Diffusion XL, ρ of its table at the published indices.
    SdxlIndices,
    /// Stable Video Diffusion, ρ as listed by the authors.
    Svd,
}

impl AlignYourSteps {
    /// The 11 values of ρ. The last stands for the clean end, and serves interpolation alone.
    pub fn rhos(self) -> [f64; 11] {
        match self {
            Self::Sd15 => [
                14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029,
            ],
            Self::Sd15Indices => [
                14.6146412293,
                6.4745760956,
                3.8636745985,
                2.6946151520,
                1.8841921177,
                1.3943805092,
                0.9642583904,
                0.6523686016,
                0.3977456272,
                0.1515232662,
                0.0291671582,
            ],
            Self::Sdxl => [
                14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029,
            ],
            Self::SdxlIndices => [
                14.6146412293,
                6.3184485287,
                3.7681790315,
                2.1811480769,
                1.3405244945,
                0.8620721141,
                0.5550693289,
                0.3798540708,
                0.2332364134,
                0.1114188177,
                0.0291671582,
            ],
            Self::Svd => [
                700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002,
            ],
        }
    }
}

impl Grid {
    /// A published table of [`AlignYourSteps`], for K other than 10 interpolated: ln ρ linear in the
    /// position, K + 1 values, of which the last is replaced by clean.
    ///
    /// So ComfyUI, stable-diffusion.cpp and the authors' page have it; AUTOMATIC1111 interpolates to
    /// K values and adds the clean end. The first value may lie up to 0.1 % beyond the schedule's
    /// noisy end, as a rounded 14.615 does: it is then that end.
    ///
    /// Sabour, Fidler and Kreis (2024), "Align Your Steps: Optimizing Sampling Schedules in
    /// Diffusion Models".
    ///
    /// ```
    /// use diffusion_sampler::{Grid, grid::AlignYourSteps, schedule::TableSchedule};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::align_your_steps(&schedule, 10, AlignYourSteps::Sd15)?;
    /// assert_eq!(grid.start().time(), 1000.0);
    /// assert!((grid.levels()[1].rho() - 6.475).abs() < 1e-13);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] at 0 steps and, on a table, more than T; [`Error::LambdaOutOfRange`]
    /// where the schedule does not reach the table's ends (SVD's are 700 and 0.002).
    #[doc(alias("AYS", "AysSchedules"))]
    pub fn align_your_steps(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        table: AlignYourSteps,
    ) -> Result<Self, Error> {
        check_steps(schedule, steps)?;
        let logs = table.rhos().map(libm::log);
        let noisy = schedule.lambda_range().noisy();
        let lambdas = (0..=steps).map(|k| {
            let place = (k * (logs.len() - 1)) as f64 / steps as f64;
            let below = place as usize;
            let log = match (logs.get(below), logs.get(below + 1)) {
                (Some(&low), Some(&high)) => low + (high - low) * (place - below as f64),
                _ => f64::NEG_INFINITY,
            };
            match -log {
                // Equivalent mutant: replace < with <=: the noisy end is itself.
                // Equivalent mutant: replace > with >=: no published value lies there.
                lambda if k == 0 && lambda < noisy && lambda > noisy - 1e-3 => noisy,
                lambda => lambda,
            }
        });
        Self::of_lambdas(schedule, lambdas)
    }

    /// Sway sampling: progress p = k/K bent to p + c (cos(½πp) − 1 + p), time T (1 − p).
    ///
    /// c < 0 makes the first steps shorter, c > 0 the last; c = −1 is time T cos(½πk/K): F5-TTS and
    /// CosyVoice.
    ///
    /// Chen et al. (2024), "F5-TTS: A Fairytaler that Fakes Fluent and Faithful Speech with Flow
    /// Matching", sway sampling, whose t is our p.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
    ///
    /// let grid = Grid::sway(&RectifiedFlow::new(), 3, -1.0)?;
    /// assert!((grid.levels()[2].time() - 0.5).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] at 0 steps and, on a table, more than T, [`Error::InvalidParameter`]
    /// unless −1 ≤ c ≤ 2/(π − 2): outside, time would turn back.
    pub fn sway(schedule: &dyn NoiseSchedule, steps: usize, sway: f64) -> Result<Self, Error> {
        check_sway(schedule, steps, sway)?;
        let last = schedule.last_time();
        Self::of_times(
            schedule,
            (0..=steps).map(|k| {
                let (gone, left) = (k as f64 / steps as f64, (steps - k) as f64 / steps as f64);
                // 1 − p − c (cos(½πp) − 1 + p), the cosine as the sine of what is left: 1 and 0 at the
                // ends, exactly.
                let sine = libm::sin(0.5 * std::f64::consts::PI * left);
                // c = −1 without the difference.
                let time = if sway == -1.0 {
                    sine
                } else {
                    (1.0 - gone) - sway * (sine - left)
                };
                last * time
            }),
        )
    }

    /// Sway sampling laid from the clean end: time T (t + c (cos(½πt) − 1 + t)), t = 1 − k/K.
    ///
    /// c > 0 makes the last steps, near the data, shorter. VoxCPM has c = 1, and this form because
    /// its t runs from noise at 1 to data at 0. The other form is [`sway`](Self::sway).
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
    ///
    /// let grid = Grid::sway_in_time(&RectifiedFlow::new(), 2, 1.0)?;
    /// assert!((grid.levels()[1].time() - 0.5_f64.sqrt()).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`sway`](Self::sway).
    pub fn sway_in_time(
        schedule: &dyn NoiseSchedule,
        steps: usize,
        sway: f64,
    ) -> Result<Self, Error> {
        check_sway(schedule, steps, sway)?;
        let last = schedule.last_time();
        Self::of_times(
            schedule,
            (0..=steps).map(|k| {
                let (gone, left) = (k as f64 / steps as f64, (steps - k) as f64 / steps as f64);
                // cos(½πt) − 1 + t = sin(½π(1 − t)) − (1 − t).
                let sine = libm::sin(0.5 * std::f64::consts::PI * gone);
                last * (left + sway * (sine - gone))
            }),
        )
    }

    /// The same noise on another schedule: for each knot the other's level of the same λ = ln(α/σ),
    /// with the other's times, amplitudes and initial distribution.
    ///
    /// VP, VE, EDM and flow forms of one grid give the same run, but for the scale: the state of one
    /// divided by its α is the state of any other divided by its own, at every knot.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::{Edm, RectifiedFlow, TableSchedule}};
    ///
    /// let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::trailing(&table, 10)?;
    /// let (edm, flow) = (grid.on(&Edm::default())?, grid.on(&RectifiedFlow::new())?);
    /// assert!((edm.start().sigma() - grid.start().rho()).abs() < 1e-12);
    /// assert!((flow.levels()[3].rho() / grid.levels()[3].rho() - 1.0).abs() < 1e-13);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`] where the other schedule does not reach a knot: α = 0 of a flow
    /// has no level on EDM, and ρ = 80 none on Stable Diffusion's table.
    #[doc(alias("convert", "reparametrize"))]
    pub fn on(&self, schedule: &dyn NoiseSchedule) -> Result<Self, Error> {
        Self::of_lambdas(schedule, self.levels().iter().map(|level| level.lambda()))
    }
}

fn check_sway(schedule: &dyn NoiseSchedule, steps: usize, sway: f64) -> Result<(), Error> {
    check_steps(schedule, steps)?;
    require(
        (-1.0..=2.0 / (std::f64::consts::PI - 2.0)).contains(&sway),
        "sway",
        sway,
        "between -1 and 2/(pi - 2)",
    )
}
