"""The DDLs of the standard data functions, one JSON file each; installed as `collective.ddls.data`."""
