"""Who may meet: conversations, their members, and the facts announced about both."""
