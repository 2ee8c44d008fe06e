"""Virtual machines of a lab: hosts with a kernel of their own, QEMU without KVM, beside the containers."""
