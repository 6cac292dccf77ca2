"""Subtitles with times of words, by the grammar of their formats."""

import re
from dataclasses import dataclass

from sld_user_dir.longform.word_subtitles import word_srt, word_vtt
from sld_user_dir.manifests.ctm import TimedWord


@dataclass
class Caption:
    words: object


WORDS = [TimedWord("one", 0.25, 0.5), TimedWord("<two>", 0.5, 0.75), TimedWord("three", 0.75, 1.0)]
CAPTIONS = [Caption(WORDS), Caption([]), Caption(None), Caption([TimedWord("four", 3600.0, 3600.0)])]


def test_subrip_has_a_cue_for_each_word():
    cues = re.findall(r"(\d+)\n(\S+) --> (\S+)\n([^\n]+)\n", word_srt(CAPTIONS))
    assert [cue[0] for cue in cues] == ["1", "2", "3", "4"]
    assert cues[1] == ("2", "00:00:00,500", "00:00:00,750", "<two>")
    assert cues[3] == ("4", "01:00:00,000", "01:00:00,001", "four")
    assert word_srt([Caption([])]) == ""


def test_webvtt_has_times_between_words():
    assert word_vtt(CAPTIONS) == (
        "WEBVTT\n\n00:00:00.250 --> 00:00:01.000\none <00:00:00.500>&lt;two&gt; <00:00:00.750>three\n"
        "\n01:00:00.000 --> 01:00:00.001\nfour\n"
    )
    assert word_vtt([Caption(None)]) == "WEBVTT\n"


def test_times_within_a_cue_rise():
    same = [TimedWord("a", 1.0, 1.0), TimedWord("b", 1.0, 1.0), TimedWord("c", 1.5, 2.0), TimedWord("d", 2.0, 2.0)]
    assert word_vtt([Caption(same)]).splitlines()[-1] == "a b <00:00:01.500>c d"
