import torch


def check_same_alone_and_padded(encoder, num_features, length, padding, garbage, atol):
    """Check that a clip gives the same result alone as padded in a batch with two others, one of a single frame."""
    clip = torch.randn(1, num_features, length)
    padded = torch.nn.functional.pad(clip, (0, padding), value=garbage)
    batch = torch.cat([padded, torch.randn(2, num_features, length + padding)])
    with torch.no_grad():
        alone = encoder(clip, torch.tensor([length]))
        together = encoder(batch, torch.tensor([length, length + padding, 1]))[:1]
    assert alone.shape == (1, encoder.out_features)
    torch.testing.assert_close(together, alone, atol=atol, rtol=1e-4)
