//! Properties over generated and damaged files.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{EVERYTHING, examples, good, read, without_warnings};

/// One damage to a text: bytes removed, doubled, or replaced by something that means something.
fn damaged(text: &str, (at, length, with): (usize, usize, &str)) -> String {
    let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i));
    let from = boundary(at % (text.len() + 1)).unwrap_or(0);
    let to = boundary(from + length).unwrap_or(from).max(from);
    format!("{}{with}{}", &text[..from], &text[to..])
}

fn damage() -> impl Strategy<Value = (usize, usize, &'static str)> {
    let with = prop::sample::select(vec![
        "",
        "\"",
        "'",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "#",
        "\0",
        "\u{feff}",
        "é",
        "-1",
        "1e999",
        "nan",
        "true",
        "[x.y]",
        "a.b = 1\n",
        "\"\"\"",
        "99999999999999999999",
    ]);
    (any::<usize>(), 0usize..40, with)
}

/// A valid file from parts that may or may not be there.
fn valid_file() -> impl Strategy<Value = String> {
    let name = "[a-zA-Z0-9][a-zA-Z0-9._-]{0,8}";
    let text = "[ -~é]{0,12}x";
    let upstream = (
        prop::sample::select(vec!["openai", "vllm", "llamacpp", "ollama", "embedded"]),
        any::<bool>(),
        1u32..86_400_000,
    );
    let variant =
        (any::<prop::sample::Index>(), text, prop::option::of(0.0f64..=2.0), any::<i64>());
    let use_case = (any::<prop::sample::Index>(), text, 0u32..=10_000, any::<bool>());
    (
        prop::collection::btree_map(name, upstream, 1..4),
        prop::collection::btree_map(name, variant, 1..4),
        prop::collection::btree_map(name, use_case, 0..4),
    )
        .prop_map(|(upstreams, variants, use_cases)| {
            let quote = crate::reader::quote;
            let names: Vec<_> = upstreams.keys().cloned().collect();
            let mut file = format!("default_upstream = {}\n", quote(&names[0]));
            for (name, (provider, local, total)) in &upstreams {
                let _ = write!(
                    file,
                    "[upstreams.{}]\nprovider = \"{provider}\"\nlocal = {local}\n\
                     total_timeout = \"{total} ms\"\n",
                    quote(name)
                );
            }
            let variant_names: Vec<_> = variants.keys().cloned().collect();
            for (name, (upstream, model, temperature, seed)) in &variants {
                let upstream = quote(&names[upstream.index(names.len())]);
                let _ = write!(
                    file,
                    "[variants.{}]\nupstream = {upstream}\nmodel = {}\nseed = {seed}\n",
                    quote(name),
                    quote(model)
                );
                if let Some(temperature) = temperature {
                    let _ = writeln!(file, "temperature = {temperature:?}");
                }
            }
            for (at, (name, (variant, value, weight, smooth))) in use_cases.iter().enumerate() {
                let baseline = variant.index(variant_names.len());
                let _ = write!(
                    file,
                    "[use_cases.{}]\nmatch = {{ model = {} }}\nbaseline = {}\n",
                    quote(name),
                    quote(&format!("{at}{value}")),
                    quote(&variant_names[baseline])
                );
                if variant_names.len() > 1 {
                    let candidate = &variant_names[(baseline + 1) % variant_names.len()];
                    let (whole, part) = (weight / 100, weight % 100);
                    let _ = writeln!(file, "candidate = {}", quote(candidate));
                    let _ = writeln!(file, "weight = \"{whole}.{part:02}%\"");
                }
                if *smooth {
                    file += "smoothing = {}\n";
                }
            }
            file
        })
}

proptest! {
    #[test]
    fn the_full_form_of_any_valid_file_means_the_same(text in valid_file()) {
        let checked = good(&text);
        let again = good(&checked.to_toml());
        prop_assert_eq!(again.digest(), checked.digest());
        prop_assert_eq!(without_warnings(again), without_warnings(checked));
    }

    #[test]
    fn damaged_files_are_refused_or_read_and_never_panic(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let mut texts: Vec<_> = examples().into_iter().map(|(_, text)| text).collect();
        texts.push(EVERYTHING.to_owned());
        let mut text = which.get(&texts).clone();
        for damage in damages {
            text = damaged(&text, damage);
        }
        match read(&text) {
            Ok(checked) => {
                let again = good(&checked.to_toml());
                prop_assert_eq!(without_warnings(again), without_warnings(checked));
            }
            Err(problems) => {
                let lines = text.lines().count() + 1;
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|p| (1..=lines).contains(&p.line) && p.column >= 1));
            }
        }
    }

    #[test]
    fn no_text_makes_check_panic(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_bytes_make_check_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&String::from_utf8_lossy(&bytes));
    }
}
