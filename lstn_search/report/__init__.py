"""Pictures and tables: facts first, then drawing."""
