//! Shared by the files of this folder.

use std::error::Error as StdError;

pub(crate) type Outcome = Result<(), Box<dyn StdError>>;
