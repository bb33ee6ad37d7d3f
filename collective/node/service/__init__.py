"""The daemon as a service: systemd, metrics, registration, reload."""
