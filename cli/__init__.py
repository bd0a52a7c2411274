"""The commands; installed as `proxima_cli`."""
