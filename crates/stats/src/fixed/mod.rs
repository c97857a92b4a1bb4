//! Tests and intervals for one look at a sample of a size chosen beforehand: bake-offs and reports.
//!
//! Looking again and again and stopping when it pleases breaks every guarantee here; the rest of the
//! crate is for that.

mod bootstrap;
mod difference;
mod paired;
mod proportion;
mod quantile;
mod rank;
mod size;

pub use bootstrap::{Cluster, Resampling, ratio_bootstrap};
pub use difference::{miettinen_nurminen, newcombe};
pub use paired::{Discordance, holm, mcnemar_exact, tango_interval, tango_z};
pub use proportion::{clopper_pearson, wilson};
pub use quantile::{Clustered, clustered_quantile, dkw_quantile, dkw_radius};
pub use rank::{RankComparison, mann_whitney_exact};
pub use size::{Power, minimum_margin_paired, pairs_needed, units_per_arm, units_to_detect};
