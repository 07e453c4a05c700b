//! The parameters of any module of burn from a file in the format of safetensors, by their paths.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};

use crate::runs::Result;

/// The module with the file's weights, in the types and on the devices of its own. A parameter's
/// name in the file is its path in the module, unless `renamed` has the path.
pub fn read<M: Module>(module: M, bytes: &[u8], renamed: &[(&str, &str)]) -> Result<M> {
    let mut reader = Reader {
        file: SafeTensors::deserialize(bytes)?,
        renamed,
        path: Vec::new(),
        read: 0,
        error: None,
    };
    let module = module.map(&mut reader);
    if let Some(error) = reader.error {
        return Err(error.into());
    }
    if reader.read != reader.file.len() {
        let (read, all) = (reader.read, reader.file.len());
        return Err(format!("the file has {all} tensors, the module takes {read}").into());
    }
    Ok(module)
}

struct Reader<'b> {
    file: SafeTensors<'b>,
    renamed: &'b [(&'b str, &'b str)],
    path: Vec<String>,
    read: usize,
    /// A mapper cannot fail.
    error: Option<String>,
}

impl Reader<'_> {
    fn data(&self, name: &str, shape: &[usize]) -> std::result::Result<TensorData, String> {
        let tensor = self.file.tensor(name);
        let tensor = tensor.map_err(|error| format!("{name}: {error}"))?;
        if tensor.shape() != shape {
            let found = tensor.shape();
            return Err(format!(
                "{name} is {found:?} in the file, {shape:?} in the module"
            ));
        }
        let dtype = match tensor.dtype() {
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F32 => DType::F32,
            other => {
                return Err(format!(
                    "{name} is of {other:?}; F16, BF16 or F32 is allowed"
                ));
            }
        };
        let bytes = tensor.data().to_vec();
        Ok(TensorData::from_bytes_vec(bytes, shape.to_vec(), dtype))
    }
}

impl ModuleMapper for Reader<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let renamed = self.renamed.iter().find(|(from, _)| *from == path);
        let name = renamed.map_or(path.as_str(), |(_, to)| to);
        let value = param.val();
        match self.data(name, &value.dims()) {
            Ok(data) => {
                self.read += 1;
                let tensor = Tensor::from_data(data, (&value.device(), value.dtype()));
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error.get_or_insert(error);
                param
            }
        }
    }
}
