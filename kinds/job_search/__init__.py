"""Job search: asks job boards, keeps what they list, and matches each user's search against it."""
