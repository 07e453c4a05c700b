//! Samplers of distilled models, and those that go up again.

use super::entry::{Entry, Library, Names, entry};
use crate::solver::{Belm, FirstOrder, Heun, Lcm, RePaint, Restart, Tcd};

pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "LCM", Lcm::new().without_boundary(), "Luo et al. 2023";
        ComfyUi["lcm"],
        Automatic1111["LCM"]
            "It has the boundary scalings of LCMScheduler.",
        Diffusers["FlowMatchLCMScheduler", "FlowMatchEulerDiscreteScheduler stochastic_sampling"],
        StableDiffusionCpp["lcm"],
    ),
    entry!(
        "LCM with boundary", Lcm::new(), "Luo et al. 2023";
        Diffusers["LCMScheduler"]
            "Its list of times is part of it: the spacing \"lcm\".",
    ),
    entry!(
        "TCD", Tcd::new(0.3)?, "Zheng et al. 2024";
        Diffusers["TCDScheduler"]
            "Its list of times is part of it, and its last step ends at index 0: the spacing \
             \"lcm\", with Grid::ending_at.",
        StableDiffusionCpp["tcd"]
            "γ, there eta, is 0 by default.",
    ),
    entry!(
        "Restart", Restart::new(Heun::new()).with_interval(0.1, 2.0, 1, 9)?.on_grids_from(11),
        "Xu et al. 2023";
        Automatic1111["Restart"]
            "Its number of steps counts the nine of the restart too; from 36 on there are two \
             restarts, see Restart::of_steps. Its automatic spacing is Karras.",
    ),
    entry!(
        "RePaint", RePaint::new(FirstOrder::ddim(), 10, 10)?, "Lugmayr et al. 2022";
        Diffusers["RePaintScheduler"]
            "Here the known part is put back by editing::Inpaint.",
    ),
    entry!(
        "BELM", Belm::new(), "Wang et al. 2024";
        Elsewhere["O-BELM"],
    ),
];
