use std::fs;

use super::*;
use crate::{
    data::{
        series::{Frequency, KNOWN_CHANNELS},
        window::StaticInputs,
    },
    model::ModelConfig,
    text::{HashedNgrams, TextEncoder, bert::tests::encoder_folder},
};

const OTHER: Sha256Digest = Sha256Digest([3; 32]);

fn choice(name: &str) -> TextChoice {
    let encoder = encoder_folder(name);
    let digest = Directory::open(&encoder).unwrap().digest();
    TextChoice { encoder, digest }
}

/// A model whose settings name an encoder, and whose text gate has this value.
fn model(text_encoder: Option<Sha256Digest>, gate: f32) -> Model {
    let config = ModelConfig { text_encoder, ..ModelConfig::preset("nano-daily").unwrap() };
    let model = Model::untrained(&config, 1).unwrap();
    let before: usize = model
        .layout()
        .entries
        .iter()
        .take_while(|entry| entry.name != "embed.text.gate")
        .map(forecastle_proto::model::ParameterEntry::len)
        .sum();
    let mut values = model.values().to_vec();
    values[before] = gate;
    model.with_values(values)
}

fn series(texts: &[&str]) -> Vec<Series> {
    let one = |text: &&str| Series {
        id: "mug".into(),
        frequency: Frequency::Daily,
        start: jiff::civil::date(2024, 1, 1),
        y: vec![1.0; 30],
        known: vec![[0.0; KNOWN_CHANNELS]; 30],
        attributes: Vec::new(),
        text: (*text).to_owned(),
        text_vector: None,
        further: None,
    };
    texts.iter().map(one).collect()
}

fn attached(
    model: &Model,
    choice: Option<&TextChoice>,
    kept: &Path,
    texts: &[&str],
) -> (Result<TextReport, TextError>, Vec<StaticInputs>) {
    let mut series = series(texts);
    let report = attach(model, choice, kept, &mut series, &mut |_, _| {});
    (report, series.iter().map(StaticInputs::of).collect())
}

#[test]
fn vectors_of_an_encoder_reach_models_trained_with_it_or_with_no_texts_and_no_others() {
    let chosen = choice("bert").digest;
    for (named, gate, merchant, given) in [
        (None, 0.0, None, TextInputs::Hashed),
        (None, 0.5, None, TextInputs::Hashed),
        (None, 0.0, Some(chosen), TextInputs::EncoderUntrained),
        (None, 0.5, Some(chosen), TextInputs::Absent),
        (Some(chosen), 0.5, Some(chosen), TextInputs::Encoder),
        (Some(chosen), 0.0, Some(chosen), TextInputs::Encoder),
        (Some(OTHER), 0.5, Some(chosen), TextInputs::Absent),
        (Some(OTHER), 0.0, Some(chosen), TextInputs::Absent),
        (Some(OTHER), 0.5, None, TextInputs::Absent),
    ] {
        assert_eq!(TextInputs::of(&model(named, gate), merchant), given, "{named:?} {gate} {merchant:?}");
    }
}

#[test]
fn every_series_gets_its_own_text_s_vector_whatever_the_company() {
    let (folder, choice) = (tempfile::tempdir().unwrap(), choice("bert"));
    let (model, texts) = (model(Some(choice.digest), 0.5), ["red mug", "", "tea", " red mug ", "two mugs"]);
    let (report, inputs) = attached(&model, Some(&choice), &folder.path().join("a"), &texts);
    assert_eq!(report.unwrap(), TextReport { inputs: TextInputs::Encoder, texts: 3, encoded: 3 });
    assert_eq!(inputs[0], inputs[3]);
    assert_eq!(inputs[1].text, vec![0.0; TEXT_BUCKETS]);
    assert_ne!(inputs[0].text, HashedNgrams::default().encode("red mug"));
    let encoder = SentenceEncoder::load(&Directory::open(&choice.encoder).unwrap()).unwrap();
    for at in [0, 2, 4] {
        let alone = project(&encoder.vectors(&[texts[at]]).unwrap()[0]);
        assert!(alone.iter().zip(&inputs[at].text).all(|(a, b)| (a - b).abs() < 1e-5), "{at}");
    }
}

#[test]
fn a_text_is_encoded_once_for_an_encoder() {
    let (folder, choice) = (tempfile::tempdir().unwrap(), choice("bert"));
    let (model, kept) = (model(None, 0.0), folder.path().join("text/vectors"));
    let (first, vectors) = attached(&model, Some(&choice), &kept, &["red mug", "tea"]);
    assert_eq!(first.unwrap().encoded, 2);
    // The folder is not looked at where nothing is left to encode.
    let gone = TextChoice { encoder: "/no such folder".into(), ..choice.clone() };
    let (again, same) = attached(&model, Some(&gone), &kept, &["red mug", "tea"]);
    assert_eq!((again.unwrap().encoded, same), (0, vectors.clone()));
    let (more, _) = attached(&model, Some(&gone), &kept, &["red mug", "kettle"]);
    assert!(more.unwrap_err().to_string().contains("/no such folder/config.json"));
    let other = self::choice("roberta");
    let (other, others) = attached(&model, Some(&other), &kept, &["red mug", "tea"]);
    assert_eq!(other.unwrap().encoded, 2);
    assert_ne!(others, vectors);
}

#[test]
fn a_folder_that_changed_since_it_was_chosen_is_refused() {
    let (folder, choice) = (tempfile::tempdir().unwrap(), choice("bert"));
    let changed = TextChoice { digest: OTHER, ..choice };
    let (report, _) = attached(&model(None, 0.0), Some(&changed), &folder.path().join("v"), &["red mug"]);
    let said = report.unwrap_err().to_string();
    assert!(said.contains("no longer") && said.contains("data text --encoder"), "{said}");
}

#[test]
fn where_the_model_reads_texts_in_another_way_products_have_none() {
    let (folder, choice) = (tempfile::tempdir().unwrap(), choice("bert"));
    let kept = folder.path().join("v");
    for (model, choice) in [(model(Some(OTHER), 0.5), Some(&choice)), (model(Some(OTHER), 0.5), None)] {
        let (report, inputs) = attached(&model, choice, &kept, &["red mug"]);
        assert_eq!(report.unwrap(), TextReport { inputs: TextInputs::Absent, texts: 1, encoded: 0 });
        assert_eq!(inputs[0].text, vec![0.0; TEXT_BUCKETS]);
    }
    assert!(!kept.exists());
    let (report, inputs) = attached(&model(None, 0.5), None, &kept, &["red mug"]);
    assert_eq!(report.unwrap().inputs, TextInputs::Hashed);
    assert_eq!(inputs[0].text, HashedNgrams::default().encode("red mug"));
}

#[test]
fn a_choice_survives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let home = crate::federation::home::Home::open(folder.path()).unwrap();
    assert_eq!(home.text_choice().unwrap(), None);
    let choice = choice("bert");
    home.set_text_choice(Some(&choice)).unwrap();
    assert_eq!(home.text_choice().unwrap(), Some(choice.clone()));
    let (report, _) = attached(&model(None, 0.0), Some(&choice), &home.text_vectors(), &["tea"]);
    assert!(report.is_ok() && home.text_vectors().exists());
    home.set_text_choice(None).unwrap();
    assert_eq!(home.text_choice().unwrap(), None);
    assert!(!home.text_vectors().exists(), "vectors go with the choice");
    fs::write(folder.path().join("text.toml"), "encoder = 3").unwrap();
    assert!(home.text_choice().unwrap_err().to_string().contains("text.toml"));
}
