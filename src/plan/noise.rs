//! Which part of a step the noise of each stage belongs to.

use super::Step;
use crate::level::NoiseLevel;
use crate::noise::Interval;

impl Step {
    /// The interval in λ that the noise of a stage is drawn for, as a source of noise sees it.
    ///
    /// Where several stages add noise and the model is evaluated between them at levels that lead
    /// down from the step's start to its end, the noises are increments of one path: each belongs to
    /// the part from the level that the last one reached to the one at which the model is evaluated
    /// next, and the last to the rest of the step. This is how two-stage stochastic solvers read the
    /// noise of \[t, mid\] and of \[mid, s\] off one [`BrownianPath`](crate::noise::BrownianPath).
    /// The one noise of a step belongs to all of it. Otherwise each noise belongs to the whole step,
    /// on a path of its own.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, noise::Interval, schedule::{NoiseSchedule, RectifiedFlow}};
    /// use diffusion_sampler::solver::{ExponentialRungeKutta, Path, Solver};
    ///
    /// let flow = RectifiedFlow::new();
    /// let grid = Grid::from_lambdas(&flow, &[-1.0, 1.0])?;
    /// let plan = ExponentialRungeKutta::seeds(2)?.plan(&Path::new(&flow, &grid)?)?;
    /// let step = &plan.steps()[0];
    /// assert!((step.interval_of(0).to() - 0.0).abs() < 1e-15);
    /// assert_eq!(step.interval_of(1).from(), step.interval_of(0).to());
    /// assert_eq!(step.path_of(1), 0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    pub fn interval_of(&self, stage: usize) -> Interval {
        let whole = Interval::new(self.from.lambda(), self.to.lambda());
        if !self.is_one_path() {
            return whole;
        }
        let own = self.parts().find(|(index, _)| *index == stage);
        own.map_or(whole, |(_, part)| part)
    }

    /// The path that the noise of a stage is an increment of
    /// ([`NoiseKey::path`](crate::noise::NoiseKey::path)): 0 where the step's noises share one, else
    /// the stage's number.
    pub fn path_of(&self, stage: usize) -> u8 {
        match self.is_one_path() {
            true => 0,
            // A plan's steps have at most as many stages as there are u8s.
            false => stage as u8,
        }
    }

    /// The intervals that the step's noises are drawn for, each once, in order.
    pub(crate) fn noise_intervals(&self) -> impl Iterator<Item = Interval> {
        let count = if self.is_one_path() { usize::MAX } else { 1 };
        self.noisy()
            .take(count)
            .map(|stage| self.interval_of(stage))
    }

    /// The stages that add noise.
    fn noisy(&self) -> impl Iterator<Item = usize> {
        let stages = self.stages.iter().enumerate();
        stages
            .filter(|(_, stage)| stage.update.noise != 0.0)
            .map(|(index, _)| index)
    }

    /// The noisy stages, and the part of the step that the noise of each would belong to: up to NaN
    /// where no model is evaluated before the next.
    fn parts(&self) -> impl Iterator<Item = (usize, Interval)> {
        let mut noisy = self.noisy().peekable();
        let mut start = self.from.lambda();
        std::iter::from_fn(move || {
            let index = noisy.next()?;
            let end = match noisy.peek() {
                None => self.to.lambda(),
                Some(&next) => {
                    let mut between = self.stages.iter().take(next + 1).skip(index + 1);
                    let level = between.find_map(|stage| stage.evaluate.as_ref());
                    level.map_or(f64::NAN, NoiseLevel::lambda)
                }
            };
            let part = Interval::new(start, end);
            start = end;
            Some((index, part))
        })
    }

    /// Whether the noises are increments of one path.
    fn is_one_path(&self) -> bool {
        self.parts().all(|(_, part)| part.from() < part.to())
    }
}
