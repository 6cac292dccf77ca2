"""Pretrained models of Hugging Face behind `--arch joint_hf`: the same logits as transformers', over text and units."""

import copy
import re

import pytest
import torch
from support.backbones import FAMILIES, ROWS, TOKENS, make_base, make_model, vocabulary_of
from transformers import AutoModelForCausalLM

from sld_user_dir.errors import InputError
from sld_user_dir.models.gpt2 import export_directory
from sld_user_dir.models.hf_base import load_base
from sld_user_dir.models.hf_import import import_directory
from sld_user_dir.models.packed_attention import Packing
from sld_user_dir.vocabulary.building import copy_gpt2_tokenizer
from sld_user_dir.vocabulary.hf_tokenizer import HFTokenizer
from sld_user_dir.vocabulary.tokenizers import GPT2Tokenizer


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Directories of one model a family, made as they are asked for."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = make_base(tmp_path_factory.mktemp(family), family)
        return made[family]

    return get


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_over_text_are_transformers_own(bases, family):
    base = bases(family)
    theirs, ours, vocab = AutoModelForCausalLM.from_pretrained(base).eval(), make_model(base), vocabulary_of(base)
    torch.manual_seed(1)
    tokens = torch.randint(len(TOKENS), (3, 12))
    with torch.no_grad():
        expected = theirs(tokens).logits[..., : len(TOKENS)]
        logits = ours(tokens + vocab.text_start)[0]
    assert logits.shape == (3, 12, len(vocab))
    assert expected.std() > 0.1
    torch.testing.assert_close(logits[..., vocab.text_start : vocab.text_end], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_units_are_rows_of_a_larger_model(bases, family):
    """The logits of a model whose tables hold all symbols in transformers' own way."""
    base = bases(family)
    ours, vocab = make_model(base), vocabulary_of(base)
    theirs = AutoModelForCausalLM.from_pretrained(base).eval()
    new = len(vocab) - len(TOKENS)
    theirs.resize_token_embeddings(ROWS + new)
    decoder = ours.decoder
    with torch.no_grad():
        theirs.get_input_embeddings().weight[ROWS:] = decoder.embed_tokens.new
        if decoder.new_head is not None:
            theirs.get_output_embeddings().weight[ROWS:] = decoder.new_head
    place = torch.tensor(
        [*range(ROWS, ROWS + vocab.text_start), *range(len(TOKENS)), *range(ROWS + vocab.text_start, ROWS + new)]
    )
    torch.manual_seed(1)
    tokens = torch.randint(len(vocab), (3, 12))
    tokens[tokens == vocab.pad] = vocab.eos
    with torch.no_grad():
        expected = theirs(place[tokens]).logits[..., place]
        torch.testing.assert_close(ours(tokens)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_are_rows_apart(bases, family):
    model, vocab = make_model(bases(family)), vocabulary_of(bases(family))
    lengths = torch.tensor([9, 3, 12, 1, 8])
    torch.manual_seed(1)
    rows = [torch.randint(vocab.text_start, len(vocab), (n,)) for n in lengths]
    with torch.no_grad():
        packed = model(torch.cat(rows)[None], src_lengths=lengths)[0][0].split(lengths.tolist())
        for row, found in zip(rows, packed):
            torch.testing.assert_close(found, model(row[None])[0][0], atol=1e-5, rtol=1e-5)
    assert model.decoder.packs() and len(Packing.of(lengths).groups) > 2


@pytest.mark.parametrize("change", ["an argument that is not known", "attention of its own"])
def test_attention_that_cannot_be_replaced_is_not_packed(tmp_path, change):
    model = make_model(make_base(tmp_path))
    layer = model.decoder.backbone.layers[1].self_attn
    original = layer.forward

    def forward(**kwargs):
        if change == "attention of its own":
            return kwargs["hidden_states"], None
        return original(**kwargs, s_aux=1.0)

    layer.forward = forward
    assert not model.decoder.packs()


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_half_precision_keeps_what_positions_are_made_of(bases, family):
    model = make_model(bases(family))
    exact = {name: b.clone() for name, b in model.decoder.backbone.named_buffers() if b.is_floating_point()}
    copied = copy.deepcopy(model).bfloat16()
    assert exact
    for name, buffer in copied.decoder.backbone.named_buffers():
        if name in exact:
            assert torch.equal(buffer, exact[name]), name
    assert copied.decoder.embed_tokens.new.dtype == torch.bfloat16
    assert copied(torch.tensor([[5, 6, 20]]))[0].dtype == torch.bfloat16


UNREADABLE = {
    "a byte order mark": (
        lambda text: b"\xef\xbb\xbf" + text,
        ":1: begins with a byte order mark, .* without a byte or",
    ),
    "Latin-1": (
        lambda text: text.replace(b"{", b'{"a": "\xe9",', 1),
        ":1: byte 0xe9 is not UTF-8; save the file as UT",
    ),
    "UTF-16": (lambda text: text.decode().encode("utf-16"), ":1: the file is UTF-16, not UTF-8 text; convert it"),
    "cut": (lambda text: text[: len(text) // 2], r":\d+: not JSON \(.*\); correct the file"),
    "empty": (lambda text: b"", r":1: not JSON \(Expecting value\); correct the file"),
    "a list": (lambda text: b"[]", ": holds list, not an object in braces; correct the file, or fetch it again"),
}
"""How JSON of a Hugging Face directory is damaged, and what is said of it."""


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize(
    "name, load",
    [
        ("config.json", lambda base: load_base(str(base))),
        ("config.json", HFTokenizer),
        ("tokenizer.json", HFTokenizer),
        ("tokenizer_config.json", HFTokenizer),
        ("tokenizer.json", lambda base: copy_gpt2_tokenizer(str(base), base / "data")),
        ("tokenizer_config.json", GPT2Tokenizer),
    ],
    ids=["model", "tokenizer's model", "tokenizer", "tokenizer's settings", "GPT-2's", "GPT-2's, in a data directory"],
)
def test_json_that_transformers_cannot_read_is_named(name, load, kind, tmp_path):
    base, (damage, said) = make_base(tmp_path), UNREADABLE[kind]
    (base / name).write_bytes(damage((base / name).read_bytes()))
    with pytest.raises(InputError, match=rf"^{re.escape(str(base / name))}{said}"):
        load(base)


def test_a_torch_that_transformers_does_not_take_is_named(tmp_path, monkeypatch):
    """transformers without its torch has no models, and says of each that torch was not found."""
    base = make_base(tmp_path / "base")
    monkeypatch.setattr("transformers.utils.import_utils.is_torch_available", lambda: False)
    for load in (
        lambda: load_base(str(base)),
        lambda: import_directory(str(base), tmp_path / "data", tmp_path / "out"),
        lambda: export_directory(None, None, tmp_path),
    ):
        with pytest.raises(InputError, match=r'asks for torch>=\S+, and here is torch .*; pip install "torch>=\S+"'):
            load()
