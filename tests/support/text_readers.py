"""Every reader of a text file that a user can give, each with a small file that it reads.

A reader is listed once for each of the files that it reads, since any of them can be in a strange form.
"""

import gzip
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import numpy as np

from sld_user_dir.manifests.provenance import UnitProvenance

NUM_UNITS = 9
TWO_WORDS = "zwei drei"
"""In the text of some readers; the space is what is put to the test."""
MADE_BY = UnitProvenance("x", None, 25.0, "sha256:0", NUM_UNITS)


class TextReader(NamedTuple):
    """A file in a folder, what else lies there, and how it is read to a value that can be compared."""

    name: str
    file: str
    files: Dict[str, str]
    read: Callable[[Path], Any]

    def as_bytes(self, text: str) -> bytes:
        """What stands in a file."""
        return text.encode("utf-8")

    def write(self, folder: Path, change: Callable[[bytes], bytes] = bytes) -> Path:
        """Write all files, the one in question changed; returns its path."""
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            content = self.as_bytes(text)
            put(folder / name, change(content) if name == self.file else content)
        return folder / self.file

    @property
    def content(self) -> str:
        return self.files[self.file]

    @property
    def n_lines(self) -> int:
        return self.content.count("\n")


def put(path: Path, content: bytes) -> None:
    """Write a file, compressed where its name says so."""
    with open(path, "wb") as out:
        out.write(gzip.compress(content) if path.suffix == ".gz" else content)


def words(text: Any) -> List[str]:
    """A text up to white space."""
    return str(text).split()


# -- manifests -----------------------------------------------------------------------
HEAD = '# format: "speech-unit-manifest/1"\n# provenance: {"encoder": "x", "layer": null, "frame_rate_hz": 25.0, '
HEAD += '"kmeans": "sha256:0", "num_units": 9}\n'
UNIT_MANIFEST = HEAD + f"id\tunits\ttext\tspeaker\na\t1 2\t{TWO_WORDS}\tann\nb\t3\tzwölf\tbob\n"
AUDIO_MANIFEST = '# format: "audio-manifest/1"\n# root: "/c"\nid\tpath\tn_samples\tsample_rate\ttext\n'
AUDIO_MANIFEST += f"a\ta.wav\t960\t16000\t{TWO_WORDS}\nb\tb.wav\t960\t16000\tzwölf\n"
LISTING = "/c\na.wav\t960\nb.wav\t960\n"


def unit_manifest(folder: Path) -> Any:
    from sld_user_dir.manifests.unit_manifest import read_manifest

    return _rows(read_manifest(folder / "m.tsv"))


def memory_map(folder: Path) -> Any:
    from sld_user_dir.manifests.memory_map import MappedManifest, open_manifest

    mapped = open_manifest(folder / "m.tsv")
    assert isinstance(mapped, MappedManifest)
    return _rows(mapped)


def _rows(manifest: Any) -> Any:
    lines = [manifest.line(row) for row in range(len(manifest))]
    return lines, [(u.id, u.units.tolist(), words(u.text), u.fields) for u in manifest], manifest.provenance


def audio_manifest(folder: Path) -> Any:
    from sld_user_dir.manifests.audio_manifest import numbered_recordings

    found = numbered_recordings(folder / "m.tsv", 16_000)
    return [(number, one.id, one.path, one.n_samples, words(one.text)) for number, one in found]


def rejected(folder: Path) -> Any:
    from sld_user_dir.manifests.rejected import read_rejected

    return [(one.id, one.path, one.reason) for one in read_rejected(folder / "r.tsv")]


# -- recordings and transcripts ------------------------------------------------------------
def table(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from sld_user_dir.pipeline.recording_table import read_table

        return [(one.id, words(one.text), one.speaker) for one in read_table(folder / name, folder)]

    return read


def transcript_beside(folder: Path) -> Any:
    from sld_user_dir.manifests.audio_manifest import Recording
    from sld_user_dir.pipeline.transcript_files import add_transcript

    return [words(add_transcript(Recording(n, folder / f"{n}.wav")).text) for n in ("a", "8-1-0")]


def prompts(folder: Path) -> Any:
    from sld_user_dir.corpora.asterisk_prompts import read_prompts

    return [(name, words(text)) for name, text in read_prompts(folder).spoken]


def alignment(folder: Path) -> Any:
    from sld_user_dir.clustering.quality import read_ctm

    return read_ctm(folder / "a.ctm")


# -- transcripts to be scored ------------------------------------------------------------
GENERATED = f"T-0\tzwölf\nH-0\t-0.5\tzwölf\nD-0\t-0.5\tzwölf\nT-1\t{TWO_WORDS}\nH-1\t-0.1\tdrei\nD-1\t-0.1\tdrei\n"


def generated(folder: Path) -> Any:
    from sld_user_dir.scoring.hypotheses import read_generate

    return [(r.row, words(r.reference), words(r.best.text)) for r in read_generate(folder / "generate-test.txt")]


def pair(keyed: bool) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from sld_user_dir.scoring.hypotheses import read_pair

        records = read_pair(folder / "ref", folder / "hyp", keyed)
        return [(r.id, words(r.reference), words(r.best.text)) for r in records]

    return read


# -- units of other programs -----------------------------------------------------------------
CHARACTERS = "".join(chr(0x4E00 + unit) for unit in (5, 7))
UNIT_FILES: Dict[str, Dict[str, str]] = {
    "textless": {"x.units": "a\t1 2\nb\t3\nc\t5 7\n", "x.durations": "a\t1 1\nb\t4\nc\t1 1\n"},
    "gslm": {"x.txt": "a|1 2\nb|3\nc|5 7\n"},
    "gslm-json": {
        "x.jsonl": '{"audio": "a.wav", "hubert": "1 2"}\n{"audio": "b.wav", "hubert": "3"}\n'
        f'{{"audio": "c.wav", "hubert": "5 7", "text": "{TWO_WORDS}"}}\n'
    },
    "resynthesis": {"x.txt": "{'audio': 'a.wav', 'hubert': '1 2'}\n{'audio': 'b.wav', 'hubert': '3'}\n"},
    "s2ut": {"x.tsv": "id\tsrc_audio\tsrc_n_frames\ttgt_audio\ttgt_n_frames\na\ta.wav\t5\t1 2\t2\nb\tb.wav\t5\t3\t1\n"},
    "espnet": {"x": "a 1 2\nb 3\nc 5 7\n"},
    "espnet-cjk": {"x": f"a {CHARACTERS}\nb {CHARACTERS}\nc {CHARACTERS}\n"},
    "authors": {"x.json": f'{{"text": "zwölf", "idx": [1, 2]}}\n{{"text": "{TWO_WORDS}", "idx": [3]}}\n'},
    "slamkit": {
        "x.jsonl": '{"units": [1, 2], "duration": [2, 1], "file_name": "a.wav"}\n'
        '{"units": [3], "duration": [2], "file_name": "b.wav"}\n'
    },
    "slamkit-tokens": {
        "x.jsonl": '{"file_name": "a.wav", "audio_repr": "<Un1><Un2>"}\n{"file_name": "b.wav", "audio_repr": "<Un3>"}\n'
    },
    "km": {
        "x.km": "1 2\n3\n",
        "x.tsv": LISTING,
        "x.ltr": "Z W Ö L F |\nz w e i | d r e i |\n",
        "dict.km.txt": "".join(f"{unit} 1\n" for unit in range(NUM_UNITS)),
    },
}
"""A file of each format, the first one its units."""


def units(main: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from sld_user_dir.interop.detection import detect

        kind = detect(folder / main)
        file = kind.read(folder / main)
        return kind.name, file.num_units, file.header, [_record(record) for record in file.records]

    return read


def _record(record: Any) -> Any:
    durations = None if record.durations is None else record.durations.tolist()
    return record.id, record.units.tolist(), durations, words(record.text), record.where.rpartition(":")[2]


def texts_of_import(folder: Path) -> Any:
    from sld_user_dir.interop.join import text_table

    return [(row.id, words(row.text)) for row in text_table(folder / "text").rows.values()]


def features(folder: Path) -> Any:
    from sld_user_dir.clustering.kmeans import KMeans
    from sld_user_dir.interop.simple_kmeans import read_features

    KMeans(np.eye(3, dtype=np.float32)).save(folder / "k.npz")
    np.save(folder / "dev_0_1.npy", np.eye(3, dtype=np.float32)[[0, 0, 2]])
    read = read_features(folder / "dev_0_1.npy", str(folder / "k.npz"))
    return read.header, [_record(record) for record in read.records]


def provenance(folder: Path) -> Any:
    from sld_user_dir.interop.stated_provenance import load_provenance

    return load_provenance(folder / "p.json")


# -- vocabularies ---------------------------------------------------------------------------
SYMBOLS = "z 3\nö 1\n| 1\n<mask> 1\n<sep> 1\n" + "".join(f"<u{unit}> 1\n" for unit in range(NUM_UNITS))


def vocabulary(folder: Path) -> Any:
    from sld_user_dir.vocabulary.joint import JointVocabulary

    vocab = JointVocabulary.load(folder)
    return vocab.fingerprint, vocab.table.counts


def phone_labels(folder: Path) -> Any:
    from sld_user_dir.corpora.phone_labels import read_phone_labels

    return read_phone_labels(folder / "p.jsonl")


def lexicon(folder: Path) -> Any:
    from sld_user_dir.corpora.phone_labels import read_lexicon

    return read_lexicon(folder / "l.dict")


def _readers() -> List[TextReader]:
    pairs = {"ref": f"zwölf\n{TWO_WORDS}\n", "hyp": f"zwölf\n{TWO_WORDS}\n"}
    keyed = {"ref": f"u 1\tzwölf\nu2 {TWO_WORDS}\n", "hyp": f"u2 {TWO_WORDS}\nu 1\tzwölf\n"}
    beside = {"a.txt": f"zwölf {TWO_WORDS}\n", "8-1.trans.txt": f"8-1-1 zwölf\n8-1-0 {TWO_WORDS}\n"}
    rows = {"t.tsv": f"path\ttext\tspeaker\na.wav\t{TWO_WORDS}\tann\nb.wav\tzwölf\tbob\n"}
    values = {"t.csv": f'path,text,speaker\na.wav,"{TWO_WORDS}",ann\nb.wav,zwölf,bob\n'}
    sounds = {"core-sounds-en.txt.gz": f"; a remark\na: zwölf\nb: {TWO_WORDS}\n", "en/a.wav": "", "en/b.wav": ""}
    vocab = {"dict.txt": SYMBOLS, "vocab.json": json.dumps({"text_tokenizer": "char", "num_units": 9}, indent=1) + "\n"}
    listed = {"m.tsv": LISTING, "m.wrd": f"zwölf\n{TWO_WORDS}\n"}
    lettered = {"m.tsv": LISTING, "m.ltr": "Z W Ö L F |\nz w e i | d r e i |\n"}
    dumped = {"dev_0_1.len": "2\n1\n", "dev.tsv": LISTING}
    made_by = {"p.json": json.dumps(MADE_BY.__dict__, indent=1) + "\n"}
    several = [
        ("unit manifest", {"m.tsv": UNIT_MANIFEST}, unit_manifest),
        ("memory map", {"m.tsv": UNIT_MANIFEST}, memory_map),
        ("audio manifest", {"m.tsv": AUDIO_MANIFEST}, audio_manifest),
        ("fairseq's list, words", listed, audio_manifest),
        ("fairseq's list, letters", lettered, audio_manifest),
        ("rejected", {"r.tsv": "id\tpath\treason\na\t/c/a.wav\tzwölf  s\nb\t/c/b.wav\tNaN\n"}, rejected),
        ("table", rows, table("t.tsv")),
        ("CSV table", values, table("t.csv")),
        ("transcripts beside", beside, transcript_beside),
        ("Asterisk's transcripts", sounds, prompts),
        ("CTM", {"a.ctm": "a A 0.0 0.5 zwölf\nb A 0.0 0.5 drei\n"}, alignment),
        ("fairseq-generate", {"generate-test.txt": GENERATED}, generated),
        ("parallel lines", pairs, pair(keyed=False)),
        ("keyed lines", keyed, pair(keyed=True)),
        ("sld import --text", {"text": f"u 1\tzwölf\nu2 {TWO_WORDS}\n"}, texts_of_import),
        ("dumped features", dumped, features),
        ("provenance", made_by, provenance),
        ("phone labels", {"p.jsonl": '{"name": "a", "phones": ["sil", "ö", "ö"]}\n'}, phone_labels),
        ("lexicon", {"l.dict": "zwei T S V AY1\nzwölf(2) T S V ÖL F # a remark\n"}, lexicon),
        ("vocabulary", vocab, vocabulary),
        *((f"units: {name}", files, units(next(iter(files)))) for name, files in UNIT_FILES.items()),
    ]
    return [
        TextReader(f"{name}, {file}", file, files, read)
        for name, files, read in several
        for file, text in files.items()
        if text
    ]


READERS = _readers()
