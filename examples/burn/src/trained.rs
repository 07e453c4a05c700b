//! Runs of the trained network on burn's tensors, beside the same runs of the package's own network
//! on ndarray's arrays.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Int, Tensor};
use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::ndarray::Array2;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::tensor::TensorOps;
use diffusion_sampler::{KeyedNoise, Sampler, grid::Spacing, registry};
use digits_network::{PIXELS, PREDICTION};

use crate::counting::{Counting, Traffic};
use crate::digits::Digits;
use crate::ops::Burn;
use crate::runs::{Result, difference};

pub const CLASSES: [usize; 5] = [3, 1, 4, 5, 9];
pub const SEED: u64 = 42;
const STEPS: usize = 12;

/// Solvers of every kind, on a spacing each; and whether a run of them draws noise.
const SAMPLERS: [(&str, bool); 8] = [
    ("DDIM trailing", false),
    ("DPM++ 2M quadratic", false),
    ("DPM++ 3M karras", false),
    ("UniPC quadratic", false),
    ("DEIS quadratic", false),
    ("Heun karras", false),
    ("Euler a trailing", true),
    ("DPM++ 2M SDE quadratic", true),
];

/// f32 rounds to 2^-24 = 6e-8 of a value. The sums of a call have up to 384 terms, eight layers
/// deep: √(8·384) · 6e-8 = 3e-6 of relative error; at guidance scale 2 the weights 2 and -1 make
/// 1e-5 of it. A network is no contraction: ten times that bounds what a run makes of it.
const TOLERANCE: f64 = 1e-4;

pub fn sampler(name: &str) -> Result<Sampler> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    Ok(registry::sampler(name)?.sampler(&schedule, STEPS)?)
}

/// The classes as a tensor, which stays on the device for the whole run.
pub fn labels(device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(CLASSES.map(|class| class as i64), device)
}

/// A guided run of the module with any operations on its tensors, in the type of `like`.
pub fn run<O>(network: &Digits, sampler: &Sampler, ops: O, like: &Tensor<2>) -> Result<Tensor<2>>
where
    O: TensorOps<Tensor = Tensor<2>, Element = f32>,
{
    let labels = labels(&like.device());
    let mut run = sampler
        .on(ops)
        .start(like, PREDICTION, KeyedNoise::new(SEED))?;
    run.complete_guided(&ClassifierFree::with_scale(2.0)?, |x, query| {
        Ok::<_, std::convert::Infallible>(network.outputs(
            x,
            query.level().lambda(),
            &labels,
            query.outputs(),
        ))
    })?;
    Ok(run.into_state())
}

/// The same on arrays with the package's own network.
fn on_arrays(sampler: &Sampler) -> Result<Array2<f32>> {
    let network = digits_network::Network::trained()?;
    let guidance = ClassifierFree::with_scale(2.0)?;
    let mut model = Guided::new(network.denoiser(&CLASSES)?, guidance);
    Ok(sampler.sample(&mut model, (CLASSES.len(), PIXELS), SEED)?)
}

/// Every parameter in f64.
struct Doubles;

impl ModuleMapper for Doubles {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(DType::F64))
    }
}

/// Compares the runs of all samplers, and prints how far they are apart.
pub fn compare(device: &Device) -> Result<()> {
    let network = Digits::trained(device)?;
    let exact = network.clone().map(&mut Doubles);
    println!(
        "\n{:28} {:>10} {:>12} {:>12} {:>8} {:>10}",
        "trained network", "difference", "burn to f64", "ours to f64", "uploads", "downloads"
    );
    for (name, noisy) in SAMPLERS {
        let sampler = sampler(name)?;
        let counts = Traffic::default();
        let ops = Counting {
            ops: Burn,
            traffic: &counts,
        };
        let like = Tensor::zeros([CLASSES.len(), PIXELS], device);
        let burns = values(&run(&network, &sampler, ops, &like)?)?;
        let double = values(&run(&exact, &sampler, Burn, &like.cast(DType::F64))?)?;
        let ours: Vec<f64> = on_arrays(&sampler)?.iter().map(|x| f64::from(*x)).collect();
        let apart = difference(&burns, ours.iter().copied());
        let (from_burn, from_ours) = (
            difference(&burns, double.iter().copied()),
            difference(&ours, double.iter().copied()),
        );
        let (uploads, downloads) = (counts.uploads.get(), counts.downloads.get());
        println!(
            "{name:28} {apart:>10.1e} {from_burn:>12.1e} {from_ours:>12.1e} {uploads:>8} \
             {downloads:>10}"
        );
        assert!(apart < TOLERANCE, "{name}: {apart:e}");
        assert_eq!(uploads > 1, noisy, "{name}");
        assert_eq!(downloads, 0, "{name}");
    }
    Ok(())
}

fn values(tensor: &Tensor<2>) -> Result<Vec<f64>> {
    Ok(tensor.try_to_vec_as()?)
}

/// The digits as text.
pub fn show(samples: &Tensor<2>) -> Result<()> {
    const INK: [char; 5] = [' ', '.', 'o', 'O', '@'];
    let values: Vec<f32> = samples.try_to_vec_as()?;
    let ink = |value: &f32| {
        let place = ((value + 1.0) * 2.5).clamp(0.0, 4.0) as usize;
        INK.get(place).copied().unwrap_or('?')
    };
    for row in 0..8 {
        let digits = values.chunks(PIXELS).map(|digit| {
            let pixels = digit.iter().skip(8 * row).take(8);
            pixels.flat_map(|value| [ink(value); 2]).collect::<String>()
        });
        println!("{}", digits.collect::<Vec<_>>().join("  "));
    }
    Ok(())
}

/// Every sampler of the registry that begins at noise, on the trailing spacing: how many there are,
/// and the largest difference from the same run on arrays.
pub fn every_sampler(device: &Device) -> Result<()> {
    let network = Digits::trained(device)?;
    let like = Tensor::zeros([CLASSES.len(), PIXELS], device);
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let (mut count, mut farthest) = (0, ("", 0.0));
    for entry in registry::entries() {
        let named = registry::sampler(entry.name)?.with_spacing(Spacing::Trailing);
        let sampler = named.sampler(&schedule, STEPS)?;
        let plan = sampler.plan();
        if plan
            .steps()
            .iter()
            .any(|step| step.from.lambda() > plan.end().lambda())
        {
            println!("{}: left out, its runs begin at data", entry.name);
            continue;
        }
        let burns = values(&run(&network, &sampler, Burn, &like)?)?;
        let ours = on_arrays(&sampler)?;
        let apart = difference(&burns, ours.iter().map(|x| f64::from(*x)));
        assert!(apart < TOLERANCE, "{}: {apart:e}", entry.name);
        count += 1;
        if apart > farthest.1 {
            farthest = (entry.name, apart);
        }
    }
    let (name, apart) = farthest;
    println!("{count} samplers of the registry: at most {apart:.1e} apart ({name})");
    Ok(())
}
