//! The handle's methods for prompts.

use cutover_prompts::{Book, Label};

use super::Store;
use crate::error::StoreError;
use crate::prompts::{MoveLabel, NewPrompt, PromptAdded, PromptError};

impl Store {
    /// Adds a version of a prompt, with its label if one is named, or nothing.
    pub async fn add_prompt(&self, new: NewPrompt) -> Result<PromptAdded, PromptError> {
        self.call(move |backend| backend.add_prompt(&new)).await?
    }

    /// Moves a label, if nobody else did since the caller read it.
    pub async fn move_label(&self, to: MoveLabel) -> Result<Label, PromptError> {
        self.call(move |backend| backend.move_label(&to)).await?
    }

    /// All prompts.
    pub async fn prompts(&self) -> Result<Book, StoreError> {
        self.call(|backend| backend.prompts()).await?
    }
}
