"""Tiny sentence encoders of random weights, and what sentence-transformers says that they answer.

Writes three directories in the layout of sentence-transformers (a BERT with the mean of its tokens, a RoBERTa with its
first token, a Unigram vocabulary and weights of bfloat16, a DistilBERT with the largest of its tokens and weights of 16
bits), and `expected.json` with the vectors of some texts. The vocabulary is made up below; the weights come from a seed. Nothing is downloaded.

    python3 tests/peers/bert.py client/tests/encoders
"""

import json
import pathlib
import sys

import torch
from sentence_transformers import SentenceTransformer, models
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram, WordPiece
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

POSITIONS = 24
LONGEST = 16

TEXTS = [
    "red mug",
    "Red  MUG!",
    "  a blue tea kettle with flowers ",
    "two mugs, one kettle: red and blue",
    "Äpfel und Öl",
    "Caf\u00e9 caf\u0065\u0301",
    "\u8d64\u3044 mug",
    "unheardofword mug",
    "mug \U0001f600 \u200b tea",
    "x",
    "tea " * 40,
    "[MASK] mug",
]

WORDS = [
    "red", "blue", "mug", "tea", "kettle", "with", "flower", "and", "one", "two", "a", "un", "oil", "cafe", "apfel",
    "word", "##s", "##word", "##of", "##heard", ",", ":", "!", "t", "e", "x", "##t", "##e", "##a", "o", "##l", "u",
    "##nd", "\u8d64",
]

PIECES = [
    ("\u2581", -3.0), ("\u2581red", -4.0), ("\u2581blue", -4.2), ("\u2581mug", -3.5), ("s", -3.2), ("\u2581tea", -4.1),
    ("\u2581kettle", -4.4), ("\u2581with", -4.0), ("\u2581flower", -4.7), ("\u2581and", -3.9), ("\u2581one", -4.0),
    ("\u2581two", -4.0), ("\u2581a", -3.1), ("un", -4.0), ("heard", -5.0), ("of", -3.8), ("word", -4.2), ("\u2581caf", -5.1),
    ("\u00e9", -5.5), ("\u00c4", -6.0), ("pfel", -6.1), ("nd", -4.6), ("\u2581\u00d6", -6.2), ("l", -5.0), ("e", -4.3),
    ("t", -4.5), ("a", -4.4), ("u", -4.9), ("R", -6.0), ("M", -6.1), ("U", -6.2), ("G", -6.3), ("x", -6.0), (",", -4.0),
    (":", -4.5), ("!", -4.4), ("ed", -5.0), ("\u8d64", -7.0), ("\u2581tea\u2581tea", -6.0),
]


def word_piece(inputs):
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate(specials + WORDS)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=POSITIONS, model_input_names=inputs,
    )


def unigram():
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + PIECES
    tokenizer = Tokenizer(Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        cls_token="<s>", sep_token="</s>", model_max_length=LONGEST + 4,
    )


def spread(model):
    """Weights of a size at which every part shows in the answer; biases and norms away from 0 and 1."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "LayerNorm" in name or "layer_norm" in name:
                value.copy_(torch.randn_like(value) * 0.3 + (1.0 if name.endswith("weight") else 0.0))
            elif name.endswith("bias"):
                value.normal_(0.0, 0.3)
            else:
                value.normal_(0.0, 0.4)
    return model.eval()


def bert():
    tokenizer = word_piece(["input_ids", "token_type_ids", "attention_mask"])
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=POSITIONS, pad_token_id=0,
    )
    return tokenizer, spread(BertModel(config, add_pooling_layer=True)), torch.float32, "mean", True


def roberta():
    tokenizer = unigram()
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=POSITIONS, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    return tokenizer, spread(XLMRobertaModel(config, add_pooling_layer=False)), torch.bfloat16, "cls", False


def distilbert():
    tokenizer = word_piece(["input_ids", "attention_mask"])
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=POSITIONS,
        pad_token_id=0,
    )
    return tokenizer, spread(DistilBertModel(config)), torch.float16, "max", False


def main(out):
    expected = {"texts": TEXTS}
    for make in (bert, roberta, distilbert):
        torch.manual_seed(7)
        name = make.__name__
        tokenizer, model, width, pooling, normalized = make()
        plain = out / name
        plain.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(plain)
        model.to(width).save_pretrained(plain, safe_serialization=True)
        transformer = models.Transformer(str(plain), max_seq_length=None if name == "roberta" else LONGEST)
        modules = [transformer, models.Pooling(transformer.get_word_embedding_dimension(), pooling_mode=pooling)]
        if normalized:
            modules.append(models.Normalize())
        encoder = SentenceTransformer(modules=modules, device="cpu")
        encoder.save(str(plain), create_model_card=False)
        model.save_pretrained(plain, safe_serialization=True)
        # Read back: what is compared is the directory. Its weights are widened to 32 bits when they are read.
        encoder = SentenceTransformer(str(plain), device="cpu")
        assert next(encoder.parameters()).dtype == torch.float32
        expected[name] = {
            "longest": encoder.max_seq_length,
            "tokens": [encoder.tokenizer(text.strip(), truncation=True, max_length=encoder.max_seq_length).input_ids
                       for text in TEXTS],
            "vectors": [[float(f"{x:.6g}") for x in encoder.encode(text).tolist()] for text in TEXTS],
        }
        for left in ("README.md", "config_sentence_transformers.json", "special_tokens_map.json"):
            (plain / left).unlink(missing_ok=True)
        for empty in (path for path in plain.iterdir() if path.is_dir() and not any(path.iterdir())):
            empty.rmdir()
    lines = json.dumps(expected, ensure_ascii=True).replace("], [", "],\n[").replace("}, ", "},\n")
    (out / "expected.json").write_text(lines + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
