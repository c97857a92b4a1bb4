//! llama.cpp's mixing rules: which type a tensor gets.
//!
//! IQ3_XXS and smaller are made with an importance matrix here: llama.cpp refuses most of them without
//! one. Larger ones are made without, which is never the smaller file: with a matrix IQ4_XS and IQ4_NL
//! are 1 % smaller, and Q4_0 is 0.4 % larger.

use crate::blocks::Block;
use crate::model::Model;
use crate::tensors::{Role, Tensor};

/// A mixture. The name is llama.cpp's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are llama.cpp's own")]
#[expect(non_camel_case_types, reason = "the names are llama.cpp's own")]
pub enum Mix {
    F16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q5_K_S,
    Q5_1,
    Q5_0,
    Q4_K_M,
    Q4_K_S,
    Q4_1,
    Q4_0,
    IQ4_NL,
    IQ4_XS,
    Q3_K_L,
    Q3_K_M,
    Q3_K_S,
    IQ3_M,
    IQ3_S,
    IQ3_XS,
    IQ3_XXS,
    Q2_K,
    Q2_K_S,
    IQ2_M,
    IQ2_S,
    IQ2_XS,
    IQ2_XXS,
    IQ1_M,
    IQ1_S,
    MXFP4,
}

impl Mix {
    /// The type of a tensor that no rule names.
    pub fn base(self) -> Block {
        match self {
            Self::F16 => Block::F16,
            Self::Q8_0 => Block::Q8_0,
            Self::Q6_K => Block::Q6_K,
            Self::Q5_K_M | Self::Q5_K_S => Block::Q5_K,
            Self::Q5_1 => Block::Q5_1,
            Self::Q5_0 => Block::Q5_0,
            Self::Q4_K_M | Self::Q4_K_S => Block::Q4_K,
            Self::Q4_1 => Block::Q4_1,
            Self::Q4_0 => Block::Q4_0,
            Self::IQ4_NL => Block::IQ4_NL,
            Self::IQ4_XS => Block::IQ4_XS,
            Self::Q3_K_L | Self::Q3_K_M | Self::Q3_K_S => Block::Q3_K,
            Self::IQ3_M | Self::IQ3_S | Self::IQ3_XS => Block::IQ3_S,
            Self::IQ3_XXS => Block::IQ3_XXS,
            Self::Q2_K | Self::Q2_K_S => Block::Q2_K,
            Self::IQ2_M => Block::IQ2_S,
            Self::IQ2_S | Self::IQ2_XS => Block::IQ2_XS,
            Self::IQ2_XXS => Block::IQ2_XXS,
            Self::IQ1_M => Block::IQ1_M,
            Self::IQ1_S => Block::IQ1_S,
            Self::MXFP4 => Block::MXFP4,
        }
    }

    /// The family of rules for one and two bits.
    fn is_tiny(self) -> bool {
        use Mix::{IQ1_M, IQ1_S, IQ2_M, IQ2_S, IQ2_XS, IQ2_XXS};
        matches!(self, IQ1_M | IQ1_S | IQ2_M | IQ2_S | IQ2_XS | IQ2_XXS)
    }

    fn is_iq2_m_or_s(self) -> bool {
        matches!(self, Self::IQ2_M | Self::IQ2_S)
    }
}

/// The rules at work on one model.
pub(super) struct Rules {
    mix: Mix,
    layers: u64,
    gqa: u64,
    experts: u64,
    tied: bool,
    seventy_b: bool,
    values: u64,
    value_at: u64,
    down_at: u64,
}

fn is_value(role: Role) -> bool {
    matches!(role, Role::AttentionV | Role::AttentionQkv)
}

/// The first and last eighth, and every third layer between.
fn use_more_bits(at: u64, of: u64) -> bool {
    at < of / 8 || at >= 7 * of / 8 || (at.saturating_sub(of / 8)) % 3 == 2
}

impl Rules {
    pub(super) fn new(model: &Model, tensors: &[Tensor], mix: Mix) -> Self {
        let (heads, kv_heads) = model.heads();
        let values = tensors.iter().filter(|tensor| is_value(tensor.role)).count() as u64;
        let layers = model.layers.len() as u64;
        let gqa = heads / kv_heads.max(1);
        Self {
            mix,
            layers,
            gqa,
            experts: model.experts(),
            tied: model.tied,
            seventy_b: layers == 80 && gqa > 1,
            values,
            value_at: 0,
            down_at: 0,
        }
    }

    /// The type of the next tensor, in the order of the file.
    pub(super) fn block(&mut self, tensor: &Tensor) -> Block {
        let base = self.mix.base();
        if tensor.role == Role::Plain {
            return Block::F32;
        }
        if !base.is_quantised() {
            return base;
        }
        let wanted = self.wanted(tensor, base);
        fit_row(wanted, tensor.columns)
    }

    fn wanted(&mut self, tensor: &Tensor, base: Block) -> Block {
        use Role::{
            AttentionK, AttentionOutput, AttentionQ, FfnDown, FfnGate, FfnUp, Output,
            TokenEmbedding,
        };
        let mix = self.mix;
        if tensor.role == Output || (self.tied && tensor.role == TokenEmbedding) {
            return self.output(tensor.columns, base);
        }
        if mix == Mix::MXFP4 {
            return if tensor.experts.is_some() { Block::MXFP4 } else { Block::Q8_0 };
        }
        let at = tensor.layer.unwrap_or(0);
        match tensor.role {
            TokenEmbedding => embedding(mix, base),
            role if is_value(role) => self.value(base),
            AttentionK => self.key(base),
            AttentionQ => match mix {
                Mix::IQ3_XS => Block::IQ3_XXS,
                Mix::IQ3_XXS => Block::IQ2_S,
                _ => base,
            },
            AttentionOutput => self.attention_output(base),
            FfnDown => self.down(at, base),
            FfnGate | FfnUp if mix == Mix::IQ3_XS => {
                let middle = at >= self.layers / 8 && at < 7 * self.layers / 8;
                if middle { Block::IQ3_XXS } else { base }
            }
            _ => base,
        }
    }

    fn output(&self, columns: u64, base: Block) -> Block {
        use Mix::{IQ1_M, IQ1_S, IQ2_M, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_XXS};
        let small = [IQ1_M, IQ1_S, IQ2_M, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_XXS];
        if self.mix == Mix::MXFP4 || base == Block::Q8_0 || !base.divides(columns) {
            Block::Q8_0
        } else if small.contains(&self.mix) {
            Block::Q5_K
        } else {
            Block::Q6_K
        }
    }

    fn value(&mut self, base: Block) -> Block {
        let at = self.value_at;
        self.value_at += 1;
        let mix = self.mix;
        let grouped = self.gqa >= 4;
        if mix.is_tiny() {
            return match (grouped || self.experts >= 4, mix.is_iq2_m_or_s()) {
                (true, _) => Block::Q4_K,
                (false, true) => Block::IQ3_S,
                (false, false) => Block::Q2_K,
            };
        }
        let mut block = match mix {
            Mix::Q2_K if !grouped => Block::Q3_K,
            Mix::Q2_K | Mix::Q2_K_S | Mix::IQ3_XXS | Mix::IQ3_XS | Mix::IQ3_S if grouped => {
                Block::Q4_K
            }
            Mix::Q3_K_M if at < 2 => Block::Q5_K,
            Mix::Q3_K_M | Mix::IQ3_M => Block::Q4_K,
            Mix::Q3_K_L => Block::Q5_K,
            Mix::IQ4_NL | Mix::IQ4_XS if grouped => Block::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if use_more_bits(at, self.values) => Block::Q6_K,
            Mix::Q4_K_S if at < 4 => Block::Q5_K,
            _ => base,
        };
        if self.seventy_b && matches!(block, Block::Q3_K | Block::Q4_K) {
            block = Block::Q5_K;
        }
        if self.experts == 8 { Block::Q8_0 } else { block }
    }

    fn key(&self, base: Block) -> Block {
        match self.mix {
            mix if self.experts == 8 => {
                if mix.is_tiny() {
                    Block::Q4_K
                } else {
                    Block::Q8_0
                }
            }
            Mix::IQ3_XS => Block::IQ3_XXS,
            Mix::IQ3_XXS => Block::IQ2_S,
            _ => base,
        }
    }

    fn attention_output(&self, base: Block) -> Block {
        use Mix::{IQ1_M, IQ1_S, IQ2_M, IQ2_S, IQ3_M, IQ3_S, IQ3_XS, IQ3_XXS, IQ4_NL, IQ4_XS};
        use Mix::{Q2_K, Q3_K_L, Q3_K_M, Q3_K_S, Q4_K_M, Q4_K_S};
        let lifted =
            [Q2_K, IQ3_XS, IQ3_XXS, Q3_K_S, Q3_K_M, IQ4_NL, Q4_K_S, Q4_K_M, IQ3_S, IQ3_M, IQ4_XS];
        if self.experts == 8 {
            let lift = self.mix.is_tiny() || lifted.contains(&self.mix);
            return if lift { Block::Q5_K } else { base };
        }
        match self.mix {
            IQ1_S | IQ1_M => Block::IQ2_XXS,
            IQ2_S | IQ2_M | IQ3_XXS => Block::IQ3_S,
            Q2_K => Block::Q3_K,
            Q3_K_M | IQ3_M => Block::Q4_K,
            Q3_K_L => Block::Q5_K,
            _ => base,
        }
    }

    fn down(&mut self, layer: u64, base: Block) -> Block {
        // With experts the layer is read from the tensor's name, else tensors are counted.
        let at = if self.experts > 1 { layer } else { self.down_at };
        self.down_at += 1;
        let first = at < self.layers / 8;
        match self.mix {
            mix if mix.is_tiny() => match (first, mix.is_iq2_m_or_s()) {
                (true, true) => Block::IQ3_S,
                (true, false) => Block::Q2_K,
                _ => base,
            },
            Mix::Q2_K => Block::Q3_K,
            Mix::Q2_K_S if first => Block::Q4_K,
            Mix::Q3_K_M if at < self.layers / 16 => Block::Q5_K,
            Mix::Q3_K_M => Block::Q4_K,
            Mix::IQ3_M if first || (self.experts == 8 && use_more_bits(at, self.layers)) => {
                Block::Q4_K
            }
            Mix::Q3_K_L => Block::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if use_more_bits(at, self.layers) => Block::Q6_K,
            Mix::IQ4_NL | Mix::IQ4_XS | Mix::Q4_K_S if first => Block::Q5_K,
            _ => base,
        }
    }
}

fn embedding(mix: Mix, base: Block) -> Block {
    match mix {
        Mix::IQ2_XXS | Mix::IQ2_XS | Mix::IQ1_S | Mix::IQ1_M => Block::Q2_K,
        Mix::IQ2_S | Mix::IQ2_M | Mix::IQ3_XXS => Block::IQ3_S,
        _ => base,
    }
}

/// A row that is not whole blocks takes a type of smaller blocks.
fn fit_row(wanted: Block, columns: u64) -> Block {
    if wanted.divides(columns) {
        return wanted;
    }
    let smaller = match wanted {
        Block::Q2_K | Block::Q3_K => Block::Q4_0,
        Block::Q4_K => Block::Q5_0,
        Block::Q5_K => Block::Q5_1,
        Block::Q6_K => Block::Q8_0,
        block if block.is_quantised() => Block::IQ4_NL,
        block => block,
    };
    if smaller.divides(columns) { smaller } else { Block::F16 }
}
