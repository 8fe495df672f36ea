"""Convolutional and convolutional recurrent audio encoders, over the plane of features and audio frames."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.batch_norm import BatchNorm2d
from crossmodal.models.encoder import AudioEncoder, mask_padding
from crossmodal.models.lstm import BiLSTM
from crossmodal.models.pooling import PoolingName, create_pooling
from crossmodal.transforms import length_mask


class CNNEncoder(AudioEncoder):
    """A small residual network (He et al., CVPR 2016).

    Each block halves both sides of the plane. The last block's output at each time is projected to one column; columns
    are pooled over time.

    Args:
        channels: Number of channels of each block.
        hidden_size: Width of the columns.
        dropout: Fraction of activations dropped from the columns.
    """

    def __init__(
        self,
        in_features: int,
        channels: Sequence[int] = (16, 32, 64, 96),
        hidden_size: int = 128,
        pooling: PoolingName = "stats",
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(inputs, outputs) for inputs, outputs in pairwise([1, *channels]))
        self.column = nn.Sequential(*_column_layers(in_features, channels, hidden_size), nn.Dropout(dropout))
        self.pooling = create_pooling(pooling, hidden_size)

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each step of a clip; shapes as for `AudioEncoder`."""
        plane = mask_padding(features, length)[:, None]
        for block in self.blocks:
            plane, length = block(plane, length)
        columns = self.column(plane.permute(0, 3, 1, 2).flatten(2))
        return columns.transpose(1, 2), length


class CRNNEncoder(AudioEncoder):
    """Residual blocks, then a bidirectional LSTM over the columns of the plane.

    Keren & Schuller (IJCNN 2016) combine convolutions and a recurrent network in this way for speech emotion.

    Args:
        channels: Number of channels of the strided convolution and of each block after it; each halves the height.
        hidden_size: Width of the columns and of each direction of the LSTM.
        num_layers: Number of LSTM layers.
        subsampling: Number of audio frames per column, the stride of the first convolution.
        dropout: Fraction of activations dropped before each LSTM layer.
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
        kernel_size, padding = (3, 2 * subsampling - 1), (1, subsampling - 1)
        self.conv = nn.Conv2d(1, channels[0], kernel_size, (2, subsampling), padding, bias=False)
        self.norm = BatchNorm2d(channels[0])
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, time_stride=1) for inputs, outputs in pairwise(channels)
        )
        self.column = nn.Sequential(*_column_layers(in_features, channels, hidden_size))
        self.lstm = BiLSTM(hidden_size, hidden_size, num_layers, dropout)
        self.pooling = create_pooling(pooling, 2 * hidden_size)

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each step of a clip; shapes as for `AudioEncoder`."""
        plane = F.relu(self.norm(self.conv(mask_padding(features, length)[:, None])))
        length = (length + self.subsampling - 1) // self.subsampling
        plane = plane * length_mask(length, plane.shape[-1])[:, None, None]
        for block in self.blocks:
            plane, length = block(plane, length)
        columns = self.column(plane.permute(0, 3, 1, 2).flatten(2))
        return self.lstm(columns, length).transpose(1, 2), length


def _column_layers(in_features: int, channels: Sequence[int], hidden_size: int) -> list[nn.Module]:
    height = math.ceil(in_features / 2 ** len(channels))
    return [nn.Linear(channels[-1] * height, hidden_size), nn.LayerNorm(hidden_size), nn.ReLU()]


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; the first one halves the height and, by default, the time."""

    def __init__(self, in_channels: int, out_channels: int, time_stride: int = 2) -> None:
        super().__init__()
        self.time_stride = time_stride
        stride = (2, time_stride)
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.norm1 = BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm2 = BatchNorm2d(out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)

    def forward(self, plane: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Downsample a plane of shape (B, in_channels, height, audio frames), and its lengths."""
        length = (length + self.time_stride - 1) // self.time_stride
        inner = F.relu(self.norm1(self.conv1(plane)))
        # Normalization makes the padding non-zero, but a convolution pads with zeros. The padding is finite here, and
        # a product takes a fraction of the time of masked_fill.
        mask = length_mask(length, inner.shape[-1])[:, None, None]
        outer = F.relu(self.norm2(self.conv2(inner * mask)) + self.shortcut(plane))
        return outer * mask, length
