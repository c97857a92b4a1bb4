//! What every command needs: where it writes, how it ends, which config file and state directory it is
//! for, and the way to a running cutover.
//!
//! The verbs stand above: those that plan in a crate of their own, the rest in the binary. The only place
//! of the product that reads the environment ([`mod@env`]) and, with it, the wall clock ([`clock`]).

pub mod clock;
pub mod env;
pub mod exit;
pub mod files;
pub mod operator;
pub mod reading;
pub mod surroundings;
pub mod table;
pub mod term;
