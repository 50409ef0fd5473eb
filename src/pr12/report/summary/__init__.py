"""What came out, in few words: counts, groups, sentences, cards. Computed from the claims."""
