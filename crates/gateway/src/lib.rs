//! The path of a request: listeners, phases in order, streaming.
//!
//! ```text
//! server > answering > ingress > caller > decide > adapt > attempt > stream > record
//!                                     any error > rescue
//! ```
//!
//! - [`Gateway`] answers requests from one immutable picture ([`Live`]) that is swapped as a whole.
//! - `attempt` asks upstreams until one answers; once content has reached the client nothing is
//!   asked again.
//! - `rescue` is the only module that makes error responses.
//! - An `Exchange` counts and records its request when it is dropped, whatever ended it; it also tells
//!   the use case's [`Feed`], and hands a sampled request to [`shadow`].
//!
//! - `foreign` turns requests of other dialects (Anthropic, Responses, Ollama) into OpenAI's at the edge,
//!   and their answers back; nothing between knows of them.
//!
//! - `passthrough` passes the rest of the OpenAI surface on, untouched and streamed both ways.
//!
//! Invariants: no lock is held across an await; nothing here waits for the disk, or for the store
//! but `responses`, where a request asks for what is stored; prompt and completion text is in no log line, no metric and no record.

mod admission;
mod affinity;
mod answer;
mod answering;
mod attempt;
mod body;
pub mod build;
mod caller;
mod context_guard;
mod continuation;
mod decide;
mod dialects;
mod drains;
mod endurance;
mod exchange;
pub mod explain;
mod feedback;
mod flow;
mod foreign;
mod gateway;
mod infer;
mod live;
mod models;
mod ollama;
mod overflow;
mod passthrough;
mod prices;
pub mod probes;
mod prompts;
mod rescue;
mod resolving;
mod responses;
pub mod shadow;
mod stream;
mod structured;
mod vendor;
mod visit;

pub use admission::{Door, Held};
pub use cutover_server::{BodyLimits, Doors, open_files};
pub use cutover_telemetry::{FEED_FIRST, FEED_MAX};
pub use cutover_upstream::jobs::{Job, NotBegun};
pub use cutover_upstream::{Gauge, health};
pub use drains::Drained;
/// What live requests of a use case tell the controller.
pub type Feed = cutover_telemetry::Feed<cutover_rollout::Exposure>;
pub use cutover_images::ImageLane;
pub use gateway::{Clock, Gateway, Parts};
pub use live::{InstanceLane, Lane, Limits, Live, ModelEntry, UpstreamLane, UseCaseLane};
pub use ollama::{Line, Stage};
pub use overflow::OverflowLane;
pub use passthrough::SurfaceLane;
pub use prompts::LanePrompt;
pub use resolving::{NameStatus, Resolved};
pub use responses::{KeptAnswers, Looking, Unavailable, Writing};
