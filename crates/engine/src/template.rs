//! The model's own chat template: messages in, prompt text out.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};

use crate::RequestError;

/// Template instructions a prompt may take: thousands of messages fit, an endless loop does not.
const FUEL: u64 = 2_000_000;
const NAME: &str = "chat";

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// system, user or assistant; what else is understood depends on the model's template.
    pub role: String,
    /// The text.
    pub content: String,
}

/// Shows sizes only: content never reaches a log.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({}, {} bytes)", self.role, self.content.len())
    }
}

/// A compiled template.
pub(crate) struct Template {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

impl Template {
    /// Compiles a template that knows the names of the begin and end markers.
    pub(crate) fn compile(source: &str, begin: String, end: String) -> Result<Self, String> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(syntax.build().map_err(|e| e.to_string())?);
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(|e| e.to_string())?;
        Ok(Self { environment, begin, end })
    }

    /// Renders a conversation up to where the assistant's answer begins.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, RequestError> {
        let turn =
            |m: &Message| context! { role => m.role.as_str(), content => m.content.as_str() };
        let values = context! {
            messages => messages.iter().map(turn).collect::<Vec<Value>>(),
            add_generation_prompt => true,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
        };
        self.environment.get_template(NAME).and_then(|t| t.render(values)).map_err(|e| {
            // The detail is the template's own message; it may not quote the conversation.
            let reason = e.detail().unwrap_or("it does not accept this conversation");
            RequestError::invalid("messages", format!("the model's chat template failed: {reason}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    fn render(source: &str, messages: &[Message]) -> Result<String, RequestError> {
        Template::compile(source, "<s>".into(), "</s>".into()).expect("compiles").render(messages)
    }

    #[test]
    fn blocks_leave_no_blank_lines() {
        let source = "{% for m in messages %}\n  {% if m.role == 'user' %}\n{{ m.content.strip() }}\n  {% endif %}\n{% endfor %}\n{{ eos_token }}";
        let text = render(source, &[message("user", " hi "), message("system", "x")]);
        assert_eq!(text.expect("renders"), "hi\n</s>");
    }

    #[test]
    fn a_template_that_refuses_is_the_clients_error() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[]);
        let Err(RequestError::Invalid { field: "messages", message }) = error else {
            panic!("expected a refusal")
        };
        assert!(message.contains("roles must alternate"), "{message}");
    }

    #[test]
    fn an_endless_template_ends() {
        assert!(
            render(
                "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
                &[]
            )
            .is_err()
        );
    }

    #[test]
    fn debug_does_not_show_content() {
        assert!(!format!("{:?}", message("user", "secret")).contains("secret"));
    }
}
