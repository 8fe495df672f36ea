// Elements and pictures. SVG paths have 1000 by 100 units and stretch to any width.
import { inkOn, percent, ticks } from "./numbers.js";

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

export function row(name, className, content, aside = "") {
  const track = element("div", "track", ...[content].flat());
  return element("div", `row ${className}`, element("span", "name", name), track, element("span", "aside", aside));
}

export function emotionRow(label, colour, content, value = 0) {
  const made = row(label, "emotion", content, percent(value));
  made.dataset.label = label;
  made.style.setProperty("--colour", colour);
  return made;
}

export const cursor = () => element("i", "cursor");

function picture(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"));
  svg.firstChild.setAttribute("d", path);
  return svg;
}

export function waveform(samples, sampleRate, duration) {
  const size = Math.max(1, Math.ceil(samples.length / 1000));
  const low = [], high = [], places = [];
  for (let first = 0; first < samples.length; first += size) {
    let [least, most] = [0, 0];
    for (const sample of samples.subarray(first, first + size)) {
      least = Math.min(least, sample);
      most = Math.max(most, sample);
    }
    low.push(least);
    high.push(most);
    places.push(Math.min(1000, (1000 * (first + size / 2)) / sampleRate / duration).toFixed(1));
  }
  const peak = Math.max(1e-9, ...high, ...low.map(Math.abs));
  const points = (values) => values.map((value, i) => `${places[i]} ${(50 * (1 - value / peak)).toFixed(1)}`);
  return picture(`M${[...points(high), ...points(low).reverse()].join(" L")}Z`);
}

export function steps(edges, values) {
  const span = edges.at(-1) - edges[0];
  const x = (edge) => ((1000 * (edge - edges[0])) / span).toFixed(1);
  return picture(`M0 100 ${values.map((value, i) => `V${(100 * (1 - value)).toFixed(1)} H${x(edges[i + 1])}`).join(" ")} V100Z`);
}

export function part(label, colour, title) {
  const made = element("span", label === "silence" ? "part silence" : "part", element("span", "", label));
  made.title = title;
  made.style.backgroundColor = colour;
  made.style.color = inkOn(colour);
  return made;
}

export function axis(duration) {
  const marks = ticks(duration).map((tick) => {
    const mark = element("span", "", String(tick));
    mark.style.left = `${(100 * tick) / duration}%`;
    return mark;
  });
  const made = row("", "axis", marks, "s");
  made.setAttribute("aria-hidden", "true");
  return made;
}
