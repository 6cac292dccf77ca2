"""A data directory in the vocabulary of a pretrained language model, over the manifests of another one."""

from __future__ import annotations

from pathlib import Path

from sld_user_dir.vocabulary.building import build_vocabulary, copy_hf_tokenizer
from sld_user_dir.vocabulary.joint import DICT_FILE


def backbone_data(data: Path, backbone: str, out: Path) -> Path:
    """Link the manifests and the k-means of `data` in `out`, and build the backbone's vocabulary there; returns `out`.

    Raises:
        InputError: the backbone has no tokenizer that can be loaded.
    """
    if (out / DICT_FILE).is_file():
        return out
    out.mkdir(parents=True, exist_ok=True)
    copy_hf_tokenizer(backbone, out)
    for path in [*data.glob("*.tsv"), *data.glob("*.npz")]:
        link = out / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
    build_vocabulary(out, "hf")
    return out


def absolute(backbone: str) -> str:
    """A directory's path from the root, since a checkpoint remembers it; a name on the hub as it is."""
    return str(Path(backbone).resolve()) if Path(backbone).is_dir() else backbone
