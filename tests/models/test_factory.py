import pytest

from crossmodal.errors import ConfigError
from crossmodal.models import LSTMEncoder, create_audio_encoder, create_front_end
from crossmodal.transforms import MFCC


def test_arguments_are_passed_on_and_none_means_the_default():
    encoder = create_audio_encoder("lstm", in_features=40, hidden_size=32, num_layers=None)
    assert isinstance(encoder, LSTMEncoder)
    assert encoder.out_features == 2 * 32
    assert len(encoder.lstm.layers) == len(LSTMEncoder(40).lstm.layers)
    front_end = create_front_end("mfcc", sample_rate=8000, n_mfcc=13)
    assert isinstance(front_end, MFCC)
    assert (front_end.num_features, front_end.sample_rate) == (13, 8000)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: create_audio_encoder("ltsm", 40), "'ltsm'.*cnn, crnn, .*, transformer.*'lstm'"),
        (lambda: create_front_end("mfc"), "'mfc'.*both, lmfb, mfcc, pretrained.*'mfcc'"),
        (lambda: create_audio_encoder("lstm", 40, hiden_size=3), "'lstm'.*'hiden_size'.*'hidden_size'"),
        (lambda: create_front_end("lmfb", n_mfcc=13), "'lmfb'.*'n_mfcc'.*n_fft"),
    ],
)
def test_a_typo_suggests_the_nearest_name(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
