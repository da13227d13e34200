"""Rules and passes of control flow: branches and loops."""
