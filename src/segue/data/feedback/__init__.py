"""The log of what people did in a service: its tables, its database, its sessions."""
