//! How the server treats its clients: back-pressure, cancelling, late joiners, errors, turns.

use std::time::Duration;

use diffusion_sampler::Error;
use diffusion_sampler_server::{Digits, Failure, Guide, Request, Row, Server, Settings};
use tokio::time::timeout;

use super::probe::{Probe, Verdict, gated};
use super::{Result, alone};

pub(crate) async fn prove(network: &Digits) -> Result<()> {
    back_pressure(network).await?;
    for by_drop in [false, true] {
        a_cancelled_request_frees_its_place(network, by_drop).await?;
    }
    a_late_joiner_shares_the_next_call(network).await?;
    bad_requests_are_refused(network).await?;
    a_failing_request_harms_no_other(network).await?;
    a_forgotten_row_is_not_another_call_s(network).await?;
    nobody_starves(network).await
}

/// One place, and a queue of so many.
fn narrow(queue: usize) -> Settings {
    Settings {
        places: 1,
        queue,
        ..Settings::default()
    }
}

async fn back_pressure(network: &Digits) -> Result<()> {
    let (probe, mut gate) = gated(network);
    let server = Server::start(probe, narrow(2))?;
    let client = server.client().clone();
    let request = |id| alone::request(id, id as usize, 3);
    let mut handles = vec![client.submit(request(0)).await?];
    gate.call().await?;
    // The place is taken; two may wait, and the next has to.
    for id in 1..3 {
        handles.push(client.submit(request(id)).await?);
    }
    let refused = client.try_submit(request(3));
    assert!(matches!(refused, Err(Failure::Busy { places: 2 })));
    let waiting = client.submit(request(3));
    tokio::pin!(waiting);
    let early = timeout(Duration::from_millis(20), &mut waiting).await;
    assert!(early.is_err(), "a full queue accepted a request");
    gate.open();
    handles.push(waiting.await?);
    for (id, handle) in handles.into_iter().enumerate() {
        let hash = alone::hash_of(network, &request(id as u64))?;
        assert_eq!(alone::hash(&handle.samples().await?), hash);
    }
    assert_eq!(server.drain().await?.done, 4);
    println!("a full queue makes clients wait, or tells them that it is full");
    Ok(())
}

async fn a_cancelled_request_frees_its_place(network: &Digits, by_drop: bool) -> Result<()> {
    let (probe, mut gate) = gated(network);
    let server = Server::start(probe, narrow(2))?;
    let (first, second) = (alone::request(1, 1, 50), alone::request(2, 2, 3));
    let handle = server.client().submit(first).await?;
    let next = server.client().submit(second.clone()).await?;
    assert_eq!(classes(&gate.call().await?), [Some(1)]);
    let cancelled = match by_drop {
        true => {
            drop(handle);
            None
        }
        false => {
            handle.canceller().cancel();
            Some(handle)
        }
    };
    // The call that is under way is the last one of the first request.
    gate.pass();
    assert_eq!(classes(&gate.call().await?), [Some(2)]);
    gate.open();
    if let Some(handle) = cancelled {
        assert!(matches!(
            handle.samples().await,
            Err(Failure::Cancelled { step: 1 })
        ));
    }
    let hash = alone::hash_of(network, &second)?;
    assert_eq!(alone::hash(&next.samples().await?), hash);
    let stats = server.drain().await?;
    assert_eq!((stats.done, stats.cancelled, stats.calls), (1, 1, 4));
    let how = if by_drop { "dropped" } else { "cancelled" };
    println!("a request that is {how} frees its place at the next tick");
    Ok(())
}

fn classes(rows: &[Row]) -> Vec<Option<usize>> {
    rows.iter().map(|row| row.class).collect()
}

async fn a_late_joiner_shares_the_next_call(network: &Digits) -> Result<()> {
    let (probe, mut gate) = gated(network);
    let server = Server::start(probe, Settings::default())?;
    let early = Request {
        sampler: "Heun".to_owned(),
        ..alone::request(1, 4, 6)
    };
    let late = Request {
        samples: 2,
        guide: Guide::Free { scale: 3.0 },
        ..alone::request(2, 5, 4)
    };
    let first = server.client().submit(early.clone()).await?;
    for _ in 0..3 {
        assert_eq!(classes(&gate.call().await?), [Some(4)]);
        gate.pass();
    }
    gate.call().await?;
    let second = server.client().submit(late.clone()).await?;
    let twin = server.client().submit(alone::request(1, 4, 6)).await?;
    gate.pass();
    let rows = gate.call().await?;
    // The late one's rows with the class, then those without; each request at a level of its own.
    assert_eq!(classes(&rows), [Some(4), Some(5), Some(5), None, None]);
    let levels: Vec<f64> = rows.iter().map(|row| row.level.lambda()).collect();
    assert!(matches!(levels[..], [a, b, c, d, e] if a > b && b == c && c == d && d == e));
    gate.open();
    let twin = twin.samples().await;
    assert!(matches!(twin, Err(Failure::Duplicate { id: 1 })));
    for (request, handle) in [(early, first), (late, second)] {
        let hash = alone::hash_of(network, &request)?;
        assert_eq!(alone::hash(&handle.samples().await?), hash);
    }
    println!("a late joiner shares the next call, at a level of its own");
    Ok(())
}

async fn bad_requests_are_refused(network: &Digits) -> Result<()> {
    let server = Server::start(network.clone(), Settings::default())?;
    let client = server.client();
    let refused = |change: fn(&mut Request)| {
        let mut request = alone::request(1, 1, 4);
        change(&mut request);
        client.try_submit(request).map(|handle| handle.id()).err()
    };
    use Failure::{Refused, Rows, UnknownClass};
    let name = refused(|request| request.sampler = "DPM++ 2N".to_owned());
    assert!(matches!(name, Some(Refused(Error::UnknownName { .. }))));
    let steps = refused(|request| request.steps = 0);
    assert!(matches!(
        steps,
        Some(Refused(Error::StepCount { steps: 0, .. }))
    ));
    let class = refused(|request| request.class = 10);
    assert!(matches!(
        class,
        Some(UnknownClass {
            class: 10,
            classes: 10
        })
    ));
    let none = refused(|request| request.samples = 0);
    assert!(matches!(none, Some(Rows { rows: 0, most: 64 })));
    let many = refused(|request| {
        (request.samples, request.guide) = (33, Guide::Free { scale: 2.0 });
    });
    assert!(matches!(many, Some(Rows { rows: 66, most: 64 })));
    let scale = refused(|request| request.guide = Guide::Free { scale: f64::NAN });
    assert!(matches!(
        scale,
        Some(Refused(Error::InvalidParameter { .. }))
    ));
    let [plain, free, other] = plus_plus(&refused);
    for failure in [name, steps, class, none, many, scale, plain, free, other]
        .into_iter()
        .flatten()
    {
        println!("refused at once: {failure}");
    }
    let zero = Settings {
        places: 0,
        ..Settings::default()
    };
    let endless = Settings {
        queue: usize::MAX,
        ..Settings::default()
    };
    for settings in [zero, endless] {
        assert!(Server::start(network.clone(), settings).is_err());
    }
    Ok(())
}

/// Names for CFG++ want its guide, and it wants them.
fn plus_plus(refused: &impl Fn(fn(&mut Request)) -> Option<Failure>) -> [Option<Failure>; 3] {
    let with = [
        refused(|request| request.sampler = "Euler CFG++".to_owned()),
        refused(|request| {
            request.sampler = "Euler CFG++ Karras".to_owned();
            request.guide = Guide::Free { scale: 3.0 };
        }),
        refused(|request| request.guide = Guide::PlusPlus { lambda: 0.6 }),
    ];
    use Failure::{NeedsPlusPlus, NotForPlusPlus};
    assert!(matches!(
        &with,
        [Some(NeedsPlusPlus { .. }), Some(NeedsPlusPlus { sampler }), Some(NotForPlusPlus { .. })]
            if sampler == "Euler CFG++ Karras"
    ));
    let both = refused(|request| {
        request.sampler = "Euler CFG++".to_owned();
        request.guide = Guide::PlusPlus { lambda: 0.6 };
    });
    assert!(both.is_none());
    with
}

/// The class whose rows are not finite, that whose calls fail, and one that is well.
const SPOILT: usize = 3;
const FAILING: usize = 4;
const WELL: usize = 5;

async fn a_failing_request_harms_no_other(network: &Digits) -> Result<()> {
    let mut calls = 0;
    let probe = Probe::new(network, move |rows| {
        calls += 1;
        let of = |class| rows.iter().position(|row| row.class == Some(class));
        match (of(FAILING), of(SPOILT)) {
            (Some(_), _) if calls > 2 => Verdict::Fail,
            (None, Some(row)) if calls > 5 => Verdict::Spoil(row),
            _ => Verdict::Pass,
        }
    });
    let server = Server::start(probe, Settings::default())?;
    let request = |id: u64, class| Request {
        samples: 2,
        guide: Guide::Rescaled {
            scale: 3.0,
            phi: 0.5,
        },
        ..alone::request(id, class, 20)
    };
    let wanted = [WELL, FAILING, WELL, SPOILT, WELL];
    let mut handles = Vec::new();
    for (id, class) in wanted.into_iter().enumerate() {
        handles.push(server.client().submit(request(id as u64, class)).await?);
    }
    for (handle, class) in handles.into_iter().zip(wanted) {
        let hash = alone::hash_of(network, &request(handle.id(), class))?;
        match (class, handle.samples().await) {
            (FAILING, Err(failure @ Failure::Network(_)))
            | (SPOILT, Err(failure @ Failure::Run(Error::NonFinite { sample: 0, .. }))) => {
                println!("alone in its failure: {failure}");
            }
            (WELL, Ok(samples)) => assert_eq!(alone::hash(&samples), hash),
            (_, answer) => return Err(format!("class {class}: {answer:?}").into()),
        }
    }
    assert_eq!(server.drain().await?.done, 3);
    Ok(())
}

/// A network that does not write a row: the request fails, and gets no row of an earlier call.
async fn a_forgotten_row_is_not_another_call_s(network: &Digits) -> Result<()> {
    let mut calls = 0;
    let probe = Probe::new(network, move |_| {
        calls += 1;
        if calls < 3 {
            Verdict::Pass
        } else {
            Verdict::Forget(1)
        }
    });
    let server = Server::start(probe, Settings::default())?;
    let request = Request {
        samples: 2,
        ..alone::request(1, 1, 5)
    };
    let answer = server.client().submit(request).await?.samples().await;
    let not_finite = |error: &_| matches!(error, Error::NonFinite { sample: 1, .. });
    assert!(matches!(answer, Err(Failure::Run(error)) if not_finite(&error)));
    println!("a row that the network forgets: the request fails");
    Ok(())
}

/// A request that needs a whole call, among a dozen small ones.
async fn nobody_starves(network: &Digits) -> Result<()> {
    let settings = Settings {
        rows: 8,
        ..Settings::default()
    };
    let (probe, mut gate) = gated(network);
    let server = Server::start(probe, settings)?;
    let mut others = Vec::new();
    for id in 0..12 {
        others.push(server.client().submit(alone::request(id, 1, 30)).await?);
        if id == 0 {
            gate.call().await?;
        }
    }
    let large = Request {
        samples: 4,
        guide: Guide::Free { scale: 2.0 },
        ..alone::request(12, 2, 10)
    };
    let hash = alone::hash_of(network, &large)?;
    let answer = server.client().submit(large).await?;
    gate.pass();
    // Two calls serve the twelve others once; the third is the large one's.
    let mut turns = Vec::new();
    for _ in 0..30 {
        let rows = gate.call().await?;
        turns.push(rows.iter().filter(|row| row.class != Some(1)).count());
        gate.pass();
    }
    let own = turns.iter().filter(|rows| **rows == 8).count();
    assert_eq!(own, 10, "{turns:?}");
    gate.open();
    assert_eq!(alone::hash(&answer.samples().await?), hash);
    let stats = server.drain().await?;
    assert_eq!((stats.longest_wait, stats.largest), (2, 8));
    println!("nobody starves: a request of 8 rows has every third call among 12 of 1");
    Ok(())
}
