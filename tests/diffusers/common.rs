//! Runs that the library computed, and the same runs here.

use diffusion_sampler::diffusers::{Configured, Request, SchedulerConfig};
use diffusion_sampler::noise::{NoiseKey, NoiseSource};
use diffusion_sampler::solver::Churn;
use diffusion_sampler::{Error, from_fn};
use ndarray::{Array2, Ix2};
use serde_json::Value;

/// One run of the library.
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) config: Value,
    pub(crate) how: Value,
    pub(crate) steps: usize,
    pub(crate) whole: Value,
}

/// All runs of a list.
pub(crate) fn runs(text: &str) -> Vec<Run> {
    let list: Vec<Value> = serde_json::from_str(text).expect("the list is JSON");
    let runs = list.into_iter().map(|whole| Run {
        name: whole["name"].as_str().expect("a name").to_owned(),
        class: whole["cls"].as_str().expect("a class").to_owned(),
        config: whole["config"].clone(),
        how: whole["how"].clone(),
        steps: whole["steps"].as_u64().expect("a number of steps") as usize,
        whole,
    });
    runs.collect()
}

pub(crate) fn golden() -> Vec<Run> {
    runs(include_str!("../data/schedulers/golden.json"))
}

/// The numbers of an array of any shape, in row-major order.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        Value::String(name) if name == "Infinity" => vec![f64::INFINITY],
        number => vec![number.as_f64().expect("a number")],
    }
}

impl Run {
    /// What the pipeline passes.
    pub(crate) fn request(&self) -> Request {
        let how = &self.how;
        let mut request = match (how.get("sigmas"), how.get("timesteps")) {
            (Some(list), Some(times)) if list.is_array() => {
                Request::of_sigmas(&numbers(list)).with_times(&numbers(times))
            }
            (Some(list), _) if list.is_array() => Request::of_sigmas(&numbers(list)),
            (_, Some(list)) if list.is_array() => Request::of_times(&numbers(list)),
            _ => Request::steps(self.steps),
        };
        if let Some("linspace" | "linspace0") = how["sigmas"].as_str() {
            request = request.uniform_sigmas();
        }
        match &how["mu"] {
            Value::Number(mu) => request = request.mu(mu.as_f64().expect("a number")),
            Value::String(rule) => match rule.as_str() {
                "flux2" => request = request.mu_of_flux2(),
                "cogview4" => request = request.mu_of_cogview4(),
                "qwen_layered" => request = request.mu_of_qwen_layered(),
                other => panic!("an unknown rule {other}"),
            },
            _ => {}
        }
        if let Some(tokens) = how["tokens"].as_u64() {
            request = request.image_tokens(tokens as usize);
        }
        if let Some(strength) = how["strength"].as_f64() {
            request = request.strength(strength);
        }
        if let Some(eta) = how["eta"].as_f64() {
            request = request.eta(eta);
        }
        if how["use_clipped_model_output"] == true {
            request = request.use_clipped_model_output();
        }
        if let Some(amount) = how["s_churn"].as_f64() {
            let number = |name: &str, default: f64| how[name].as_f64().unwrap_or(default);
            let churn = Churn::new(amount)
                .and_then(|churn| {
                    churn.between(number("s_tmin", 0.0), number("s_tmax", f64::INFINITY))
                })
                .and_then(|churn| churn.with_noise(number("s_noise", 1.0)));
            request = request.churn(churn.expect("valid churn"));
        }
        if how["sign"].as_f64() == Some(-1.0) {
            request = request.reversed_output();
        }
        match how["time"].as_str() {
            Some("sigma") => request.network_time_from_one(),
            Some("one_minus_sigma") => request.network_time_to_one(),
            _ => request,
        }
    }

    /// The sampler of the file and the request.
    pub(crate) fn configured(&self, request: &Request) -> Result<Configured, Error> {
        SchedulerConfig::from_json(&self.config.to_string())?
            .with_class(&self.class)
            .sampler(request)
    }

    /// The states here after every step, in the library's coordinates, each with the number of the
    /// network's calls before it.
    pub(crate) fn states(&self, configured: &Configured) -> Vec<(usize, Vec<f64>)> {
        let golden = &self.whole["f64"];
        let start = numbers(&golden["x_start"]);
        let noise = golden["noise"].as_array().expect("a list").iter();
        let mut noise: Vec<Vec<f64>> = noise.map(numbers).collect();
        if self.class == "CogVideoXDPMScheduler" {
            // Every call but the first and one onto the clean end draws twice, and uses the second.
            let last = noise.len() - 1;
            noise = (0..self.steps)
                .map(|call| noise[(2 * call).min(last)].clone())
                .collect();
        }
        if self.class == "DPMSolverSDEScheduler" {
            let intervals = golden["brownian_intervals"].as_array().expect("a list");
            apart(&mut noise, intervals);
        }
        let calls = golden["network_times"].as_array().expect("a list").len();
        let noise = Replayed {
            // Where the library draws at every call, a step without noise draws too.
            by_step: noise.len() == calls && single_calls(configured),
            noise,
            at: 0,
            taken: 0,
        };
        let prediction = configured.prediction();
        let factor = configured.state_factor(&configured.grid().start());
        let x = start.iter().map(|x| match factor.is_finite() {
            true => x / factor,
            // At α = 0 the library's state is infinite; it starts from normals.
            false => x / configured.init_noise_sigma(),
        });
        let rows = golden["x_start"].as_array().expect("a list").len();
        let shape = (rows, start.len() / rows);
        let x = Array2::from_shape_vec(shape, x.collect()).expect("whole rows");
        let sampler = configured.sampler();
        let mut run = sampler
            .start_from(x, prediction, noise)
            .expect("the run starts");
        let mut network = from_fn::<f64, Ix2>(prediction, |x, level, out| {
            let scale = prediction.input_scale(level).expect("a scale");
            // j counts the elements of the whole batch, as they lie in memory.
            for (j, (o, x)) in out.iter_mut().zip(x).enumerate() {
                let angle = 1.3 * scale * x + 0.001 * level.model_time() + 0.2 * j as f64;
                // A network of the other sign (`how.sign`) is what the request says it is.
                *o = 0.8 * angle.sin();
            }
        });
        let mut states = Vec::new();
        let mut calls = 0;
        // Of a long run the first states are kept, and the last.
        let kept = golden["states"].as_array().map_or(usize::MAX, Vec::len);
        let whole = sampler.plan().evaluations() < kept;
        for step in sampler.plan().steps() {
            let evaluated = step.stages.iter().filter(|stage| stage.evaluate.is_some());
            calls += evaluated.count();
            if !whole && calls > kept - 2 {
                break;
            }
            run.advance(&mut network).expect("a step");
            let factor = configured.state_factor(&step.to);
            states.push((calls, run.state().iter().map(|x| factor * x).collect()));
        }
        states
    }

    /// The largest difference of the states from the library's, relative to its largest entry or 1.
    pub(crate) fn error_of_states(&self, configured: &Configured) -> f64 {
        let states = self.whole["f64"]["states"].as_array().expect("a list");
        let theirs: Vec<Vec<f64>> = states.iter().map(numbers).collect();
        let ours = self.states(configured);
        let last = ours.last().expect("a step").clone();
        // A call beyond the last here is one that changes nothing.
        let whole = configured.sampler().plan().evaluations() < theirs.len();
        let idle = last.0 + 1..if whole { theirs.len() } else { 0 };
        let beyond = idle.map(|call| (call, last.1.clone()));
        let mut largest = 0.0f64;
        for (call, ours) in ours.into_iter().chain(beyond) {
            let theirs = &theirs[call];
            let size = theirs.iter().fold(1.0f64, |size, x| size.max(x.abs()));
            for (a, b) in ours.iter().zip(theirs) {
                let error = (a - b).abs() / size;
                largest = if error <= largest { largest } else { error };
            }
        }
        largest
    }
}

/// Whether each step calls the network once; the last may call it twice.
fn single_calls(configured: &Configured) -> bool {
    let steps = configured.sampler().plan().steps();
    steps
        .iter()
        .rev()
        .skip(1)
        .map(|step| step.stages.iter())
        .all(|stages| stages.filter(|stage| stage.evaluate.is_some()).count() == 1)
}

/// Two noises of a step begin at one σ. The library takes both from one Brownian path over σ; the
/// recorded ones are independent. Here the second is made of the first and of a part of its own, which
/// is what is left of it.
fn apart(noise: &mut [Vec<f64>], intervals: &[Value]) {
    for (pair, ends) in noise.chunks_exact_mut(2).zip(intervals.chunks_exact(2)) {
        let length = |interval: &Value| {
            let ends = numbers(interval);
            ends[0] - ends[1]
        };
        let share = length(&ends[0]) / length(&ends[1]);
        let [first, second] = pair else { return };
        for (second, first) in second.iter_mut().zip(first) {
            *second = (*second - share.sqrt() * *first) / (1.0 - share).sqrt();
        }
    }
}

/// The normals of a recorded run, in order.
#[derive(Clone, Debug)]
struct Replayed {
    noise: Vec<Vec<f64>>,
    /// Whether the step's number is that of its entry.
    by_step: bool,
    at: usize,
    /// How many of the list's current entry are taken.
    taken: usize,
}

impl NoiseSource<f64> for Replayed {
    fn fill(&mut self, key: NoiseKey, _first: u64, out: &mut [f64]) {
        if self.by_step && self.at != key.step as usize {
            (self.at, self.taken) = (key.step as usize, 0);
        }
        let normals = &self.noise[self.at];
        out.copy_from_slice(&normals[self.taken..self.taken + out.len()]);
        self.taken += out.len();
        if self.taken == normals.len() {
            (self.at, self.taken) = (self.at + 1, 0);
        }
    }
}
