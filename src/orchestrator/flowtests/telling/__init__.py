"""What came of cases, for people and for build servers."""
