"""Two-stage playlist continuation: candidates, features, and the ranker that orders them."""
