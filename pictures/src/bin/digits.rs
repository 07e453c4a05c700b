//! Handwritten digits on request: a trained network under classifier-free guidance, with samplers
//! by their names.
//!
//! ```text
//! cargo run --release -p pictures --bin digits [--model network|mixture|FILE] [FOLDER]
//! ```
//!
//! The network of `examples/network` was trained with this crate on 1618 digits of 8×8 pixels
//! (`examples/training`); it runs in plain ndarray, so nothing has to be downloaded. `--model
//! mixture` puts an exact model in its place, a Gaussian mixture fitted to all 1797 digits: what is
//! wrong with a sample is then the sampler's doing. `--model FILE` reads other weights of the
//! network. Every digit is sampled with several samplers, numbers of steps and guidance weights,
//! always from the same noise.
//!
//! It prints a table and draws `digits.png`, in FOLDER or in the workspace's `target`. What to see
//! there:
//!
//! - w = −1 ignores the class and gets it right once in ten times, w = −0.5 more often; from w = 0
//!   on nearly all samples are of the class asked for, as the exact posterior of the mixture judges.
//! - At w = 0 DDIM's distance to the data falls with the number of steps, towards that of as many
//!   images drawn from the data themselves (which is not 0: their number is finite). Guidance makes
//!   the digits of a class clearer and more alike, and the distance grows: it does not sample the
//!   distribution of the data.
//! - The sampler takes a small part of the time. The program fails where that is 2 % or more.

use std::error::Error;
use std::ffi::OsString;
use std::time::Duration;

use digits_network::Network;
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{Array2, ArrayView1};
use pictures::canvas::{Canvas, GREY, Text, WHITE, bilinear, text_height};
use pictures::digits::{self, Digits, SIDE};
use pictures::drawn::{CLASSES, Drawn, Model, Setting, Studio};
use pictures::judge::{Judge, Verdict};
use pictures::sheet::Sheet;
use pictures::{model, output};

/// Samplers by the names of the registry, and their steps.
const SAMPLERS: [(&str, usize); 8] = [
    ("DDIM trailing", 5),
    ("DDIM trailing", 20),
    ("DDIM trailing", 50),
    ("DDPM trailing", 50),
    ("Euler a trailing", 20),
    ("DPM++ 2M Karras", 10),
    ("UniPC trailing", 5),
    ("Heun trailing", 10),
];

/// Guidance weights; the picture shows all samplers at the second, two samplers at the others.
const WEIGHTS: [f64; 3] = [0.0, 1.0, 2.0];
const AT_ALL_WEIGHTS: [(&str, usize); 2] = [("DDIM trailing", 20), ("DPM++ 2M Karras", 10)];

/// Components of the mixture for each digit: writers form most digits in more than one way.
const CLUSTERS: usize = 3;

/// Samples of each digit in a row of the table.
const PER_CLASS: usize = 100;

/// Pixels of the picture's digits to a pixel of the data.
const FINER: usize = 3;

/// The picture shows each class's first sample.
const SEED: u64 = 2;

/// The sampler takes a smaller share of the time than this.
const SHARE: f64 = 0.02;

const CREDIT: &str =
    "Data: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI (CC BY 4.0)";

fn main() -> Result<(), Box<dyn Error>> {
    let (model, path) = arguments()?;
    let digits = Digits::load()?;
    let mixture = model::fit(&digits, CLUSTERS)?;
    let studio = Studio {
        model,
        mixture: &mixture,
        digits: &digits,
        per_class: PER_CLASS,
        seed: SEED,
    };
    let judge = Judge::new(&mixture, studio.moments()?);
    let settings = settings();

    print_head(&studio);
    let bar = bar(settings.len() * CLASSES)?;
    let mut drawn = Vec::new();
    for &setting in &settings {
        let batch = studio.draw(setting, || bar.inc(1))?;
        let verdict = judge.verdict(&batch.samples, &studio.classes())?;
        bar.suspend(|| print_row(setting, verdict, &batch));
        drawn.push(batch);
    }
    bar.finish_and_clear();
    print_compared(&studio, &judge)?;

    picture(&studio, &settings, &drawn)?.save_png(&path)?;
    println!("\nwrote {}", path.display());
    print_share(&drawn)
}

/// The model, and where to write.
fn arguments() -> Result<(Model, std::path::PathBuf), Box<dyn Error>> {
    let mut rest: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut name = OsString::from("network");
    if let Some(place) = rest.iter().position(|argument| argument == "--model") {
        let value = rest.drain(place..).skip(1).collect::<Vec<_>>();
        let mut value = value.into_iter();
        name = value
            .next()
            .ok_or("--model needs a value: network, mixture or a file of weights")?;
        rest.extend(value);
    }
    let option = rest
        .iter()
        .find(|word| word.to_string_lossy().starts_with('-'));
    if let Some(option) = option {
        let option = option.display();
        return Err(format!("no option {option}: there is --model").into());
    }
    let network = |network| Model::Network(Box::new(network));
    let model = match name.to_str() {
        Some("network") => network(Network::trained()?),
        Some("mixture") => Model::Mixture,
        _ => {
            let file = name.display();
            let expected = "expected network, mixture or a file of weights";
            let bytes = std::fs::read(&name)
                .map_err(|error| format!("--model {file}: {expected}: {error}"))?;
            let read = Network::from_safetensors(&bytes);
            network(read.map_err(|error| format!("--model {file}: {error}"))?)
        }
    };
    Ok((model, output::path_from(rest.into_iter(), "digits.png")?))
}

/// A run that ignores the class and one that half does, to compare with; then all samplers at all
/// weights.
fn settings() -> Vec<Setting> {
    let setting = |weight, (sampler, steps)| Setting {
        sampler,
        steps,
        weight,
    };
    let compared = [-1.0, -0.5].map(|weight| setting(weight, ("DDIM trailing", 20)));
    let rows = |weight| SAMPLERS.map(|sampler| setting(weight, sampler));
    let guided = WEIGHTS.into_iter().flat_map(rows);
    compared.into_iter().chain(guided).collect()
}

/// Shown where standard error is a terminal, and nowhere else.
fn bar(length: usize) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} runs, {eta} left")?;
    Ok(ProgressBar::new(length as u64).with_style(style))
}

fn print_head(studio: &Studio<'_>) {
    let (name, moments) = match studio.model {
        Model::Network(_) => ("the trained network", "data"),
        Model::Mixture => ("the exact mixture", "model"),
    };
    println!("{name}, linear schedule, T = 1000; {PER_CLASS} samples of each digit, seed {SEED}");
    println!(
        "w            (1 + w) conditional - w unconditional: -1 ignores the class, 0 is plain conditional"
    );
    println!(
        "right class  share of samples for which the exact class posterior prefers the digit requested"
    );
    println!(
        "distance     squared Frechet distance to the moments of the {moments} (pixels from -1 to 1)"
    );
    println!(
        "model        seconds in the model, on two threads together; sampler: all other time\n"
    );
    println!("   w  sampler           steps  right class  distance    model  sampler");
}

fn print_row(setting: Setting, verdict: Verdict, batch: &Drawn) {
    println!(
        "{:4}  {:16}  {:5}  {}  {:7.2}  {:7.4}",
        setting.weight,
        setting.sampler,
        setting.steps,
        shown(verdict),
        batch.model.as_secs_f64(),
        batch.sampler.as_secs_f64()
    );
}

fn shown(verdict: Verdict) -> String {
    format!("{:9.1} %  {:8.3}", 100.0 * verdict.right, verdict.distance)
}

/// What samples without fault would be worth.
fn print_compared(studio: &Studio<'_>, judge: &Judge<'_>) -> Result<(), Box<dyn Error>> {
    let classes = studio.classes();
    if matches!(studio.model, Model::Network(_)) {
        let images = shown(judge.verdict(&studio.images()?, &classes)?);
        println!("      {:23}  {images}", "images of the data");
    }
    let draws = shown(judge.verdict(&studio.mixture_draws()?, &classes)?);
    println!("      {:23}  {draws}", "exact draws, mixture");
    Ok(())
}

/// # Errors
///
/// If the sampler takes too large a share of the time of all runs.
fn print_share(drawn: &[Drawn]) -> Result<(), Box<dyn Error>> {
    let model: Duration = drawn.iter().map(|batch| batch.model).sum();
    let sampler: Duration = drawn.iter().map(|batch| batch.sampler).sum();
    let share = sampler.as_secs_f64() / (model + sampler).as_secs_f64();
    println!(
        "all runs: {:.1} s in the model, {:.2} s in the sampler: {:.2} %, less than {} %",
        model.as_secs_f64(),
        sampler.as_secs_f64(),
        100.0 * share,
        100.0 * SHARE
    );
    if share < SHARE {
        return Ok(());
    }
    Err(format!("the sampler takes {share} of the time, {SHARE} or more").into())
}

/// Whether the picture has a row for it.
fn in_picture(setting: &Setting) -> bool {
    let sampler = (setting.sampler, setting.steps);
    setting.weight == WEIGHTS[1]
        || setting.weight >= WEIGHTS[0] && AT_ALL_WEIGHTS.contains(&sampler)
}

/// A row of data, then one for each setting that is shown, with the first sample of every class.
fn picture(
    studio: &Studio<'_>,
    settings: &[Setting],
    drawn: &[Drawn],
) -> Result<Canvas, Box<dyn Error>> {
    let mut images = Vec::new();
    let mut names = vec!["data".to_owned()];
    for label in 0..CLASSES {
        let row = studio.digits.rows_of(label)[0];
        images.push(softened(&studio.digits.image(row)?));
    }
    let pairs = settings.iter().zip(drawn);
    for (setting, batch) in pairs.filter(|(setting, _)| in_picture(setting)) {
        names.push(format!(
            "w = {}  {}, {}",
            setting.weight, setting.sampler, setting.steps
        ));
        for label in 0..CLASSES {
            images.push(ink(batch.samples.row(label * PER_CLASS))?);
        }
    }
    let title = match studio.model {
        Model::Network(_) => "Digits by a network: guidance w, sampler, steps",
        Model::Mixture => "Digits by an exact mixture: guidance w, sampler, steps",
    };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let columns = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    credited(&Sheet::new(title, &columns, &names, 2), &images)
}

/// A sample as the canvas draws it: from 0 (paper) to 1 (ink).
fn ink(sample: ArrayView1<'_, f32>) -> Result<Array2<f64>, Box<dyn Error>> {
    let shades = sample.mapv(|value| (f64::from(value) + 1.0) / 2.0);
    Ok(softened(&shades.into_shape_with_order((SIDE, SIDE))?))
}

/// The image with [`FINER`] times the pixels along each side, in the 17 shades of the data: the eye
/// reads soft edges more easily than 8×8 squares, and a file of few shades is small.
fn softened(image: &Array2<f64>) -> Array2<f64> {
    let place = |index: usize| (index as f64 + 0.5) / FINER as f64;
    let side = FINER * SIDE;
    Array2::from_shape_fn((side, side), |(row, column)| {
        let shade = bilinear(image.view(), place(row), place(column));
        (digits::INK * shade.clamp(0.0, 1.0)).round() / digits::INK
    })
}

/// The sheet with the source of the data below.
fn credited(sheet: &Sheet, images: &[Array2<f64>]) -> Result<Canvas, Box<dyn Error>> {
    const MARGIN: i32 = 16;
    let views: Vec<_> = images.iter().map(|image| image.view()).collect();
    let (width, height) = sheet.size((FINER * SIDE, FINER * SIDE));
    let line = text_height(1);
    let mut canvas = Canvas::new(width + 2 * MARGIN, height + 3 * MARGIN + line, WHITE);
    let table = sheet.draw(&mut canvas, MARGIN, MARGIN, &views)?;
    canvas.text(MARGIN, table.bottom() + MARGIN, CREDIT, Text::new(1, GREY));
    Ok(canvas)
}
