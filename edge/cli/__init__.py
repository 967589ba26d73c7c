"""The command line. Verbs that need torch import it when they run, not before."""
