//! How long an attempt may take at an upstream.

use std::time::Duration;

/// Deadlines of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For name look-up, connection and TLS together.
    pub connect: Duration,
    /// To the head of an answer that is not a stream.
    pub first_byte: Duration,
    /// To the first content.
    pub first_token: Duration,
    /// Between two reads.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Timeouts {
    /// The same, none of those until the answer is there later than this.
    #[must_use]
    pub fn within(self, left: Duration) -> Self {
        Self {
            connect: self.connect.min(left),
            first_byte: self.first_byte.min(left),
            first_token: self.first_token.min(left),
            total: self.total.min(left),
            ..self
        }
    }
}
