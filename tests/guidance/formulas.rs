//! The published formulas, on one sample at a time.

use diffusion_sampler::{
    NoiseLevel, Prediction,
    guidance::{
        ClassifierFree, ClassifierGuidance, Composed, Guidance, GuidanceWeight, OnInterval,
        PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential, WeightedSum,
        ZeroStar,
    },
};
use ndarray::{Array3, Axis};

use crate::common::{Image, outputs};

type Values = Vec<f64>;

/// One sample: its state and the model's outputs.
#[derive(Debug)]
pub(crate) struct Sample {
    prediction: Prediction,
    level: NoiseLevel,
    x: Values,
    outs: Vec<Values>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn std(a: &[f64]) -> f64 {
    let n = a.len() as f64;
    let mean = a.iter().sum::<f64>() / n;
    (a.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0)).sqrt()
}

/// a·u + b·v.
pub(crate) fn mix(a: f64, u: &[f64], b: f64, v: &[f64]) -> Values {
    u.iter().zip(v).map(|(u, v)| a * u + b * v).collect()
}

impl Sample {
    fn scalars(&self) -> (f64, f64) {
        (self.level.alpha(), self.level.sigma())
    }

    /// The estimate of x₀ that an output of the model's own kind makes.
    pub(crate) fn data(&self, o: &[f64]) -> Values {
        let (a, s) = self.scalars();
        match self.prediction {
            Prediction::Data => o.to_vec(),
            Prediction::Noise => mix(1.0 / a, &self.x, -s / a, o),
            Prediction::Velocity => mix(a / (a * a + s * s), &self.x, -s / (a * a + s * s), o),
            Prediction::Flow => mix(1.0 / (a + s), &self.x, -s / (a + s), o),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn noise_of(&self, data: &[f64]) -> Values {
        let (a, s) = self.scalars();
        mix(1.0 / s, &self.x, -a / s, data)
    }

    fn flow_of(&self, data: &[f64]) -> Values {
        mix(1.0, &self.noise_of(data), -1.0, data)
    }

    fn data_of_flow(&self, u: &[f64]) -> Values {
        let (a, s) = self.scalars();
        mix(1.0 / (a + s), &self.x, -s / (a + s), u)
    }

    /// A data estimate in the model's own terms.
    pub(crate) fn own(&self, data: &[f64]) -> Values {
        let (a, s) = self.scalars();
        match self.prediction {
            Prediction::Data => data.to_vec(),
            Prediction::Noise => self.noise_of(data),
            Prediction::Velocity => mix(a, &self.noise_of(data), -s, data),
            Prediction::Flow => self.flow_of(data),
            other => panic!("{other:?}"),
        }
    }

    /// o_u + s (o_c − o_u) on the model's own output.
    fn cfg(&self, s: f64) -> Values {
        let delta = mix(1.0, &self.outs[0], -1.0, &self.outs[1]);
        mix(1.0, &self.outs[1], s, &delta)
    }

    fn rescaled(&self, guided: &[f64], phi: f64) -> Values {
        let factor = std(&self.outs[0]) / std(guided);
        mix(phi * factor, guided, 1.0 - phi, guided)
    }

    /// Algorithm 1 of adaptive projected guidance, on data estimates; `delta` is the accumulated
    /// one.
    pub(crate) fn projected(&self, w: f64, eta: f64, radius: f64, delta: &[f64]) -> Values {
        let conditional = self.data(&self.outs[0]);
        let norm = dot(delta, delta).sqrt();
        let clipped = mix((radius / norm).min(1.0), delta, 0.0, delta);
        let length = dot(&conditional, &conditional).sqrt();
        let unit = mix(1.0 / length, &conditional, 0.0, &conditional);
        let parallel = mix(dot(&clipped, &unit), &unit, 0.0, &unit);
        let orthogonal = mix(1.0, &clipped, -1.0, &parallel);
        let update = mix(1.0, &orthogonal, eta, &parallel);
        mix(1.0, &conditional, w, &update)
    }

    pub(crate) fn data_difference(&self) -> Values {
        mix(
            1.0,
            &self.data(&self.outs[0]),
            -1.0,
            &self.data(&self.outs[1]),
        )
    }

    fn zero_star(&self, s: f64) -> Values {
        let c = self.flow_of(&self.data(&self.outs[0]));
        let u = self.flow_of(&self.data(&self.outs[1]));
        let scale = dot(&c, &u) / (dot(&u, &u) + 1e-8);
        let u = mix(scale, &u, 0.0, &u);
        let delta = mix(1.0, &c, -1.0, &u);
        self.data_of_flow(&mix(1.0, &u, s, &delta))
    }

    fn tangential(&self, s: f64) -> Values {
        let (c, u) = (&self.outs[0], &self.outs[1]);
        let (cc, cu, uu) = (dot(c, c), dot(c, u), dot(u, u));
        // The leading right singular vector of the matrix with the rows c and u.
        let leading = 0.5 * (cc + uu + ((cc - uu) * (cc - uu) + 4.0 * cu * cu).sqrt());
        let direction = mix(cu, c, leading - cc, u);
        let length = dot(&direction, &direction).sqrt();
        let unit = mix(1.0 / length, &direction, 0.0, c);
        let damped = mix(dot(u, &unit), &unit, 0.0, c);
        mix(1.0, &damped, s, &mix(1.0, c, -1.0, &damped))
    }

    fn perpendicular(&self, s: f64, n: f64) -> Values {
        let positive = mix(1.0, &self.outs[0], -1.0, &self.outs[1]);
        let negative = mix(1.0, &self.outs[2], -1.0, &self.outs[1]);
        let along = dot(&negative, &positive) / dot(&positive, &positive);
        let perpendicular = mix(1.0, &negative, -along, &positive);
        mix(
            1.0,
            &self.outs[1],
            s,
            &mix(1.0, &positive, -n, &perpendicular),
        )
    }

    fn sum(&self, weights: &[f64]) -> Values {
        let mut sum = vec![0.0; self.x.len()];
        for (weight, out) in weights.iter().zip(&self.outs) {
            sum = mix(1.0, &sum, *weight, out);
        }
        sum
    }

    /// E ← E − w σ g on an estimate of x₀.
    pub(crate) fn classified(&self, data: &[f64], w: f64, gradient: usize) -> Values {
        let (a, s) = self.scalars();
        let noise = mix(1.0, &self.noise_of(data), -w * s, &self.outs[gradient]);
        mix(1.0 / a, &self.x, -s / a, &noise)
    }
}

/// (D, E) of a sample.
type Formula = Box<dyn Fn(&Sample) -> (Values, Values)>;

/// A form and its formula.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) guidance: Box<dyn Guidance>,
    formula: Formula,
}

impl Case {
    /// D and E of every sample, as arrays.
    pub(crate) fn expected(
        &self,
        x: &Image,
        levels: &[NoiseLevel],
        prediction: Prediction,
    ) -> (Array3<f64>, Array3<f64>) {
        let (mut data, mut noise) = (x.to_owned(), x.to_owned());
        for (i, sample) in samples(x, levels, prediction).iter().enumerate() {
            let (d, e) = (self.formula)(sample);
            fill(&mut data, i, &d);
            fill(&mut noise, i, &e);
        }
        (data, noise)
    }
}

pub(crate) fn fill(array: &mut Array3<f64>, sample: usize, values: &[f64]) {
    for (to, from) in array.index_axis_mut(Axis(0), sample).iter_mut().zip(values) {
        *to = *from;
    }
}

pub(crate) fn samples(x: &Image, levels: &[NoiseLevel], prediction: Prediction) -> Vec<Sample> {
    (0..x.shape()[0])
        .map(|i| {
            let level = levels[i.min(levels.len() - 1)];
            let row = |a: &Image| a.index_axis(Axis(0), i).iter().copied().collect::<Values>();
            Sample {
                prediction,
                level,
                x: row(x),
                outs: outputs(6, x, &level).iter().map(|o| row(o)).collect(),
            }
        })
        .collect()
}

fn case(
    name: &'static str,
    guidance: impl Guidance + 'static,
    data: impl Fn(&Sample) -> Values + 'static,
) -> Case {
    Case {
        name,
        guidance: Box::new(guidance),
        formula: Box::new(move |sample| {
            let data = data(sample);
            let noise = sample.noise_of(&data);
            (data, noise)
        }),
    }
}

/// A formula on the model's own output.
fn own(
    name: &'static str,
    guidance: impl Guidance + 'static,
    output: impl Fn(&Sample) -> Values + 'static,
) -> Case {
    case(name, guidance, move |s| s.data(&output(s)))
}

fn weight(w: f64) -> GuidanceWeight {
    GuidanceWeight::constant(w).unwrap()
}

fn inside(s: &Sample) -> bool {
    let rho = s.level.sigma() / s.level.alpha();
    rho > 0.7 && rho <= 2.5
}

pub(crate) fn cases() -> Vec<Case> {
    let mut all = linear();
    all.extend(non_linear());
    all
}

fn linear() -> Vec<Case> {
    let six = [0.5, 2.0, -1.75, 0.125, 0.25, -0.4];
    let cfg = || ClassifierFree::with_scale(4.0).unwrap();
    let slope = |level: &NoiseLevel| 3.0 * level.sigma() - 0.5;
    let interval = GuidanceWeight::interval(3.0, 0.7, 2.5).unwrap();
    let by_level = GuidanceWeight::by_level(slope);
    let w = |s: &Sample| if inside(s) { 2.0 } else { 0.0 };
    vec![
        own(
            "CFG by weight",
            ClassifierFree::with_weight(2.5).unwrap(),
            |s| s.sum(&[3.5, -2.5]),
        ),
        own("CFG by scale", cfg(), |s| s.cfg(4.0)),
        own("CFG on an interval", ClassifierFree::new(interval), |s| {
            s.cfg(if inside(s) { 4.0 } else { 1.0 })
        }),
        own("CFG by level", ClassifierFree::new(by_level), move |s| {
            s.cfg(1.0 + slope(&s.level))
        }),
        own("composed", Composed::new(&[3.0, 1.5, -0.5]).unwrap(), |s| {
            let mut sum = s.outs[3].clone();
            for (scale, j) in [(3.0, 0), (1.5, 1), (-0.5, 2)] {
                sum = mix(1.0, &sum, scale, &mix(1.0, &s.outs[j], -1.0, &s.outs[3]));
            }
            sum
        }),
        own(
            "perturbed",
            Perturbed::new(3.0, weight(2.0)).unwrap(),
            |s| {
                mix(
                    1.0,
                    &s.cfg(3.0),
                    2.0,
                    &mix(1.0, &s.outs[0], -1.0, &s.outs[2]),
                )
            },
        ),
        own("weighted", WeightedSum::new(&six).unwrap(), move |s| {
            s.sum(&six)
        }),
        own("one weight", WeightedSum::new(&[0.8]).unwrap(), |s| {
            s.sum(&[0.8])
        }),
        case("classifier", ClassifierGuidance::new(weight(1.5)), |s| {
            s.classified(&s.data(&s.outs[0]), 1.5, 1)
        }),
        case(
            "classifier, CFG",
            ClassifierGuidance::around(cfg(), weight(1.5)),
            |s| s.classified(&s.data(&s.cfg(4.0)), 1.5, 2),
        ),
        case(
            "classifier around CFG that is off",
            ClassifierGuidance::around(
                ClassifierFree::new(GuidanceWeight::interval(2.0, 0.7, 2.5).unwrap()),
                weight(1.5),
            ),
            move |s| s.classified(&s.data(&s.cfg(1.0 + w(s))), 1.5, 2),
        ),
        Case {
            name: "CFG++",
            guidance: Box::new(PlusPlus::new(0.6).unwrap()),
            formula: Box::new(|s| {
                let unconditional = s.noise_of(&s.data(&s.outs[1]));
                (s.data(&s.cfg(0.6)), unconditional)
            }),
        },
    ]
}

fn non_linear() -> Vec<Case> {
    let cfg = || ClassifierFree::with_scale(4.0).unwrap();
    let projected = || Projected::new(3.0).unwrap();
    let apg = |eta, radius| move |s: &Sample| s.projected(3.0, eta, radius, &s.data_difference());
    vec![
        own("rescaled", Rescaled::new(cfg(), 0.7).unwrap(), |s| {
            s.rescaled(&s.cfg(4.0), 0.7)
        }),
        own(
            "rescaled sum",
            Rescaled::new(Composed::new(&[2.0, 1.0]).unwrap(), 1.0).unwrap(),
            |s| s.rescaled(&s.sum(&[2.0, 1.0, -2.0]), 1.0),
        ),
        case("APG", projected(), apg(0.0, f64::INFINITY)),
        case(
            "APG with eta",
            projected().with_eta(0.4).unwrap(),
            apg(0.4, f64::INFINITY),
        ),
        case(
            "APG with a radius",
            projected()
                .with_eta(-0.2)
                .unwrap()
                .with_radius(1.5)
                .unwrap(),
            apg(-0.2, 1.5),
        ),
        case(
            "classifier, APG",
            ClassifierGuidance::around(projected().with_radius(1.5).unwrap(), weight(0.5)),
            move |s| s.classified(&apg(0.0, 1.5)(s), 0.5, 2),
        ),
        case("CFG-Zero*", ZeroStar::with_scale(4.0).unwrap(), |s| {
            s.zero_star(4.0)
        }),
        case(
            "CFG-Zero*, a zero step",
            ZeroStar::with_scale(4.0).unwrap().zero_steps(1),
            |s| s.data_of_flow(&vec![0.0; s.x.len()]),
        ),
        case(
            "CFG-Zero* on an interval",
            OnInterval::new(ZeroStar::with_scale(4.0).unwrap(), 0.7, 2.5).unwrap(),
            |s| {
                if inside(s) {
                    s.zero_star(4.0)
                } else {
                    s.data(&s.outs[0])
                }
            },
        ),
        own("TCFG", Tangential::with_scale(4.0).unwrap(), |s| {
            s.tangential(4.0)
        }),
        own(
            "perp-neg",
            PerpendicularNegative::new(4.0, 0.8).unwrap(),
            |s| s.perpendicular(4.0, 0.8),
        ),
    ]
}
