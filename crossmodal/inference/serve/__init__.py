"""`crossmodal serve`: recognition over HTTP and WebSocket. Nothing here imports torch; FastAPI only when it serves."""
