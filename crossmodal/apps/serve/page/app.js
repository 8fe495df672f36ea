import { LiveStream, describeModel, predict, setToken } from "./api.js";
import { element } from "./drawing.js";
import { clearLive, showReason, showWindow } from "./live.js";
import { seconds, summarize } from "./numbers.js";
import { MicrophoneError, startRecording } from "./recorder.js";
import { asJson, showResult } from "./result.js";

const find = (selector) => document.querySelector(selector);
const note = (selector, text) => Object.assign(find(selector), { hidden: !text, textContent: text });
const record = find("#record");
let server = null; // the response of /v1/model
let latest = 0; // number of the latest recording
let result = null, recording = null, starting = false;

function say(text, busy = false) {
  find("#status").textContent = text;
  find("#status").classList.toggle("busy", busy);
}

function fail(text) {
  say("");
  note("#error", text);
}

async function start() {
  try {
    server = await describeModel();
  } catch (error) {
    find("#token-error").textContent = find("#token").value ? "This token is wrong." : "";
    if (error.status !== 401) return find("#token-form").before(element("p", "note warning", `Error: ${error.message}.`));
    find("#token-form").hidden = false;
    return find("#token").focus();
  }
  const { limits, control, versions } = server, differences = control?.differences.join(", ");
  const time = limits.timeline_seconds >= 120 ? `${limits.timeline_seconds / 60} minutes` : `${limits.timeline_seconds} seconds`;
  find("#limits").textContent = `Any sound or video, up to ${time} and ${limits.upload_bytes / 1e6}\u00a0MB`;
  find("#about").textContent = `Recognizes ${server.labels.join(", ")}.`;
  find("#version").textContent = `crossmodal ${versions.crossmodal}`;
  note("#warning", server.warning);
  note("#differences", differences && `The control also differs from the model in ${differences}, so a different result need not come from the teacher.`);
  find("#token-form").hidden = true;
  find("main").hidden = false;
  say("While you record, the emotion is shown live.");
}

function about({ front_end, encoder, trained_on: { corpus, channel, speaker_dependent } }) {
  const data = { synthetic: "the synthetic corpus, so its results say nothing about people", ravdess: `RAVDESS ${channel ?? ""}`.trim() };
  const warning = speaker_dependent ? " Evaluated on speakers that it was trained on." : "";
  return `${front_end}, ${encoder}; trained on ${data[corpus] ?? "other data"}.${warning}`;
}

async function recognize(file, role) {
  const timeline = await predict(file, role, true);
  const prediction = timeline.duration <= server.limits.seconds ? await predict(file, role, false) : null;
  return { role, prediction, timeline, colours: server.colours, about: about(role === "control" ? server.control : server) };
}

async function submit(file) {
  const number = ++latest;
  fail("");
  find("#result").hidden = true;
  if (file.size > server.limits.upload_bytes) return fail(`${file.name} is larger than ${server.limits.upload_bytes / 1e6} MB.`);
  say(`Analysing ${file.name} …`, true);
  try {
    const roles = server.control ? ["model", "control"] : ["model"];
    const models = await Promise.all(roles.map((role) => recognize(file, role)));
    if (number !== latest) return;
    result = { file, duration: models[0].timeline.duration, models };
    say(`${file.name}, ${seconds(result.duration)}: ${models.map((model) => `the ${model.role} says ${summarize(model)[0]}`).join(", ")}.`);
    note("#unread", models[0].timeline.warning);
    await showResult(result);
  } catch (error) {
    if (number === latest) fail(`${file.name}: ${error.message}.`);
  }
}

async function startLive() {
  let live = null, samples = 0, most = Infinity;
  const chunk = (data) => {
    live?.send(data);
    samples += data.length;
    const power = data.reduce((sum, sample) => sum + (sample / 32768) ** 2, 0) / data.length;
    record.style.setProperty("--level", Math.max(0, 1 + Math.log10(power + 1e-9) / 6)); // 0 is -60 dB
    if (recording) record.querySelector("span").textContent = `Stop (${Math.floor(samples / recording.sampleRate)} s)`;
    if (recording && samples + data.length > most) stopLive();
  };
  const microphone = await startRecording(chunk);
  const { timeline_seconds, upload_bytes } = server.limits;
  most = Math.min(timeline_seconds * microphone.sampleRate, (upload_bytes - 44) / 2);
  live = new LiveStream(microphone.sampleRate, (window) => showWindow(window, server.colours), showReason);
  recording = { ...microphone, live };
  record.setAttribute("aria-pressed", "true");
  record.querySelector("span").textContent = "Stop (0 s)";
  find("#result").hidden = true;
  clearLive(server);
  find("#live").hidden = false;
  say("Recording. Press the button again to stop.");
}

function stopLive() {
  const { live, stop } = recording;
  recording = null;
  live.close();
  find("#live").hidden = true;
  record.setAttribute("aria-pressed", "false");
  record.style.removeProperty("--level");
  record.querySelector("span").textContent = "Record";
  submit(stop());
}

async function toggleRecording() {
  if (recording) return stopLive();
  if (starting) return;
  starting = true;
  latest++;
  fail("");
  try {
    await startLive();
  } catch (error) {
    fail(error instanceof MicrophoneError ? error.message : `Recording failed: ${error.message}`);
  }
  starting = false;
}

function download() {
  const link = element("a");
  const content = asJson(result, find("#note").textContent, server.versions.crossmodal);
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  link.download = `${result.file.name.replace(/\.[^.]*$/, "").slice(0, 50)}.emotions.json`;
  link.click();
  URL.revokeObjectURL(link.href);
}

find("#file").addEventListener("change", ({ target }) => {
  if (target.files.length) submit(target.files[0]);
  target.value = ""; // the same file may be chosen again
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    find("#drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && server && event.dataTransfer.files.length) submit(event.dataTransfer.files[0]);
  });
}
record.addEventListener("click", toggleRecording);
find("#download").addEventListener("click", download);
find("#token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(find("#token").value.trim());
  start();
});
start();
