//! What is known of models, in Gemini's shapes. What nobody knows is left out.

use crate::answer::Answer;
use crate::inbound::ModelFacts;
use crate::write::{self, Json};

fn entry(json: &mut Json, model: &ModelFacts) {
    json.put("name", &format!("models/{}", model.name));
    json.put("baseModelId", &model.name);
    json.put("version", "1");
    json.put("displayName", &model.name);
    if let Some(tokens) = model.context_tokens {
        json.put_number("inputTokenLimit", tokens);
    }
    let can: &[&str] = if model.embeds {
        &["embedContent", "batchEmbedContents"]
    } else {
        &["generateContent", "streamGenerateContent", "countTokens"]
    };
    json.put_array("supportedGenerationMethods", |j| can.iter().for_each(|word| j.text(word)));
    if let Some(thinking) = model.thinking {
        json.put_flag("thinking", thinking);
    }
}

/// `GET /v1beta/models`. All models are on one page.
pub fn models(models: &[ModelFacts]) -> Answer {
    Answer::json(write::object(|j| {
        j.put_array("models", |j| models.iter().for_each(|model| j.object(|j| entry(j, model))));
    }))
}

/// `GET /v1beta/models/{model}`.
pub fn model(model: &ModelFacts) -> Answer {
    Answer::json(write::object(|j| entry(j, model)))
}
