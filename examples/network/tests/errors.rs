//! Bad input and bad files.

use std::error::Error as StdError;

use digits_network::{Error, Network, PIXELS, tensors};
use ndarray::Array2;
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

/// A file of zeros, changed before it is written.
fn file(change: impl FnOnce(&mut Tensors)) -> Result<Vec<u8>, Box<dyn StdError>> {
    let mut list: Tensors = tensors()
        .into_iter()
        .map(|(name, shape)| {
            let bytes = vec![0; 2 * shape.iter().product::<usize>()];
            (name, Dtype::F16, shape, bytes)
        })
        .collect();
    change(&mut list);
    let views = list.iter().map(|(name, dtype, shape, bytes)| {
        Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(serialize(views, None)?)
}

fn read(change: impl FnOnce(&mut Tensors)) -> Result<Error, Box<dyn StdError>> {
    let bytes = file(change)?;
    match Network::from_safetensors(&bytes) {
        Err(error) => Ok(error),
        Ok(_) => Err("the file was read".into()),
    }
}

#[test]
fn lengths_that_differ_are_refused() -> Result<(), Box<dyn StdError>> {
    let network = Network::trained()?;
    let forward = |x: (usize, usize), lambdas: usize, classes: usize, out: (usize, usize)| {
        let (x, mut out) = (Array2::zeros(x), Array2::zeros(out));
        network.forward(
            x.view(),
            &vec![0.0; lambdas],
            &vec![0; classes],
            out.view_mut(),
        )
    };
    let size = (3, PIXELS);
    forward(size, 3, 3, size)?;
    let wrong = |result: Result<(), Error>| match result {
        Err(Error::WrongLength {
            name,
            expected,
            found,
        }) => Some((name, expected, found)),
        _ => None,
    };
    assert_eq!(wrong(forward(size, 2, 3, size)), Some(("lambdas", 3, 2)));
    assert_eq!(wrong(forward(size, 3, 4, size)), Some(("classes", 3, 4)));
    assert_eq!(
        wrong(forward(size, 3, 3, (2, PIXELS))),
        Some(("rows of out", 3, 2))
    );
    let columns = |result: Result<(), Error>| match result {
        Err(Error::WrongColumns { name, found }) => Some((name, found)),
        _ => None,
    };
    assert_eq!(columns(forward((3, 63), 3, 3, size)), Some(("x", 63)));
    assert_eq!(columns(forward(size, 3, 3, (3, 65))), Some(("out", 65)));
    Ok(())
}

#[test]
fn conditions_that_do_not_exist_are_refused() -> Result<(), Box<dyn StdError>> {
    let network = Network::trained()?;
    let x = Array2::zeros((2, PIXELS));
    let mut out = x.clone();
    let mut forward = |lambdas: [f32; 2], classes: [usize; 2]| {
        network.forward(x.view(), &lambdas, &classes, out.view_mut())
    };
    let found = forward([0.0; 2], [10, 11]);
    assert!(matches!(
        found,
        Err(Error::UnknownClass { row: 1, class: 11 })
    ));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let found = forward([0.0, bad], [0; 2]);
        let Err(error @ Error::NotFinite { row: 1, .. }) = found else {
            return Err(format!("{bad} was taken").into());
        };
        assert!(error.to_string().contains(&bad.to_string()));
    }
    Ok(())
}

#[test]
fn broken_files_are_refused_with_what_is_wrong() -> Result<(), Box<dyn StdError>> {
    Network::from_safetensors(&file(|_| ())?)?;
    for bytes in [&b""[..], b"{}", &[255; 64]] {
        let read = Network::from_safetensors(bytes);
        assert!(matches!(read, Err(Error::Safetensors(_))));
    }
    let whole = file(|_| ())?;
    let cut = Network::from_safetensors(&whole[..whole.len() - 1]);
    assert!(matches!(cut, Err(Error::Safetensors(_))));

    let error = read(|list| list.retain(|(name, ..)| name != "input.bias"))?;
    assert!(matches!(&error, Error::MissingTensor { name } if name == "input.bias"));
    let error = read(|list| list.push(("more".to_owned(), Dtype::F16, vec![1], vec![0; 2])))?;
    assert!(matches!(&error, Error::UnknownTensor { name } if name == "more"));
    let error = read(|list| {
        let first = &mut list[0];
        first.2.reverse();
    })?;
    assert_eq!(
        error.to_string(),
        "tensor \"time.first.weight\": expected shape [16, 64], found [64, 16]"
    );
    let error = read(|list| list[0].1 = Dtype::BF16)?;
    assert!(matches!(
        &error,
        Error::WrongType {
            found: Dtype::BF16,
            ..
        }
    ));
    // Infinity in half precision.
    let error = read(|list| list[1].3[6..8].copy_from_slice(&0x7c00_u16.to_le_bytes()))?;
    let expected = "time.first.bias";
    let found = matches!(
        &error,
        Error::WeightNotFinite { name, index: 3, value } if name == expected && value.is_infinite()
    );
    assert!(found, "{error}");
    Ok(())
}

#[test]
fn weights_may_be_of_f32() -> Result<(), Box<dyn StdError>> {
    // Only the output's bias is not 0: it is the output.
    let bias: Vec<f32> = (0..PIXELS).map(|pixel| pixel as f32 / 3.0).collect();
    let bytes = file(|list| {
        for (name, dtype, shape, bytes) in list {
            (*dtype, *bytes) = (Dtype::F32, vec![0; 4 * shape.iter().product::<usize>()]);
            if name == "output.bias" {
                *bytes = bias.iter().flat_map(|value| value.to_le_bytes()).collect();
            }
        }
    })?;
    let x = Array2::ones((1, PIXELS));
    let mut out = Array2::zeros((1, PIXELS));
    Network::from_safetensors(&bytes)?.forward(x.view(), &[0.0], &[1], out.view_mut())?;
    assert_eq!(out.row(0).to_vec(), bias);
    Ok(())
}
