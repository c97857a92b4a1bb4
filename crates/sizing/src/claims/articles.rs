//! Claims about which model fits where, and how fast it is there.

use super::{Article, Claim, Finding, Holds, Question, gb, in_gib, speeds};
use crate::engine::Engine;
use crate::fit::Verdict;
use cutover_units::Wrong;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "70b-q8-on-two-4090",
        article: Article::CaseStudy,
        said: "70B at Q8 is 70 GB and fits on 2 x RTX 4090 (48 GB)",
        check: seventy_on_two,
    },
    Claim {
        name: "70b-q8-in-48-gb",
        article: Article::CaseStudy,
        said: "70B needs 48 GB at the least with Q8",
        check: seventy_in_48,
    },
    Claim {
        name: "p50-of-1.8-s",
        article: Article::CaseStudy,
        said: "p50 of 1.8 s with 139 tokens of answer on average (25 M / 180 k) on that machine",
        check: p50,
    },
    Claim {
        name: "70b-on-one-4090",
        article: Article::Playbook,
        said: "Llama 3.3 70B on one RTX 4090: 53 tokens/s, first token after 150 ms",
        check: seventy_on_one,
    },
    Claim {
        name: "coder-32b-on-4090",
        article: Article::Playbook,
        said: "Qwen 2.5 Coder 32B on one RTX 4090: 125 tokens/s, first token after 80 ms",
        check: coder,
    },
    Claim {
        name: "mistral-7b-on-4090",
        article: Article::Playbook,
        said: "Mistral 7B on one RTX 4090: 250 tokens/s",
        check: mistral,
    },
    Claim {
        name: "selector-24-gb",
        article: Article::Playbook,
        said: "a GPU of 24 GB: llama3.3:70b",
        check: || selector("llama3.3:70b", "q4_k_m", "rtx4090"),
    },
    Claim {
        name: "selector-16-gb-code",
        article: Article::Playbook,
        said: "a GPU of 16 GB, code: deepseek-coder:33b, \"quantized 33B fits in 16GB\"",
        check: || selector("deepseek-coder:33b", "q4_0", "rtx4080"),
    },
    Claim {
        name: "selector-16-gb",
        article: Article::Playbook,
        said: "a GPU of 16 GB: gemma2:27b",
        check: || selector("gemma2:27b", "q4_0", "rtx4080"),
    },
    Claim {
        name: "8b-in-8-gb",
        article: Article::Playbook,
        said: "llama3.1:8b-instruct-q4_0 fits in 8 GB",
        check: || selector("llama3.1:8b", "q4_0", "rtx3070"),
    },
    Claim {
        name: "several-70b-on-a100",
        article: Article::Playbook,
        said: "an A100 of 80 GB runs multiple 70B models simultaneously",
        check: several,
    },
    Claim {
        name: "70b-on-a-processor",
        article: Article::Playbook,
        said: "a processor is 50 to 100 times slower; 70B on it makes 2 to 5 tokens/s",
        check: processor,
    },
    Claim {
        name: "72b-below-500-ms",
        article: Article::Budget,
        said: "Qwen 2.5 72B on four GPUs answers in less than 500 ms",
        check: below_500_ms,
    },
    Claim {
        name: "500-tokens-in-two-seconds",
        article: Article::Enterprise,
        said: "Llama 3.1 70B on three A100 makes 500 tokens in 1 to 2 s",
        check: five_hundred,
    },
];

fn seventy_on_two() -> Result<Finding, Wrong> {
    let on = |quant| Question::new("llama3.3:70b", quant, "2xrtx4090");
    let (file, q8) = (gb("llama3.3:70b", "q8_0")?, on("q8_0").needs()?);
    let q4 = on("q4_k_m").load(8192, 1).needs()?;
    let q4_slots = on("q4_k_m").load(4096, 4).needs()?;
    let q5 = on("q5_k_m").needs()?;
    let fits = on("q8_0").ask()?.verdict != Verdict::No;
    Ok(Finding {
        holds: if fits { Holds::Yes } else { Holds::No },
        figures: vec![
            ("file_gb", file),
            ("q8_gib", q8),
            ("q4_k_m_8k_gib", q4),
            ("q4_k_m_4x4k_gib", q4_slots),
            ("q5_k_m_gib", q5),
        ],
        words: format!(
            "Q8_0 is {file:.1} GB and needs {q8:.1} GiB with 4,096 tokens of context; the two cards have \
             48. Q4_K_M fits: {q4:.1} GiB with 8,192 tokens, {q4_slots:.1} with four times 4,096. Q5_K_M \
             ({q5:.1}) does not"
        ),
    })
}

fn seventy_in_48() -> Result<Finding, Wrong> {
    let needs = |quant| Question::new("llama3.3:70b", quant, "2xa6000").needs();
    let (q8, q4) = (needs("q8_0")?, needs("q4_k_m")?);
    Ok(Finding {
        holds: if q8 <= 48.0 { Holds::Yes } else { Holds::No },
        figures: vec![("q8_gib", q8), ("q4_gib", q4)],
        words: format!("Q8_0 needs {q8:.0} GiB; 48 GB is what Q4_K_M needs ({q4:.1} GiB)"),
    })
}

fn p50() -> Result<Finding, Wrong> {
    // What fits there: Q4_K_M. 60 M prompt tokens in 180 k requests are 333 each.
    let question = Question::new("llama3.3:70b", "q4_k_m", "2xrtx4090").exchange(333, 139);
    let alone = speeds(question.ask()?)?;
    let total = alone.total_s.ok_or_else(|| Wrong::new("no total"))?;
    // The best that both cards together could do.
    let bound = 139.0 / (2.0 * alone.decode.bound);
    Ok(Finding {
        holds: if bound <= 1.8 { Holds::Partly } else { Holds::No },
        figures: vec![("total_s", total.likely), ("bound_s", bound)],
        words: format!(
            "{:.1} s at the {:.0} tokens/s that two cards make one after the other; {bound:.1} s if both \
             worked together at their full bandwidth",
            total.likely, alone.decode.likely
        ),
    })
}

fn seventy_on_one() -> Result<Finding, Wrong> {
    let needs = Question::new("llama3.3:70b", "q4_k_m", "rtx4090").load(4096, 1).needs()?;
    let two = speeds(Question::new("llama3.3:70b", "q4_k_m", "2xrtx4090").ask()?)?;
    let small_gib = gb("llama3.3:70b", "iq2_xs")? * 1e9 / (1_u64 << 30) as f64;
    let first = two.first_token_s.ok_or_else(|| Wrong::new("no first token"))?;
    Ok(Finding {
        holds: Holds::No,
        figures: vec![
            ("needs_gib", needs),
            ("two_cards", two.decode.likely),
            ("first_s", first.likely),
            ("iq2_xs_gib", small_gib),
        ],
        words: format!(
            "it needs {needs:.1} GiB at Q4_K_M, the card has 24. Two cards make {:.0} tokens/s, the first \
             after {:.2} s. On one card only some 2.5 bits a weight fit, such as IQ2_XS \
             ({small_gib:.1} GiB, perplexity +103 %)",
            two.decode.likely, first.likely
        ),
    })
}

fn coder() -> Result<Finding, Wrong> {
    let question = Question::new("qwen2.5-coder:32b", "q4_k_m", "rtx4090");
    let found = speeds(question.load(4096, 1).ask()?)?;
    let prefill = found.prefill.ok_or_else(|| Wrong::new("no prompt speed"))?;
    let least = 500.0 / prefill.bound;
    Ok(Finding {
        holds: if found.decode.bound >= 125.0 { Holds::Partly } else { Holds::No },
        figures: vec![
            ("bound", found.decode.bound),
            ("likely", found.decode.likely),
            ("high", found.decode.high),
            ("first_bound_s", least),
        ],
        words: format!(
            "the memory's bandwidth allows {:.0} tokens/s, {:.0} to {:.0} are likely; the card's operations \
             allow a first token after {:.0} ms, likely {:.0}",
            found.decode.bound,
            found.decode.low,
            found.decode.high,
            least * 1e3,
            found.first_token_s.map_or(0.0, |first| first.likely) * 1e3
        ),
    })
}

fn mistral() -> Result<Finding, Wrong> {
    let on =
        |quant| Question::new("mistral:7b", quant, "rtx4090").exchange(1, 1).ask().and_then(speeds);
    let (q4km, q40) = (on("q4_k_m")?.decode, on("q4_0")?.decode);
    Ok(Finding {
        holds: if q4km.high >= 250.0 { Holds::Partly } else { Holds::No },
        figures: vec![("bound", q4km.bound), ("q4_0_bound", q40.bound), ("high", q4km.high)],
        words: format!(
            "{:.0} tokens/s (Q4_K_M) or {:.0} (Q4_0) is all the bandwidth, before anything is computed; \
             {:.0} to {:.0} are likely",
            q4km.bound, q40.bound, q4km.low, q4km.high
        ),
    })
}

/// Whether a model runs where a selector puts it, at the tag it names.
fn selector(
    model: &'static str,
    quant: &'static str,
    machine: &'static str,
) -> Result<Finding, Wrong> {
    let found = Question::new(model, quant, machine).ask()?;
    let needs = in_gib(found.whole.total());
    let has: f64 = found.bills.iter().map(|bill| in_gib(bill.budget)).sum();
    let fits = found.verdict != Verdict::No;
    let instead = found.others.iter().find(|other| other.change == "quant");
    let instead = instead.map_or(String::new(), |other| {
        let price =
            if other.price.is_empty() { String::new() } else { format!(", {}", other.price) };
        format!("; {} would fit{price}", other.to)
    });
    Ok(Finding {
        holds: if fits { Holds::Yes } else { Holds::No },
        figures: vec![("needs_gib", needs), ("has_gib", has)],
        words: format!(
            "{quant} needs {needs:.1} GiB with 4,096 tokens of context, the card has {has:.1}{}",
            if fits { String::new() } else { instead }
        ),
    })
}

fn several() -> Result<Finding, Wrong> {
    let question = Question::new("llama3.3:70b", "q4_k_m", "a100");
    let one = question.needs()?;
    Ok(Finding {
        holds: if 2.0 * one <= 80.0 { Holds::Yes } else { Holds::No },
        figures: vec![("one_gib", one), ("two_gib", 2.0 * one)],
        words: format!(
            "one at Q4_K_M with 4,096 tokens takes {one:.1} GiB, two {:.1} of 80.0",
            2.0 * one
        ),
    })
}

fn processor() -> Result<Finding, Wrong> {
    let on = |machine| Question::new("llama3.3:70b", "q4_k_m", machine).ask().and_then(speeds);
    let (alone, cards) = (on("none")?.decode, on("2xrtx4090")?.decode);
    let times = cards.likely / alone.likely;
    Ok(Finding {
        holds: Holds::No,
        figures: vec![("bound", alone.bound), ("likely", alone.likely), ("times", times)],
        words: format!(
            "two channels of DDR5 (85 GB/s) allow {:.1} tokens/s, {:.1} are likely: {times:.0} times slower \
             than two RTX 4090",
            alone.bound, alone.likely
        ),
    })
}

fn below_500_ms() -> Result<Finding, Wrong> {
    let on = |machine, engine, quant| {
        Question::new("qwen2.5:72b", quant, machine).by(engine).exchange(500, 200)
    };
    let layers = speeds(on("4xrtx4090", Engine::Ollama, "q4_k_m").ask()?)?;
    let together = speeds(on("4xa100", Engine::Vllm, "bf16").ask()?)?;
    let tokens = |speed: f64| speed * 0.5;
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("slow", layers.decode.likely), ("fast", together.decode.bound)],
        words: format!(
            "only as time to the first token: at {:.0} tokens/s (four RTX 4090, Ollama) to {:.0} (four A100, \
             bound of vLLM) 500 ms are {:.0} to {:.0} tokens",
            layers.decode.likely,
            together.decode.bound,
            tokens(layers.decode.likely),
            tokens(together.decode.bound)
        ),
    })
}

fn five_hundred() -> Result<Finding, Wrong> {
    let question = Question::new("llama3.1:70b", "bf16", "4xa100").by(Engine::Vllm).load(8192, 1);
    let sixteen = speeds(question.ask()?)?.decode.bound;
    let eight = Question { quant: "fp8", ..question };
    let eight = speeds(eight.ask()?)?.decode.bound;
    let (four, fp8) = (500.0 / sixteen, 500.0 / eight);
    // Three cards have three quarters of the bandwidth.
    let three = four * 4.0 / 3.0;
    Ok(Finding {
        holds: if fp8 <= 2.0 { Holds::Partly } else { Holds::No },
        figures: vec![("four_s", four), ("three_s", three), ("fp8_s", fp8)],
        words: format!(
            "all the bandwidth of four A100 allows {sixteen:.0} tokens/s at 16 bits: {four:.1} s, of three \
             {three:.1} s; at FP8 on four {fp8:.1} s"
        ),
    })
}
