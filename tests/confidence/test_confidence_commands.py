"""`sld confidence` and `sld score --confidence` on fairseq-generate's lines, and what does not belong together."""

import json

import numpy as np
import pytest
from support.commands import sld
from support.miniature import NUM_UNITS, WORDS, make_data, make_provenance

from sld_user_dir.confidence.checkpoint_fingerprint import checkpoint_fingerprint
from sld_user_dir.manifests.unit_manifest import read_manifest
from sld_user_dir.vocabulary.joint import JointVocabulary
from sld_user_dir.vocabulary.tokenizers import WordTokenizer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"), valid=80, test=80)


def decoded(data, split, out, hypotheses=2):
    """Lines of a decoding in which a word is wrong as often as its probability says."""
    rng = np.random.default_rng(split == "test")
    lines = []
    for row, utterance in enumerate(read_manifest(data / f"{split}.tsv")):
        sure = rng.uniform(0.5, 1, size=len(utterance.text.split()))
        other = [WORDS[(WORDS.index(word) + 1) % len(WORDS)] for word in utterance.text.split()]
        best = [w if rng.random() < p else o for w, o, p in zip(utterance.text.split(), other, sure)]
        ranked = [(best, np.log2(sure)), (other, np.log2(1 - sure))][:hypotheses]
        for words, scores in ranked:
            text, total = " ".join(words), scores.sum() / (len(words) + 1)
            lines += [f"H-{row}\t{total}\t{text}", f"D-{row}\t{total}\t{text}"]
            lines.append(f"P-{row}\t{' '.join(f'{p:.4f}' for p in [*scores, 0.0])}")
    out.write_text("\n".join(lines) + "\n")
    return out


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "best.pt").write_bytes(b"weights")
    output = decoded(data, "valid", folder / "generate-valid.txt")
    arguments = ["--manifest", data / "valid.tsv", "--checkpoint", folder / "best.pt"]
    assert sld("confidence", output, *arguments) == 0
    return folder / "best.confidence.json"


def test_a_map_is_fitted_and_scored(data, fitted, tmp_path, capsys):
    stated = json.loads(fitted.read_text())
    assert stated["hypotheses"] == 2 and stated["checkpoint"] == checkpoint_fingerprint(fitted.parent / "best.pt")
    output = decoded(data, "test", tmp_path / "generate-test.txt")
    files = ["--confidence-plot", tmp_path / "r.png", "--json", tmp_path / "r.json"]
    assert sld("score", output, "--manifest", data / "test.tsv", "--confidence", fitted, *files) == 0
    report = json.loads((tmp_path / "r.json").read_text())["confidence"]
    assert report["word"]["ece"] < 0.1 and report["word"]["auroc"] > 0.6
    assert sum(one["count"] for one in report["word"]["bins"]) == report["word"]["count"]
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    assert "reliability of words" in capsys.readouterr().out


def test_fewer_hypotheses_than_it_was_fitted_on_are_refused(data, fitted, tmp_path, capsys):
    output = decoded(data, "test", tmp_path / "generate-test.txt", hypotheses=1)
    assert sld("score", output, "--manifest", data / "test.tsv", "--confidence", fitted) == 1
    assert "1 hypotheses an utterance, but the confidence map was fitted on 2" in capsys.readouterr().err


def test_another_vocabulary_is_refused(data, fitted, tmp_path, capsys):
    from sld_user_dir.manifests.unit_manifest import write_manifest

    other = tmp_path / "other"
    write_manifest(other / "test.tsv", read_manifest(data / "test.tsv"), make_provenance())
    JointVocabulary.build([" ".join([*WORDS, "more"])], NUM_UNITS, WordTokenizer()).save(other)
    output = decoded(data, "test", tmp_path / "generate-test.txt")
    assert sld("score", output, "--manifest", other / "test.tsv", "--confidence", fitted) == 1
    assert "fitted on hypotheses of the vocabulary" in capsys.readouterr().err


def test_options_that_lack_another_are_refused(data, fitted, tmp_path, capsys):
    output = decoded(data, "test", tmp_path / "generate-test.txt")
    assert sld("score", output, "--confidence", fitted) == 1
    assert "--confidence: the data directory of a manifest tells how tokens make words" in capsys.readouterr().err
    assert sld("score", output, "--manifest", data / "test.tsv", "--confidence-plot", "x.png") == 1
    assert "--confidence-plot: no confidences are scored; add --confidence MAP" in capsys.readouterr().err


def test_lines_without_scores_are_refused(data, fitted, tmp_path, capsys):
    output = decoded(data, "test", tmp_path / "generate-test.txt")
    lines = output.read_text().splitlines()
    output.write_text("\n".join(line for line in lines if not line.startswith("P-")) + "\n")
    assert sld("score", output, "--manifest", data / "test.tsv", "--confidence", fitted) == 1
    assert "0 scores for" in capsys.readouterr().err


def test_a_checkpoint_is_told_by_its_tensors(tmp_path):
    import torch

    for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        torch.save({"model": torch.full((3,), value)}, tmp_path / f"{name}.pt")
    same, copy, other = (checkpoint_fingerprint(tmp_path / f"{name}.pt") for name in "abc")
    assert same == copy != other
