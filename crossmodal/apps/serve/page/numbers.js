// Computations on the server's responses.
export const percent = (share) => `${(100 * share).toFixed(0)}\u00a0%`;
export const seconds = (duration) => `${duration.toFixed(1)}\u00a0s`;

// The mean probabilities over time, as in crossmodal.inference.timeline: edges of N cells, and a row for each cell.
export function meansOverTime({ windows, labels }) {
  const edges = [...new Set(windows.flatMap(({ start, end }) => [start, end]))].sort((one, other) => one - other);
  const means = edges.slice(0, -1).map((start, cell) => {
    const covering = windows.filter((window) => window.start <= start && window.end >= edges[cell + 1]);
    if (covering.some(({ label }) => label === "silence")) return labels.map(() => 0);
    return labels.map((label) => covering.reduce((sum, { probabilities }) => sum + probabilities[label], 0) / covering.length);
  });
  return { edges, means };
}

export const labelAt = ({ segments }, time) => (segments.find(({ end }) => time < end) ?? segments.at(-1)).label;

// The share of the time over which two timelines have the same label.
export function agreement(one, other) {
  const bounds = [one, other].flatMap(({ segments }) => segments.flatMap(({ start, end }) => [start, end]));
  const edges = [...new Set(bounds)].sort((a, b) => a - b);
  const same = edges.slice(1).reduce((sum, end, cell) => {
    const middle = (edges[cell] + end) / 2;
    return sum + (labelAt(one, middle) === labelAt(other, middle) ? end - edges[cell] : 0);
  }, 0);
  return same / (edges.at(-1) - edges[0]);
}

export function summarize({ prediction, timeline }) {
  if (prediction?.label === "silence") return ["silence"];
  if (prediction) {
    const ranked = Object.entries(prediction.probabilities).sort((one, other) => other[1] - one[1]);
    return ranked.slice(0, 3).map(([label, share]) => `${label} ${percent(share)}`);
  }
  const times = {}; // the recording is too long for one label
  for (const { start, end, label } of timeline.segments) times[label] = (times[label] ?? 0) + end - start;
  const [label, time] = Object.entries(times).sort((one, other) => other[1] - one[1])[0];
  return [`${label}, ${percent(time / timeline.duration)} of the time`];
}

export function ticks(duration) {
  const steps = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600];
  const step = steps.find((size) => duration / size <= 6) ?? duration / 5;
  return Array.from({ length: Math.floor((0.97 * duration) / step) + 1 }, (_, place) => Number((place * step).toFixed(2)));
}

// Black or white, whichever has the higher contrast.
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((place) => (parseInt(colour.slice(place, place + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#111111" : "#ffffff";
}
