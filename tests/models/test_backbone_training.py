"""What is trained of a pretrained backbone, what a checkpoint holds of it, and what is refused."""

import copy
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.backbones import FAMILIES, TOKENS, make_base, make_model, make_tokenizer, vocabulary_of
from support.miniature import NUM_UNITS
from transformers import BertConfig, BertLMHeadModel, LlamaModel, T5Config, T5ForConditionalGeneration

from sld_user_dir.criterions.sld_criterion import SldCriterion, SldCriterionConfig
from sld_user_dir.errors import InputError
from sld_user_dir.models.hf_prompt_cache import HFPromptCache
from sld_user_dir.models.projection import find_projection
from sld_user_dir.sequences.segments import ANSWER, SPEECH_PROMPT

SETTINGS = {
    "everything": {},
    "frozen text": {"text_embeddings": "frozen"},
    "adapters": {"lora_rank": 2},
    "adapters and text": {"lora_rank": 2, "text_embeddings": "trained"},
}


def make_batch(vocab):
    """Two rows `units <sep> text </s>` as the dataset collates them."""
    torch.manual_seed(3)
    rows = []
    for units, text in ((6, 3), (4, 2)):
        prompt = torch.randint(vocab.unit_offset, len(vocab), (units,))
        answer = torch.randint(vocab.text_start, vocab.text_end, (text,))
        rows.append(torch.cat([prompt, torch.tensor([vocab.separator]), answer, torch.tensor([vocab.eos])]))
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=vocab.pad)
    tokens, target = padded[:, :-1].clone(), padded[:, 1:].clone()
    tokens[target == vocab.pad] = vocab.pad
    after = (tokens == vocab.separator).cumsum(1)
    return {
        "id": torch.arange(2),
        "net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) - 1 for row in rows])},
        "target": target,
        "segments": after * ANSWER + SPEECH_PROMPT,
        "ntokens": int((target != vocab.pad).sum()),
        "nsentences": 2,
    }


def gradients(model, vocab, form, **options):
    """The loss of a batch, and the gradient of each trained parameter."""
    cfg = SldCriterionConfig(loss_form=form, **options)
    criterion = SldCriterion(SimpleNamespace(vocab=vocab, target_dictionary=model.decoder.dictionary), cfg)
    loss, _, _ = criterion(model, make_batch(vocab))
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return loss.detach(), found


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("family", ["llama", "llama-untied"])
def test_fused_loss_and_gradients_are_the_plain_ones(tmp_path, family, options):
    base = make_base(tmp_path, family)
    model, vocab = make_model(base, **options).double(), vocabulary_of(base)
    assert find_projection(model, len(vocab)).obstacle == ""
    for more in ({}, {"ctc_weight": 0.5}):
        (plain, expected), (fused, found) = (gradients(model, vocab, form, **more) for form in ("plain", "fused"))
        torch.testing.assert_close(fused, plain)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-9)
            assert gradient.abs().max() > 0 or "lora_A" in name, name  # lora_B starts at 0


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("family", ["llama", "llama-untied", "gpt2"])
def test_what_is_trained(tmp_path, family, options):
    decoder = make_model(make_base(tmp_path, family), **options).decoder
    trained = {name for name, p in decoder.named_parameters() if p.requires_grad}
    text = {id(p) for p in (decoder.embed_tokens.text.weight, decoder.head) if p is not None}
    new = {"embed_tokens.new"} | ({"new_head"} if family == "llama-untied" else set())
    assert new <= trained
    names_of_text = {name for name, p in decoder.named_parameters() if id(p) in text}
    assert bool(names_of_text & trained) == ("trained" in options.values() or not options)
    layers = trained - new - names_of_text
    assert layers and all("lora_" in name for name in layers) == ("lora_rank" in options)


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_checkpoint_holds_what_is_trained_and_the_base_completes_it(tmp_path, options):
    base = make_base(tmp_path / "base")
    model = make_model(base, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, tensor in state.items() if tensor.is_floating_point()} == trained
    again = make_model(base, **options)
    again.load_state_dict(dict(state), strict=True)
    tokens = torch.randint(4, len(vocabulary_of(base)), (2, 9))
    assert torch.equal(model(tokens)[0], again(tokens)[0])
    other = make_base(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"--hf-model: the checkpoint was trained on the base .*name the same base"):
        make_model(other, **options).load_state_dict(dict(state), strict=True)
    moved = shutil.copytree(base, tmp_path / "moved")
    make_model(moved, **options).load_state_dict(dict(state), strict=True)


def test_base_is_more_than_its_weights(tmp_path):
    base = make_base(tmp_path / "base")
    state = make_model(base).state_dict()
    config = (base / "config.json").read_text()
    (base / "config.json").write_text(config.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    with pytest.raises(InputError, match="name the same base"):
        make_model(base).load_state_dict(dict(state))
    (base / "config.json").write_text(config.replace('"transformers_version": "5', '"transformers_version": "6'))
    make_model(base).load_state_dict(dict(state))


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_adapters_are_decoded(tmp_path, family):
    base = make_base(tmp_path, family)
    model, vocab = make_model(base, lora_rank=2).double(), vocabulary_of(base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter))
        tokens = torch.tensor([[vocab.unit_offset, vocab.unit_offset + 3, vocab.separator]])
        session = HFPromptCache(model, tokens, torch.tensor([3]), 1, None)
        plain = make_model(base).double()(tokens)[0][:, -1]
        torch.testing.assert_close(session.first_logits, model(tokens)[0][:, -1])
        assert (session.first_logits - plain).abs().max() > 0.1


@pytest.mark.parametrize("family", ["llama-untied", "gemma3"])
def test_new_symbols_start_as_chosen(tmp_path, family):
    base = make_base(tmp_path, family)
    decoder = make_model(base, new_symbols="normal", new_symbols_std=3.0).decoder
    assert float(decoder.embed_tokens.new.detach().std()) == pytest.approx(3.0, rel=0.2)
    text = decoder.embed_tokens.text.weight.detach()[: len(TOKENS)]
    mean = make_model(base).decoder.embed_tokens.new.detach()
    assert torch.allclose(mean, text.mean(0).expand_as(mean), atol=0.1 * float(text.std()))
    assert len(torch.unique(mean, dim=0)) == len(mean)
    torch.manual_seed(5)
    first = make_model(base).decoder.embed_tokens.new
    torch.manual_seed(5)
    assert torch.equal(make_model(base).decoder.embed_tokens.new, first)


def test_units_start_from_their_centroids(tmp_path):
    decoder = make_model(make_base(tmp_path, "llama-untied")).decoder
    before = decoder.embed_tokens.new.detach().clone()
    values = np.repeat(np.random.default_rng(0).normal(size=(NUM_UNITS // 2, 5)), 2, axis=0).astype(np.float32)
    decoder.init_units(SimpleNamespace(values=values))
    for table, text in ((decoder.embed_tokens.new, decoder.embed_tokens.text.weight), (decoder.new_head, decoder.head)):
        units = table.detach()[-NUM_UNITS:]
        known = (units[0::2] == units[1::2]).all(0)  # what the centroids decide: twins are equal there
        assert known.sum() == 5
        spread = ((units - text.mean(0)) / text.std(0)).detach()
        assert float(spread[:, known].square().mean()) == pytest.approx(1.0, rel=1e-3)
    assert torch.equal(decoder.embed_tokens.new[:-NUM_UNITS], before[:-NUM_UNITS])


def test_activation_checkpoints_change_nothing(tmp_path):
    base = make_base(tmp_path)
    vocab = vocabulary_of(base)
    torch.manual_seed(0)
    plain = make_model(base).double()
    again = make_model(base, checkpoint_activations=True).double()
    again.load_state_dict(copy.deepcopy(plain.state_dict()))
    (loss, expected), (other, found) = (gradients(model.train(), vocab, "fused") for model in (plain, again))
    torch.testing.assert_close(other, loss)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name])


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hf_model": ""}, "joint_hf needs a pretrained model"),
        ({"hf_model": "/nowhere/at/all"}, "no causal language model can be loaded"),
        ({"tokens_per_sample": 65}, "has 64 positions; choose at most 64"),
        (
            {"lora_rank": 2, "lora_targets": "q_proj,query"},
            "LlamaModel has no linear layer 'query'; choose among .*q_proj",
        ),
        ({"lora_rank": -1}, "-1 gives no adapters"),
        ({"lora_targets": "q_proj"}, "0 gives no adapters"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make_model(make_base(tmp_path), **options)


def test_models_that_cannot_be_are_refused(tmp_path):
    sizes = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    T5ForConditionalGeneration(T5Config(vocab_size=16, d_model=16, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path / "t5"
    )
    BertLMHeadModel(BertConfig(**sizes, intermediate_size=16, is_decoder=False)).save_pretrained(tmp_path / "bert")
    LlamaModel(FAMILIES["llama-untied"]()).save_pretrained(tmp_path / "headless")
    shutil.copytree(make_base(tmp_path / "base"), tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    for name, message in (
        ("t5", "no causal language model can be loaded from there"),
        ("bert", "sees what comes after a position; give a causal model"),
        ("headless", "its weights lack lm_head.weight"),
        ("pickled", "weights must be safetensors"),
    ):
        if not (tmp_path / name / "tokenizer.json").exists():
            make_tokenizer(tmp_path / name)
        with pytest.raises(InputError, match=message):
            make_model(tmp_path / name)


def test_another_models_tokenizer_is_refused(tmp_path):
    base = make_base(tmp_path / "base")
    vocab = vocabulary_of(base)
    for name, tokens, message in (
        ("swapped", [TOKENS[1], TOKENS[0], *TOKENS[2:]], "symbol 1 is '<|endoftext|>' here"),
        ("longer", [*TOKENS, "five"], "its tokenizer has 10 symbols, dict.txt has 9 of text"),
    ):
        other = shutil.copytree(base, tmp_path / name)
        make_tokenizer(other, tokens)
        with pytest.raises(InputError, match=message):
            make_model(other, vocab=vocab)
    shutil.copytree(base, tmp_path / "large")
    make_tokenizer(tmp_path / "large", [*TOKENS, *(f"w{i}" for i in range(20))])
    with pytest.raises(InputError, match="29 text symbols, but its head has 16 rows"):
        make_model(tmp_path / "large")


def test_padding_on_the_left_is_refused(tmp_path):
    base = make_base(tmp_path)
    vocab = vocabulary_of(base)
    with pytest.raises(InputError, match="pad on the right"):
        make_model(base)(torch.tensor([[vocab.pad, vocab.text_start]]))
