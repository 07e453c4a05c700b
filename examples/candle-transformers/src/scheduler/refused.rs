//! What a scheduler cannot do. Copy it with the rest of the folder.

use std::fmt;

use candle_core::Error;
use diffusion_sampler::run::TensorError;

/// Why a sampler is no scheduler, or a call of one is refused.
#[derive(Debug)]
pub enum Refused {
    /// The sampler, or its run.
    Sampler(TensorError<Error>),
    /// A name that asks for CFG++: a scheduler is given one output, guided by the caller.
    PlusPlus { name: &'static str },
    /// A sampler as it is, for another number of steps.
    Steps { asked: usize, made: usize },
    /// A solver that starts from several states.
    GivenHistory { slots: usize },
    /// A plan that keeps something before it calls the network for the first time.
    BeforeFirstCall,
    /// A time between those of the table.
    TimeNotWhole { call: usize, time: f64 },
    /// No step begins at this timestep.
    NoStart { timestep: usize },
    /// A step that begins at no knot of the grid.
    NoKnot { timestep: f64 },
    /// Several steps begin at this timestep.
    Ambiguous { timestep: usize },
    /// From this timestep on the solver has other calls than those listed.
    OtherCalls {
        timestep: usize,
        listed: usize,
        own: usize,
    },
    /// A call out of its order.
    WrongTimestep {
        call: usize,
        expected: usize,
        found: usize,
    },
    /// A sample that is not the run's state, where that cannot be edited.
    Edited { call: usize, timestep: usize },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sampler(error) => error.fmt(f),
            Self::PlusPlus { name } => write!(
                f,
                "{name} is CFG++, which needs the network's outputs with and without the condition; \
                 a scheduler is given one that is guided already"
            ),
            Self::Steps { asked, made } => write!(
                f,
                "the sampler has {made} steps and cannot be built for {asked}"
            ),
            Self::GivenHistory { slots } => write!(
                f,
                "beside the sample the solver starts from earlier states ({slots}), which a \
                 scheduler is not given"
            ),
            Self::BeforeFirstCall => write!(
                f,
                "the solver keeps a state before its first call of the network, where a scheduler \
                 has none yet"
            ),
            Self::TimeNotWhole { call, time } => write!(
                f,
                "call {call} asks the network at time {time}, and a scheduler's times are whole \
                 numbers from 0: take a spacing on the table (trailing, leading), or allow the \
                 nearest by rounding_times()"
            ),
            Self::NoStart { timestep } => write!(
                f,
                "no step begins at timestep {timestep}: a run begins at the first call of a step"
            ),
            Self::NoKnot { timestep } => write!(
                f,
                "the step at timestep {timestep} begins at no knot of the grid: a run cannot begin \
                 there"
            ),
            Self::Ambiguous { timestep } => write!(
                f,
                "several steps begin at timestep {timestep}: a run cannot begin there"
            ),
            Self::OtherCalls {
                timestep,
                listed,
                own,
            } => write!(
                f,
                "a run from timestep {timestep} on has {own} calls of its own, not the {listed} \
                 that are left of the list"
            ),
            Self::WrongTimestep {
                call,
                expected,
                found,
            } => write!(
                f,
                "call {call} of the run is at timestep {expected}, not {found}"
            ),
            Self::Edited { call, timestep } => write!(
                f,
                "the sample of call {call}, at timestep {timestep}, is not the one that was \
                 returned: within a step, or where the solver keeps earlier states, it must be"
            ),
        }
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// The refusal that a pipeline's error holds, if it is one.
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::WrappedContext { wrapped, .. } => wrapped.downcast_ref(),
            _ => None,
        }
    }
}

impl From<diffusion_sampler::Error> for Refused {
    fn from(error: diffusion_sampler::Error) -> Self {
        Self::Sampler(error.into())
    }
}

impl From<TensorError<Error>> for Refused {
    fn from(error: TensorError<Error>) -> Self {
        Self::Sampler(error)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Sampler(TensorError::Tensor(error))
    }
}

/// candle's error that [`Refused::of`] reads.
impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let context = refused.to_string();
        Self::WrappedContext {
            wrapped: Box::new(refused),
            context,
        }
    }
}
