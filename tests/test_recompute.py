"""training.activation_checkpointing: the same losses and weights bit for bit, in less memory."""

import pytest
from conftest import same_tensors
from step_toys import learnt, peak_memory, solver_of, tensors

from configs.load import ConfigError
from solvers.run.folder import RunError

DEEP = {"base_width": 4, "dis_width": 4, "residual_blocks": 6}
PLAIN = {"base_width": 4, "dis_width": 4, "residual_blocks": 2}
DRIT = {**PLAIN, "attribute_dim": 3}
RUNS = {  # name: model, network, training, top
    "DRIT": ("DRIT", DRIT, {"d_iter": 2}, {}),
    "DRIT bf16": (
        "DRIT",
        {**DRIT, "concat": 0, "dis_spectral_norm": 1},
        {"d_iter": 1},
        {"precision": "bf16"},
    ),
    "MDMM": ("MDMM", {**DRIT, "concat": 0}, {}, {}),
    "GMVAE-DRIT": ("GMVAE-DRIT", {**PLAIN, "gaussian_size": 3, "use_adain": 1}, {}, {}),
    "CycleGAN": ("CycleGAN", DEEP, {}, {}),
    "UNIT": ("UNIT", PLAIN, {}, {}),
    "StarGAN": ("StarGAN", DEEP, {"n_critic": 1}, {}),
}


def both(name: str) -> list:
    """Solvers that keep and that compute again."""
    model, network, training, top = RUNS[name]
    ways = ({**training, "activation_checkpointing": flag} for flag in (0, 1))
    return [solver_of(model, None, network, way, 2, **top) for way in ways]


@pytest.mark.parametrize("name", RUNS)
def test_losses_and_weights_are_the_same_bit_for_bit(name):
    kept, again = both(name)
    assert learnt(kept, 2, 2) == learnt(again, 2, 2)
    assert same_tensors(tensors(kept), tensors(again))
    assert [p.requires_grad for p in kept.model.parameters()] == [
        p.requires_grad for p in again.model.parameters()
    ]


@pytest.mark.parametrize("name", ["DRIT", "CycleGAN", "UNIT", "StarGAN"])
def test_it_takes_less_memory(name):
    peaks = []
    for solver in both(name):
        learnt(solver, 2, 4)
        peaks.append(peak_memory(lambda solver=solver: learnt(solver, 2, 4)))
    assert peaks[1] < 0.85 * peaks[0]


def test_parts_and_recomputation_go_together():
    solvers = [
        solver_of("DRIT", None, DRIT, {"d_iter": 1, "accumulate": 2, "activation_checkpointing": flag})
        for flag in (0, 1)
    ]
    assert learnt(solvers[0], 1) == learnt(solvers[1], 1)
    assert same_tensors(*map(tensors, solvers))


@pytest.mark.parametrize(
    ("model", "network"), [("pix2pix", {"base_width": 2, "dis_width": 2}), ("IIAE", {"base_width": 2})]
)
def test_it_is_refused_where_nothing_can_be_computed_again(model, network, digits_folder):
    with pytest.raises(RunError, match="no residual stages without BatchNorm") as refused:
        solver_of(model, digits_folder, network, {"activation_checkpointing": 1})
    assert "\n" not in str(refused.value)


def test_compiled_networks_are_refused():
    with pytest.raises(ConfigError, match="compile 0"):
        solver_of("UNIT", None, PLAIN, {"activation_checkpointing": 1}, compile=1)
