"""Extra verbs of single agents, `crpc AGENT VERB`, where the DDL alone cannot say enough."""
