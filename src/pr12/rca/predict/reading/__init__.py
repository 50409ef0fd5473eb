"""A user's files of `pr12.rca.predict`: which belong together, what they hold, on which grid."""
