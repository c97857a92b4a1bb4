//! How ggml stores numbers: block types with their exact sizes.

/// How one tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are ggml's own")]
#[expect(non_camel_case_types, reason = "the names are ggml's own")]
pub enum Block {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ3_XXS,
    IQ3_S,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
    NVFP4,
}

/// One row of ggml's table of types.
#[derive(Debug)]
pub struct BlockRow {
    /// The type, or none for one that no weight of a language model uses.
    pub block: Option<Block>,
    /// Its number in a GGUF file.
    pub id: u32,
    /// Its name.
    pub name: &'static str,
    /// How many numbers a block holds.
    pub elements: u64,
    /// How many bytes it takes.
    pub bytes: u64,
}

const fn row(block: Block, id: u32, name: &'static str, (elements, bytes): (u64, u64)) -> BlockRow {
    BlockRow { block: Some(block), id, name, elements, bytes }
}

const fn other(id: u32, name: &'static str, elements: u64, bytes: u64) -> BlockRow {
    BlockRow { block: None, id, name, elements, bytes }
}

/// All types that a GGUF file may name, the first rows in [`Block`]'s order. Sizes are those of the
/// `gguf` package 0.19.
pub const BLOCKS: &[BlockRow] = &[
    row(Block::F32, 0, "F32", (1, 4)),
    row(Block::F16, 1, "F16", (1, 2)),
    row(Block::BF16, 30, "BF16", (1, 2)),
    row(Block::Q4_0, 2, "Q4_0", (32, 18)),
    row(Block::Q4_1, 3, "Q4_1", (32, 20)),
    row(Block::Q5_0, 6, "Q5_0", (32, 22)),
    row(Block::Q5_1, 7, "Q5_1", (32, 24)),
    row(Block::Q8_0, 8, "Q8_0", (32, 34)),
    row(Block::Q2_K, 10, "Q2_K", (256, 84)),
    row(Block::Q3_K, 11, "Q3_K", (256, 110)),
    row(Block::Q4_K, 12, "Q4_K", (256, 144)),
    row(Block::Q5_K, 13, "Q5_K", (256, 176)),
    row(Block::Q6_K, 14, "Q6_K", (256, 210)),
    row(Block::IQ1_S, 19, "IQ1_S", (256, 50)),
    row(Block::IQ1_M, 29, "IQ1_M", (256, 56)),
    row(Block::IQ2_XXS, 16, "IQ2_XXS", (256, 66)),
    row(Block::IQ2_XS, 17, "IQ2_XS", (256, 74)),
    row(Block::IQ2_S, 22, "IQ2_S", (256, 82)),
    row(Block::IQ3_XXS, 18, "IQ3_XXS", (256, 98)),
    row(Block::IQ3_S, 21, "IQ3_S", (256, 110)),
    row(Block::IQ4_NL, 20, "IQ4_NL", (32, 18)),
    row(Block::IQ4_XS, 23, "IQ4_XS", (256, 136)),
    row(Block::MXFP4, 39, "MXFP4", (32, 17)),
    row(Block::NVFP4, 40, "NVFP4", (64, 36)),
    other(9, "Q8_1", 32, 40),
    other(15, "Q8_K", 256, 292),
    other(24, "I8", 1, 1),
    other(25, "I16", 1, 2),
    other(26, "I32", 1, 4),
    other(27, "I64", 1, 8),
    other(28, "F64", 1, 8),
    other(34, "TQ1_0", 256, 54),
    other(35, "TQ2_0", 256, 66),
    other(41, "Q1_0", 128, 18),
];

impl Block {
    /// Its row.
    pub fn row(self) -> &'static BlockRow {
        // The table begins in the enum's order; a test compares.
        &BLOCKS[self as usize]
    }

    /// What a tensor of this shape takes: a row of numbers is whole blocks.
    pub fn bytes(self, columns: u64, rows: u64) -> u64 {
        let row = self.row();
        columns.div_ceil(row.elements).saturating_mul(row.bytes).saturating_mul(rows)
    }

    /// Whether rows of this length are whole blocks.
    pub fn divides(self, columns: u64) -> bool {
        columns.is_multiple_of(self.row().elements)
    }

    /// Whether it is a quantised type.
    pub fn is_quantised(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::BF16)
    }
}

/// The type with this number in a GGUF file.
pub fn by_id(id: u32) -> Option<&'static BlockRow> {
    BLOCKS.iter().find(|row| row.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_finds_its_own_row_and_numbers_are_unique() {
        for row in BLOCKS {
            assert!(row.block.is_none_or(|block| block.row().id == row.id), "{}", row.name);
            assert_eq!(BLOCKS.iter().filter(|other| other.id == row.id).count(), 1);
        }
    }

    #[test]
    fn bits_per_weight_are_the_published_ones() {
        let bits = |block: Block| block.row().bytes as f64 * 8.0 / block.row().elements as f64;
        for (block, published) in [
            (Block::F16, 16.0),
            (Block::Q8_0, 8.5),
            (Block::Q6_K, 6.5625),
            (Block::Q5_K, 5.5),
            (Block::Q5_0, 5.5),
            (Block::Q5_1, 6.0),
            (Block::Q4_K, 4.5),
            (Block::Q4_0, 4.5),
            (Block::IQ4_NL, 4.5),
            (Block::Q4_1, 5.0),
            (Block::IQ4_XS, 4.25),
            (Block::MXFP4, 4.25),
            (Block::NVFP4, 4.5),
            (Block::Q3_K, 3.4375),
            (Block::IQ3_S, 3.4375),
            (Block::Q2_K, 2.625),
            (Block::IQ2_XS, 2.3125),
            (Block::IQ2_XXS, 2.0625),
            (Block::IQ1_S, 1.5625),
        ] {
            assert!((bits(block) - published).abs() < 1e-12, "{}", block.row().name);
        }
    }
}
