//! Batches against one request after the other.

use std::time::{Duration, Instant};

use diffusion_sampler_server::{Digits, Guide, Request, Server, Settings, Stats};

use super::{Result, alone};

const REQUESTS: u64 = 48;
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
    let fastest = best.iter().map(|(_, time, _)| *time).min();
    assert!(
        fastest.is_some_and(|time| time < single),
        "batches are slower"
    );
    Ok(())
}

fn request(number: u64) -> Request {
    Request {
        guide: Guide::Free { scale: 2.0 },
        ..alone::request(number, number as usize % 10, 10)
    }
}

async fn batched(network: &Digits, requests: &[Request], rows: usize) -> Result<(Duration, Stats)> {
    let settings = Settings {
        rows,
        ..Settings::default()
    };
    let server = Server::start(network.clone(), settings)?;
    let began = Instant::now();
    let mut handles = Vec::new();
    for request in requests {
        handles.push(server.client().submit(request.clone()).await?);
    }
    for handle in handles {
        handle.samples().await?;
    }
    let time = began.elapsed();
    Ok((time, server.drain().await?))
}
