//! The values that are one of a few words.

macro_rules! choice {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$vdoc])* $variant,)+ }

        impl $type {
            /// The words in the file.
            pub const WORDS: &'static [&'static str] = &[$($text,)+];

            /// The word in the file.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

choice! {
    /// How much of what upstreams say of their failures is logged.
    UpstreamMessages {
        /// Type, code, and of the message the words of a fixed list.
        Words = "words",
        /// Type, code and message: it may hold what was asked.
        Full = "full",
    }
}

choice! {
    /// Severity of log lines.
    LogLevel {
        /// Someone must act.
        Error = "error",
        /// Something went wrong and was handled.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// For finding a fault.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

choice! {
    /// Form of log lines.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// What happens to a field that the target cannot honour.
    Unsupported {
        /// The request is refused with a 400 that names the field.
        Strict = "strict",
        /// The field is dropped, and the loss is reported in a header, the log and a metric.
        Lenient = "lenient",
    }
}

choice! {
    /// How the embedded engine holds a model's weights.
    Quantization {
        /// As the model file has them.
        File = "file",
        /// 16-bit floating point.
        F16 = "f16",
        /// 8 bits: nearly the full model's answers.
        Q8_0 = "q8_0",
        /// 4 bits: smaller, visibly different answers.
        Q4_0 = "q4_0",
    }
}

choice! {
    /// Which role carries a model's instructions.
    SystemRole {
        /// Its own.
        System = "system",
        /// The user's: the model's template has no other.
        User = "user",
    }
}

choice! {
    /// How a model is held to a form of its answers.
    StructuredOutput {
        /// By the engine, as the client asked.
        Native = "native",
        /// By the engine's own field for a schema.
        Grammar = "grammar",
        /// JSON by the engine, the schema in words.
        JsonMode = "json-mode",
        /// In words; the answer's one JSON object is taken out of its text.
        InstructAndRepair = "instruct-and-repair",
    }
}

choice! {
    /// Whether the usage of a stream is asked for.
    StreamUsage {
        /// `stream_options.include_usage` is sent with every stream.
        Ask = "ask",
        /// `stream_options` is never sent; the usage is estimated.
        Never = "never",
    }
}

choice! {
    /// What happens to images that a chat names by address.
    ImageUrls {
        /// The address is passed on: the upstream fetches.
        Pass = "pass",
        /// The request is refused.
        Refuse = "refuse",
        /// The image is fetched here and goes inside the request.
        Fetch = "fetch",
    }
}

choice! {
    /// How much a thinking model on Ollama thinks.
    Think {
        /// Not at all.
        Off = "off",
        /// As the model does by itself.
        On = "on",
        /// Little.
        Low = "low",
        /// Some.
        Medium = "medium",
        /// Much.
        High = "high",
    }
}
