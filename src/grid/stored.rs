//! A grid as it is stored, and a spacing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Grid, Spacing};
use crate::error::{Error, require_all, require_length};
use crate::level::NoiseLevel;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    #[serde(deserialize_with = "crate::stored::lent")]
    levels: Cow<'a, [NoiseLevel]>,
    #[serde(deserialize_with = "crate::stored::lent")]
    start_variances: Cow<'a, [f64]>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct SpacingForm<'a>(Cow<'a, str>);

crate::stored::through!(Grid => Form<'_>, Spacing => SpacingForm<'_>);

impl<'a> TryFrom<&'a Grid> for Form<'a> {
    type Error = Error;

    fn try_from(grid: &'a Grid) -> Result<Self, Error> {
        let form = Self {
            levels: Cow::Borrowed(&grid.levels),
            start_variances: Cow::Borrowed(&grid.start_variances),
        };
        form.check()?;
        Ok(form)
    }
}

impl TryFrom<Form<'_>> for Grid {
    type Error = Error;

    fn try_from(form: Form<'_>) -> Result<Self, Error> {
        form.check()?;
        Self::checked(form.levels.into_owned(), form.start_variances.into_owned())
    }
}

impl From<&Spacing> for SpacingForm<'_> {
    fn from(spacing: &Spacing) -> Self {
        Self(Cow::Borrowed(spacing.name()))
    }
}

impl TryFrom<SpacingForm<'_>> for Spacing {
    type Error = Error;

    fn try_from(SpacingForm(name): SpacingForm<'_>) -> Result<Self, Error> {
        Self::named(&name)
    }
}

impl Form<'_> {
    /// A grid itself looks at its first variance only: its parts have other first knots.
    fn check(&self) -> Result<(), Error> {
        let (knots, variances) = (self.levels.len(), &self.start_variances);
        require_length("start_variances", knots, variances.len())?;
        let valid = |_, variance: f64| variance.is_finite() && variance >= 0.0;
        let requirement = "finite and at least 0";
        require_all("start_variances", variances, valid, requirement)
    }
}
