# /etc of the machine: what is written here, and links to what belongs to packages.
set -eu

cp -r "$own" "$out"
chmod -R u+w "$out"
mkdir -p "$out/systemd" "$out/udev/rules.d"
ln -s "$units" "$out/systemd/system"
# Of udev's rules, those that a virtual machine has devices for: modules, names of network devices, and what tells
# systemd and its networkd that a device is there.
for rules in 75-net-description 80-drivers 80-net-setup-link; do
    ln -s "$udev/lib/udev/rules.d/$rules.rules" "$out/udev/rules.d"
done
ln -s "$systemd/lib/udev/rules.d/99-systemd.rules" "$out/udev/rules.d"
# Empty, and a file: what systemd then makes for this boot, it mounts over it (machine-id(5)).
: >"$out/machine-id"
