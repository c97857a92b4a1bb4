//! Claims about how it was set up: parallelism, slots, instances, images.

use super::{Article, Claim, Finding, Holds, Question, gb, in_gib};
use crate::catalogue;
use crate::engine::{Engine, check_tensor_parallel};
use crate::fit::Verdict;
use crate::quant::quant;
use cutover_units::Wrong;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        name: "tensor-parallel-3",
        article: Article::Enterprise,
        said: "vLLM with --tensor-parallel-size 3 for Llama 3.1 70B on A100 80 GB",
        check: three,
    },
    Claim {
        name: "three-mistral-on-a10",
        article: Article::Enterprise,
        said: "three concurrent instances of Mistral 7B q4_K_M per A10",
        check: instances,
    },
    Claim {
        name: "mixtral-48-gb",
        article: Article::Enterprise,
        said: "Mixtral 8x7B needs approximately 48 GB; Mistral 7B runs comfortably on 16 GB",
        check: mixtral,
    },
    Claim {
        name: "ctx-size-and-parallel",
        article: Article::Enterprise,
        said: "llama-server --ctx-size 4096 --n-gpu-layers 35 --parallel 4 for Mixtral 8x7B",
        check: slots,
    },
    Claim {
        name: "models-in-the-image",
        article: Article::Playbook,
        said: "a Dockerfile that pulls llama3.3:70b, qwen2.5-coder:32b and mistral:7b into the image",
        check: image,
    },
    Claim {
        name: "retry-on-the-next-instance",
        article: Article::Playbook,
        said: "a load balancer in turn over three Ollama instances that retries on the next instance",
        check: || Ok(retries()),
    },
    Claim {
        name: "replicas-without-a-volume",
        article: Article::Playbook,
        said: "a Kubernetes deployment of 3 replicas with 1 GPU each, without a volume for models",
        check: replicas,
    },
];

fn three() -> Result<Finding, Wrong> {
    let (entry, _) = catalogue::find("llama3.1:70b")?;
    let refused = check_tensor_parallel(&entry.model, quant("bf16")?, 3).err();
    let pool = |machine| {
        let found =
            Question::new("llama3.1:70b", "bf16", machine).by(Engine::Vllm).load(8192, 1).ask()?;
        found.room.pool.ok_or_else(|| Wrong::new("no pool"))
    };
    let (two, four) = (pool("2xa100")?, pool("4xa100")?);
    let why = refused.clone().unwrap_or_default();
    Ok(Finding {
        holds: if refused.is_some() { Holds::No } else { Holds::Yes },
        figures: vec![
            ("two_tokens", two.0 as f64),
            ("two_least", two.1 as f64),
            ("four_tokens", four.0 as f64),
        ],
        words: format!(
            "vLLM refuses to start: {why}. Two cards work and leave at most {} tokens of cache ({} requests \
             of 8,192), four {}",
            two.0,
            two.0 / 8192,
            four.0
        ),
    })
}

fn instances() -> Result<Finding, Wrong> {
    let one = |context| Question::new("mistral:7b", "q4_k_m", "a10").load(context, 1).needs();
    let (short, long) = (3.0 * one(8192)?, 3.0 * one(32_768)?);
    let slots = Question::new("mistral:7b", "q4_k_m", "a10").load(8192, 12).needs()?;
    Ok(Finding {
        holds: if short <= 22.5 { Holds::Partly } else { Holds::No },
        figures: vec![("short_gib", short), ("long_gib", long), ("slots_gib", slots)],
        words: format!(
            "with 8,192 tokens {short:.1} GiB of 22.5, with 32,768 {long:.1}: no. One instance with 12 slots \
             takes {slots:.1}: slots share the weights and are computed together, instances share \
             only the 600 GB/s"
        ),
    })
}

fn mixtral() -> Result<Finding, Wrong> {
    let gib = |model: &str, quant| Ok::<f64, Wrong>(gb(model, quant)? * 1e9 / (1_u64 << 30) as f64);
    let [q4, q5, q8, f16] = ["q4_k_m", "q5_k_m", "q8_0", "f16"];
    let (q4, q5) = (gib("mixtral:8x7b", q4)?, gib("mixtral:8x7b", q5)?);
    let (q8, f16) = (gib("mixtral:8x7b", q8)?, gib("mixtral:8x7b", f16)?);
    let small = gib("mistral:7b", "f16")?;
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("q4", q4), ("q5", q5), ("q8", q8), ("f16", f16), ("mistral_f16", small)],
        words: format!(
            "weights alone: Q4_K_M {q4:.1}, Q5_K_M {q5:.1}, Q8_0 {q8:.1}, F16 {f16:.0} GiB. Mistral 7B at F16 \
             is {small:.1} GiB: tight on 16 with a context"
        ),
    })
}

fn slots() -> Result<Finding, Wrong> {
    let (entry, _) = catalogue::find("mixtral:8x7b")?;
    let layers = entry.model.layers.len() + 1;
    let each = 4096 / 4;
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("layers", layers as f64), ("each", f64::from(each))],
        words: format!(
            "35 is more than the {layers} layers there are, so all are on the GPU; but the context is divided \
             by the slots: {each} tokens for each request"
        ),
    })
}

fn image() -> Result<Finding, Wrong> {
    let models =
        [("llama3.3:70b", "q4_k_m"), ("qwen2.5-coder:32b", "q4_k_m"), ("mistral:7b", "q4_k_m")];
    let sizes: Result<Vec<f64>, Wrong> =
        models.iter().map(|(model, quant)| gb(model, quant)).collect();
    let total: f64 = sizes?.iter().sum();
    Ok(Finding {
        holds: Holds::Partly,
        figures: vec![("image_gb", total)],
        words: format!(
            "the image grows by {total:.0} GB, pulled by each node at each update. Its health check calls \
             curl, which neither that base image nor ollama/ollama has (read, not computed)"
        ),
    })
}

fn retries() -> Finding {
    Finding {
        holds: Holds::No,
        figures: Vec::new(),
        words:
            "it calls itself at each error and counts nothing: with all instances failing it never \
                ends, without a wait in between, and a mistake of the client is retried as well; a \
                connection that is refused is not retried at all (read, not computed)"
                .to_owned(),
    }
}

fn replicas() -> Result<Finding, Wrong> {
    let one = Question::new("llama3.3:70b", "q4_k_m", "rtx4090").ask()?;
    let needs = in_gib(one.whole.total());
    Ok(Finding {
        holds: if one.verdict == Verdict::No { Holds::No } else { Holds::Partly },
        figures: vec![("needs_gib", needs)],
        words: format!(
            "one GPU of 24 GB per pod cannot hold the 70B ({needs:.1} GiB); without a volume each pod pulls \
             all models again, readiness says nothing about a loaded model, and a LoadBalancer \
             publishes an Ollama without a key (read, not computed)"
        ),
    })
}
