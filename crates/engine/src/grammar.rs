//! Output that must be JSON: which tokens may come next.
//!
//! The vocabulary's trie takes a fraction of a second to build, so it is built at the first request
//! that needs it and shared from then on.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use cutover_json::levels;
use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::RequestError;
use crate::tokenizer::{Piece, Tokenizer};

/// How deep a schema may be with each of its references followed once. Schemas are compiled by recursion, and
/// a stack that overflows takes the process with it: [`STACK_BYTES`] holds many times this.
const DEPTH_MAX: usize = 4_096;

/// The stack of the thread that compiles schemas. It is address space; what is not used takes no memory.
pub(crate) const STACK_BYTES: usize = 128 << 20;

/// What the answer must be.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputFormat {
    /// Any text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that satisfies this schema. Whitespace between tokens is not produced.
    JsonSchema(Value),
}

/// Makes constraints for one vocabulary.
pub(crate) struct Grammars {
    tokenizer: Arc<Tokenizer>,
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl Grammars {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, factory: OnceLock::new() }
    }

    /// The constraint for a format; none for free text.
    pub(crate) fn constraint(
        &self,
        format: OutputFormat,
    ) -> Result<Option<Constraint>, RequestError> {
        let schema = match format {
            OutputFormat::Text => return Ok(None),
            OutputFormat::JsonObject => json!({"type": "object"}),
            OutputFormat::JsonSchema(schema) => schema,
        };
        let refuse = |reason: String| RequestError::invalid("schema", reason);
        let depth = depth(&schema);
        let Value::Object(mut schema) = schema else {
            return Err(refuse("the JSON schema is not an object".into()));
        };
        if depth > DEPTH_MAX {
            let why = "with its references followed it may be";
            let message = format!(
                "the JSON schema is too deep: {why} {depth} levels deep, of at most {DEPTH_MAX}"
            );
            return Err(refuse(message));
        }
        // A small model left free to indent fills its whole answer with blanks.
        schema.insert("x-guidance".into(), json!({"whitespace_flexible": false}));
        let factory = self.factory.get_or_init(|| build(&self.tokenizer));
        let factory = factory.as_ref().map_err(|e| refuse(e.clone()))?;
        let grammar = TopLevelGrammar::from_json_schema(Value::Object(schema));
        let mut matcher = Matcher::new(factory.create_parser(grammar));
        // Some schemas are only found out when the first token is asked for: those that refer to
        // themselves without end, or that nothing satisfies.
        let first = matcher.compute_mask();
        if let Some(error) = matcher.get_error() {
            return Err(refuse(format!("the JSON schema cannot be used: {error}")));
        }
        match first {
            Ok(mask) if !mask.is_zero() => Ok(Some(Constraint { matcher })),
            _ => Err(refuse("no JSON value satisfies the schema".into())),
        }
    }
}

/// An upper bound of how deep the compiler goes: each reference may lead to the deepest place, and is followed
/// once. Whoever read the schema from JSON has bounded its own depth.
fn depth(schema: &Value) -> usize {
    let mut references = HashSet::new();
    find_references(schema, &mut references);
    levels(schema).saturating_mul(references.len() + 1)
}

fn find_references<'v>(value: &'v Value, found: &mut HashSet<&'v str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| find_references(item, found)),
        Value::Object(members) => {
            for (key, member) in members {
                if let ("$ref" | "$dynamicRef", Value::String(to)) = (key.as_str(), member) {
                    found.insert(to);
                }
                find_references(member, found);
            }
        }
        _ => {}
    }
}

fn build(tokenizer: &Arc<Tokenizer>) -> Result<ParserFactory, String> {
    let environment: TokEnv = Arc::new(Environment::new(tokenizer.clone())?);
    let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &[])
        .map_err(|e| e.to_string())?;
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    Ok(factory)
}

/// The state of one constrained answer.
pub(crate) struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// Tokens that may come next.
    pub(crate) fn allowed(&mut self) -> Result<SimpleVob, String> {
        self.matcher.compute_mask_or_eos().map_err(|e| e.to_string())
    }

    /// Takes the chosen token; true if the value is complete and nothing may follow.
    pub(crate) fn advance(&mut self, token: u32) -> Result<bool, String> {
        self.matcher.consume_token(token).map_err(|e| e.to_string())?;
        Ok(self.matcher.is_stopped())
    }
}

/// The vocabulary as llguidance sees it.
struct Environment {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

impl Environment {
    fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, String> {
        let words: Vec<Vec<u8>> = tokenizer
            .pieces()
            .iter()
            .map(|piece| match piece {
                Piece::Text(bytes) => bytes.clone(),
                Piece::Control(name) => {
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat()
                }
            })
            .collect();
        let count = u32::try_from(words.len()).map_err(|_| "vocabulary too large".to_owned())?;
        let trie = TokTrie::from(&TokRxInfo::new(count, tokenizer.end()), &words);
        Ok(Self { tokenizer, trie })
    }
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.trie
            .tokenize_with_greedy_fallback(bytes, |s| self.tokenizer.encode(s).unwrap_or_default())
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}
