"""Several processes: they keep the same weights, compute what one computes, look at a split together, and say
who of them died."""

import os
import signal
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from attribute_fakes import Redrawer
from fakes import Shades, three_domains
from looking import view_of
from processes import in_processes, started
from test_golden_losses import RUNS, solver_of
from torch.nn.modules.dropout import _DropoutNd

from dataloader.digits_attributes import open_digits_attributes
from dataloader.loader import TrainLoader
from solvers.commands.ending import finish
from solvers.evaluation.evaluate import measure
from solvers.evaluation.family import families
from solvers.run import distributed, gradients
from solvers.run.lost import watched


def train(solver, batch_size, iterations):
    ranks = {"rank": distributed.rank(), "world": distributed.world(), "workers": 0}
    loader = TrainLoader(solver.train_set, batch_size, 0, solver.device, **ranks)
    for iteration, raw in loader.iterate(0, iterations):
        solver.set_time(iteration)
        batch = solver.train_set.render(raw, training=False)  # mirrored would be other images in each process
        images = tuple(x.to(torch.get_default_dtype()) for x in batch.images)
        yield solver.one_iteration(batch._replace(images=images), iteration)


def weights_of(solver):
    return {
        f"{name}.{key}": value.detach().clone()
        for name, network in solver.networks.items()
        for key, value in network.named_parameters()
    }


def states_of(solver):
    return {
        f"{name}.{key}": value.double()
        for name, network in solver.networks.items()
        for key, value in network.state_dict().items()
    }


def test_every_model_keeps_the_same_weights_in_all_processes(digits_folder, tmp_path):
    def work(rank):
        found = {}
        for name in RUNS:
            solver = solver_of(name, digits_folder)
            before = weights_of(solver)
            losses = [float(sum(step.values())) for step in train(solver, 4, 3)]
            after = weights_of(solver)
            found[name] = losses, after, any(not torch.equal(before[key], after[key]) for key in after)
        return found

    first, second = in_processes(2, work, tmp_path / "two")
    for name in RUNS:
        losses, weights, learned = first[name]
        assert learned and losses != second[name][0], name  # of other images, or with other noise
        unequal = [key for key in weights if not torch.equal(weights[key], second[name][1][key])]
        assert not unequal, (name, unequal)


@contextmanager
def draws_of_the_whole_batch(rank, world):
    """Noise of each process is its share of what one process would draw."""
    draw, plain = torch.Generator().manual_seed(0), torch.randn_like
    torch.randn_like = lambda x: torch.randn(world * len(x), *x.shape[1:], generator=draw)[rank::world]
    try:
        yield
    finally:
        torch.randn_like = plain


@pytest.mark.parametrize("name", ["IIAE", "pix2pix", "PairedVAEGAN", "VAEGAN"])
def test_with_sync_batchnorm_several_processes_compute_what_one_does(
    name, digits_folder, tmp_path, monkeypatch
):
    """All of the models that have BatchNorm, without dropout. In float64, since Adam makes of a gradient that
    is zero but for rounding, such as that of a bias before BatchNorm, a whole step."""

    def work(rank):
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.double
        found = []
        for sync in (True, False):
            solver = solver_of(name, digits_folder)
            solver.config.training.sync_batchnorm = sync
            solver.build()
            for layer in chain(*(network.modules() for network in solver.networks.values())):
                if isinstance(layer, _DropoutNd):
                    layer.p = 0.0
            with draws_of_the_whole_batch(rank, distributed.world()):
                list(train(solver, 4, 3))
            found.append(states_of(solver))
        return found

    (alone, _), (two, apart) = (
        in_processes(1, work, tmp_path / "1")[0],
        in_processes(2, work, tmp_path / "2")[0],
    )
    assert alone.keys() == two.keys()
    far = {key: (alone[key] - two[key]).abs().max().item() for key in alone}
    assert max(far.values()) < 1e-8, sorted(far, key=far.get)[-3:]
    assert max((alone[key] - apart[key]).abs().max().item() for key in alone) > 1e-5


def test_gradients_are_means_whether_hooks_take_them_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "BUCKET", 5)  # several of them

    def work(rank):
        torch.manual_seed(0)
        layers = [torch.nn.Linear(3, 3) for _ in range(4)]
        used = [p for layer in layers[:3] for p in layer.parameters()]
        optimizer = torch.optim.SGD([p for layer in layers for p in layer.parameters()], lr=1)
        x = torch.full((2, 3), rank + 1.0)
        loss = torch.nn.Sequential(*layers[:3])(x).square().sum()
        alone = torch.autograd.grad(loss, used, retain_graph=True)
        with gradients.averaged([optimizer]):
            loss.backward()
        hooked = [p.grad.clone() for p in used]
        assert layers[3].weight.grad is None and not layers[0].weight._post_accumulate_grad_hooks
        with gradients.averaged([optimizer]):
            for parameter, gradient in zip(used, alone):
                parameter.grad = gradient.clone()
        given = [p.grad.clone() for p in used]
        for parameter, gradient in zip(used, alone):
            parameter.grad = gradient.clone()
        gradients.average(used)
        return alone, hooked, given, [p.grad for p in used]

    a, b, c = in_processes(3, work, tmp_path / "three")
    for number in range(6):
        mean = np.mean([one[0][number].numpy() for one in (a, b, c)], axis=0)
        for way in (1, 2, 3):
            assert np.allclose(a[way][number], mean, atol=1e-5)
            assert torch.equal(a[way][number], b[way][number]) and torch.equal(a[way][number], c[way][number])


class Translations:
    """Keeps what references make of all, for which a process may need images of another's share."""

    kept = ("made",)

    def __init__(self, directions):
        self.directions, self.made = directions, defaultdict(list)

    def see(self, part):
        for way in self.directions:
            if len(part.items[way[0]]):
                self.made[way] += part.in_reference_style(*way)


def test_processes_look_together_at_domains_of_different_lengths(tmp_path):
    def work(rank):
        data = three_domains()
        view = view_of(Shades(data.domains), data, 2, metrics=["reconstruction", "probes", "diversity"])
        view = replace(view, share=(rank, distributed.world()))
        watch = Translations(view.model.directions)
        return measure(view, watch), watch.made

    (alone, made), *_ = in_processes(1, work, tmp_path / "1")
    for world in (2, 3):
        (found, theirs), *others = in_processes(world, work, tmp_path / str(world))
        assert found == alone and list(found[0]) == list(alone[0])
        assert made.keys() == theirs.keys()
        assert all(torch.equal(torch.stack(made[way]), torch.stack(theirs[way])) for way in made)
        assert all(numbers == ({}, {}) for numbers, _ in others)


def test_every_family_has_the_same_numbers_of_pairs_by_any_number_of_processes(digits_folder, tmp_path):
    def work(rank):
        torch.manual_seed(0)
        solver = solver_of("IIAE", digits_folder)
        solver.config.test.classifier_iterations = 1
        solver.config.test.extractors = ["classifier"]
        solver.model.eval()
        view = replace(
            solver.view(solver.test_set), share=(rank, distributed.world()), cache=tmp_path / "cache"
        )
        return measure(view)

    alone, two = (in_processes(world, work, tmp_path / str(world))[0] for world in (1, 2))
    assert {"retrieval", "reconstruction", "probes", "translation", "realism", "diversity"} <= {
        *alone[1]["families"]
    }
    assert list(alone[0]) == list(two[0]) and alone == two


def test_attributes_are_measured_together(tmp_path):
    def work(rank):
        data = open_digits_attributes(tmp_path / "none", "test", 32)
        options = {"open_train": lambda: data, "classifier_iterations": 1}
        view = view_of(Redrawer(data), data, 64, metrics=["attributes", "reconstruction"], **options)
        return measure(replace(view, share=(rank, distributed.world())))

    alone, two = (in_processes(world, work, tmp_path / str(world))[0] for world in (1, 2))
    assert alone[0] and alone == two


def test_what_a_family_keeps_has_a_name():
    for family in families().values():
        assert family.kept, family.name


def test_those_who_are_left_name_the_one_who_died(digits_folder, tmp_path):
    def work(rank):
        solver = solver_of("UNIT", digits_folder)
        if rank == 0:
            sys.stderr = (tmp_path / "errors").open("w")

        def run():
            with watched(lambda: "in iteration 2"):
                for iteration, _ in enumerate(train(solver, 4, 9), 1):
                    if rank == 1 and iteration == 2:
                        os.kill(os.getpid(), signal.SIGKILL)
            return 0

        os._exit(finish(run))

    first, second = started(2, work, tmp_path / "two")
    first.join(60)
    second.join(60)
    assert (first.exitcode, second.exitcode) == (1, -signal.SIGKILL)
    text = (tmp_path / "errors").read_text()
    name = f"process 1 of 2 (pid {second.pid} on {os.uname().nodename})"
    assert text == f"error: {name} is gone; in iteration 2\n"


def test_test_mode_begins_with_the_same_weights_everywhere_averaged_ones_too(
    digits_folder, tmp_path, monkeypatch
):
    model, network, training = RUNS["IIAE"]
    monkeypatch.setitem(RUNS, "IIAE", (model, network, {**training, "ema": 0.9}))

    def work(rank):
        seen = []
        monkeypatch.setattr("solvers.solver.evaluate", lambda view, *_: seen.append(view.model) or {})
        monkeypatch.setattr("solvers.solver.write_pages", lambda *_: None)
        solver = solver_of("IIAE", digits_folder)
        monkeypatch.setattr(solver.reporter, "results", lambda *_: None)
        for buffer in solver.tested_model.buffers():
            buffer.fill_(rank + 1)
        solver.evaluate(None, 1)
        return [buffer.clone() for buffer in seen[0].buffers()]

    first, second = in_processes(2, work, tmp_path / "found")
    assert first and all(torch.equal(one, torch.ones_like(one)) for one in first)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
