//! Plans that are none, and plans that were changed.

use diffusion_sampler::{
    Error, NoiseLevel,
    plan::{MAX_SLOTS, MAX_STAGES, Plan},
};
use serde_json::{Value, json};

use crate::refused::{edited, refused};
use crate::specimens::plan_by_hand;

/// Edits of the plan by hand, each of which another check refuses.
#[test]
fn plans_that_are_none_are_refused_with_their_values() {
    let plan = plan_by_hand();
    let refuse = |edits: &[(&str, Value)], error: Error| {
        let open = [&[("/checksum", Value::Null)], edits].concat();
        refused(&plan, &open, error);
    };
    let step = serde_json::to_value(&plan.steps()[0]).unwrap();
    let stage = step["stages"][0].clone();
    let max = usize::MAX;
    refuse(
        &[("/steps", json!([]))],
        Error::StepCount {
            steps: 0,
            min: 1,
            max,
        },
    );
    refuse(
        &[("/steps/0/stages", json!([]))],
        Error::StageCount {
            step: 0,
            found: 0,
            max: MAX_STAGES,
        },
    );
    refuse(
        &[("/steps/0/stages", json!(vec![stage; 257]))],
        Error::StageCount {
            step: 0,
            found: 257,
            max: MAX_STAGES,
        },
    );
    for found in [9, 1 << 40, usize::MAX] {
        refuse(
            &[("/slots", json!(found))],
            Error::TooManySlots {
                found,
                max: MAX_SLOTS,
            },
        );
    }
    let beyond = |step, stage, slot, slots| Error::SlotOutOfRange {
        step,
        stage,
        slot,
        slots,
    };
    refuse(&[("/given", json!(4))], beyond(0, 0, 3, 3));
    refuse(
        &[("/given", json!(usize::MAX))],
        beyond(0, 0, usize::MAX - 1, 3),
    );
    refuse(&[("/slots", json!(2))], beyond(1, 1, 2, 2));
    refuse(
        &[("/steps/1/stages/0/update/store/slot", json!(1u64 << 40))],
        beyond(1, 0, 1 << 40, 3),
    );
    refuse(
        &[("/steps/0/stages/1/update/history/0/slot", json!(7))],
        beyond(0, 1, 7, 3),
    );
    refuse(
        &[("/given", json!(1))],
        Error::SlotNotWritten {
            step: 0,
            stage: 0,
            slot: 1,
        },
    );
    refuse(
        &[("/steps/0/stages/0/update/history/0/slot", json!(2))],
        Error::SlotNotWritten {
            step: 0,
            stage: 0,
            slot: 2,
        },
    );
    refuse(
        &[("/steps/0/stages/1/update/history/0/slot", json!(0))],
        Error::SlotReadTwice {
            step: 0,
            stage: 1,
            slot: 0,
        },
    );
    // A plan in a circle, and one that jumps.
    let [first, second] = [0, 1].map(|i| serde_json::to_value(&plan.steps()[i]).unwrap());
    let meet = |end, start| Error::EdgesDoNotMeet { end, start };
    refuse(&[("/steps", json!([second, first]))], meet(0.0, 4.0));
    refuse(&[("/steps/1/from", first["from"].clone())], meet(3.0, 4.0));
    refuse(
        &[("/steps/0/stages/0/evaluate", Value::Null)],
        Error::DataWithoutEvaluation { step: 0, stage: 0 },
    );
    refuse(
        &[("/steps/0/stages/2/update/data", json!(1))],
        Error::DataWithoutEvaluation { step: 0, stage: 2 },
    );
    refuse(
        &[("/steps/1/stages/0/update/noise", json!(-0.5))],
        Error::InvalidEntry {
            name: "plan coefficients of step",
            index: 1,
            value: -0.5,
            requirement: "at least 0 where it scales noise",
        },
    );
    let clean = serde_json::to_value(NoiseLevel::clean()).unwrap();
    refuse(
        &[("/steps/0/stages/1/evaluate", clean)],
        Error::DegenerateEdge {
            from: 0.0,
            to: 0.0,
            requirement: "have sigma > 0 where its noise estimate is kept",
        },
    );
    for found in [0, 2, u32::MAX] {
        refuse(
            &[("/version", json!(found))],
            Error::StoredVersion { found, known: 1 },
        );
    }
}

#[test]
fn a_changed_plan_is_refused_by_its_checksum() {
    let plan = plan_by_hand();
    let Value::Number(sum) = serde_json::to_value(&plan).unwrap()["checksum"].clone() else {
        panic!("no checksum")
    };
    let found = sum.as_u64().unwrap();
    let changed = edited(&plan, &[("/checksum", json!(found ^ 1))]);
    let expected = found;
    let found = found ^ 1;
    let text = serde_json::from_value::<Plan>(changed)
        .unwrap_err()
        .to_string();
    let error = Error::StoredChecksum {
        name: "plan",
        expected,
        found,
    };
    assert!(text.contains(&error.to_string()), "{text}");
    // One rounding in α, which the fingerprint leaves out.
    let alpha = plan.steps()[0].to.alpha().next_up();
    let edits = [
        ("/steps/0/to/alpha", json!(alpha)),
        ("/steps/1/from/alpha", json!(alpha)),
    ];
    let text = serde_json::from_value::<Plan>(edited(&plan, &edits))
        .unwrap_err()
        .to_string();
    assert!(text.contains("checksum"), "{text}");
}
