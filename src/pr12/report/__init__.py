"""Evidence of results, and what is written from it: pictures, verdicts, pages."""
