import numpy as np
import pytest
import torch

from dataloader import open_dataset
from dataloader.loader import Shuffle, TrainLoader, in_order

CPU = torch.device("cpu")


def test_every_epoch_holds_each_index_once_and_epochs_differ():
    stream = Shuffle(101, seed=3).take(0, 303)
    epochs = stream.reshape(3, 101)
    assert all(np.array_equal(np.sort(epoch), np.arange(101)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])


def test_the_stream_is_the_same_from_wherever_it_is_entered():
    whole = Shuffle(37, seed=5).take(0, 400)
    for start, count in [(0, 1), (36, 2), (37, 37), (100, 300), (399, 1)]:
        assert np.array_equal(Shuffle(37, seed=5).take(start, count), whole[start : start + count])


def test_seeds_and_streams_give_orders_of_their_own():
    orders = [Shuffle(50, seed, stream).take(0, 50).tolist() for seed in (0, 1) for stream in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_loader_that_starts_later_gives_the_same_batches(digits_folder, workers):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    loader = TrainLoader(data, 48, seed=1, device=CPU, workers=workers)
    straight = dict(loader.iterate(0, 20))
    later = dict(loader.iterate(13, 20))
    assert list(later) == list(range(14, 21))
    assert all(torch.equal(later[i]["digits"], straight[i]["digits"]) for i in later)


def test_processes_share_a_batch_without_overlap(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "train", 32)
    alone = TrainLoader(data, 12, seed=2, device=CPU).raw(7)["colours"]
    shares = [TrainLoader(data, 12, seed=2, device=CPU, rank=r, world=3).raw(7)["colours"] for r in range(3)]
    assert torch.equal(torch.stack(shares, dim=1).flatten(0, 1), alone)


def test_an_error_in_a_reader_reaches_the_training_loop(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    data.read = lambda *_: (_ for _ in ()).throw(OSError("disk on fire"))
    with pytest.raises(OSError, match="disk on fire"):
        next(TrainLoader(data, 4, seed=0, device=CPU, workers=2).iterate(0, 5))


def test_in_order_covers_a_split_once_and_in_order(digits_folder):
    data = open_dataset("dataloader.cdcb:open_digits", digits_folder, "test", 32)
    digits = torch.cat([batch.labels[0]["digit"] for batch in in_order(data, 77, CPU)])
    assert torch.equal(digits, torch.from_numpy(np.array(data.arrays["labels"])).long())
