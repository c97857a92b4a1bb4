//! The embedding model, the real one: MiniLM from the package that carries it.

mod common;

use cutover_engine::models::MINILM_L6_V2;
use cutover_engine::{Embedder, EmbedderOptions, RequestError};

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[tokio::test]
async fn vectors_are_those_that_the_authors_publish_and_long_texts_are_refused() {
    let Some(folder) = common::model(&MINILM_L6_V2) else { return };
    let embedder = Embedder::load(&folder, &EmbedderOptions::default()).expect("loads");
    assert_eq!((embedder.dimensions(), embedder.max_tokens()), (384, 512));
    // The values that the model's authors publish for this sentence.
    let published = [0.067_657, 0.063_496, 0.048_713, 0.079_305, 0.037_448, 0.002_653];
    let example = embedder.embed(vec!["This is an example sentence".into()]).await;
    let example = example.expect("embedded");
    assert_eq!(example.tokens, 7);
    for (got, wanted) in example.vectors[0].iter().zip(published) {
        assert!((got - wanted).abs() < 1e-5, "{got} is not {wanted}");
    }
    let texts =
        ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose today."];
    let e = embedder.embed(texts.map(String::from).to_vec()).await.expect("embedded");
    for v in &e.vectors {
        assert!((cosine(v, v) - 1.0).abs() < 1e-5, "vectors have length one");
    }
    let (near, far) = (cosine(&e.vectors[0], &e.vectors[1]), cosine(&e.vectors[0], &e.vectors[2]));
    assert!(near > 0.6 && far < 0.1, "{near} {far}");

    let long = "word ".repeat(600);
    let error = embedder.embed(vec!["short".into(), long]).await.err();
    assert_eq!(
        error,
        Some(RequestError::ContextLength { prompt_tokens: 602, context_tokens: 512 })
    );
    let alone = embedder.embed(vec![texts[1].to_owned()]).await.expect("embedded");
    assert_eq!(alone.vectors[0], e.vectors[1]);
    for bad in [vec![], vec![String::new()], vec!["x".to_owned(); 2049]] {
        let error = embedder.embed(bad).await.err();
        assert!(matches!(error, Some(RequestError::Invalid { field: "input", .. })), "{error:?}");
    }
}
