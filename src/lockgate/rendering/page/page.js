"use strict";
// The page is complete without this script. It adds the theme switch, sortable columns and the reading of curves.

const theme = document.querySelector(".theme");
const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`); };
theme.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; nameTheme(); });
theme.hidden = false;
nameTheme();

// What most readers need only sometimes is folded; where there is room for it, it is open from the start.
if (matchMedia("(min-width: 44rem)").matches) document.querySelectorAll("details[data-wide]").forEach((part) => { part.open = true; });

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
const openTarget = () => document.getElementById(location.hash.slice(1))?.querySelector("details")?.setAttribute("open", "");
addEventListener("hashchange", openTarget);
openTarget();

// Tables: each heading sorts up, then down, then restores the order that was given. What has no figure stays last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const given = [...body.rows];
  if (given.length < 2) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      body.append(...(next === "none" ? given : sorted(given, column, next === "descending" ? -1 : 1)));
    });
  });
}

function sorted(rows, column, direction) {
  const key = (row) => row.cells[column].dataset.key;
  const numeric = rows.every((row) => key(row) === undefined || (key(row) !== "" && !Number.isNaN(Number(key(row)))));
  const compare = numeric ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
  return [...rows].sort((a, b) => {
    if (key(a) === undefined || key(b) === undefined) return (key(a) === undefined) - (key(b) === undefined);
    return direction * compare(key(a), key(b));
  });
}

// Curves: a slider (arrow keys) or the pointer reads both lines off at one x; the legend hides a line.
for (const figure of document.querySelectorAll("figure[data-curve]")) {
  const { x, y, frame, xs, range, places, base, head } = JSON.parse(figure.querySelector("script").textContent);
  const plot = figure.querySelector(".plot");
  const slider = figure.querySelector("input");
  const output = figure.querySelector("output");
  const sides = Object.entries({ base, head }).filter(([, ys]) => ys.length > 0);
  const hidden = new Set();
  const px = (value) => frame.left + ((value - xs[0]) / (xs[1] - xs[0])) * frame.width;
  const py = (value) => frame.top + (1 - (value - range[0]) / (range[1] - range[0])) * frame.height;
  const sampled = sides[0][1].length - 1;
  const at = (step) => slider.dataset.low * 1 + ((slider.dataset.high - slider.dataset.low) * step) / sampled;

  const show = () => {
    const step = Number(slider.value);
    const cross = plot.querySelector(".cross");
    cross.setAttribute("x1", px(at(step)));
    cross.setAttribute("x2", px(at(step)));
    const said = [];
    for (const [side, ys] of sides) {
      const dot = plot.querySelector(`.dot.${side}`);
      dot.setAttribute("cx", px(at(step)));
      dot.setAttribute("cy", py(ys[step]));
      if (!hidden.has(side)) said.push([side, ys[step].toFixed(places[1])]);
    }
    if (said.length === 2) said.push(["change", signed(head[step] - base[step], places[1])]);
    output.replaceChildren(`${x} ${at(step).toFixed(places[0])} → ${y} `, ...said.flatMap(([name, value], n) => [n ? ", " : "", `${name} `, strong(value)]));
    slider.setAttribute("aria-valuetext", output.textContent);
    plot.querySelector(".reading").removeAttribute("hidden");
  };
  slider.addEventListener("input", show);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
    const value = xs[0] + ((across - frame.left) / frame.width) * (xs[1] - xs[0]);
    const step = Math.round(((value - slider.dataset.low) / (slider.dataset.high - slider.dataset.low)) * sampled);
    slider.value = Math.min(sampled, Math.max(0, step));
    show();
  });
  for (const button of figure.querySelectorAll(".legend")) {
    button.addEventListener("click", () => {
      const { side } = button.dataset;
      const off = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!off));
      figure.classList.toggle(`without-${side}`, off);
      if (off) hidden.add(side); else hidden.delete(side);
      show();
    });
    button.disabled = false;
  }
  slider.hidden = false;
  output.hidden = false;
  show();
}

function strong(text) {
  const bold = document.createElement("b");
  bold.textContent = text;
  return bold;
}

function signed(value, places) {
  const digits = Math.abs(value).toFixed(places);
  return Number(digits) === 0 ? digits : (value < 0 ? "−" : "+") + digits;
}
