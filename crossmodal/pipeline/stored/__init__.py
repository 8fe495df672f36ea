"""Results that are computed once and stored by clip: speech features, face embeddings and teacher outputs."""
