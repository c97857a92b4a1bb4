//! The forward pass of BERT sentence encoders: mean of the last layer, normalised to length one.

use std::path::Path;

use serde::Deserialize;

use crate::LoadError;
use crate::kernels::{self, Matrix, Precision, Scratch};
use crate::safetensors::Safetensors;

/// The parts of `config.json` that shape the model.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    pub(crate) max_position_embeddings: usize,
    type_vocab_size: usize,
    pub(crate) vocab_size: usize,
    layer_norm_eps: f32,
    hidden_act: String,
}

/// A linear layer.
struct Linear {
    weight: Matrix,
    bias: Vec<f32>,
}

/// A normalisation.
struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    output_norm: Norm,
    widen: Linear,
    narrow: Linear,
    narrow_norm: Norm,
}

/// A model's weights.
pub(crate) struct Bert {
    pub(crate) config: Config,
    words: Matrix,
    positions: Vec<f32>,
    /// The embedding of segment 0, the only one used.
    segment: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

/// Buffers for one text at a time.
#[derive(Default)]
pub(crate) struct Workspace {
    scratch: Scratch,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    mixed: Vec<f32>,
    wide: Vec<f32>,
    out: Vec<f32>,
    scores: Vec<f32>,
}

impl Bert {
    /// Reads `config.json` and `model.safetensors` from a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path)
            .map_err(|source| LoadError::Read { path: path.clone(), source })?;
        let config: Config = serde_json::from_slice(&text)
            .map_err(|e| LoadError::Malformed { path: path.clone(), reason: e.to_string() })?;
        let heads = config.num_attention_heads;
        let sizes = [heads, config.hidden_size, config.intermediate_size, config.type_vocab_size];
        let whole = !sizes.contains(&0) && config.hidden_size.is_multiple_of(heads);
        if config.hidden_act != "gelu" || !whole {
            let reason = "not a BERT encoder with gelu activation".into();
            return Err(LoadError::Unsupported { path, reason });
        }
        let mut file = Safetensors::open(&folder.join("model.safetensors"))?;
        let dim = config.hidden_size;
        let part = |name: &str| format!("embeddings.{name}.weight");
        let mut words = Matrix::with_capacity(Precision::F32, config.vocab_size, dim);
        words.push_rows(&file.tensor(&part("word_embeddings"), &[config.vocab_size, dim])?);
        let positions = [config.max_position_embeddings, dim];
        let positions = file.tensor(&part("position_embeddings"), &positions)?;
        let mut segment =
            file.tensor(&part("token_type_embeddings"), &[config.type_vocab_size, dim])?;
        segment.truncate(dim);
        let norm = norm(&mut file, "embeddings.LayerNorm", dim)?;
        let layers = (0..config.num_hidden_layers)
            .map(|i| Layer::load(&mut file, &format!("encoder.layer.{i}"), &config))
            .collect::<Result<_, _>>()?;
        Ok(Self { config, words, positions, segment, norm, layers })
    }

    /// Length of the vectors.
    pub(crate) fn dimensions(&self) -> usize {
        self.config.hidden_size
    }

    /// The vector of one text.
    pub(crate) fn encode(&self, tokens: &[u32], w: &mut Workspace) -> Vec<f32> {
        let dim = self.config.hidden_size;
        let mut hidden = vec![0.0; tokens.len() * dim];
        let rows = hidden.chunks_exact_mut(dim).zip(self.positions.chunks_exact(dim));
        for ((row, position), token) in rows.zip(tokens) {
            self.words.row(*token as usize, row);
            kernels::add(row, position);
            kernels::add(row, &self.segment);
        }
        self.norm.apply(&mut hidden, self.config.layer_norm_eps);
        for layer in &self.layers {
            layer.attend(&self.config, &mut hidden, w);
            layer.feed_forward(&self.config, &mut hidden, w);
        }
        let mut mean = vec![0.0; dim];
        for row in hidden.chunks_exact(dim) {
            kernels::add_scaled(&mut mean, 1.0 / tokens.len() as f32, row);
        }
        let length = kernels::dot(&mean, &mean).sqrt().max(f32::MIN_POSITIVE);
        mean.iter().map(|x| x / length).collect()
    }
}

impl Layer {
    fn load(file: &mut Safetensors, prefix: &str, c: &Config) -> Result<Self, LoadError> {
        let (dim, wide) = (c.hidden_size, c.intermediate_size);
        let mut linear =
            |name: &str, rows, cols| linear(file, &format!("{prefix}.{name}"), rows, cols);
        Ok(Self {
            query: linear("attention.self.query", dim, dim)?,
            key: linear("attention.self.key", dim, dim)?,
            value: linear("attention.self.value", dim, dim)?,
            output: linear("attention.output.dense", dim, dim)?,
            widen: linear("intermediate.dense", wide, dim)?,
            narrow: linear("output.dense", dim, wide)?,
            output_norm: norm(file, &format!("{prefix}.attention.output.LayerNorm"), dim)?,
            narrow_norm: norm(file, &format!("{prefix}.output.LayerNorm"), dim)?,
        })
    }

    fn attend(&self, c: &Config, hidden: &mut [f32], w: &mut Workspace) {
        self.query.apply(hidden, &mut w.q, &mut w.scratch);
        self.key.apply(hidden, &mut w.k, &mut w.scratch);
        self.value.apply(hidden, &mut w.v, &mut w.scratch);
        let (dim, width) = (c.hidden_size, c.hidden_size / c.num_attention_heads);
        let scale = 1.0 / (width as f32).sqrt();
        w.mixed.clear();
        w.mixed.resize(hidden.len(), 0.0);
        let rows = w.q.chunks_exact(dim).zip(w.mixed.chunks_exact_mut(dim));
        kernels::vectorised(|| {
            for (q, out) in rows {
                for at in (0..dim).step_by(width) {
                    let head = at..at + width;
                    let score =
                        |k: &[f32]| kernels::dot(&k[head.clone()], &q[head.clone()]) * scale;
                    w.scores.clear();
                    w.scores.extend(w.k.chunks_exact(dim).map(score));
                    kernels::softmax(&mut w.scores);
                    for (p, v) in w.scores.iter().zip(w.v.chunks_exact(dim)) {
                        kernels::add_scaled(&mut out[head.clone()], *p, &v[head.clone()]);
                    }
                }
            }
        });
        self.output.apply(&w.mixed, &mut w.out, &mut w.scratch);
        kernels::add(hidden, &w.out);
        self.output_norm.apply(hidden, c.layer_norm_eps);
    }

    fn feed_forward(&self, c: &Config, hidden: &mut [f32], w: &mut Workspace) {
        self.widen.apply(hidden, &mut w.wide, &mut w.scratch);
        kernels::gelu(&mut w.wide);
        self.narrow.apply(&w.wide, &mut w.out, &mut w.scratch);
        kernels::add(hidden, &w.out);
        self.narrow_norm.apply(hidden, c.layer_norm_eps);
    }
}

impl Linear {
    fn apply(&self, input: &[f32], out: &mut Vec<f32>, scratch: &mut Scratch) {
        self.weight.multiply(input, out, scratch);
        for row in out.chunks_exact_mut(self.bias.len()) {
            kernels::add(row, &self.bias);
        }
    }
}

impl Norm {
    fn apply(&self, rows: &mut [f32], eps: f32) {
        kernels::layer_norm(rows, &self.weight, &self.bias, eps);
    }
}

fn linear(
    file: &mut Safetensors,
    name: &str,
    rows: usize,
    cols: usize,
) -> Result<Linear, LoadError> {
    let mut weight = Matrix::with_capacity(Precision::F32, rows, cols);
    weight.push_rows(&file.tensor(&format!("{name}.weight"), &[rows, cols])?);
    Ok(Linear { weight, bias: file.tensor(&format!("{name}.bias"), &[rows])? })
}

fn norm(file: &mut Safetensors, name: &str, dim: usize) -> Result<Norm, LoadError> {
    Ok(Norm {
        weight: file.tensor(&format!("{name}.weight"), &[dim])?,
        bias: file.tensor(&format!("{name}.bias"), &[dim])?,
    })
}
