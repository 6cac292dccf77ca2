"""Units that are learnt with the model (`--learn-units`): frames in batches, units made of them before the model runs.

A manifest's units say how many frames an utterance has, and are replaced, as inputs and as targets. So the quantiser
runs before the criterion, which must know the targets; the model gets shares of unit embeddings through which the
gradient comes back.
"""

import functools
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor, nn

from sld_user_dir.clustering.kmeans_file import Centroids
from sld_user_dir.clustering.layer_metadata import layer_sum_of
from sld_user_dir.errors import InputError
from sld_user_dir.losses.positions import FramePosteriors
from sld_user_dir.manifests.audio_manifest import read_audio_manifest
from sld_user_dir.models.causal_decoder import CausalDecoder
from sld_user_dir.models.unit_mixture import UnitMixture
from sld_user_dir.quantisation.differentiable_kmeans import DifferentiableKMeans
from sld_user_dir.quantisation.layer_weights import LayerWeights
from sld_user_dir.quantisation.temperature_schedule import TemperatureSchedule
from sld_user_dir.quantisation.unit_usage import UnitUsage, collapse_loss
from sld_user_dir.tasks.framed_dataset import FramedDataset
from sld_user_dir.tasks.learned_encoder import LearnedEncoder
from sld_user_dir.vocabulary.joint import JointVocabulary

Sample = Dict[str, Any]


class LearnedUnits:
    """The quantiser's side of a training.

    Args:
        cfg: the task's options.

    Raises:
        InputError: a k-means of another number of units, or options that make no quantiser.
    """

    def __init__(self, cfg: Any, vocab: JointVocabulary):
        self._cfg, self._vocab = cfg, vocab
        self.start = Centroids.load(cfg.learn_units)
        self.schedule = TemperatureSchedule.parse(cfg.unit_temperature)
        self.encoder = LearnedEncoder(cfg) if cfg.learn_encoder else None
        layers = layer_sum_of(self.start.metadata)
        self.learnt_layers = None if str(cfg.unit_layer_weights) == "fixed" else layers
        if self.start.num_units != vocab.num_units:
            raise InputError(
                f"--learn-units {cfg.learn_units}",
                f"{self.start.num_units} centroids for {vocab.num_units} units",
                "give the k-means file of the units",
            )
        if not cfg.unit_sharpness > 0 or cfg.unit_collapse_weight < 0:
            raise InputError(
                f"--unit-sharpness {cfg.unit_sharpness:g} --unit-collapse-weight {cfg.unit_collapse_weight:g}",
                "no quantiser",
                "choose a sharpness above 0, and a weight of 0 or more",
            )
        if self.learnt_layers is not None and not all(self.learnt_layers.weights):
            raise InputError(
                f"--learn-units {cfg.learn_units}",
                "a layer of weight 0, which would be learnt never",
                "train it without that layer, or give --unit-layer-weights fixed",
            )

    def refuse_units(self) -> None:
        """Refuse units without frames, which would be those of the start.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"--learn-units {self.start.path}",
            "the checkpoint makes its units itself, of frames",
            "export it by sld export-kmeans --checkpoint, and decode units by the model that --plain-checkpoint writes",
        )

    def state(self) -> Dict[str, Any]:
        """What a checkpoint remembers: where the units started, and what is known of their features."""
        state: Dict[str, Any] = {"kmeans": self.start.sha256, "metadata": dict(self.start.metadata)}
        state |= {"learns_encoder": True} if self.encoder is not None else {}
        return state if self.learnt_layers is None else {**state, "learns_layers": True}

    def check_state(self, state: Dict[str, Any]) -> None:
        """Refuse to go on from a checkpoint whose weights of layers are learnt where those of the run are not.

        Raises:
            InputError: so it is, or the other way round.
        """
        if bool(state.get("learns_encoder")) != (self.encoder is not None):
            trained = "trained" if state.get("learns_encoder") else "not trained"
            remedy = "go on as it was trained, with or without that option"
            raise InputError("--learn-encoder", f"the checkpoint's encoder was {trained}", remedy)
        learnt = bool(state.get("learns_layers"))
        if learnt != (self.learnt_layers is not None):
            raise InputError(
                f"--unit-layer-weights {self._cfg.unit_layer_weights}",
                f"the checkpoint's weights of layers are {'learnt' if learnt else 'fixed'}",
                "go on with the option and the k-means file that its training had",
            )

    def add_to(self, model: nn.Module) -> None:
        """Give a model its quantiser.

        Raises:
            InputError: a model that takes no shares of units.
        """
        decoder = getattr(model, "decoder", None)
        if not (isinstance(decoder, CausalDecoder) and decoder.packs()):
            raise InputError("--learn-units", "this model takes no shares of units", "choose a joint_lm architecture")
        hard = str(self._cfg.unit_form) == "hard"
        model.quantiser = DifferentiableKMeans(self.start, self._cfg.unit_sharpness, hard, self._layer_weights())
        model.unit_usage = UnitUsage(self._vocab.num_units)
        if self.encoder is not None:
            self.encoder.add_to(model, self._kmeans[1], self.learnt_layers is not None)

    def _layer_weights(self) -> Optional[LayerWeights]:
        learnt = self.learnt_layers
        return None if learnt is None else LayerWeights(learnt.layers, learnt.weights)

    @functools.cached_property
    def _kmeans(self) -> Tuple[Any, Any]:
        """The k-means of the start, and its features."""
        # here, since they bring audio and clustering libraries, which other trainings do without
        from sld_user_dir.clustering.kmeans import KMeans
        from sld_user_dir.clustering.unit_sequences import feature_config_of

        kmeans = KMeans.load(self._cfg.learn_units)
        return kmeans, feature_config_of(kmeans, self._cfg.unit_features, "--unit-features")

    @functools.cached_property
    def _front_end(self) -> Any:
        """Makes the frames of all sets: an encoder is loaded once."""
        from sld_user_dir.features.front_end import build_front_end

        return build_front_end(self._kmeans[1], "cpu")

    def add_frames(self, dataset: FramedDataset, manifest: Any, path: Path) -> None:
        """Give a dataset the frames of its recordings.

        Raises:
            InputError: no recording for a row, or units of other features, or of another k-means.
        """
        from sld_user_dir.clustering.unit_sequences import provenance
        from sld_user_dir.pipeline.recording_frames import RecordingFrames, RecordingWaves

        kmeans, front_end = self._kmeans[0], self._front_end
        made, stated = provenance(front_end, kmeans), manifest.provenance
        if made.fingerprint != stated.fingerprint:
            raise InputError(
                path,
                f"its units are {stated.describe()}, but --learn-units starts from {made.describe()}",
                "extract them by the k-means file of --learn-units, not de-duplicated",
            )
        audio = Path(self._cfg.unit_audio or path.parent) / f"{path.stem}.audio.tsv"
        by_id = {one.id: one for one in read_audio_manifest(audio)}
        missing = [name for name in manifest.column("id") if name not in by_id]
        if missing:
            raise InputError(audio, f"no recording for {missing[0]} of {path}", "make it again by sld audio")
        recordings = [by_id[name] for name in manifest.column("id")]
        kind = RecordingFrames if self.encoder is None else RecordingWaves
        dataset.frames = kind(recordings, front_end, self._cfg.unit_cache_mib, self.learnt_layers is not None)

    def check_batches(self, dataset: FramedDataset, batches: int) -> None:
        """Refuse batches with fewer frames than units, on average: most units would never be tried.

        Raises:
            InputError: they have, in the hard form.
        """
        frames = sum(len(units) for units in dataset.units)
        if str(self._cfg.unit_form) == "hard" and frames < batches * self._vocab.num_units:
            raise InputError(
                "--unit-form hard",
                f"{self._vocab.num_units} units, but a batch has {frames / max(batches, 1):.0f} frames on average",
                "raise --max-tokens, take fewer units, or choose --unit-form soft",
            )

    def quantise(self, sample: Sample, model: nn.Module, update: int = 0) -> Sample:
        """A new batch, in which the units are those of the frames; as it is where it holds no frames.

        The model decides by its mode, training or not, whether units are sampled.
        """
        if "frames" not in sample and "waves" not in sample:
            return sample
        module: Any = getattr(model, "module", model)
        found = module.quantiser(self._frames(sample, module, update), self.schedule.at(update))
        if module.training:
            module.unit_usage.add(found.units, found.log_probabilities)
        net_input, offset = dict(sample["net_input"]), self._vocab.unit_offset
        frame = frame_numbers(net_input["src_tokens"], offset)
        net_input["src_tokens"] = _replaced(net_input["src_tokens"], frame, found.units + offset)
        if found.weights is not None:
            net_input["unit_mixture"] = UnitMixture(found.weights, frame)
        result = {key: value for key, value in sample.items() if key not in ("frames", "waves")}
        result["net_input"] = net_input
        if sample.get("target") is not None:
            following = torch.cat([frame[:, 1:], frame.new_full((len(frame), 1), -1)], dim=1)
            following = following.masked_fill(sample["target"] < offset, -1)
            result["target"] = _replaced(sample["target"], following, found.units + offset)
            result["frame_posteriors"] = FramePosteriors(found.log_probabilities, following)
        return result

    def _frames(self, sample: Sample, module: Any, update: int) -> Tensor:
        frames: Tensor = (
            sample["frames"] if self.encoder is None else self.encoder.frames(sample["waves"], module, update)
        )
        return frames

    def with_collapse_loss(self, criterion: Any, model: nn.Module, sample: Sample, update: int) -> Any:
        """The criterion, with the loss against collapse and the quantiser's figures for the log."""
        module: Any = getattr(model, "module", model)
        loss_of_units = collapse_loss(sample["frame_posteriors"].log_probabilities)

        def both(model: nn.Module, sample: Sample) -> Tuple[Tensor, float, Dict[str, Any]]:
            loss, sample_size, log = criterion(model, sample)
            loss = loss + self._cfg.unit_collapse_weight * sample_size * loss_of_units
            figures = module.unit_usage.figures(module.quantiser)
            figures |= {"unit_collapse": float(loss_of_units.detach()), "unit_temperature": self.schedule.at(update)}
            for name, value in figures.items():
                log[f"share:{name}:total"], log[f"share:{name}:count"] = value, 1
            return loss, sample_size, log

        return both


def frame_numbers(tokens: Tensor, unit_offset: int) -> Tensor:
    """(B, L), the number of each unit among all units of the batch, row by row; -1 where no unit stands."""
    unit = tokens >= unit_offset
    return torch.where(unit, unit.flatten().cumsum(0).view_as(tokens) - 1, -1)


def _replaced(ids: Tensor, frame: Tensor, units: Tensor) -> Tensor:
    return torch.where(frame >= 0, units[frame.clamp(min=0)], ids) if len(units) else ids
