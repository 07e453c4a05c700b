//! The warm start.

use std::error::Error;

use diffusion_sampler::Grid;
use diffusion_sampler::oracle::{Gaussian, sample_moments};
use diffusion_sampler::posterior::DataErrors;
use diffusion_sampler::tuning::{WarmStart, last_gaussian_level, non_gaussian_shares};
use ndarray::Axis;
use pictures::drawn::CLASSES;

use crate::bench::{Bench, COLUMNS, SEEDS, SOLVER};

impl Bench {
    /// Mean and covariance of each class.
    fn classes_warm(&self, rank: usize) -> Result<Vec<WarmStart>, Box<dyn Error>> {
        let one = |label| {
            let rows = self.images.select(Axis(0), &self.digits.rows_of(label));
            Ok(WarmStart::of_sample(&rows, rank)?)
        };
        (0..CLASSES).map(one).collect()
    }

    /// The Gaussian of all images with their class mean taken off.
    fn within_classes(&self) -> Result<Gaussian, Box<dyn Error>> {
        let mut rows = self.images.clone();
        for label in 0..CLASSES {
            let own = self.digits.rows_of(label);
            let mean = self
                .images
                .select(Axis(0), &own)
                .mean_axis(Axis(0))
                .ok_or("no images")?;
            for row in own {
                let mut row = rows.row_mut(row);
                row -= &mean;
            }
        }
        let (mean, covariance) = sample_moments(&rows)?;
        Ok(Gaussian::new(&mean, &covariance)?)
    }

    pub(crate) fn print_warm(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        let within = self.within_classes()?;
        println!(
            "\nwhat a Gaussian of each class misses beyond the network, as a share of the variance within classes"
        );
        let shares = non_gaussian_shares(&within, errors)?;
        for (level, share) in errors.levels().iter().zip(shares).step_by(4) {
            println!("  t = {:6.1}  {share:8.4}", level.time());
        }
        for share in [0.003, 0.01, 0.03] {
            let level = last_gaussian_level(&within, errors, share)?;
            let time = level.map_or(f64::NAN, |level| level.time());
            println!("  at most {share}: down to t = {time:.0}");
        }
        let warm = self.classes_warm(20)?;
        for steps in [5, 10] {
            println!(
                "\n{:<44}{COLUMNS}",
                format!("{SOLVER}, quadratic, {steps} steps from t")
            );
            for time in [1000.0, 800.0, 600.0, 500.0, 400.0, 300.0] {
                let sampler = self.sampler(&self.quadratic_from(time, steps)?)?;
                let row = self.measure(&sampler, Some(&warm), SEEDS.len())?;
                println!("  warm start, t = {time:<25} {}", row.shown());
            }
            for time in [1000.0, 700.0] {
                let sampler = self.sampler(&self.quadratic_from(time, steps)?)?;
                let row = self.measure(&sampler, None, SEEDS.len())?;
                println!("  plain, t = {time:<30} {}", row.shown());
            }
        }
        Ok(())
    }

    fn quadratic_from(&self, time: f64, steps: usize) -> Result<Grid, Box<dyn Error>> {
        let share = |k: usize| (steps - k) as f64 / steps as f64;
        let times: Vec<f64> = (0..=steps).map(|k| time * share(k) * share(k)).collect();
        Ok(Grid::from_times(&self.schedule, &times)?)
    }
}
