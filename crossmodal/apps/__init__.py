"""Applications: programs that serve a trained model to other people."""
