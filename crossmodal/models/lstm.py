"""Recurrent audio encoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.models.encoder import AudioEncoder, StridedConv1d
from crossmodal.models.pooling import PoolingName, create_pooling


class LSTMEncoder(AudioEncoder):
    """A bidirectional LSTM (Hochreiter & Schmidhuber 1997) over features downsampled by a strided convolution.

    Args:
        hidden_size: Width of the convolution and of each direction of the LSTM.
        num_layers: Number of LSTM layers.
        subsampling: Number of audio frames per step, the stride of the convolution. An LSTM processes its steps in
            sequence, so higher values are faster.
        dropout: Fraction of activations dropped before each LSTM layer.
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
        self.conv = StridedConv1d(in_features, hidden_size, subsampling)
        self.norm = nn.LayerNorm(hidden_size)
        self.lstm = BiLSTM(hidden_size, hidden_size, num_layers, dropout)
        self.pooling = create_pooling(pooling, 2 * hidden_size)

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each step of a clip; shapes as for `AudioEncoder`."""
        steps, length = self.conv(features, length)
        outputs = self.lstm(F.gelu(self.norm(steps.transpose(1, 2))), length)
        return outputs.transpose(1, 2), length


class BiLSTM(nn.Module):
    """Bidirectional LSTM for padded clips, with dropout before each layer."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(_BiLSTMLayer(size, hidden_size) for size in sizes)

    def forward(self, steps: Tensor, length: Tensor) -> Tensor:
        """Encode (B, steps, input_size) to (B, steps, 2 * hidden_size), undefined beyond each clip's length, (B,)."""
        for layer in self.layers:
            steps = layer(self.dropout(steps), length)
        return steps


class _BiLSTMLayer(nn.Module):
    """Bidirectional layer that reverses each clip for the backward direction, so that padding is never its start."""

    # On a CPU this takes half the time of a packed sequence, and it can be exported with any number of steps.

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.backwards = nn.LSTM(input_size, hidden_size, batch_first=True)

    def forward(self, steps: Tensor, length: Tensor) -> Tensor:
        position = torch.arange(steps.shape[1], device=steps.device)
        reverse = length[:, None] - 1 - position
        reverse = torch.where(reverse < 0, position, reverse)[..., None]
        backwards, _ = self.backwards(steps.gather(1, reverse.expand(-1, -1, steps.shape[2])))
        backwards = backwards.gather(1, reverse.expand(-1, -1, backwards.shape[2]))
        return torch.cat([self.forwards(steps)[0], backwards], dim=2)
