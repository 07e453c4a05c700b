//! Batches against one request after the other.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use diffusion_sampler_server::{Digits, Guide, Request, Server, Settings, Stats};

use super::probe::{Probe, Verdict};
use super::{Result, alone};

const REQUESTS: u64 = 48;
const STEPS: usize = 10;
const ROUNDS: usize = 3;

pub(crate) async fn measure(network: &Digits) -> Result<()> {
    let requests: Vec<Request> = (0..REQUESTS).map(request).collect();
    let images: usize = requests.iter().map(|request| request.samples).sum();
    println!("{images} images by {REQUESTS} requests of 1, best of {ROUNDS} rounds:");
    let mut single = Duration::MAX;
    let mut best = Vec::new();
    // In turns, so that a busy machine slows all of them down.
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for request in &requests {
            alone::samples(network, request)?;
        }
        single = single.min(began.elapsed());
        for (place, rows) in [8, 32, 96].into_iter().enumerate() {
            let (time, stats) = batched(network, &requests, rows).await?;
            match best.get_mut(place) {
                None => best.push((rows, time, stats)),
                Some(known) if time < known.1 => *known = (rows, time, stats),
                Some(_) => {}
            }
        }
    }
    let rate = |time: Duration| images as f64 / time.as_secs_f64();
    println!("  one by one      {:6.0} images/s", rate(single));
    for (rows, time, stats) in &best {
        let ratio = single.as_secs_f64() / time.as_secs_f64();
        let (speed, calls, mean) = (rate(*time), stats.calls, stats.mean_rows());
        let share = 100.0 * stats.sampler_share();
        println!(
            "  up to {rows:2} rows   {speed:6.0} images/s, {ratio:.1} times as many; \
             {calls} calls of {mean:.1} rows, sampler {share:.0} % of the time"
        );
    }
    Ok(())
}

fn request(number: u64) -> Request {
    Request {
        guide: Guide::Free { scale: 2.0 },
        ..alone::request(number, number as usize % 10, STEPS)
    }
}

async fn batched(network: &Digits, requests: &[Request], rows: usize) -> Result<(Duration, Stats)> {
    let settings = Settings {
        rows,
        ..Settings::default()
    };
    // The first call waits until all requests are there: the calls are then the same every time.
    let (hold, held) = channel::<()>();
    let held = Probe::new(network, move |_| {
        let _ = held.recv();
        Verdict::Pass
    });
    let server = Server::start(held, settings)?;
    let began = Instant::now();
    let mut handles = Vec::new();
    for request in requests {
        handles.push(server.client().submit(request.clone()).await?);
    }
    drop(hold);
    for handle in handles {
        handle.samples().await?;
    }
    let time = began.elapsed();
    let stats = server.drain().await?;
    // With the class and without it at every step. Calls are full, but for the first, which is made
    // of what is there by then, and the last ones.
    let all = 2 * requests.len() * STEPS;
    assert_eq!(stats.rows, all);
    let least = all.div_ceil(rows);
    let found = stats.calls;
    assert!(
        (least..least + 4).contains(&found),
        "{found} calls, {least} would do"
    );
    Ok((time, stats))
}
