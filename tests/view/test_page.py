"""The page of a recording, as HTML; what the model says of units; and who may read the page."""

import base64
import http.client
import io
import json
import shutil
import subprocess
import threading
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from sld_user_dir.errors import InputError
from sld_user_dir.manifests.ctm import TimedWord
from sld_user_dir.view.page import NOT_TRAINED, page
from sld_user_dir.view.page_server import page_server
from sld_user_dir.view.recording_view import RankedText, RecordingView
from sld_user_dir.view.strips import PIXELS_A_SECOND, confidence_colour, unit_colour
from sld_user_dir.view.unit_surprise import unit_surprise

RATE = 8000
HOSTILE = "</script><b>&\"'"


def make_view(**changes):
    wave = (0.3 * np.sin(np.arange(RATE) / 3)).astype(np.float32)
    words = [TimedWord("one", 0.0, 0.4, 0.9), TimedWord(HOSTILE, 0.4, 1.0)]
    texts = [RankedText(f"one {HOSTILE}", -0.5, -1.25), RankedText("one", -1.5, -3.0)]
    fields = {
        "name": HOSTILE,
        "wave": wave,
        "sample_rate_hz": RATE,
        "units": [3, 1],
        "edges": np.array([0.0, 0.5, 1.0]),
        "num_units": 8,
        "bits": [None, 2.0],
        "predicts_units": True,
        "words": words,
        "hypotheses": texts,
        "confidence": 0.75,
    }
    return RecordingView(**{**fields, **changes})


class Elements(HTMLParser):
    """Start tags with their attributes, and all text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_shows_everything_and_fetches_nothing():
    html = page([make_view()], "best.pt")
    found = Elements(html)
    assert len(found.of("section")) == len(found.of("svg")) == len(found.of("script")) == 1
    assert not any("src" in one for one in found.of("script")) and not found.of("link") and "http" not in html
    assert found.text.count(HOSTILE) >= 4 and "<b>" not in html  # in name, word and hypothesis, as text
    fills = [one["fill"] for one in found.of("rect") if "fill" in one]
    assert fills == [unit_colour(3), unit_colour(1), confidence_colour(0.9), confidence_colour(None)]
    assert "unit 1, 0.50 to 1.00 s, 2.0 bits: probability 0.250" in found.text
    assert "one, 0.00 to 0.40 s, right with 90.0%" in found.text and "right with 75.0%" in found.text
    assert [one["width"] for one in found.of("svg")] == [str(PIXELS_A_SECOND)]
    assert len(found.of("tr")) == 3 and "-1.25" in found.text and NOT_TRAINED not in found.text
    assert NOT_TRAINED in Elements(page([make_view(predicts_units=False)], "m")).text


def test_the_sound_is_in_the_page():
    view = make_view()
    (audio,) = Elements(page([view], "m")).of("audio")
    kind, _, data = audio["src"].partition(",")
    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
    assert kind == "data:audio/wav;base64" and rate == RATE
    np.testing.assert_allclose(wave, view.wave, atol=1e-4)


def test_nothing_to_show():
    empty = make_view(wave=np.zeros(0, np.float32), units=[], edges=np.zeros(1), bits=[], words=[], hypotheses=[])
    assert len(Elements(page([empty, empty], "m")).of("section")) == 2


def test_surprise_is_that_of_the_unit_before():
    """A decoder that says of every token that unit k + 1 follows it with half the probability of all units."""
    vocab = SimpleNamespace(unit_offset=5, num_units=4)

    def start(prompts, lengths, beams, outputs, every_position):
        logits = torch.zeros(1, prompts.size(1), 9)
        following = 5 + (prompts - 4) % 4
        logits.scatter_(2, following[..., None], float(np.log(3.0)))  # 3 of 6: a half
        logits[..., :5] = 50.0  # what is no unit does not count
        return SimpleNamespace(prompt_logits=logits)

    decoder = SimpleNamespace(start=start)
    bits = unit_surprise([decoder, decoder], vocab, torch.tensor([5, 6, 5, 4]))
    assert bits[0] is None and bits[1:] == pytest.approx([1.0, np.log2(6)])
    assert len(unit_surprise([decoder], vocab, torch.tensor([0, 5, 6, 4]))) == 2
    assert None not in unit_surprise([decoder], vocab, torch.tensor([0, 5, 6, 4]))


def test_only_this_machine_reads_the_page():
    with page_server("<p>hello</p>") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address, port = server.server_address[:2]
        answers = []
        for path, host in (
            ("/", f"127.0.0.1:{port}"),
            ("/", f"localhost:{port}"),
            ("/", f"evil.example:{port}"),
            ("/x", ""),
        ):
            connection = http.client.HTTPConnection(address, port, timeout=10)
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            answers.append((answer.status, answer.read().decode()))
            connection.close()
        server.shutdown()
        thread.join()
        assert address == "127.0.0.1" and [status for status, _ in answers] == [200, 200, 404, 404]
        assert answers[0][1] == "<p>hello</p>" and answers[2][1] == ""
        with pytest.raises(InputError, match=f"--port {port}"):
            page_server("", port)


@pytest.mark.slow
def test_a_browser_shows_the_page(tmp_path):
    """Chromium lays it out and runs its script: a click in the middle of the strips moves the cursor there."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    click = """<script>addEventListener("load", () => setTimeout(() => {
        const svg = document.querySelector("svg"), box = svg.getBoundingClientRect();
        const there = {clientX: box.left + box.width / 2, clientY: box.top + 5, bubbles: true};
        svg.dispatchEvent(new MouseEvent("click", there));
        const of = (name) => [...document.querySelectorAll(name)];
        const cursor = Number(document.querySelector(".cursor").getAttribute("x1"));
        const told = {cursor, width: box.width, units: of(".units rect").length, words: of(".word").length,
                      seconds: document.querySelector("audio").duration,
                      heights: of("svg > g").map((one) => one.getBoundingClientRect().height)};
        document.body.textContent = JSON.stringify(told);
    }, 300));</script>"""
    (tmp_path / "page.html").write_text(page([make_view()], "m") + click, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    command = [browser, *options, f"--user-data-dir={tmp_path}/profile", f"file://{tmp_path}/page.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = json.loads(done.stdout[done.stdout.index("{", done.stdout.index("<body")) : done.stdout.rindex("}") + 1])
    assert told["cursor"] == pytest.approx(told["width"] / 2, abs=1) and told["seconds"] == pytest.approx(1.0, abs=0.01)
    assert told["units"] == 2 and told["words"] == 2 and all(height > 5 for height in told["heights"])
