//! Refusals by name.

use diffusion_sampler::Prediction;
use diffusion_sampler::diffusers::Request;
use serde_json::json;

use super::{ALL, WITH_RAMPS, configured, names_field};

#[test]
fn what_a_class_cannot_do_is_refused_by_name() {
    let steps = Request::steps(4);
    for class in WITH_RAMPS {
        let two = json!({"use_karras_sigmas": true, "use_beta_sigmas": true});
        names_field(configured(class, two, &steps), "use_karras_sigmas");
    }
    for class in ALL {
        let flow = json!({"prediction_type": "flow_prediction"});
        names_field(configured(class, flow, &steps), "prediction_type");
        let other = json!({"prediction_type": "nonsense"});
        names_field(configured(class, other, &steps), "prediction_type");
        let spacing = json!({"timestep_spacing": "nonsense"});
        names_field(configured(class, spacing, &steps), "timestep_spacing");
        let data = configured(class, json!({"prediction_type": "sample"}), &steps);
        match ["EulerDiscrete", "HeunDiscrete", "LMSDiscrete"].contains(&class) {
            true => assert_eq!(data.map(|it| it.prediction()), Ok(Prediction::Data)),
            false => names_field(data, "prediction_type"),
        }
    }
    for (field, value) in [
        ("interpolation_type", "cubic"),
        ("timestep_type", "both"),
        ("final_sigmas_type", "nothing"),
    ] {
        let mut fields = json!({});
        fields[field] = json!(value);
        names_field(configured("EulerDiscrete", fields, &steps), field);
    }
    let edm = json!({"prediction_type": "sample"});
    names_field(configured("EDMEuler", edm, &steps), "prediction_type");
    let edm = json!({"sigma_schedule": "linear"});
    names_field(configured("EDMEuler", edm, &steps), "sigma_schedule");
}
