"""Times of units survive whatever joins or collapses them; what has none is refused."""

from dataclasses import replace

import numpy as np
import pytest
from support.miniature import make_provenance

from sld_user_dir.clustering.subwords import UnitSubwords, encode_manifest
from sld_user_dir.clustering.unit_sequences import deduplicate
from sld_user_dir.errors import InputError
from sld_user_dir.manifests.unit_manifest import ManifestError, Utterance, read_manifest, write_manifest
from sld_user_dir.timing.unit_times import unit_edges

MADE_BY = make_provenance()
"""25 units a second, of stacked frames."""


def edges(utterance, made_by=MADE_BY):
    return unit_edges(utterance, made_by, "m.tsv:4").tolist()


def test_units_of_one_frame_follow_the_frame_rate():
    assert edges(Utterance("u", np.array([5, 5, 2]), "x")) == pytest.approx([0, 0.04, 0.08, 0.12])


@pytest.mark.parametrize("collapse", [False, True])
def test_collapsed_and_joined_units_keep_their_times(tmp_path, collapse):
    rng = np.random.default_rng(0)
    sounds = [
        np.array(sound, dtype=np.int32) for sound in ([1, 1, 2, 3], [4, 5, 5, 5], [6, 0, 0, 7, 8], [9, 9, 10, 11])
    ]
    raw = [np.concatenate([sounds[i] for i in rng.integers(0, 4, size=8)]) for _ in range(20)]
    pairs = [deduplicate(units) if collapse else (units, None) for units in raw]
    utterances = [Utterance(f"u{i}", units, "x", durations) for i, (units, durations) in enumerate(pairs)]
    made_by = replace(MADE_BY, deduplicated=collapse)
    write_manifest(tmp_path / "m.tsv", utterances, made_by)
    subwords = UnitSubwords.train([one.units for one in utterances], 12, 15)
    pieces, of_pieces = encode_manifest(read_manifest(tmp_path / "m.tsv"), subwords)
    for units, before, after in zip(raw, utterances, pieces):
        at_units, at_pieces = edges(before, made_by), edges(after, of_pieces)
        assert at_units[-1] == at_pieces[-1] == pytest.approx(len(units) / 25)
        ends = np.cumsum(subwords.lengths(after.units))
        assert at_pieces[1:] == pytest.approx([at_units[end] for end in ends])


def test_a_recording_is_timed_at_its_own_speed():
    units = np.array([1, 2])
    fast = Utterance("sp1.1-u", units, "x")
    assert edges(fast) == pytest.approx([0, 0.044, 0.088])
    stated = Utterance("u", units, "x", fields={"speed": "0.9"})
    assert edges(stated) == pytest.approx([0, 0.036, 0.072])
    with pytest.raises(InputError, match=r"m\.tsv:4: speed 'fast'; a speed is a factor above 0"):
        edges(Utterance("u", units, "x", fields={"speed": "fast"}))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"deduplicated": True}, r"de-duplicated units without the column 'durations'"),
        ({"subword": "sha256:0"}, r"subwords without the column 'durations'"),
        ({"frame_rate_hz": 0.0}, r"its provenance states no frame rate"),
    ],
)
def test_units_without_times_are_refused(changes, problem):
    with pytest.raises(ManifestError, match=rf"m\.tsv:4: {problem}"):
        edges(Utterance("u", np.array([1, 2]), "x"), replace(MADE_BY, **changes))
