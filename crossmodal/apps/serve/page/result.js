// The result of one recording: it follows the sound while it plays.
import { axis, cursor, element, emotionRow, part, row, steps, waveform } from "./drawing.js";
import { agreement, labelAt, meansOverTime, percent, seconds, summarize } from "./numbers.js";

const section = document.querySelector("#result");
const audio = section.querySelector("audio");
const TITLES = { model: "Model", control: "Control" };
let shown = null; // { file, duration, models: [{ role, prediction, timeline, about, colours }] }

export async function showResult(result) {
  shown = result;
  const { file, duration, models } = result;
  section.querySelector("h2").replaceChildren(file.name, " ", element("small", "", seconds(duration)));
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(file);
  audio.hidden = false;
  document.querySelector("#unplayable").hidden = true;
  document.querySelector("#sound").replaceChildren();
  document.querySelector("#models").replaceChildren(...models.map((model) => modelCard(model, duration)));
  const note = document.querySelector("#agreement");
  note.hidden = models.length < 2;
  if (!note.hidden) note.textContent = `Model and control agree over ${percent(agreement(...models.map((model) => model.timeline)))} of the recording.`;
  section.hidden = false;
  follow();
  await drawSound(file, duration);
}

async function drawSound(file, duration) {
  try {
    const decoded = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await file.arrayBuffer());
    if (shown.file !== file) return;
    document.querySelector("#sound").replaceChildren(
      row("Sound", "waveform", [waveform(decoded.getChannelData(0), decoded.sampleRate, duration), cursor()]),
      axis(duration),
      element("p", "hint", "Click a picture to move the sound there."),
    );
  } catch {
    document.querySelector("#unplayable").hidden = shown.file !== file;
  }
}

function modelCard(model, duration) {
  const { role, timeline, about, colours } = model;
  const { edges, means } = (model.curves = meansOverTime(timeline));
  const [first, ...others] = summarize(model);
  const rows = timeline.labels.map((label, place) =>
    emotionRow(label, colours[label], [steps(edges, means.map((values) => values[place])), cursor()]),
  );
  const chart = element("div", "chart", row("Emotion", "segments", [...segments(model, duration), cursor()]), ...rows, axis(duration));
  const whole = element("p", "whole", "Overall ", element("strong", "", first), others.length ? `, then ${others.join(", ")}` : "");
  model.card = element("article", "card", element("h3", "", TITLES[role]), element("p", "about", about), whole,
    element("div", "", element("p", "now"), chart), list(timeline));
  return model.card;
}

const describe = ({ start, end, label, score }) =>
  `${start.toFixed(1)} to ${end.toFixed(1)} s: ${label}${label === "silence" ? "" : `, ${percent(score)}`}`;

function segments({ timeline, colours }, duration) {
  return timeline.segments.map((segment) => {
    const made = part(segment.label, colours[segment.label], describe(segment));
    made.style.left = `${(100 * segment.start) / duration}%`;
    made.style.width = `${(100 * (segment.end - segment.start)) / duration}%`;
    return made;
  });
}

function list(timeline) {
  const items = timeline.segments.map((segment) => {
    const button = element("button", "", describe(segment));
    button.type = "button";
    button.addEventListener("click", () => {
      seek(segment.start);
      if (!audio.hidden) audio.play();
    });
    return element("li", "", button);
  });
  return element("details", "", element("summary", "", "As a list"), element("ol", "", ...items));
}

function show(time) {
  section.style.setProperty("--at", Math.min(time / shown.duration, 1));
  for (const { card, timeline, curves } of shown.models) {
    const label = labelAt(timeline, time);
    const cell = Math.max(0, Math.min(curves.edges.findLastIndex((edge) => edge <= time), curves.means.length - 1));
    card.querySelector(".now").replaceChildren(`At ${seconds(time)}: `, element("strong", "", label));
    card.querySelectorAll(".emotion").forEach((line, place) => {
      line.classList.toggle("current", line.dataset.label === label);
      line.querySelector(".aside").textContent = percent(curves.means[cell][place]);
    });
  }
}

function follow() {
  if (!shown) return;
  show(audio.currentTime);
  if (!audio.paused) requestAnimationFrame(follow);
}

function seek(time) {
  if (audio.hidden) show(time);
  else audio.currentTime = time;
}

function seekTo(event) {
  const track = event.target.closest(".track");
  if (!track || track.closest(".axis")) return;
  const box = track.getBoundingClientRect();
  seek(Math.max(0, Math.min((event.clientX - box.left) / box.width, 1)) * shown.duration);
}

export function asJson({ file, duration, models }, note, version) {
  const found = models.map(({ role, prediction, timeline }) => ({ role, prediction, timeline }));
  const both = models.length === 2 ? { agreement: agreement(models[0].timeline, models[1].timeline) } : {};
  return { file: file.name, duration, models: found, ...both, note, crossmodal: version };
}

audio.addEventListener("error", () => (audio.hidden = true)); // the results are shown without sound
audio.addEventListener("play", follow);
audio.addEventListener("seeking", follow);
section.addEventListener("click", seekTo);
section.addEventListener("pointermove", (event) => event.buttons === 1 && seekTo(event));
