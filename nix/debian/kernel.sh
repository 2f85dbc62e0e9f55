# The kernel, apart from its modules: the boot loader alone reads it.
set -eu
mkdir "$out"
cp "$files"/boot/vmlinuz-* "$out/bzImage"
