"""The task in process: every utterance counts, decoding, validation by WER, provenance."""

import logging

import numpy as np
import pytest
import torch
from fairseq.dataclass.configs import GenerationConfig
from fairseq.logging import metrics
from support.miniature import NUM_UNITS, WORDS, make_data, make_provenance, make_utterances
from support.tasks import batches, setup

from sld_user_dir.errors import InputError
from sld_user_dir.losses.normalisation import UPDATE
from sld_user_dir.manifests.unit_manifest import ManifestError, write_manifest
from sld_user_dir.models.unset_buffers import UNSET
from sld_user_dir.tasks.update_iterator import UpdateBatchIterator


@pytest.mark.parametrize("count", [1, 7, 8, 9, 11])
@pytest.mark.parametrize("limits", [{}, {"max_tokens": None, "max_sentences": 4}, {"max_tokens": 1000}])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_no_utterance_vanishes_from_batches(tmp_path, count, limits, split):
    _, task = setup(make_data(tmp_path, **{split: count}))
    task.load_dataset(split)
    ids = [i for batch in batches(task, split, **limits) for i in batch["id"].tolist()]
    assert sorted(ids) == list(range(count))


@pytest.mark.parametrize("shards", [2, 3])
def test_no_utterance_vanishes_from_shards(tmp_path, shards):
    _, task = setup(make_data(tmp_path, train=11))
    task.load_dataset("train")
    ids = []
    for shard in range(shards):
        for batch in batches(task, "train", num_shards=shards, shard_id=shard, disable_iterator_cache=True):
            if batch["nsentences"]:
                ids += batch["id"].tolist()
    assert sorted(ids) == list(range(11))


@pytest.mark.parametrize("lengths", [(0, 0), (0, -5), (-0.5, 0), (float("nan"), 200)])
def test_lengths_that_leave_no_token_are_refused(tmp_path, lengths):
    config, task = setup(make_data(tmp_path))
    cfg = GenerationConfig(max_len_a=lengths[0], max_len_b=lengths[1])
    said = f"--max-len-a {lengths[0]:g} --max-len-b {lengths[1]}: these leave no token for an answer; take --max-len-b"
    with pytest.raises(InputError, match=said):
        task.build_generator([task.build_model(config.model)], cfg)


@pytest.mark.parametrize("option", ["--eval-wer-beam", "--eval-wer-max-len"])
def test_validation_that_finds_nothing_is_refused_before_training(tmp_path, option):
    data = make_data(tmp_path, valid=1)
    with pytest.raises(InputError, match=f"{option} 0.*: nothing to search; choose both above 0"):
        setup(data, "--eval-wer", option, 0)
    setup(data, option, 0)  # which is not looked at


@pytest.mark.parametrize("count", [1, 7, 8, 9, 11])
def test_no_utterance_vanishes_from_decoding_and_wer(tmp_path, count):
    config, task = setup(make_data(tmp_path, valid=count), "--eval-wer", "--eval-wer-max-len", 8)
    task.load_dataset("valid")
    model, criterion = task.build_model(config.model).eval(), task.build_criterion(config.criterion).eval()
    generator = task.build_generator([model], GenerationConfig(beam=2, max_len_a=0, max_len_b=8))
    logs, decoded = [], {}
    for batch in batches(task, "valid"):
        hypotheses = task.inference_step(generator, [model], batch)
        decoded.update(zip(batch["id"].tolist(), hypotheses))
        logs.append(task.valid_step(batch, model, criterion)[2])
    assert sorted(decoded) == list(range(count))
    utterances = make_utterances(count, "valid-")
    assert sum(log["_words"] for log in logs) == sum(len(u.text.split()) for u in utterances)
    assert sum(log["nsentences"] for log in logs) == count
    with metrics.aggregate() as aggregate:
        task.reduce_metrics(logs, criterion)
    expected = 100 * sum(log["_word_errors"] for log in logs) / sum(log["_words"] for log in logs)
    assert aggregate.get_smoothed_value("wer") == pytest.approx(expected, abs=0.01)


def test_wer_of_many_workers_is_that_of_the_whole_set(tmp_path):
    """Counts are summed before they are divided: a mean of batch rates would be 75 %."""
    config, task = setup(make_data(tmp_path, valid=1))
    task.load_dataset("valid")
    criterion = task.build_criterion(config.criterion).eval()
    log = task.valid_step(batches(task, "valid")[0], task.build_model(config.model).eval(), criterion)[2]
    counts = [{"_word_errors": 1, "_words": 1}, {"_word_errors": 1, "_words": 2}]
    logs = [{**log, **count, "_char_errors": 0, "_chars": 1} for count in counts]
    with metrics.aggregate() as aggregate:
        task.reduce_metrics(logs, criterion)
    assert aggregate.get_smoothed_value("wer") == pytest.approx(66.67, abs=0.01)


def test_only_training_batches_carry_update_counts(tmp_path):
    _, task = setup(make_data(tmp_path, train=9, valid=9), "--update-freq", 2)
    for split in ("train", "valid"):
        task.load_dataset(split)
    assert isinstance(task.get_batch_iterator(task.dataset("train"), max_tokens=60), UpdateBatchIterator)
    assert all(UPDATE in b for b in batches(task, "train"))
    assert not any(UPDATE in b for b in batches(task, "valid"))


def test_curriculum_ends_after_its_epochs(tmp_path):
    """fairseq-fixed reuses its loader and with it the first epoch's shuffle=False, for ever."""
    _, task = setup(make_data(tmp_path, train=60))
    task.load_dataset("train")
    iterator = task.get_batch_iterator(task.dataset("train"), max_tokens=60, seed=1)

    def lengths(shuffle):
        return [b["net_input"]["src_tokens"].shape[1] for b in iterator.next_epoch_itr(shuffle=shuffle)]

    first, second, third = lengths(False), lengths(True), lengths(True)
    assert first == sorted(first) and second != sorted(second) and third != second
    assert sorted(second) == first


def test_units_and_text_are_printed_each_on_their_side(tmp_path):
    _, task = setup(make_data(tmp_path, test=3))
    task.load_dataset("test")
    utterances = make_utterances(3, "test-")
    for batch in batches(task, "test"):
        for i, row in enumerate(batch["id"].tolist()):
            source = batch["net_input"]["src_tokens"][i]
            assert task.source_dictionary.string(source) == " ".join(map(str, utterances[row].units))
            text = task.target_dictionary.string(batch["target"][i])
            assert task.build_bpe(None).decode(text) == utterances[row].text


def test_masking_hides_units_only_and_leaves_the_batch_alone(tmp_path):
    _, task = setup(make_data(tmp_path, train=40), "--input-mask-prob", 0.5)
    task.load_dataset("train")
    batch = batches(task, "train", max_tokens=4000)[0]
    tokens = batch["net_input"]["src_tokens"].clone()
    torch.manual_seed(0)
    masked = task.mask_inputs(batch)["net_input"]["src_tokens"]
    hidden = masked == task.vocab.mask
    units = tokens >= task.vocab.unit_offset
    assert torch.equal(batch["net_input"]["src_tokens"], tokens)
    assert torch.equal(masked[~hidden], tokens[~hidden]) and not (hidden & ~units).any()
    assert 0.35 < hidden.sum() / units.sum() < 0.65
    torch.manual_seed(0)
    assert torch.equal(task.mask_inputs(batch)["net_input"]["src_tokens"], masked)


def test_masking_all_tokens_spares_padding(tmp_path):
    _, task = setup(make_data(tmp_path, train=40), "--input-mask-prob", 1.0, "--input-mask-tokens", "all")
    task.load_dataset("train")
    batch = batches(task, "train", max_tokens=4000)[0]
    padding = batch["net_input"]["src_tokens"] == task.vocab.pad
    masked = task.mask_inputs(batch)["net_input"]["src_tokens"]
    assert padding.any() and torch.equal(masked == task.vocab.pad, padding)
    assert (masked[~padding] == task.vocab.mask).all()


def test_bos_lets_the_first_unit_be_predicted(tmp_path):
    _, task = setup(make_data(tmp_path, test=1), "--add-bos-token")
    task.load_dataset("test")
    batch = batches(task, "test")[0]
    first = make_utterances(1, "test-")[0].units[0]
    assert batch["net_input"]["src_tokens"][0, 0] == task.vocab.bos
    assert batch["target"][0, 0] == task.vocab.unit_offset + first


def test_too_long_is_an_error_or_counted_and_named(tmp_path, caplog):
    data = make_data(tmp_path, test=3)
    longest = make_utterances(3, "test-")
    longest[1].units = np.resize(longest[1].units, 70)
    write_manifest(data / "test.tsv", longest, make_provenance(), {"license": "none"})
    _, task = setup(data)
    remedy = (
        "shorten or remove it .*, raise --tokens-per-sample, or --max-target-positions where that is given, or leave"
    )
    with pytest.raises(ManifestError, match=rf"test.tsv:6: 7\d tokens, but the model holds 64; {remedy}"):
        task.load_dataset("test")
    _, task = setup(data, "--skip-too-long")
    with caplog.at_level(logging.WARNING):
        task.load_dataset("test")
    assert "1 of 3 utterances" in caplog.text and "lines 6" in caplog.text
    assert sorted(i for b in batches(task, "test") for i in b["id"].tolist()) == [0, 2]


def test_state_is_plain_and_refuses_other_units(tmp_path):
    _, task = setup(make_data(tmp_path / "a", test=3))
    task.load_dataset("test")
    state = task.state_dict()
    torch.save(state, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    task.load_state_dict(state)
    other = make_data(tmp_path / "b", test=3)
    write_manifest(other / "test.tsv", make_utterances(3), make_provenance(encoder="another"))
    _, task = setup(other)
    task.load_state_dict(state)
    with pytest.raises(ManifestError, match=make_provenance().fingerprint):
        task.load_dataset("test")


@pytest.mark.parametrize("ctc_weight", [0.3, 0.0])
def test_joint_decoding_wants_a_checkpoint_with_ctc(tmp_path, ctc_weight):
    data = make_data(tmp_path, test=3)
    config, trained = setup(data, "--ctc-weight", ctc_weight)
    trained.build_criterion(config.criterion)
    state = trained.state_dict()
    _, task = setup(data, "--decode-ctc-weight", "0.5")
    if ctc_weight:
        task.load_state_dict(state)
    else:
        with pytest.raises(InputError, match=r"--decode-ctc-weight 0\.5: the checkpoint was trained without"):
            task.load_state_dict(state)
    task.load_state_dict({**state, "trained_with_ctc": None})  # a checkpoint of an earlier release does not say


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_validation_decodes_as_it_is_told_to(tmp_path, weight):
    config, task = setup(make_data(tmp_path, valid=5), "--ctc-weight", 0.3, "--eval-wer", "--decode-ctc-weight", weight)
    task.load_dataset("valid")
    model = task.build_model(config.model).eval()
    generator = task.build_generator([model], GenerationConfig(beam=2, max_len_a=0, max_len_b=8))
    fused = generator.scorer.ctc
    assert (0.0 if fused is None else fused.weight) == weight
    results = task.inference_step(generator, [model], batches(task, "valid")[0])
    assert all(found[0]["score"].isfinite() for found in results)


def test_two_manifests_of_different_units_do_not_mix(tmp_path):
    data = make_data(tmp_path, train=3, valid=3)
    collapsed = make_utterances(3)
    for one in collapsed:
        one.units = np.array([1, 2, 1], dtype=np.int32)
    write_manifest(data / "valid.tsv", collapsed, make_provenance(deduplicated=True))
    _, task = setup(data)
    task.load_dataset("train")
    with pytest.raises(ManifestError, match="not de-duplicated"):
        task.load_dataset("valid")


def test_vocabulary_of_another_size_is_an_error(tmp_path):
    data = make_data(tmp_path, test=3)
    write_manifest(data / "test.tsv", make_utterances(3), make_provenance(num_units=NUM_UNITS + 1))
    _, task = setup(data)
    with pytest.raises(ManifestError, match="13"):
        task.load_dataset("test")


def test_vocabulary_puts_units_last(tmp_path):
    _, task = setup(make_data(tmp_path, test=1))
    vocab = task.vocab
    assert vocab.unit_offset + vocab.num_units == len(vocab) and vocab.num_units == NUM_UNITS
    assert vocab.text_end - vocab.text_start == len(WORDS)
    assert len(task.source_dictionary) == len(task.target_dictionary) == len(vocab)


def test_a_model_has_no_number_that_nobody_set(tmp_path, monkeypatch):
    """fairseq makes one of adaptive input and one of adaptive softmax from memory as it is found, and stores them."""
    monkeypatch.setattr(torch, "FloatTensor", lambda *shape: torch.full(shape, float("nan")))
    options = ("--decoder-input-dim", 16, "--decoder-output-dim", 16, "--adaptive-softmax-cutoff", "10,15")
    config, task = setup(
        make_data(tmp_path), *("--arch", "transformer_lm_baevski_wiki103", "--adaptive-input-cutoff", "10,15", *options)
    )
    stored = task.build_model(config.model).state_dict()
    numbers = {name for name in stored if name.endswith(UNSET)}  # fairseq 0.12.2 has a third, of its positions
    assert {f"decoder.{of}.{UNSET}" for of in ("embed_tokens", "adaptive_softmax.head")} <= numbers
    assert not any(tensor.isnan().any() for tensor in stored.values())
