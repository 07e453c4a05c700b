//! A result never depends on the neighbours.

use std::time::Duration;

use diffusion_sampler::Clip;
use diffusion_sampler_server::{Client, Digits, Failure, Handle, Request, Server, Settings};
use ndarray::Array2;
use tokio::time::sleep;

use super::{Result, alone};

/// In which order the requests come, and how many rows a call may have.
const ORDERS: [(&str, usize); 3] = [
    ("as they are listed", 64),
    ("from the last to the first", 24),
    ("all at once", 8),
];

/// Requests that are cancelled on their way, and have more steps than anybody would wait for.
const CANCELLED: u64 = 6;
const ENDLESS: usize = 4000;

pub(crate) async fn prove(network: &Digits) -> Result<()> {
    let requests = alone::requests()?;
    let mut hashes = Vec::new();
    for request in &requests {
        hashes.push(alone::hash_of(network, request)?);
    }
    let mut different = hashes.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(
        different.len(),
        requests.len(),
        "requests that are alike prove little"
    );

    println!(
        "{} requests, and {CANCELLED} that are cancelled:",
        requests.len()
    );
    for (order, rows) in ORDERS {
        let settings = Settings {
            rows,
            ..Settings::default()
        };
        let server = Server::start(network.clone(), settings)?;
        let found = together(&server, &requests, order).await?;
        assert_eq!(
            found, hashes,
            "{order}: some request is not what it is alone"
        );
        let stats = server.drain().await?;
        assert_eq!((stats.done, stats.failed), (requests.len(), 0));
        assert_eq!(stats.cancelled as u64, CANCELLED);
        assert!(stats.largest <= rows);
        let (calls, mean) = (stats.calls, stats.mean_rows());
        println!("  {order}, up to {rows} rows: hashes as alone; {calls} calls of {mean:.1} rows");
    }
    Ok(())
}

/// The hashes of all requests, in their own order.
async fn together(server: &Server, requests: &[Request], order: &str) -> Result<Vec<u64>> {
    let mut tasks = Vec::new();
    for (place, request) in requests.iter().enumerate() {
        let delay = match order {
            "as they are listed" => place,
            "from the last to the first" => requests.len() - place,
            _ => 0,
        };
        let (client, request) = (server.client().clone(), request.clone());
        tasks.push(tokio::spawn(async move {
            sleep(Duration::from_millis(delay as u64)).await;
            followed(&client, request).await
        }));
    }
    let cancelled = (0..CANCELLED).map(|number| {
        let request = Request {
            samples: 2,
            ..alone::request(1000 + number, 7, ENDLESS)
        };
        let client = server.client().clone();
        tokio::spawn(async move { cancelled(&client, request).await })
    });
    for task in cancelled.collect::<Vec<_>>() {
        task.await??;
    }
    let mut hashes = Vec::new();
    for (task, request) in tasks.into_iter().zip(requests) {
        let samples = task.await??;
        assert_eq!(samples.dim(), (request.samples, digits_network::PIXELS));
        hashes.push(alone::hash(&samples));
    }
    Ok(hashes)
}

/// The samples of a request whose progress is read on the way.
async fn followed(client: &Client, request: Request) -> std::result::Result<Array2<f32>, Failure> {
    let handle = client.submit(request.clone()).await?;
    let mut progress = handle.progress();
    let (mut last, mut preview) = (0, None);
    let clipped = request.clip.is_some() && request.clip == Clip::new(-1.0, 1.0).ok();
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        assert!(now.step > last && now.step <= now.of, "progress goes on");
        assert_eq!(now.preview.is_some(), request.previews);
        // What is clipped is the estimate of x₀, and not the state.
        if let Some(preview) = now.preview.as_ref().filter(|_| clipped) {
            assert!(preview.iter().all(|x| x.abs() <= 1.0));
        }
        (last, preview) = (now.step, now.preview);
        if now.step == now.of {
            break;
        }
    }
    assert_eq!(last, progress.borrow().of, "the last step is told");
    let samples = handle.samples().await?;
    // DDIM's last step leads to the estimate itself: x₀ is what was shown last.
    if let (Some(preview), "DDIM") = (preview, &*request.sampler) {
        let differences = preview.iter().zip(&samples).map(|(a, b)| (a - b).abs());
        let difference = differences.fold(0.0, f32::max);
        assert!(difference < 1e-4, "{difference}");
    }
    Ok(samples)
}

/// Cancels a request after some steps, by its canceller or by dropping the handle.
async fn cancelled(client: &Client, request: Request) -> std::result::Result<(), Failure> {
    let by_drop = request.id.is_multiple_of(2);
    let handle: Handle = client.submit(request).await?;
    let mut progress = handle.progress();
    while progress.borrow_and_update().step < 3 {
        assert!(progress.changed().await.is_ok());
    }
    if by_drop {
        drop(handle);
        // The engine lets go of it.
        while progress.changed().await.is_ok() {}
    } else {
        handle.canceller().cancel();
        let answer = handle.samples().await;
        let in_time = |step| (3..ENDLESS).contains(&step);
        assert!(matches!(answer, Err(Failure::Cancelled { step }) if in_time(step)));
    }
    Ok(())
}
