"""The playground at ``/``: two users side by side, for whoever gets to know this server. Its files are static."""
