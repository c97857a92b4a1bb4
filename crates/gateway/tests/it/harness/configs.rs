//! Configurations of one use case, `docs`, matched by the model `app`: put together from what tests differ in.

use cutover_testkit::fake::Fake;

/// A line of an upstream: what its key is.
pub(crate) const KEY: &str = "key = { env = \"KEY\" }\n";
/// A line of a variant: what it costs.
pub(crate) const PRICE: &str =
    "price = { input_usd_per_mtok = \"1\", output_usd_per_mtok = \"2\" }\n";
/// A line of a use case: whose a request is.
pub(crate) const BY_UNIT: &str = "unit = { header = \"x-unit\" }\n";

/// A variant, and the upstream that it alone is on.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    variant: &'static str,
    upstream: &'static str,
    /// Lines of the upstream: what it is and where.
    service: String,
    model: String,
    /// More lines of the variant.
    more: String,
}

impl Arm {
    /// The variant `big`, in the cloud.
    pub(crate) fn big(service: impl Into<String>) -> Self {
        Self::new(("big", "cloud"), service, "fake-model")
    }

    /// The variant `small`, on engines of one's own.
    pub(crate) fn small(service: impl Into<String>) -> Self {
        Self::new(("small", "own"), service, "fake-model")
    }

    /// The variant `theirs`: a model of a vendor's, and what it costs.
    pub(crate) fn theirs(service: impl Into<String>, model: &str) -> Self {
        Self::new(("theirs", "vendor"), service, model).with(PRICE)
    }

    fn new(
        (variant, upstream): (&'static str, &'static str),
        service: impl Into<String>,
        model: &str,
    ) -> Self {
        let (service, model) = (service.into(), model.to_owned());
        Self { variant, upstream, service, model, more: String::new() }
    }

    /// With more lines for the variant.
    pub(crate) fn with(mut self, lines: &str) -> Self {
        self.more = lines_of(&[&self.more, lines]);
        self
    }
}

/// The baseline, perhaps a candidate, and more lines of the use case.
pub(crate) fn docs_on(arms: &[Arm], more: &str) -> String {
    let mut text = String::new();
    for Arm { upstream, service, .. } in arms {
        text += &lines_of(&[&format!("[upstreams.{upstream}]"), service]);
    }
    for Arm { variant, upstream, model, more, .. } in arms {
        let head = format!("[variants.{variant}]\nupstream = \"{upstream}\"\nmodel = \"{model}\"");
        text += &lines_of(&[&head, more]);
    }
    let roles = ["baseline", "candidate"].into_iter().zip(arms);
    let roles: Vec<_> = roles.map(|(role, arm)| format!("{role} = \"{}\"", arm.variant)).collect();
    let matched = "[use_cases.docs]\nmatch = { model = \"app\" }";
    lines_of(&[&text, matched, &roles.join("\n"), more])
}

/// These texts one under the other.
fn lines_of(texts: &[&str]) -> String {
    let whole = texts.iter().map(|text| text.trim_end()).filter(|text| !text.is_empty());
    whole.chain([""]).collect::<Vec<_>>().join("\n")
}

/// The lines of an upstream that say what it is and where.
pub(crate) fn service(provider: &str, base_url: &str) -> String {
    format!("provider = \"{provider}\"\nbase_url = \"{base_url}\"\n")
}

/// The same of several instances.
pub(crate) fn engines(provider: &str, instances: &[&Fake]) -> String {
    let urls: Vec<_> = instances.iter().map(|fake| fake.base_url()).collect();
    format!("provider = \"{provider}\"\ninstances = {urls:?}")
}

/// One upstream, `own`.
pub(crate) fn one_arm(upstream: &str) -> String {
    docs_on(&[Arm::small(upstream)], "")
}

/// Two arms; what no use case takes goes where the baseline is.
pub(crate) fn two_arms(baseline: &str, candidate: &str, weight: &str) -> String {
    let (baseline, candidate) =
        (service("openai-compatible", baseline), service("llamacpp", candidate));
    let arms = [Arm::big(baseline), Arm::small(candidate)];
    let docs = docs_on(&arms, &format!("{BY_UNIT}weight = \"{weight}\""));
    format!("default_upstream = \"cloud\"\n{docs}")
}
