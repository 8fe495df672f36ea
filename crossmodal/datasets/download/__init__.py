"""Download of RAVDESS from Zenodo."""
