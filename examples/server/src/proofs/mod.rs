//! What is proved, one file each.

mod alone;
mod hello;
mod killed;
mod manners;
mod neighbours;
mod probe;
mod shutdown;
mod throughput;

use diffusion_sampler_server::Digits;

pub(crate) use killed::{SERVE, serve};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub(crate) async fn all(network: &Digits) -> Result<()> {
    hello::run(network).await?;
    neighbours::prove(network).await?;
    manners::prove(network).await?;
    shutdown::prove(network).await?;
    killed::prove(network).await?;
    throughput::measure(network).await
}
