// The public interface of the server. Paths are relative, so the page also works behind a prefix.
let token = sessionStorage.getItem("token") ?? "";

export function setToken(value) {
  token = value;
  sessionStorage.setItem("token", value);
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  } catch {
    throw new Error("the server does not answer");
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw Object.assign(new Error(body.error?.reason ?? `the server answered with status ${response.status}`), {
    status: response.status,
  });
}

export const describeModel = () => request("v1/model");

export const predict = (file, model, timeline) =>
  request(`v1/predict?model=${model}&timeline=${timeline}`, { method: "POST", body: file });

// Sends 16-bit samples; calls onWindow for each window, and onError with a reason.
export class LiveStream {
  constructor(sampleRate, onWindow, onError) {
    const url = new URL("v1/stream", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.socket = new WebSocket(url);
    this.socket.onopen = () => this.socket.send(JSON.stringify({ sample_rate: sampleRate, format: "int16", token }));
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.error) onError(message.error.reason);
      else if (message.label) onWindow(message);
    };
    this.socket.onerror = () => onError("the connection failed");
  }

  send(chunk) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(chunk);
  }

  close() {
    this.socket.onmessage = this.socket.onerror = null;
    this.socket.close();
  }
}
