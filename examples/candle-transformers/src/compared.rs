//! How far two tensors are apart, and what the sections of the program return.

use candle_core::{DType, Tensor};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The values of a tensor.
pub fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Largest difference, in units of the largest element of `b`. NaN where there is one.
pub fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (values(a)?, values(b)?);
    let scale = b.iter().fold(0.0, |scale: f64, b| scale.max(b.abs()));
    let differences = a.iter().zip(&b).map(|(a, b)| (a - b).abs() / scale);
    Ok(differences.fold(0.0, |largest: f64, d| {
        if d.is_nan() || d > largest {
            d
        } else {
            largest
        }
    }))
}

/// Mean and standard deviation of the elements.
pub fn moments(tensor: &Tensor) -> Result<(f64, f64)> {
    let values = values(tensor)?;
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|v| (v - mean) * (v - mean));
    Ok((mean, (squares.sum::<f64>() / count).sqrt()))
}

/// The first element: all are alike.
pub fn first(tensor: &Tensor) -> Result<f64> {
    Ok(*values(tensor)?.first().ok_or("an element")?)
}
