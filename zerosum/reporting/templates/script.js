"use strict";
// The page reads well without this: it turns strips of pictures into sliders, and charts into something to point at.
document.documentElement.classList.add("js");

for (const film of document.querySelectorAll(".film")) {
  const frames = [...film.querySelectorAll(".frame")];
  if (frames.length < 2) continue;
  const controls = film.querySelector(".controls");
  const [range, output, button] = ["input", "output", "button"].map((name) => controls.querySelector(name));
  let timer = 0;

  const show = (index) => {
    frames.forEach((frame, at) => frame.classList.toggle("now", at === index));
    range.value = index;
    range.setAttribute("aria-valuetext", frames[index].dataset.words);
    output.textContent = frames[index].dataset.words;
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const follow = () => {  // a link such as report.html#step-500
    const index = frames.findIndex((frame) => "#" + frame.id === location.hash);
    if (index >= 0) show(index);
  };

  range.addEventListener("input", () => { stop(); show(Number(range.value)); });
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(range.value) === frames.length - 1) show(0);
    button.textContent = "Pause";
    timer = setInterval(() => {
      const next = Number(range.value) + 1;
      if (next < frames.length) show(next); else stop();
    }, 600);
  });
  addEventListener("hashchange", follow);
  film.classList.add("live");
  controls.hidden = false;
  show(frames.length - 1);
  follow();
}

for (const plot of document.querySelectorAll(".plot")) {
  const lines = JSON.parse(plot.dataset.chart);
  const readout = plot.parentElement.querySelector(".readout");
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
  cursor.classList.add("cursor");

  plot.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse()).x;
    const nearest = lines.map((line) => line.points.reduce((best, point) =>
      Math.abs(point[1] - at) < Math.abs(best[1] - at) ? point : best));
    if (!nearest.length) return;
    cursor.setAttribute("d", `M${nearest[0][1]} 0V${plot.querySelector("svg").getAttribute("height")}`);
    plot.append(cursor);
    const values = lines.map((line, index) => `${line.name} ${nearest[index][2]}`);
    readout.textContent = `step ${nearest[0][0].toLocaleString("en")}: ${values.join(", ")}`;
  });
  plot.addEventListener("pointerleave", () => {
    cursor.remove();
    readout.textContent = "";
  });
}

// a link to a folded run opens it, and paper shows the whole recipe
const unfold = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", unfold);
unfold();
addEventListener("beforeprint", () => document.querySelectorAll("details.recipe").forEach((one) => { one.open = true; }));
