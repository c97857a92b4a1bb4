//! The case study: 60M + 25M tokens a month, 4,200 USD before and 152 USD after.

use super::{Article, Claim, Finding, Holds, money, month, months, n, ratio, recomputed};
use crate::nano::Nano;
use crate::words::{percent, short};
use cutover_units::Wrong;

macro_rules! claim {
    ($name:literal, $said:literal, $check:expr) => {
        Claim { name: $name, article: Article::CaseStudy, said: $said, check: $check }
    };
}

pub(super) const CLAIMS: &[Claim] = &[
    claim!("case-4200", "GPT-4 Turbo for 60M + 25M tokens a month: 4,200 USD", bill),
    claim!("case-4830", "15 % more: 4,830 USD a month, 58,000 a year", dearer),
    claim!("case-49092", "yearly saving: (4,200 - 109) x 12 = 49,092 USD", || {
        let found = (n("4200")? - n("109")?).times(n("12")?);
        Ok(recomputed(
            "year",
            n("49092")?,
            found,
            "the sum is right, without the fallback that the same article pays".into(),
        ))
    }),
    claim!("case-fallback", "13 % of the requests fall back to the cloud, for 43 USD", fallback),
    claim!("case-96-percent", "152 instead of 4,200 USD a month: 96.4 % saved", share),
    claim!("case-145728", "three years save 145,728 USD", three_years),
    claim!("case-0.7-months", "two RTX 4090 for 3,000 USD pay back in 0.7 months", || {
        let found = ratio(n("3000")?, n("4091")?);
        Ok(Finding {
            holds: Holds::Partly,
            figures: vec![("months", found)],
            words: format!(
                "{} is 3,000 / 4,091: the price of two cards without a computer, and a saving that does not come out",
                months(found)
            ),
        })
    }),
    claim!(
        "case-six-weeks",
        "paid back in 6 weeks; in 0.7 months; return in 2 to 3 months",
        payback
    ),
    claim!("case-latency", "p50, p95, p99 better by 44, 47 and 66 %", latency),
    claim!("case-97-percent", "89 instead of 92 points: 97 % of the quality", || {
        let found = ratio(n("89")?, n("92")?);
        Ok(Finding {
            holds: Holds::Partly,
            figures: vec![("share", found)],
            words: format!(
                "{}; without the number of judged answers it may be no difference or six points",
                percent(found)
            ),
        })
    }),
    claim!("case-nps", "user NPS 4.3/5 before and 4.5/5 after; identical user NPS (4.5/5)", || {
        let found = n("4.5")? - n("4.3")?;
        Ok(Finding {
            holds: Holds::No,
            figures: vec![("difference", found)],
            words: format!(
                "the table has +{}, the questions \"identical\"; and a mean of five stars is no Net Promoter Score, which goes from -100 to 100",
                short(found, 1)
            ),
        })
    }),
    claim!("case-50k-tokens", "below 50,000 tokens a month the API costs less than 50 USD", small),
];

const TOKENS: [&str; 2] = ["60M", "25M"];

fn bill() -> Result<Finding, Wrong> {
    let (turbo, gpt4) = (month(TOKENS, ["10", "30"])?, month(TOKENS, ["30", "60"])?);
    let raised = turbo.times(n("1.2")?);
    let implied = ratio(n("4200")?, n("85")?);
    let words = format!(
        "{} at 10 and 30 USD per million, {} with the 20 % that it says were added, {} even for GPT-4; 4,200 would be {} USD per million",
        money(turbo),
        money(raised),
        money(gpt4),
        short(implied, 1)
    );
    let found = recomputed("turbo", n("4200")?, turbo, words);
    Ok(Finding {
        figures: vec![("turbo", turbo), ("raised", raised), ("gpt4", gpt4), ("implied", implied)],
        ..found
    })
}

fn dearer() -> Result<Finding, Wrong> {
    let month = n("4200")?.times(n("1.15")?);
    let year = month.times(n("12")?);
    let words = format!(
        "{} a month, {} a year: the sums are right, the 4,200 are not",
        money(month),
        money(year)
    );
    let found = recomputed("month", n("4830")?, month, words);
    Ok(Finding { figures: vec![("month", month), ("year", year)], ..found })
}

fn fallback() -> Result<Finding, Wrong> {
    let share = n("0.13")?;
    let (said, real) = (n("4200")?.times(share), month(TOKENS, ["10", "30"])?.times(share));
    let saved = ratio(n("4200")? - n("109")? - said, n("4200")?);
    Ok(Finding {
        holds: Holds::No,
        figures: vec![
            ("of_4200", said),
            ("of_1350", real),
            ("saved", saved),
            ("share_of_43", ratio(n("43")?, n("4200")?)),
        ],
        words: format!(
            "13 % of 4,200 is {}, of 1,350 {}; 43 USD are {}. With {} the saving is {}, not 96.4 %",
            money(said),
            money(real),
            percent(ratio(n("43")?, n("4200")?)),
            money(said),
            percent(saved)
        ),
    })
}

fn share() -> Result<Finding, Wrong> {
    let found = ratio(n("4200")? - n("152")?, n("4200")?);
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("share", found)],
        words: format!(
            "{}: the division is right, three of its figures are not (4,200, 43, and 109 for two GPUs)",
            percent(found)
        ),
    })
}

fn three_years() -> Result<Finding, Wrong> {
    let found = n("4048")?.times(n("36")?);
    let words = "4,048 x 36; without the project's cost, any hour of operation, and any change of prices in three years";
    Ok(Finding { holds: Holds::Partly, ..recomputed("total", n("145728")?, found, words.into()) })
}

fn payback() -> Result<Finding, Wrong> {
    let months = ratio(n("6")?.times(n("12")?), n("52")?);
    let project = n("4048")?.times(months);
    Ok(Finding {
        holds: Holds::No,
        figures: vec![("project", project)],
        words: format!(
            "three different times for one project; 6 weeks mean that it cost {}, which the three-year sum leaves out",
            money(Nano(project.up().0))
        ),
    })
}

fn latency() -> Result<Finding, Wrong> {
    let better =
        |before: &str, after: &str| Ok::<_, Wrong>(ratio(n(before)? - n(after)?, n(before)?));
    let found = [better("3.2", "1.8")?, better("5.8", "3.1")?, better("12.4", "4.2")?];
    let [p50, p95, p99] = found.map(percent);
    Ok(Finding {
        holds: Holds::Yes,
        figures: vec![("p50", found[0]), ("p95", found[1]), ("p99", found[2])],
        words: format!(
            "{p50}, {p95} and {p99} of the stated times; whether that machine makes them stands under fit and speed"
        ),
    })
}

fn small() -> Result<Finding, Wrong> {
    let blended = ratio(month(TOKENS, ["10", "30"])?, n("85")?);
    let found = blended.times(n("0.05")?);
    let bought = ratio(n("50")?, blended);
    Ok(Finding {
        holds: Holds::No,
        figures: vec![("month", found), ("bought_millions", bought)],
        words: format!(
            "less than 1: {} USD at GPT-4 Turbo's prices and its own mixture; 50 USD buy {} million tokens",
            short(found, 2),
            short(bought, 1)
        ),
    })
}
