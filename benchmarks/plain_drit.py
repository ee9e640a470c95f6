"""DRIT as plain functions of tensors by the names in its authors' checkpoints, and one training iteration in
the order of their code: what ours is compared with, in tests for equality and in benchmarks for speed.

Nothing of models/ or solvers/ is used here. `w` holds the tensors of one network by name.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
JUDGES = ("disA", "disA2", "disB", "disB2")


def conv(w: Weights, name: str, x: Tensor, stride: int = 1, pad: int = 0) -> Tensor:
    if pad:
        x = F.pad(x, (pad,) * 4, mode="reflect")
    return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride)


def numbered(w: Weights, pattern: str, start: int = 0) -> list[str]:
    """The names that `pattern` gives for start, start + 1, ... as long as there is a weight of that name."""
    found = []
    while f"{pattern.format(start + len(found))}.weight" in w:
        found.append(pattern.format(start + len(found)))
    return found


def residual(w: Weights, name: str, x: Tensor) -> Tensor:
    h = F.relu(F.instance_norm(conv(w, f"{name}.model.1", x, pad=1)))
    return x + F.instance_norm(conv(w, f"{name}.model.5", h, pad=1))


def beside(x: Tensor, z: Tensor) -> Tensor:
    return torch.cat((x, z.view(*z.shape, 1, 1).expand(*z.shape, *x.shape[2:])), dim=1)


def content(w: Weights, image: Tensor, layers: str, shared: str = "conv_share.0", noise: float = 0) -> Tensor:
    """`layers` is convA or convB, or conv for many domains."""
    x = F.leaky_relu(conv(w, f"{layers}.0.model.1", image, pad=3), 0.01)
    for i in (1, 2):
        x = F.relu(F.instance_norm(conv(w, f"{layers}.{i}.model.1", x, 2, 1)))
    for name in numbered(w, layers + ".{}.model.1", 3):
        x = residual(w, name.removesuffix(".model.1"), x)
    if f"{shared}.model.1.weight" in w:
        x = residual(w, shared, x)
    return x + noise * torch.randn_like(x) if noise else x


def attribute(w: Weights, image: Tensor, letter: str) -> tuple[Tensor, Tensor | None]:
    """The mean and the logvar; for concat 0 the point and None. `letter` is A or B, or nothing for many
    domains."""
    tail = f"_{letter}" if letter else ""
    if f"conv{tail}.1.weight" not in w:
        model = f"model{tail.lower()}"
        x = F.relu(conv(w, f"{model}.1", image, pad=3))
        for i in (4, 7, 10, 13):
            x = F.relu(conv(w, f"{model}.{i}", x, 2, 1))
        return conv(w, f"{model}.16", x.mean(dim=(2, 3), keepdim=True)).flatten(1), None
    x = conv(w, f"conv{tail}.1", image, 2, 1)
    for i in (2, 3, 4):
        block = f"conv{tail}.{i}"
        h = conv(w, f"{block}.conv.2", F.leaky_relu(x, 0.2), pad=1)
        h = F.avg_pool2d(conv(w, f"{block}.conv.4.1", F.leaky_relu(h, 0.2), pad=1), 2)
        x = h + conv(w, f"{block}.shortcut.1", F.avg_pool2d(x, 2))
    x = F.leaky_relu(x, 0.2).mean(dim=(2, 3))
    heads = (F.linear(x, w[f"{head}{tail}.0.weight"], w[f"{head}{tail}.0.bias"]) for head in ("fc", "fcVar"))
    return tuple(heads)


def up(w: Weights, name: str, x: Tensor) -> Tensor:
    x = F.conv_transpose2d(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"], 2, 1, 1)
    shape = x.shape[1:]
    return F.relu(
        F.layer_norm(x, shape, w[f"{name}.1.weight"].expand(shape), w[f"{name}.1.bias"].expand(shape))
    )


def generate(
    w: Weights, x: Tensor, z: Tensor, letter: str, one_hot: Tensor | None = None, last: str | None = None
) -> Tensor:
    """`letter` is A or B, or nothing for many domains, where the image of concat 0 is made by `last`."""
    if "dec_share.0.model.1.weight" in w:
        x = residual(w, "dec_share.0", x)
        x = x if one_hot is None else beside(x, one_hot)
        x = beside(x, z)
        for name in numbered(w, f"dec{letter}1." + "{}.model.1"):
            x = residual(w, name.removesuffix(".model.1"), x)
        x = up(w, f"dec{letter}2.0.model", beside(x, z))
        x = beside(up(w, f"dec{letter}3.0.model", beside(x, z)), z)
        end = f"dec{letter}4.0"
    else:
        z = z if one_hot is None else torch.cat((one_hot, z), dim=1)
        for i in (0, 2, 4):
            z = F.linear(z, w[f"mlp{letter}.{i}.weight"], w[f"mlp{letter}.{i}.bias"])
            z = z if i == 4 else F.relu(z)
        count = z.shape[1] // x.shape[1]
        for i, part in enumerate(z.split(x.shape[1], dim=1), 1):
            block = f"dec{letter}{i}"
            h = F.instance_norm(conv(w, f"{block}.conv1.0.1", x, pad=1))
            h = F.relu(conv(w, f"{block}.blk1.0", beside(h, part)))
            h = F.relu(conv(w, f"{block}.blk1.2", h))
            h = F.instance_norm(conv(w, f"{block}.conv2.0.1", h, pad=1))
            h = F.relu(conv(w, f"{block}.blk2.0", beside(h, part)))
            x = x + F.relu(conv(w, f"{block}.blk2.2", h))
        block = last or f"dec{letter}{count + 1}"
        x = up(w, f"{block}.1.model", up(w, f"{block}.0.model", x))
        end = f"{block}.2"
    return torch.tanh(F.conv_transpose2d(x, w[f"{end}.weight"], w[f"{end}.bias"]))


def judged(w: Weights, image: Tensor) -> list[Tensor]:
    """The logits of a discriminator of several scales."""
    logits, scale = [], 0
    while f"Diss.{scale}.0.model.1.weight" in w:
        x = image
        blocks = numbered(w, f"Diss.{scale}." + "{}.model.1")
        for name in blocks:
            x = F.leaky_relu(conv(w, name, x, 2, 1), 0.01)
        logits.append(conv(w, f"Diss.{scale}.{len(blocks)}", x))
        image = F.avg_pool2d(image, 3, 2, 1, count_include_pad=False)
        scale += 1
    return logits


def judged_content(w: Weights, x: Tensor) -> Tensor:
    for i in (0, 1, 2):
        stride = 2 if x.shape[-1] >= 4 else 1
        x = F.leaky_relu(F.instance_norm(conv(w, f"model.{i}.model.1", x, stride, 1)), 0.01)
    return conv(w, "model.4", F.leaky_relu(conv(w, "model.3.model.1", x), 0.01))


def bce(logits: Tensor, target: float) -> Tensor:
    """Through a sigmoid, as the authors' code computes it."""
    return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))


def forward(
    nets: dict[str, Weights], a: Tensor, b: Tensor, noise: float, mode_seeking: bool
) -> dict[str, Any]:
    """Everything of the generator's side. Random numbers are drawn in the order in which ours draws them."""
    enc_c, enc_a, gen = nets["enc_c"], nets["enc_a"], nets["gen"]
    size = (len(a), len(nets_attribute(enc_a)))
    draws = [torch.randn(size, device="cpu").to(a.device) for _ in range(2 if mode_seeking else 1)]
    c = {"A": content(enc_c, a, "convA", noise=noise), "B": content(enc_c, b, "convB", noise=noise)}
    m = {side: attribute(enc_a, image, side) for side, image in (("A", a), ("B", b))}
    z = {side: sample(*m[side]) for side in "AB"}
    out: dict[str, Any] = {"draws": draws, "content": c, "posterior": m}
    for side, other in ("AB", "BA"):
        contents = torch.cat((c[other], c[side], *[c[other]] * len(draws)))
        images = generate(gen, contents, torch.cat((z[side], z[side], *draws)), side).split(len(a))
        out[f"translated{side}"], out[f"own{side}"], *out[f"random{side}"] = images
    back = {
        "B": content(enc_c, out["translatedA"], "convA", noise=noise),
        "A": content(enc_c, out["translatedB"], "convB", noise=noise),
    }
    again = {side: sample(*attribute(enc_a, out[f"translated{side}"], side)) for side in "AB"}
    for side in "AB":
        out[f"cycled{side}"] = generate(gen, back[side], again[side], side)
        out[f"regressed{side}"] = attribute(enc_a, out[f"random{side}"][0], side)[0]
    return out


def nets_attribute(enc_a: Weights) -> Tensor:
    """The bias of the layer that gives the attribute: as long as the attribute."""
    return enc_a["fc_A.0.bias"] if "fc_A.0.bias" in enc_a else enc_a["model_a.16.bias"]


def sample(mean: Tensor, logvar: Tensor | None) -> Tensor:
    return mean if logvar is None else torch.randn_like(mean) * (0.5 * logvar).exp() + mean


def regulariser(mean: Tensor, logvar: Tensor | None) -> Tensor:
    if logvar is None:
        return mean.pow(2).mean()
    return -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum() / len(mean)


def step(
    nets: dict[str, Weights],
    a: Tensor,
    b: Tensor,
    optimizers: dict[str, torch.optim.Optimizer] | None = None,
    noise: float = 1.0,
    mode_seeking: bool = True,
    seed: int | None = None,
) -> dict[str, list[Tensor]]:
    """One iteration that teaches all networks, in the order of the authors' code: a forward pass and each
    discriminator's step, then a forward pass and the generator's two backward passes. Gradients by network.

    Their steps between the two backward passes, which PyTorch no longer allows, come after both. Without
    `optimizers` nothing is stepped; with `seed`, both forward passes draw the same numbers.
    """

    def generator_side() -> dict[str, Any]:
        if seed is not None:
            torch.manual_seed(seed)
        return forward(nets, a, b, noise, mode_seeking)

    def grads(name: str) -> list[Tensor]:
        return [p.grad.clone() for p in nets[name].values()]

    def clear(*names: str) -> None:
        for name in names:
            for p in nets[name].values():
                p.grad = None

    def stepped(*names: str) -> None:
        for name in names:
            if optimizers is not None:
                optimizers[name].step()

    found: dict[str, list[Tensor]] = {}
    made = generator_side()
    for name, real in zip(JUDGES, (a, a, b, b)):
        clear(name)
        side = name[3]
        fakes = made[f"random{side}"] if name.endswith("2") else [made[f"translated{side}"]]
        on_fake = judged(nets[name], torch.cat(tuple(fakes)).detach())
        on_real = judged(nets[name], real)
        sum(bce(f, 0.0) + bce(r, 1.0) for f, r in zip(on_fake, on_real)).backward()
        found[name] = grads(name) if optimizers is None else []
        stepped(name)
    clear("disContent")
    said = {side: judged_content(nets["disContent"], made["content"][side].detach()) for side in "AB"}
    (bce(said["A"], 0.0) + bce(said["B"], 1.0)).backward()
    torch.nn.utils.clip_grad_norm_(list(nets["disContent"].values()), 5)
    found["disContent"] = grads("disContent") if optimizers is None else []
    stepped("disContent")

    clear("enc_c", "enc_a", "gen")
    made = generator_side()
    loss = 0.0
    for side, real in (("A", a), ("B", b)):
        loss = loss + bce(judged_content(nets["disContent"], made["content"][side]), 0.5)
        loss = loss + sum(bce(x, 1.0) for x in judged(nets[f"dis{side}"], made[f"translated{side}"]))
        loss = loss + 0.01 * regulariser(*made["posterior"][side])
        loss = loss + 0.01 * made["content"][side].pow(2).mean()
        loss = loss + 10 * (made[f"cycled{side}"] - real).abs().mean()
        loss = loss + 10 * (made[f"own{side}"] - real).abs().mean()
    loss.backward(retain_graph=True)
    encoder_gradients = grads("enc_a")
    loss = 0.0
    for side in "AB":
        random = made[f"random{side}"]
        for image in random:  # with mode seeking, both
            loss = loss + sum(bce(x, 1.0) for x in judged(nets[f"dis{side}2"], image))
        loss = loss + 10 * (made[f"regressed{side}"] - made["draws"][0]).abs().mean()
        if mode_seeking:
            z1, z2 = made["draws"]
            apart = (random[1] - random[0]).abs().mean() / (z2 - z1).abs().mean()
            loss = loss + 1 / (apart + 1e-5)
    loss.backward()
    for parameter, gradient in zip(nets["enc_a"].values(), encoder_gradients):
        parameter.grad = gradient  # the second loss does not teach the attribute encoder
    for name in ("enc_c", "enc_a", "gen"):
        found[name] = grads(name) if optimizers is None else []
    stepped("enc_c", "enc_a", "gen")
    return found
