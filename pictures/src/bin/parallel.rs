//! Prototype.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    use diffusion_sampler::{registry, schedule::TableSchedule, Prediction, oracle::Oracle};
    use ndarray::Array2;
    use pictures::{digits::Digits, model};
    let digits = Digits::load()?;
    let mixture = model::fit(&digits, 1)?;
    let network = digits_network::Network::trained()?;
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let classes = [0, 1, 2, 3];
    for kind in ["mixture", "network"] {
    for name in ["DDIM trailing", "DPM++ 2M trailing", "DDPM trailing"] {
        for steps in [20, 100] {
            for v in [0.0, 0.03, 0.1, 0.3, 1.0, 10.0, f64::INFINITY] {
                print!("{kind} {name} {steps} v={v}: ");
                for tol in [1e-6, 1e-4, 1e-3, 1e-2] {
                    let sampler = registry::sampler(name)?.sampler(&schedule, steps)?;
                    let parallel = sampler.parallel(steps, tol)?.with_data_variance(v)?;
                    let (report, e);
                    if kind == "mixture" {
                        let mut m = (&mixture).denoiser(Prediction::Noise);
                        let seq: Array2<f32> = sampler.sample(&mut m, (4, 64), 1)?;
                        let (p, r) = parallel.sample(&mut m, (4, 64), 1)?;
                        let d: Array2<f32> = &p - &seq;
                        e = (d.mapv(|x| x * x).sum() / seq.mapv(|x| x * x).sum()).sqrt();
                        report = r;
                    } else {
                        let mut m = network.denoiser(&classes)?;
                        let seq: Array2<f32> = sampler.sample(&mut m, (4, 64), 1)?;
                        let (p, r) = parallel.sample(&mut m, (4, 64), 1)?;
                        let d: Array2<f32> = &p - &seq;
                        e = (d.mapv(|x| x * x).sum() / seq.mapv(|x| x * x).sum()).sqrt();
                        report = r;
                    }
                    print!("  {tol:.0e}: {} sweeps {} rows {e:.1e} ", report.sweeps(), report.rows());
                }
                println!();
            }
        }
    }
    }
    Ok(())
}
