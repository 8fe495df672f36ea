// Records the microphone as 16-bit PCM.
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // filters change the emotion

export class MicrophoneError extends Error {}

export async function startRecording(onChunk) {
  const stream = await openMicrophone();
  const context = new AudioContext();
  await context.audioWorklet.addModule("page/worklet.js");
  const node = new AudioWorkletNode(context, "recorder", { channelCount: 1, channelCountMode: "explicit" });
  const chunks = [];
  node.port.onmessage = ({ data }) => {
    chunks.push(data);
    onChunk(data);
  };
  context.createMediaStreamSource(stream).connect(node).connect(context.destination); // the node's output is silent
  return {
    sampleRate: context.sampleRate,
    stop() {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      return new File([wavHeader(chunks, context.sampleRate), ...chunks], "microphone.wav", { type: "audio/wav" });
    },
  };
}

async function openMicrophone() {
  if (!navigator.mediaDevices) throw new MicrophoneError("A browser records only on 127.0.0.1 or over https.");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: RAW });
  } catch {
    throw new MicrophoneError("There is no microphone, or the browser does not allow its use.");
  }
}

// 16-bit PCM, one channel; little-endian, like the samples on every platform with a browser.
function wavHeader(chunks, sampleRate) {
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const [riff, wave, fmt, data] = [0x46464952, 0x45564157, 0x20746d66, 0x61746164];
  const format = [16, 0x00010001, sampleRate, 2 * sampleRate, 0x00100002]; // size, PCM and channels, rates, sizes
  return new Uint32Array([riff, 36 + bytes, wave, fmt, ...format, data, bytes]);
}
