"""The support desk: people of the product who look into conversations and act in them, at ``/admin/``.

Laws: whatever changes something is the same domain service that the API calls, in one transaction with the line in the
admin log that says who did it and why; contents are shown as text and never changed; every read is bounded in rows and
time. Pages run on Django's request threads, the live transcript on the event loop.
"""
