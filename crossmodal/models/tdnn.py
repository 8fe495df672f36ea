"""The time-delay audio encoder: convolutions over time that look further with every layer."""

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.batch_norm import OwnFramesBatchNorm
from crossmodal.models.encoder import AudioEncoder, strided_convolution, zero_padding
from crossmodal.models.pooling import PoolingName, create_pooling
from crossmodal.transforms import length_mask


class TDNNEncoder(AudioEncoder):
    """A time-delay neural network (Waibel et al. 1989), as in x-vectors (Snyder et al., ICASSP 2018), with shortcuts.

    A strided convolution shortens the features; dilated convolutions follow, each beside a shortcut (He et al., CVPR
    2016), and each sees twice as far as the one before.

    Args:
        in_features: Number of features per audio frame.
        hidden_size: Number of channels.
        num_layers: Number of dilated convolutions; the dilations are 1, 2, 4 and so on.
        kernel_size: Taps of each, an odd number.
        subsampling: How many audio frames the strided convolution makes into one step.
        pooling: How the steps become one vector.
        dropout: Share of channels dropped after each convolution, for the whole clip (Tompson et al., CVPR 2015):
            neighbours in time say nearly the same, so a single one that is missing hides little.

    Raises:
        ConfigError: ``kernel_size`` is even.

    Example:
        >>> import torch
        >>> encoder = TDNNEncoder(in_features=40, hidden_size=128, pooling="stats")
        >>> encoder(torch.randn(2, 40, 300), length=torch.tensor([300, 120])).shape
        torch.Size([2, 256])
    """

    def __init__(
        self,
        in_features: int,
        hidden_size: int = 128,
        num_layers: int = 4,
        kernel_size: int = 3,
        subsampling: int = 4,
        pooling: PoolingName = "stats",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ConfigError(
                f"kernel_size must be odd, so that a step is the middle of what it sees; got {kernel_size}."
            )
        self.subsampling = subsampling
        self.conv = strided_convolution(in_features, hidden_size, subsampling)
        self.norm = OwnFramesBatchNorm(hidden_size)
        self.dropout = nn.Dropout1d(dropout)
        self.blocks = nn.ModuleList(
            _DilatedBlock(hidden_size, kernel_size, dilation=2**layer, dropout=dropout) for layer in range(num_layers)
        )
        self.pooling = create_pooling(pooling, hidden_size)
        self.out_features = self.pooling.out_features

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each part of a clip; shapes as for `AudioEncoder`."""
        steps = self.conv(zero_padding(features, length))
        length = (length + self.subsampling - 1) // self.subsampling
        own = length_mask(length, steps.shape[-1])
        steps = self.dropout(F.relu(self.norm(steps, own)))
        for block in self.blocks:
            steps = block(steps, own)
        return steps, length


class _DilatedBlock(nn.Module):
    """A dilated convolution beside a shortcut."""

    def __init__(self, hidden_size: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.conv = nn.Conv1d(hidden_size, hidden_size, kernel_size, padding=padding, dilation=dilation, bias=False)
        self.norm = OwnFramesBatchNorm(hidden_size)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, steps: Tensor, own: Tensor) -> Tensor:
        """Add to steps of shape (B, hidden_size, steps) what the convolution makes of them; ``own`` is (B, steps)."""
        # The edge of a clip is zero for a convolution, and normalization has moved padding off it.
        seen = self.norm(self.conv(steps * own[:, None]), own)
        return steps + self.dropout(F.relu(seen))
