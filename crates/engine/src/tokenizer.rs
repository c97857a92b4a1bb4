//! Text to tokens and back, from the vocabulary inside a GGUF file.
//!
//! Only byte-level BPE with the pre-tokenisers named in [`PRE_TOKENIZERS`] is accepted: a wrong
//! split gives plausible but different tokens, so an unknown one is refused.
//!
//! Markers are recognised anywhere in a prompt; see [`crate::Prompt`].

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, Tokenizer as Bpe};

use crate::LoadError;
use crate::gguf::Gguf;

/// Values of `tokenizer.ggml.pre` that are split here exactly as in llama.cpp.
const PRE_TOKENIZERS: [&str; 2] = ["smollm", "gpt-2"];

/// `tokenizer.ggml.token_type` of control tokens, which are never shown.
const CONTROL: usize = 3;
/// `tokenizer.ggml.token_type` of tokens added by a user, matched before splitting.
const USER_DEFINED: usize = 4;

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// These bytes of text, possibly half a character.
    Text(Vec<u8>),
    /// A control token of this name: never shown.
    Control(String),
}

/// A vocabulary with its merge rules.
pub(crate) struct Tokenizer {
    bpe: Bpe,
    pieces: Vec<Piece>,
    begin: Option<u32>,
    end: u32,
    stops: Vec<u32>,
}

impl Tokenizer {
    /// Reads a file's tokenizer.
    pub(crate) fn load(file: &Gguf) -> Result<Self, LoadError> {
        let model = file.text("tokenizer.ggml.model").unwrap_or("none");
        if model != "gpt2" {
            return Err(file.unsupported(format!("tokenizer {model} (only gpt2 is)")));
        }
        let pre = file.text("tokenizer.ggml.pre").unwrap_or("gpt-2");
        if !PRE_TOKENIZERS.contains(&pre) {
            let known = PRE_TOKENIZERS.join(", ");
            return Err(file.unsupported(format!("pre-tokenizer {pre} (only {known} are)")));
        }
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let kinds = file.numbers("tokenizer.ggml.token_type")?;
        if kinds.len() != tokens.len() {
            return Err(file.malformed("token types and tokens differ in number"));
        }
        let bpe = build(file, &tokens, &kinds, pre)?;
        let id = |key: &str| {
            file.number(key).filter(|id| *id < tokens.len()).and_then(|id| u32::try_from(id).ok())
        };
        let end = id("tokenizer.ggml.eos_token_id")
            .ok_or_else(|| file.malformed("metadata tokenizer.ggml.eos_token_id is missing"))?;
        let named = |name: &str| bpe.token_to_id(name);
        let mut stops = vec![end];
        stops.extend(id("tokenizer.ggml.eot_token_id"));
        stops.extend(["<|endoftext|>", "<|im_end|>"].iter().filter_map(|n| named(n)));
        stops.sort_unstable();
        stops.dedup();
        let begin = id("tokenizer.ggml.bos_token_id")
            .filter(|_| file.flag("tokenizer.ggml.add_bos_token").unwrap_or(false));
        let alphabet = byte_of_char();
        let pieces = tokens.iter().zip(&kinds).map(|(t, k)| piece(t, *k, &alphabet)).collect();
        Ok(Self { bpe, pieces, begin, end, stops })
    }

    /// The tokens of a prompt, markers included.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let encoding = self.bpe.encode_fast(text, false).map_err(|e| e.to_string())?;
        let mut ids = Vec::with_capacity(encoding.len() + 1);
        ids.extend(self.begin);
        ids.extend_from_slice(encoding.get_ids());
        Ok(ids)
    }

    /// What each token stands for, by id.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// A token's bytes; empty for control tokens.
    pub(crate) fn bytes(&self, token: u32) -> &[u8] {
        match self.pieces.get(token as usize) {
            Some(Piece::Text(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Bytes of the longest token.
    pub(crate) fn longest(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Text(bytes) => bytes.len(),
            Piece::Control(name) => name.len(),
        };
        self.pieces.iter().map(len).max().unwrap_or(1).max(1)
    }

    /// Whether the model ends its answer with this token.
    pub(crate) fn is_stop(&self, token: u32) -> bool {
        self.stops.contains(&token)
    }

    /// The end-of-answer token.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// The text of a control token, for templates.
    pub(crate) fn name(&self, token: u32) -> Option<String> {
        self.bpe.id_to_token(token)
    }
}

fn build(file: &Gguf, tokens: &[String], kinds: &[usize], pre: &str) -> Result<Bpe, LoadError> {
    let mut merges = Vec::new();
    for merge in file.texts("tokenizer.ggml.merges")? {
        let Some((a, b)) = merge.split_once(' ') else {
            return Err(file.malformed("a merge rule is not a pair"));
        };
        merges.push((a.to_owned(), b.to_owned()));
    }
    let vocabulary = tokens
        .iter()
        .enumerate()
        .map(|(i, t)| Ok((t.clone(), u32::try_from(i)?)))
        .collect::<Result<tokenizers::models::bpe::Vocab, std::num::TryFromIntError>>()
        .map_err(|_| file.malformed("too many tokens"))?;
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .build()
        .map_err(|e| file.malformed(format!("the tokenizer is inconsistent: {e}")))?;
    let mut bpe = Bpe::new(model);
    let bytes = ByteLevel::new(false, false, true);
    let split: PreTokenizerWrapper = match pre {
        "smollm" => Sequence::new(vec![Digits::new(true).into(), bytes.into()]).into(),
        _ => bytes.into(),
    };
    bpe.with_pre_tokenizer(Some(split));
    let markers = tokens
        .iter()
        .zip(kinds)
        .filter(|(_, kind)| matches!(**kind, CONTROL | USER_DEFINED))
        .map(|(token, _)| AddedToken::from(token.clone(), true));
    bpe.add_special_tokens(markers).map_err(|e| file.malformed(e.to_string()))?;
    Ok(bpe)
}

fn piece(token: &str, kind: usize, alphabet: &[Option<u8>; 512]) -> Piece {
    if kind == CONTROL {
        return Piece::Control(token.to_owned());
    }
    if kind == USER_DEFINED {
        return Piece::Text(token.as_bytes().to_vec());
    }
    let byte = |c: char| alphabet.get(c as usize).copied().flatten();
    match token.chars().map(byte).collect::<Option<Vec<u8>>>() {
        Some(bytes) => Piece::Text(bytes),
        None => Piece::Text(token.as_bytes().to_vec()),
    }
}

/// The byte that each character of a byte-level vocabulary stands for: printable bytes stand for
/// themselves, the others for the characters from 256 on, in order.
fn byte_of_char() -> [Option<u8>; 512] {
    let mut table = [None; 512];
    let mut next = 256;
    for byte in 0..=u8::MAX {
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let slot = if printable { usize::from(byte) } else { next };
        next += usize::from(!printable);
        table[slot] = Some(byte);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character_and_space_is_the_usual_one() {
        let table = byte_of_char();
        let mut bytes: Vec<u8> = table.iter().flatten().copied().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(table['Ġ' as usize], Some(b' '));
        assert_eq!(table['Ċ' as usize], Some(b'\n'));
    }

    #[test]
    fn control_tokens_have_no_text() {
        let table = byte_of_char();
        assert_eq!(piece("<|im_end|>", CONTROL, &table), Piece::Control("<|im_end|>".into()));
        assert_eq!(piece("Ġthe", 1, &table), Piece::Text(b" the".to_vec()));
    }
}
