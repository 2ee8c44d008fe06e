"""The embedded fleet: real Debian hosts under systemd-nspawn on this machine."""
