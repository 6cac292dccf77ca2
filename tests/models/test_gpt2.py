"""GPT-2 in Hugging Face's form and in ours: the same logits both ways."""

import json
import shlex
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from support.commands import sld
from support.miniature import NUM_UNITS, WORDS, fairseq_command, make_data
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

from sld_user_dir.models import gpt2, joint_lm
from sld_user_dir.models.dictionaries import TextView, UnitView
from sld_user_dir.models.exported_symbols import SYMBOLS_FILE, exported_symbols, joint_ids
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import GPT2_DIR, GPT2Tokenizer, WordTokenizer

VOCAB = JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer())
TEXT = slice(VOCAB.text_start, VOCAB.text_end)
SIZES = {"n_positions": 24, "n_embd": 16, "n_layer": 3, "n_head": 2}


def make_gpt2(**changes) -> GPT2LMHeadModel:
    """A random GPT-2 with weights large enough for logits that differ."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(**{"vocab_size": len(WORDS), "bos_token_id": 0, "eos_token_id": 0, **SIZES, **changes})
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def make_joint(options: dict, vocab: JointVocabulary = VOCAB) -> joint_lm.JointLanguageModel:
    args = Namespace(**options, quant_noise_pq=0)
    joint_lm.gpt2(args)
    task = SimpleNamespace(source_dictionary=UnitView(vocab), target_dictionary=TextView(vocab))
    return joint_lm.JointLanguageModel.build_model(args, task).eval()


def imported(model: GPT2LMHeadModel, **kwargs) -> joint_lm.JointLanguageModel:
    joint = make_joint(gpt2.options_of(model.config))
    joint.load_state_dict(gpt2.from_gpt2(model.state_dict(), model.config, VOCAB, **kwargs), strict=True)
    return joint


@pytest.mark.parametrize(
    "changes", [{}, {"activation_function": "relu", "n_inner": 40}, {"activation_function": "gelu"}]
)
def test_import_gives_the_same_logits(changes):
    theirs = make_gpt2(**changes)
    ours = imported(theirs)
    tokens = torch.randint(len(WORDS), (3, SIZES["n_positions"]))
    with torch.no_grad():
        expected, logits = theirs(tokens).logits, ours(tokens + VOCAB.text_start)[0][..., TEXT]
    assert expected.std() > 0.5
    assert torch.allclose(logits, expected, atol=1e-4)


def test_text_ids_are_in_gpt2s_order():
    theirs = make_gpt2()
    embeddings = imported(theirs).decoder.embed_tokens.weight
    assert torch.equal(embeddings[TEXT], theirs.transformer.wte.weight)


def test_initialisation_of_new_symbols():
    theirs = make_gpt2()
    new = [i for i in range(len(VOCAB)) if not TEXT.start <= i < TEXT.stop and i != VOCAB.pad]
    text = theirs.transformer.wte.weight
    normal = imported(theirs).decoder.embed_tokens.weight[new]
    assert float(normal.detach().std()) == pytest.approx(theirs.config.initializer_range, rel=0.15)
    mean = imported(theirs, initialisation="mean").decoder.embed_tokens.weight[new]
    assert torch.allclose(mean, text.mean(0).expand_as(mean), atol=0.05 * float(text.detach().std()))
    assert len(torch.unique(mean, dim=0)) == len(new)
    assert torch.equal(
        imported(theirs, seed=3).decoder.embed_tokens.weight, imported(theirs, seed=3).decoder.embed_tokens.weight
    )
    assert not torch.equal(imported(theirs, seed=3).decoder.embed_tokens.weight[new], normal)
    assert not imported(theirs).decoder.embed_tokens.weight[VOCAB.pad].any()
    with pytest.raises(ValueError, match="normal, mean"):
        imported(theirs, initialisation="zeros")


def test_export_gives_the_same_logits(tmp_path):
    ours = imported(make_gpt2())
    gpt2.export_directory(ours, VOCAB, tmp_path)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    ids = joint_ids(VOCAB)
    assert sorted(ids.tolist()) == list(range(len(VOCAB)))
    rows = torch.randint(len(VOCAB), (3, SIZES["n_positions"]))
    rows[ids[rows] == VOCAB.pad] = 0  # our positions skip padding
    with torch.no_grad():
        expected, logits = ours(ids[rows])[0][..., ids], theirs(rows).logits
    assert torch.allclose(logits, expected, atol=1e-4)
    symbols = json.loads((tmp_path / SYMBOLS_FILE).read_text(encoding="utf-8"))
    assert symbols == [VOCAB.table[i] for i in ids.tolist()]
    assert symbols[: len(WORDS)] == VOCAB.table.symbols[TEXT]
    assert symbols[theirs.config.eos_token_id] == "</s>"


def test_import_of_the_export_is_the_model():
    state = imported(make_gpt2()).state_dict()
    back = gpt2.to_gpt2(state, VOCAB)
    back["transformer.wte.weight"] = back["transformer.wte.weight"][: len(WORDS)]
    again = gpt2.from_gpt2(back, make_gpt2().config, VOCAB)
    assert again.keys() == state.keys()
    for key, value in again.items():
        if "embed_tokens" not in key and "output_projection" not in key:
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"activation_function": "silu"}, "silu"),
        ({"vocab_size": 7}, "7 text symbols, but dict.txt has 5"),
    ],
)
def test_what_cannot_be_imported_is_named(change, named):
    with pytest.raises(gpt2.UnsupportedGPT2, match=named):
        imported(make_gpt2(**change))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"decoder_learned_pos": False}, "not learned"),
        ({"share_decoder_input_output_embed": False}, "not shared"),
        ({"no_scale_embedding": False}, "scaled"),
        ({"activation_fn": "tanh"}, "activation"),
        ({"scale_fc": True}, "more than GPT-2's"),
    ],
)
def test_what_cannot_be_exported_is_named(change, named, tmp_path):
    options = {**gpt2.options_of(make_gpt2().config), **change}
    with pytest.raises(gpt2.UnsupportedGPT2, match=named):
        gpt2.export_directory(make_joint(options), VOCAB, tmp_path)


def test_gpt2s_tokenizer_is_exported_with_our_symbols(tmp_path):
    pieces = {piece: i for i, piece in enumerate([*"eghinorstwx", "Ġ", "on", "one", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(pieces))
    (tmp_path / "merges.txt").write_text("#version: 0.2\no n\non e\n")
    tokenizer = GPT2Tokenizer(tmp_path)
    vocab = JointVocabulary.build([], NUM_UNITS, tokenizer, symbols=tokenizer.vocabulary())
    assert vocab.table.symbols[vocab.text_start : vocab.text_end] == list(pieces)
    options = {**gpt2.options_of(make_gpt2().config)}
    gpt2.export_directory(make_joint(options, vocab), vocab, tmp_path / GPT2_DIR)
    exported = GPT2TokenizerFast.from_pretrained(tmp_path / GPT2_DIR)
    ids = exported.convert_tokens_to_ids(exported_symbols(vocab))
    assert ids == list(range(len(vocab)))
    assert tokenizer.vocabulary() == list(pieces)  # that of the data directory stays as it was
    assert exported("one two")["input_ids"] == [i - vocab.text_start for i in vocab.encode_text("one two")]


def test_commands_from_gpt2_through_training_and_back(tmp_path, capsys):
    """Imported weights are what training starts from, and what is trained can be exported."""
    data = make_data(tmp_path / "data", train=20, valid=4)
    theirs = make_gpt2()
    theirs.save_pretrained(tmp_path / "gpt2")
    arguments = ["--gpt2", tmp_path / "gpt2", "--data", data, "--out", tmp_path / "init" / "gpt2.pt"]
    assert sld("import-gpt2", *arguments) == 0
    options = shlex.split(capsys.readouterr().out)
    fairseq_command(
        "train",
        data,
        *options,
        "--criterion",
        "sld",
        "--optimizer",
        "adam",
        "--lr",
        "0",
        "--max-update",
        "1",
        "--max-tokens",
        "200",
        "--num-workers",
        "0",
        "--save-dir",
        tmp_path / "run",
    )
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    arguments = ["--checkpoint", checkpoint, "--data", data, "--out", tmp_path / "exported"]
    assert sld("export-gpt2", *arguments) == 0
    tokens = torch.randint(len(WORDS), (2, 9))
    with torch.no_grad():
        logits = GPT2LMHeadModel.from_pretrained(tmp_path / "exported").eval()(tokens).logits
        expected = theirs(tokens).logits
    assert torch.allclose(logits[..., : len(WORDS)], expected, atol=1e-4)  # the learning rate was 0


def test_commands_report_errors_in_a_line(tmp_path, capsys):
    data = make_data(tmp_path / "data", train=3)
    arguments = ["--data", str(data), "--out", str(tmp_path / "x.pt"), "--gpt2"]
    assert sld("import-gpt2", *arguments, tmp_path / "none") == 1
    make_gpt2(vocab_size=9).save_pretrained(tmp_path / "other")
    assert sld("import-gpt2", *arguments, tmp_path / "other") == 1
    assert "9 text symbols, but dict.txt has 5" in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()
