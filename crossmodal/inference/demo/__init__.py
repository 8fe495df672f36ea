"""`crossmodal demo`: a page that listens. Nothing here imports torch; Gradio only when the page is built."""
