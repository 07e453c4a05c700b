//! A network that is watched, held up or broken on purpose.

use std::fmt;

use diffusion_sampler_server::{Digits, Model, Network, Row};
use ndarray::{ArrayView2, ArrayViewMut2, s};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What happens to a call.
pub(crate) enum Verdict {
    Pass,
    /// The call fails.
    Fail,
    /// This row is not finite.
    Spoil(usize),
    /// This row, and all behind it, are not written.
    Forget(usize),
    Panic,
}

/// The digits' network behind a judge of every call.
pub(crate) struct Probe<F> {
    network: Digits,
    judge: F,
}

impl<F: FnMut(&[Row]) -> Verdict + Send + 'static> Probe<F> {
    pub(crate) fn new(network: &Digits, judge: F) -> Self {
        let network = network.clone();
        Self { network, judge }
    }
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Fault {
    Planted,
    Network(digits_network::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planted => write!(f, "a planted fault"),
            Self::Network(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

impl<F: FnMut(&[Row]) -> Verdict + Send + 'static> Network for Probe<F> {
    type Error = Fault;

    fn model(&self) -> Model {
        self.network.model()
    }

    fn forward(
        &mut self,
        x: ArrayView2<'_, f32>,
        rows: &[Row],
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Fault> {
        let verdict = (self.judge)(rows);
        let written = match verdict {
            Verdict::Forget(row) => row,
            _ => rows.len(),
        };
        let (x, rows) = (x.slice(s![..written, ..]), rows.get(..written));
        let out_of = out.slice_mut(s![..written, ..]);
        let passed = self.network.forward(x, rows.unwrap_or(&[]), out_of);
        passed.map_err(Fault::Network)?;
        match verdict {
            Verdict::Pass | Verdict::Forget(_) => {}
            Verdict::Fail => return Err(Fault::Planted),
            Verdict::Spoil(row) => out.row_mut(row).fill(f32::INFINITY),
            // Without a message of the panic's own on the screen.
            Verdict::Panic => std::panic::resume_unwind(Box::new("planted")),
        }
        Ok(())
    }
}

/// The far end of a gate: every call says its rows, and waits to be let through.
pub(crate) struct Gate {
    calls: UnboundedReceiver<Vec<Row>>,
    permits: Option<UnboundedSender<()>>,
}

impl Gate {
    /// The rows of the next call, which waits.
    pub(crate) async fn call(&mut self) -> super::Result<Vec<Row>> {
        let call = tokio::time::timeout(std::time::Duration::from_secs(60), self.calls.recv());
        Ok(call.await?.ok_or("the engine is gone")?)
    }

    /// Lets one call through.
    pub(crate) fn pass(&self) {
        if let Some(permits) = &self.permits {
            let _ = permits.send(());
        }
    }

    /// Lets all calls through from now on.
    pub(crate) fn open(&mut self) {
        self.permits = None;
    }
}

/// A network behind a gate.
pub(crate) fn gated(
    network: &Digits,
) -> (Probe<impl FnMut(&[Row]) -> Verdict + Send + use<>>, Gate) {
    let (calls, received) = unbounded_channel();
    let (permits, mut permitted) = unbounded_channel();
    let judge = move |rows: &[Row]| {
        let _ = calls.send(rows.to_vec());
        // A gate that is open has no permits to give any more.
        let _ = permitted.blocking_recv();
        Verdict::Pass
    };
    let gate = Gate {
        calls: received,
        permits: Some(permits),
    };
    (Probe::new(network, judge), gate)
}
