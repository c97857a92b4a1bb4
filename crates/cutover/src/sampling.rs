//! What both arms of a use case do where a request does not say: two arms that sample differently differ
//! for that reason, too, and no evidence can tell the reasons apart.

use cutover_config::{Checked, UseCase, Variant};

/// What stands for a setting that nobody made.
const OWN: &str = "the upstream's own";

/// Each setting and what a variant makes of it.
fn settings(checked: &Checked, variant: &Variant) -> [(&'static str, String); 5] {
    // Its conversion writes both, as the OpenAI dialect has them.
    let ollama = checked.upstreams[variant.upstream].provider.name == "ollama";
    let shown = |value: Option<String>, else_one: bool| {
        value.unwrap_or_else(|| if else_one { "1".to_owned() } else { OWN.to_owned() })
    };
    let stop = &variant.adaptation.stop;
    [
        ("temperature", shown(variant.temperature.map(|value| value.to_string()), ollama)),
        ("top_p", shown(variant.top_p.map(|value| value.to_string()), ollama)),
        ("max_tokens", shown(variant.max_tokens.map(|value| value.to_string()), false)),
        ("seed", shown(variant.seed.map(|value| value.to_string()), false)),
        ("stop", if stop.is_empty() { "none".to_owned() } else { format!("{stop:?}") }),
    ]
}

/// A use case's arms, a line each; and a warning where they differ, or where each leaves a setting to an
/// upstream of another kind.
pub(crate) fn compare(checked: &Checked, use_case: &UseCase) -> Option<(String, Option<String>)> {
    let baseline = &checked.variants[use_case.baseline];
    let candidate = &checked.variants[use_case.candidate?];
    let line = |variant: &Variant| {
        let settings = settings(checked, variant);
        let each: Vec<_> = settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        format!("  {}: {}", variant.name, each.join(", "))
    };
    let kind = |variant: &Variant| checked.upstreams[variant.upstream].provider.name;
    let foreign = kind(baseline) != kind(candidate);
    let pairs = settings(checked, baseline).into_iter().zip(settings(checked, candidate));
    let differ: Vec<_> = pairs
        .filter(|((name, one), (_, other))| {
            // A length or seed that nobody set is the same nothing everywhere; sampling is not.
            let sampling = matches!(*name, "temperature" | "top_p");
            one != other || (sampling && foreign && one == OWN)
        })
        .map(|((name, _), _)| name)
        .collect();
    let name = &use_case.name;
    let shown = format!(
        "[use_cases.{name}] sampling, where a request gives none:\n{}\n{}",
        line(baseline),
        line(candidate)
    );
    let warning = (!differ.is_empty()).then(|| {
        format!(
            "use_cases.{name}: its arms may differ in {}: set the same in both variants, or the rollout \
             compares the sampling, too",
            differ.join(", ")
        )
    });
    Some((shown, warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(baseline: &str, candidate: &str) -> (String, Option<String>) {
        let text = format!(
            "default_upstream = \"a\"\n[upstreams.a]\nprovider = \"openai\"\n[upstreams.b]\n\
             provider = \"ollama\"\n[variants.x]\nupstream = \"a\"\nmodel = \"m\"\n{baseline}\n\
             [variants.y]\nupstream = \"b\"\nmodel = \"m\"\n{candidate}\n[use_cases.u]\n\
             match = {{ model = \"u\" }}\nbaseline = \"x\"\ncandidate = \"y\"\n"
        );
        let checked = cutover_config::check(&text, "t.toml", &|_| None).unwrap();
        compare(&checked, &checked.use_cases[0]).unwrap()
    }

    #[test]
    fn arms_that_sample_differently_are_told() {
        let (shown, warning) = compared("temperature = 0.2", "");
        assert!(shown.contains("x: temperature 0.2, top_p the upstream's own"), "{shown}");
        assert!(shown.contains("y: temperature 1, top_p 1"), "{shown}");
        assert!(warning.unwrap().contains("may differ in temperature, top_p: "));
        let same = "temperature = 0.2\ntop_p = 1";
        assert_eq!(compared(same, same).1, None);
        let stop = format!("{same}\nstop = [\"END\"]");
        assert!(compared(same, &stop).1.unwrap().contains("differ in stop"));
    }
}
