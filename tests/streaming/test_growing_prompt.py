"""A decoder that remembers its prompt, against the same decoder reading each prompt whole."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from support.decoding import VOCAB, build, make_model, make_sample, prompt_of
from support.joint_lm import joint_lm_args

from sld_user_dir.models.fairseq_decoder import FairseqDecoder
from sld_user_dir.models.generation import build_generator
from sld_user_dir.models.joint_lm import JointLanguageModel
from sld_user_dir.search.prompt_past import PromptPast
from sld_user_dir.streaming.growing_prompt import RememberingDecoder, remember_prompts

GROWING = [
    prompt_of(0, 3),
    prompt_of(0, 3, 5, 1, 1),
    prompt_of(0, 3, 5, 6, 2, 4),
    prompt_of(0, 3, 5, 6, 2, 4),
    prompt_of(),
]
"""A stream's prompts: the third changes a unit of the second, the fourth is the third again, the last begins anew."""
JOINT = {
    "plain": {},
    "convolution": {"speech_conv_kernel": 3},
    "stable-mask": {"stable_mask": True, "stable_mask_decay": 0.1},
    "prefix-lm": {"prefix_lm": True},
}


def make_joint(**options):
    torch.manual_seed(0)
    task = SimpleNamespace(source_dictionary=VOCAB.dictionary, target_dictionary=VOCAB.dictionary)
    task.vocab = SimpleNamespace(**{**vars(VOCAB), "mask": VOCAB.text_end})
    model = JointLanguageModel.build_model(joint_lm_args(**options), task).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def sessions(decoder, every_position):
    for prompt in GROWING:
        yield decoder.start(torch.tensor([prompt]), torch.tensor([len(prompt)]), 2, VOCAB.text_end, every_position)


@pytest.mark.parametrize("every_position", [False, True])
@pytest.mark.parametrize("options", JOINT.values(), ids=JOINT)
def test_logits_are_those_of_whole_prompts(options, every_position):
    decoder = FairseqDecoder(make_joint(**options))
    growing = RememberingDecoder(decoder)
    for remembered, whole in zip(sessions(growing, every_position), sessions(decoder, every_position)):
        torch.testing.assert_close(remembered.first_logits, whole.first_logits)
        if every_position:
            torch.testing.assert_close(remembered.prompt_logits, whole.prompt_logits)
            remembered.prompt_logits = None  # as what reads CTC does
        tokens, parents = torch.tensor([[5, 6]]), torch.tensor([[0, 0]])
        torch.testing.assert_close(remembered.step(tokens, parents), whole.step(tokens, parents))
    saved = growing.n_given - growing.n_read
    assert saved == (0 if "prefix_lm" in options else 2 + 3 + 6)  # what each prompt begins with alike, but the last


def test_transcripts_of_a_stream_are_those_of_whole_prompts():
    model = make_model()
    plain, streaming = build([model]), build([model])
    (decoder,) = remember_prompts(streaming)
    for prompt in GROWING:
        found, wanted = (g.generate([model], make_sample([prompt]))[0] for g in (streaming, plain))
        assert [h["tokens"].tolist() for h in found] == [h["tokens"].tolist() for h in wanted]
        assert [float(h["score"]) for h in found] == pytest.approx([float(h["score"]) for h in wanted])
    assert decoder.n_read < decoder.n_given


def test_a_model_that_keeps_nothing_reads_its_prompts_whole():
    growing = RememberingDecoder(
        FairseqDecoder(
            make_joint(adaptive_input=True, adaptive_input_cutoff="10", share_decoder_input_output_embed=False)
        )
    )
    assert all(session.first_logits.isfinite().all() for session in sessions(growing, False))
    batch = torch.tensor([prompt_of(1, 2), prompt_of(3, 4)])
    fast = RememberingDecoder(FairseqDecoder(make_joint()))
    fast.start(batch, torch.tensor([3, 3]), 2)
    fast.start(batch, torch.tensor([3, 3]), 2)
    assert fast.n_read == fast.n_given  # of a batch nothing is kept


def test_what_two_prompts_share():
    past = PromptPast(torch.tensor([4, 5, 6]), [], [], None)
    shared = [past.shared_with(torch.tensor(other)) for other in ([4, 5, 6, 7], [4, 9, 6], [4, 5], [8])]
    assert shared == [3, 1, 2, 0] and len(past.first(2)) == 2


@pytest.mark.parametrize("n_models", [1, 2])
@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
@pytest.mark.parametrize("options", JOINT.values(), ids=JOINT)
def test_a_forced_beginning_is_read_with_its_prompt(options, ctc_weight, n_models, monkeypatch):
    """Against the same search that is forced step by step; a stream's decoders go on from prompt to prompt."""
    models = [make_joint(**options) for _ in range(n_models)]
    cfg = Namespace(beam=3, max_len_a=0, max_len_b=6, min_len=0, lenpen=1.0, temperature=1.3)
    ahead, stepwise = (build_generator(models, VOCAB, cfg, ctc_weight=ctc_weight) for _ in range(2))
    monkeypatch.setattr(stepwise, "_can_read_ahead", lambda *_: False)
    remember_prompts(ahead)
    forced = torch.tensor([list(VOCAB.text_ids)[i] for i in (1, 0, 1, 1)])
    for prompt in GROWING[:4]:
        for length in (1, 4):
            steps = count_steps(ahead)
            found, wanted = (
                g.generate(models, make_sample([prompt]), prefix_tokens=forced[None, :length])[0]
                for g in (ahead, stepwise)
            )
            assert [h["tokens"].tolist() for h in found] == [h["tokens"].tolist() for h in wanted]
            for ours, theirs in zip(found, wanted):
                torch.testing.assert_close(ours["positional_scores"], theirs["positional_scores"], rtol=1e-6, atol=1e-6)
                assert float(ours["score"]) == pytest.approx(float(theirs["score"]))
            assert len(steps) <= 6 - length


def count_steps(generator):
    """A list that grows with each step of the search."""
    steps, step = [], type(generator.scorer).step
    generator.scorer.step = lambda *given: (steps.append(1), step(generator.scorer, *given))[1]
    return steps


@pytest.mark.parametrize(
    "change",
    [{"sampling": True}, {"no_repeat_ngram_size": 2}, {"max_len_b": 2}, {"ended": True}, {"batch": 2}],
    ids=str,
)
def test_other_beginnings_are_forced_step_by_step(change):
    """Sampling draws several, n-grams may forbid, limits end, and the end symbol, or one row's padding, is no text."""
    model = make_model()
    options = {name: value for name, value in change.items() if name not in ("ended", "batch")}
    generator = build([model], **options)
    forced = torch.tensor([[5, 6] + [VOCAB.eos] * ("ended" in change)] * change.get("batch", 1))
    generator.scorer.start_behind = None
    found = generator.generate([model], make_sample([prompt_of(0, 3)] * len(forced)), prefix_tokens=forced)
    assert all(row[0]["tokens"][:2].tolist() == [5, 6] for row in found)
