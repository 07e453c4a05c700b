//! One sample's run: its settled front, and one sweep over its window.

use ndarray::{Array, ArrayRef, ArrayView, ArrayViewMut, Axis, Dimension, Slice};

use super::noise::RowNoise;
use super::window::Filling;
use crate::error::Error;
use crate::guidance::{Guidance, MAX_OUTPUTS, Unguided};
use crate::kernel::{self, Forms};
use crate::level::NoiseLevel;
use crate::memory;
use crate::noise::NoiseSource;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::run::combiner;
use crate::run::driver::Driver;
use crate::run::machine::Machine;
use crate::run::outputs::Combine;

/// A sample as it stands before an evaluation, or at the end: position and arrays, of one row.
#[derive(Clone, Debug)]
pub(super) struct Place<A, D: Dimension> {
    pub(super) driver: Driver,
    pub(super) machine: Machine<A, D>,
    /// The number of evaluations before.
    pub(super) evaluation: usize,
}

/// One sample's run.
#[derive(Clone, Debug)]
pub(super) struct Lane<A, D: Dimension> {
    /// Where all before is settled.
    pub(super) front: Place<A, D>,
    /// The rows of the window, from the front on; 0 at the end.
    pub(super) rows: usize,
}

/// How a sweep decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) window: usize,
    pub(super) tolerance: f64,
    pub(super) data_variance: f64,
}

/// The states of a lane's window and the outputs there, which may be carried along in place.
pub(super) struct Evaluated<'a, A, D: Dimension> {
    pub(super) x: &'a ArrayRef<A, D>,
    pub(super) outputs: &'a mut ArrayRef<A, D>,
    /// The first row of the lane, the rows of all lanes, and the outputs for each.
    pub(super) first: usize,
    pub(super) all: usize,
    pub(super) count: usize,
}

impl<A: Real, D: Dimension> Evaluated<'_, A, D> {
    fn state(&self, row: usize) -> ArrayView<'_, A, D> {
        row_of(self.x, self.first + row)
    }
}

impl<A: Real, D: Dimension> Place<A, D> {
    fn copied(&self) -> Result<Self, Error> {
        Ok(Self {
            driver: self.driver.clone(),
            machine: self.machine.try_clone()?,
            evaluation: self.evaluation,
        })
    }

    /// Takes the updates that need no model.
    pub(super) fn settle<N: NoiseSource<A>>(&mut self, noise: &mut N) -> Result<(), Error> {
        while self.driver.settles() {
            let instruction = self.driver.instruction()?;
            let (prediction, combine) = (self.driver.prediction(), Combine::Given(&[]));
            let noise = (&mut *noise, None);
            self.machine
                .tell_all::<A, N>(&instruction, prediction, combine, &[], noise)?;
            self.driver.advance();
        }
        Ok(())
    }

    /// Takes the update of an evaluation, and those that follow without one.
    fn tell<N: NoiseSource<A>>(
        &mut self,
        (prediction, guidance): (Prediction, &dyn Guidance),
        outputs: &[&ArrayRef<A, D>],
        noise: &mut N,
        data: Option<&mut Array<A, D>>,
    ) -> Result<(), Error> {
        let instruction = self.driver.instruction()?;
        let combine = Combine::By(guidance);
        let lent = (&mut *noise, data);
        self.machine
            .tell_all(&instruction, prediction, combine, outputs, lent)?;
        self.driver.advance();
        self.evaluation += 1;
        self.settle(noise)
    }

    fn push(&self, sample: usize, into: &mut Filling<A>) {
        if let Some(query) = self.driver.query() {
            into.push(sample, self.machine.state(), &query);
        }
    }

    /// The distance to the state of a row, in units of the marginal deviation; 0 only where they
    /// are equal, the signs of zeros included.
    fn residual(&self, old: &ArrayRef<A, D>) -> Result<f64, Error> {
        let x = self.machine.state();
        let mut pairs = x.iter().zip(old);
        if pairs.all(|(x, old)| x == old && x.is_sign_negative() == old.is_sign_negative()) {
            return Ok(0.0);
        }
        let squares = kernel::squared_residuals(x, &[(1.0, old)])?;
        let mean = squares.iter().sum::<f64>() / x.len().max(1) as f64;
        let level = self.level();
        let residual = mean.sqrt() / libm::hypot(level.alpha(), level.sigma());
        Ok(residual.max(f64::MIN_POSITIVE))
    }

    /// The level at which the model is evaluated next.
    fn level(&self) -> NoiseLevel {
        let query = self.driver.query();
        query.map_or_else(|| self.driver.level(), |query| query.level())
    }
}

impl<A: Real, D: Dimension> Lane<A, D> {
    /// The first window: the plan's own updates with 0 for every estimate of x₀ say where the
    /// states may be.
    pub(super) fn open<N: NoiseSource<A>>(
        &mut self,
        settings: Settings,
        (sample, noise): (usize, &mut RowNoise<N>),
        into: &mut Filling<A>,
    ) -> Result<(), Error> {
        self.front.settle(noise)?;
        self.rows = 0;
        if self.front.driver.is_finished() {
            return Ok(());
        }
        self.front.push(sample, into);
        self.rows = 1;
        let zero = memory::zeros(self.front.machine.state().raw_dim())?;
        self.extend(self.front.copied()?, &zero, settings, (sample, noise), into);
        Ok(())
    }

    /// Fills the window behind `walker`, whose row is its last, with the plan's own updates and
    /// this estimate of x₀.
    fn extend<N: NoiseSource<A>>(
        &mut self,
        mut walker: Place<A, D>,
        data: &ArrayRef<A, D>,
        settings: Settings,
        (sample, noise): (usize, &mut RowNoise<N>),
        into: &mut Filling<A>,
    ) {
        while self.rows < settings.window {
            let told = walker.tell((Prediction::Data, &Unguided), &[data], noise, None);
            // A guess too far away: the window ends before it.
            if told.is_err() || walker.driver.is_finished() {
                break;
            }
            walker.push(sample, into);
            self.rows += 1;
        }
    }

    /// One sweep: the plan's updates with the outputs at the old states give the new ones, the
    /// front moves up to the first that differs by more than the tolerance, and the window behind
    /// it is written to `into`. The distances of the settled ones are raised in `residuals`.
    pub(super) fn sweep<N: NoiseSource<A>>(
        &mut self,
        evaluated: &mut Evaluated<'_, A, D>,
        guidance: &dyn Guidance,
        settings: Settings,
        (sample, noise): (usize, &mut RowNoise<N>),
        (into, residuals): (&mut Filling<A>, &mut [f64]),
    ) -> Result<(), Error> {
        let rows = std::mem::take(&mut self.rows);
        let mut data = memory::zeros(self.front.machine.state().raw_dim())?;
        let last = |row| row + 1 == rows;
        let mut row = 0;
        while row < rows {
            let residual = self.front.residual(&evaluated.state(row))?;
            if residual > settings.tolerance {
                break;
            }
            if let Some(largest) = residuals.get_mut(self.front.evaluation) {
                *largest = largest.max(residual);
            }
            let lent = (&mut *noise, last(row).then_some(&mut data));
            let at = (row, residual > 0.0);
            self.front
                .tell_row(evaluated, at, guidance, settings, lent)?;
            row += 1;
        }
        if self.front.driver.is_finished() {
            return Ok(());
        }
        let mut walker = self.front.copied()?;
        walker.push(sample, into);
        self.rows = 1;
        while row < rows {
            let residual = walker.residual(&evaluated.state(row))?;
            let lent = (&mut *noise, last(row).then_some(&mut data));
            // Equivalent mutant: replace > with >=: a guess carried along no distance is the guess, to
            // rounding.
            let at = (row, residual > 0.0);
            let told = walker.tell_row(evaluated, at, guidance, settings, lent);
            row += 1;
            // A guess too far away: the next window ends with it. What fails at the right state too
            // fails when the front comes there.
            if told.is_err() || walker.driver.is_finished() {
                return Ok(());
            }
            walker.push(sample, into);
            self.rows += 1;
        }
        self.extend(walker, &data, settings, (sample, noise), into);
        Ok(())
    }
}

impl<A: Real, D: Dimension> Place<A, D> {
    /// Takes the update of a row's outputs, carried along to this state where it has `moved`.
    fn tell_row<N: NoiseSource<A>>(
        &mut self,
        evaluated: &mut Evaluated<'_, A, D>,
        (row, moved): (usize, bool),
        guidance: &dyn Guidance,
        settings: Settings,
        (noise, data): (&mut RowNoise<N>, Option<&mut Array<A, D>>),
    ) -> Result<(), Error> {
        let (first, all) = (evaluated.first + row, evaluated.all);
        let prediction = self.driver.prediction();
        let wanted = match self.driver.query() {
            Some(query) => combiner::wanted(guidance, &query, prediction)?,
            None => evaluated.count,
        };
        if moved {
            let old = row_of(evaluated.x, first);
            let gradients = self.gradients(guidance);
            for output in 0..wanted.min(evaluated.count).saturating_sub(gradients) {
                let mut output = row_of_mut(evaluated.outputs, output * all + first);
                self.carry(&old, &mut output, settings.data_variance)?;
            }
        }
        let outputs = &*evaluated.outputs;
        let views: [_; MAX_OUTPUTS] = std::array::from_fn(|output| {
            let there = output < wanted.min(evaluated.count);
            there.then(|| row_of(outputs, output * all + first))
        });
        let told = views
            .each_ref()
            .map(|view| view.as_deref().unwrap_or(outputs));
        let told = told.get(..wanted.min(evaluated.count)).unwrap_or(&[]);
        self.tell((prediction, guidance), told, noise, data)
    }

    /// How many of the last outputs are a classifier's gradients, which do not move as predictions
    /// do: they stay. A form that weighs by inner products does not say it beforehand, and all its
    /// outputs are carried along: more sweeps, the same result.
    fn gradients(&self, guidance: &dyn Guidance) -> usize {
        let query = self.driver.query();
        let at = query.map(|query| query.evaluation(0, self.driver.prediction()));
        let combination = at.and_then(|at| guidance.combine(&at, None).ok());
        combination.map_or(0, |combination| combination.gradients().len())
    }

    /// The output at `old` carried along to this state, as if the data were Gaussian of this
    /// variance: o + (g − p)/q · (x − x̃), where D = px + qo and g is the slope of D.
    fn carry(
        &self,
        old: &ArrayRef<A, D>,
        output: &mut ArrayRef<A, D>,
        variance: f64,
    ) -> Result<(), Error> {
        let level = self.level();
        let data = self.driver.prediction().data(&level)?;
        let slope = (slope(&level, variance) - data.x) / data.output;
        // No output, or any, stands for this estimate of x₀: at σ = 0, or at α = 0 and v = ∞.
        if !A::cast(slope).is_finite() {
            return Ok(());
        }
        let form = kernel::affine(1.0, &[slope, -slope]);
        let inputs = [self.machine.state(), old];
        kernel::update(Forms::Same(&form), output, None, &inputs, None)?;
        Ok(())
    }
}

/// ∂D/∂x of Gaussian data of this variance, αv/(α²v + σ²).
fn slope(level: &NoiseLevel, variance: f64) -> f64 {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    if variance.is_infinite() {
        return 1.0 / alpha;
    }
    alpha * variance / (alpha * alpha * variance + sigma * sigma)
}

fn row_of<A, D: Dimension>(array: &ArrayRef<A, D>, row: usize) -> ArrayView<'_, A, D> {
    array.slice_axis(Axis(0), Slice::from(row..row + 1))
}

fn row_of_mut<A, D: Dimension>(array: &mut ArrayRef<A, D>, row: usize) -> ArrayViewMut<'_, A, D> {
    array.slice_axis_mut(Axis(0), Slice::from(row..row + 1))
}
