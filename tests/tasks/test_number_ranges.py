"""Numbers in options that would train on garbage or fail in a library: refused before anything is read, by name."""

import pytest
from fairseq.dataclass.configs import GenerationConfig
from support.miniature import make_data
from support.tasks import setup

from sld_user_dir.errors import InputError

WRONG = [
    *(("--input-mask-prob", value) for value in ("-1", "nan", "inf", "2")),
    *(("--dedup-prob", "nan"), ("--unit-substitution-prob", "2"), ("--prompt-fraction", "nan")),
    *(("--tokens-per-sample", "-1"), ("--max-target-positions", "0")),
    *(("--dropout", "2"), ("--attention-dropout", "-1"), ("--activation-dropout", "nan"), ("--decoder-layerdrop", "2")),
    *(("--decoder-layers", "0"), ("--decoder-attention-heads", "0"), ("--speech-conv-kernel", "-1")),
    *(("--decoder-embed-dim", "-8"), ("--decoder-ffn-embed-dim", "0")),
    *(("--text-weight", "nan"), ("--speech-weight", "inf"), ("--kl-weight", "-1"), ("--ctc-weight", "nan")),
    *(("--speech-weight-end", value) for value in ("nan", "inf")),
    *(("--text-label-smoothing", "nan"), ("--speech-label-smoothing", "2"), ("--kl-smoothing", "-1")),
    *(("--kl-temperature", value) for value in ("0", "inf")),
]
NEEDED = {"--speech-weight-end": ["--speech-weight-updates", "5"]}
NAMED_BY_TERM = {"--text-weight": "'text':", "--speech-weight": "'speech':", "--kl-weight": "'kl':"}
"""Whose weights are told together, by the terms' names."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"), train=2, valid=1)


@pytest.mark.parametrize(("option", "value"), WRONG)
def test_a_number_that_makes_no_training_is_refused(data, option, value):
    with pytest.raises(InputError, match=NAMED_BY_TERM.get(option, option)):
        build(data, option, value, *NEEDED.get(option, []))


@pytest.mark.parametrize(
    "options", [("--input-mask-prob", "1"), ("--dropout", "0"), ("--kl-weight", "0"), ("--max-target-positions", "17")]
)
def test_the_ends_of_a_range_are_in_it(data, options):
    build(data, *options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("lenpen", float("nan")), ("lenpen", float("inf")), ("temperature", float("inf"))),
        *(("nbest", 0), ("nbest", -1), ("no_repeat_ngram_size", -1), ("sampling_topp", float("nan"))),
    ],
)
def test_a_number_that_makes_no_search_is_refused(data, option, value):
    config, task = setup(data)
    said = f"--{option.replace('_', '-')} {value}"
    with pytest.raises(InputError, match=said):
        task.build_generator([task.build_model(config.model)], GenerationConfig(**{option: value}))


def build(data, *options):
    """What fairseq-train makes before the first update."""
    config, task = setup(data, *options)
    task.load_dataset("train")
    task.build_model(config.model)
    task.build_criterion(config.criterion)
