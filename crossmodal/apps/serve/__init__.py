"""`crossmodal serve` and `crossmodal demo`: a model behind HTTP, WebSocket and a web page, without importing torch."""
