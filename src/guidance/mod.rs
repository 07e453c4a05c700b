//! Guidance: weights on several outputs, folded into the update.

mod classifier;
mod classifier_free;
mod weight;

pub use classifier::{Classifier, ClassifierGuided};
pub use classifier_free::{BatchedClassifierFree, ClassifierFree};
pub use weight::GuidanceWeight;

pub use crate::combination::{Combination, MAX_OUTPUTS};
