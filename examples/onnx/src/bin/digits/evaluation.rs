//! One evaluation, level by level and class by class.

use diffusion_sampler::forward::fill_normal;
use diffusion_sampler::ndarray::Array2;
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::{Denoiser, KeyedNoise, Query, noise::Stream};
use diffusion_sampler_onnx::digits::Digits;
use diffusion_sampler_onnx::graph::{Graph, Input};
use digits_network::{CLASSES, Network, PIXELS};

use crate::Result;

/// λ from −6 to 6: beyond, the network sees no difference.
const LEVELS: usize = 25;

/// The largest difference of one evaluation, in units of the largest output. Between x and the
/// velocity lie eight sums of up to 384 terms. Two orders of such a sum differ by some √384 units of
/// rounding, 6e-8 each, and eight of them by √8 times that: 3.3e-6. Half as much again is allowed,
/// because the largest of 17,600 outputs counts.
pub const ROUNDING: f64 = 5e-6;

/// Compares the graph's answers with the network's.
pub fn compare<G: Graph>(graph: &mut G) -> Result<()>
where
    G::Error: 'static,
{
    let rows = LEVELS * (CLASSES + 1);
    let lambdas: Vec<f32> = (0..rows)
        .map(|row| (row % LEVELS) as f32 * 0.5 - 6.0)
        .collect();
    let classes: Vec<usize> = (0..rows).map(|row| row / LEVELS).collect();
    let mut x = Array2::<f32>::zeros((rows, PIXELS));
    fill_normal(&mut x, &mut KeyedNoise::new(1), 0, Stream::User(0))?;

    let (mut theirs, mut ours) = (x.clone(), x.clone());
    let class = classes.iter().map(|class| *class as i64).collect();
    let inputs = [
        Input::array("x", &x),
        Input::rows("lambda", lambdas.clone()),
        Input::whole("class", class),
    ];
    graph
        .run(&inputs, "velocity", &mut theirs)
        .map_err(|error| error.to_string())?;
    Network::trained()?.forward(x.view(), &lambdas, &classes, ours.view_mut())?;
    report(&format!("{rows} rows, one evaluation"), &theirs, &ours)
}

/// Compares the denoisers on samples at levels of their own, with two outputs from one call.
pub fn compare_levels<G: Graph>(graph: &mut G) -> Result<()> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let classes: Vec<usize> = (0..CLASSES).collect();
    let levels = (1..=CLASSES).map(|sample| schedule.level((90 * sample) as f64));
    let levels = levels.collect::<std::result::Result<Vec<_>, _>>()?;
    let query = Query::per_sample(&levels)?.with_outputs(2);
    let mut x = Array2::<f32>::zeros((CLASSES, PIXELS));
    fill_normal(&mut x, &mut KeyedNoise::new(2), 0, Stream::User(0))?;

    let mut theirs = Array2::<f32>::zeros((2 * CLASSES, PIXELS));
    let mut ours = theirs.clone();
    Digits::new(graph, &classes)?
        .denoise(&x, &query, &mut theirs)
        .map_err(|error| error.to_string())?;
    let network = Network::trained()?;
    let mut denoiser = network.denoiser(&classes)?;
    denoiser.denoise(&x, &query, &mut ours)?;
    report("samples at levels of their own", &theirs, &ours)
}

/// Prints the difference, and refuses one that is more than rounding.
fn report(case: &str, theirs: &Array2<f32>, ours: &Array2<f32>) -> Result<()> {
    let difference = difference(theirs, ours);
    println!("{case}: {difference:.1e} of the largest output");
    if difference > ROUNDING {
        return Err(format!("{case}: {ROUNDING:e} is rounding, {difference:e} is not").into());
    }
    Ok(())
}

/// The largest difference, in units of our largest element; infinite where one is not a number, and
/// where all of ours are 0.
pub fn difference(theirs: &Array2<f32>, ours: &Array2<f32>) -> f64 {
    let (mut largest, mut scale) = (0.0_f64, 0.0_f64);
    for (theirs, ours) in theirs.iter().zip(ours) {
        let difference = (f64::from(*theirs) - f64::from(*ours)).abs();
        largest = if difference.is_nan() {
            f64::INFINITY
        } else {
            largest.max(difference)
        };
        scale = scale.max(f64::from(ours.abs()));
    }
    if scale > 0.0 {
        largest / scale
    } else {
        f64::INFINITY
    }
}
