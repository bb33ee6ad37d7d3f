"""The caller's side: ask many nodes, yield their replies, account for every one of them."""
