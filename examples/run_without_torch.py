"""Run an exported model with numpy, onnxruntime and soundfile only; neither torch nor crossmodal is needed."""

import argparse
import json

import numpy as np
import onnxruntime
import soundfile


def main() -> None:
    """Read the arguments and print the probabilities of one recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model.onnx, written by crossmodal export")
    parser.add_argument("recording", help="an audio file at the sample rate of the model")
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(args.model)
    metadata = session.get_modelmeta().custom_metadata_map
    samples, sample_rate = soundfile.read(args.recording, dtype="float32", always_2d=True)
    if sample_rate != int(metadata["sample_rate"]):
        parser.error(f"resample {args.recording} from {sample_rate} to {metadata['sample_rate']} Hz")
    waveform = samples.mean(axis=1)[None]  # (batch, time), one channel
    inputs = {"waveform": waveform, "waveform_length": np.array([waveform.shape[1]])}
    probabilities = session.run(["probabilities"], inputs)[0][0]
    for label, probability in zip(json.loads(metadata["labels"]), probabilities, strict=True):
        print(f"{label}: {probability:.3f}")


if __name__ == "__main__":
    main()
