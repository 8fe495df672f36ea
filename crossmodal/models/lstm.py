"""Recurrent audio encoder."""

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.bilstm import BiLSTM
from crossmodal.models.encoder import AudioEncoder, mask_padding, strided_convolution
from crossmodal.models.pooling import PoolingName, create_pooling


class LSTMEncoder(AudioEncoder):
    """A bidirectional LSTM (Hochreiter & Schmidhuber 1997) over features downsampled by a strided convolution.

    Args:
        in_features: Number of features per audio frame.
        hidden_size: Width of the convolution and of each direction of the LSTM.
        num_layers: Number of LSTM layers.
        subsampling: Number of audio frames per step, the stride of the convolution. An LSTM processes its steps in
            sequence, so higher values are faster; emotion changes more slowly than the 10 ms of an audio frame.
        pooling: Name of the pooling over time.
        dropout: Fraction of activations dropped before each LSTM layer.

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
        self.lstm = BiLSTM(hidden_size, hidden_size, num_layers, dropout)
        self.pooling = create_pooling(pooling, 2 * hidden_size)
        self.out_features = self.pooling.out_features

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each step of a clip; shapes as for `AudioEncoder`."""
        steps = self.conv(mask_padding(features, length)).transpose(1, 2)
        length = (length + self.subsampling - 1) // self.subsampling
        outputs = self.lstm(F.gelu(self.norm(steps)), length)
        return outputs.transpose(1, 2), length
