// Takes a file or records one, and hands it to Gradio. Runs once, as gr.HTML's js_on_load: element, props, trigger, upload.
const find = (selector) => element.querySelector(selector);
const file = find("input"), drop = find(".cm-drop"), button = find(".cm-record"), word = find(".cm-word"), status = find(".cm-status");
const { bytes, seconds } = element.querySelector(".cm-picker").dataset;
let recorder = null;

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("cm-error", wrong);
}

async function send(chosen) {
  if (chosen.size > Number(bytes)) return say(`${chosen.name} is larger than the ${bytes / 1e6} MB that this page takes.`, true);
  say(`Listening to ${chosen.name} …`);
  try {
    const { path } = await upload(chosen);
    props.value = { path, orig_name: chosen.name, size: chosen.size, meta: { _type: "gradio.FileData" } };
    trigger("submit");
  } catch {
    say(`${chosen.name} could not be sent: is the page's program still running?`, true);
  }
}

file.addEventListener("change", () => {
  if (file.files.length) send(file.files[0]);
  file.value = ""; // the same file may be chosen again
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("cm-over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
  });
}

button.addEventListener("click", () => (recorder ? recorder.stop() : record()));

async function record() {
  let sound;
  try {
    // As it is: what makes a call pleasant takes away what an emotion sounds like.
    sound = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch {
    const safe = window.isSecureContext ? "allow it in the browser, and see that one is plugged in" : "open the page on 127.0.0.1 or through https";
    return say(`There is no microphone to record from: ${safe}.`, true);
  }
  const parts = [], started = performance.now(), meter = new AudioContext(), ear = meter.createAnalyser();
  meter.createMediaStreamSource(sound).connect(ear);
  const samples = new Float32Array(ear.fftSize);
  recorder = new MediaRecorder(sound);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () => {
    const type = recorder.mimeType.split(";")[0];
    recorder = null;
    sound.getTracks().forEach((track) => track.stop());
    meter.close();
    button.setAttribute("aria-pressed", "false");
    button.style.removeProperty("--level");
    word.textContent = "Record";
    send(new File(parts, `microphone.${type.split("/")[1]}`, { type }));
  });
  recorder.start();
  button.setAttribute("aria-pressed", "true");
  say("Recording: speak, then press the button again.");
  (function tick() {
    if (!recorder || recorder.state !== "recording") return;
    const passed = (performance.now() - started) / 1000;
    if (passed > Number(seconds)) return recorder.stop();
    ear.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    button.style.setProperty("--level", Math.max(0, 1 + Math.log10(power + 1e-9) / 6)); // 0 is -60 dB
    word.textContent = `Stop (${passed.toFixed(0)} s)`;
    requestAnimationFrame(tick);
  })();
}
