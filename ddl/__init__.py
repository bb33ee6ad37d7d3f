"""The DDLs of the standard agents, one JSON file each; installed as `collective.ddls`."""
