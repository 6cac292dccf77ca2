"""`sld import-hf`: models of Hugging Face that read units become ours, with the same logits and the same answers."""

import pytest
import torch
from support.backbones import NUM_UNITS, TOKENS, make_base, make_model, vocabulary_of
from support.commands import sld
from transformers import AutoModelForCausalLM, AutoTokenizer

from sld_user_dir import hub
from sld_user_dir.errors import InputError
from sld_user_dir.models.hf_export import write_directory
from sld_user_dir.models.hf_import import import_directory
from sld_user_dir.vocabulary.joint import JointVocabulary


def make_authors(tmp_path, family, pickled=False):
    """A directory as the authors' program saves it: two tokens more, and rows for units that the tokenizer lacks."""
    base, out = make_base(tmp_path / "base", family), tmp_path / "theirs"
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    tokenizer.add_tokens(["<text_end>", "<speech_end>"])
    model.resize_token_embeddings(tokenizer.vocab_size + NUM_UNITS + 2)
    torch.manual_seed(4)
    with torch.no_grad():
        for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            table[len(TOKENS) :] = torch.randn_like(table[len(TOKENS) :]) * 0.3
    model.config.pad_token_id = tokenizer.eos_token_id
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    if pickled:
        (out / "model.safetensors").unlink()
        torch.save(model.state_dict(), out / "pytorch_model.bin")
    return out, model.eval(), tokenizer


@pytest.mark.parametrize(
    ("family", "pickled"), [("gpt2", True), pytest.param("llama-untied", False, marks=pytest.mark.slow)]
)
def test_the_authors_directories_become_ours(tmp_path, family, pickled, capsys):
    source, theirs, tokenizer = make_authors(tmp_path, family, pickled)
    (tmp_path / "data").mkdir()
    assert sld("import-hf", "--hf-model", source, "--data", tmp_path / "data", "--out", tmp_path / "out") == 0
    assert "--finetune-from-model" in capsys.readouterr().out
    model = hub.load(tmp_path / "out" / "checkpoint.pt", device="cpu")
    vocab = JointVocabulary.load(tmp_path / "data")
    assert vocab.num_units == NUM_UNITS and vocab.table.symbols[vocab.text_start + 4 : vocab.text_end] == TOKENS[4:]
    text_end, speech_end = tokenizer.convert_tokens_to_ids(["<text_end>", "<speech_end>"])
    units, words = [3, 11, 0], [4, 7]
    row = torch.tensor([[u + speech_end + 1 for u in units] + [speech_end, *words, text_end]])
    ours = torch.tensor(
        [[*vocab.encode_units(units), vocab.separator, *(w + vocab.text_start for w in words), vocab.eos]]
    )
    place = [
        *range(vocab.text_start, vocab.text_end),
        vocab.eos,
        vocab.separator,
        *range(vocab.unit_offset, len(vocab)),
    ]
    with torch.no_grad():
        torch.testing.assert_close(model.models[0](ours)[0][..., place], theirs(row).logits, atol=1e-5, rtol=1e-5)


def test_what_was_exported_comes_back(tmp_path):
    base = make_base(tmp_path / "base")
    trained, vocab = make_model(base, lora_rank=2), vocabulary_of(base)
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    write_directory(trained, str(base), vocab, tmp_path / "exported")
    (tmp_path / "data").mkdir()
    checkpoint = import_directory(str(tmp_path / "exported"), tmp_path / "data", tmp_path / "out")
    back = hub.load(checkpoint, device="cpu").models[0]
    assert JointVocabulary.load(tmp_path / "data").fingerprint == vocab.fingerprint
    rows = torch.randint(vocab.text_start, len(vocab), (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(back(rows)[0], trained(rows)[0], atol=1e-5, rtol=1e-5)


def test_models_without_units_and_other_vocabularies_are_refused(tmp_path):
    source, _, _ = make_authors(tmp_path, "llama")
    with pytest.raises(InputError, match="has no <text_end> and <speech_end>, and there is no joint_symbols"):
        import_directory(str(tmp_path / "base"), tmp_path, tmp_path / "out")
    vocabulary_of(tmp_path / "base", NUM_UNITS + 1).save(tmp_path)
    AutoTokenizer.from_pretrained(tmp_path / "base").save_pretrained(tmp_path / "hf_tokenizer")
    with pytest.raises(InputError, match=f"reads {NUM_UNITS} units, but the vocabulary of .* has {NUM_UNITS + 1}"):
        import_directory(str(source), tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="no causal language model can be loaded"):
        import_directory("/nowhere/at/all", tmp_path, tmp_path / "out")
    for content, problem in (("{}", ": no list of symbols"), ('["a"]', ": no list of symbols"), ("[", ":1: not JSON")):
        (tmp_path / "base" / "joint_symbols.json").write_text(content)
        with pytest.raises(InputError, match=f"joint_symbols.json{problem}"):
            import_directory(str(tmp_path / "base"), tmp_path, tmp_path / "out")
