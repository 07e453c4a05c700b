//! All that a client writes: the README's lines.

use diffusion_sampler_server::{Digits, Guide, Request, Server, Settings};

use super::Result;

pub(crate) async fn run(network: &Digits) -> Result<()> {
    let server = Server::start(network.clone(), Settings::default())?;
    let handle = server.client().submit(Request {
        samples: 2,
        guide: Guide::Free { scale: 3.0 },
        previews: true,
        ..Request::new(1, 7, "DPM++ 2M Karras", 20)
    });
    let handle = handle.await?;
    let mut progress = handle.progress();
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update();
        assert!(now.step <= now.of && now.preview.is_some());
    }
    let samples = handle.samples().await?;
    assert_eq!(samples.dim(), (2, digits_network::PIXELS));
    println!(
        "a request for 2 samples of class 7 gave {:?}",
        samples.dim()
    );
    Ok(())
}
