"""Time-delay audio encoder: convolutions over time with increasing dilation."""

import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.batch_norm import MaskedBatchNorm1d
from crossmodal.models.encoder import AudioEncoder, StridedConv1d
from crossmodal.models.pooling import PoolingName, create_pooling
from crossmodal.transforms import length_mask


class TDNNEncoder(AudioEncoder):
    """A time-delay neural network (Waibel et al. 1989), as in x-vectors (Snyder et al., ICASSP 2018), with shortcuts.

    A strided convolution downsamples the features. Dilated convolutions follow, each with a shortcut (He et al., CVPR
    2016) and twice the dilation of the previous one.

    Args:
        hidden_size: Number of channels.
        num_layers: Number of dilated convolutions; the dilations are 1, 2, 4 and so on.
        kernel_size: Kernel size of the dilated convolutions, an odd number.
        subsampling: Number of audio frames per step, the stride of the first convolution.
        dropout: Fraction of channels dropped after each convolution, for the whole clip (Tompson et al., CVPR 2015).
            Neighbouring steps are similar, so dropping single values would have little effect.

    Raises:
        ConfigError: If ``kernel_size`` is even.
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
            raise ConfigError(f"kernel_size must be odd, so that the kernel is centred on its step; got {kernel_size}.")
        self.conv = StridedConv1d(in_features, hidden_size, subsampling)
        self.norm = MaskedBatchNorm1d(hidden_size)
        self.dropout = nn.Dropout1d(dropout)
        self.blocks = nn.ModuleList(
            _DilatedBlock(hidden_size, kernel_size, dilation=2**layer, dropout=dropout) for layer in range(num_layers)
        )
        self.pooling = create_pooling(pooling, hidden_size)

    def steps(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode each step of a clip; shapes as for `AudioEncoder`."""
        steps, length = self.conv(features, length)
        mask = length_mask(length, steps.shape[-1])
        steps = self.dropout(F.relu(self.norm(steps, mask)))
        for block in self.blocks:
            steps = block(steps, mask)
        return steps, length


class _DilatedBlock(nn.Module):
    """A dilated convolution with a shortcut."""

    def __init__(self, hidden_size: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.conv = nn.Conv1d(hidden_size, hidden_size, kernel_size, padding=padding, dilation=dilation, bias=False)
        self.norm = MaskedBatchNorm1d(hidden_size)
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Apply the block to steps of shape (B, hidden_size, steps), with a mask of shape (B, steps)."""
        # Normalization makes the padding non-zero, but a convolution pads with zeros.
        residual = self.norm(self.conv(steps * mask[:, None]), mask)
        return steps + self.dropout(F.relu(residual))
