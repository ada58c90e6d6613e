"""The engineer: talks to the model, decides what to try next, reports; the command line."""
