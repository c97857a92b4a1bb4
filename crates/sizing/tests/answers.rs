//! What an answer says beside its figures: rents, contexts, commands.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_sizing::catalogue;
use cutover_sizing::dims::Dims;
use cutover_sizing::engine::Engine;
use cutover_sizing::fit::{Answer, Ask, answer};
use cutover_sizing::hardware::Machine;
use cutover_sizing::kv::Kv;
use cutover_sizing::model::Model;
use cutover_sizing::quant::quant;
use cutover_sizing::speed::Exchange;

fn ask(model: &Model, tag: &str, (name, machine, engine): (&str, &str, Engine)) -> Answer {
    answer(&Ask {
        model,
        tag,
        quant: quant(name).unwrap(),
        weights: None,
        kv: Kv::default(),
        engine,
        machine: &Machine::parse(machine).unwrap(),
        context: 8192,
        sequences: 1,
        exchange: Exchange { prompt: 500, output: 200 },
    })
    .unwrap()
}

/// A sum beside the source's other price of one GPU made the dearer offer look cheaper.
#[test]
fn a_rent_of_several_gpus_says_the_price_of_one() {
    let (entry, _) = catalogue::find("llama3.3:70b").unwrap();
    let found = ask(&entry.model, "llama3.3:70b", ("q8_0", "2xrtx4090", Engine::Ollama));
    let four = found.others.iter().find(|other| other.to == "4 x RTX 4090").unwrap();
    assert!(four.price.starts_with("rented from 1.36 USD/h, 4 x 0.34 ("), "{}", four.price);
    let one = found.others.iter().find(|other| other.to == "H100 SXM").unwrap();
    assert!(one.price.starts_with("rented from 2.69 USD/h ("), "{}", one.price);
}

/// The bandwidth of a processor's memory is a guess that decides the speed.
#[test]
fn a_speed_of_the_processor_says_what_it_takes_for_its_memory() {
    let (entry, _) = catalogue::find("llama3.1:8b").unwrap();
    let says = |machine| {
        let found = ask(&entry.model, "llama3.1:8b", ("q4_k_m", machine, Engine::Ollama));
        found.notes.iter().any(|note| note.starts_with("speed is for memory that delivers 85 GB/s"))
    };
    assert!(says("none") && !says("rtx4090"));
}

/// Dimensions say nothing of a longest context: it was told as one token.
#[test]
fn a_model_whose_longest_context_is_unknown_is_not_said_to_have_one_token() {
    let dims = "layers=32,hidden=4096,heads=32,kv_heads=8,ffn=14336,vocab=128256";
    let model = Dims::parse(dims).unwrap().build("by-hand").unwrap();
    let found = ask(&model, "", ("q4_k_m", "rtx4090", Engine::Ollama));
    assert!(
        found.notes.iter().any(|note| note.contains("unasked it takes 32768 tokens at the most")),
        "{:?}",
        found.notes
    );
}

/// `ollama pull` of a file or of a name made up here fetches nothing.
#[test]
fn commands_pull_what_has_a_name_and_take_files_from_where_they_are() {
    let (entry, _) = catalogue::find("llama3.1:8b").unwrap();
    let lines = |tag, engine, name| ask(&entry.model, tag, (name, "rtx4090", engine)).commands;
    let ollama = lines("/models/my.gguf", Engine::Ollama, "q4_k_m");
    assert_eq!(
        ollama[1..],
        ["echo 'FROM /models/my.gguf' > Modelfile", "ollama create NAME -f Modelfile"]
    );
    let llama = lines("/models/my.gguf", Engine::LlamaCpp, "q4_k_m");
    assert!(llama[0].starts_with("llama-server -m '/models/my.gguf' "), "{llama:?}");
    assert_eq!(lines("", Engine::Ollama, "q4_k_m").len(), 1);
    assert_eq!(lines("llama3.1:8b", Engine::Ollama, "q4_k_m")[1], "ollama pull llama3.1:8b");
    assert!(lines("", Engine::Vllm, "bf16")[0].starts_with("vllm serve MODEL "));
}
