"""How Toy learns: each image from its partner's content and its own style. Copy to solvers/toy.py."""

from models.toy import Toy
from torch import Tensor

from dataloader.dataset import Batch
from solvers.solver import Solver


class ToySolver(Solver):
    def build(self) -> None:
        if not self.test_set.paired:
            raise ValueError("Toy learns from pairs, which this data set does not have")
        toy = Toy(self.test_set.domains, **self.config.network.model_dump())
        self.model = self.networks["toy"] = self.place(toy)
        self.optimizers["all"] = self.adam(toy.parameters())

    def train_step(self, batch: Batch, iteration: int) -> dict[str, Tensor]:
        losses = {}
        for domain, image in enumerate(batch.images):
            with self.autocast():
                content = self.model.encode_content(batch.images[1 - domain], 1 - domain)
                style = self.model.encode_style(image, domain)
                made = self.model.decode(content, style, domain)
            losses[f"rec_{domain}"] = (made.float() - image).abs().mean()
            losses[f"style_{domain}"] = self.training.style_weight * style.float().square().mean()
        self.update(sum(losses.values()), "all")
        return {name: loss.detach() for name, loss in losses.items()}
