"""The run's page: its answers by hand, and what it does in a browser, where there is one."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import in_a_browser, opened
from PIL import Image

from configs.load import validate
from solvers.run.folder import RunFolder
from solvers.visualization.answers import answers
from solvers.visualization.page import changed, write_pages
from solvers.visualization.published import Published, published

QUESTION = "Does content find its partner?"
PROTOCOL = {
    "images": {"x": 20, "y": 20},
    "numbers": {
        "retrieval/": {"question": QUESTION, "words": "share found", "better": "higher", "perfect": 1.0}
        | {"chance": 0.05},
        "probe/": {"question": "What is known?", "words": "accuracy", "chance": 0.5, "perfect": 0.5},
        "kid/": {"question": "How real?", "words": "distance", "perfect": 0.0, "better": "lower"},
        "recall/": {"question": "How real?", "words": "share", "perfect": 1, "better": "higher"},
    },
    "left_out": {"modes": "the data know no modes"},
}
METRICS = {
    "iteration": 20,
    "retrieval/shared/x_to_y": 0.525,
    "probe/content/domain": 0.75,
    "kid/lite0/x_to_y": 2.0,
    "kid/lite0/real_y": 0.1,
    "recall/lite0/x_to_y": 0.25,
    "recall/lite0/real_y": 0.75,
}


def rows(**given: Published):
    found = answers(METRICS, PROTOCOL, given)
    return {row.key: row for kinds in found.values() for kind in kinds for row in kind.rows}


def test_a_bar_leads_from_ignorance_to_perfection():
    found = rows(**{"retrieval/shared/x_to_y": Published(0.981, "a paper")})
    one = found["retrieval/shared/x_to_y"].bar
    assert (one.start, one.end, one.done) == (0.05, 1, pytest.approx(50))
    assert one.marks == [("published", pytest.approx(98))]
    assert found["probe/content/domain"].bar.done == 50  # of the way from all told, 1, to chance
    assert found["kid/lite0/x_to_y"].bar is None  # how far it could go is not known
    assert found["recall/lite0/x_to_y"].bar.marks == [("real images", 75)]
    assert "50 % of the way from 0.05 to 1" in found["retrieval/shared/x_to_y"].spoken


def test_real_images_stand_beside_translations_and_not_on_lines_of_their_own():
    found = rows()
    assert found["kid/lite0/x_to_y"].real == 0.1 and not any("real_" in key for key in found)
    assert found["kid/lite0/x_to_y"].label == "lite0, x to y"


def test_published_numbers_change_sides_with_the_pairs(experiment):
    values = {**experiment, "dataset": "Pairs", "path_to_data": "data/facades"}
    ways = {}
    for direction in ("AtoB", "BtoA"):
        config = validate({**values, "data": {"direction": direction}}, "test")
        ways[direction] = {key: it.value for key, it in published(config).items()}
    assert ways["AtoB"]["retrieval/shared/x_to_y"] == ways["BtoA"]["retrieval/shared/y_to_x"] == 0.962


def test_what_differs_from_defaults_is_listed_with_the_default(experiment):
    config = validate({**experiment, "training": {**experiment["training"], "print_freq": 7}}, "test")
    found = {key: (value, default) for key, value, default, _ in changed(config)}
    usual = type(config.training).model_fields["print_freq"].default
    assert found["training.print_freq"] == ("7", json.dumps(usual))
    assert found["model"][1] == "" and "training.weight_decay" not in found


@pytest.fixture
def page(experiment, tmp_path) -> Path:
    """Of a run with three samples, one result that moves, a curve and numbers."""
    config = validate(experiment, "test")
    run = RunFolder(tmp_path / "run")
    run.create(config, {})
    for iteration in (10, 20, 30):
        picture = np.full((24, 40, 3), 8 * iteration, np.uint8)
        Image.fromarray(picture).save(run.sample_folder(iteration) / "x_to_y.png")
        run.append_metrics({"iteration": iteration, "total": 1.0 / iteration})
    frames = [Image.fromarray(np.full((24, 40, 3), shade, np.uint8)) for shade in (0, 250)]
    frames[0].save(run.results / "between.gif", save_all=True, append_images=frames[1:], duration=50)
    (run.results / "metrics.json").write_text(json.dumps({**METRICS, "protocol": PROTOCOL}))
    write_pages(run, config)
    return run.root / "index.html"


class Labelled(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.bare: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        given = dict(attributes)
        wanted = {"img": "alt", "svg": "aria-label", "nav": "aria-label", "dialog": "aria-label"}
        if (tag in wanted and wanted[tag] not in given) or (
            given.get("role") == "img" and "aria-label" not in given
        ):
            self.bare.append(tag)


def test_what_is_drawn_has_words_too(page):
    text = page.read_text()
    assert Labelled(text).bare == []
    assert '<label for="iteration">' in text and 'lang="en"' in text
    assert QUESTION in text and "the data know no modes" in text and "prefers-color-scheme: dark" in text


ACT = """
<script>
const did = { errors: [] };
addEventListener("error", event => did.errors.push(event.message || event.target.src), true);
console.error = (...words) => did.errors.push(words.join(" "));
addEventListener("DOMContentLoaded", () => {
  for (const image of document.querySelectorAll("figure img")) image.loading = "eager"; // load waits for it
});
addEventListener("load", () => {
  did.drawn = [...document.querySelectorAll("figure img")].every(image => image.naturalWidth);
  const shown = () => document.querySelector("#samples img").getAttribute("src");
  const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
  const slider = document.querySelector(".slider input");
  did.newest = shown();
  press("ArrowLeft"); did.left = shown();
  press("ArrowLeft"); press("ArrowLeft"); did.first = shown();
  press("ArrowRight"); did.right = shown();
  slider.value = 2; slider.dispatchEvent(new Event("input")); did.slid = shown();
  document.querySelector("#samples figure a").click();
  const zoomed = document.querySelector("dialog");
  did.zoomed = zoomed.open && zoomed.querySelector("img").src === document.querySelector("#samples img").src;
  zoomed.click(); did.closed = !zoomed.open;
  const line = document.querySelector(".chart svg"), box = line.getBoundingClientRect();
  line.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + 1, clientY: box.top + 1 }));
  did.told = document.querySelector(".chart output").textContent;
  did.covered = document.querySelectorAll("img.moving + canvas").length;
  did.wide = document.documentElement.scrollWidth - innerWidth;
  did.asked = performance.getEntriesByType("resource").map(one => one.name);
  document.title = JSON.stringify(did);
});
</script>
"""


@in_a_browser
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser_keys_slider_zoom_and_curves_work_and_nothing_leaves_the_disk(page, tmp_path, width):
    acted = page.with_name("acted.html")
    acted.write_text(page.read_text().replace("<head>", "<head>" + ACT, 1))
    made = opened(acted, tmp_path / "profile", width)
    title = re.search(r"<title>(.*?)</title>", made, re.DOTALL)[1]
    did = json.loads(title.replace("&amp;", "&"))
    assert did.pop("errors") == []
    assert all(name.startswith(("file:", "data:")) for name in did.pop("asked"))
    assert did.pop("wide") <= 0  # nothing to scroll sideways to
    sample = "samples/0000{}/x_to_y.png".format
    assert did == {
        **{"newest": sample(30), "left": sample(20), "first": sample(10), "right": sample(20)},
        **{
            "slid": sample(30),
            "zoomed": True,
            "closed": True,
            "told": "0.1 at 10",
            "covered": 1,
            "drawn": True,
        },
    }
