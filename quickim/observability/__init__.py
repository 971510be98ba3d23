"""What the project tells of itself while it runs: logs, metrics, traces. It imports no app of ours."""
