//! Statistics for decisions that someone may look at every minute.
//!
//! Purpose: say from counts and scores whether a candidate is proved good enough, proved harmful, or
//! neither yet. The sequential half is valid at every look and needs no plan of looks; the fixed-n half
//! (bake-offs, reports) is for one look at a sample whose size was chosen beforehand.
//!
//! | | tests | state |
//! |---|---|---|
//! | [`Betting`], [`FractionClaim`] (E1) | a bounded mean: paired quality, canary error margin under any ramp, SLO fraction | 20 sums; counts |
//! | [`RateRatio`] (E2) | the ratio of two event rates | 8 sums |
//! | [`SampleRatio`] (E3) | the split of units itself | counts |
//! | [`Quantile`] (E4) | a quantile, by ranks | the caller's histogram |
//! | [`QuantilePair`] (E4) | the same quantile in two arms | sorted observations |
//! | [`Asymptotic`] (E5) | an unbounded mean, for reports | [`Moments`] |
//! | [`stratified_difference`] (E6) | a difference over the steps of a ramp, for reports | counts |
//! | [`ClusterSums`] | the spread of a rate whose requests hang together, for reports | 200 buckets |
//! | [`certify`] | the threshold of a cascade | items |
//! | [`Detector`] | harm that begins late, forever | one sum per bet |
//! | [`PairTally`], [`CanaryTally`] | confidence sequences for E1 and E2 | counts |
//! | [`Draws`] | chance from a seed | one word |
//! | [`fixed`] | one look: proportions, differences, pairs, bootstrap, sample sizes | none |
//!
//! Contract: pure arithmetic on the caller's numbers, chance from the caller's seed. A refused
//! observation changes nothing. States are serde values that continue to the last bit after a restart;
//! where order does not matter they merge. Observing is O(1) and allocates nothing.
//!
//! Invariants: no observation, no evidence (`log_e` is 0, intervals are the whole range). Evidence is a
//! natural logarithm and proves a claim at level alpha from ln(1/alpha) on. Every process assumes one
//! value per randomised unit and window; each module says what else it assumes and how it fails.

mod asymptotic;
pub mod betting;
mod certify;
mod claims;
mod clusters;
mod detector;
mod draws;
pub mod exact;
pub mod fixed;
mod fraction;
mod level;
pub mod mixture;
mod quantile;
mod quantile_pair;
pub mod ratio;
mod special;
mod srm;
mod stratified;
mod tally;
#[cfg(test)]
mod test_support;

pub use asymptotic::{Asymptotic, Moments, OBSERVATIONS_MIN};
pub use betting::Betting;
pub use certify::{CalibrationItem, CascadeClaim, Certificate, certify};
pub use claims::{CanaryClaim, Direction, PairClaim};
pub use clusters::{BUCKETS, ClusterRate, ClusterSums};
pub use detector::Detector;
pub use draws::Draws;
pub use fraction::{FractionClaim, fraction_interval};
pub use level::{Alpha, Arm, Count, Interval, Invalid, LogE, Mismatch, Share};
pub use quantile::{Quantile, Ranks, Relation, relate};
pub use quantile_pair::QuantilePair;
pub use ratio::{RateRatio, RatioClaim};
pub use special::{normal_cdf, normal_quantile};
pub use srm::{SampleRatio, split_chi_square, split_log_e};
pub use stratified::{StratifiedDifference, pooled_difference, stratified_difference};
pub use tally::{ArmCounts, CanaryTally, Pair, PairTally, Score};
