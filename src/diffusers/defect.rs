//! What the library does and should not, and what of it can be had.

use std::fmt;

macro_rules! defects {
    ($($variant:ident $does:literal $here:literal;)+) => {
        /// A known defect of diffusers' schedulers. None is copied unless a request asks for it
        /// ([`Request::reproducing`](super::Request::reproducing),
        /// [`Request::as_published`](super::Request::as_published)).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Defect {
            $(#[doc = $does] #[doc = ""] #[doc = $here] $variant,)+
        }

        impl Defect {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What the library does.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $does,)+
                }
            }

            /// What happens here instead.
            pub fn instead(self) -> &'static str {
                match self {
                    $(Self::$variant => $here,)+
                }
            }
        }
    };
}

defects! {
    StepsPastTheNextTime
        "A step leads from t to t − ⌊T/K⌋, whatever the next time of the list is."
        "It leads to the next time.";
    NearlyZeroTerminalSnr
        "Where the signal-to-noise ratio is to end at zero, ᾱ_T is 2⁻²⁴."
        "It is zero.";
    ShiftedTwice
        "The least σ of a flow's own list comes from a table that is shifted already, and is shifted again (as in Stable Diffusion 3's own code)."
        "It is 1/T, shifted once.";
    StartsBelowOne
        "A flow's first σ of 1 is lowered by 1e-6."
        "It stays 1.";
    HalfThirdOrder
        "The third-order multistep method has half the weight of its second difference: it is of second order."
        "It is of third order.";
    WrongSignOfTheSecondDifference
        "The third-order step with noise subtracts half of the second difference where it should add it: the method is of first order."
        "It adds it.";
    ExtrapolatesFreely
        "A multistep method extrapolates over any ratio of steps."
        "A step that is much shorter than the one before it is taken at lower order.";
    NoiseOnTheCleanEnd
        "A last step from a time above 0 onto the clean end adds noise: of variance 1e-20, or β."
        "It adds none.";
    PndmAsWritten
        "PNDM steps from t to t − ⌊T/K⌋ whatever the next time is, rounds half steps down, and converts velocity after it was weighted."
        "Steps lead to the next time and half steps to the middle, and velocity is converted where the network saw it.";
    IpndmAsWritten
        "iPNDM drops the estimate of x₀ in its first step, from α = 0, and extrapolates onto the clean end."
        "Its first step is DDIM's, and the last returns the estimate of x₀.";
    TimeOfTheTarget
        "Inversion tells the network the time at which the step ends."
        "It is told the one at which it starts.";
    ChurnAfterTheCall
        "Churn adds its noise after the network's call, which is then told of a state and a level before it."
        "The noise is added first, and the network is asked about what it makes.";
    LogLinearList
        "The σ of interpolation_type log_linear are one more than the steps, the end is never reached, and the network is told the times of the spacing."
        "They are as many as the steps, the end follows, and the network is told their own times.";
    ListHoldsItsEnd
        "The last σ of a given list is the end, also where it is not 0."
        "The end follows the list, unless its last σ is 0.";
    SlopesBeforeTheStart
        "A linear multistep run that starts in the middle weighs its slopes as if those before its start were there."
        "Its order grows from one.";
    OneStepFromTheLeastNoise
        "A linspace or an exponential list of one step starts at the least noisy end."
        "It starts at the noisiest.";
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
