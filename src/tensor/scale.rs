//! A coefficient of a linear combination.

/// A coefficient for the whole batch, or one for each sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale<'a> {
    /// The same for every sample.
    Same(f64),
    /// One for each sample, as many as the batch has.
    PerSample(&'a [f64]),
}

impl Scale<'_> {
    /// The coefficients: one for the batch, or one for each sample; what a library broadcasts along
    /// axis 0.
    ///
    /// ```
    /// use diffusion_sampler::tensor::Scale;
    ///
    /// assert_eq!(Scale::Same(2.0).as_slice(), [2.0]);
    /// assert_eq!(Scale::PerSample(&[1.0, 3.0]).as_slice(), [1.0, 3.0]);
    /// ```
    pub fn as_slice(&self) -> &[f64] {
        match self {
            Self::Same(value) => std::slice::from_ref(value),
            Self::PerSample(values) => values,
        }
    }

    /// The coefficient of one sample; NaN past the last of a list.
    ///
    /// ```
    /// use diffusion_sampler::tensor::Scale;
    ///
    /// assert_eq!(Scale::Same(2.0).of(7), 2.0);
    /// assert_eq!(Scale::PerSample(&[1.0, 3.0]).of(1), 3.0);
    /// ```
    pub fn of(&self, sample: usize) -> f64 {
        match self {
            Self::Same(value) => *value,
            Self::PerSample(values) => values.get(sample).copied().unwrap_or(f64::NAN),
        }
    }
}
