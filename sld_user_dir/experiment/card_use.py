"""A model card's section on how to use the model; its code is run by a test."""

from __future__ import annotations

from sld_user_dir.experiment.card_facts import Facts
from sld_user_dir.experiment.card_options import ADAPTER_LOADER, CardOptions
from sld_user_dir.experiment.markdown import code_block
from sld_user_dir.losses.stored_options import predicts_units


def use(facts: Facts, options: CardOptions) -> str:
    """How to use the model: by `transformers` where it is exported, by `hub`, and by the commands."""
    file, example = facts.model.file, _example(facts)
    parts = []
    if options.exported:
        parts += [f"By `{options.library}`, from this directory; units go in, text comes out:"]
        parts += [code_block("python", _with_transformers(facts, options.exported))]
        parts += [f"The same model as a fairseq checkpoint (`{file}`):"]
    lines = [
        "from sld_user_dir import hub",
        "",
        f'model = hub.load("{file}", data="DATA")',
        f"print(model.transcribe_units({example}, beam=5))",
        f"print(model.hypotheses([{example}], beam=5)[0][0])",
    ]
    if predicts_units(facts.model.cfg["criterion"]):
        lines.append(f"print(model.continue_units({example}, max_units=20, seed=0))")
    parts += [code_block("python", lines)]
    test = facts.results[0].test_set if facts.results else "test"
    decode = [
        "fairseq-generate DATA --user-dir sld_user_dir --task speech_unit_lm \\",
        f"    --path {file} --gen-subset {test} --beam 5 --scoring wer --results-path results",
        f"sld score --generate results/generate-{test}.txt --manifest DATA/{test}.tsv",
    ]
    parts += [code_block("sh", decode)]
    parts += [
        "`DATA` is the data directory with `dict.txt` and `vocab.json` of the vocabulary below. "
        "`model.transcribe(audio)` also wants the k-means file below, as `DATA/kmeans.npz`."
    ]
    return "\n\n".join(parts)


def _with_transformers(facts: Facts, loader: str) -> list[str]:
    text = facts.vocab.text_end - facts.vocab.text_start
    room = int(facts.model.cfg["model"].get("max_target_positions") or facts.model.cfg["task"]["tokens_per_sample"])
    adapter = loader == ADAPTER_LOADER
    classes = ["from peft import PeftModel", "from transformers import AutoModelForCausalLM"]
    loading = [
        'about = json.loads(Path("base_model.json").read_text(encoding="utf-8"))',
        'base = AutoModelForCausalLM.from_pretrained(about["name"])',
        'base.resize_token_embeddings(about["rows"], mean_resizing=False)',
        'model = PeftModel.from_pretrained(base, ".").eval()',
    ]
    return [
        "import json",
        "from pathlib import Path",
        "",
        "import torch",
        *(classes if adapter else [f"from transformers import {loader}"]),
        "",
        *(loading if adapter else [f'model = {loader}.from_pretrained(".").eval()']),
        'symbols = json.loads(Path("joint_symbols.json").read_text(encoding="utf-8"))',
        f"units = {_example(facts)}",
        'prompt = torch.tensor([[symbols.index(f"<u{u}>") for u in units] + [symbols.index("<sep>")]])',
        f'no_text = [i for i in range({text}, len(symbols)) if symbols[i] != "</s>"]',
        "out = model.generate(prompt, attention_mask=torch.ones_like(prompt), num_beams=5, suppress_tokens=no_text,",
        f'    max_new_tokens={max(1, min(200, room // 2))}, pad_token_id=symbols.index("<pad>")'
        + (', eos_token_id=symbols.index("</s>"))' if adapter else ")"),
        "print([symbols[i] for i in out[0, prompt.size(1):]])",
    ]


def _example(facts: Facts) -> list[int]:
    """Three units that the vocabulary has; never one after itself."""
    return [k % facts.vocab.num_units for k in (0, 1, 2)]
