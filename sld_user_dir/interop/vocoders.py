"""Our units in the form that textless-lib's vocoders take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence, Union

import numpy as np
import numpy.typing as npt

from sld_user_dir.clustering.unit_sequences import deduplicate
from sld_user_dir.interop.records import InteropError
from sld_user_dir.manifests.provenance import UnitProvenance

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VocoderInput:
    """`vocoder(input.units, **input.options)`."""

    units: Tensor
    """int64, (N,) for Tacotron, (1, N) for HiFi-GAN"""
    options: dict[str, bool]


VOCODERS = ("tacotron", "hifigan")


def vocoder_input(
    units: Union[Sequence[int], npt.NDArray[Any], Tensor], made_by: UnitProvenance, vocoder: str, vocoder_units: int
) -> VocoderInput:
    """Raw units in the form that a vocoder of textless-lib takes.

    `TacotronVocoder` was trained on de-duplicated units and gets them so. `CodeHiFiGANVocoder`
    takes either, and predicts durations (`dur_prediction=True`) for de-duplicated ones.

    Args:
        made_by: provenance of the model that wrote the units.
        vocoder_units: K of the vocoder.

    Raises:
        InteropError: units of another K, text tokens, nothing to say, an unknown vocoder.
    """
    if vocoder not in VOCODERS:
        raise InteropError(None, f"no vocoder {vocoder!r}", f"choose one of: {', '.join(VOCODERS)}")
    if made_by.num_units != vocoder_units:
        raise InteropError(
            None,
            f"units of K={made_by.num_units} ({made_by.encoder}), but the vocoder speaks K={vocoder_units}",
            "take the vocoder of this encoder and K",
        )
    import torch

    array = _vocoder_units(units, vocoder_units)
    if vocoder == "tacotron":
        array = deduplicate(array)[0]
        return VocoderInput(torch.from_numpy(array.astype(np.int64)), {})
    tensor = torch.from_numpy(array.astype(np.int64)).view(1, -1)
    return VocoderInput(tensor, {"dur_prediction": made_by.deduplicated})


def _vocoder_units(units: Any, k: int) -> npt.NDArray[np.int32]:
    try:
        array = np.asarray(units.cpu() if hasattr(units, "cpu") else units)
    except (ValueError, TypeError) as error:
        raise InteropError(None, f"these are no units ({error})", "give a list such as [71, 12, 57]") from error
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
        raise InteropError(
            None, f"a vocoder takes units, not {str(units)[:40]!r}", "give whole numbers such as [71, 12, 57], no text"
        )
    if array.min() < 0 or array.max() >= k:
        raise InteropError(
            None,
            f"{array.max()} is outside 0 … {k - 1}: ids of text or of the joint vocabulary are no units",
            "decode them with vocab.decode_units first",
        )
    return array.astype(np.int32)
