//! Hostile snapshots: refused when they are read, or when they are resumed.

use std::borrow::Cow;
use std::time::Instant;

use diffusion_sampler::{
    Clip, Error, KeyedNoise, Prediction,
    run::Snapshot,
    solver::{DpmSolverPlusPlus, FirstOrder},
    stored::StoredArray,
    tensor::Flat,
};
use ndarray::{Array1, Array2, Array3, ArrayD, array};
use serde_json::{Value, json};

use crate::formats::{cbor, json, of_cbor, of_json, of_postcard, postcard, returned};
use crate::specimens::{sampler, snapshot};

/// The text of the refusal of an edited snapshot.
fn refusal(edit: impl FnOnce(&mut Value)) -> String {
    let mut tree = serde_json::to_value(snapshot()).unwrap();
    tree["checksum"] = Value::Null;
    assert!(serde_json::from_value::<Snapshot<Array2<f64>>>(tree.clone()).is_ok());
    edit(&mut tree);
    of_json::<Snapshot<Array2<f64>>>(&tree.to_string())
        .map(drop)
        .unwrap_err()
}

fn assert_contains(text: &str, error: Error) {
    assert!(text.contains(&error.to_string()), "{text} is not {error}");
}

#[test]
fn arrays_that_do_not_fit_are_refused_with_their_shapes() {
    let length = |name, expected, found| Error::WrongLength {
        name,
        expected,
        found,
    };
    let text = refusal(|tree| tree["state"]["shape"] = json!([2, 4]));
    assert_contains(&text, length("elements", 8, 6));
    let text = refusal(|tree| tree["state"]["shape"] = json!([]));
    assert_contains(&text, length("elements", 1, 6));
    let text = refusal(|tree| tree["memory"]["elements"] = json!([]));
    assert_contains(&text, length("elements", 6, 0));
    let found = vec![1, 2];
    let text = refusal(|tree| {
        tree["history"][0] = json!({"element": "f64", "shape": found, "elements": [1, 2]});
    });
    let expected = vec![2, 3];
    let mismatch = |name, found| Error::ShapeMismatch {
        name,
        expected: expected.clone(),
        found,
    };
    assert_contains(&text, mismatch("history", found));
    let text = refusal(|tree| tree["memory"]["shape"] = json!([3, 2]));
    assert_contains(&text, mismatch("guidance memory", vec![3, 2]));
    let slot = serde_json::to_value(snapshot()).unwrap()["history"][0].clone();
    let text = refusal(|tree| tree["history"] = json!(vec![slot; 9]));
    assert_contains(&text, Error::TooManySlots { found: 9, max: 8 });
}

#[test]
fn arrays_of_another_type_are_refused() {
    let text = json(&snapshot());
    let refused = of_json::<Snapshot<Array1<f64>>>(&text).unwrap_err();
    let axes = |expected| Error::WrongLength {
        name: "shape",
        expected,
        found: 2,
    };
    assert_contains(&refused, axes(1));
    assert_contains(
        &of_json::<Snapshot<Array3<f64>>>(&text).unwrap_err(),
        axes(3),
    );
    assert!(of_json::<Snapshot<ArrayD<f64>>>(&text).is_ok());
    let element = Error::StoredElement {
        expected: "f32",
        found: "f64",
    };
    assert_contains(
        &of_json::<Snapshot<Array2<f32>>>(&text).unwrap_err(),
        element.clone(),
    );
    let bytes = cbor(&snapshot());
    assert_contains(
        &of_cbor::<Snapshot<Array2<f32>>>(&bytes)
            .unwrap_err()
            .replace("\\\"", "\""),
        element,
    );
    assert!(of_postcard::<Snapshot<Array2<f32>>>(&postcard(&snapshot())).is_err());
}

#[test]
fn elements_that_are_not_finite_are_refused_in_and_out() {
    let entry = |index, value| Error::InvalidEntry {
        name: "elements",
        index,
        value,
        requirement: "finite",
    };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut state = snapshot();
        state.state[[1, 0]] = value;
        let mut history = snapshot();
        history.history[0][[1, 0]] = value;
        let mut memory = snapshot();
        memory.memory.as_mut().unwrap()[[1, 0]] = value;
        for bad in [state, history, memory] {
            let refused = serde_json::to_string(&bad).unwrap_err().to_string();
            assert_contains(&refused, entry(3, value));
            assert!(postcard::to_stdvec(&bad).is_err());
        }
    }
    // Too large for f32: infinite there.
    let single = snapshot().state.mapv(|v| v as f32);
    let single = Snapshot {
        plan: 1,
        prediction: Prediction::Noise,
        clip: None,
        noise: None,
        step: 0,
        stage: 0,
        level: snapshot().level,
        state: single,
        history: vec![],
        memory: None,
    };
    let mut tree = serde_json::to_value(&single).unwrap();
    tree["checksum"] = Value::Null;
    tree["state"]["elements"][2] = json!(1e300);
    let refused = serde_json::from_value::<Snapshot<Array2<f32>>>(tree).unwrap_err();
    assert_contains(&refused.to_string(), entry(2, f64::INFINITY));
}

fn resume(edit: impl FnOnce(&mut Snapshot<Array2<f64>>)) -> Result<(), Error> {
    let mut snapshot = snapshot();
    edit(&mut snapshot);
    let [read, ..] = returned(&snapshot);
    assert_eq!(read, snapshot);
    let sampler = sampler(&DpmSolverPlusPlus::new());
    let run = sampler.resume(read, Prediction::Noise, KeyedNoise::new(1))?;
    assert_eq!(run.step(), 1);
    Ok(())
}

#[test]
fn what_only_the_plan_can_tell_is_refused_on_resuming() {
    assert_eq!(resume(|_| ()), Ok(()));
    let whole = snapshot();
    let time = whole.level.time();
    let expected = whole.plan;
    for found in [0, expected ^ 1, u64::MAX] {
        let refused = resume(|snapshot| snapshot.plan = found);
        let error = Error::SnapshotOfAnotherPlan {
            expected,
            found,
            time,
        };
        assert_eq!(refused, Err(error));
    }
    let another = |what, expected: &str, found: &str| {
        Err(Error::SnapshotOfAnother {
            what,
            expected: expected.to_owned(),
            found: found.to_owned(),
            time,
        })
    };
    let refused = resume(|snapshot| snapshot.prediction = Prediction::Edm { data_std: 0.5 });
    let found = "Edm { data_std: 0.5 }";
    assert_eq!(refused, another("prediction", "Noise", found));
    let clip = Clip::new(-1.0, 1.0).unwrap();
    let refused = resume(|snapshot| snapshot.clip = Some(clip));
    assert_eq!(refused, another("clip", "none", &format!("{clip:?}")));
    // The plan draws nothing: no noise is another one.
    assert_eq!(whole.noise, None);
    let refused = resume(|snapshot| snapshot.noise = Some(0x1f));
    let expected_noise = "of a source without a fingerprint";
    assert_eq!(
        refused,
        another("noise", expected_noise, "000000000000001f")
    );
    for (step, stage) in [
        (0, 0),
        (2, 0),
        (1, 1),
        (4, 0),
        (usize::MAX, 0),
        (1, usize::MAX),
    ] {
        let refused = resume(|snapshot| (snapshot.step, snapshot.stage) = (step, stage));
        let error = Error::SnapshotMisplaced {
            step,
            stage,
            steps: 3,
            time,
        };
        assert_eq!(refused, Err(error));
    }
    let refused = resume(|snapshot| snapshot.level = snapshot.level.with_model_time(0.5));
    assert!(matches!(refused, Err(Error::SnapshotMisplaced { .. })));
    for found in [0, 2, 8] {
        let slot = whole.state.clone();
        let refused = resume(|snapshot| snapshot.history = vec![slot; found]);
        let error = Error::WrongLength {
            name: "history",
            expected: 1,
            found,
        };
        assert_eq!(refused, Err(error));
    }
}

#[test]
fn a_state_without_a_sample_axis_is_refused_on_resuming() {
    let sampler = sampler(&FirstOrder::ddim());
    let run = sampler
        .start_from(
            array![[1.0]].into_dyn(),
            Prediction::Noise,
            KeyedNoise::new(1),
        )
        .unwrap();
    let scalar = Snapshot {
        state: ndarray::arr0(1.0).into_dyn(),
        ..run.snapshot().unwrap()
    };
    let [read, ..] = returned(&scalar);
    let refused = sampler.resume(read, Prediction::Noise, KeyedNoise::new(1));
    assert_eq!(refused.map(drop), Err(Error::NoSampleAxis));
}

#[test]
fn samples_without_elements_cost_nothing_however_many_they_are() {
    let sampler = sampler(&FirstOrder::ddpm());
    let run = sampler
        .start_from(
            Array2::<f64>::zeros((1, 0)),
            Prediction::Noise,
            KeyedNoise::new(1),
        )
        .unwrap();
    let mut tree = serde_json::to_value(run.snapshot().unwrap()).unwrap();
    tree["checksum"] = Value::Null;
    tree["state"]["shape"] = json!([1u64 << 59, 0]);
    let read: Snapshot<Array2<f64>> = serde_json::from_value(tree).unwrap();
    let begin = Instant::now();
    let mut run = sampler
        .resume(read, Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    while run.ask().unwrap().is_some() {
        run.tell(&Array2::<f64>::zeros((1 << 59, 0))).unwrap();
    }
    assert!(run.is_finished());
    assert!(begin.elapsed().as_secs() < 5);
}

/// A tensor of another library: its elements are stored column by column.
#[derive(Debug, PartialEq)]
struct Columns {
    rows: usize,
    values: Vec<f32>,
}

impl StoredArray for Columns {
    type Element = f32;
    type Error = String;

    fn shape(&self) -> Vec<usize> {
        vec![self.rows, self.values.len() / self.rows]
    }

    fn elements(&self) -> Result<Cow<'_, [f32]>, String> {
        let columns = self.values.len() / self.rows;
        let at = |index: usize| self.values[index % columns * self.rows + index / columns];
        Ok((0..self.values.len()).map(at).collect())
    }

    fn of_elements(shape: &[usize], elements: Vec<f32>) -> Result<Self, String> {
        let &[rows, columns] = shape else {
            return Err(format!("{} axes are not two", shape.len()));
        };
        let at = |index: usize| elements[index % rows * columns + index / rows];
        let values = (0..elements.len()).map(at).collect();
        Ok(Self { rows, values })
    }
}

#[test]
fn snapshots_of_other_array_types_are_stored_in_row_major_order() {
    let own = Snapshot {
        plan: 1,
        prediction: Prediction::Noise,
        clip: None,
        noise: None,
        step: 0,
        stage: 0,
        level: snapshot().level,
        state: Columns {
            rows: 2,
            values: vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0],
        },
        history: vec![],
        memory: None,
    };
    for back in returned(&own) {
        assert_eq!(back, own);
    }
    let read: Snapshot<Array2<f32>> = of_json(&json(&own)).unwrap();
    assert_eq!(read.state, array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let flat = Snapshot {
        state: Array1::<f32>::ones(3),
        plan: 1,
        prediction: Prediction::Noise,
        clip: None,
        noise: None,
        step: 0,
        stage: 0,
        level: own.level,
        history: vec![],
        memory: None,
    };
    let refused = of_json::<Snapshot<Columns>>(&json(&flat)).unwrap_err();
    assert!(refused.contains("1 axes are not two"), "{refused}");
}

fn flat(array: &Array2<f64>) -> Flat<f64> {
    Flat::new(array.iter().copied().collect(), array.shape()).unwrap()
}

/// Flat vectors are stored as the arrays of the same shape and elements are, and come back as them.
#[test]
fn snapshots_of_flat_vectors_are_those_of_arrays() {
    let arrays = snapshot();
    let flat = arrays.clone().try_map(|x| Ok::<_, Error>(flat(&x)));
    let flat: Snapshot<Flat<f64>> = flat.unwrap();
    assert!(flat.memory.is_some() && !flat.history.is_empty());
    assert_eq!(json(&flat), json(&arrays));
    assert_eq!(postcard(&flat), postcard(&arrays));
    assert_eq!(returned(&flat), [(); 5].map(|()| flat.clone()));
    assert_eq!(
        of_json::<Snapshot<Flat<f64>>>(&json(&arrays)),
        Ok(flat.clone())
    );
    assert_eq!(of_json::<Snapshot<Array2<f64>>>(&json(&flat)), Ok(arrays));
}

#[test]
fn a_snapshot_whose_state_has_no_axis_is_no_flat_vector() {
    let mut tree = serde_json::to_value(snapshot()).unwrap();
    for part in ["history", "memory", "checksum"] {
        tree[part] = if part == "history" {
            json!([])
        } else {
            Value::Null
        };
    }
    tree["state"]["shape"] = json!([]);
    tree["state"]["elements"] = json!([0.5]);
    let refused = of_json::<Snapshot<Flat<f64>>>(&tree.to_string()).map(drop);
    assert_contains(&refused.unwrap_err(), Error::NoSampleAxis);
}

#[test]
fn the_first_error_of_a_conversion_is_reported() {
    for (place, arrays) in [(0, "the state"), (1, "the history"), (2, "the memory")] {
        let mut count = 0;
        let converted = snapshot().try_map(|x| {
            count += 1;
            if count > place { Err(arrays) } else { Ok(x) }
        });
        assert_eq!(converted.map(drop), Err(arrays));
    }
}
