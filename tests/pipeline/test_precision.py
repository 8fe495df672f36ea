import pytest

from tests.pipeline import fit, read_rows


def test_bf16_gives_the_same_results_within_its_precision(finished, decoded, tiny_args):
    """bf16 has 8 bits of mantissa: probabilities change by thousandths, a label only if two classes almost tie."""
    summary = fit(tiny_args(decoded, "--trainer.precision=bf16-mixed"))
    labels, clips = summary["labels"], summary["corpus"]["clips"]["test"]
    for stage, numbers in summary["stages"].items():
        folders = (decoded / "runs" / "fit", finished.folder)
        ours, theirs = (read_rows(folder / stage / "predictions.csv") for folder in folders)
        pairs = zip(ours, theirs, strict=True)
        differences = [abs(float(one[name]) - float(other[name])) for one, other in pairs for name in labels]
        assert 0 < max(differences) < 0.01, stage
        for metric in ("test_uar", "test_war"):
            assert numbers[metric] == pytest.approx(finished.summary["stages"][stage][metric], abs=1.01 / clips), stage
