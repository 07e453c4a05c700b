//! The sums of a measurement, row by row, so that they do not depend on the batch.

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayRef, Axis, Dimension, Slice};

use super::measurement::Pixels;
use super::pixel_costs::{self, require_pixels};
use super::{Measured, Measurement, PixelCosts};
use crate::apply::batch_of;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require};
use crate::forward::diffuse;
use crate::kernel::squared_residuals;
use crate::level::NoiseLevel;
use crate::memory;
use crate::memory::{Copied, Listed};
use crate::noise::KeyedNoise;
use crate::plan::{Step, Store, Update};
use crate::posterior::DataErrors;
use crate::real::Real;
use crate::run::{Instruction, Machine, check_start};

/// What has been measured so far.
pub(super) struct Tally {
    dim: usize,
    /// |x₀ − D|² of each row and level, a mean over the draws.
    by_row: Array2<f64>,
    /// |E|² in the same way.
    noise_by_row: Array2<f64>,
    /// |x₀|² of each row.
    squares: Vec<f64>,
    /// −ln P of each row, level and deviation; of no deviations where pixels are not priced.
    pixels_by_row: Array3<f64>,
}

impl Tally {
    pub(super) fn new<A: Real, D: Dimension>(
        options: &Measurement,
        data: &ArrayRef<A, D>,
    ) -> Result<Self, Error> {
        let (samples, dim) = batch_of(data)?;
        let enough = "at least 2: one has no standard error";
        require(samples >= 2, "rows of the data", samples as f64, enough)?;
        check_start(data, "data")?;
        let mut deviations = 0;
        if let Some(pixels) = &options.pixels {
            require_pixels(data.iter().map(|value| value.widen()), pixels.bins)?;
            deviations = pixels.deviations.len();
        }
        let shape = ndarray::Dim([samples, options.levels.len()]);
        Ok(Self {
            dim,
            by_row: memory::zeros(shape)?,
            noise_by_row: memory::zeros(shape)?,
            squares: squared_residuals(data, &[])?,
            pixels_by_row: memory::zeros(ndarray::Dim([samples, shape[1], deviations]))?,
        })
    }

    pub(super) fn samples(&self) -> usize {
        self.squares.len()
    }

    /// Measures the rows `rows`, in one call of the model for each draw and level.
    pub(super) fn add<A, D, M>(
        &mut self,
        options: &Measurement,
        data: &ArrayRef<A, D>,
        rows: Range<usize>,
        model: &mut M,
    ) -> Result<(), RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D> + ?Sized,
    {
        let guidance = model.guidance()?;
        if guidance.is_stateful() {
            let guidance = guidance.name();
            return Err(Error::StatefulGuidance { guidance }.into());
        }
        let part = data.slice_axis(Axis(0), Slice::from(rows.clone()));
        let mut machine = Machine::new(part.copy()?, 1)?;
        let mut noise = KeyedNoise::new(options.seed).with_first_sample(rows.start as u64)?;
        let count = options.levels.len() as u32;
        let share = 1.0 / f64::from(options.draws);
        for draw in 0..options.draws {
            for (index, level) in options.levels.iter().enumerate() {
                let key = draw * count + index as u32;
                let mut state = machine.state_mut();
                state.assign(&part);
                diffuse(&mut state, std::slice::from_ref(level), &mut noise, key)?;
                let step = estimate(level);
                let instruction = Instruction::new(&step, 0, index)?.with_clip(options.clip);
                machine.take(&instruction, model, &mut noise)?;
                let errors = squared_residuals(&part, &[(1.0, machine.state())])?;
                add_column(&mut self.by_row, (rows.start, index), share, &errors);
                if let Some(pixels) = &options.pixels {
                    let place = (rows.start, index);
                    self.add_pixels(pixels, place, share, &part, machine.state())?;
                }
                // The slot holds E.
                if let Some(estimate) = machine.history().first() {
                    let squares = squared_residuals(estimate, &[])?;
                    add_column(&mut self.noise_by_row, (rows.start, index), share, &squares);
                }
            }
        }
        Ok(())
    }

    /// Adds what the pixels of a batch cost at a level.
    fn add_pixels<A: Real, D: Dimension>(
        &mut self,
        pixels: &Pixels,
        (first, level): (usize, usize),
        share: f64,
        data: &ArrayRef<A, D>,
        estimates: &ArrayRef<A, D>,
    ) -> Result<(), Error> {
        let by = (pixels.bins, &pixels.deviations[..]);
        let rows = data.axis_chunks_iter(Axis(0), 1);
        let rows = rows.zip(estimates.axis_chunks_iter(Axis(0), 1));
        let sums = self.pixels_by_row.outer_iter_mut().skip(first);
        for ((data, estimates), mut sums) in rows.zip(sums) {
            let mut sums = sums.index_axis_mut(Axis(0), level);
            let values = data.iter().map(|value| value.widen());
            let estimates = estimates.iter().map(|value| value.widen());
            if let Some(sums) = sums.as_slice_mut() {
                pixel_costs::add_row((values, estimates), by, share, sums)?;
            }
        }
        Ok(())
    }

    /// Means over the rows, in their order.
    pub(super) fn finish(self, options: &Measurement) -> Result<Measured, Error> {
        let samples = self.samples() as f64;
        let second_moment = self.squares.iter().sum::<f64>() / samples;
        let of_rows = |column: ndarray::ArrayView1<'_, f64>| mean_and_error(column.iter().copied());
        let (errors, standard_errors) = self.by_row.columns().into_iter().map(of_rows).unzip();
        let moments = self.noise_by_row.columns().into_iter().map(|column| {
            let (mean, _) = of_rows(column);
            mean / self.dim.max(1) as f64
        });
        let errors = DataErrors::new(self.dim, second_moment, options.levels.clone(), errors)?
            .with_standard_errors(standard_errors)?
            .with_noise_moments(moments.listed()?)?;
        let pixels = options.pixels.clone().map(|pixels| {
            PixelCosts::new(pixels, self.dim, options.levels.clone(), self.pixels_by_row)
        });
        Ok(Measured {
            errors,
            by_row: self.by_row,
            squares: self.squares,
            pixels,
        })
    }
}

/// A step that turns the state into D, and keeps E.
fn estimate(level: &NoiseLevel) -> Step {
    let update = Update {
        data: 1.0,
        ..Update::default()
    };
    Step::simple(*level, NoiseLevel::clean(), update.storing(Store::noise(0)))
}

/// Adds share·value to a column, from a row on.
fn add_column(sums: &mut Array2<f64>, (first, column): (usize, usize), share: f64, values: &[f64]) {
    let mut column = sums.column_mut(column);
    for (sum, value) in column.iter_mut().skip(first).zip(values) {
        *sum += share * value;
    }
}

/// The mean of at least two values and its standard error.
pub(super) fn mean_and_error(values: impl ExactSizeIterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let squares: f64 = values.map(|v| (v - mean) * (v - mean)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}
