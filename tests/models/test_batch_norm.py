import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

from crossmodal.models.batch_norm import BatchNorm1d, BatchNorm2d, MaskedBatchNorm1d

SHARES = (5, 2)  # numbers of clips of the two processes


def _inputs(number):
    generator = torch.Generator().manual_seed(number)
    shape = (sum(SHARES), 3, *[4] * (number - 1))
    return 5 + 2 * torch.randn(shape, generator=generator, dtype=torch.double)


def _train(norm, values, weight):
    """Run two steps; return the output, the gradient and the resulting statistics."""
    norm = norm.double().train()
    values = values.clone().requires_grad_()
    for _ in range(2):
        output = norm(values)
    (output * weight).sum().backward()
    return [output.detach(), values.grad, norm.running_mean, norm.running_var, norm.num_batches_tracked.double()]


def _share(rank, file, results):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=len(SHARES))
    mine = slice(sum(SHARES[:rank]), sum(SHARES[: rank + 1]))
    outputs = {}
    for number, norm in ((1, BatchNorm1d(3)), (2, BatchNorm1d(3, affine=False)), (3, BatchNorm2d(3))):
        values = _inputs(number)
        outputs[number] = _train(norm, values[mine], values.cos()[mine])
    mask = torch.zeros(SHARES[rank], 4, dtype=torch.bool)
    mask[0, 0] = True  # one frame in this process, but two frames in all
    outputs["frames"] = _train(_FixedMask(mask), _inputs(2)[mine], _inputs(2).cos()[mine])
    torch.save(outputs, f"{results}/{rank}.pt")
    dist.destroy_process_group()


class _FixedMask(MaskedBatchNorm1d):
    def __init__(self, mask):
        super().__init__(3)
        self.mask = mask

    def forward(self, features):
        return super().forward(features, self.mask)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Return the results of two processes, by rank."""
    folder = tmp_path_factory.mktemp("shared")
    torch.multiprocessing.spawn(_share, (folder / "rendezvous", folder), nprocs=len(SHARES))
    return [torch.load(folder / f"{rank}.pt") for rank in range(len(SHARES))]


@pytest.mark.parametrize(
    ("number", "norm"), [(1, nn.BatchNorm1d(3)), (2, nn.BatchNorm1d(3, affine=False)), (3, nn.BatchNorm2d(3))]
)
def test_two_processes_match_torch_on_all_their_clips(shared, number, norm):
    values = _inputs(number)
    output, gradient, *statistics = _train(norm, values, values.cos())
    torch.testing.assert_close(torch.cat([part[number][0] for part in shared]), output)
    torch.testing.assert_close(torch.cat([part[number][1] for part in shared]), gradient)
    for part in shared:
        torch.testing.assert_close(part[number][2:], statistics)


def test_one_frame_in_each_process_is_normalized_as_two_frames(shared):
    first, second = _inputs(2)[0, :, 0], _inputs(2)[SHARES[0], :, 0]
    deviation = ((first - second) / 2).square().add(1e-5).sqrt()
    torch.testing.assert_close(shared[0]["frames"][0][0, :, 0], (first - second) / 2 / deviation)


@pytest.mark.parametrize(("ours", "theirs"), [(BatchNorm1d, nn.BatchNorm1d), (BatchNorm2d, nn.BatchNorm2d)])
def test_one_process_matches_torch(ours, theirs):
    values = torch.randn(6, 3, *[4] * (2 if ours is BatchNorm2d else 0), dtype=torch.double)
    for one, other in zip(_train(ours(3), values, values), _train(theirs(3), values, values), strict=True):
        assert torch.equal(one, other)
    assert not ours(3).is_shared
