"""What a process owes its system: log, memory, notifications to systemd."""
