"""Integration tests for mod_md: a real httpd against a real ACME server. See test/README.md."""
