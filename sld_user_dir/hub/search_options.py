"""Options of the search, from what a user gives."""

from __future__ import annotations

from typing import Any

from sld_user_dir.errors import InputError
from sld_user_dir.models.generation import generation_config


def speech_options(
    *,
    samples: int = 1,
    max_units: int = 200,
    min_units: int = 0,
    temperature: float = 1.0,
    sampling: bool = True,
    sampling_topk: int = -1,
    sampling_topp: float = -1.0,
) -> Any:
    """fairseq's generation options for answers in speech: `samples` draws, or beams without `sampling`.

    Raises:
        InputError: an option out of range.
    """
    if samples < 1 or temperature <= 0 or max_units < 1 or not 0 <= min_units <= max_units:
        raise InputError(
            f"samples {samples}, temperature {temperature}, units {min_units} to {max_units}",
            "nothing to draw",
            "samples, temperature and the most units must be above 0, and the most units not below the least",
        )
    return generation_config(
        samples,
        max_len_a=0,
        max_len_b=max_units,
        min_len=min_units,
        temperature=temperature,
        sampling=sampling,
        sampling_topk=sampling_topk,
        sampling_topp=sampling_topp,
    )
