"""The convolutional recurrent audio encoder: local patterns, then how they follow each other."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.batch_norm import BatchNorm2d
from crossmodal.models.both_ways_lstm import BothWaysLSTM
from crossmodal.models.cnn import ResidualBlock
from crossmodal.models.encoder import AudioEncoder, zero_padding
from crossmodal.models.pooling import PoolingName, create_pooling
from crossmodal.transforms import length_mask


class CRNNEncoder(AudioEncoder):
    """Residual blocks over the plane of features and audio frames, then an LSTM both ways over its columns.

    Convolutions and a recurrent network, as Keren & Schuller (IJCNN 2016) have them for speech emotion.

    Args:
        in_features: Number of features per audio frame.
        channels: Number of channels of the strided convolution and of each block after it; each halves the height.
        hidden_size: Width of the columns and of each direction of the LSTM.
        num_layers: Number of LSTM layers.
        subsampling: How many audio frames the strided convolution makes into one column.
        pooling: How the LSTM's outputs over time become one vector.
        dropout: Share of activations dropped before each LSTM layer.

    Example:
        >>> import torch
        >>> encoder = CRNNEncoder(in_features=40, hidden_size=64, pooling="mean")
        >>> encoder(torch.randn(2, 40, 300), length=torch.tensor([300, 120])).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        in_features: int,
        channels: Sequence[int] = (16, 16, 32),
        hidden_size: int = 64,
        num_layers: int = 1,
        subsampling: int = 4,
        pooling: PoolingName = "mean",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.conv = nn.Conv2d(
            1,
            channels[0],
            kernel_size=(3, 2 * subsampling - 1),
            stride=(2, subsampling),
            padding=(1, subsampling - 1),
            bias=False,
        )
        self.norm = BatchNorm2d(channels[0])
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, time_stride=1) for inputs, outputs in pairwise(channels)
        )
        height = math.ceil(in_features / 2 ** len(channels))
        self.column = nn.Sequential(nn.Linear(channels[-1] * height, hidden_size), nn.LayerNorm(hidden_size), nn.ReLU())
        self.lstm = BothWaysLSTM(hidden_size, hidden_size, num_layers, dropout)
        self.pooling = create_pooling(pooling, 2 * hidden_size)
        self.out_features = self.pooling.out_features

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each part of a clip; shapes as for `AudioEncoder`."""
        plane = F.relu(self.norm(self.conv(zero_padding(features, length)[:, None])))
        length = (length + self.subsampling - 1) // self.subsampling
        plane = plane * length_mask(length, plane.shape[-1])[:, None, None]
        for block in self.blocks:
            plane, length = block(plane, length)
        columns = self.column(plane.permute(0, 3, 1, 2).flatten(2))
        return self.lstm(columns, length).transpose(1, 2), length
