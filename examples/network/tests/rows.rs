//! A row's result is its own, to the last bit.

use std::error::Error;

use diffusion_sampler::{KeyedNoise, forward::fill_normal, noise::Stream};
use digits_network::{NO_CLASS, Network, PIXELS};
use ndarray::{Array2, Axis, Slice, s};

const ROWS: usize = 600;

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() -> Result<(), Box<dyn Error>> {
    let network = Network::trained()?;
    let mut x = Array2::<f32>::zeros((ROWS, PIXELS));
    fill_normal(&mut x, &mut KeyedNoise::new(3), 0, Stream::User(0))?;
    // Conditions of its own for most rows, and some that several share.
    let lambdas: Vec<f32> = (0..ROWS).map(|row| (row % 97) as f32 * 0.1 - 4.0).collect();
    let classes: Vec<usize> = (0..ROWS).map(|row| row % (NO_CLASS + 1)).collect();
    let mut whole = Array2::zeros((ROWS, PIXELS));
    network.forward(x.view(), &lambdas, &classes, whole.view_mut())?;
    for size in [1, 2, 3, 5, 7, 8, 9, 64, 200, 257] {
        for first in [0, 1, 13, 300] {
            let rows = first..first + size;
            let mut part = Array2::from_elem((size, PIXELS), f32::NAN);
            network.forward(
                x.slice(s![rows.clone(), ..]),
                &lambdas[rows.clone()],
                &classes[rows.clone()],
                part.view_mut(),
            )?;
            let same = whole.slice_axis(Axis(0), Slice::from(rows)) == part;
            assert!(same, "{size} rows from {first}");
        }
    }
    Ok(())
}

#[test]
fn rows_may_lie_anywhere_in_memory() -> Result<(), Box<dyn Error>> {
    let network = Network::trained()?;
    let mut x = Array2::<f32>::zeros((9, PIXELS));
    fill_normal(&mut x, &mut KeyedNoise::new(4), 0, Stream::User(0))?;
    let (lambdas, classes) = ([0.3; 9], [6; 9]);
    let mut rows = Array2::zeros((9, PIXELS));
    network.forward(x.view(), &lambdas, &classes, rows.view_mut())?;
    // Columns beside each other, and from the last row to the first.
    let columns = x.t().as_standard_layout().into_owned();
    let mut transposed = Array2::zeros((PIXELS, 9));
    let reversed = s![..;-1, ..];
    network.forward(
        columns.t().slice(reversed),
        &lambdas,
        &classes,
        transposed
            .view_mut()
            .reversed_axes()
            .slice_mut(reversed)
            .view_mut(),
    )?;
    assert_eq!(rows, transposed.t());
    Ok(())
}

#[test]
fn no_rows_are_no_work() -> Result<(), Box<dyn Error>> {
    let x = Array2::zeros((0, PIXELS));
    Ok(Network::trained()?.forward(x.view(), &[], &[], x.clone().view_mut())?)
}
