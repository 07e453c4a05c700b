//! What is made, and what goes into it.

use std::fs;
use std::path::Path;

use diffusion_sampler::forward::{diffuse, fill_normal};
use diffusion_sampler::ndarray::{Array4, Axis, Ix4, s};
use diffusion_sampler::noise::Stream;
use diffusion_sampler::{Denoiser, KeyedNoise, Prediction};
use diffusion_sampler_onnx::graph::Graph;
use diffusion_sampler_onnx::heights;
use diffusion_sampler_onnx::terrain::{SIZE, Terrain, Tiled, level, sampler};

use crate::{Result, npy};

/// The columns of the picture's first rows.
pub const DIFFICULTIES: [u8; 4] = [1, 34, 67, 100];

/// How far back variations start.
pub const STRENGTHS: [f64; 3] = [0.8, 0.9, 1.0];

/// Which of the terrains is varied, and how often at each strength.
const VARIED: usize = 3;
const VARIANTS: usize = 2;

/// Rows and columns of the terrain in tiles, its difficulty, and the overlap of its tiles.
const WIDE: (usize, usize) = (256, 512);
const WIDE_DIFFICULTY: u8 = 80;
const OVERLAP: usize = 32;

/// The terrains of one run, with what `compare.py` needs to make them again.
pub struct Made {
    pub difficulties: Vec<u8>,
    pub strength: f64,
    /// The standard normals that the run started from.
    noise: Array4<f32>,
    /// In metres.
    source: Option<Array4<f32>>,
    /// The network's numbers.
    answer: Array4<f32>,
    /// In metres.
    pub heights: Array4<f32>,
}

/// Terrains of four difficulties, two of each.
pub fn terrains<G: Graph>(graph: &mut G) -> Result<Made>
where
    G::Error: 'static,
{
    let difficulties = [DIFFICULTIES, DIFFICULTIES].concat();
    let mut model = Terrain::new(graph, &difficulties)?;
    fresh(&mut model, &difficulties, (SIZE, SIZE), 7)
}

/// One wide terrain in overlapping tiles.
pub fn tiles<G: Graph>(graph: &mut G) -> Result<Made>
where
    G::Error: 'static,
{
    let mut model = Tiled {
        terrain: Terrain::new(graph, &[WIDE_DIFFICULTY])?,
        overlap: OVERLAP,
    };
    fresh(&mut model, &[WIDE_DIFFICULTY], WIDE, 8)
}

fn fresh<M>(model: &mut M, difficulties: &[u8], size: (usize, usize), seed: u64) -> Result<Made>
where
    M: Denoiser<f32, Ix4>,
    M::Error: std::fmt::Debug + std::fmt::Display + 'static,
{
    let shape = (difficulties.len(), 1, size.0, size.1);
    let sampler = sampler(1.0)?;
    let mut noise = Array4::zeros(shape);
    fill_normal(&mut noise, &mut KeyedNoise::new(seed), 0, Stream::Start)?;
    let mut run = sampler.start(shape, Prediction::Data, KeyedNoise::new(seed))?;
    let start = run.ask()?.ok_or("a run of one step asks once")?;
    if start.x != noise.mapv(|z| 80.0 * z) {
        return Err("the run does not start from 80 times its noise".into());
    }
    run.complete(model)?;
    Ok(Made::new(difficulties, 1.0, noise, None, run.into_state()))
}

/// The terrain that is varied.
pub fn source(terrains: &Made) -> Array4<f32> {
    terrains
        .heights
        .slice(s![VARIED..=VARIED, .., .., ..])
        .to_owned()
}

/// Variations of one terrain: noised to a level, and denoised from there.
pub fn variations<G: Graph>(graph: &mut G, source: &Array4<f32>, strength: f64) -> Result<Made>
where
    G::Error: 'static,
{
    let difficulties = [DIFFICULTIES[VARIED]; VARIANTS];
    let mut model = Terrain::new(graph, &difficulties)?;
    let sampler = sampler(strength)?;
    let numbers = heights::from_metres(source.clone());
    let mut x = Array4::zeros((VARIANTS, 1, SIZE, SIZE));
    x.assign(&numbers);
    let (mut noise, mut normals) = (KeyedNoise::new(9), x.clone());
    fill_normal(&mut normals, &mut noise, 0, Stream::Forward)?;
    diffuse(&mut x, &[sampler.plan().start()], &mut noise, 0)?;
    let mut run = sampler.start_from(x, Prediction::Data, noise)?;
    run.complete(&mut model)?;
    let source = Some(source.clone());
    Ok(Made::new(
        &difficulties,
        strength,
        normals,
        source,
        run.into_state(),
    ))
}

/// Variations leave their source farther the higher they start, in the network's numbers.
pub fn check_variation(source: &Array4<f32>, varied: &[Made]) -> Result<()> {
    let source = heights::from_metres(source.clone());
    let mut before = 0.0;
    for made in varied {
        let squares = (&made.answer - &source).mapv(|d| f64::from(d).powi(2));
        let rms = squares.mean().unwrap_or(0.0).sqrt();
        let (strength, sigma) = (made.strength, level(made.strength)?.sigma());
        println!("strength {strength}, σ = {sigma:.1}: {rms:.3} from the source");
        if rms.is_nan() || rms <= before {
            return Err(format!("strength {strength} varies less than the one before").into());
        }
        before = rms;
    }
    Ok(())
}

impl Made {
    fn new(
        difficulties: &[u8],
        strength: f64,
        noise: Array4<f32>,
        source: Option<Array4<f32>>,
        answer: Array4<f32>,
    ) -> Self {
        Self {
            difficulties: difficulties.to_vec(),
            strength,
            noise,
            source,
            heights: heights::to_metres(answer.clone()),
            answer,
        }
    }

    /// Writes the arrays and the settings to a folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let arrays = [
            ("noise", &self.noise),
            ("answer", &self.answer),
            ("heights", &self.heights),
        ];
        for (name, array) in arrays {
            npy::save(&folder.join(format!("{name}.npy")), array)?;
        }
        if let Some(source) = &self.source {
            npy::save(&folder.join("source.npy"), source)?;
        }
        let (difficulties, strength) = (&self.difficulties, self.strength);
        let text = format!(
            r#"{{"difficulty": {difficulties:?}, "strength": {strength}, "overlap": {OVERLAP}}}"#
        );
        Ok(fs::write(folder.join("settings.json"), text + "\n")?)
    }

    /// One terrain.
    pub fn terrain(&self, index: usize) -> Option<diffusion_sampler::ndarray::ArrayView2<'_, f32>> {
        let terrain = self.heights.axis_iter(Axis(0)).nth(index)?;
        Some(terrain.index_axis_move(Axis(0), 0))
    }
}
