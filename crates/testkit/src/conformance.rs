//! The vendors' own test suites and specifications as judges of a gateway.
//!
//! ```text
//! vendor's suite ---------------------------------> Mock (Steady + the vendor's specification)
//!        \--> gateway, perhaps another dialect ---> Mock          the same tests pass, or a row of
//!                                                                 the table says why not
//! ```
//!
//! Contract: [`Mock`] passes each request to Steady, which answers 400 where it departs from the
//! specification, and remembers what Steady said; [`run`] runs a vendor's tests and returns what became
//! of each; [`Table`] holds the differences that are meant, and fails on any other and on a row that no
//! test needs any more. [`Discovery`] is the same for an API of Google's, whose description the mock does
//! not read.

mod discovery;
mod generated;
mod mock;
mod suite;
mod table;

pub use discovery::Discovery;
pub use generated::{Generated, generated};
pub use mock::{Judged, Mock};
pub use suite::{Results, Run, Vendor, run};
pub use table::{Compared, Table};
