//! The forward pass of llama-architecture models.
//!
//! Weights are shared and read-only; each conversation computes in its own [`Cache`]. Numbers follow
//! llama.cpp where it has a choice (keys and values rounded to f16, inputs quantised like weights,
//! long sums in double precision), so that the most probable token is the same one.

use crate::LoadError;
use crate::gguf::Gguf;
use crate::kernels::{self, Matrix, Scratch};

/// Prompt tokens computed at a time: how long a cancelled request can go unnoticed.
pub(crate) const PREFILL_CHUNK: usize = 16;

/// Positions whose memory a cache keeps when a new request begins (46 MB in the default model).
const IDLE_POSITIONS: usize = 1024;

/// The sizes that shape a model.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) layers: usize,
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) ffn: usize,
    pub(crate) vocab: usize,
    pub(crate) context: usize,
    pub(crate) eps: f32,
    pub(crate) rope_base: f32,
    pub(crate) rope_dim: usize,
}

struct Layer {
    attn_norm: Vec<f32>,
    q: Matrix,
    k: Matrix,
    v: Matrix,
    o: Matrix,
    ffn_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// A model's weights.
pub(crate) struct Llama {
    shape: Shape,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// None when the output shares the embedding's weights.
    output: Option<Matrix>,
}

impl Shape {
    fn read(file: &Gguf) -> Result<Self, LoadError> {
        let architecture = file.text("general.architecture").unwrap_or("unknown");
        if architecture != "llama" {
            return Err(file.unsupported(format!("architecture {architecture} (only llama is)")));
        }
        if file.has("rope_freqs.weight") || file.text("llama.rope.scaling.type").is_some() {
            return Err(file.unsupported("scaled rotary positions"));
        }
        if file.number("llama.expert_count").unwrap_or(0) > 0 {
            return Err(file.unsupported("a mixture of experts"));
        }
        let dim = file.required("llama.embedding_length")?;
        let heads = file.required("llama.attention.head_count")?;
        let kv_heads = file.number("llama.attention.head_count_kv").unwrap_or(heads);
        if heads == 0
            || kv_heads == 0
            || !dim.is_multiple_of(heads)
            || !heads.is_multiple_of(kv_heads)
        {
            return Err(file.malformed("attention heads do not divide the embedding"));
        }
        let context = file.required("llama.context_length")?;
        let head_dim = file.number("llama.attention.key_length").unwrap_or(dim / heads);
        let rope_dim = file.number("llama.rope.dimension_count").unwrap_or(head_dim);
        if rope_dim == 0 || rope_dim > head_dim || !rope_dim.is_multiple_of(2) {
            return Err(file.malformed("rotary dimensions do not fit a head"));
        }
        let ffn = file.required("llama.feed_forward_length")?;
        if context == 0 || ffn == 0 {
            return Err(file.malformed("a size is zero"));
        }
        Ok(Self {
            layers: file.required("llama.block_count")?,
            dim,
            heads,
            kv_heads,
            head_dim,
            ffn,
            vocab: file.texts("tokenizer.ggml.tokens")?.len(),
            context,
            eps: file.real("llama.attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            rope_base: file.real("llama.rope.freq_base").unwrap_or(10_000.0),
            rope_dim,
        })
    }
}

impl Llama {
    /// Reads all weights.
    pub(crate) fn load(file: &mut Gguf) -> Result<Self, LoadError> {
        let s = Shape::read(file)?;
        let (q_dim, kv_dim) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
        let mut layers = Vec::new();
        for i in 0..s.layers {
            let name = |part: &str| format!("blk.{i}.{part}.weight");
            layers.push(Layer {
                attn_norm: file.vector(&name("attn_norm"), s.dim)?,
                q: file.matrix(&name("attn_q"), q_dim, s.dim)?,
                k: file.matrix(&name("attn_k"), kv_dim, s.dim)?,
                v: file.matrix(&name("attn_v"), kv_dim, s.dim)?,
                o: file.matrix(&name("attn_output"), s.dim, q_dim)?,
                ffn_norm: file.vector(&name("ffn_norm"), s.dim)?,
                gate: file.matrix(&name("ffn_gate"), s.ffn, s.dim)?,
                up: file.matrix(&name("ffn_up"), s.ffn, s.dim)?,
                down: file.matrix(&name("ffn_down"), s.dim, s.ffn)?,
            });
        }
        let embedding = file.matrix("token_embd.weight", s.vocab, s.dim)?;
        let norm = file.vector("output_norm.weight", s.dim)?;
        let output = if file.has("output.weight") {
            Some(file.matrix("output.weight", s.vocab, s.dim)?)
        } else {
            None
        };
        Ok(Self { shape: s, embedding, layers, norm, output })
    }

    /// The model's sizes.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Bytes of weights held in memory.
    pub(crate) fn bytes(&self) -> usize {
        let layer = |l: &Layer| {
            [&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down]
                .map(Matrix::bytes)
                .iter()
                .sum::<usize>()
        };
        self.embedding.bytes()
            + self.output.as_ref().map_or(0, Matrix::bytes)
            + self.layers.iter().map(layer).sum::<usize>()
    }

    /// Weights used for one token, a measure of the work it takes.
    pub(crate) fn parameters(&self) -> usize {
        let size = |m: &Matrix| m.shape().0 * m.shape().1;
        let layer = |l: &Layer| {
            [&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down].map(size).iter().sum::<usize>()
        };
        size(&self.embedding)
            + self.output.as_ref().map_or(0, size)
            + self.layers.iter().map(layer).sum::<usize>()
    }

    /// Appends `tokens` to the cache. The caller keeps the total within the context.
    pub(crate) fn append(&self, tokens: &[u32], cache: &mut Cache) {
        let s = &self.shape;
        let start = cache.tokens.len();
        let Buffers { hidden, .. } = &mut cache.buffers;
        hidden.clear();
        hidden.resize(tokens.len() * s.dim, 0.0);
        for (token, row) in tokens.iter().zip(hidden.chunks_exact_mut(s.dim)) {
            self.embedding.row(*token as usize, row);
        }
        cache.buffers.rotations.fill(s, start, tokens.len());
        for (layer, kv) in self.layers.iter().zip(&mut cache.layers) {
            layer.attend(s, kv, &mut cache.buffers);
            layer.feed_forward(s, &mut cache.buffers);
        }
        cache.tokens.extend_from_slice(tokens);
    }

    /// Scores of every token to follow the last one appended.
    pub(crate) fn logits<'c>(&self, cache: &'c mut Cache) -> &'c [f32] {
        let b = &mut cache.buffers;
        let last = b.hidden.len() - self.shape.dim;
        kernels::rms_norm(&b.hidden[last..], &self.norm, self.shape.eps, &mut b.normed);
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        output.multiply(&b.normed, &mut b.logits, &mut b.scratch);
        &b.logits
    }
}

impl Layer {
    fn attend(&self, s: &Shape, kv: &mut LayerCache, b: &mut Buffers) {
        kernels::rms_norm(&b.hidden, &self.attn_norm, s.eps, &mut b.normed);
        self.q.multiply(&b.normed, &mut b.q, &mut b.scratch);
        self.k.multiply(&b.normed, &mut b.k, &mut b.scratch);
        self.v.multiply(&b.normed, &mut b.v, &mut b.scratch);
        b.rotations.apply(&mut b.q, s.heads, s.head_dim);
        b.rotations.apply(&mut b.k, s.kv_heads, s.head_dim);
        for values in [&mut b.q, &mut b.k, &mut b.v] {
            kernels::round_to_half(values);
        }
        let before = kv.positions();
        kv.push(&b.k, &b.v);
        b.mixed.clear();
        b.mixed.resize(b.q.len(), 0.0);
        let q_dim = s.heads * s.head_dim;
        for (i, (q, out)) in
            b.q.chunks_exact(q_dim).zip(b.mixed.chunks_exact_mut(q_dim)).enumerate()
        {
            kv.mix(before + i + 1, q, out);
        }
        self.o.multiply(&b.mixed, &mut b.projected, &mut b.scratch);
        kernels::add(&mut b.hidden, &b.projected);
    }

    fn feed_forward(&self, s: &Shape, b: &mut Buffers) {
        kernels::rms_norm(&b.hidden, &self.ffn_norm, s.eps, &mut b.normed);
        self.gate.multiply(&b.normed, &mut b.gate, &mut b.scratch);
        self.up.multiply(&b.normed, &mut b.up, &mut b.scratch);
        kernels::swiglu(&mut b.gate, &b.up);
        self.down.multiply(&b.gate, &mut b.projected, &mut b.scratch);
        kernels::add(&mut b.hidden, &b.projected);
    }
}

/// One conversation's keys and values, and the buffers to compute in.
pub(crate) struct Cache {
    tokens: Vec<u32>,
    layers: Vec<LayerCache>,
    buffers: Buffers,
}

impl Cache {
    /// An empty cache for a model; it grows with what is appended.
    pub(crate) fn new(model: &Llama) -> Self {
        let s = &model.shape;
        Self {
            tokens: Vec::new(),
            layers: (0..s.layers).map(|_| LayerCache::new(s)).collect(),
            buffers: Buffers::default(),
        }
    }

    /// The tokens whose keys and values are held.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Forgets everything after the first `keep` tokens.
    pub(crate) fn truncate(&mut self, keep: usize) {
        self.tokens.truncate(keep);
        for layer in &mut self.layers {
            layer.truncate(keep);
        }
    }
}

/// Keys and values of one layer, one list per head, so that a head's rows lie side by side.
struct LayerCache {
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
    head_dim: usize,
    /// Query heads that share one head of keys and values.
    group: usize,
    scores: Vec<f32>,
}

impl LayerCache {
    fn new(s: &Shape) -> Self {
        Self {
            keys: vec![Vec::new(); s.kv_heads],
            values: vec![Vec::new(); s.kv_heads],
            head_dim: s.head_dim,
            group: s.heads / s.kv_heads,
            scores: Vec::new(),
        }
    }

    fn positions(&self) -> usize {
        self.keys[0].len() / self.head_dim
    }

    fn truncate(&mut self, positions: usize) {
        let keep = positions * self.head_dim;
        for rows in self.keys.iter_mut().chain(&mut self.values) {
            rows.truncate(keep);
            // One long conversation shall not hold its memory for ever.
            if rows.capacity() > IDLE_POSITIONS * self.head_dim {
                rows.shrink_to(keep.max(IDLE_POSITIONS * self.head_dim));
            }
        }
    }

    fn push(&mut self, k: &[f32], v: &[f32]) {
        for (store, rows) in [(&mut self.keys, k), (&mut self.values, v)] {
            for row in rows.chunks_exact(store.len() * self.head_dim) {
                for (head, part) in store.iter_mut().zip(row.chunks_exact(self.head_dim)) {
                    head.extend_from_slice(part);
                }
            }
        }
    }

    /// Each head's mix of the values at the first `visible` positions.
    fn mix(&mut self, visible: usize, q: &[f32], out: &mut [f32]) {
        let width = self.head_dim;
        let scale = 1.0 / (width as f32).sqrt();
        kernels::vectorised(|| {
            for (h, (q, out)) in q.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate()
            {
                let (keys, values) = (&self.keys[h / self.group], &self.values[h / self.group]);
                let score = |k: &[f32]| kernels::dot(k, q) * scale;
                self.scores.clear();
                self.scores.extend(keys.chunks_exact(width).take(visible).map(score));
                kernels::softmax(&mut self.scores);
                for (p, v) in self.scores.iter().zip(values.chunks_exact(width)) {
                    kernels::add_scaled(out, *p, v);
                }
            }
        });
    }
}

#[derive(Default)]
struct Buffers {
    hidden: Vec<f32>,
    normed: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    mixed: Vec<f32>,
    projected: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    logits: Vec<f32>,
    rotations: Rotations,
    scratch: Scratch,
}

/// Cosine and sine of each rotary angle for the positions being appended.
#[derive(Default)]
struct Rotations {
    pairs: Vec<(f32, f32)>,
    per_position: usize,
}

impl Rotations {
    fn fill(&mut self, s: &Shape, start: usize, count: usize) {
        self.per_position = s.rope_dim / 2;
        self.pairs.clear();
        let step = s.rope_base.powf(-2.0 / s.rope_dim as f32);
        for position in start..start + count {
            let mut angle = position as f32;
            for _ in 0..self.per_position {
                self.pairs.push((angle.cos(), angle.sin()));
                angle *= step;
            }
        }
    }

    /// Rotates neighbouring pairs of each head, one position per row.
    fn apply(&self, rows: &mut [f32], heads: usize, head_dim: usize) {
        for (row, pairs) in
            rows.chunks_exact_mut(heads * head_dim).zip(self.pairs.chunks_exact(self.per_position))
        {
            for head in row.chunks_exact_mut(head_dim) {
                for (xy, (cos, sin)) in head.chunks_exact_mut(2).zip(pairs) {
                    let (x, y) = (xy[0], xy[1]);
                    xy[0] = x * cos - y * sin;
                    xy[1] = x * sin + y * cos;
                }
            }
        }
    }
}
