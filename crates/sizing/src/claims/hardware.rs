//! Claims about machines and models that are not what they are called.

use super::{Article, Claim, Finding, Holds};
use crate::catalogue;
use crate::hardware::gpu;
use cutover_units::Wrong;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "hetzner-ax102",
        article: Article::CaseStudy,
        said: "Hetzner AX102: 2 x RTX 4090 for 109 USD a month",
        check: || {
            rented("rtx4090", 2, 109.0, "the AX102 is a server without a GPU (general knowledge)")
        },
    },
    Claim {
        name: "ovh-t1-180",
        article: Article::CaseStudy,
        said: "OVHcloud T1-180: 3 x RTX 3090 Ti for 180 USD a month",
        check: || {
            let what =
                "t1-180 has four Tesla V100 (general knowledge); even for the older RTX 3090";
            rented("rtx3090", 3, 180.0, what)
        },
    },
    Claim {
        name: "gcp-g2-standard-48",
        article: Article::CaseStudy,
        said: "GCP g2-standard-48: 4 x L4 for 720 USD a month",
        check: || rented("l4", 4, 720.0, "the GPUs are right, the price is not"),
    },
    Claim {
        name: "aws-p4d",
        article: Article::CaseStudy,
        said: "AWS p4d.24xlarge: 8 x A100 40 GB for 28,800 USD a month",
        check: || Ok(listed(28_800.0)),
    },
    Claim {
        name: "llama-3.2-8b",
        article: Article::Budget,
        said: "a local Llama 3.2 8B on one A6000",
        check: no_such_model,
    },
];

/// Hours of a month.
const HOURS: f64 = 730.0;

/// The claimed price of a month beside the lowest rent that the catalogue has seen.
fn rented(name: &str, count: u32, said: f64, what: &str) -> Result<Finding, Wrong> {
    let gpu = gpu(name)?;
    let rent = gpu.rent.ok_or_else(|| Wrong::new("no rent was ever seen"))?;
    let month = f64::from(count) * rent.usd_per_hour * HOURS;
    Ok(Finding {
        holds: if month <= said { Holds::Partly } else { Holds::No },
        figures: vec![("month_usd", month)],
        words: format!(
            "{what}; {count} of them cost {month:.0} USD a month at the lowest rent seen ({} USD/h, {})",
            rent.usd_per_hour, rent.source
        ),
    })
}

/// The claimed price of an hour beside the provider's list prices. No rent of that card was ever seen.
fn listed(said: f64) -> Finding {
    const LISTED: [f64; 2] = [32.77, 21.96];
    let hour = said / HOURS;
    let [before, later] = LISTED;
    Finding {
        holds: if LISTED.iter().any(|listed| *listed >= hour) { Holds::Partly } else { Holds::No },
        figures: vec![
            ("hour_usd", hour),
            ("month_usd", before * HOURS),
            ("later_usd", later * HOURS),
        ],
        words: format!(
            "that would be {hour:.2} USD/h; its list price was {before} ({:.0} a month) and later about {later} \
             ({:.0}) (general knowledge)",
            before * HOURS,
            later * HOURS
        ),
    }
}

fn no_such_model() -> Result<Finding, Wrong> {
    let finding = |holds, words| Finding { holds, figures: Vec::new(), words };
    let found =
        catalogue::find("llama3.2:8b").map(|_| finding(Holds::Yes, "it is there".to_owned()));
    found.or_else(|wrong| Ok(finding(Holds::No, wrong.problem)))
}
