"""How it is carried: tokens, the hub, resuming, and the transports WebSocket, SSE and poll."""
