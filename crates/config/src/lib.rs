//! The configuration file: text in, checked values or every problem at once out.
//!
//! ```text
//! text --parse--> tables with positions --sections--> values --references--> Checked
//!                      |                       |                     |
//!                      +-------- every problem found on the way -----+--> Vec<Problem>
//! ```
//!
//! [`check`] is pure: it reads no file and no clock, and asks the environment only through the
//! function it is given, to warn of variables that are not set. Secrets stay references
//! ([`SecretRef`]); the binary resolves them.
//!
//! Invariants:
//! - One table (the module `fields`) holds each key's type, limits, default and documentation; reader,
//!   reference and JSON Schema follow from it.
//! - [`Checked::to_toml`] writes every default out, and checking it gives the same [`Checked`].
//! - No message repeats a value that could be a secret.
//! - No text makes [`check`] panic.

mod address;
mod check;
mod checked;
mod failover;
mod fields;
mod gate_form;
mod init;
mod loading;
mod named;
mod numbers;
mod overflow;
mod place;
mod plain;
mod problem;
mod prompts;
mod providers;
mod quantity;
mod reader;
mod reference;
mod render;
mod resolve;
mod rollouts;
mod secret;
mod sections;
mod surface;
mod values;

#[cfg(test)]
mod tests;

pub use address::{BaseUrl, Reach};
pub use check::{TEXT_BYTES_MAX, check};
pub use checked::{
    Admin, Checked, ClientKeys, Embedded, ImageUrls, KeepAlive, Log, LogFormat, LogLevel, Match,
    OllamaSettings, Price, Probing, Quantization, Server, Smoothing, State, StreamUsage,
    StructuredOutput, SystemPrompt, SystemRole, Think, Timeouts, Unit, Unsupported, Upstream,
    UpstreamMessages, UseCase, Variant,
};
pub use failover::{Endurance, OnInterrupt, Retries};
pub use init::{Discovery, FoundServer, SERVICES, Service, render_init, server_at, usual_servers};
pub use loading::{Cold, Loading};
pub use named::{Holds, NamedFile};
pub use numbers::{HardwareSettings, PriceSettings};
pub use overflow::{Overflow, Queue};
pub use place::place_of;
pub use plain::toml_as_json;
pub use problem::Problem;
pub use prompts::{Adaptation, PromptUnfit, PromptVersion};
pub use providers::{PROVIDERS, Provider};
pub use quantity::{parse_duration, print_duration};
pub use reference::{json_schema, reference_markdown};
pub use render::render_rollout;
pub use resolve::Resolve;
pub use rollouts::{FileProblem, KeepTexts, ReadFile, Scorer, ShadowSettings, Webhook};
pub use secret::{HeaderValue, SecretRef, UpstreamKey};
pub use surface::{ImageSettings, SurfaceSettings};
