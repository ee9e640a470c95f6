"""That GMVAE-DRIT's encoders and decoder agree with each other, before training and more so after some."""

import pytest
import torch
import torch.nn.functional as F
from drit_toys import toy_batch, toy_solver

NETWORK = {"attribute_dim": None, "gaussian_size": 4, "num_classes": 3, "content_noise": 0}


@pytest.mark.parametrize("concat", [0, 1])
@pytest.mark.parametrize("resolution", [32, 36])
def test_what_the_encoders_give_the_decoder_takes_and_an_image_is_the_same_in_any_batch(resolution, concat):
    network = {**NETWORK, "concat": concat, "use_adain": 1, "double_layer_ReLUINSConvTranspose": 1}
    solver = toy_solver("GMVAE-DRIT", 2, resolution=resolution, network=network)
    model = solver.model.eval()
    images = toy_batch(solver, 3).images[1]
    content, style = model.encode_content(images, 1), model.encode_style(images, 1)
    assert style.shape == model.sample_style(3, 1).shape == (3, 4)
    made = model.decode(content, style, 0)
    assert made.shape == images.shape and made.abs().max() <= 1
    likely = model.component_probabilities(images, 1)
    assert torch.allclose(likely.sum(dim=1), torch.ones(3))
    posterior = model.posterior(images, 1)
    for i in range(3):
        alone = model.decode(model.encode_content(images[i : i + 1], 1), style[i : i + 1], 0)
        assert torch.allclose(alone[0], made[i], atol=1e-5)
        assert torch.equal(style[i], posterior.means[i, likely[i].argmax()])


def test_training_makes_encoders_and_decoder_agree():
    training = {
        "max_iters": 120,
        "lr": 3e-3,
        "weight_decay": 0.0,
        "adv_weight": 0.1,
        "latent_weight": 1.0,
        "lambda_cls_G": 0.1,
    }
    solver = toy_solver("GMVAE-DRIT", 2, network={**NETWORK, "use_adain": 1}, training=training)
    model, images = solver.model, toy_batch(solver, 3).images

    def errors() -> tuple[float, float]:
        """Of images decoded again, and of their cycle through the other domain."""
        model.eval()
        with torch.no_grad():
            own = [F.l1_loss(model.reconstruct(x, d), x) for d, x in enumerate(images)]
            styles = [model.encode_style(x, d) for d, x in enumerate(images)]
            there = [model.translate(x, d, 1 - d, styles[1 - d]) for d, x in enumerate(images)]
            back = [model.translate(x, 1 - d, d, styles[d]) for d, x in enumerate(there)]
            cycle = [F.l1_loss(x, images[d]) for d, x in enumerate(back)]
        return sum(own).item(), sum(cycle).item()

    before = errors()
    for iteration in range(1, 61):
        solver.set_time(iteration)
        solver.train_step(toy_batch(solver, 3), iteration)
    after = errors()
    assert after[0] < 0.8 * before[0] and after[1] < 0.9 * before[1]
