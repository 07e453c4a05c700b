//! The end of a server: everybody who waits is answered.

use std::fs;
use std::time::Duration;

use diffusion_sampler::Error;
use diffusion_sampler_server::{Client, Digits, Failure, Request, Server, Settings, Store, Stored};
use ndarray::Array2;
use tokio::time::timeout;

use super::killed::Folder;
use super::probe::{Probe, Verdict, gated};
use super::{Result, alone};

pub(crate) async fn prove(network: &Digits) -> Result<()> {
    stop(network).await?;
    drain(network).await?;
    for (drains, idle) in [(false, false), (false, true), (true, false), (true, true)] {
        held_up(network, drains, idle).await?;
    }
    println!("a client that waits and is held up: the server ends all the same");
    panic(network).await?;
    stored(network).await?;
    a_store_that_is_gone(network).await
}

fn narrow() -> Settings {
    Settings {
        places: 1,
        queue: 1,
        ..Settings::default()
    }
}

/// One request runs, one has a place in the queue, one waits for such a place.
async fn stop(network: &Digits) -> Result<()> {
    let (probe, mut gate) = gated(network);
    let server = Server::start(probe, narrow())?;
    let client = server.client().clone();
    let running = client.submit(alone::request(1, 1, 5)).await?;
    gate.call().await?;
    let queued = client.submit(alone::request(2, 2, 5)).await?;
    let waiting = tokio::spawn(ask(client.clone(), alone::request(3, 3, 5)));
    tokio::task::yield_now().await;
    let stopped = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    gate.open();
    let answers = [
        running.samples().await,
        queued.samples().await,
        waiting.await?,
    ];
    for answer in answers {
        assert!(matches!(answer, Err(Failure::Stopped)), "{answer:?}");
    }
    assert_eq!(stopped.await??.done, 0);
    let late = client.submit(alone::request(4, 4, 5)).await;
    assert!(matches!(late, Err(Failure::Stopped)));
    println!("stopped: running, queued and waiting requests are told so");
    Ok(())
}

/// From the question to the answer.
async fn ask(client: Client, request: Request) -> std::result::Result<Array2<f32>, Failure> {
    client.submit(request).await?.samples().await
}

async fn drain(network: &Digits) -> Result<()> {
    let (probe, mut gate) = gated(network);
    let server = Server::start(probe, narrow())?;
    let client = server.client().clone();
    let requests = [alone::request(1, 1, 5), alone::request(2, 2, 5)];
    let [first, second] = requests.clone();
    let running = client.submit(first).await?;
    gate.call().await?;
    let queued = client.submit(second).await?;
    let drained = tokio::spawn(server.drain());
    tokio::task::yield_now().await;
    gate.open();
    for (handle, request) in [running, queued].into_iter().zip(&requests) {
        let hash = alone::hash_of(network, request)?;
        assert_eq!(alone::hash(&handle.samples().await?), hash);
    }
    assert_eq!(drained.await??.done, 2);
    let late = client.submit(alone::request(4, 4, 5)).await;
    assert!(matches!(late, Err(Failure::Stopped)));
    println!("drained: what was accepted is finished, nothing more is accepted");
    Ok(())
}

/// A client waits for a place in the queue, and is given it, but its task is held up. A server ends
/// all the same, whether it works then or waits for work.
async fn held_up(network: &Digits, drains: bool, idle: bool) -> Result<()> {
    let (probe, mut gate) = gated(network);
    let places = if idle { 1 } else { 2 };
    let server = Server::start(probe, Settings { places, ..narrow() })?;
    let client = server.client().clone();
    let mut handles = vec![client.submit(alone::request(1, 1, 5)).await?];
    gate.call().await?;
    handles.push(client.submit(alone::request(2, 2, 5)).await?);
    let waiting = client.submit(alone::request(3, 3, 5));
    tokio::pin!(waiting);
    // It is asked once, and then not until the end.
    assert!(timeout(Duration::ZERO, &mut waiting).await.is_err());
    if idle {
        gate.open();
        for handle in handles.drain(..) {
            handle.samples().await?;
        }
    } else {
        gate.pass();
        gate.call().await?;
    }
    let ended = tokio::spawn(async move {
        match drains {
            true => server.drain().await,
            false => server.stop().await,
        }
    });
    tokio::task::yield_now().await;
    gate.open();
    let ended = timeout(Duration::from_secs(60), ended).await;
    let stats = ended.map_err(|_| "the server does not end")???;
    assert_eq!(stats.done, if idle || drains { 2 } else { 0 });
    for handle in handles {
        assert_eq!(handle.samples().await.is_ok(), drains);
    }
    assert!(matches!(waiting.await, Err(Failure::Stopped)));
    Ok(())
}

async fn panic(network: &Digits) -> Result<()> {
    let mut calls = 0;
    let probe = Probe::new(network, move |_| {
        calls += 1;
        if calls < 3 {
            Verdict::Pass
        } else {
            Verdict::Panic
        }
    });
    let server = Server::start(probe, narrow())?;
    let asked = [(1, 1), (2, 2)].map(|(id, class)| {
        let client = server.client().clone();
        tokio::spawn(ask(client, alone::request(id, class, 5)))
    });
    for answer in asked {
        assert!(matches!(answer.await?, Err(Failure::Stopped)));
    }
    assert!(matches!(server.stop().await, Err(Failure::Stopped)));
    println!("a network that panics: all are told that the server stopped");
    Ok(())
}

/// What a stopped server stored goes on in the next one, and nowhere where it does not belong.
async fn stored(network: &Digits) -> Result<()> {
    let folder = Folder::new("stopped")?;
    let (probe, mut gate) = gated(network);
    let store = Store::new(&folder.0)?;
    let settings = |every| Settings {
        store: Some((store.clone(), every)),
        ..Settings::default()
    };
    let server = Server::start(probe, settings(usize::MAX))?;
    let request = alone::request(1, 1, 8);
    let handle = server.client().submit(request.clone()).await?;
    for _ in 0..3 {
        gate.call().await?;
        gate.pass();
    }
    gate.call().await?;
    let stopped = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    gate.open();
    assert!(matches!(handle.samples().await, Err(Failure::Stopped)));
    assert_eq!(stopped.await??.files, 1);

    let loaded = store.load()?;
    assert!(loaded.refused.is_empty() && loaded.done.is_empty());
    let [stored] = &loaded.running[..] else {
        return Err("one request was running".into());
    };
    assert_eq!((&stored.request, stored.snapshot.step), (&request, 4));
    let server = Server::start(network.clone(), settings(1))?;
    let mut other = stored.clone();
    other.network ^= 1;
    let other = server.client().resume(other).await;
    assert!(matches!(other, Err(Failure::OtherNetwork { .. })));
    let mut other = stored.clone();
    other.request.steps = 9;
    let other = server.client().resume(other).await;
    let another_plan = |error: &_| matches!(error, Error::SnapshotOfAnotherPlan { .. });
    assert!(matches!(other, Err(Failure::Refused(error)) if another_plan(&error)));
    let resumed = server.client().resume(stored.clone()).await?;
    let hash = alone::hash_of(network, &request)?;
    assert_eq!(alone::hash(&resumed.samples().await?), hash);
    let stats = server.drain().await?;
    assert!(stats.store_errors.is_empty(), "{:?}", stats.store_errors);
    assert!(!folder.0.join("1.run").exists());
    assert_eq!(store.load()?.done, [1]);
    assert_eq!(alone::hash(&store.samples(1)?), hash);
    println!("stopped and stored: the next server goes on at step 4 of 8, to the same hash");
    an_id_used_again(&store, stored)?;
    let mut other = stored.clone();
    other.request.id = 2;
    a_cancelled_run_is_not_resumed(network, &store, &other).await?;
    steps_since_the_last_snapshot(network, &store, &other).await
}

/// A server that is killed between the result and the removal of the snapshot has both files. They
/// may also be of two requests: a client may use its id again when it has the result.
fn an_id_used_again(store: &Store, stored: &Stored) -> Result<()> {
    for (seed, running) in [(stored.request.seed + 1, 1), (stored.request.seed, 0)] {
        let mut again = stored.clone();
        again.request.seed = seed;
        store.keep(&again)?;
        let loaded = store.load()?;
        assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
        assert_eq!(
            (loaded.running.len(), loaded.done.len()),
            (running, 1 - running)
        );
        assert_eq!(store.load()?.running.len(), running);
    }
    println!("an id that is used again: its result and its snapshot are told apart");
    Ok(())
}

/// What nobody wants any more is not stored any more.
async fn a_cancelled_run_is_not_resumed(
    network: &Digits,
    store: &Store,
    stored: &Stored,
) -> Result<()> {
    store.keep(stored)?;
    assert_eq!(store.load()?.running.len(), 1);
    let (probe, mut gate) = gated(network);
    let settings = Settings {
        store: Some((store.clone(), 1)),
        ..Settings::default()
    };
    let server = Server::start(probe, settings)?;
    let handle = server.client().resume(stored.clone()).await?;
    gate.call().await?;
    handle.canceller().cancel();
    gate.open();
    let answer = handle.samples().await;
    assert!(matches!(answer, Err(Failure::Cancelled { .. })));
    server.drain().await?;
    assert!(store.load()?.running.is_empty());
    println!("a run that is cancelled is not resumed");
    Ok(())
}

/// A run that goes on is stored where it has come to, not where it began.
async fn steps_since_the_last_snapshot(
    network: &Digits,
    store: &Store,
    stored: &Stored,
) -> Result<()> {
    let (probe, mut gate) = gated(network);
    let settings = Settings {
        store: Some((store.clone(), 1)),
        ..Settings::default()
    };
    let server = Server::start(probe, settings)?;
    let handle = server.client().resume(stored.clone()).await?;
    for _ in 0..2 {
        gate.call().await?;
        gate.pass();
    }
    gate.call().await?;
    let stopped = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    gate.open();
    assert!(matches!(handle.samples().await, Err(Failure::Stopped)));
    stopped.await??;
    let steps = store
        .load()?
        .running
        .into_iter()
        .map(|run| run.snapshot.step);
    assert_eq!(steps.collect::<Vec<_>>(), [stored.snapshot.step + 3]);
    Ok(())
}

/// A store whose folder is removed: samples come all the same, and the server that runs says what
/// is wrong, so that it can be mended.
async fn a_store_that_is_gone(network: &Digits) -> Result<()> {
    let folder = Folder::new("gone")?;
    let store = Store::new(&folder.0)?;
    let settings = Settings {
        store: Some((store.clone(), usize::MAX)),
        ..Settings::default()
    };
    let server = Server::start(network.clone(), settings)?;
    assert_eq!(server.stats().calls, 0);
    fs::remove_dir_all(&folder.0)?;
    for id in 1..=2 {
        let request = alone::request(id, 1, 5);
        let samples = server.client().submit(request.clone()).await?;
        let hash = alone::hash(&samples.samples().await?);
        assert_eq!(hash, alone::hash_of(network, &request)?);
        let stats = server.stats();
        assert_eq!((stats.done, stats.samples), (id as usize, id as usize));
        // The second has its file.
        assert_eq!(
            (stats.files, stats.store_errors.len()),
            (id as usize - 1, 1)
        );
        let path = folder.0.join("1.samples").display().to_string();
        let named = |error: &String| error.starts_with(&path);
        assert!(stats.store_errors.iter().all(named), "{stats:?}");
        Store::new(&folder.0)?;
    }
    let shown = server.stats();
    println!(
        "a store that is gone, while the server runs: {}",
        shown.store_errors.join(", ")
    );
    assert_eq!(store.load()?.done, [2]);
    assert_eq!(server.drain().await?.store_errors, shown.store_errors);
    Ok(())
}
