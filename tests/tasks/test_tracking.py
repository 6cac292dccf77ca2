"""fairseq's switches for TensorBoard and Weights & Biases show our components under the names of the log."""

import json
import os
import struct
from pathlib import Path

import pytest
from support.fairseq_logs import logged
from support.miniature import train

COMPONENTS = {
    "loss",
    "loss_text",
    "loss_speech",
    "loss_kl",
    "text",
    "speech",
    "kl",
    "text_ppl",
    "speech_ppl",
    "text_accuracy",
    "padding",
}
WANDB = '''
"""Stands in for the wandb client, which sends to a service: keeps what fairseq's progress bar gives it."""
import json, os

class config:
    update = staticmethod(lambda options: None)

def init(project, reinit, name):
    _keep({"project": project})

def log(values, step):
    _keep({"step": step, **values})

def _keep(line):
    with open(os.environ["WANDB_STAND_IN"], "a") as out:
        out.write(json.dumps(line) + "\\n")
'''


def scalars(folder: Path) -> dict:
    """Tag → {step: value} of the event files in a folder: records of (length, crc, Event, crc)."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found: dict = {}
    for path in folder.glob("events.out.tfevents.*"):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event, data = event_pb2.Event.FromString(data[12 : 12 + length]), data[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


@pytest.fixture(scope="module")
def tracked(mini, tmp_path_factory):
    """A training with both switches: its log, TensorBoard's folder, what the stand-in was told."""
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "wandb.py").write_text(WANDB)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("WANDB_STAND_IN", str(folder / "wandb.jsonl"))
        lines = train(
            mini,
            folder / "save",
            "--eval-wer",
            "--eval-wer-max-len",
            5,
            "--tensorboard-logdir",
            folder / "events",
            "--wandb-project",
            "digits",
            updates=3,
            fresh=True,  # which sees PYTHONPATH
        )
    told = [json.loads(line) for line in (folder / "wandb.jsonl").read_text().splitlines()]
    return lines, folder / "events", told


def test_tensorboard_gets_every_component(tracked):
    lines, events, _ = tracked
    inner, valid = scalars(events / "train_inner"), scalars(events / "valid")
    assert set(inner) >= COMPONENTS and set(valid) >= COMPONENTS | {"wer", "cer"}
    for log in logged(lines, "train_inner"):
        for name in COMPONENTS:
            assert inner[name][int(log["num_updates"])] == pytest.approx(float(log[name]), rel=1e-3, abs=1e-2)
    (log,) = logged(lines, "valid")
    assert valid["wer"] == {3: pytest.approx(float(log["valid_wer"]), rel=1e-3)}
    assert not [name for name in [*inner, *valid] if name.startswith("_")]


def test_weights_and_biases_gets_every_component(tracked):
    _, events, told = tracked
    assert {"project": "digits"} in told
    values = {name: value for line in told for name, value in line.items() if name not in ("step", "project")}
    assert set(values) >= {f"train_inner/{name}" for name in COMPONENTS}
    assert set(values) >= {f"valid/{name}" for name in COMPONENTS | {"wer", "cer"}}
    valid = scalars(events / "valid")
    for name in ("wer", "loss", "speech"):
        assert values[f"valid/{name}"] == pytest.approx(valid[name][3], rel=1e-5)
    assert not [name for name in values if "/_" in name]
