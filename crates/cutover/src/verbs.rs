//! The verbs: one file each here or in `planning`, and one table of how each can end.

use crate::exit::Exit;

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod init;
pub(crate) mod instances;
pub(crate) mod key;
pub(crate) mod models;
pub(crate) mod prompt;
pub(crate) mod rollback;
pub(crate) mod rollout;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod weight;

/// One verb.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// How it can end, besides 0, 1 and 2.
    pub(crate) exits: &'static [Exit],
}

/// All verbs, in the order that help shows them.
pub(crate) const VERBS: &[Row] = &[
    Row { name: "serve", exits: &[Exit::Config] },
    Row { name: "demo", exits: &[] },
    Row { name: "init", exits: &[] },
    Row { name: "check", exits: &[Exit::Config] },
    Row { name: "audit", exits: &[] },
    Row { name: "prices", exits: &[] },
    Row { name: "size", exits: &[] },
    Row { name: "recommend", exits: &[] },
    Row { name: "tco", exits: &[] },
    Row { name: "latency", exits: &[Exit::Config] },
    Row { name: "report", exits: &[] },
    Row { name: "status", exits: &[Exit::Unreachable, Exit::Refused] },
    Row { name: "weight", exits: &[Exit::Unreachable, Exit::Refused] },
    Row { name: "rollback", exits: &[Exit::Refused, Exit::Partly] },
    Row { name: "rollout", exits: &[Exit::Config, Exit::Unreachable, Exit::Refused, Exit::Partly] },
    Row { name: "instances", exits: &[Exit::Unreachable, Exit::Refused, Exit::Partly] },
    Row { name: "models", exits: &[Exit::Unreachable, Exit::Refused] },
    Row { name: "key", exits: &[Exit::Unreachable, Exit::Refused, Exit::Partly] },
    Row { name: "prompt", exits: &[Exit::Unreachable, Exit::Refused] },
    Row { name: "backup", exits: &[] },
];
