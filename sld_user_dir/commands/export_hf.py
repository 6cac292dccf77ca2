"""A trained backbone (`--arch joint_hf`) as a Hugging Face directory that any of its tools loads.

    sld export-hf --checkpoint runs/smollm/checkpoint_best.pt --data DATA --out exported
    sld export-hf --checkpoint runs/smollm/checkpoint_best.pt --data DATA --out exported --push-to me/smollm-asr
    sld export-hf --checkpoint runs/smollm/checkpoint_best.pt --data DATA --out adapter --adapter

Adapters are added into the matrices; specials and units become tokens behind those of the text, such as <u12> and
<sep>. A prompt is units, then <sep>; the transcript ends with </s>. README.md is its model card. --adapter writes
the adapters and the new symbols alone, as peft loads them onto the base.
"""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

from sld_user_dir.experiment.card_facts import gather
from sld_user_dir.experiment.card_options import ADAPTER_LOADER, CardOptions
from sld_user_dir.experiment.hub_upload import push_directory
from sld_user_dir.experiment.model_card import model_card, write_card


@dataclass
class ExportHFConfig:
    """What to export, and where it goes."""

    checkpoint: Path
    """fairseq checkpoint of a joint_hf"""
    data: Path
    """data directory with the dict.txt, vocab.json and hf_tokenizer that it was trained with"""
    out: Path
    """directory to write"""
    hf_model: Optional[str] = None
    """where its base is now, a directory or a name on the hub; by default where it was in training"""
    dtype: str = "float32"
    """numbers of the written weights: float32, bfloat16 or float16"""
    adapter: bool = False
    """write the adapters of --lora-rank and the new symbols' embeddings alone, for PeftModel.from_pretrained"""
    push_to: Optional[str] = None
    """upload the directory to this name on the Hugging Face hub, OWNER/MODEL, with your own login; private at first"""
    results: List[Path] = field(default_factory=list)
    """outputs of fairseq-generate with this checkpoint, for the WER in the model card"""
    name: Optional[str] = None
    """name of the model in its card; by default that of the directory"""
    license: Optional[str] = None
    """license of the weights, by Hugging Face's short name such as cc-by-sa-4.0; the base's license holds, too"""
    language: Optional[str] = None
    """of the transcripts, as an ISO 639 code"""


CONFIGS = {"config": ExportHFConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> None:
    """Run the command."""
    from sld_user_dir.models.hf_export_checkpoint import export_checkpoint  # loads fairseq, which --help can do without

    config: ExportHFConfig = options.config
    loader = ADAPTER_LOADER if config.adapter else "AutoModelForCausalLM"
    name = config.name or config.out.resolve().name
    card_options = CardOptions(name, config.license, config.language, exported=loader)
    card = model_card(gather(config.checkpoint, config.data, config.results), card_options)
    export_checkpoint(config.checkpoint, config.data, config.out, config.hf_model, config.dtype, config.adapter)
    write_card(config.out / "README.md", card)
    print(f"{config.out}: written")
    if config.push_to is not None:
        print(f"{push_directory(config.out, config.push_to)}: uploaded")
