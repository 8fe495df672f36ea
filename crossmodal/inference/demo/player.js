// Moves the cursor with the sound and says what is heard there. Runs once, as gr.HTML's js_on_load: element, watch.
const result = () => element.querySelector(".cm-result");
const sound = () => element.querySelector("audio");
let curves = []; // of each model: edges, means, segments

function show() {
  if (!result()) return;
  const seconds = sound().currentTime, duration = Number(result().dataset.duration);
  result().style.setProperty("--at", Math.min(seconds / duration, 1));
  element.querySelectorAll(".cm-model").forEach((model, index) => {
    const { edges, means, segments } = curves[index];
    const cell = Math.max(0, Math.min(edges.findLastIndex((edge) => edge <= seconds), means.length - 1));
    const [, , label] = segments.find(([, end]) => seconds < end) ?? segments[segments.length - 1];
    model.querySelector(".cm-time").textContent = `${seconds.toFixed(1)} s`;
    model.querySelector(".cm-label").textContent = label;
    model.querySelectorAll(".cm-emotion").forEach((row, place) => {
      row.classList.toggle("cm-current", row.dataset.label === label);
      row.querySelector(".cm-value").textContent = `${(100 * means[cell][place]).toFixed(0)}\u00a0%`;
    });
  });
}

function follow() {
  show();
  if (sound() && !sound().paused) requestAnimationFrame(follow);
}

function seek(event) {
  const place = event.target.closest("[data-seek]"), track = event.target.closest(".cm-track");
  if (!place && !track) return;
  const box = track?.getBoundingClientRect();
  const share = place ? 0 : Math.max(0, Math.min((event.clientX - box.left) / box.width, 1));
  sound().currentTime = place ? Number(place.dataset.seek) : share * Number(result().dataset.duration);
  if (place) sound().play();
}

element.addEventListener("play", follow, true); // such events do not bubble
element.addEventListener("seeking", show, true);
element.addEventListener("click", seek);
element.addEventListener("pointermove", (event) => event.buttons === 1 && event.target.closest(".cm-track") && seek(event));

watch("value", () => {
  const status = document.querySelector(".cm-status"), wrong = element.querySelector(".cm-error");
  status.textContent = wrong ? "" : (result()?.dataset.said ?? "");
  if (!result()) return;
  curves = [...element.querySelectorAll(".cm-model")].map((model) => JSON.parse(model.dataset.timeline));
  show();
});
