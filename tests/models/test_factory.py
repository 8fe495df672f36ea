from typing import get_args

import pytest

from crossmodal.errors import ConfigError
from crossmodal.models import (
    AudioEncoderName,
    FrontEndName,
    LSTMEncoder,
    create_audio_encoder,
    create_front_end,
    list_audio_encoders,
    list_front_ends,
)
from crossmodal.transforms import MFCC


def test_the_literals_name_what_there_is():
    assert sorted(get_args(AudioEncoderName)) == list_audio_encoders()
    assert sorted(get_args(FrontEndName)) == list_front_ends()


def test_arguments_arrive_and_none_means_the_default():
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
        (
            lambda: create_audio_encoder("ltsm", 40),
            r"audio encoder 'ltsm'. Known: cnn, crnn, .*, transformer. Did you mean 'lstm'",
        ),
        (lambda: create_front_end("mfc"), r"front end 'mfc'. Known: both, lmfb, mfcc, ssl. Did you mean 'mfcc'"),
        (
            lambda: create_audio_encoder("lstm", 40, hiden_size=3),
            r"'lstm' takes no argument 'hiden_size'. Accepted: hidden_size, .*Did you mean 'hidden_size'",
        ),
        (lambda: create_front_end("lmfb", n_mfcc=13), r"'lmfb' takes no argument 'n_mfcc'. Accepted: n_fft"),
    ],
)
def test_a_mistyped_word_gets_the_words_that_there_are(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_none_is_the_default_where_it_is_no_value_and_a_value_where_it_is():
    front_end = create_front_end("mfcc", n_mfcc=None, silence_db=None)
    assert front_end.num_features == 40
    assert front_end.silence_db is None
    assert create_front_end("mfcc").silence_db == 30.0
