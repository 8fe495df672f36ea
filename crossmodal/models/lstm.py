"""The recurrent audio encoder: how the voice moves through the clip."""

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.both_ways_lstm import BothWaysLSTM
from crossmodal.models.encoder import AudioEncoder, strided_convolution, zero_padding
from crossmodal.models.pooling import PoolingName, create_pooling


class LSTMEncoder(AudioEncoder):
    """A bidirectional LSTM (Hochreiter & Schmidhuber 1997) over features that a strided convolution has shortened.

    Args:
        in_features: Number of features per audio frame.
        hidden_size: Width of the convolution and of each direction of the LSTM.
        num_layers: Number of LSTM layers.
        subsampling: How many audio frames the convolution makes into one step. An LSTM takes its steps one after the
            other, so time per clip falls as this rises; emotion moves slower than the 10 ms of an audio frame.
        pooling: How the LSTM's outputs over time become one vector.
        dropout: Share of activations dropped before each LSTM layer.

    Example:
        >>> import torch
        >>> encoder = LSTMEncoder(in_features=40, hidden_size=128, pooling="mean")
        >>> encoder(torch.randn(2, 40, 300), length=torch.tensor([300, 120])).shape
        torch.Size([2, 256])
    """

    def __init__(
        self,
        in_features: int,
        hidden_size: int = 64,
        num_layers: int = 1,
        subsampling: int = 4,
        pooling: PoolingName = "mean",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.conv = strided_convolution(in_features, hidden_size, subsampling)
        self.norm = nn.LayerNorm(hidden_size)
        self.lstm = BothWaysLSTM(hidden_size, hidden_size, num_layers, dropout)
        self.pooling = create_pooling(pooling, 2 * hidden_size)
        self.out_features = self.pooling.out_features

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each part of a clip; shapes as for `AudioEncoder`."""
        steps = self.conv(zero_padding(features, length)).transpose(1, 2)
        length = (length + self.subsampling - 1) // self.subsampling
        outputs = self.lstm(F.gelu(self.norm(steps)), length)
        return outputs.transpose(1, 2), length
