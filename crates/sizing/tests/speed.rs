//! Speeds against measured ones, and bounds that hold for everything.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_sizing::catalogue;
use cutover_sizing::engine::Engine;
use cutover_sizing::fit::{Answer, Ask, Verdict, answer};
use cutover_sizing::hardware::Machine;
use cutover_sizing::kv::Kv;
use cutover_sizing::quant::quant;
use cutover_sizing::speed::{Exchange, Speeds};

fn ask(model: &str, name: &str, machine: &str, engine: Engine) -> Answer {
    with(model, name, &Machine::parse(machine).unwrap(), (engine, 2048, 1))
}

fn with(model: &str, name: &str, machine: &Machine, load: (Engine, u64, u64)) -> Answer {
    let (entry, _) = catalogue::find(model).unwrap();
    let (engine, context, sequences) = load;
    answer(&Ask {
        model: &entry.model,
        tag: model,
        quant: quant(name).unwrap(),
        weights: None,
        kv: Kv::default(),
        engine,
        machine,
        context,
        sequences,
        // As the points were measured: 1,024 tokens without a prompt.
        exchange: Exchange { prompt: 1, output: 1024 },
    })
    .unwrap()
}

fn speeds(answer: Answer) -> Speeds {
    answer.speeds.unwrap()
}

/// llama.cpp of May 2024, 1,024 tokens (XiongjieDai/GPU-Benchmarks-on-LLM-Inference): 8B Q4_K_M, 8B F16,
/// 70B Q4_K_M; 0 is "did not fit" or not measured.
const GDDR: &[(&str, [f64; 3])] = &[
    ("rtx3070", [70.94, 0.0, 0.0]),
    ("rtx3080", [106.40, 0.0, 0.0]),
    ("rtx3080ti", [106.71, 0.0, 0.0]),
    ("rtx4070ti", [82.21, 0.0, 0.0]),
    ("rtx4080", [106.22, 0.0, 0.0]),
    ("rtx3090", [111.74, 46.51, 0.0]),
    ("rtx4090", [127.74, 54.34, 0.0]),
    ("2xrtx3090", [108.07, 47.15, 16.29]),
    ("2xrtx4090", [122.56, 53.27, 19.06]),
    ("a6000", [102.0, 40.0, 14.6]),
    ("6000-ada", [131.0, 52.0, 18.4]),
    ("l40s", [113.6, 43.4, 15.3]),
    ("4xrtx3090", [0.0, 0.0, 16.89]),
    ("4xrtx4090", [0.0, 0.0, 18.83]),
];

const MODELS: [(&str, &str); 3] =
    [("llama3.1:8b", "q4_k_m"), ("llama3.1:8b", "f16"), ("llama3.3:70b", "q4_k_m")];

fn compare(points: &[(&str, [f64; 3])], within: f64) -> (usize, usize) {
    let (mut all, mut near) = (0, 0);
    for (machine, measured) in points {
        for ((model, name), measured) in MODELS.iter().zip(measured) {
            if *measured == 0.0 {
                continue;
            }
            let found = speeds(ask(model, name, machine, Engine::LlamaCpp)).decode;
            let off = found.likely / measured - 1.0;
            assert!(*measured < found.bound, "{machine} {model}: measured above the bound");
            all += 1;
            near += usize::from(off.abs() <= within);
        }
    }
    (all, near)
}

#[test]
fn decoding_on_graphics_memory_is_within_15_percent_of_all_measured_points() {
    assert_eq!(compare(GDDR, 0.15), (26, 26));
}

/// The same source: data centre GPUs and Macs, whose fits are known to be worse.
#[test]
fn decoding_elsewhere_is_within_the_error_that_is_stated() {
    let hbm: &[(&str, [f64; 3])] = &[
        ("a100-80gb-pcie", [138.0, 54.6, 22.1]),
        ("a100", [133.0, 53.2, 24.3]),
        ("h100-pcie", [144.0, 67.8, 25.0]),
    ];
    assert_eq!(compare(hbm, 0.20), (9, 9));
    let apple: &[(&str, [f64; 3])] =
        &[("m2-ultra:192", [76.0, 36.0, 12.1]), ("m3-max:64", [51.0, 22.0, 7.5])];
    assert_eq!(compare(apple, 0.25), (6, 6));
}

#[test]
fn a_model_that_did_not_fit_then_does_not_fit_here() {
    for machine in ["rtx3090", "rtx4090"] {
        assert_eq!(ask("llama3.3:70b", "q4_k_m", machine, Engine::LlamaCpp).verdict, Verdict::No);
    }
    assert_eq!(ask("llama3.1:8b", "f16", "rtx3070", Engine::LlamaCpp).verdict, Verdict::No);
}

/// Later builds and models with experts (llmfit-core 1.1.18 and pavlokhmel.com, June 2026): inside the
/// range, which is open upwards for that reason.
#[test]
fn later_measurements_are_inside_the_range() {
    for (machine, model, name, measured) in [
        ("rtx5090", "qwen3:8b", "q4_k_m", 227.0),
        ("rtx4090", "qwen3.6:27b", "q4_k_m", 46.7),
        ("rtx4090", "qwen3.6:35b", "q4_k_m", 165.0),
        ("rtx4090", "gpt-oss:20b", "mxfp4", 266.0),
        ("rtx3060-12gb", "llama3.2:3b", "q4_k_m", 128.0),
    ] {
        let found = speeds(ask(model, name, machine, Engine::LlamaCpp)).decode;
        assert!(measured >= found.low * 0.95 && measured <= found.high * 1.05, "{machine} {model}");
    }
}

/// Qwen3-8B FP8 on an H100 with vLLM (silybench perf_points.csv): tokens a second by batch. The length of
/// its requests is not published; 500 tokens on average reproduce all batches.
#[test]
fn batches_of_vllm_are_reproduced() {
    let machine = Machine::parse("h100").unwrap();
    for (batch, measured) in
        [(1, 214.0), (16, 3027.0), (64, 8621.0), (128, 12_176.0), (256, 15_264.0)]
    {
        let found =
            speeds(with("qwen3:8b", "fp8", &machine, (Engine::Vllm, 1024, batch))).throughput;
        assert!((found.likely / measured - 1.0).abs() < 0.15, "{batch}: {:.0}", found.likely);
        assert!(found.bound > measured);
    }
}

/// Prompt speeds of the same benchmark, tokens a second at 1,024 tokens.
#[test]
fn prompts_are_inside_the_range() {
    for (machine, model, name, measured) in [
        ("rtx4090", "llama3.1:8b", "f16", 9056.0),
        ("rtx4090", "llama3.1:8b", "q4_k_m", 6899.0),
        ("2xrtx4090", "llama3.3:70b", "q4_k_m", 905.0),
        ("a100-80gb-pcie", "llama3.1:8b", "q4_k_m", 5800.0),
        ("h100-pcie", "llama3.3:70b", "q4_k_m", 984.0),
        ("m2-ultra:192", "llama3.3:70b", "q4_k_m", 118.0),
    ] {
        let found = speeds(ask(model, name, machine, Engine::LlamaCpp)).prefill.unwrap();
        let inside = measured >= found.low * 0.95 && measured <= found.high * 1.05;
        assert!(inside && measured < found.bound, "{machine} {model} {name}");
    }
}

/// Every model on every GPU, with every engine: no figure above its bound, no range upside down.
#[test]
fn no_figure_is_above_its_bound() {
    let mut seen = 0;
    for entry in catalogue::models() {
        for gpu in cutover_sizing::hardware::gpus().iter().filter(|gpu| gpu.gpu.usable > 0) {
            for (engine, name) in [(Engine::LlamaCpp, "q4_k_m"), (Engine::Vllm, "fp8")] {
                let machine = Machine::parse(&format!("2x{}", gpu.gpu.name)).unwrap();
                let found = with(&entry.model.name, name, &machine, (engine, 2048, 8));
                let Some(speeds) = found.speeds else { continue };
                let ranges = [speeds.decode, speeds.decode_full, speeds.throughput, speeds.each];
                for range in ranges.into_iter().chain(speeds.prefill) {
                    assert!(range.low > 0.0 && range.low <= range.likely);
                    assert!(range.likely <= range.high && range.high < range.bound);
                }
                let first = speeds.first_token_s.unwrap();
                assert!(first.bound < first.low && first.low <= first.high);
                seen += 1;
            }
        }
    }
    assert!(seen > 500, "{seen}");
}
