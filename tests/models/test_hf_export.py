"""`sld export-hf`: what transformers loads is the model that was trained, and the hub is asked as a user would."""

import functools
import json
import re

import huggingface_hub
import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from support.backbones import FAMILIES, make_base, make_model, vocabulary_of
from support.commands import sld
from support.miniature import fairseq_command, make_data
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from sld_user_dir.errors import InputError
from sld_user_dir.experiment.hub_upload import push_directory
from sld_user_dir.models.exported_symbols import SYMBOLS_FILE, joint_ids
from sld_user_dir.models.hf_adapter import BASE_FILE, write_adapter
from sld_user_dir.models.hf_base import load_base
from sld_user_dir.models.hf_export import write_directory


def export(tmp_path, family="llama", dtype="float32", **options):
    """A base, trained a little, and what is exported of it."""
    base = make_base(tmp_path / "base", family)
    model, vocab = make_model(base, **options), vocabulary_of(base)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    write_directory(model, str(base), vocab, tmp_path / "out", dtype)
    return model, vocab, tmp_path / "out"


def assert_same_logits(model, vocab, directory, loaded=None):
    theirs, ids = loaded or AutoModelForCausalLM.from_pretrained(directory).eval(), joint_ids(vocab)
    rows = torch.randint(len(vocab), (3, 12))
    rows[ids[rows] == vocab.pad] = 0
    with torch.no_grad():
        expected = model(ids[rows])[0][..., ids]
        assert expected.std() > 0.1
        torch.testing.assert_close(theirs(rows).logits, expected, atol=1e-5, rtol=1e-5)


QUICK = ("gpt2", "llama-untied")
EACH_FAMILY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]


@pytest.mark.parametrize("options", [{"lora_rank": 2}, {}], ids=["adapters", "everything"])
@pytest.mark.parametrize("family", EACH_FAMILY)
def test_exported_logits_are_ours(tmp_path, family, options):
    assert_same_logits(*export(tmp_path, family, **options))


def test_exported_tokenizer_reads_units_and_drops_them(tmp_path):
    model, vocab, directory = export(tmp_path, lora_rank=2)
    tokenizer, ids = AutoTokenizer.from_pretrained(directory), joint_ids(vocab).tolist()
    assert len(tokenizer) == len(vocab) and tokenizer.model_max_length == model.decoder.max_positions()
    found = tokenizer("<u3><u11><sep>one two</s>", add_special_tokens=False)["input_ids"]
    ours = [*vocab.encode_units([3, 11]).tolist(), vocab.separator, *vocab.encode_text("one two"), vocab.eos]
    assert [ids[i] for i in found] == ours
    assert tokenizer.decode(found, skip_special_tokens=True).split() == ["one", "two"]
    # the base has a token <s> of its own, which stays text
    symbols = json.loads((directory / SYMBOLS_FILE).read_text(encoding="utf-8"))
    assert tokenizer.convert_tokens_to_ids("<s>") == 2 and tokenizer.convert_ids_to_tokens(ids.index(0)) == "<joint:s>"
    assert symbols == [vocab.table[i] for i in ids]


def test_exported_generation_writes_text_and_ends(tmp_path):
    _, vocab, directory = export(tmp_path, lora_rank=2)
    config, ids = GenerationConfig.from_pretrained(directory), joint_ids(vocab).tolist()
    never = {ids[i] for i in config.suppress_tokens}
    assert never == set(range(len(vocab))) - set(vocab.text_ids) - {vocab.eos}
    assert [ids[i] for i in (config.eos_token_id, config.pad_token_id)] == [vocab.eos, vocab.pad]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    prompt = tokenizer("<u3><u11><sep>", add_special_tokens=False, return_tensors="pt")["input_ids"]
    answer = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=9)[0, prompt.size(1) :]
    assert {ids[i] for i in answer.tolist()} <= {*vocab.text_ids, vocab.eos, vocab.pad}


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_what_serving_engines_read_of_the_configuration(tmp_path, family):
    """vLLM and its kin: one row a token, tensors of the family's own names, no code in the directory."""
    _, vocab, directory = export(tmp_path, family, dtype="bfloat16", lora_rank=2)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    assert config["vocab_size"] == len(vocab) and config["dtype"] == "bfloat16"
    assert "auto_map" not in config and not list(directory.glob("*.py")) and not list(directory.glob("*.bin"))
    base = json.loads((tmp_path / "base" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == base["architectures"]
    with (
        safe_open(directory / "model.safetensors", "pt") as ours,
        safe_open(tmp_path / "base" / "model.safetensors", "pt") as theirs,
    ):
        assert set(ours.keys()) == set(theirs.keys())
        for name in ours.keys():  # noqa: SIM118  (no mapping)
            shape, other = ours.get_slice(name).get_shape(), theirs.get_slice(name).get_shape()
            assert shape[1:] == other[1:] and shape[0] in (other[0], len(vocab))


# -- adapters alone ----------------------------------------------------------------------------------------------


def export_adapter(tmp_path, family="llama", **options):
    model, vocab, _ = export(tmp_path, family, **options)
    write_adapter(model, str(tmp_path / "base"), vocab, tmp_path / "adapter")
    return model, vocab, tmp_path / "adapter"


def load_adapter(directory):
    """As the model card says."""
    about = json.loads((directory / BASE_FILE).read_text(encoding="utf-8"))
    base = AutoModelForCausalLM.from_pretrained(about["name"])
    base.resize_token_embeddings(about["rows"], mean_resizing=False)
    return PeftModel.from_pretrained(base, directory).eval()


@pytest.mark.parametrize("options", [{}, {"text_embeddings": "trained"}], ids=["text frozen", "text trained"])
@pytest.mark.parametrize("family", EACH_FAMILY)
def test_peft_loads_adapters_and_new_symbols(tmp_path, family, options):
    model, vocab, directory = export_adapter(tmp_path, family, lora_rank=2, **options)
    assert_same_logits(model, vocab, directory, load_adapter(directory))
    about = json.loads((directory / BASE_FILE).read_text(encoding="utf-8"))
    assert about["fingerprint"] == load_base(str(tmp_path / "base")).fingerprint
    with safe_open(directory / "adapter_model.safetensors", "pt") as stored:
        rows = {stored.get_slice(name).get_shape()[0] for name in stored.keys() if "lora" not in name}  # noqa: SIM118
    assert rows == {len(vocab) if options else len(vocab) - len(vocab.text_ids)}


def test_a_model_without_adapters_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--adapter: the model has no adapters: .* --lora-rank; leave out --adapter"):
        export_adapter(tmp_path)
    assert not (tmp_path / "adapter").exists()


# -- the command -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint with adapters, its data directory, and its base, which has moved since."""
    root = tmp_path_factory.mktemp("exported")
    base, data = make_base(root / "base"), make_data(root / "data", train=20, valid=4)
    assert sld("vocab", "--data", data, "--text-tokenizer", "hf", "--hf-model", base) == 0
    options = ["--arch", "joint_hf", "--hf-model", base, "--lora-rank", "2", "--tokens-per-sample", "64"]
    options += [
        "--criterion",
        "sld",
        "--optimizer",
        "adam",
        "--lr",
        "0.01",
        "--max-tokens",
        "200",
        "--num-workers",
        "0",
    ]
    fairseq_command("train", data, *options, "--max-update", "2", "--save-dir", root / "run")
    return root / "run" / "checkpoint_last.pt", data, base.rename(root / "moved")


def test_a_base_that_has_moved_is_named(trained, tmp_path, capsys):
    from sld_user_dir import hub

    checkpoint, data, base = trained
    with pytest.raises(
        InputError, match=r"the pretrained model of its training, .*base, is not there; name .* hf_model="
    ):
        hub.load(checkpoint, data, device="cpu")
    assert isinstance(hub.load(checkpoint, data, device="cpu", hf_model=base).transcribe_units([0, 1, 2]), str)
    words = ["export-hf", "--checkpoint", checkpoint, "--data", data, "--out", tmp_path / "out"]
    assert sld(*words) == 1 and "--hf-model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("adapter", [[], ["--adapter"]], ids=["whole", "adapter"])
def test_export_command_and_the_example_of_its_card(trained, tmp_path, monkeypatch, capsys, adapter):
    checkpoint, data, base = trained
    pushed = []
    monkeypatch.setattr(
        "sld_user_dir.commands.export_hf.push_directory", lambda *words: pushed.append(words) or "there"
    )
    out = tmp_path / "out"
    words = ["--checkpoint", checkpoint, "--data", data, "--out", out, "--hf-model", base, "--push-to", "me/asr"]
    assert sld("export-hf", *words, *adapter) == 0
    assert pushed == [(out, "me/asr")] and "there: uploaded" in capsys.readouterr().out
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "`pretrained` | `base`" in card and str(tmp_path) not in card
    example = next(block for block in re.findall(r"```python\n(.*?)```", card, re.S) if "AutoModel" in block)
    monkeypatch.chdir(out)
    exec(example, {})
    assert re.fullmatch(r"\[('.*')?\]", capsys.readouterr().out.strip())


# -- the hub -----------------------------------------------------------------------------------------------------


class StandInHub:
    """`HfApi` as far as an upload goes; of what it is asked it keeps a list."""

    asked: list = []

    def create_repo(self, name, **options):
        self.asked.append((name, options))
        return huggingface_hub.RepoUrl(f"https://huggingface.co/me/{name}")

    def upload_folder(self, **options):
        self.asked.append(options)


def test_push_makes_a_private_model(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", StandInHub)
    monkeypatch.setattr(StandInHub, "asked", [])
    assert push_directory(tmp_path, "asr") == "https://huggingface.co/me/asr"
    (name, made), uploaded = StandInHub.asked
    assert name == "asr" and made["private"] and made["exist_ok"]
    assert uploaded["repo_id"] == "me/asr" and uploaded["folder_path"] == str(tmp_path)


@pytest.mark.parametrize("name", ["asr", "no such/name/at all"])
def test_what_the_hub_refuses_is_said_plainly(tmp_path, monkeypatch, name):
    """The real client, at a port where nobody listens."""
    client = functools.partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:9", token="hf_none")
    monkeypatch.setattr(huggingface_hub, "HfApi", client)
    with pytest.raises(InputError, match=r"--push-to .*: the hub did not take it: .*; log in with: hf auth login"):
        push_directory(tmp_path, name)


def test_unknown_number_formats_are_refused(tmp_path):
    with pytest.raises(InputError, match="--dtype int4: no such number format; choose one of float32"):
        export(tmp_path, dtype="int4")
