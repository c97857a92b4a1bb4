//! Two of llama.cpp's servers, as a user has them: one that chats, one that embeds.

use std::fmt::Write as _;

use super::{LlamaOptions, LlamaServer, Unavailable, tiny_model};

/// A server for chats and one for vectors, both with a tiny model.
#[derive(Debug)]
pub struct LlamaPair {
    chat: LlamaServer,
    embed: LlamaServer,
}

impl LlamaPair {
    /// Starts both; the first one's context is this long, over all slots.
    pub fn start(context: u32) -> Result<Self, Unavailable> {
        let tiny = tiny_model()?;
        let chat = LlamaServer::start(&tiny, &LlamaOptions { context, ..LlamaOptions::default() })?;
        let embeds = LlamaOptions { embeddings: true, ..LlamaOptions::default() };
        Ok(Self { chat, embed: LlamaServer::start(&tiny, &embeds)? })
    }

    /// The config of a program in front of them: the use case `app` chats, `vectors` embeds.
    pub fn config(&self) -> String {
        let mut config = String::from("default_upstream = \"chat\"\n");
        for (name, server, use_case) in
            [("chat", &self.chat, "app"), ("embed", &self.embed, "vectors")]
        {
            let base = server.base_url();
            let _infallible = write!(
                config,
                "[upstreams.{name}]\nprovider = \"llamacpp\"\ninstances = [\"{base}/v1\"]\n\
                 [variants.{name}]\nupstream = \"{name}\"\nmodel = \"llama\"\n\
                 [use_cases.{use_case}]\nmatch = {{ model = \"{use_case}\" }}\n\
                 baseline = \"{name}\"\n"
            );
        }
        config
    }
}
