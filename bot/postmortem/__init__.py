"""Postmortems: a draft assembled from the journal, which leaves the judging to the people who were there."""
