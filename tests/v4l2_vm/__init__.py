"""The V4L2 reader against a real kernel: Debian's, in an emulated machine, with the kernel's own simulated cameras."""
