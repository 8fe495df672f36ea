import torch


def check_same_alone_and_padded(encoder, num_features, length, padding, garbage, atol):
    """A clip gives the same alone as padded with whatever beside two others, one of them of a single frame."""
    clip = torch.randn(1, num_features, length)
    padded = torch.nn.functional.pad(clip, (0, padding), value=garbage)
    batch = torch.cat([padded, torch.randn(2, num_features, length + padding)])
    with torch.no_grad():
        alone = encoder(clip, torch.tensor([length]))
        together = encoder(batch, torch.tensor([length, length + padding, 1]))[:1]
    assert alone.shape == (1, encoder.out_features)
    torch.testing.assert_close(together, alone, atol=atol, rtol=1e-4)
