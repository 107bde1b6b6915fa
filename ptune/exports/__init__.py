"""Finished runs in the forms of others: adapters of PEFT, model cards, the Hub, leaderboards' files."""
