"""`crossmodal serve` with a model that is quick to load: ``python -m tests.apps.serve.fake_server SECONDS ...``.

SECONDS is how long a batch takes; the rest are arguments of the command.
"""

import sys
import time

from crossmodal.cli.main import main
from crossmodal.inference.recognizer import EmotionRecognizer
from tests.inference.fake_model import fake_recognizer


def slow_recognizer(model, **options):
    recognizer = fake_recognizer()
    predict = recognizer.predict_batch
    recognizer.predict_batch = lambda waveforms: time.sleep(float(sys.argv[1])) or predict(waveforms)
    return recognizer


if __name__ == "__main__":
    EmotionRecognizer.from_pretrained = staticmethod(slow_recognizer)
    status = main(["serve", "fake", "--port", "0", *sys.argv[2:]])
    assert "torch" not in sys.modules
    sys.exit(status)
