import json
from html.parser import HTMLParser

from configs.load import validate
from solvers.run.folder import RunFolder, find_run, new_run
from solvers.visualization.page import MOST_POINTS, curves, write_pages


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images += [
                value for name, value in attributes if name == "src"
            ]  # a click gives the dialog's its


def parse(path) -> Links:
    links = Links()
    links.feed(path.read_text())
    return links


def text_of(run: RunFolder, start: str, end: str) -> str:
    return (run.root / "index.html").read_text().split(start)[1].split(end)[0]


def test_the_page_links_every_picture_by_a_relative_path_and_needs_no_server(experiment, tmp_path):
    config = validate({**experiment, "id": "a & <b> id".replace("<", "(").replace(">", ")")}, "test")
    run = RunFolder(tmp_path / "run")
    run.create(config, {})
    for iteration in (10, 20):
        (run.sample_folder(iteration) / "x_to_y.png").write_bytes(b"png")
        run.append_metrics({"iteration": iteration, "total": 1.0 / iteration, "lr": 0.1})
    (run.results / "grid.png").write_bytes(b"png")
    (run.results / "metrics.json").write_text(
        json.dumps({"iteration": 20, "retrieval/shared/x_to_y": 0.98765})
    )
    write_pages(run, config)
    page, results = parse(run.root / "index.html"), parse(run.results / "index.html")
    assert page.images == ["results/grid.png", "samples/000020/x_to_y.png"]
    every = json.loads(text_of(run, '<script type="application/json" id="all">', "</script>"))
    assert every == [[n, {"x to y": f"samples/{n:06}/x_to_y.png"}] for n in (10, 20)]
    links = [*page.images, *(link for _, links in every for link in links.values())]
    assert all((run.root / link).exists() for link in links)
    assert results.images == ["grid.png"]
    text = (run.root / "index.html").read_text()
    assert "0.9877" in text and "a &amp; (b) id" in text
    assert page.tags.count("svg") == 1
    assert page.tags.count("link") == 1 and 'href="data:,"' in text and "http" not in text


def test_curves_are_thinned_and_end_at_the_last_row():
    rows = [{"iteration": i, "total": 1000.0 - i, "lr": 0.1} for i in range(1, 2001)]
    (chart,) = curves(rows)
    points = chart["path"].split()
    assert len(points) <= MOST_POINTS + 1
    assert (chart["first"], chart["last"], chart["now"]) == (1, 2000, -1000.0)
    assert points[-1].startswith("260.0,110.0")


def test_a_half_written_last_line_of_metrics_is_passed_over(tmp_path):
    run = RunFolder(tmp_path)
    run.logs.mkdir()
    run.append_metrics({"iteration": 5, "total": 1.0})
    with run.metrics.open("a") as file:
        file.write('{"iteration": 10, "tot')
    assert run.read_metrics() == [{"iteration": 5, "total": 1.0}]
    run.forget_after(3)
    assert run.read_metrics() == []


def test_two_runs_of_one_second_get_folders_of_their_own_and_the_newest_is_found(experiment):
    config = validate(experiment, "test")
    assert find_run(config) is None
    made = []
    for _ in range(3):
        run = new_run(config)
        run.create(config, {})
        made.append(run.root)
    assert len(set(made)) == 3
    for root in made[:2]:
        (root / "models/000005-checkpoint.pt").write_bytes(b"")
    found = find_run(config)
    assert found is not None and found.root == made[1]
    assert find_run(validate({**experiment, "id": "other"}, "test")) is None
