"""Convolutional recurrent audio encoder."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.batch_norm import BatchNorm2d
from crossmodal.models.bilstm import BiLSTM
from crossmodal.models.cnn import ResidualBlock
from crossmodal.models.encoder import AudioEncoder, mask_padding
from crossmodal.models.pooling import PoolingName, create_pooling
from crossmodal.transforms import length_mask


class CRNNEncoder(AudioEncoder):
    """Residual blocks over the plane of features and audio frames, then a bidirectional LSTM over its columns.

    Keren & Schuller (IJCNN 2016) combine convolutions and a recurrent network in this way for speech emotion.

    Args:
        in_features: Number of features per audio frame.
        channels: Number of channels of the strided convolution and of each block after it; each halves the height.
        hidden_size: Width of the columns and of each direction of the LSTM.
        num_layers: Number of LSTM layers.
        subsampling: Number of audio frames per column, the stride of the first convolution.
        pooling: Name of the pooling over time.
        dropout: Fraction of activations dropped before each LSTM layer.

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
        self.lstm = BiLSTM(hidden_size, hidden_size, num_layers, dropout)
        self.pooling = create_pooling(pooling, 2 * hidden_size)
        self.out_features = self.pooling.out_features

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each step of a clip; shapes as for `AudioEncoder`."""
        plane = F.relu(self.norm(self.conv(mask_padding(features, length)[:, None])))
        length = (length + self.subsampling - 1) // self.subsampling
        plane = plane * length_mask(length, plane.shape[-1])[:, None, None]
        for block in self.blocks:
            plane, length = block(plane, length)
        columns = self.column(plane.permute(0, 3, 1, 2).flatten(2))
        return self.lstm(columns, length).transpose(1, 2), length
