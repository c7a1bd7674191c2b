//! Held against sentence-transformers on three tiny encoders of random weights (`tests/peers/bert.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::*;

/// What sentence-transformers says of one encoder.
#[derive(Deserialize)]
struct Answers {
    longest: usize,
    tokens: Vec<Vec<u32>>,
    vectors: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    bert: Answers,
    roberta: Answers,
    distilbert: Answers,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/encoders")
}

/// The folder of a tiny encoder: `bert`, `roberta` or `distilbert`.
pub(crate) fn encoder_folder(name: &str) -> PathBuf {
    folder().join(name)
}

fn load(name: &str) -> SentenceEncoder {
    SentenceEncoder::load(&Directory::open(&encoder_folder(name)).unwrap()).unwrap()
}

fn expected() -> Expected {
    serde_json::from_slice(&fs::read(folder().join("expected.json")).unwrap()).unwrap()
}

fn texts() -> Vec<String> {
    expected().texts
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn tokens_and_vectors_are_those_of_sentence_transformers() {
    let expected = expected();
    for (name, answers) in
        [("bert", &expected.bert), ("roberta", &expected.roberta), ("distilbert", &expected.distilbert)]
    {
        let encoder = load(name);
        assert_eq!(encoder.settings.longest, answers.longest, "{name}");
        let texts: Vec<&str> = expected.texts.iter().map(String::as_str).collect();
        let vectors = encoder.vectors(&texts).unwrap();
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(encoder.tokens.of(text).unwrap(), answers.tokens[at], "{name}: {text}");
            let apart = distance(&vectors[at], &answers.vectors[at]);
            assert!(apart < 1e-4, "{name}: {text}: {apart}");
        }
    }
}

#[test]
fn padding_changes_nothing() {
    for name in ["bert", "roberta", "distilbert"] {
        let encoder = load(name);
        for text in texts().iter().map(String::as_str) {
            let tokens = encoder.tokens.of(text).unwrap();
            let of = |rows, width| {
                let values = passes::read(encoder.network.forward(&[&tokens], rows, width)).unwrap();
                values[..encoder.settings.hidden].to_vec()
            };
            let exact = of(1, tokens.len());
            for (rows, width) in [(1, tokens.len() + 1), (1, encoder.settings.longest + 5), (3, 40)] {
                assert!(distance(&of(rows, width), &exact) < 2e-6, "{name}: {text}: {rows} {width}");
            }
        }
    }
}

#[test]
fn the_order_of_texts_and_their_company_change_not_a_bit() {
    for name in ["bert", "roberta", "distilbert"] {
        let (encoder, texts) = (load(name), texts());
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = encoder.vectors(&texts).unwrap();
        let mut backwards = encoder.vectors(&texts.iter().rev().copied().collect::<Vec<_>>()).unwrap();
        backwards.reverse();
        assert_eq!(backwards, together);
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(encoder.vectors(&[text]).unwrap()[0], together[at], "{name}: {text}");
        }
    }
    assert!(load("bert").vectors(&[]).unwrap().is_empty());
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_computes_in_filled_passes_gives_the_same_vectors() {
    use crate::device::passes::tests::on_small_gpu;
    let texts = texts();
    let many: Vec<&str> = (0..PASS_TOKENS / WIDTH_MIN + 300).map(|at| texts[at % texts.len()].as_str()).collect();
    let exact = load("bert").vectors(&many[..texts.len()]).unwrap();
    // The device fails at more than 100 texts at a time.
    let (vectors, few) = on_small_gpu(11, 100, || {
        let encoder = load("bert");
        (encoder.vectors(&many).unwrap(), encoder.vectors(&many[3..9]).unwrap())
    });
    for (at, vector) in vectors.iter().enumerate() {
        assert!(distance(vector, &exact[at % texts.len()]) < 2e-6, "{at}");
    }
    assert_eq!(few, vectors[3..9], "not a bit");
}

#[test]
fn a_long_text_is_cut_where_the_encoder_ends() {
    let encoder = load("bert");
    let long = "tea ".repeat(14);
    let longer = format!("{long} mug mug mug");
    assert_eq!(encoder.tokens.of(&long).unwrap().len(), 16);
    assert_eq!(encoder.vectors(&[&long]).unwrap(), encoder.vectors(&[&longer]).unwrap());
    let shorter = "tea ".repeat(13);
    assert_ne!(encoder.vectors(&[&long]).unwrap(), encoder.vectors(&[&shorter]).unwrap());
    let longest = encoder.tokens.of(&"mug kettle ".repeat(1_000_000)).unwrap();
    assert_eq!(longest.len(), 16);
}

#[test]
fn a_text_without_words_still_has_a_vector() {
    for name in ["bert", "roberta", "distilbert"] {
        let encoder = load(name);
        let nothing = encoder.vectors(&["", " \n\t ", "\u{0}"]).unwrap();
        assert!(nothing.iter().all(|vector| vector.len() == 16), "{name}");
        assert!(distance(&nothing[0], &nothing[1]) < 2e-6);
    }
}

/// A copy of the tiny BERT that a test may damage.
fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for part in ["", "1_Pooling"] {
        fs::create_dir_all(copy.path().join(part)).unwrap();
        for entry in fs::read_dir(encoder_folder(name).join(part)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}

/// What opening and loading says of the tiny encoder after `damage`.
fn refusal(name: &str, damage: impl FnOnce(&Path)) -> String {
    let copy = copy_of(name);
    damage(copy.path());
    let loaded = Directory::open(copy.path()).and_then(|directory| SentenceEncoder::load(&directory));
    match loaded {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

#[test]
fn a_missing_file_is_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"] {
        let said = refusal("bert", |folder| fs::remove_file(folder.join(name)).unwrap());
        assert!(said.contains(name) && said.contains("missing"), "{said}");
    }
    let said = Directory::open(Path::new("/no such folder")).err().unwrap().to_string();
    assert!(said.contains("config.json"), "{said}");
}

#[test]
fn a_file_that_is_something_else_is_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json", "modules.json"] {
        for bytes in [&b""[..], b"[]", b"{}", b"\xff\xfe\x00", b"{\"a\":"] {
            let said = refusal("bert", |folder| fs::write(folder.join(name), bytes).unwrap());
            assert!(said.contains(name), "{said}");
        }
    }
}

#[test]
fn a_setting_out_of_bounds_is_named() {
    let cases: &[(&str, &str, Value)] = &[
        ("bert", "model_type", "gpt2".into()),
        ("bert", "model_type", Value::Null),
        ("bert", "hidden_size", 0.into()),
        ("bert", "hidden_size", 1_000_000.into()),
        ("bert", "hidden_size", (-16).into()),
        ("bert", "hidden_size", "16".into()),
        ("bert", "num_hidden_layers", 0.into()),
        ("bert", "num_hidden_layers", u64::MAX.into()),
        ("bert", "num_attention_heads", 3.into()),
        ("bert", "intermediate_size", 1e300.into()),
        ("bert", "vocab_size", (1u64 << 40).into()),
        ("bert", "max_position_embeddings", 1.into()),
        ("bert", "type_vocab_size", 0.into()),
        ("bert", "layer_norm_eps", 0.into()),
        ("bert", "layer_norm_eps", 1.into()),
        ("bert", "hidden_act", "silu".into()),
        ("bert", "position_embedding_type", "relative_key".into()),
        ("roberta", "pad_token_id", 23.into()),
        ("distilbert", "dim", 0.into()),
        ("distilbert", "activation", "relu".into()),
    ];
    for (name, setting, value) in cases {
        let said = refusal(name, |folder| edit(&folder.join("config.json"), |v| v[setting] = value.clone()));
        let named = if *setting == "pad_token_id" { "max_position_embeddings" } else { setting };
        assert!(said.contains("config.json") && said.contains(named), "{setting} = {value}: {said}");
    }
}

#[test]
fn modules_that_are_not_run_are_refused() {
    let with = |change: fn(&mut Value)| refusal("bert", |folder| edit(&folder.join("modules.json"), change));
    let said = with(|v| v[2]["type"] = "sentence_transformers.models.Dense".into());
    assert!(said.contains("Dense"), "{said}");
    let said = with(|v| v[1]["path"] = "../1_Pooling".into());
    assert!(said.contains("../1_Pooling"), "{said}");
    let pooling =
        |change: fn(&mut Value)| refusal("bert", |folder| edit(&folder.join("1_Pooling/config.json"), change));
    for said in [
        pooling(|v| v["pooling_mode_cls_token"] = true.into()),
        pooling(|v| v["pooling_mode_mean_tokens"] = false.into()),
        pooling(|v| v["pooling_mode_lasttoken"] = 3.into()),
        pooling(|v| {
            v["pooling_mode_mean_tokens"] = false.into();
            v["pooling_mode_weightedmean_tokens"] = true.into();
        }),
    ] {
        assert!(said.contains("pooling_mode"), "{said}");
    }
    let said = pooling(|v| v["word_embedding_dimension"] = 17.into());
    assert!(said.contains("word_embedding_dimension"), "{said}");
}

#[test]
fn a_tokenizer_of_another_encoder_is_refused() {
    let said = refusal("bert", |folder| {
        edit(&folder.join("tokenizer.json"), |v| v["model"]["vocab"]["kettles"] = 39.into());
    });
    assert!(said.contains("tokenizer.json") && said.contains("39"), "{said}");
}

/// Writes the tiny BERT's tensors again, each as `change` wants it; `None` leaves it out.
fn rewrite(folder: &Path, change: impl Fn(&str, Vec<usize>, Vec<u8>) -> Option<(Vec<usize>, Vec<u8>)>) {
    use safetensors::{Dtype, SafeTensors, tensor::TensorView};
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let changed: Vec<(String, _)> = tensors
        .iter()
        .filter_map(|(name, t)| Some((name.to_owned(), change(name, t.shape().to_vec(), t.data().to_vec())?)))
        .collect();
    let views = changed
        .iter()
        .map(|(name, (shape, data))| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    const NAME: &str = "encoder.layer.1.output.dense.weight";
    let said = refusal("bert", |folder| rewrite(folder, |name, s, d| (name != NAME).then_some((s, d))));
    assert!(said.contains("model.safetensors") && said.contains(NAME) && said.contains("missing"), "{said}");
    let said = refusal("bert", |folder| {
        rewrite(folder, |name, s, d| Some((if name == NAME { vec![24, 16] } else { s }, d)));
    });
    assert!(said.contains(NAME) && said.contains("[24, 16]") && said.contains("[16, 24]"), "{said}");
    let said = refusal("bert", |folder| {
        rewrite(folder, |name, s, mut d| {
            if name == NAME {
                d[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }
            Some((s, d))
        });
    });
    assert!(said.contains(NAME) && said.contains("undefined"), "{said}");
    let said = refusal("bert", |folder| {
        edit(&folder.join("config.json"), |v| v["vocab_size"] = 40.into());
    });
    assert!(said.contains("word_embeddings") && said.contains("[40, 16]"), "{said}");
}

#[test]
fn an_encoder_saved_inside_something_larger_is_found_by_its_prefix() {
    let copy = copy_of("bert");
    let path = copy.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let renamed = tensors.iter().map(|(name, view)| (format!("bert.{name}"), view));
    fs::write(&path, safetensors::serialize(renamed, None).unwrap()).unwrap();
    let encoder = SentenceEncoder::load(&Directory::open(copy.path()).unwrap()).unwrap();
    assert_eq!(encoder.vectors(&["red mug"]).unwrap(), load("bert").vectors(&["red mug"]).unwrap());
}

#[test]
fn without_a_list_of_modules_the_mean_is_taken_as_it_is() {
    let copy = copy_of("bert");
    fs::remove_file(copy.path().join("modules.json")).unwrap();
    fs::remove_file(copy.path().join("1_Pooling/config.json")).unwrap();
    let encoder = SentenceEncoder::load(&Directory::open(copy.path()).unwrap()).unwrap();
    let (plain, scaled) = (encoder.vectors(&["red mug"]).unwrap(), load("bert").vectors(&["red mug"]).unwrap());
    let norm = plain[0].iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!((norm - 1.0).abs() > 0.1, "{norm}");
    let rescaled: Vec<f32> = plain[0].iter().map(|x| x / norm).collect();
    assert!(distance(&rescaled, &scaled[0]) < 1e-6);
}

#[test]
fn the_digest_names_every_file_that_decides_a_vector_and_no_other() {
    let digest = |change: &dyn Fn(&Path)| {
        let copy = copy_of("bert");
        change(copy.path());
        Directory::open(copy.path()).unwrap().digest()
    };
    let as_it_is = digest(&|_| {});
    assert_eq!(as_it_is, digest(&|folder| fs::write(folder.join("README.md"), "words").unwrap()));
    for name in [
        "config.json",
        "tokenizer.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "tokenizer_config.json",
    ] {
        let other = digest(&|folder| {
            let mut bytes = fs::read(folder.join(name)).unwrap();
            bytes.push(b'\n');
            fs::write(folder.join(name), bytes).unwrap();
        });
        assert_ne!(as_it_is, other, "{name}");
    }
    let other = digest(&|folder| {
        rewrite(folder, |name, s, mut d| {
            if name == WORDS_OF_TEST {
                d[0] ^= 1;
            }
            Some((s, d))
        });
    });
    assert_ne!(as_it_is, other);
}

const WORDS_OF_TEST: &str = "embeddings.word_embeddings.weight";

#[test]
fn a_folder_damaged_anywhere_is_refused_or_gives_vectors_and_nothing_panics() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(11);
    let (mut taken, mut refused) = (0, 0);
    for (name, files) in [
        (
            "bert",
            &["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"],
        ),
        (
            "roberta",
            &["config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json"],
        ),
    ] {
        let copy = copy_of(name);
        for file in files.iter().chain(&["model.safetensors"]) {
            let path = copy.path().join(file);
            let whole = fs::read(&path).unwrap();
            for _ in 0..60 {
                let mut bytes = whole.clone();
                // The header of the weights; all of the others.
                let end = if file.ends_with("json") { bytes.len() } else { 3_000 };
                for _ in 0..rng.random_range(1..4) {
                    bytes[rng.random_range(0..end)] =
                        *b"0123456789-\"[]{},:aeft\xff".get(rng.random_range(0..23)).unwrap();
                }
                fs::write(&path, &bytes).unwrap();
                let vectors = Directory::open(copy.path())
                    .and_then(|directory| SentenceEncoder::load(&directory))
                    .and_then(|encoder| encoder.vectors(&["red mug", "", "赤い", "unheardofword, mugs!"]));
                match vectors {
                    Ok(vectors) => {
                        taken += 1;
                        assert!(vectors.iter().flatten().all(|x| x.is_finite()), "{file}");
                    }
                    Err(error) => {
                        refused += 1;
                        assert!(!error.to_string().contains("mug"), "{error}");
                    }
                }
            }
            fs::write(&path, &whole).unwrap();
        }
    }
    assert!(taken > 50 && refused > 50, "{taken} {refused}");
}

#[test]
fn an_encoder_of_hardly_any_tokens_reads_hardly_any() {
    let copy = copy_of("bert");
    for longest in [2, 3] {
        edit(&copy.path().join("sentence_bert_config.json"), |v| v["max_seq_length"] = longest.into());
        let encoder = SentenceEncoder::load(&Directory::open(copy.path()).unwrap()).unwrap();
        assert_eq!(encoder.tokens.of("red mug, blue tea").unwrap().len(), longest);
    }
    let said = refusal("bert", |folder| {
        edit(&folder.join("sentence_bert_config.json"), |v| v["max_seq_length"] = 1.into());
    });
    assert!(said.contains("max_seq_length"), "{said}");
}
