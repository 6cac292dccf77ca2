"""Which encoder to take: agreement of its units with phones, bits a second, and speed.

    python benchmarks/encoders.py --json                # speed alone, on noise, by random weights of published shapes
    python benchmarks/encoders.py --json --audio dev.audio.tsv --labels phones.ctm \
        --cases mfcc whisper-tiny.en,layer=3 random:hubert-base > encoders.json
    python benchmarks/encoders.py --table encoders.json # the rows as a table in Markdown

A case is what `--features` of `sld kmeans` is, with further feature options behind commas (`layer`, `stack`,
`normalise`, `pad_to_seconds`, …); `units=K` takes another number of units than --num-units. `random:NAME` measures
speed alone, by random weights of a published model's shape. --published measures units that were published, of which
no encoder is at hand: JSON lines of `name` and `units`.

--labels is a CTM file, or JSON lines of `name` and `phones`, 100 phones a second. A frame's label is the one at its
middle. k-means is fitted on the very frames that it is measured on, so figures of few recordings flatter many units.
Speed is seconds of audio for a CPU second of the encoder, on the same recordings, with --threads threads.
"""

import gzip
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import faiss
import numpy as np
from simple_parsing import ArgumentParser, DashVariant
from threadpoolctl import threadpool_limits

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from _encoder_table import EncoderRow, markdown_table  # noqa: E402

from sld_user_dir.clustering.kmeans import KMeans  # noqa: E402
from sld_user_dir.clustering.quality import bitrate_report, frame_labels, label_report, read_ctm  # noqa: E402
from sld_user_dir.errors import InputError  # noqa: E402
from sld_user_dir.features.feature_config import FeatureConfig  # noqa: E402
from sld_user_dir.features.front_end import FrontEnd, build_front_end  # noqa: E402
from sld_user_dir.features.waveform import load_audio  # noqa: E402
from sld_user_dir.manifests.audio_manifest import read_audio_manifest  # noqa: E402

SAMPLE_RATE_HZ, LABEL_RATE_HZ = 16000, 100
NOISE_SECONDS = (4.0, 9.0, 16.0)
RANDOM = {  # what a model of transformers differs in from its configuration's defaults
    "whisper-tiny": ("Whisper", {"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6}),
    "whisper-base": ("Whisper", {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8}),
    "whisper-small": ("Whisper", {"d_model": 768, "encoder_layers": 12, "encoder_attention_heads": 12}),
    "hubert-base": ("Hubert", {}),
    "wavlm-large": ("WavLM", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}),
}
LARGE = {"intermediate_size": 4096, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}


@dataclass
class EncodersConfig:
    """What to measure."""

    json: bool = False
    """print one JSON list of rows (default: the table)"""
    table: Optional[Path] = None
    """measure nothing; print the table of a file that --json wrote"""
    audio: Optional[Path] = None
    """audio manifest; default: noise, speed alone"""
    labels: Optional[Path] = None
    """phones of the recordings"""
    cases: List[str] = field(default_factory=lambda: ["mfcc", "random:whisper-tiny", "random:hubert-base"])
    """encoders with their options"""
    published: List[str] = field(default_factory=list)
    """NAME=FILE: published units of the recordings, 50 a second"""
    num_units: int = 256
    """clusters of each case"""
    utterances: int = 100
    """recordings, spread evenly over the manifest"""
    label_shift_ms: float = 0.0
    """labels are taken so much later; encoders differ by 10 to 20 ms in where their frames look"""
    threads: int = 1
    """of torch, faiss and BLAS"""


@dataclass(frozen=True)
class Speech:
    """The recordings, at 16 kHz, and their phones."""

    waves: List[np.ndarray]
    ids: List[str]
    labels: Dict[str, List[Tuple[float, float, str]]]
    seconds: float


def read_labels(path: Path, shift_seconds: float) -> Dict[str, List[Tuple[float, float, str]]]:
    """Start, end and phone of each segment, in seconds, by recording."""
    if ".jsonl" in path.suffixes:
        labels = {one["name"]: segments_of(one["phones"]) for one in json_lines(path)}
    else:
        labels = read_ctm(path)
    shifted = {name: [(a + shift_seconds, b + shift_seconds, p) for a, b, p in one] for name, one in labels.items()}
    return shifted if shift_seconds else labels


def segments_of(phones: Sequence[str]) -> List[Tuple[float, float, str]]:
    """Runs of equal phones, `LABEL_RATE_HZ` a second."""
    starts = [i for i, phone in enumerate(phones) if i == 0 or phone != phones[i - 1]]
    return [(a / LABEL_RATE_HZ, b / LABEL_RATE_HZ, phones[a]) for a, b in zip(starts, [*starts[1:], len(phones)])]


def json_lines(path: Path) -> List[Dict[str, Any]]:
    """Objects of a `.jsonl` or `.jsonl.gz` file."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [json.loads(line) for line in lines]


def label_id(recording_id: str) -> str:
    """LibriSpeech's own id, which corpora of labels have, of one that `sld audio` made of a path."""
    return recording_id.rsplit("/", 1)[-1]


def read_speech(config: EncodersConfig) -> Speech:
    """The recordings of the manifest that have labels, or noise."""
    if config.audio is None:
        rng = np.random.default_rng(0)
        waves = [(0.1 * rng.standard_normal(int(s * SAMPLE_RATE_HZ))).astype(np.float32) for s in NOISE_SECONDS]
        return Speech(waves, [f"noise{i}" for i in range(len(waves))], {}, sum(NOISE_SECONDS))
    labels = read_labels(config.labels, config.label_shift_ms / 1000) if config.labels else {}
    recordings = read_audio_manifest(config.audio)
    if labels:
        recordings = [one for one in recordings if label_id(one.id) in labels]
    if not recordings:
        raise InputError(config.labels, "no recording of the manifest has labels", "check the ids of both")
    chosen = np.linspace(0, len(recordings) - 1, min(config.utterances, len(recordings))).round().astype(int)
    recordings = [recordings[i] for i in chosen]
    waves = [load_audio(one.path, SAMPLE_RATE_HZ, one.speed) for one in recordings]
    return Speech(waves, [label_id(one.id) for one in recordings], labels, sum(map(len, waves)) / SAMPLE_RATE_HZ)


def parse_case(case: str, config: EncodersConfig) -> Tuple[FeatureConfig, int]:
    """`whisper-tiny.en,layer=3,units=500` -> features and number of units."""
    features, *options = case.split(",")
    kinds = {one.name: one.type for one in fields(FeatureConfig)}
    values: Dict[str, Any] = {}
    num_units = config.num_units
    for option in options:
        name, _, value = option.partition("=")
        if name == "units":
            num_units = int(value)
        elif name in kinds:
            kind = str(kinds[name])
            values[name] = int(value) if "int" in kind else float(value) if "float" in kind else value
        else:
            raise InputError(f"--cases {case}", f"no feature option {name!r}", f"there are units, {', '.join(kinds)}")
    return FeatureConfig(features=features, **values), num_units


def timed_frames(front_end: FrontEnd, speech: Speech) -> Tuple[List[np.ndarray], float]:
    """Frames of all recordings, and seconds of audio for a CPU second."""
    front_end.encode_batch(speech.waves[:1])  # what is set up once
    start = time.process_time()
    frames = front_end.encode_batch(speech.waves)
    return frames, speech.seconds / (time.process_time() - start)


def quality_of(units: List[np.ndarray], rate: float, num_units: int, speech: Speech) -> Dict[str, float]:
    """Agreement with the labels, and bits a second."""
    ids: Dict[str, int] = {}
    labels = [frame_labels(speech.labels.get(name, []), len(one), rate, ids) for name, one in zip(speech.ids, units)]
    agreement = label_report(np.concatenate(units), np.concatenate(labels))
    agreement.pop("labelled_frames")
    return {**agreement, **bitrate_report(units, num_units, sum(map(len, units)) / rate)}


def units_of(kmeans: KMeans, frames: List[np.ndarray]) -> List[np.ndarray]:
    """Nearest centroid of each frame."""
    return [kmeans.assign(one) for one in frames]


def measured_case(case: str, speech: Speech, config: EncodersConfig) -> EncoderRow:
    """An encoder that is at hand: speed, and quality where there are labels."""
    features, num_units = parse_case(case, config)
    front_end = build_front_end(features, "cpu")
    frames, speed = timed_frames(front_end, speech)
    row = EncoderRow(shown_name(features), front_end.layer, front_end.dim, front_end.frame_rate_hz)
    row = replace(row, audio_seconds_per_cpu_second=speed, utterances=len(speech.ids), audio_seconds=speech.seconds)
    if not speech.labels:
        return row
    kmeans = KMeans.fit(np.concatenate(frames), num_units, device="cpu")
    quality = quality_of(units_of(kmeans, frames), front_end.frame_rate_hz, num_units, speech)
    row = replace(row, num_units=num_units, **quality)
    if features.pad_to_seconds is None:
        return row
    alone = build_front_end(replace(features, pad_to_seconds=None), "cpu").encode_batch(speech.waves)
    of_alone = KMeans.fit(np.concatenate(alone), num_units, device="cpu")
    same = np.concatenate(units_of(of_alone, alone)) == np.concatenate(units_of(of_alone, frames))
    return replace(row, same_units_unpadded=float(same.mean()))


def random_case(name: str, speech: Speech) -> EncoderRow:
    """Speed by random weights: all layers of a published model's shape."""
    import transformers

    kind, shape = RANDOM[name]
    if kind == "Whisper":
        shape = {**shape, "encoder_ffn_dim": 4 * shape["d_model"], "decoder_layers": 1}
        extractor = transformers.WhisperFeatureExtractor()
    else:
        shape = {**shape, **(LARGE if "large" in name else {})}
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize="large" in name)
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**shape))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        layer = model.config.encoder_layers if kind == "Whisper" else model.config.num_hidden_layers
        front_end = build_front_end(FeatureConfig(features=folder, layer=layer), "cpu")
        speed = timed_frames(front_end, speech)[1]
    row = EncoderRow(name, front_end.layer, front_end.dim, front_end.frame_rate_hz, random_weights=True)
    return replace(row, audio_seconds_per_cpu_second=speed, utterances=len(speech.ids), audio_seconds=speech.seconds)


def published_case(given: str, speech: Speech) -> EncoderRow:
    """Units of an encoder that is not at hand."""
    name, _, path = given.partition("=")
    by_id = {one["name"]: np.array(one["units"]) for one in json_lines(Path(path))}
    missing = [one for one in speech.ids if one not in by_id]
    if missing:
        raise InputError(path, f"no units of {missing[0]}", "give the file that has all recordings")
    units, rate = [by_id[one] for one in speech.ids], 50.0
    num_units = 1 + max(int(one.max()) for one in by_id.values())
    row = EncoderRow(name, None, None, rate, num_units, **quality_of(units, rate, num_units, speech))
    return replace(row, utterances=len(speech.ids), audio_seconds=speech.seconds)


def shown_name(features: FeatureConfig) -> str:
    """The model's name and the options that change its frames, but for the layer."""
    name = Path(features.features).name
    given = {key: value for key, value in features.to_dict().items() if value != getattr(FeatureConfig(), key)}
    return ", ".join([name, *(f"{key}={value}" for key, value in given.items() if key not in ("features", "layer"))])


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = ArgumentParser(description=__doc__, add_option_string_dash_variants=DashVariant.DASH)
    parser.add_arguments(EncodersConfig, dest="config")
    config = parser.parse_args(argv).config
    if config.table:
        print(markdown_table([EncoderRow(**one) for one in json.loads(config.table.read_text(encoding="utf-8"))]))
        return 0
    import torch

    torch.set_num_threads(config.threads)
    faiss.omp_set_num_threads(config.threads)
    speech, rows = read_speech(config), []
    with threadpool_limits(config.threads):
        for case in config.cases:
            kind, _, name = case.partition(":")
            rows.append(random_case(name, speech) if kind == "random" else measured_case(case, speech, config))
            print(json.dumps(asdict(rows[-1])), file=sys.stderr, flush=True)  # kept if a later case is cut off
        rows += [published_case(given, speech) for given in config.published]
    print(json.dumps([asdict(row) for row in rows], indent=2) if config.json else markdown_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
