const every = (selector, todo) => document.querySelectorAll(selector).forEach(todo);
const zoomed = document.querySelector("dialog");
let enlarged = null; // the figure that the dialog shows

function enlarge(figure) {
  enlarged = figure;
  zoomed.querySelector("img").src = figure.querySelector("img").src;
  zoomed.querySelector("img").alt = figure.querySelector("img").alt;
  zoomed.querySelector("p").textContent = figure.querySelector("img").alt;
  if (!zoomed.open) zoomed.showModal();
}
every("figure a", link => link.addEventListener("click", event => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  enlarge(link.closest("figure"));
}));
zoomed.addEventListener("click", () => zoomed.close());
zoomed.addEventListener("close", () => { enlarged = null; });

// Samples: one figure for each grid, and a slider through its iterations
const slider = document.querySelector(".slider input");
if (slider) {
  const samples = JSON.parse(document.getElementById("all").textContent);
  const show = () => {
    const [iteration, links] = samples[slider.value], words = `iteration ${iteration.toLocaleString("en")}`;
    document.querySelector(".slider output").textContent = iteration.toLocaleString("en");
    slider.setAttribute("aria-valuetext", words);
    every("#samples figure", figure => {
      const name = figure.dataset.name, image = figure.querySelector("img");
      figure.hidden = !(name in links);
      if (figure.hidden) return;
      image.src = figure.querySelector("a").href = links[name];
      image.alt = `${name}, ${words}`;
      if (figure === enlarged) enlarge(figure);
    });
  };
  slider.addEventListener("input", show);
  document.addEventListener("keydown", event => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target === slider || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    slider.value = +slider.value + step;
    show();
  });
  slider.value = samples.length - 1; // browsers remember where it stood
  show();
}

// What moves is covered with its first picture, until the pointer is on it
every("img.moving", image => {
  const cover = () => {
    const still = document.createElement("canvas");
    [still.width, still.height] = [image.naturalWidth, image.naturalHeight];
    still.getContext("2d").drawImage(image, 0, 0);
    image.after(still);
  };
  image.complete && image.naturalWidth ? cover() : image.addEventListener("load", cover, { once: true });
});

// Curves say their values where the pointer is
every(".chart", chart => {
  const svg = chart.querySelector("svg"), line = svg.querySelector("polyline"), dot = svg.querySelector("circle");
  const told = chart.querySelector("output"), before = told.textContent, values = line.dataset.values.split(" ");
  svg.addEventListener("pointermove", event => {
    const x = new DOMPoint(event.clientX, 0).matrixTransform(svg.getScreenCTM().inverse()).x;
    const points = [...line.points], away = points.map(point => Math.abs(point.x - x));
    const nearest = away.indexOf(Math.min(...away)), [iteration, value] = values[nearest].split(":");
    dot.setAttribute("cx", points[nearest].x);
    dot.setAttribute("cy", points[nearest].y);
    dot.removeAttribute("visibility");
    told.textContent = `${value} at ${(+iteration).toLocaleString("en")}`;
  });
  svg.addEventListener("pointerleave", () => {
    dot.setAttribute("visibility", "hidden");
    told.textContent = before;
  });
});

// Paper shows all
const closed = [];
addEventListener("beforeprint", () => every("details:not([open])", one => { closed.push(one); one.open = true; }));
addEventListener("afterprint", () => { closed.splice(0).forEach(one => { one.open = false; }); });
