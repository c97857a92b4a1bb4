//! The migration playbook: 100,000 requests of 500 + 200 tokens.

use super::{Article, Claim, Finding, Holds, judged, money, month, months, n, ratio, recomputed};
use crate::analysis::BreakEven;
use crate::nano::Nano;
use crate::words::{percent, short};
use cutover_units::Wrong;

macro_rules! claim {
    ($name:literal, $said:literal, $check:expr) => {
        Claim { name: $name, article: Article::Playbook, said: $said, check: $check }
    };
}

pub(super) const CLAIMS: &[Claim] = &[
    claim!("playbook-tokens", "100,000 requests of 500 + 200 tokens are 50M + 20M tokens", tokens),
    claim!("playbook-sonnet", "Claude 3.5 Sonnet for that: 150 + 300 = 450 USD a month", || {
        let found = month(TOKENS, SONNET)?;
        Ok(recomputed(
            "month",
            n("450")?,
            found,
            format!("{} a month at 3 and 15 USD per million", money(found)),
        ))
    }),
    claim!("playbook-gpt-4-turbo", "GPT-4 Turbo for that: 500 + 600 = 1,100 USD a month", || {
        let found = month(TOKENS, TURBO)?;
        Ok(recomputed(
            "month",
            n("1100")?,
            found,
            format!("{} a month at 10 and 30 USD per million", money(found)),
        ))
    }),
    claim!("playbook-cloud-3-years", "three years of Claude 3.5 Sonnet: 16,200 USD", || {
        let found = three_years()?.0;
        Ok(recomputed(
            "total",
            n("16200")?,
            found,
            format!("{}, if volume and prices stay for three years", money(found)),
        ))
    }),
    claim!(
        "playbook-own-3-years",
        "three years of one's own machine: 3,600 + 3 x 600 = 5,400 USD, 67 % saved",
        own
    ),
    claim!("playbook-electricity", "a GPU of 450 W around the clock: 400 USD a year", electricity),
    claim!("playbook-break-even", "break-even after 12 months", break_even),
    claim!("playbook-18-per-million", "Claude 3.5 Sonnet: 18 USD per million tokens", || blended(
        SONNET, "18"
    )),
    claim!("playbook-40-per-million", "GPT-4 Turbo: 40 USD per million tokens", || blended(
        TURBO, "40"
    )),
    claim!("playbook-0-per-million", "Ollama, amortized: 0.00 USD per million tokens", amortised),
    claim!(
        "playbook-billion-cloud",
        "one billion tokens a year: Claude costs 18,000 USD",
        billion_cloud
    ),
    claim!(
        "playbook-billion-own",
        "one billion tokens a year: Ollama costs 600 USD, 97 % saved",
        billion_own
    ),
    claim!("playbook-0-a-month", "Ollama (self-hosted): 0 USD a month", nothing_a_month),
    claim!("playbook-tokens-per-second", "tokens/s: 44, 38, 53, 125, 250", tokens_per_second),
];

const TOKENS: [&str; 2] = ["50M", "20M"];
const SONNET: [&str; 2] = ["3", "15"];
const TURBO: [&str; 2] = ["10", "30"];

/// The playbook's case. Its 400 USD of electricity are taken as they stand, as hosting would be.
const CASE: &[&str] = &[
    "workload.requests=100k",
    "workload.prompt_tokens=500",
    "workload.answer_tokens=200",
    "today.input=3",
    "today.output=15",
    "own.capex=3600",
    "own.power=0",
    "own.kwh_price=0",
    "own.maintenance=600",
];

fn three_years() -> Result<(Nano, Nano, BreakEven), Wrong> {
    let found = judged(CASE)?;
    let wrong = || Wrong::new("the option is missing");
    let [today, own] = &found.outcomes[..] else { return Err(wrong()) };
    let [_, likely, _] = own.break_even.ok_or_else(wrong)?;
    Ok((today.total.likely, own.total.likely, likely))
}

fn tokens() -> Result<Finding, Wrong> {
    let (input, output) = (n("100k")?.times(n("500")?), n("100k")?.times(n("200")?));
    let same = (input, output) == (n("50M")?, n("20M")?);
    Ok(Finding {
        holds: if same { Holds::Yes } else { Holds::No },
        figures: vec![("input", input), ("output", output)],
        words: "50M + 20M, 5:2".into(),
    })
}

fn own() -> Result<Finding, Wrong> {
    let (cloud, own, _) = three_years()?;
    let saved = ratio(cloud - own, cloud);
    let hour = |rate: &str| Ok::<_, Wrong>(ratio(cloud - own, n(rate)?.times(n("36")?)));
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("total", own), ("saving", cloud - own), ("share", saved)],
        words: format!(
            "the sum is right: {} against {}, {} ({}) saved; nobody's time is in it, and at 80 USD an hour {} hours a month use all of it up",
            money(own),
            money(cloud),
            money(cloud - own),
            percent(saved),
            short(hour("80")?, 1)
        ),
    })
}

fn electricity() -> Result<Finding, Wrong> {
    let energy = n("0.45")?.times(n("8760")?);
    let price = ratio(n("400")?, energy);
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("kwh", energy), ("usd_per_kwh", price)],
        words: format!(
            "{} kWh, so {} USD per kWh, and for the GPU alone: no processor, no cooling (PUE 1)",
            short(energy, 0),
            short(price, 4)
        ),
    })
}

fn break_even() -> Result<Finding, Wrong> {
    let BreakEven::After(found) = three_years()?.2 else {
        return Err(Wrong::new("it never pays back"));
    };
    let words = format!("{}: 3,600 / (450 - 50)", months(found));
    Ok(recomputed("months", n("12")?, found, words))
}

fn blended(prices: [&str; 2], said: &str) -> Result<Finding, Wrong> {
    let found = ratio(month(TOKENS, prices)?, n("70")?);
    let words = format!("{said} is the sum of two prices; at 5:2 it is {} USD", short(found, 2));
    Ok(recomputed("per_million", n(said)?, found, words))
}

fn amortised() -> Result<Finding, Wrong> {
    let found = ratio(three_years()?.1, n("70")?.times(n("36")?));
    let words = format!("{} USD: 5,400 / (70M x 36)", short(found, 2));
    Ok(recomputed("per_million", Nano::ZERO, found, words))
}

fn billion_cloud() -> Result<Finding, Wrong> {
    let mixed = ratio(month(TOKENS, SONNET)?, n("70")?).times(n("1000")?);
    let even = month(["500M", "500M"], SONNET)?;
    let words = format!("{} at 5:2, {} at 1:1", money(mixed), money(even));
    Ok(Finding {
        figures: vec![("mixed", mixed), ("even", even)],
        ..recomputed("mixed", n("18000")?, mixed, words)
    })
}

fn billion_own() -> Result<Finding, Wrong> {
    let year = ratio(three_years()?.1, n("3")?);
    let cloud = ratio(month(TOKENS, SONNET)?, n("70")?).times(n("1000")?);
    let saved = ratio(cloud - year, cloud);
    Ok(Finding {
        holds: Holds::No,
        figures: vec![("year", year), ("share", saved)],
        words: format!(
            "{} with the hardware, so {} saved, if one machine makes a billion tokens a year at all",
            money(year),
            percent(saved)
        ),
    })
}

fn nothing_a_month() -> Result<Finding, Wrong> {
    let month = ratio(three_years()?.1, n("36")?);
    let words = format!("{} a month by its own three-year sum", money(month));
    Ok(recomputed("month", Nano::ZERO, month, words))
}

fn tokens_per_second() -> Result<Finding, Wrong> {
    let rows = [
        ("4.5", "44", "0.25"),
        ("5.2", "38", "0.3"),
        ("3.8", "53", "0.15"),
        ("1.6", "125", "0.08"),
        ("0.8", "250", "0.04"),
    ];
    let tokens = n("200")?;
    let mut same = true;
    for (total, said, _) in rows {
        same &= (ratio(tokens, n(total)?) - n(said)?).abs() < Nano::ONE;
    }
    let decode = ratio(tokens, n("4.5")? - n("0.25")?);
    Ok(Finding {
        holds: if same { Holds::Partly } else { Holds::No },
        figures: vec![("first_row", ratio(tokens, n("4.5")?)), ("decode", decode)],
        words: format!(
            "it is 200 / total time, the wait for the first token included; without it the first row decodes at {} tokens/s",
            short(decode, 0)
        ),
    })
}
