"""`crossmodal predict`: what of the disk is meant, who listens, and how it is told and drawn."""
