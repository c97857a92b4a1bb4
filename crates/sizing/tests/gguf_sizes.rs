//! Sizes of quantised files against published ones.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_sizing::catalogue;
use cutover_sizing::quant::{QUANTS, quant, weights};

const GIB: f64 = (1_u64 << 30) as f64;

fn bytes(model: &str, name: &str) -> f64 {
    let (entry, _) = catalogue::find(model).unwrap();
    weights(&entry.model, quant(name).unwrap()).bytes as f64
}

/// llama.cpp's tools/quantize/README.md: bits per weight of Llama-3.1-8B.
#[test]
fn bits_per_weight_of_the_8b_are_the_published_ones() {
    let published = [
        ("iq1_s", 2.0042),
        ("iq1_m", 2.1460),
        ("iq2_xxs", 2.3824),
        ("iq2_xs", 2.5882),
        ("iq2_s", 2.7403),
        ("iq2_m", 2.9294),
        ("iq3_xxs", 3.2548),
        ("iq3_xs", 3.4977),
        ("iq3_s", 3.6606),
        ("iq3_m", 3.7628),
        ("iq4_xs", 4.4597),
        ("iq4_nl", 4.6818),
        ("q2_k_s", 2.9697),
        ("q2_k", 3.1593),
        ("q3_k_s", 3.6429),
        ("q3_k_l", 4.2979),
        ("q4_k_s", 4.6672),
        ("q4_k_m", 4.8944),
        ("q5_k_s", 5.5704),
        ("q5_k_m", 5.7036),
        ("q6_k", 6.5633),
        ("q8_0", 8.5008),
        ("f16", 16.0005),
    ];
    for (name, bits) in published {
        let found = bytes("llama3.1:8b", name) * 8.0 / 8_030_261_248.0;
        assert!((found / bits - 1.0).abs() < 0.001, "{name}: {found:.4}, published {bits}");
    }
}

/// llama.cpp pull request 6745: sizes of Llama 3 70B in GiB, two decimals.
#[test]
fn sizes_of_the_70b_are_the_published_ones() {
    let published = [
        ("iq1_s", 14.29),
        ("iq1_m", 15.60),
        ("iq2_xxs", 17.79),
        ("iq2_xs", 19.69),
        ("iq2_s", 20.71),
        ("q2_k_s", 22.79),
        ("iq2_m", 22.46),
        ("q2_k", 24.56),
        ("iq3_xxs", 25.58),
        ("iq3_xs", 27.29),
        ("q3_k_s", 28.79),
        ("iq3_s", 28.79),
        ("iq3_m", 29.74),
        ("q3_k_m", 31.91),
        ("q3_k_l", 34.59),
        ("q4_k_s", 37.58),
        ("q4_k_m", 39.60),
        ("q5_k_s", 45.32),
        ("q5_k_m", 46.52),
        ("q6_k", 53.91),
        ("q8_0", 69.83),
        ("f16", 131.43),
    ];
    for (name, gib) in published {
        let found = bytes("llama3.3:70b", name) / GIB;
        // Two decimals of a published figure, and the metadata of the file, which a size has and a sum
        // of tensors has not.
        assert!((found / gib - 1.0).abs() < 0.001, "{name}: {found:.2} GiB, published {gib}");
    }
}

/// The two that were published with an importance matrix: ours are made without, and 1 % larger.
#[test]
fn two_files_made_with_an_importance_matrix_are_a_little_smaller() {
    for (name, gib) in [("iq4_xs", 35.30), ("iq4_nl", 37.30)] {
        let found = bytes("llama3.3:70b", name) / GIB;
        assert!(found > gib && found / gib < 1.01, "{name}: {found:.2} GiB, published {gib}");
    }
}

/// GB of sixteen models in five quantisations, computed independently from the same rules.
#[test]
fn sizes_of_other_models_agree_to_the_digits_given() {
    let table: [(&str, [f64; 5]); 16] = [
        ("llama-3.1-8b", [4.65, 4.91, 5.73, 8.53, 16.06]),
        ("llama-3.3-70b", [39.96, 42.51, 49.94, 74.97, 141.11]),
        ("llama-3.2-1b", [0.76, 0.80, 0.90, 1.31, 2.47]),
        ("llama-3.2-3b", [1.91, 2.01, 2.31, 3.41, 6.43]),
        ("mistral-7b", [4.11, 4.37, 5.14, 7.70, 14.50]),
        ("qwen2.5-coder-32b", [18.63, 19.85, 23.26, 34.81, 65.53]),
        ("qwen2.5-72b", [41.23, 47.41, 54.44, 77.26, 145.42]),
        ("deepseek-coder-33b", [18.82, 19.94, 23.53, 35.43, 66.69]),
        ("gemma-2-27b", [15.62, 16.64, 19.40, 28.93, 54.46]),
        ("gemma-3-27b", [15.56, 16.54, 19.27, 28.70, 54.02]),
        ("mixtral-8x7b", [26.44, 28.45, 33.23, 49.63, 93.41]),
        ("mixtral-8x22b", [79.52, 85.60, 99.98, 149.4, 281.3]),
        ("mistral-small-24b", [13.43, 14.33, 16.76, 25.05, 47.15]),
        ("qwen3-8b", [4.77, 5.02, 5.85, 8.70, 16.38]),
        ("qwen3-32b", [18.63, 19.76, 23.21, 34.81, 65.53]),
        ("qwen3-30b-a3b", [17.30, 18.55, 21.72, 32.48, 61.09]),
    ];
    let mut off = Vec::new();
    for (model, sizes) in table {
        for (name, gb) in ["q4_0", "q4_k_m", "q5_k_m", "q8_0", "f16"].iter().zip(sizes) {
            let found = bytes(model, name) / 1e9;
            let digit = if gb >= 149.0 { 0.1 } else { 0.01 };
            // The last digit given, and a tenth of a percent.
            if (found - gb).abs() > digit / 2.0 + gb * 0.001 {
                off.push(format!("{model} {name}: {found:.3} for {gb}"));
            }
        }
    }
    assert!(off.is_empty(), "{off:#?}");
}

#[test]
fn quantisations_stand_from_the_largest_to_the_smallest() {
    let gguf: Vec<_> = QUANTS.iter().filter(|row| row.is_gguf() && row.name != "mxfp4").collect();
    for pair in gguf.windows(2) {
        let (larger, smaller) =
            (bytes("llama3.3:70b", pair[0].name), bytes("llama3.3:70b", pair[1].name));
        assert!(larger >= smaller, "{} is smaller than {}", pair[0].name, pair[1].name);
    }
}

/// A real file, SmolLM2-135M-Instruct.Q4_1.gguf: what its tensors take, read from its header.
#[test]
fn a_real_file_takes_what_the_rules_say_to_the_byte() {
    let (entry, _) = catalogue::find("smollm2:135m").unwrap();
    assert_eq!(weights(&entry.model, quant("q4_1").unwrap()).bytes, 96_576_768);
}

/// Formats of GPU servers: 70B AWQ is published with 39.8 GB; gpt-oss-20b's GGUF with 12.1 GB.
#[test]
fn formats_of_gpu_servers_keep_embedding_and_output_at_sixteen_bits() {
    assert!((bytes("llama3.3:70b", "awq") / 1e9 - 39.8).abs() < 0.1);
    assert!((bytes("gpt-oss:20b", "mxfp4") / 1e9 - 12.1).abs() < 0.1);
    assert!((bytes("llama3.3:70b", "bf16") / 1e9 - 141.11).abs() < 0.01);
}
