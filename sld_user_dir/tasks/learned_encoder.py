"""The encoder of units that are learnt, trained with them (`--learn-encoder`): its start, and its learning rate."""

import contextlib
from typing import Any, Iterator, List

import torch
from torch import Tensor, nn

from sld_user_dir.errors import InputError

ENCODER = "unit_encoder"


class LearnedEncoder:
    """The encoder's side of a training.

    Args:
        cfg: the task's options.

    Raises:
        InputError: no learning rate, or no number of updates.
    """

    def __init__(self, cfg: Any):
        self._scale, self._freeze_updates = cfg.encoder_lr_scale, cfg.encoder_freeze_updates
        if not 0 < self._scale <= 1 or self._freeze_updates < 0:
            raise InputError(
                f"--encoder-lr-scale {self._scale:g} --encoder-freeze-updates {self._freeze_updates}",
                "no training of an encoder",
                "choose a scale above 0 and at most 1, and updates of 0 or more",
            )

    def add_to(self, model: nn.Module, features: Any, each_layer: bool) -> None:
        """Give a model its encoder."""
        from sld_user_dir.features.trainable_front_end import TrainableFrontEnd  # brings audio libraries

        setattr(model, ENCODER, TrainableFrontEnd(features, each_layer))

    def frames(self, waves: List[Tensor], module: Any, update: int) -> Tensor:
        """Of waveforms, by the encoder as it is; without its gradient while it is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and update >= self._freeze_updates):
            encoder: nn.Module = getattr(module, ENCODER)
            frames: Tensor = encoder(waves)
            return frames

    @contextlib.contextmanager
    def own_learning_rate(self, model: nn.Module, update: int) -> Iterator[None]:
        """Around a step of any optimizer: the encoder goes a part of its way, none while it is frozen."""
        encoder: nn.Module = getattr(getattr(model, "module", model), ENCODER)
        trained = [one for one in encoder.parameters() if one.requires_grad]
        before = [one.detach().clone() for one in trained]
        yield
        scale = self._scale if update >= self._freeze_updates else 0.0
        with torch.no_grad():
            for one, old in zip(trained, before):
                one.copy_(torch.lerp(old, one, scale))
