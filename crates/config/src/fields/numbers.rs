//! Rows of the sections about what tokens cost and what the machine's accelerators do.

use super::Kind::{Bool, Path};
use super::kinds::{value, words};
use super::{Kind, Section};

pub(crate) static PRICES: Section = Section {
    path: "prices",
    doc: "What tokens cost, where a variant has no `price` of its own.",
    fields: &[words(
        "file",
        Path,
        "the built-in list alone",
        "A price file as `cutover prices import` writes it. Its rows win over the built-in list: those of the upstream's vendor, else those whose provider is the upstream's name or its `provider`, else those without a provider. What neither has stays unpriced. Read again when it changes. A relative path starts at the config file's folder.",
    )],
};

pub(crate) static HARDWARE: Section = Section {
    path: "hardware",
    doc: "The accelerators of the machine that cutover runs on, as metrics `cutover_gpu_*`: memory, load, temperature, power, throttling. NVIDIA's by its driver's library or `nvidia-smi`, AMD's by the kernel's files. Where there is none, there are no rows.",
    fields: &[
        value(
            "watch",
            Bool,
            "true",
            "Whether they are looked at. A change takes effect at a restart.",
        ),
        value(
            "interval",
            Kind::Duration { min_ms: 1_000, max_ms: 3_600_000 },
            r#""10 s""#,
            "Time between two looks, on a thread of its own.",
        ),
    ],
};
