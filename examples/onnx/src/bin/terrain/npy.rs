//! Arrays for numpy.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use diffusion_sampler::ndarray::Array4;

/// Writes an array in numpy's format, version 1.0, little-endian f32.
pub fn save(path: &Path, array: &Array4<f32>) -> std::io::Result<()> {
    let (n, c, h, w) = array.dim();
    let header = "{'descr': '<f4', 'fortran_order': False, ";
    let header = format!("{header}'shape': ({n}, {c}, {h}, {w}), }}");
    // What stands before the elements ends with a line break and is a multiple of 64 bytes long.
    let width = (10 + header.len() + 1).next_multiple_of(64) - 11;
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(width as u16 + 1).to_le_bytes())?;
    writeln!(file, "{header:width$}")?;
    for value in array {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()
}
