"""Serving with uvicorn: its WebSocket protocol with whole frames offered to the hub, and a drain that says goodbye."""
