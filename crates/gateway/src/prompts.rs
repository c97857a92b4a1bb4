//! A variant's prompt on the way of a request.
//!
//! Nearly every prompt is rendered when the picture is built, and a request then costs nothing more
//! than one without. Only a prompt that names values of the request is rendered for each.
//!
//! A variant whose prompt is not known, because the database could not be read, answers no chat: one without its
//! prompt, or with another, would be somebody else's answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use cutover_config::{Adaptation, PromptVersion};
use cutover_prompts::{Place, Rendered, Speaker};
use cutover_route::UseCase;
use cutover_units::Code;
use cutover_wire::{Endpoint, Example, Fault, Framing, StructuredOutput, Target};
use http::HeaderValue;

use crate::live::{Lane, Live};

/// A prompt out of the store.
#[derive(Debug, Clone)]
pub struct LanePrompt {
    /// `NAME@3`, as a header.
    pub(crate) header: HeaderValue,
    /// `NAME@3`, for records.
    pub(crate) reference: Arc<str>,
    /// Whether its version is not known: the reference is the config file's then.
    awaited: bool,
    /// What is rendered for each request; none where that was done already.
    per_request: Option<PerRequest>,
}

#[derive(Debug, Clone)]
struct PerRequest {
    version: Arc<PromptVersion>,
    adaptation: Adaptation,
}

impl LanePrompt {
    /// The prompt of a variant, if it has one in the store.
    pub(crate) fn of(adaptation: &Adaptation) -> Option<Self> {
        let Some(version) = &adaptation.version else {
            let reference = adaptation.prompt.as_ref()?.to_string().into();
            let header = HeaderValue::from_static("");
            return Some(Self { header, reference, awaited: true, per_request: None });
        };
        let header = HeaderValue::from_str(&version.reference).ok()?;
        let rendered_later = || PerRequest {
            version: Arc::clone(version),
            adaptation: Adaptation { version: None, ..adaptation.clone() },
        };
        let per_request = version.fixed().is_none().then(rendered_later);
        let reference = Arc::clone(&version.reference);
        Some(Self { header, reference, awaited: false, per_request })
    }
}

/// What a variant puts around every request's messages; none if nothing.
pub(crate) fn framing(
    adaptation: &Adaptation,
    system_prompt: Option<String>,
) -> Option<Arc<Framing>> {
    let fixed = adaptation.version.as_ref().and_then(|version| version.fixed());
    let mut framing = fixed.map(frame).unwrap_or_default();
    if let Some(text) = system_prompt {
        framing.system_before = Some(text);
    }
    finished(framing, adaptation)
}

fn finished(mut framing: Framing, adaptation: &Adaptation) -> Option<Arc<Framing>> {
    framing.folds_system = adaptation.folds_system;
    if let Some(instruction) = &adaptation.format_instruction {
        framing = framing.with_instruction(instruction);
    }
    (!framing.is_empty()).then(|| Arc::new(framing))
}

fn frame(rendered: &Rendered) -> Framing {
    let mut framing = Framing {
        user_before: rendered.user_before.clone(),
        user_after: rendered.user_after.clone(),
        examples: rendered
            .examples
            .iter()
            .map(|(speaker, text)| Example {
                by_model: *speaker == Speaker::Assistant,
                text: text.clone(),
            })
            .collect(),
        ..Framing::default()
    };
    if let Some((place, text)) = &rendered.system {
        let side = match place {
            Place::Append => &mut framing.system_after,
            Place::Prepend | Place::Replace => &mut framing.system_before,
        };
        *side = Some(text.clone());
        framing.replaces_system = *place == Place::Replace;
    }
    framing
}

/// How a form of the answer is asked for.
pub(crate) fn structured(configured: cutover_config::StructuredOutput) -> StructuredOutput {
    use cutover_config::StructuredOutput as Configured;
    match configured {
        Configured::Native => StructuredOutput::Native,
        Configured::Grammar => StructuredOutput::Grammar,
        Configured::JsonMode => StructuredOutput::JsonMode,
        Configured::InstructAndRepair => StructuredOutput::Repair,
    }
}

impl Lane {
    /// The target of a request: the lane's own, or one with the prompt as this request's metadata fill it in.
    pub fn target_for(
        &self,
        endpoint: Endpoint,
        metadata: impl Fn(&str) -> Option<String>,
    ) -> Result<Cow<'_, Target>, Fault> {
        if endpoint == Endpoint::ChatCompletions && self.awaited_prompt().is_some() {
            let message = "the prompt of what answers this request is not known at the moment";
            return Err(Fault::new(Code::PromptUnavailable, message));
        }
        let per_request = self.prompt.as_ref().and_then(|prompt| prompt.per_request.as_ref());
        let Some(PerRequest { version, adaptation }) = per_request else {
            return Ok(Cow::Borrowed(&self.target));
        };
        if endpoint != Endpoint::ChatCompletions {
            return Ok(Cow::Borrowed(&self.target));
        }
        let metadata: BTreeMap<String, String> = version
            .metadata()
            .filter_map(|name| Some((name.to_owned(), metadata(name)?)))
            .collect();
        let rendered = version.render(&metadata).map_err(|problem| {
            // The line and the kind of the problem, never a text: this goes to the client.
            let message = format!(
                "the prompt {} of this request's variant cannot be filled in with its metadata: {problem}",
                version.reference
            );
            Fault::of(Code::InvalidValue, "metadata", message)
        })?;
        let mut target = self.target.clone();
        target.settings.framing = finished(frame(&rendered), adaptation);
        Ok(Cow::Owned(target))
    }

    /// Whether its prompt is another for each request, by its metadata.
    pub(crate) fn fills_prompts_in(&self) -> bool {
        self.prompt.as_ref().is_some_and(|prompt| prompt.per_request.is_some())
    }

    /// The version of its prompt, such as `extraction@3`.
    pub fn prompt_version(&self) -> Option<&str> {
        self.prompt.as_ref().filter(|prompt| !prompt.awaited).map(|prompt| &*prompt.reference)
    }

    /// The prompt that it cannot answer without, as the config file names it, while it is not known.
    pub fn awaited_prompt(&self) -> Option<&str> {
        self.prompt.as_ref().filter(|prompt| prompt.awaited).map(|prompt| &*prompt.reference)
    }

    /// The prompt that a request to an endpoint is answered with.
    pub(crate) fn prompt_at(&self, endpoint: Endpoint) -> Option<&LanePrompt> {
        let known = self.prompt.as_ref().filter(|prompt| !prompt.awaited);
        known.filter(|_| endpoint == Endpoint::ChatCompletions)
    }
}

impl Live {
    /// The variants that await their prompt, and whether a use case is served by them today.
    pub fn awaited_prompts(&self) -> Vec<(String, bool)> {
        let variants = self.snapshot.variants().iter().zip(self.lanes.iter()).enumerate();
        let awaited = variants.filter_map(|(at, (variant, lane))| {
            let serves = |of: &UseCase| usize::from(of.baseline.0) == at;
            let text =
                format!("{}, the prompt of variant {}", lane.awaited_prompt()?, variant.name);
            Some((text, self.snapshot.use_cases().iter().any(serves)))
        });
        awaited.collect()
    }
}
