//! Do raters agree, and which of several variants do they prefer?
//!
//! | | for | missing ratings |
//! |---|---|---|
//! | [`cohen`] | two raters, nominal | no |
//! | [`fleiss`] | a fixed number of raters, nominal | no |
//! | [`krippendorff()`] | any number, nominal to ratio: the default | yes |
//! | [`bradley_terry()`] | strengths from comparisons | - |
//!
//! All are for one look at a finished sample. An agreement of 0.8 is good, from 0.667 on tentative
//! conclusions are possible (Krippendorff 2004); below it, mend the instructions before the model.

mod bradley_terry;
mod kappa;
mod krippendorff;

pub use bradley_terry::{Comparison, RankError, Rating, Won, bradley_terry};
pub use kappa::{Kappa, cohen, fleiss};
pub use krippendorff::{AgreementError, Level, Unit, krippendorff, krippendorff_interval};
