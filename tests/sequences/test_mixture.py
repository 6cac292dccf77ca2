"""One model for a mixture of tasks: sequences, draws, losses against an oracle, decoding, over-fitting."""

import math
import os
import re
import subprocess
import sys
from collections import Counter
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from fairseq.dataclass.configs import GenerationConfig
from fairseq.logging import metrics
from support.criteria import gradients
from support.miniature import (
    NUM_UNITS,
    ROOT,
    WORDS,
    fairseq_command,
    make_data,
    make_provenance,
    make_utterances,
    train,
)
from support.tasks import batches, setup

from sld_user_dir import hub
from sld_user_dir.criterions.loss_options import MaskedCeConfig, SldCriterionConfig
from sld_user_dir.criterions.masked_ce import MaskedCeCriterion
from sld_user_dir.criterions.sld_criterion import SldCriterion
from sld_user_dir.losses.normalisation import UPDATE, annotate
from sld_user_dir.manifests.unit_manifest import Utterance, read_manifest, write_manifest
from sld_user_dir.manifests.unit_text import parse_numbers
from sld_user_dir.models.dictionaries import TextView, UnitView
from sld_user_dir.scoring.hypotheses import read_generate
from sld_user_dir.sequences.dataset import SequenceDataset
from sld_user_dir.sequences.segments import ANSWER, SPEECH_ANSWER, SPEECH_PROMPT
from sld_user_dir.sequences.sequence_format import TaskError
from sld_user_dir.sequences.task_mix import draw_tasks, parse_mix
from sld_user_dir.vocabulary.building import build_vocabulary, describe
from sld_user_dir.vocabulary.joint import JointVocabulary, VocabularyError
from sld_user_dir.vocabulary.tokenizers import WordTokenizer

TASKS = ["asr", "tts", "slm", "lm"]
VOCAB = JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer(), tasks=TASKS)
PLAIN = JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer())
EVEN = dict.fromkeys(TASKS, 1.0)
MIX = "asr=1,tts=0.5,slm=0.3,lm=0.2"

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")


def make_mixture(directory, **counts):
    make_data(directory, **counts)
    VOCAB.save(directory)
    return directory


def dataset(count: int = 6, mix: Any = EVEN, **options: Any) -> SequenceDataset:
    utterances = make_utterances(count)
    texts = [VOCAB.encode_text(u.text) for u in utterances]
    return SequenceDataset([u.units for u in utterances], texts, VOCAB, mix, **options)


# -- vocabulary --------------------------------------------------------------------------
def test_task_tokens_stand_between_separator_and_units(tmp_path) -> None:
    VOCAB.save(tmp_path)
    loaded = JointVocabulary.load(tmp_path)
    symbols = loaded.table.symbols
    assert symbols[loaded.separator : loaded.unit_offset + 1] == ["<sep>", "<asr>", "<tts>", "<slm>", "<lm>", "<u0>"]
    assert loaded.tasks == {task: loaded.separator + 1 + i for i, task in enumerate(TASKS)}
    assert loaded.fingerprint == VOCAB.fingerprint != PLAIN.fingerprint
    other = JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer(), tasks=TASKS[::-1])
    assert other.fingerprint != VOCAB.fingerprint
    assert "tasks asr, tts, slm, lm" in describe(loaded)


def test_single_task_vocabulary_names_no_tasks(tmp_path) -> None:
    PLAIN.save(tmp_path)
    assert (tmp_path / "vocab.json").read_text() == '{\n "text_tokenizer": "word",\n "num_units": 12\n}\n'
    assert (tmp_path / "dict.txt").read_text().splitlines()[:7] == [f"{w} 1" for w in sorted(WORDS)] + [
        "<mask> 1",
        "<sep> 1",
    ]


def test_vocabulary_files_that_disagree_on_tasks(tmp_path) -> None:
    PLAIN.save(tmp_path / "plain")
    VOCAB.save(tmp_path / "tasks")
    (tmp_path / "plain" / "vocab.json").write_text((tmp_path / "tasks" / "vocab.json").read_text())
    with pytest.raises(VocabularyError, match=r"no <asr>.*sld vocab"):
        JointVocabulary.load(tmp_path / "plain")
    PLAIN.save(tmp_path / "other")
    (tmp_path / "tasks" / "vocab.json").write_text((tmp_path / "other" / "vocab.json").read_text())
    with pytest.raises(VocabularyError, match="must follow each other"):
        JointVocabulary.load(tmp_path / "tasks")


def test_build_vocab_refuses_what_is_no_task(tmp_path) -> None:
    make_data(tmp_path, train=3)
    with pytest.raises(VocabularyError, match="unknown task 'mt'; choose among asr, tts, slm, lm"):
        build_vocabulary(tmp_path, "word", tasks=["asr", "mt"])
    with pytest.raises(VocabularyError, match="'asr' twice"):
        build_vocabulary(tmp_path, "word", tasks=["asr", "asr"])


# -- options -----------------------------------------------------------------------------
def test_mix_is_parsed() -> None:
    assert parse_mix(" tts=0.5, asr=1,lm=0", VOCAB) == {"tts": 0.5, "asr": 1.0}


@pytest.mark.parametrize(
    "text, problem",
    [
        ("asr=1,mt=1", "unknown task 'mt'"),
        ("asr=1,asr=2", "'asr' twice"),
        ("asr=1,tts=-1", "below 0"),
        ("asr=0", "one must be above"),
        ("asr", "write it as"),
        ("asr=x", "write it as"),
        ("", "unknown task"),
        ("asr=nan", "below 0"),
        ("asr=inf", "below 0"),
    ],
)
def test_mix_that_cannot_be(text: str, problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        parse_mix(text, VOCAB)


def test_mixture_needs_task_tokens(tmp_path) -> None:
    data = make_data(tmp_path / "plain", train=3)
    for extra in (["--task-mix", "asr=1"], ["--decode-task", "tts"]):
        with pytest.raises(TaskError, match=r"sld vocab --data DIR --tasks"):
            setup(data, *extra)
    few = make_data(tmp_path / "few", train=3)
    JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer(), tasks=["asr", "tts"]).save(few)
    with pytest.raises(TaskError, match="'slm': the vocabulary has tokens of asr, tts only"):
        setup(few, "--task-mix", "asr=1,slm=1")
    with pytest.raises(ValueError, match=r"--eval-wer: .*add asr"):
        setup(few, "--task-mix", "tts=1", "--eval-wer")
    with pytest.raises(ValueError, match="--prompt-fraction"):
        setup(few, "--prompt-fraction", 1.5)


# -- sequences and draws -----------------------------------------------------------------
@pytest.mark.parametrize("add_bos", [False, True])
def test_sequences(add_bos: bool) -> None:
    data = dataset(add_bos=add_bos)
    for row, utterance in enumerate(make_utterances(6)):
        units, text = VOCAB.encode_units(utterance.units).tolist(), VOCAB.encode_text(utterance.text)
        separator, end = [VOCAB.separator], [VOCAB.eos]
        expected = {
            "asr": (units + separator, text + end),
            "tts": (text + separator, units + end),
            "slm": ([], units + end),
            "lm": ([], text + end),
        }
        for number, (task, (prompt, answer)) in enumerate(expected.items()):
            index = row + number * 6
            item = data[index]
            assert item["prompt"].tolist() == [VOCAB.bos] * add_bos + [VOCAB.tasks[task]] + prompt
            assert item["answer"].tolist() == answer and (item["id"], item["task"]) == (row, task)
            assert data.size(index) == len(item["prompt"]) + len(item["answer"]) - 1
            assert data.name(index) == f"utterance {row}"


def test_batch_says_what_its_rows_are() -> None:
    data = dataset()
    batch = data.collater([data[0], data[6], data[12], data[18]])
    assert batch["tasks"] == TASKS
    assert batch["segments"][:, 0].tolist() == [SPEECH_PROMPT, SPEECH_ANSWER, SPEECH_ANSWER + ANSWER, ANSWER]
    for row, length in enumerate(batch["prompt_lengths"].tolist()):
        answer = (batch["segments"][row] & ANSWER).bool()
        assert not answer[: length - 1].any() and answer[length - 1 :].all()
    assert batch["net_input"]["src_tokens"].shape == batch["target"].shape


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_drawn_shares(rows: int) -> None:
    weights, total = [1, 0.5, 0.2], np.zeros(3)
    for seed in range(300):
        counts = np.bincount(draw_tasks(rows, weights, np.random.default_rng(seed)), minlength=3)
        share = rows * np.array(weights) / sum(weights)
        assert counts.sum() == rows and (np.abs(counts - share) < 1 + 1e-9).all()
        total += counts
    # right on average, also where one row can have one task only
    np.testing.assert_allclose(total / 300 / rows, np.array(weights) / 1.7, atol=0.09 / math.sqrt(rows))


def epoch(task: Any, number: int, **options: Any) -> List[Any]:
    iterator = task.get_batch_iterator(task.dataset("train"), max_tokens=90, seed=5, epoch=number, **options)
    return [(b["id"].tolist(), b["tasks"]) for b in iterator.next_epoch_itr(shuffle=True)]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--pack-utterances"], "--pack-utterances"),
        (["--mixed-lengths"], "--mixed-lengths"),
        (["--ctc-weight", "0.3"], "--ctc-weight"),
        (["--prefix-lm", "--criterion", "masked_ce"], "--prefix-lm"),
    ],
)
def test_what_is_for_recognition_alone_is_refused(tmp_path, options: List[str], message: str) -> None:
    data = make_mixture(tmp_path)
    with pytest.raises(ValueError, match=message):
        cfg, task = setup(data, "--task-mix", MIX, *options)
        task.build_model(cfg.model)
        task.build_criterion(cfg.criterion)


def test_augmentation_leaves_answers_alone() -> None:
    data = dataset()
    plain = [data[index] for index in (0, 6, 12)]
    data.augment = lambda units, epoch, row: 0 * units
    asr, tts, slm = (data[index] for index in (0, 6, 12))
    assert asr["prompt"].tolist() != plain[0]["prompt"].tolist()
    for noisy, before in ((tts, plain[1]), (slm, plain[2])):
        assert noisy["answer"].tolist() == before["answer"].tolist()


def test_each_epoch_draws_anew_and_again_the_same(tmp_path) -> None:
    _, task = setup(make_mixture(tmp_path, train=40), "--task-mix", MIX)
    task.load_dataset("train")
    first, second = epoch(task, 1), epoch(task, 2)
    for drawn in (first, second):
        assert sorted(i for ids, _ in drawn for i in ids) == list(range(40))
        counts = Counter(t for _, tokens in drawn for t in tokens)
        assert [counts[t] for t in TASKS] == [20, 10, 6, 4]
    tasks_of = [{i: t for ids, tokens in drawn for i, t in zip(ids, tokens)} for drawn in (first, second)]
    assert tasks_of[0] != tasks_of[1]
    _, resumed = setup(tmp_path, "--task-mix", MIX)  # another process, which begins with epoch 2
    resumed.load_dataset("train")
    assert epoch(resumed, 2) == second
    shards = [epoch(resumed, 2, num_shards=2, shard_id=i) for i in range(2)]
    together = {i: t for shard in shards for ids, tokens in shard for i, t in zip(ids, tokens)}
    assert together == tasks_of[1]


def test_batches_keep_the_limit(tmp_path) -> None:
    _, task = setup(make_mixture(tmp_path, train=41), "--task-mix", MIX)
    task.load_dataset("train")
    for number in (1, 2, 3):
        iterator = task.get_batch_iterator(task.dataset("train"), max_tokens=60, seed=1, epoch=number)
        sizes = [b["net_input"]["src_tokens"].numel() for b in iterator.next_epoch_itr(shuffle=True)]
        assert max(sizes) <= 60


def test_validation_reads_every_utterance_as_every_task_in_batches_of_one_task(tmp_path) -> None:
    config, task = setup(make_mixture(tmp_path, valid=9), "--task-mix", "asr=1,tts=1,lm=1", "--eval-wer")
    task.load_dataset("valid")
    model, criterion = task.build_model(config.model).eval(), task.build_criterion(config.criterion).eval()
    seen, logs, expected = [], [], {}
    for batch in batches(task, "valid"):
        (token,) = set(batch["tasks"])
        seen += [(token, i) for i in batch["id"].tolist()]
        logs.append(task.valid_step(batch, model, criterion)[2])
        log_probs = model(**batch["net_input"])[0].log_softmax(-1).detach()
        nll = -log_probs.gather(2, batch["target"][..., None]).squeeze(2)
        answer = torch.arange(nll.size(1)) + 1 >= batch["prompt_lengths"][:, None]
        expected.setdefault(token, []).append(nll[answer & (batch["target"] != VOCAB.pad)])
    assert sorted(seen) == sorted((t, i) for t in ("asr", "tts", "lm") for i in range(9))
    utterances = make_utterances(9)
    assert sum(log["_words"] for log in logs) == sum(len(u.text.split()) for u in utterances)
    with metrics.aggregate(new_root=True) as aggregate:
        task.reduce_metrics(logs, criterion)
    values = aggregate.get_smoothed_values()
    for name in ("asr", "tts", "lm"):
        bits = torch.cat(expected[name]).mean().item() / math.log(2)
        assert values[name] == pytest.approx(bits, abs=2e-3)


def test_masking_spares_answers_and_task_tokens(tmp_path) -> None:
    for tokens_of in ("speech", "all"):
        _, task = setup(
            make_mixture(tmp_path, train=4), "--task-mix", MIX, "--input-mask-prob", 1, "--input-mask-tokens", tokens_of
        )
        data = dataset()
        batch = data.collater([data[i] for i in range(24)])
        tokens = batch["net_input"]["src_tokens"]
        hidden = task.mask_inputs(batch)["net_input"]["src_tokens"] == VOCAB.mask
        prompt = torch.arange(tokens.size(1)) < batch["prompt_lengths"][:, None]
        units, text = tokens >= VOCAB.unit_offset, (tokens >= 4) & (tokens < VOCAB.text_end)
        assert torch.equal(hidden & units, prompt & units)
        assert hidden[text].all() == (tokens_of == "all") and not hidden[:, 0].any()


# -- losses ------------------------------------------------------------------------------
def oracle(logits: torch.Tensor, batch: Dict[str, Any], name: str, options: Dict[str, Any]) -> torch.Tensor:
    """The objective, position by position from the table of docs/mixture.md, in float64."""
    sums = {key: logits.new_zeros(()) for key in ("text", "speech", "kl", "target")}
    counts, spoken = Counter(), 0
    offset, tasks = VOCAB.unit_offset, {v: k for k, v in VOCAB.tasks.items()}
    official = options.get("kl_variant") == "official"
    for row in range(len(logits)):
        task, length = batch["tasks"][row], int(batch["prompt_lengths"][row])
        spoken += task == "asr"
        for t, y in enumerate(batch["target"][row].tolist()):
            log_p = logits[row, t].log_softmax(0)
            fed = int(batch["net_input"]["src_tokens"][row, t]) != VOCAB.pad
            if task == "asr" and name == "sld" and ((official and (y != VOCAB.pad or fed)) or y >= offset):
                num = VOCAB.num_units
                q = torch.full((num,), 0.1 / num, dtype=torch.float64)
                q[max(y - offset, 0)] += 0.9
                q = q.softmax(0) if official else q
                q = torch.full_like(q, 1 / num) if y == VOCAB.pad else q
                sums["kl"] = sums["kl"] + (q * (q.log() - logits[row, t, offset:].log_softmax(0))).sum()
                counts["kl"] += 1
            if y == VOCAB.pad or y in tasks:
                continue
            in_answer = t + 1 >= length
            if y == VOCAB.separator:
                kind = "speech" if official else None
            elif task in ("tts", "slm") and in_answer:
                kind = "target"
            elif y >= offset:
                kind = "speech"
            else:
                kind = "text" if in_answer or name == "sld" else None
            if kind:
                sums[kind] = sums[kind] - log_p[y]
                counts[kind] += 1
    counts["kl"] = spoken if options.get("kl_denominator", "sentence") == "sentence" else counts["kl"]
    weights = {"text": 1.0, "speech": float(name == "sld"), "kl": options.get("kl_weight", 0.0)}
    weights["target"] = options.get("speech_target_weight", 1.0)
    return sum(weights[key] * sums[key] / max(counts[key], 1) for key in sums)


def make_criterion(name: str, task: Any, **options: Any) -> Any:
    kinds = {"sld": (SldCriterion, SldCriterionConfig), "masked_ce": (MaskedCeCriterion, MaskedCeConfig)}
    criterion, config = kinds[name]
    return criterion.build_criterion(config(**options), task)


CASES = [
    ("sld", {"kl_weight": 0.3}),
    ("sld", {"kl_weight": 0.3, "kl_denominator": "token", "speech_target_weight": 0.4}),
    ("sld", {"kl_weight": 0.3, "kl_variant": "official"}),
    ("sld", {"kl_weight": 0.3, "kl_variant": "official", "kl_denominator": "token"}),
    ("masked_ce", {"speech_target_weight": 0.7}),
]


@pytest.fixture(scope="module")
def model_and_task(tmp_path_factory):
    config, task = setup(make_mixture(tmp_path_factory.mktemp("loss"), train=3), "--task-mix", MIX, "--dropout", 0)
    torch.manual_seed(0)
    return task.build_model(config.model).double().eval(), task


@pytest.mark.parametrize("add_bos", [False, True])
@pytest.mark.parametrize("form", ["plain", "fused"])
@pytest.mark.parametrize("name, options", CASES)
@pytest.mark.parametrize("rows", [range(24), [0, 6], [12, 13], [18, 20], [0, 1]], ids=str)
def test_losses_against_the_oracle(model_and_task, rows, name, options, form, add_bos) -> None:
    model, task = model_and_task
    data = dataset(add_bos=add_bos)
    batch = data.collater([data[i] for i in rows])
    criterion = make_criterion(name, task, loss_form=form, **options)
    expected = oracle(model(**batch["net_input"])[0], batch, name, options)
    loss, sample_size, _ = criterion(model, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    assert sample_size == 1
    wanted, found = [], []
    for value, into in ((expected, wanted), (loss, found)):
        model.zero_grad()
        value.backward()
        into += [torch.zeros(()) if g is None else g.clone() for g in gradients(model)]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name, options", CASES)
def test_update_freq_changes_nothing(model_and_task, name, options) -> None:
    model, task = model_and_task
    data = dataset(add_bos=True)
    whole = data.collater([data[i] for i in range(24)])
    parts = [data.collater([data[i] for i in part]) for part in (range(5), range(5, 14), range(14, 24))]
    criterion = make_criterion(name, task, **options).train()
    expected, _, _ = criterion(model, whole)
    annotate(parts, criterion.divisors)
    outcomes = [criterion(model, part) for part in parts]
    total = sum(loss for loss, _, _ in outcomes) / sum(size for _, size, _ in outcomes)
    torch.testing.assert_close(total, expected, rtol=1e-9, atol=1e-9)


def test_logs_of_a_mixture(model_and_task) -> None:
    model, task = model_and_task
    data = dataset()
    batch = data.collater([data[i] for i in range(24)])
    criterion = make_criterion("sld", task)
    loss, _, log = criterion(model, batch)
    with metrics.aggregate(new_root=True) as aggregate:
        criterion.reduce_metrics([log])
    values = aggregate.get_smoothed_values()
    terms = sum(values[f"loss_{term}"] for term in ("text", "speech", "kl", "speech_target"))
    assert values["loss"] == pytest.approx(loss.item() / math.log(2), abs=2e-3) == pytest.approx(terms, abs=2e-3)
    units = sum(len(u.units) for u in make_utterances(6))
    assert log["perplexity:speech_target:count"] == 2 * (units + 6)
    assert log["perplexity:speech:count"] == units - 6 + 6


def test_single_task_is_what_it_was(tmp_path) -> None:
    config, task = setup(make_data(tmp_path, train=5))
    task.load_dataset("train")
    assert task.vocab.tasks == {} and task.mix == {"asr": 1.0}
    criterion = task.build_criterion(config.criterion)
    (batch,) = batches(task, "train", max_tokens=4000)
    for tokens, length in zip(batch["net_input"]["src_tokens"], batch["prompt_lengths"].tolist()):
        assert (tokens[: length - 1] >= task.vocab.unit_offset).all() and tokens[length - 1] == task.vocab.separator
    assert [term.name for term in criterion.objective.terms] == ["text", "speech", "kl"]
    assert batch[UPDATE]["totals"].shape == (3,)
    log = criterion(task.build_model(config.model), batch)[2]
    assert not [key for key in log if "target" in key]


# -- decoding ----------------------------------------------------------------------------
@pytest.mark.parametrize("name", TASKS)
def test_decoding_emits_what_the_task_may(tmp_path, name: str) -> None:
    config, task = setup(make_mixture(tmp_path, test=5), "--decode-task", name, "--prompt-fraction", 0.4)
    task.load_dataset("test", task_cfg=config.task)
    model = task.build_model(config.model).eval()
    torch.manual_seed(3)
    generator = task.build_generator([model], GenerationConfig(sampling=True, beam=8, max_len_a=0, max_len_b=20))
    units, text = set(range(VOCAB.unit_offset, len(VOCAB))), set(range(4, VOCAB.text_end))
    allowed = units if name in ("tts", "slm") else text
    emitted, utterances = set(), make_utterances(5)
    for batch in batches(task, "test"):
        assert set(batch["tasks"]) == {name}
        assert (batch["target"] is None) == (name in ("slm", "lm"))
        for i, nbest in enumerate(task.inference_step(generator, [model], batch)):
            utterance, length = utterances[int(batch["id"][i])], int(batch["prompt_lengths"][i])
            prompt = batch["net_input"]["src_tokens"][i, :length]
            whole = utterance.units.tolist() if name in ("asr", "slm") else utterance.text.split()
            shown = whole if name in ("asr", "tts") else whole[: round(0.4 * len(whole))]
            assert task.source_dictionary.string(prompt).split() == [str(s) for s in shown]
            for hypothesis in nbest:
                tokens = hypothesis["tokens"].tolist()
                assert tokens[-1] == VOCAB.eos
                emitted |= set(tokens[:-1])
    assert emitted and emitted <= allowed


def test_sides_are_printed_by_what_they_hold() -> None:
    utterance = make_utterances(1)[0]
    units = " ".join(map(str, utterance.units))
    data = dataset(1)
    sides = {"asr": (units, utterance.text), "tts": (utterance.text, units)}
    for number, (source, target) in enumerate(sides.values()):
        batch = data.collater([data[number]])
        assert UnitView(VOCAB).string(batch["net_input"]["src_tokens"][0]) == source
        assert TextView(VOCAB).string(batch["target"][0]) == target


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory):
    """A model that has learnt four utterances by heart, each for asr and tts."""
    data = tmp_path_factory.mktemp("overfit")
    utterances = []
    for utterance in make_utterances(40, seed=1):
        if utterance.text not in {u.text for u in utterances}:
            utterances.append(utterance)
    for split in ("train", "valid", "test"):
        write_manifest(data / f"{split}.tsv", utterances[:4], make_provenance(), {"license": "none"})
    VOCAB.save(data)
    train(
        data,
        data / "ck",
        "--task-mix",
        "asr=1,tts=2,slm=0.2,lm=0.2",
        "--dropout",
        0,
        "--attention-dropout",
        0,
        "--lr",
        0.005,
        "--lr-scheduler",
        "polynomial_decay",
        "--total-num-update",
        600,
        "--eval-wer",
        "--eval-wer-max-len",
        8,
        "--validate-interval",
        300,
        updates=600,
    )
    return data, data / "ck" / "checkpoint_last.pt", utterances[:4]


@pytest.mark.parametrize("name", ["asr", "tts"])
def test_overfitted_model_generates_what_it_learnt(overfitted, name: str) -> None:
    data, path, utterances = overfitted
    done = fairseq_command(
        "generate",
        data,
        "--path",
        path,
        "--gen-subset",
        "test",
        "--decode-task",
        name,
        "--beam",
        2,
        "--max-len-a",
        0,
        "--max-len-b",
        30,
        "--results-path",
        data / name,
    )
    done.stdout += (data / name / "generate-test.txt").read_text()
    for i, utterance in enumerate(utterances):
        units = " ".join(map(str, utterance.units))
        source, target = (units, utterance.text) if name == "asr" else (utterance.text, units)
        lines = dict(re.findall(rf"^([STHD])-{i}\t(.*)$", done.stdout, re.M))
        assert (lines["S"], lines["T"]) == (source, target)
        assert lines["H"].split("\t")[1] == lines["D"].split("\t")[1] == target


def test_spoken_units_reach_the_exporters(overfitted) -> None:
    """The way to a vocoder that docs/mixture.md shows."""
    data, path, utterances = overfitted
    fairseq_command(
        "generate",
        data,
        "--path",
        path,
        "--gen-subset",
        "test",
        "--decode-task",
        "tts",
        "--beam",
        1,
        "--max-len-a",
        0,
        "--max-len-b",
        30,
        "--results-path",
        data / "speech",
    )
    manifest = read_manifest(data / "test.tsv")
    records = read_generate(data / "speech" / "generate-test.txt", manifest)
    spoken = [Utterance(r.id, parse_numbers(r.best.text), r.reference) for r in records]
    write_manifest(data / "spoken.tsv", spoken, manifest.provenance)
    export = [sys.executable, "-m", "sld_user_dir", "export", "--manifest", data / "spoken.tsv"]
    export += ["--format", "textless", "--out", data / "spoken"]
    subprocess.run(export, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    (written,) = data.glob("spoken*.units")
    assert written.read_text().splitlines() == [f"{u.id}\t{' '.join(map(str, u.units))}" for u in utterances]


def test_interactive_reads_text_for_tts(overfitted) -> None:
    data, path, utterances = overfitted
    (data / "lines.txt").write_text("".join(f"{u.text}\n" for u in utterances))
    done = fairseq_command(
        "interactive",
        data,
        "--path",
        path,
        "--decode-task",
        "tts",
        "--beam",
        1,
        "--max-len-a",
        0,
        "--max-len-b",
        30,
        "--input",
        data / "lines.txt",
    )
    found = re.findall(r"^D-\d+\t\S+\t(.*)$", done.stdout, re.M)
    assert found == [" ".join(map(str, u.units)) for u in utterances]


def test_generate_continues_units_by_sampling(overfitted) -> None:
    data, path, utterances = overfitted
    done = fairseq_command(
        "generate",
        data,
        "--path",
        path,
        "--gen-subset",
        "test",
        "--decode-task",
        "slm",
        "--prompt-fraction",
        0.5,
        "--sampling",
        "--sampling-topk",
        3,
        "--beam",
        2,
        "--nbest",
        2,
        "--max-len-a",
        0,
        "--max-len-b",
        30,
        "--seed",
        1,
    )
    for i, utterance in enumerate(utterances):
        units = utterance.units.tolist()
        (source,) = re.findall(rf"^S-{i}\t(.*)$", done.stdout, re.M)
        assert [int(u) for u in source.split()] == units[: round(len(units) / 2)]
        hypotheses = re.findall(rf"^H-{i}\t\S+\t(.*)$", done.stdout, re.M)
        assert len(hypotheses) == 2 and all(0 <= int(u) < NUM_UNITS for h in hypotheses for u in h.split())
    assert not re.findall(r"^T-", done.stdout, re.M)


def test_eval_lm_scores_units(overfitted) -> None:
    data, path, _ = overfitted
    done = fairseq_command("eval-lm", data, "--path", path, "--gen-subset", "test", "--decode-task", "slm")
    assert "Perplexity" in done.stdout + done.stderr


def test_hub_speaks_every_task(overfitted) -> None:
    data, path, utterances = overfitted
    model = hub.load(path, data)
    for utterance in utterances:
        units = utterance.units.tolist()
        assert model.transcribe_units(units) == utterance.text
        assert model.synthesise_units(utterance.text, sampling=False) == [units]
        assert model.score(units, utterance.text).perplexity < 1.5
    draws = [model.continue_units([0, 0], samples=3, max_units=9, seed=4) for _ in range(2)]
    assert draws[0] == draws[1] and all(0 <= u < NUM_UNITS for draw in draws[0] for u in draw)
    assert set(" ".join(model.continue_text("", beam=4, sampling=True, seed=1)).split()) <= set(WORDS)
    with pytest.raises(ValueError, match="'five' is not in the vocabulary"):
        model.synthesise_units("five")
    model.task.mix = {"asr": 1.0}
    with pytest.raises(ValueError, match="trained for asr, not for tts"):
        model.synthesise_units("one")


def test_hub_refuses_tts_of_a_single_task_model(mini, checkpoint) -> None:
    with pytest.raises(TaskError, match=r"sld vocab --data DIR --tasks"):
        hub.load(checkpoint, mini).synthesise_units("one")


def test_checkpoint_of_other_tasks_is_refused(overfitted, tmp_path) -> None:
    data, path, _ = overfitted
    (tmp_path / "test.tsv").write_text((data / "test.tsv").read_text())
    PLAIN.save(tmp_path)
    with pytest.raises(TaskError, match="for speech recognition alone"):
        hub.load(path, tmp_path)
    VOCAB.save(tmp_path)
    assert hub.load(path, tmp_path).vocab.fingerprint == VOCAB.fingerprint
    JointVocabulary.build([" ".join(WORDS)], NUM_UNITS, WordTokenizer(), tasks=TASKS[::-1]).save(tmp_path)
    with pytest.raises(ValueError, match="the checkpoint: its vocabulary is"):
        hub.load(path, tmp_path)


@pytest.mark.slow
def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path) -> None:
    """Stopped in the middle of an epoch, with data-loading processes: the same draws, the same losses."""
    data = make_mixture(tmp_path, train=30, valid=7)
    common = ["--task-mix", MIX, "--save-interval-updates", 5, "--lr-scheduler", "fixed", "--num-workers", 2]
    train(data, data / "two", *common, updates=7)
    losses = []
    for directory in ("one", "two"):
        lines = train(data, data / directory, *common, updates=12)
        (last,) = (line for line in lines if "train_inner" in line and '"num_updates": "12"' in line)
        losses.append(re.findall(r'"(loss\w*|text|speech)": "([^"]+)"', last))
    assert losses[0] and losses[0] == losses[1]


def test_the_draw_of_tasks_is_a_matter_of_seed_and_epoch_alone() -> None:
    """Not of how a release of fairseq seeds numpy before it asks: 0.12.2 does it otherwise than fairseq-fixed."""

    def drawn(seed: int, epoch: int, of_numpy: int) -> List[int]:
        data = dataset(shuffle=True, seed=seed)
        data.set_epoch(epoch)
        np.random.seed(of_numpy)
        return data.ordered_indices().tolist()

    assert drawn(1, 1, of_numpy=1) == drawn(1, 1, of_numpy=2)
    assert len({tuple(drawn(seed, epoch, 1)) for seed, epoch in ((1, 1), (1, 2), (5, 1))}) == 3
