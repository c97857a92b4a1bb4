//! "Scaling AI inference on a budget", and the enterprise case studies.

use super::{Article, Claim, Finding, Holds, money, month, n, ratio};
use crate::words::percent;
use cutover_units::Wrong;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "budget-50-times",
        article: Article::Budget,
        said: "0.0003 instead of 0.015 USD per request: 50 times less",
        check: fifty,
    },
    Claim {
        name: "budget-per-request",
        article: Article::Budget,
        said: "a self-hosted request costs 0.0003 USD",
        check: per_request,
    },
    Claim {
        name: "budget-68-percent",
        article: Article::Budget,
        said: "the inference budget fell by 68 % in the first quarter",
        check: cut,
    },
    Claim {
        name: "enterprise-savings",
        article: Article::Enterprise,
        said: "API costs of thousands of dollars a month, substantial savings",
        check: enterprise,
    },
];

fn fifty() -> Result<Finding, Wrong> {
    let found = ratio(n("0.015")?, n("0.0003")?);
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("times", found)],
        words: format!(
            "{found} times, if both figures were of the same kind: one is a price, the other leaves the machine out (next row)"
        ),
    })
}

fn per_request() -> Result<Finding, Wrong> {
    let requests = ratio(n("18000")?, n("0.015")?);
    let month = requests.times(n("0.0003")?);
    let card = n("1.09")?.times(n("730")?);
    Ok(Finding {
        holds: Holds::No,
        figures: vec![("requests", requests), ("month", month), ("card", card)],
        words: format!(
            "18,000 / 0.015 = 1.2M requests a month would cost {}, and one rented A6000 is {} (1.09 USD/h): a fixed cost has no price per request",
            money(month),
            money(card.up())
        ),
    })
}

fn cut() -> Result<Finding, Wrong> {
    let back = n("18000")?.times(n("0.2")?);
    let with = |hour: &str| {
        let total = n(hour)?.times(n("730")?).times(n("4")?) + back;
        Ok::<_, Wrong>((total, ratio(n("18000")? - total, n("18000")?)))
    };
    let (cards, other) = (with("0.74")?, with("1.09")?);
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("total", cards.0), ("share", cards.1), ("a6000_share", other.1)],
        words: format!(
            "four RTX 4090 at 0.74 USD/h and a fifth of the old bill are {}: {} less; with the A6000 that it names (1.09) {}. Work and growth are not in it",
            money(cards.0.up()),
            percent(cards.1),
            percent(other.1)
        ),
    })
}

fn enterprise() -> Result<Finding, Wrong> {
    let tokens = ["225M", "75M"];
    let (turbo, gpt4o) = (month(tokens, ["10", "30"])?, month(tokens, ["2.5", "10"])?);
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("turbo", turbo), ("gpt4o", gpt4o)],
        words: format!(
            "no figure to recompute. For scale: 10M tokens a day at 3:1 cost {} a month with GPT-4 Turbo, {} with GPT-4o",
            money(turbo),
            money(gpt4o)
        ),
    })
}
