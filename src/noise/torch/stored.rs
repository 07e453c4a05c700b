//! Torch's generators as they are stored, and the noise from them.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::mt19937::{Mt19937, WORDS};
use super::{TorchCpu, TorchCuda, TorchNoise};
use crate::error::{Error, require, require_length};
use crate::memory::Listed;
use crate::stored::{Finite, present};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CpuForm {
    words: Vec<u32>,
    used: usize,
    #[serde(deserialize_with = "present")]
    kept: Option<Finite>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CudaForm {
    seed: u64,
    tensors: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorForm<G> {
    generator: G,
    next_step: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    bound(serialize = "G: Serialize", deserialize = "G: Deserialize<'de>")
)]
struct NoiseForm<G> {
    #[serde(deserialize_with = "crate::stored::listed")]
    generators: Vec<TensorForm<G>>,
    samples: usize,
    elements: usize,
    every_step: bool,
}

crate::stored::through!(
    TorchCpu => CpuForm,
    TorchCuda => CudaForm,
);

impl From<&TorchCpu> for CpuForm {
    fn from(generator: &TorchCpu) -> Self {
        Self {
            words: generator.words.words.to_vec(),
            used: generator.words.used,
            kept: generator.kept.map(Finite),
        }
    }
}

impl TryFrom<CpuForm> for TorchCpu {
    type Error = Error;

    fn try_from(form: CpuForm) -> Result<Self, Error> {
        let CpuForm { words, used, kept } = form;
        let valid = used <= WORDS;
        require(valid, "used words", used as f64, "at most 624")?;
        let found = words.len();
        let words = words.try_into().map_err(|_| Error::WrongLength {
            name: "words of MT19937",
            expected: WORDS,
            found,
        })?;
        Ok(Self {
            words: Mt19937 { words, used },
            kept: kept.map(|Finite(kept)| kept),
        })
    }
}

impl From<&TorchCuda> for CudaForm {
    fn from(generator: &TorchCuda) -> Self {
        Self {
            seed: generator.seed,
            tensors: generator.tensors,
        }
    }
}

impl From<CudaForm> for TorchCuda {
    fn from(form: CudaForm) -> Self {
        Self::new(form.seed).after(form.tensors)
    }
}

impl<G> TryFrom<NoiseForm<G>> for TorchNoise<G> {
    type Error = Error;

    fn try_from(form: NoiseForm<G>) -> Result<Self, Error> {
        let steps = form.generators.iter().map(|tensor| tensor.next_step);
        let steps = steps.listed()?;
        let generators = form.generators.into_iter().map(|tensor| tensor.generator);
        let mut noise = Self::of(generators, &[form.samples, form.elements])?;
        noise.every_step = form.every_step;
        for (tensor, step) in noise.tensors.iter_mut().zip(steps) {
            tensor.next_step = step;
        }
        if noise.tensors.len() != 1 {
            require_length("list of generators", noise.samples, noise.tensors.len())?;
        }
        Ok(noise)
    }
}

impl<G: Serialize> Serialize for TorchNoise<G> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.require_between().map_err(S::Error::custom)?;
        let generators = self.tensors.iter().map(|tensors| TensorForm {
            generator: &tensors.generator,
            next_step: tensors.next_step,
        });
        let form = NoiseForm {
            generators: generators.listed().map_err(S::Error::custom)?,
            samples: self.samples,
            elements: self.elements,
            every_step: self.every_step,
        };
        form.serialize(serializer)
    }
}

impl<'de, G: Deserialize<'de>> Deserialize<'de> for TorchNoise<G> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NoiseForm::<G>::deserialize(deserializer)?
            .try_into()
            .map_err(D::Error::custom)
    }
}
