// Passes the microphone's samples to the page as 16-bit integers.
class Recorder extends AudioWorkletProcessor {
  chunk = new Int16Array(4096);
  filled = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.chunk[this.filled++] = 32767 * Math.max(-1, Math.min(sample, 1));
      if (this.filled === this.chunk.length) {
        this.port.postMessage(this.chunk, [this.chunk.buffer]);
        this.chunk = new Int16Array(4096);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
