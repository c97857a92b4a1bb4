//! The report: it is well-formed, fetches nothing, and has every figure of the JSON.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_tco::analysis::{Analysis, analyse};
use cutover_tco::scenario::Draft;
use cutover_tco::{html, json};
use proptest::prelude::*;
use serde_json::Value;

const ALL: &[&str] = &[
    "title=Docs & <b>more</b>",
    "workload.requests=100k..200k",
    "workload.prompt_tokens=500",
    "workload.answer_tokens=200",
    "workload.growth=2%",
    "plan.hour_rate=80",
    "today.name=\"GPT\" 'x'",
    "today.input=10",
    "today.output=30",
    "cheaper.input=0.15",
    "cheaper.output=0.6",
    "hosted.input=0.9",
    "hosted.output=0.9",
    "hosted.fallback=5%",
    "rent.per_hour=0.5..0.8",
    "rent.ops_hours=4..10",
    "own.capex=3600",
    "own.power=0.45",
    "own.kwh_price=0.3",
    "own.tokens_per_second=100",
];

fn judged(assignments: &[&str]) -> Analysis {
    let mut draft = Draft::default();
    for one in assignments {
        draft.assign(one).unwrap();
    }
    analyse(draft.finish().unwrap()).unwrap()
}

/// The elements' names in order of closing; every one that opens must close, in order, with quoted attributes.
fn parse(page: &str) -> Vec<String> {
    const VOID: &[&str] = &["!DOCTYPE", "meta"];
    let (mut open, mut closed): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        assert!(
            !rest[..at].contains('>'),
            "a bare > before {:?}",
            &rest[at..(at + 20).min(rest.len())]
        );
        rest = &rest[at + 1..];
        let end = rest.find('>').unwrap();
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closes another element");
            closed.push(name.to_owned());
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap().to_owned();
        if name == "style" {
            rest = &rest[rest.find("</style>").unwrap()..];
        }
        if tag.ends_with('/') || VOID.contains(&name.as_str()) {
            closed.push(name);
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    closed
}

fn numbers(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| numbers(one, out)),
        Value::Object(all) => all.values().for_each(|one| numbers(one, out)),
        Value::String(text) if text.parse::<f64>().is_ok() => out.push(text.clone()),
        _ => {}
    }
}

#[test]
fn the_page_is_well_formed_and_stands_alone() {
    let page = html::report(&judged(ALL));
    let elements = parse(&page);
    let count = |name: &str| elements.iter().filter(|other| *other == name).count();
    assert_eq!((count("svg"), count("h1"), count("main"), count("script")), (2, 1, 1, 0));
    for fetched in ["http:", "https:", "url(", "@import", "src=", "href=", " on", "<link"] {
        let found = page.split(fetched).nth(1).is_some() && fetched != " on";
        assert!(!found, "{fetched} is in the page");
    }
    assert!(page.contains("Docs &amp; &lt;b&gt;more&lt;/b&gt;") && !page.contains("<b>more"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    assert_eq!(count("caption"), count("table"));
    assert!(page.matches("role=\"img\"").count() == 2 && page.matches("<desc ").count() == 2);
    // The verdict comes before any chart or table.
    let (verdict, chart) = (page.find("<h1").unwrap(), page.find("<svg").unwrap());
    assert!(verdict < chart && chart < page.find("<table").unwrap());
}

#[test]
fn every_figure_of_the_json_is_in_the_page() {
    let found = judged(ALL);
    let page = html::report(&found);
    let value = json::analysis(&found);
    let mut all = Vec::new();
    numbers(&value, &mut all);
    assert!(all.len() > 300, "{}", all.len());
    for figure in all {
        assert!(page.contains(&format!("<data value=\"{figure}\">")), "{figure} is missing");
    }
    for text in [&value["verdict"]["sentence"], &value["notes"][0]] {
        let escaped = text.as_str().unwrap().replace('"', "&quot;").replace('\'', "&#39;");
        assert!(page.contains(&escaped), "{escaped}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_name_breaks_the_page(name in "\\PC{0,40}", capex in 0u64..10_000_000) {
        let name = format!("own.name={name}");
        let capex = format!("own.capex={capex}");
        parse(&html::report(&judged(&[&ALL[1..9], &[&name, &capex, "own.power=1", "own.kwh_price=0"]].concat())));
    }
}
