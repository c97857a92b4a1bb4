//! A model's tensors: what a parameter count sums and a quantisation picks types for.

use crate::model::{Attention, Experts, Ffn, Latent, Layer, Mixer, Model, Recurrent};

/// What a tensor does, as far as quantisation tells tensors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each name says what the tensor does")]
pub enum Role {
    TokenEmbedding,
    Output,
    AttentionQ,
    AttentionK,
    AttentionV,
    /// Query, key and value in one.
    AttentionQkv,
    AttentionOutput,
    FfnGate,
    FfnUp,
    FfnDown,
    /// A matrix that no mixing rule names.
    OtherMatrix,
    /// Norms, biases, routers: never quantised.
    Plain,
}

/// One tensor, or all experts' tensors of one role in one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// What it does.
    pub role: Role,
    /// Its layer; none for the embedding and the output.
    pub layer: Option<u64>,
    /// Length of a row.
    pub columns: u64,
    /// Number of rows, of all experts.
    pub rows: u64,
    /// It belongs to experts of which a token takes so many of so many.
    pub experts: Option<(u64, u64)>,
}

impl Tensor {
    /// Its numbers.
    pub fn parameters(&self) -> u64 {
        self.columns.saturating_mul(self.rows)
    }
}

impl Model {
    /// All tensors of the text model, in the order of a GGUF file: the embedding, the layers, the output.
    pub fn tensors(&self) -> Vec<Tensor> {
        let table = |role| Tensor {
            role,
            layer: None,
            columns: self.hidden,
            rows: self.vocab,
            experts: None,
        };
        let mut all = vec![table(Role::TokenEmbedding)];
        for (at, layer) in self.layers.iter().enumerate() {
            all.extend(of_layer(layer, self.hidden, at as u64));
        }
        all.push(Tensor { role: Role::Plain, rows: 1, ..table(Role::Plain) });
        if !self.tied {
            all.push(table(Role::Output));
        }
        all
    }

    /// Numbers of the text model.
    pub fn parameters(&self) -> u64 {
        self.tensors().iter().map(Tensor::parameters).fold(0, u64::saturating_add)
    }

    /// Numbers that one token meets: all but the other experts and an untied input table.
    pub fn active_parameters(&self) -> u64 {
        let met = |tensor: &Tensor| match tensor.experts {
            Some((active, count)) => tensor.parameters() / count.max(1) * active,
            None if tensor.role == Role::TokenEmbedding && !self.tied => 0,
            None => tensor.parameters(),
        };
        self.tensors().iter().map(met).fold(0, u64::saturating_add)
    }
}

/// The tensors of one layer.
pub(crate) fn of_layer(layer: &Layer, hidden: u64, at: u64) -> Vec<Tensor> {
    let mut list = List { at, all: Vec::with_capacity(12) };
    match &layer.mixer {
        Mixer::Attention(attention) => list.attention(attention, hidden),
        Mixer::Latent(latent) => list.latent(latent, hidden),
        Mixer::Recurrent(recurrent) => list.recurrent(recurrent, hidden),
    }
    list.ffn(&layer.ffn, hidden);
    list.plain(layer.norms);
    list.all
}

struct List {
    at: u64,
    all: Vec<Tensor>,
}

impl List {
    fn matrix(&mut self, role: Role, columns: u64, rows: u64) {
        self.all.push(Tensor { role, layer: Some(self.at), columns, rows, experts: None });
    }

    fn plain(&mut self, numbers: u64) {
        if numbers > 0 {
            self.matrix(Role::Plain, numbers, 1);
        }
    }

    fn attention(&mut self, it: &Attention, hidden: u64) {
        let (query, key) = (it.heads * it.head_dim, it.kv_heads * it.head_dim);
        if it.fused {
            self.matrix(Role::AttentionQkv, hidden, query + 2 * key);
        } else {
            self.matrix(Role::AttentionQ, hidden, if it.gated { 2 * query } else { query });
            self.matrix(Role::AttentionK, hidden, key);
            if !it.key_is_value {
                self.matrix(Role::AttentionV, hidden, key);
            }
        }
        self.matrix(Role::AttentionOutput, query, hidden);
        self.plain(it.plain);
    }

    fn latent(&mut self, it: &Latent, hidden: u64) {
        let query = it.heads * (it.nope + it.rope);
        if it.q_rank > 0 {
            self.matrix(Role::OtherMatrix, hidden, it.q_rank);
            self.matrix(Role::OtherMatrix, it.q_rank, query);
            self.plain(it.q_rank);
        } else {
            self.matrix(Role::AttentionQ, hidden, query);
        }
        self.matrix(Role::OtherMatrix, hidden, it.kv_rank + it.rope);
        self.matrix(Role::OtherMatrix, it.nope, it.heads * it.kv_rank);
        self.matrix(Role::OtherMatrix, it.kv_rank, it.heads * it.value);
        self.plain(it.kv_rank);
        self.matrix(Role::AttentionOutput, it.heads * it.value, hidden);
    }

    fn recurrent(&mut self, it: &Recurrent, hidden: u64) {
        let values = it.value_heads * it.dim;
        self.matrix(Role::AttentionQkv, hidden, it.conv_width());
        self.matrix(Role::OtherMatrix, hidden, values);
        self.matrix(Role::OtherMatrix, hidden, 2 * it.value_heads);
        self.plain(it.conv_width() * it.kernel + 2 * it.value_heads + it.dim);
        self.matrix(Role::OtherMatrix, values, hidden);
    }

    fn ffn(&mut self, it: &Ffn, hidden: u64) {
        if it.dense > 0 {
            self.gate_up_down(hidden, it.dense, it.fused);
        }
        let Some(experts) = &it.experts else { return };
        self.plain(hidden * experts.count + experts.plain);
        self.experts(experts, hidden);
        if experts.shared > 0 {
            self.gate_up_down(hidden, experts.shared, false);
        }
    }

    fn gate_up_down(&mut self, hidden: u64, ffn: u64, fused: bool) {
        if fused {
            self.matrix(Role::FfnUp, hidden, 2 * ffn);
        } else {
            self.matrix(Role::FfnGate, hidden, ffn);
            self.matrix(Role::FfnUp, hidden, ffn);
        }
        self.matrix(Role::FfnDown, ffn, hidden);
    }

    fn experts(&mut self, it: &Experts, hidden: u64) {
        let mut of_experts = |role, columns: u64, rows: u64| {
            let rows = rows.saturating_mul(it.count);
            let experts = Some((it.active, it.count));
            self.all.push(Tensor { role, layer: Some(self.at), columns, rows, experts });
        };
        of_experts(Role::FfnGate, hidden, it.size);
        of_experts(Role::FfnUp, hidden, it.size);
        of_experts(Role::FfnDown, it.size, hidden);
        if it.plain_each > 0 {
            of_experts(Role::Plain, it.plain_each, 1);
        }
    }
}
