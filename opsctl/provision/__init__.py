"""What provisioning adds to a rollout: playbook runs, confirmed changes."""
