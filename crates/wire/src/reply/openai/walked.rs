//! Answers of the usual form, read in one walk. Whatever is unusual or wrong stops the walk; then the
//! parser reads the answer and says what it is.

use super::{Answer, Choice, Said};
use crate::json::walk::{Stop, Walk};
use crate::usage::Told;

type Walked<T> = Result<T, Stop>;

/// Reads an answer and its choices.
pub(super) fn answer(text: &str) -> Walked<Answer<'_>> {
    let mut answer = Answer::default();
    let mut choices = None;
    let mut walk = Walk::new(text);
    walk.object(|walk, name| match name {
        "id" => walk.once(&mut answer.id),
        "model" => walk.once(&mut answer.model),
        "created" => walk.once(&mut answer.created),
        "data" => walk.once(&mut answer.data),
        "usage" if answer.usage.is_some() => Err(Stop),
        "usage" if walk.peek() == Ok(b'n') => walk.once(&mut answer.usage),
        "usage" => {
            let (raw, usage) = walk.with_text(Told::walk)?;
            answer.usage = Some(raw);
            answer.counted = Some(usage);
            Ok(())
        }
        "error" => walk.once(&mut answer.error),
        "choices" if choices.is_none() => {
            let mut list = Vec::with_capacity(1);
            walk.array(|walk| {
                list.push(choice(walk)?);
                Ok(())
            })?;
            choices = Some(list);
            Ok(())
        }
        "choices" => Err(Stop),
        _ => walk.value().map(drop),
    })?;
    walk.end()?;
    for slot in [&mut answer.data, &mut answer.usage, &mut answer.error] {
        present(slot);
    }
    answer.read = choices;
    Ok(answer)
}

fn choice<'a>(walk: &mut Walk<'a>) -> Walked<Choice<'a>> {
    let mut choice = Choice::default();
    walk.object(|walk, name| match name {
        "index" => walk.once(&mut choice.index),
        "finish_reason" => walk.once(&mut choice.finish_reason),
        "native_finish_reason" => walk.once(&mut choice.native_finish_reason),
        "delta" => said(&mut choice.delta, walk),
        "message" => said(&mut choice.message, walk),
        "text" => walk.once(&mut choice.text),
        "logprobs" => walk.once(&mut choice.logprobs),
        _ => walk.value().map(drop),
    })?;
    for slot in [
        &mut choice.index,
        &mut choice.finish_reason,
        &mut choice.native_finish_reason,
        &mut choice.text,
        &mut choice.logprobs,
    ] {
        present(slot);
    }
    Ok(choice)
}

fn said<'a>(slot: &mut Option<Said<'a>>, walk: &mut Walk<'a>) -> Walked<()> {
    if slot.is_some() {
        return Err(Stop);
    }
    let mut said = Said::default();
    walk.object(|walk, name| match name {
        "content" => walk.once(&mut said.content),
        "refusal" => walk.once(&mut said.refusal),
        "reasoning" => walk.once(&mut said.reasoning),
        "reasoning_content" => walk.once(&mut said.reasoning_content),
        "tool_calls" => walk.once(&mut said.tool_calls),
        "function_call" => walk.once(&mut said.function_call),
        "audio" => walk.once(&mut said.audio),
        "images" => walk.once(&mut said.images),
        _ => walk.value().map(drop),
    })?;
    // The others are only asked whether they say anything, and null says nothing.
    present(&mut said.content);
    *slot = Some(said);
    Ok(())
}

/// Null counts as absent.
fn present(slot: &mut Option<&str>) {
    if *slot == Some("null") {
        *slot = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that is read, in a form that can be compared.
    fn shown(answer: serde_json::Result<Answer<'_>>) -> Option<String> {
        let mut answer = answer.ok()?;
        let choices: Vec<_> = answer
            .take_choices()
            .ok()?
            .iter()
            .map(|c| {
                let said = |s: &Option<Said<'_>>| s.as_ref().map(|s| (s.anything(), s.bytes()));
                let (delta, message) = (said(&c.delta), said(&c.message));
                let why = (c.index(), c.finish(), c.native_finish_reason);
                format!("{:?}", (why, delta, message, c.text, c.logprobs))
            })
            .collect();
        let Answer { id, model, created, data, usage, error, .. } = answer;
        Some(format!("{:?} {choices:?}", (id, model, created, data, usage, error)))
    }

    fn usual() -> String {
        concat!(
            r#"{"id":"a","object":"x","created":17,"model":"m","choices":[{"index":0,"message":"#,
            r#"{"role":"assistant","content":"Hi \"there\"","tool_calls":null},"logprobs":null,"#,
            r#""finish_reason":"stop"},{"text":"t","delta":{"content":null},"finish_reason":null}],"#,
            r#""usage":{"prompt_tokens":1},"error":null}"#
        )
        .to_owned()
    }

    #[test]
    fn the_usual_answer_is_walked_and_read_as_the_parser_reads_it() {
        let text = usual();
        let walked = answer(&text).ok().unwrap();
        assert!(walked.read.is_some());
        assert_eq!(shown(Ok(walked)), shown(serde_json::from_str(&text)));
    }

    #[test]
    fn what_is_unusual_is_left_to_the_parser() {
        for text in [
            r#"{"choices":null}"#,
            r#"{"choices":[{"delta":null}]}"#,
            r#"{"choices":[],"choices":[]}"#,
            r#"{"id":null,"id":"a"}"#,
            r#"{"\u0069d":"a"}"#,
        ] {
            assert!(answer(text).is_err(), "{text}");
        }
        for text in [
            r#"{"choices":[{"finish_reason":7},{"finish_reason":"st\u006fp","index":1}]}"#,
            r#"{"choices":[{"finish_reason":[]},{"finish_reason":"","index":"x"}]}"#,
            r#"{"id":null,"model":null,"choices":[{"finish_reason":"error","native_finish_reason":"A"}]}"#,
        ] {
            assert_eq!(shown(Ok(answer(text).ok().unwrap())), shown(serde_json::from_str(text)));
        }
        let escaped = Answer::read(r#"{"\u0069d":"a","choices":[{"delta":null}]}"#).unwrap();
        assert_eq!(escaped.id, Some("\"a\""));
    }

    proptest! {
        #[test]
        fn damage_is_read_as_the_parser_reads_it(at in 0_usize..250, with in " -~", cut in 0_usize..9) {
            let mut text = usual();
            let at = at.min(text.len() - 1);
            text.replace_range(at..(at + cut).min(text.len()), &with);
            if let Ok(walked) = answer(&text) {
                prop_assert_eq!(shown(Ok(walked)), shown(serde_json::from_str(&text)));
            }
        }
    }
}
