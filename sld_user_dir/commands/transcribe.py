"""Audio in, text out: recordings to transcripts by a trained checkpoint and its k-means or tokenizer.

    sld transcribe --checkpoint checkpoint_best.pt --data manifests/digits a.wav b.flac
    sld transcribe --checkpoint checkpoint_best.pt --data data recordings --json transcripts.json --srt --vtt
    sld transcribe --checkpoint checkpoint_best.pt --data data a.wav --vtt --word-times

Prints `path<TAB>transcript`. A folder stands for the recordings below it, links followed. What the model does not hold
is cut at pauses, decoded in segments and joined again. The k-means or tokenizer must be the one whose units the
checkpoint was trained on; another is refused by its fingerprint.
"""

import json
import sys
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from simple_parsing import field
from tqdm import tqdm

from sld_user_dir.errors import InputError
from sld_user_dir.features.waveform import AudioError, probe
from sld_user_dir.files import atomic_path, printable
from sld_user_dir.hub.answers import FailedRecording, RecordingTranscript
from sld_user_dir.hub.long_recordings import LongFormTranscriber
from sld_user_dir.hub.recogniser_options import RecogniserOptions
from sld_user_dir.longform.cutting import CutOptions
from sld_user_dir.longform.subtitles import WRITERS
from sld_user_dir.longform.word_subtitles import WORD_WRITERS
from sld_user_dir.pipeline.recording_list import FoundRecordings, NamedRecording, find_all


@dataclass
class TranscribeConfig:
    """Audio to text."""

    audio: List[Path] = field(positional=True, nargs="+", metavar="RECORDING")  # noqa: RUF009
    """recordings, of any format and rate that soundfile reads, and folders of such"""
    checkpoint: str = "checkpoint_best.pt"
    """checkpoint, or several joined by `:` for an ensemble"""
    batch_seconds: float = 120.0
    """audio that is encoded and decoded together"""

    def __post_init__(self) -> None:
        if not self.batch_seconds > 0:
            raise InputError(f"--batch-seconds {self.batch_seconds:g}", "a batch of no audio", "take 60 to 600")


@dataclass
class OutputConfig:
    """Files to write beside the lines on standard output; each is written whole or not at all."""

    json: Optional[Path] = None
    """a list with an object for each recording: path, seconds, text, and segments with start, end, text and score"""
    srt: bool = False
    """SubRip subtitles, X.srt beside X.wav"""
    vtt: bool = False
    """WebVTT subtitles, X.vtt beside X.wav"""
    word_times: bool = False
    """also tell when each word was said: in the JSON, in SubRip by a cue for each word, in WebVTT by time stamps
    between words; at its best with models that were trained with --ctc-weight"""
    subtitle_folder: Optional[Path] = None
    """write subtitles there instead, in folders as the recordings are"""

    @property
    def subtitles(self) -> List[str]:
        """Endings of the subtitles that are wanted."""
        return [ending for ending, wanted in (("srt", self.srt), ("vtt", self.vtt)) if wanted]

    def subtitle_path(self, recording: NamedRecording, ending: str) -> Path:
        """The file of a recording."""
        if self.subtitle_folder is None:
            return recording.path.with_suffix(f".{ending}")
        return self.subtitle_folder / recording.name.with_name(f"{recording.name.name}.{ending}")


CONFIGS = {"config": TranscribeConfig, "recogniser": RecogniserOptions, "cut": CutOptions, "output": OutputConfig}
SHOWS_PROGRESS = False


def run(options: Namespace) -> int:
    """Run the command; 1 where a recording could not be transcribed."""
    config, output = options.config, options.output
    found = find_all(config.audio)
    _check_subtitles(found.recordings, output)
    if found.n_folders:
        _say_found(found)
    recogniser: RecogniserOptions = options.recogniser
    transcriber = LongFormTranscriber(
        recogniser.load(config.checkpoint),
        options.cut,
        config.batch_seconds,
        word_times=output.word_times,
        **recogniser.generation,
    )
    paths = [one.path for one in found.recordings]
    seconds = [_seconds(path) if sys.stderr.isatty() else 0.0 for path in paths]
    answers: List[Dict[str, Any]] = []
    failed = truncated = 0
    # on a terminal only, in seconds of audio; the lines on standard output go above it
    with tqdm(total=round(sum(seconds)), unit="s", desc="audio", disable=None, file=sys.stderr) as bar:
        for recording, length, answer in zip(found.recordings, seconds, transcriber(paths)):
            if isinstance(answer, FailedRecording):  # the others are still transcribed
                tqdm.write(f"sld transcribe: {answer.error}", file=sys.stderr)
                failed += 1
            else:
                tqdm.write(f"{printable(str(answer.path))}\t{answer.text}", file=sys.stdout)
                sys.stdout.flush()
                _write_subtitles(recording, answer, output)
                if len(answer.segments) > 1:
                    truncated += sum(segment.truncated for segment in answer.segments)
            answers.append(answer.to_dict())
            bar.update(round(length))
    if output.json is not None:
        with atomic_path(output.json) as aside:
            text = json.dumps(answers, ensure_ascii=False, indent=1) + "\n"
            # names that are not UTF-8 become escapes, which JSON reads as what they are
            aside.write_text(text, encoding="utf-8", errors="backslashreplace")
    if truncated:
        print(f"sld transcribe: {truncated} segments were ended by --max-len-b {recogniser.max_len_b}", file=sys.stderr)
    if failed and len(paths) > 1:
        print(f"sld transcribe: {failed} of {len(paths)} recordings could not be transcribed", file=sys.stderr)
    return 1 if failed else 0


def _say_found(found: FoundRecordings) -> None:
    for line in (f"{len(found.recordings)} recordings", *found.remarks()):
        print(f"sld transcribe: {line}", file=sys.stderr)


def _check_subtitles(recordings: List[NamedRecording], output: OutputConfig) -> None:
    """Refuse recordings whose subtitles would be one file, and options that nothing is written for."""
    if output.word_times and output.json is None and not output.subtitles:
        raise InputError("--word-times", "no file is wanted that holds them", "add --json FILE, --srt or --vtt")
    if output.subtitle_folder is not None and not output.subtitles:
        raise InputError("--subtitle-folder", "no subtitles are wanted", "add --srt or --vtt")
    for ending in output.subtitles:
        counts = Counter(output.subtitle_path(one, ending) for one in recordings)
        path, count = counts.most_common(1)[0]
        if count > 1:
            remedy = "rename them, or give a folder above both with --subtitle-folder"
            raise InputError(path, f"subtitles of {count} recordings would be this file", remedy)


def _write_subtitles(recording: NamedRecording, answer: RecordingTranscript, output: OutputConfig) -> None:
    for ending in output.subtitles:
        with atomic_path(output.subtitle_path(recording, ending)) as aside:
            text = WORD_WRITERS[ending](answer.segments) if output.word_times else WRITERS[ending](answer.segments)
            aside.write_text(text, encoding="utf-8")


def _seconds(path: Path) -> float:
    """For the progress bar; what cannot be read is said later."""
    try:
        return probe(path).seconds
    except AudioError:
        return 0.0
