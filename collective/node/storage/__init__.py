"""What the node keeps on disk: the journal and the audit log."""
