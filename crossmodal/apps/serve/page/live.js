// The live panel: a bar for each emotion, and the labels of the last 30 seconds.
import { element, emotionRow, part } from "./drawing.js";
import { percent } from "./numbers.js";

const panel = document.querySelector("#live");

export function clearLive({ labels, colours }) {
  const rows = labels.map((label) => emotionRow(label, colours[label], element("div", "bar")));
  panel.querySelector(".rows").replaceChildren(...rows);
  panel.querySelector(".history").replaceChildren();
  panel.querySelector(".now").textContent = "The first result takes 3 seconds.";
}

export function showWindow({ label, score, probabilities }, colours) {
  panel.querySelector(".now").replaceChildren(element("strong", "", label), label === "silence" ? "" : ` ${percent(score)}`);
  for (const line of panel.querySelector(".rows").children) {
    const share = probabilities[line.dataset.label] ?? 0;
    line.querySelector(".bar").style.setProperty("--value", share);
    line.querySelector(".aside").textContent = percent(share);
    line.classList.toggle("current", line.dataset.label === label);
  }
  let last = panel.querySelector(".history").lastElementChild;
  if (last?.title !== label) {
    last = part(label, colours[label], label);
    panel.querySelector(".history").append(last);
  }
  last.style.setProperty("--count", Number(last.style.getPropertyValue("--count")) + 1);
}

export function showReason(reason) {
  panel.querySelector(".now").textContent = `No live results: ${reason}.`;
}
