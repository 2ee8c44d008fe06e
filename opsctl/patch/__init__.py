"""What patching adds to a rollout: pending updates, exact versions, installation, reboot."""
