//! Terrains, variations of one, and a wide one in tiles, from the network of the PyPI package
//! adaptive-terrain-diffusion (Y. Yu, MIT).
//!
//! `terrain MODEL FOLDER` reads the network's file, writes the arrays that `compare.py` looks at to
//! the folder, and draws `terrain.png` there. With the feature `ort` and a path in ORT_DYLIB_PATH it
//! runs on ONNX Runtime, else on tract.

mod jobs;
mod npy;
mod picture;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use diffusion_sampler_onnx::graph::Graph;
use diffusion_sampler_onnx::tract::Tract;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, folder] = arguments.as_slice() else {
        return Err("give the network's file and a folder for the results".into());
    };
    #[cfg(feature = "ort")]
    if let Some(library) = env::var_os("ORT_DYLIB_PATH") {
        let environment = diffusion_sampler_onnx::ort::environment(library)?;
        let graph = diffusion_sampler_onnx::ort::Ort::load(&environment, model)?;
        println!("runtime: ONNX Runtime");
        return make(graph, folder);
    }
    println!("runtime: tract");
    make(Tract::load(model)?, folder)
}

/// Every job, its arrays and the picture.
fn make<G: Graph>(mut graph: G, folder: &Path) -> Result<()>
where
    G::Error: 'static,
{
    let mut timed = |name: &str, job: &mut dyn FnMut(&mut G) -> Result<jobs::Made>| {
        let start = Instant::now();
        let made = job(&mut graph)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{name}: {} terrains, {seconds:.1} s", made.heights.dim().0);
        made.save(&folder.join(name))?;
        Ok::<_, Box<dyn Error>>(made)
    };
    let terrains = timed("terrains", &mut |graph| jobs::terrains(graph))?;
    let source = jobs::source(&terrains);
    let mut varied = Vec::new();
    for strength in jobs::STRENGTHS {
        let name = format!("variations-{strength}");
        varied.push(timed(&name, &mut |graph| {
            jobs::variations(graph, &source, strength)
        })?);
    }
    let wide = timed("tiles", &mut |graph| jobs::tiles(graph))?;
    jobs::check_variation(&source, &varied)?;
    picture::draw(&terrains, &varied, &wide, &folder.join("terrain.png"))
}
