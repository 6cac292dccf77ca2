"""A training that is taken up by another number of workers goes on where it was: no batch is lost."""

import itertools
import logging

import pytest
import torch
from fairseq.data.iterators import EpochBatchIterator

from sld_user_dir.tasks.update_iterator import UpdateBatchIterator

N_BATCHES = 23


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return N_BATCHES

    def __getitem__(self, index):
        return index


def collate(indices):
    target = torch.tensor([indices or [0]])
    return {"target": target, "ntokens": 1, "nsentences": 1, "net_input": {}} if indices else {}


def iterators(n_workers, update_freq, n_batches=N_BATCHES):
    """The iterator of each worker."""
    batches = [[index] for index in range(n_batches)]
    plain = [
        EpochBatchIterator(Numbers(), collate, batches, seed=1, num_shards=n_workers, shard_id=worker)
        for worker in range(n_workers)
    ]
    count = lambda sample: torch.ones(1, dtype=torch.int64)  # noqa: E731
    return [UpdateBatchIterator.wrap(one, count, [update_freq], pad=-1) for one in plain]


def seen(workers, at_most=None):
    """Batches that are drawn, `at_most` by each worker, in the order of the epoch; no padding."""
    drawn = [list(itertools.islice(one.next_epoch_itr(), at_most)) for one in workers]
    dealt = itertools.chain.from_iterable(itertools.zip_longest(*drawn))
    return [int(batch["target"]) for batch in dealt if batch and int(batch["target"]) >= 0]


@pytest.mark.parametrize("update_freq", [1, 2])
@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("now", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("then", [1, 2, 4])
def test_no_batch_is_lost_and_few_are_seen_twice(then, now, after, update_freq, caplog):
    order = seen(iterators(1, update_freq))
    assert sorted(order) == list(range(N_BATCHES))
    before = iterators(then, update_freq)
    drawn = seen(before, after * update_freq)
    assert drawn == order[: then * after * update_freq]
    states = [one.state_dict() for one in before]
    resumed = iterators(now, update_freq)
    with caplog.at_level(logging.WARNING):
        for one in resumed:
            one.load_state_dict(states[0])
    rest = seen(resumed)
    assert rest == order[N_BATCHES - len(rest) :], "the rest of the epoch, in its order"
    again = len(drawn) + len(rest) - N_BATCHES
    assert 0 <= again < now, "none is lost, and those seen twice are fewer than the workers"
    assert bool(caplog.records) is (then != now)


def test_a_state_of_fairseqs_own_is_taken_as_it_is():
    (one,) = iterators(1, 1)
    drawn = seen([one], 5)
    state = {key: value for key, value in one.state_dict().items() if not key.startswith("num_")}
    (resumed,) = iterators(1, 1)
    resumed.load_state_dict(state)
    assert drawn + seen([resumed]) == seen(iterators(1, 1))


@pytest.mark.parametrize("now", [1, 2])
def test_other_batches_go_on_at_the_same_share_of_the_epoch(now):
    """Of another --max-tokens, say; fairseq would pass over three quarters of them, or refuse."""
    before = iterators(2, 1, 20)
    seen(before, 9)
    resumed = iterators(now, 1, 10)
    for one in resumed:
        one.load_state_dict(before[0].state_dict())
    assert len(seen(resumed)) == 10 - 9 // now * now
