"""The demo: commands, logs, resumption, table and report; the whole of it on a miniature."""

import json
import re
import sys
from pathlib import Path

import pytest
from support.forks import forwarding_programs
from support.miniature import ROOT, make_data, make_provenance, make_utterances

sys.path.insert(0, str(ROOT / "scripts"))

import demo
import update_readme

from sld_user_dir.experiment import data_digest, fairseq_commands, runner
from sld_user_dir.experiment.fairseq_commands import Plan, System, option_list, shown, train_command
from sld_user_dir.experiment.results import draw_curves, format_table, kind_of_units
from sld_user_dir.experiment.runner import ExperimentError, _prepare, _run
from sld_user_dir.experiment.strangers import Heard, best_system, line_of_transcripts
from sld_user_dir.experiment.training_log import Curves, read_curves
from sld_user_dir.experiment.transcript_samples import evenly_spaced
from sld_user_dir.manifests.unit_manifest import read_manifest, write_manifest

LOG = """\
2026-01-01 00:00:00 | INFO | fairseq_cli.train | {'_name': None, 'common': {'no_progress_bar': False}}
2026-01-01 00:00:00 | INFO | train_inner | {"epoch": 1, "update": 0.1, "text": "3.0", "num_updates": "50", "wall": "9"}
2026-01-01 00:00:00 | INFO | valid | {"epoch": 1, "valid_text": "2.5", "valid_wer": "80.0", "valid_num_updates": "50"}
2026-01-01 00:00:00 | INFO | train_inner | {"epoch": 1, "update": 1, "text": "2.0", "num_updates": "100", "wall": "19"}
2026-01-01 00:00:00 | INFO | train_inner | {"epoch": 1, "update": 0.1, "text": "2.9", "num_updates": "50", "wall": "29"}
2026-01-01 00:00:00 | INFO | valid | {"epoch": 1, "valid_text": "1.5", "valid_wer": "60.0", "valid_num_updates": "100"}
a line cut off by a kill | INFO | valid | {"epoch": 1, "valid_te
"""


def test_programs_are_those_of_this_interpreter():
    assert fairseq_commands.executable("fairseq-train") == str(Path(sys.executable).with_name("fairseq-train"))
    assert Path(fairseq_commands.executable("fairseq-train")).exists()
    assert fairseq_commands.executable("no-such-program") == "no-such-program"


def test_options_become_arguments():
    assert option_list({"lr": 0.1, "eval_wer": True, "bpe": None, "fp16": False}) == ["--lr", "0.1", "--eval-wer"]


def test_curves_of_a_resumed_log(tmp_path):
    path = tmp_path / "train.out"
    path.write_text(LOG)
    curves = read_curves(path)
    assert [p["text"] for p in curves.train] == [2.9, 2.0]  # the resumed run's line counts
    assert [p["wer"] for p in curves.valid] == [80.0, 60.0]
    assert curves.updates == 100 and curves.best("wer") == 60.0 and curves.last("wall") == 19.0
    assert read_curves(tmp_path / "none").updates == 0


def test_a_changed_command_or_other_data_put_the_earlier_run_aside(tmp_path):
    run = tmp_path / "sld"
    assert not _prepare(run, ["train", "--lr", "1"], "data")
    (run / "trained").write_text("")
    (run / "checkpoint.pt").write_text("precious")
    assert _prepare(run, ["train", "--lr", "1"], "data")
    assert not _prepare(run, ["train", "--lr", "2"], "data")
    assert not _prepare(run, ["train", "--lr", "3"], "data")
    (run / "trained").write_text("")
    assert not _prepare(run, ["train", "--lr", "3"], "other data")
    assert (tmp_path / "sld.previous" / "checkpoint.pt").read_text() == "precious"
    assert (tmp_path / "sld.previous3").exists()


def test_what_was_made_of_other_bytes_is_made_again(tmp_path, monkeypatch):
    """Training and decoding are stand-ins that say that they ran."""
    data, ran = make_data(tmp_path / "data", train=3, valid=3, test=3, test_unseen=3), []

    def stand_in(todo, jobs, threads, status, finished):
        for name, _, _ in todo:
            ran.append(name)
            finished(name, 1.0)

    monkeypatch.setattr(runner, "_run", stand_in)
    systems = [System("sld", "", {"criterion": "sld"})]

    def run_all(**generate):
        plan = Plan(data, tmp_path / "out", ["test", "test_unseen"], {"max_update": 1}, generate)
        ran.clear()
        runner.train_all(plan, systems, jobs=1)
        runner.decode_all(plan, systems, jobs=1)
        return list(ran)

    everything = ["sld", "sld/test", "sld/test_unseen"]
    assert run_all() == everything and run_all() == []
    assert run_all(beam=2) == everything[1:]
    write_manifest(data / "test.tsv", make_utterances(5), make_provenance())
    assert run_all(beam=2) == ["sld/test"]
    write_manifest(data / "train.tsv", make_utterances(5), make_provenance())
    assert run_all(beam=2) == everything and run_all(beam=2) == []


def test_the_manifest_that_is_trained_on_is_the_one_that_counts():
    assert data_digest.training_files({}) == ("train.tsv", "valid.tsv", "dict.txt", "vocab.json")
    of_others = data_digest.training_files({"train_subset": "warped", "valid_subset": "valid,dev"})
    assert data_digest.training_files({"train_subset": None}) == data_digest.training_files({})
    assert of_others[:3] == ("warped.tsv", "valid.tsv", "dev.tsv")


def test_a_failing_child_is_reported_with_its_last_lines(tmp_path):
    code = "import sys; print('the reason'); sys.exit(3)"
    with pytest.raises(ExperimentError, match=r"exit status 3(.|\n)*the reason"):
        _run([("x", [sys.executable, "-c", code], tmp_path / "log")], 1, 1, lambda: "", lambda name, seconds: None)


def test_commands_are_shown_as_typed(tmp_path):
    plan = Plan(Path("manifests/digits"), tmp_path, ["test"], {"lr": 0.1}, {})
    command = shown(train_command(plan, System("sld", "", {"criterion": "sld"})))
    assert command.startswith("fairseq-train manifests/digits --user-dir")
    assert command.endswith("--lr 0.1 --criterion sld")


def test_a_long_name_widens_its_column():
    row = {
        "criterion": "c" * 30,
        "units": "mfcc",
        "test_set": "test",
        "wer": 1.0,
        "wer_interval_95": [0.5, 1.5],
        "cer": 1.0,
        "utterances": 2,
        "seconds": 3.0,
    }
    title, rule, line = format_table([row]).splitlines()
    assert line.split()[:3] == ["c" * 30, "mfcc", "test"] and title.index("test set") == line.index("test")
    assert len(title) == len(rule) == len(line)


def miniature_demo(tmp_path, monkeypatch):
    """Two data directories, the second called another kind of units, and the demo's arguments on them."""
    neural = make_data(tmp_path / "neural", train=30, valid=7, test=11, test_unseen=3)
    for path in neural.glob("*.tsv"):
        path.write_text(path.read_text().replace('# license: "none"\n', '# license: "none"\n# features: "a/tiny"\n'))
    (neural / "test.rejected.tsv").write_text("id\tpath\treason\n")  # beside every manifest that sld units made
    spectral = make_data(tmp_path / "spectral", train=30, valid=7, test=11, test_unseen=3)
    programs = forwarding_programs(tmp_path / "bin", "fairseq-train", "fairseq-generate")
    monkeypatch.setattr(fairseq_commands, "executable", lambda name: str(programs / name))
    monkeypatch.setattr(demo, "BASE", {**demo.BASE, "decoder_layers": 1, "decoder_embed_dim": 16, "max_tokens": 200})
    return ["--data", f"{neural},{spectral}", "--out", str(tmp_path / "out"), "--max-update", "3"]


def test_demo_on_a_miniature_and_again(tmp_path, monkeypatch, capsys):
    arguments = miniature_demo(tmp_path, monkeypatch)
    assert demo.main([*arguments, "--criteria", "masked_ce,sld"]) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(row["units"], row["test_set"], row["criterion"]) for row in rows] == [
        (kind, test_set, criterion)
        for kind in ("tiny", "synthetic")
        for test_set in ("test", "test_unseen")
        for criterion in ("masked_ce", "sld")
    ]
    for row in rows:
        assert row["utterances"] == (11 if row["test_set"] == "test" else 3)
        assert row["seed"] == 1 and row["updates"] == 3 and "synthetic" in row["provenance"]
        assert row["wer"] > 0 and row["cer"] > 0 and len(row["commands"]) == 2
    printed = capsys.readouterr().out
    assert format_table(rows) in printed
    strangers = printed[printed.index("voices that no training set has") :]
    for utterance in read_manifest(tmp_path / "neural" / "test_unseen.tsv"):
        assert re.search(rf"^{utterance.id}  said: {utterance.text}\n    tiny .*\n    synthetic ", strangers, re.M)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/png;base64" in page and f"{rows[0]['wer']:.2f}" in page
    assert "tiny: sld against masked_ce on test_unseen" in page and "synthetic, sld, test" in page
    check_strangers(tmp_path)
    assert demo.main([*arguments, "--criteria", "masked_ce,sld"]) == 0
    assert "$" not in capsys.readouterr().out  # nothing was run again
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == rows
    assert f"| `sld` | synthetic | {rows[5]['wer']:.1f} (" in update_readme.demo_table(rows)


def check_strangers(tmp_path):
    """Every recording, kind of units and system stands in strangers.json and on the page that a command makes of it."""
    rows = json.loads((tmp_path / "out" / "strangers.json").read_text())
    recordings = list(read_manifest(tmp_path / "neural" / "test_unseen.tsv"))
    assert [(row["recording"], row["said"], row["units"], row["criterion"]) for row in rows] == [
        (one.id, one.text, kind, criterion)
        for one in recordings
        for kind in ("tiny", "synthetic")
        for criterion in ("masked_ce", "sld")
    ]
    page = tmp_path / "strangers.md"
    page.write_text("before\n<!-- strangers -->\n<!-- /strangers -->\nafter\n")
    assert update_readme.main(["--what", "strangers", "--results", str(tmp_path / "out"), "--page", str(page)]) == 0
    text = page.read_text()
    assert all(f"`{one.id}` of `test_unseen`, *{one.text}*:" in text for one in recordings)
    assert text.startswith("before\n") and text.endswith("<!-- /strangers -->\nafter\n")


def test_recordings_that_are_shown_are_spread_and_systems_that_agree_share_a_line():
    assert evenly_spaced(250, 3) == [0, 83, 166] and evenly_spaced(2, 5) == [0, 1] and evenly_spaced(0, 5) == []
    common = {"recording": "r1", "test_set": "test_unseen", "said": "two four", "units": "tiny"}
    rows = [
        {**common, "criterion": "masked_ce", "heard": "two four", "word_errors": 0},
        {**common, "criterion": "sld", "heard": "two four", "word_errors": 0},
        {**common, "units": "mfcc", "criterion": "sld", "heard": "", "word_errors": 2},
    ]
    *_, agreed, silent = update_readme.strangers_table(rows).splitlines()
    assert agreed == "| tiny | two four | 0 | `masked_ce`, `sld` |"
    assert silent == "| mfcc | (nothing) | 2 | `sld` |"


def test_two_directories_of_one_name_are_refused(tmp_path, capsys):
    for place in ("a", "b"):
        make_data(tmp_path / place / "digits", train=2, valid=1, test=1)
    assert demo.main(["--data", f"{tmp_path}/a/digits,{tmp_path}/b/digits", "--out", str(tmp_path / "out")]) == 1
    assert "two directories have the same name" in capsys.readouterr().err


def test_the_kind_of_units_is_the_header_s_or_the_encoder_s_family(tmp_path):
    write_manifest(tmp_path / "a.tsv", make_utterances(1), make_provenance(encoder="mfcc-39:8000Hz:mel23+stack4"))
    write_manifest(tmp_path / "b.tsv", make_utterances(1), make_provenance(encoder="whisper@0a:16000Hz"))
    stated = {"features": "openai/whisper-tiny.en"}
    write_manifest(tmp_path / "c.tsv", make_utterances(1), make_provenance(encoder="whisper@0a:16000Hz"), stated)
    kinds = [kind_of_units(read_manifest(tmp_path / name)) for name in ("a.tsv", "b.tsv", "c.tsv")]
    assert kinds == ["mfcc", "whisper", "whisper-tiny.en"]


def test_the_best_system_is_the_one_of_the_validation(tmp_path):
    plan = Plan(tmp_path, tmp_path, ["test"], {}, {})
    systems = [System(name, "", {}) for name in ("none", "worse", "better")]
    for system, wer in zip(systems[1:], ("80.0", "20.0")):
        plan.directory(system).mkdir()
        (plan.directory(system) / fairseq_commands.LOG_FILE).write_text(LOG.replace("60.0", wer))
    assert best_system(plan, systems).name == "better"


def test_a_wrong_transcript_is_marked():
    heard = Heard("r1", "two four", {"tiny": "two four", "mfcc": "two five"})
    assert line_of_transcripts(heard).splitlines() == [
        "r1  said: two four",
        "    tiny             two four",
        "    mfcc             two five   (wrong)",
    ]


def test_a_system_has_one_colour_in_all_panels_also_where_another_lacks_the_curve():
    both = {"num_updates": 1.0, "text": 2.0}
    curves = {"masked_ce": Curves([both], [both]), "sld": Curves([both], [{**both, "speech": 3.0}])}
    figure = draw_curves(curves)
    colours = {}
    for axis in figure.axes:
        for line in axis.lines:
            colours.setdefault(line.get_label(), set()).add(line.get_color())
    assert [len(axis.lines) for axis in figure.axes] == [2, 2, 1, 0]
    assert len(colours["sld"]) == len(colours["masked_ce"]) == 1 and colours["sld"] != colours["masked_ce"]


def test_readme_has_the_markers():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "NEW" in update_readme.replace_block(text, "demo", "NEW")
    with pytest.raises(ValueError, match="markers"):
        update_readme.replace_block("no markers", "demo", "NEW")


def test_demo_hands_the_mix_to_training(tmp_path):
    plan = demo.build_plan(demo.DemoConfig(task_mix="asr=1,tts=1"), demo.SYSTEMS, tmp_path)
    assert plan.train_options["task_mix"] == "asr=1,tts=1"
    assert "task_mix" not in demo.build_plan(demo.DemoConfig(), demo.SYSTEMS, tmp_path).train_options


def test_units_are_read_through_a_convolution_and_start_from_the_centroids_if_there_are_any():
    digits, config = ROOT / "manifests" / "digits", demo.DemoConfig()
    options = demo.build_plan(config, demo.SYSTEMS, digits).train_options
    assert options["speech_conv_kernel"] == 5 and options["init_unit_embeddings"] == digits / "kmeans.npz"
    plain = demo.build_plan(demo.DemoConfig(speech_conv_kernel=0), demo.SYSTEMS, digits).train_options
    assert "speech_conv_kernel" not in plain and "init_unit_embeddings" not in plain


def test_units_that_carry_the_voice_are_learnt_from_warped_voices_where_there_are_any():
    options = {
        name: demo.build_plan(demo.DemoConfig(), demo.SYSTEMS, ROOT / "manifests" / name).train_options
        for name in ("digits", "digits-mfcc", "digits-whisper")
    }
    assert [name for name, one in options.items() if one.get("train_subset") == "train_warped"] == ["digits-mfcc"]
    kmeans = ROOT / "manifests" / "digits-mfcc" / "kmeans.npz"
    assert options["digits-mfcc"]["unit_substitution_kmeans"] == kmeans
    assert "unit_substitution_prob" not in options["digits-whisper"]
