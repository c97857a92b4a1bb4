//! A prompt that is ready to be rendered.
//!
//! ```text
//! Prompt::compile  all that can be told without values: parts, tags, names
//! Prompt::needs    which entries of `vars` and `metadata` it names
//! Prompt::render   with values; once where no request's value is named, else for each request
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::io;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use crate::document::{Document, Part, Place, Section, Speaker};
use crate::scan::scan;
use crate::{FUEL, Problem, RENDERED_BYTES_MAX};

/// The names that a prompt may use.
const ROOTS: [&str; 4] = ["model", "variant", "vars", "metadata"];

/// What a prompt's names stand for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `vars`: what the config file sets.
    pub vars: &'a BTreeMap<String, serde_json::Value>,
    /// `model`: the model's name at the upstream.
    pub model: &'a str,
    /// `variant`: the variant's name.
    pub variant: &'a str,
    /// `metadata`: the entries of the request's that it may use.
    pub metadata: &'a BTreeMap<String, String>,
}

/// The entries that a prompt names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Of `vars`.
    pub vars: BTreeSet<String>,
    /// Of `metadata`: if there are any, it is rendered for each request.
    pub metadata: BTreeSet<String>,
}

/// A prompt's parts with the values filled in. Its `Debug` shows lengths only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The system prompt, and where it goes.
    pub system: Option<(Place, String)>,
    /// What stands before the client's last user message, in it.
    pub user_before: Option<String>,
    /// What stands after it.
    pub user_after: Option<String>,
    /// Messages between the system prompt and the client's.
    pub examples: Vec<(Speaker, String)>,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |text: &Option<String>| text.as_ref().map(String::len);
        f.debug_struct("Rendered")
            .field("system", &self.system.as_ref().map(|(place, text)| (*place, text.len())))
            .field("user_before", &length(&self.user_before))
            .field("user_after", &length(&self.user_after))
            .field("examples", &self.examples.len())
            .finish()
    }
}

/// A prompt that is ready to be rendered.
pub struct Prompt {
    sections: Vec<Section>,
    /// The template of the section at n is called n.
    environment: Environment<'static>,
    needs: Needs,
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prompt").field("sections", &self.sections).finish_non_exhaustive()
    }
}

impl Prompt {
    /// Checks a text and makes it ready.
    pub fn compile(text: &str) -> Result<Self, Problem> {
        let Document { sections } = Document::parse(text)?;
        let mut environment = environment();
        let mut needs = Needs::default();
        for (at, section) in sections.iter().enumerate() {
            scan(&section.text, section.line)?;
            environment
                .add_template_owned(at.to_string(), section.text.clone())
                .map_err(|error| told(&error, section.line))?;
            let template = environment.get_template(&at.to_string());
            let names = template.map_err(|error| told(&error, section.line))?;
            for name in names.undeclared_variables(true) {
                needs.take(&name).map_err(|why| Problem::new(line_of(section, &name), why))?;
            }
        }
        Ok(Self { sections, environment, needs })
    }

    /// The entries of `vars` and `metadata` that it names.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether it differs from request to request.
    pub fn is_per_request(&self) -> bool {
        !self.needs.metadata.is_empty()
    }

    /// The line of the first use of a name such as `vars.bank`.
    pub fn line_of(&self, name: &str) -> usize {
        let uses = self.sections.iter().find(|section| section.text.contains(name));
        uses.map_or(1, |section| line_of(section, name))
    }

    /// Fills the values in.
    pub fn render(&self, scope: &Scope<'_>) -> Result<Rendered, Problem> {
        let values = Value::from(Serde(serde_json::json!({
            "model": scope.model,
            "variant": scope.variant,
            "vars": scope.vars,
            "metadata": scope.metadata,
        })));
        let mut rendered = Rendered::default();
        let mut room = RENDERED_BYTES_MAX;
        for (at, section) in self.sections.iter().enumerate() {
            let text = self.one(at, section, (&values, room))?;
            room -= text.len();
            let text = text.trim();
            if text.is_empty() {
                if let Part::Example(_) = section.part {
                    let message = "this example is empty for the values given";
                    return Err(Problem::new(section.line, message));
                }
                continue;
            }
            let text = text.to_owned();
            match section.part {
                Part::System(place) => rendered.system = Some((place, text)),
                Part::UserBefore => rendered.user_before = Some(text),
                Part::UserAfter => rendered.user_after = Some(text),
                Part::Example(speaker) => rendered.examples.push((speaker, text)),
            }
        }
        Ok(rendered)
    }

    fn one(
        &self,
        at: usize,
        section: &Section,
        (values, room): (&Value, usize),
    ) -> Result<String, Problem> {
        let template = self.environment.get_template(&at.to_string());
        let template = template.map_err(|error| told(&error, section.line))?;
        let mut out = Bounded { text: Vec::new(), room, full: false };
        let done = template.render_captured_to(values.clone(), &mut out).map(drop);
        if out.full {
            let message = format!("the prompt grows beyond {RENDERED_BYTES_MAX} bytes");
            return Err(Problem::new(section.line, message));
        }
        done.map_err(|error| told(&error, section.line))?;
        String::from_utf8(out.text).map_err(|_| Problem::new(section.line, "not UTF-8"))
    }
}

impl Needs {
    fn take(&mut self, name: &str) -> Result<(), String> {
        let mut path = name.split('.');
        let root = path.next().unwrap_or_default();
        match (root, path.next()) {
            ("vars", Some(entry)) => _ = self.vars.insert(entry.to_owned()),
            ("metadata", Some(entry)) => _ = self.metadata.insert(entry.to_owned()),
            ("model" | "variant", None) => {}
            ("model" | "variant", Some(_)) => return Err(format!("{root} is a text")),
            ("vars" | "metadata", None) => {
                return Err(format!("write {root}.NAME: each value is named by itself"));
            }
            _ => {
                let near = cutover_units::did_you_mean(root, ROOTS);
                let near = near.map(|near| format!("; {near}")).unwrap_or_default();
                let known = ROOTS.join(", ");
                return Err(format!("there is no value {root:?}, only {known}{near}"));
            }
        }
        Ok(())
    }
}

fn line_of(section: &Section, name: &str) -> usize {
    let before = section.text.find(name).and_then(|at| section.text.get(..at));
    section.line + before.map_or(0, |text| text.matches('\n').count())
}

/// An error of the engine. Its detail may hold pieces of tags, never values: see [`limited`].
fn told(error: &Error, first_line: usize) -> Problem {
    let line = first_line + error.line().unwrap_or(1).saturating_sub(1);
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("the prompt takes more than {FUEL} steps"),
        (ErrorKind::UndefinedError, _) => "a value is not defined here".to_owned(),
        (
            kind @ (ErrorKind::SyntaxError
            | ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction),
            Some(detail),
        ) => format!("{kind}: {detail}"),
        (kind, _) => kind.to_string(),
    };
    Problem::new(line, message)
}

fn environment() -> Environment<'static> {
    use minijinja::{filters, tests};
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("default", filters::default);
    environment.add_filter("length", filters::length);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("upper", |text: &str| limited(text.to_uppercase()));
    environment.add_filter("lower", |text: &str| limited(text.to_lowercase()));
    environment.add_filter("trim", |text: &str| text.trim().to_owned());
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("tojson", to_json);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("string", tests::is_string);
    environment.add_test("number", tests::is_number);
    environment.add_test("true", tests::is_true);
    environment.add_test("false", tests::is_false);
    environment
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, "a filter's result is too long")
}

fn limited(text: String) -> Result<String, Error> {
    if text.len() > RENDERED_BYTES_MAX { Err(too_long()) } else { Ok(text) }
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let found = text.matches(from).count();
    if found.saturating_mul(to.len()).saturating_add(text.len()) > RENDERED_BYTES_MAX {
        return Err(too_long());
    }
    Ok(text.replace(from, to))
}

#[expect(clippy::needless_pass_by_value, reason = "the engine hands values over")]
fn join(list: Value, between: Option<&str>) -> Result<String, Error> {
    let mut out = Bounded::new();
    for (at, item) in list.try_iter()?.enumerate() {
        let gap = if at == 0 { "" } else { between.unwrap_or("") };
        write!(out, "{gap}{item}").map_err(|_| too_long())?;
    }
    out.finish()
}

#[expect(clippy::needless_pass_by_value, reason = "the engine hands values over")]
fn to_json(value: Value) -> Result<String, Error> {
    let mut out = Bounded::new();
    serde_json::to_writer(&mut out, &value).map_err(|_| too_long())?;
    out.finish()
}

/// Text that ends with an error where the room does.
struct Bounded {
    text: Vec<u8>,
    room: usize,
    full: bool,
}

impl Bounded {
    fn new() -> Self {
        Self { text: Vec::new(), room: RENDERED_BYTES_MAX, full: false }
    }

    fn finish(self) -> Result<String, Error> {
        String::from_utf8(self.text).map_err(|_| too_long())
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room - self.text.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        io::Write::write(self, text.as_bytes()).map(drop).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// What is let through must not take the stack of a thread that compiles it, however deep it is.
    #[test]
    fn the_deepest_that_is_let_through_is_compiled_and_rendered_on_a_small_stack() {
        let (signs, depth) = (crate::TAG_SIGNS_MAX - 1, crate::DEPTH_MAX);
        let within = |value: String| {
            let ifs = "{% if vars.limit %}".repeat(depth);
            format!("{ifs}{{{{ {value} }}}}{}", "{% endif %}".repeat(depth))
        };
        let elifs = "{% elif not vars.limit %}".repeat(depth - 1);
        let texts = [
            within("-".repeat(signs) + "1"),
            within("not ".repeat(signs) + "1"),
            within("1".to_owned() + &" and 1".repeat(signs / 2)),
            within("model".to_owned() + &"|upper".repeat(signs / 2)),
            format!("{{% if vars.limit %}}a{elifs}{{% endif %}}"),
        ];
        let compile = move || {
            for text in texts {
                let done = rendered(&text);
                assert!(done.is_ok(), "{text}: {done:?}");
            }
        };
        std::thread::Builder::new().stack_size(1 << 20).spawn(compile).unwrap().join().unwrap();
    }

    fn rendered(text: &str) -> Result<Rendered, Problem> {
        let vars: BTreeMap<_, _> = [
            ("bank".to_owned(), json!("N{{26")),
            ("limit".to_owned(), json!(3)),
            ("kinds".to_owned(), json!(["rent", "pay"])),
            ("big".to_owned(), json!("x".repeat(1000))),
        ]
        .into();
        let metadata = [("country".to_owned(), "{{ model }}".to_owned())].into();
        let scope = Scope { vars: &vars, model: "m", variant: "v", metadata: &metadata };
        Prompt::compile(text)?.render(&scope)
    }

    fn system(text: &str) -> String {
        match rendered(text) {
            Ok(rendered) => rendered.system.map(|(_, text)| text).unwrap_or_default(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn values_are_filled_in_and_never_read_as_templates() {
        assert_eq!(system("{{ vars.bank }}, {{ model }}, {{ variant }}"), "N{{26, m, v");
        assert_eq!(system("{{ metadata.country }}"), "{{ model }}");
        assert_eq!(system("{{ metadata.language | default('en') }}"), "en");
        assert_eq!(
            system("{% for k in vars.kinds %}- {{ k|upper }}\n{% endfor %}"),
            "- RENT\n- PAY"
        );
        assert_eq!(system("{% if vars.limit > 2 %}many{% else %}few{% endif %}"), "many");
        assert_eq!(
            system("{{ vars.kinds | join(', ') }} {{ vars.kinds | tojson }}"),
            r#"rent, pay ["rent","pay"]"#
        );
        assert_eq!(system("{{ vars.bank | replace('N', 'M') | lower }}"), "m{{26");
    }

    #[test]
    fn all_parts_are_rendered() {
        let text = "@@ system replace\nS\n@@ user before\nB {{ model }}\n@@ user after\nA\n\
                    @@ example user\nQ\n@@ example assistant\nR";
        let rendered = rendered(text).unwrap();
        assert_eq!(rendered.system, Some((Place::Replace, "S".to_owned())));
        assert_eq!(rendered.user_before.as_deref(), Some("B m"));
        assert_eq!(rendered.user_after.as_deref(), Some("A"));
        let examples = [(Speaker::User, "Q".to_owned()), (Speaker::Assistant, "R".to_owned())];
        assert_eq!(rendered.examples, examples);
        assert!(!format!("{rendered:?}").contains('Q'));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            ("a\n{{ vars.none }}", "line 2: a value is not defined here"),
            (
                "a\n\n{{ modle }}",
                "line 3: there is no value \"modle\", only model, variant, vars, metadata; did you mean \"model\"?",
            ),
            ("{{ metadata }}", "line 1: write metadata.NAME: each value is named by itself"),
            ("@@ system\n\n{{ model | shout }}", "line 3: unknown filter: filter shout is unknown"),
            (
                "x\n{% if model %}",
                "line 2: syntax error: unexpected end of input, expected end of block",
            ),
            (
                "{{ range(9) }}",
                "line 1: there is no value \"range\", only model, variant, vars, metadata",
            ),
            ("{{ model.upper() }}", "line 1: model is a text"),
        ] {
            assert_eq!(system(text), expected, "{text}");
        }
    }

    #[test]
    fn steps_and_output_are_limited() {
        let loops = "{% for a in vars.kinds %}".repeat(18);
        let text = format!("{loops}x{}", "{% endfor %}".repeat(18));
        assert!(system(&text).contains("steps"), "{}", system(&text));
        let grow = "|replace('x', 'xxxxxxxxxx')".repeat(4);
        assert_eq!(system(&format!("{{{{ vars.big{grow} }}}}")), "line 1: invalid operation");
        let wide = "{{ vars.big }}".repeat(600);
        assert!(system(&wide).contains("grows beyond"), "{}", system(&wide));
        for deep in ["{% if model %}".repeat(20_000), format!("{{{{ {}", "(".repeat(100_000))] {
            assert!(Prompt::compile(&deep).is_err());
        }
    }

    #[test]
    fn what_a_prompt_needs_is_known_before_it_is_rendered() {
        let prompt =
            Prompt::compile("{{ vars.a }}{% if metadata.b %}{{ metadata.c.d }}{% endif %}");
        let prompt = prompt.unwrap();
        let set = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(*prompt.needs(), Needs { vars: set(&["a"]), metadata: set(&["b", "c"]) });
        assert!(prompt.is_per_request());
        assert!(!Prompt::compile("{{ model }}").unwrap().is_per_request());
        assert_eq!(Prompt::compile("a\n{{ vars.x }}").unwrap().line_of("vars.x"), 2);
    }

    proptest! {
        #[test]
        fn no_template_panics_or_outgrows_the_limit(
            pieces in prop::collection::vec(prop::sample::select(&[
                "{{ ", " }}", "{% ", " %}", "if ", "else", "endif", "for ", " in ", "endfor", "raw", "endraw",
                "vars.big", "vars.kinds", "model", "metadata.country", "loop.index", " | ", "replace('x', 'xx')",
                "join('y')", "upper", "default(", ")", "(", "'", "\"", "x", "\n", "@@ user after\n", "- ", "1",
                " == ", " and ", ".", ",", " // 0", "{#", "#}", "é", "tojson", " is defined", "loop(", "-1",
            ][..]), 0..60)
        ) {
            if let Ok(rendered) = rendered(&pieces.concat()) {
                let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                let all = rendered.system.as_ref().map_or(0, |(_, text)| text.len())
                    + length(&rendered.user_before) + length(&rendered.user_after)
                    + rendered.examples.iter().map(|(_, text)| text.len()).sum::<usize>();
                prop_assert!(all <= RENDERED_BYTES_MAX);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = rendered(&text);
        }
    }
}
